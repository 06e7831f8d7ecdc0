"""UI files that are small but grow when they are converted: done in time in proportion, or refused with a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from copyscope_core.errors import WorkflowError
from copyscope_core.workflow.ui.convert import MAX_LEVELS, convert, to_api
from copyscope_core.workflow.ui.scopes import MAX_NESTED
from copyscope_core.workflow.ui.widgets import read_widgets, resolve_dynamic_prompt
from tests.fuzz.limits import time_limit
from tests.workflow.large_ui import empty_latent, nested, promoted, reroutes, ui_node

DATA = Path(__file__).parent.parent / "data" / "ui"
INFO: dict[str, Any] = json.loads((DATA / "object_info.json").read_text(encoding="utf-8"))


def test_subgraphs_that_double_at_every_level_are_refused_while_they_are_laid_out() -> None:
    data = nested(levels=16, uses=2)
    assert len(json.dumps(data)) < 4096
    with time_limit(), pytest.raises(WorkflowError, match=r"more than 10,000 nodes when every use .* “level \d+”"):
        to_api(data, INFO)


def test_many_uses_of_a_subgraph_within_the_limit_are_converted() -> None:
    with time_limit():
        graph = to_api(nested(levels=12, uses=2), INFO)
    assert len(graph) == 2**11
    assert "1:0:0:0:0:0:0:0:0:0:0:0:1" in graph


def test_a_plain_workflow_of_too_many_nodes_is_refused() -> None:
    with time_limit(), pytest.raises(WorkflowError, match=r"more than 10,000 nodes .* the workflow"):
        to_api({"nodes": [empty_latent(number) for number in range(10_001)], "links": []}, INFO)


def test_a_subgraph_is_read_once_however_often_it_is_used() -> None:
    data = nested(levels=11, uses=2)
    last = data["definitions"]["subgraphs"][-1]
    last["links"] = [{"id": number, "origin_id": 1, "target_id": 2} for number in range(20_000)]
    with time_limit():
        assert len(to_api(data, INFO)) == 2**10


def test_widgets_promoted_through_many_levels() -> None:
    with time_limit():
        graph = to_api(promoted(levels=60), INFO)
    name = ":".join(["1"] * 61)
    assert graph[name]["inputs"] == {"width": 128, "height": 32, "batch_size": 4}
    assert graph["2"]["inputs"]["latent_image"] == [name, 0]


def test_subgraphs_nested_too_deeply_are_refused_by_name() -> None:
    with time_limit():
        assert len(to_api(nested(MAX_NESTED, uses=1), INFO)) == 1
        with pytest.raises(WorkflowError, match="“level 100” lies more than 100 subgraphs deep"):
            to_api(nested(1200, uses=1), INFO)


def test_definitions_inside_definitions_are_read_without_recursion() -> None:
    inner: dict[str, Any] = {"id": "s0", "nodes": [empty_latent(1)], "links": []}
    for level in range(1, 60):
        inner = {"id": f"s{level}", "nodes": [ui_node(1, f"s{level - 1}")], "links": [],
                 "definitions": {"subgraphs": [inner]}}  # fmt: skip
    data = {"nodes": [ui_node(1, "s59")], "links": [], "definitions": {"subgraphs": [inner]}}
    assert len(to_api(data, INFO)) == 1
    for level in range(60, 1200):
        inner = {"id": f"s{level}", "definitions": {"subgraphs": [inner]}}
    data["definitions"] = {"subgraphs": [inner]}
    with pytest.raises(WorkflowError, match=f"more than {MAX_LEVELS} lists and objects within each other"):
        to_api(data, INFO)


@pytest.mark.parametrize("kind", ["Reroute", "SetNode"])
@pytest.mark.parametrize("count", [600, 5000])
def test_reroutes_in_a_row_are_followed(kind: str, count: int) -> None:
    with time_limit():
        graph = to_api(reroutes(count, kind=kind), INFO)
    assert graph[str(count + 1)]["inputs"]["latent_image"] == ["0", 0]
    assert len(graph) == 2


def test_bypassed_nodes_in_a_row_are_followed() -> None:
    with time_limit():
        graph = to_api(reroutes(2000, kind="LatentUpscale", mode=4), INFO)
    assert graph["2001"]["inputs"].get("latent_image") == ["0", 0]


def test_a_long_row_before_many_nodes_is_followed_once() -> None:
    with time_limit():
        graph = to_api(reroutes(3000, samplers=2000), INFO)
    assert graph["5000"]["inputs"]["latent_image"] == ["0", 0]


def test_rows_that_cannot_be_followed_once_are_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copyscope_core.workflow.ui.links.MAX_STEPS", 50_000)
    data = reroutes(1000, samplers=1000)
    data["nodes"][0]["mode"] = 4  # passes nothing on, which is said of every sampler
    with time_limit(), pytest.raises(WorkflowError, match="takes more than 50,000 steps"):
        to_api(data, INFO)


def test_long_ids_and_endless_slots_are_refused() -> None:
    with pytest.raises(WorkflowError, match="is longer than 64 characters"):
        to_api({"nodes": [{**empty_latent(1), "id": "x" * 65}], "links": []}, INFO)
    with pytest.raises(WorkflowError, match="link 1 of the workflow has a slot that is no number"):
        to_api({**reroutes(1), "links": [[1, 0, float("inf"), 1, 0, "*"]]}, INFO)


def test_values_nested_deeply_get_a_sentence() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(WorkflowError, match="within each other"):
        convert({"nodes": [empty_latent(1)], "links": [], "extra": deep}, INFO)


@pytest.mark.parametrize("letters", ["{", "{a|", "{{", "}", "{a|{b", "\\{", "/* ", "/*/", "//\n", "/**/", "a|"])
def test_long_dynamic_prompts_take_time_in_proportion(letters: str) -> None:
    with time_limit():
        resolve_dynamic_prompt(letters * 100_000)


def test_braces_nested_deeply() -> None:
    assert resolve_dynamic_prompt("{" * 2000) == ""
    assert resolve_dynamic_prompt("{" * 5000 + "a|b" + "}" * 5000 + " c") == "a c"
    assert resolve_dynamic_prompt("x /* never closed {a|b}") == "x /* never closed a"
    assert resolve_dynamic_prompt("a /*/ b */ c // d */ e\nf") == "a  c \nf"


def test_many_widgets_and_choices_within_choices() -> None:
    count = 20_000
    schema: dict[str, Any] = {"input": {"required": {f"w{number}": ["INT", {}] for number in range(count)}}}
    with time_limit():
        assert read_widgets({"widgets_values": list(range(count))}, schema).values["w19999"] == 19_999
        assert (
            len(read_widgets({"widgets_values": {f"x{number}": 1 for number in range(count)}}, schema).values) > count
        )
    combo: Any = ["INT", {"default": 7}]
    for _ in range(2000):
        combo = ["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "k", "inputs": {"required": {"a": combo}}}]}]
    values = read_widgets({"widgets_values": ["k"] * 2000}, {"input": {"required": {"a": combo}}}).values
    assert values[".".join("a" * 2001)] == 7
