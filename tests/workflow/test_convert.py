"""UI to API conversion against stored answers of ComfyUI's front end (``tests/browser`` asks it live)."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from copyscope_core.errors import WorkflowError
from copyscope_core.workflow.ui.convert import convert, is_ui_format, to_api
from copyscope_core.workflow.ui.widgets import read_widgets, resolve_dynamic_prompt

DATA = Path(__file__).parent.parent / "data" / "ui"
INFO: dict[str, Any] = json.loads((DATA / "object_info.json").read_text(encoding="utf-8"))
CASES = sorted(path.stem for path in DATA.glob("*.json") if path.stem != "object_info")


def load(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    case = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return case["ui"], case["api"]


def node(ui: dict[str, Any], number: int) -> dict[str, Any]:
    return next(one for one in ui["nodes"] if one["id"] == number)


@pytest.mark.parametrize("name", CASES)
def test_equals_the_front_ends_answer(name: str) -> None:
    ui, api = load(name)
    if name == "subgraph_bypassed":  # the front end leaves the inside of a bypassed subgraph in, linked to nothing
        del api["31:1"]
    before = copy.deepcopy(ui)
    assert to_api(ui, INFO) == api
    assert ui == before


def test_tells_the_formats_apart() -> None:
    ui, api = load("bypass")
    assert is_ui_format(ui)
    assert not is_ui_format(api)
    assert not is_ui_format([])
    with pytest.raises(WorkflowError, match="not in ComfyUI's UI format"):
        to_api(api, INFO)


def test_names_nodes_that_the_server_lacks() -> None:
    ui, _ = load("subgraphs")
    info = {name: one for name, one in INFO.items() if name != "EmptyLatentImage"}
    with pytest.raises(WorkflowError, match=r"no such node: 2:3 \(EmptyLatentImage\), 3:3 \(EmptyLatentImage\)"):
        to_api(ui, info)


def test_a_missing_node_may_be_muted_bypassed_or_linked_to_nothing() -> None:
    ui, api = load("bypass")
    info = {name: one for name, one in INFO.items() if name != "ImageScale"}
    assert to_api(ui, info) == api
    ui["nodes"].append({"id": 99, "type": "Label (rgthree)", "mode": 0, "inputs": [], "outputs": []})
    done = convert(ui, info)
    assert done.graph == api
    assert any("99 (Label (rgthree))" in note for note in done.notes)


def test_notes_what_a_bypassed_node_does_not_pass_on() -> None:
    notes = convert(load("bypass")[0], INFO).notes
    assert len(notes) == 1
    assert "latent_image of node 5 (KSampler)" in notes[0]
    assert "23 (VAEEncode)" in notes[0]


def test_a_muted_source_unlinks_the_input() -> None:
    ui, _ = load("dynamic_prompt")
    node(ui, 3)["mode"] = 2
    done = convert(ui, INFO)
    assert "3" not in done.graph
    assert "negative" not in done.graph["5"]["inputs"]
    assert any("negative of node 5 (KSampler)" in note and "muted node 3" in note for note in done.notes)


def test_names_a_dangling_link() -> None:
    ui, _ = load("dynamic_prompt")
    link = next(one["link"] for one in node(ui, 5)["inputs"] if one["name"] == "model")
    without = {**ui, "links": [one for one in ui["links"] if one[0] != link]}
    with pytest.raises(WorkflowError, match=rf"input model of node 5 \(KSampler\) is linked by link {link}, which"):
        to_api(without, INFO)
    for one in ui["links"]:
        if one[0] == link:
            one[1] = 777
    with pytest.raises(WorkflowError, match=r"input model of node 5 \(KSampler\) is linked to node 777"):
        to_api(ui, INFO)


def test_names_a_circle_of_reroutes() -> None:
    ui, _ = load("loras_reroutes_primitive")
    first = node(ui, 10)["inputs"][0]["link"]
    for one in ui["links"]:
        if one[0] == first:
            one[1] = 11
    with pytest.raises(WorkflowError, match="in a circle"):
        to_api(ui, INFO)


def test_a_subgraph_that_contains_itself_is_refused() -> None:
    ui, _ = load("subgraph_bypassed")
    definition = ui["definitions"]["subgraphs"][0]
    definition["nodes"].append({"id": 9, "type": definition["id"], "mode": 0, "inputs": [], "outputs": []})
    with pytest.raises(WorkflowError, match="contains itself"):
        to_api(ui, INFO)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("workflow>mine", "group nodes.*99"), ("Anything Everywhere3", "links that the workflow file does not hold")],
)
def test_names_what_only_the_front_end_can_resolve(kind: str, message: str) -> None:
    ui, _ = load("bypass")
    ui["nodes"].append({"id": 99, "type": kind, "mode": 0, "inputs": [], "outputs": []})
    with pytest.raises(WorkflowError, match=message):
        to_api(ui, INFO)


def test_values_of_another_version_are_refused() -> None:
    ui, _ = load("dynamic_prompt")
    node(ui, 5)["widgets_values"] = [7, "euler", "normal", 4, 6.5, "fixed", 1]
    with pytest.raises(WorkflowError, match=r"node 5 \(KSampler\) do not fit .*steps = 'euler'"):
        to_api(ui, INFO)


@pytest.mark.parametrize("damage", [{"nodes": [{"id": 1, "type": "VAEDecode", "inputs": [3]}]}, {"nodes": []}])
def test_damaged_and_empty_files_get_a_sentence(damage: dict[str, Any]) -> None:
    with pytest.raises(WorkflowError, match=r"damaged|no active node"):
        to_api({"links": [], **damage}, INFO)


def test_get_and_set_nodes_are_followed() -> None:
    ui, api = load("dynamic_prompt")
    ui["nodes"] += [
        {"id": 50, "type": "SetNode", "inputs": [{"name": "MODEL", "type": "MODEL", "link": 901}], "outputs": [],
         "widgets_values": ["net"]},
        {"id": 51, "type": "GetNode", "inputs": [], "outputs": [], "widgets_values": ["net"]},
    ]  # fmt: skip
    ui["links"] += [[901, 1, 0, 50, 0, "MODEL"], [902, 51, 0, 5, 0, "MODEL"]]
    next(one for one in node(ui, 5)["inputs"] if one["name"] == "model")["link"] = 902
    assert to_api(ui, INFO) == api
    ui["nodes"][-1]["widgets_values"] = ["other"]
    with pytest.raises(WorkflowError, match="no Set node is named 'other'"):
        to_api(ui, INFO)


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("a {red|blue} hat", "a red hat"),
        ("{a {b|c}|d} e", "a b e"),
        (r"\{kept\} \(x\)", r"{kept} \(x\)"),
        ("one /* two */ three // four", "one  three "),
        ("{open|never closed", "open"),
    ],
)
def test_dynamic_prompts_take_the_first_alternative(text: str, resolved: str) -> None:
    assert resolve_dynamic_prompt(text) == resolved


def test_widget_values_follow_the_order_of_the_definition() -> None:
    schema = {
        "input": {
            "required": {"b": ["INT", {"forceInput": True}], "seed": ["INT", {}], "mode": [["x", "y"]]},
            "optional": {
                "kind": ["COMFY_DYNAMICCOMBO_V3", {"options": [
                    {"key": "one", "inputs": {"required": {"size": ["INT", {}]}}}, {"key": "two", "inputs": {}}]}],
                "name": ["STRING", {"default": "n"}],
            },
        },
        "input_order": {"required": ["b", "seed", "mode"], "optional": ["kind", "name"]},
    }  # fmt: skip
    read = read_widgets({"widgets_values": [3, "fixed", "y", "one", 64]}, schema)
    assert read.values == {"seed": 3, "mode": "y", "kind": "one", "kind.size": 64, "name": "n"}
    old = read_widgets({"widgets_values": [9, 3, "fixed", "y", "two", "m"]}, schema)
    assert old.values["seed"] == 3  # the 9 is of input b, which had a widget when the file was saved
    assert old.misfits == ()
    assert "left out" in read_widgets({"widgets_values": [3, "fixed", "y", "two", "m", "extra"]}, schema).notes[0]


def test_power_lora_loader_rows_are_kept() -> None:
    row = {"on": True, "lora": "a.safetensors", "strength": 0.5, "strengthTwo": None}
    read = read_widgets({"widgets_values": [{}, {"type": "PowerLoraLoaderHeaderWidget"}, row, {}, ""]}, {"input": {}})
    assert read.values == {"lora_1": {"on": True, "lora": "a.safetensors", "strength": 0.5}}
    assert read.notes == ()
