"""A workflow's file names beside those of the server, whose system may set off folders with other slashes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from example_workflows import node

from copyscope_core.errors import PlayerError, WorkflowError
from copyscope_core.planning.plan import Plan, make_plan
from copyscope_core.planning.server_files import with_server_names
from copyscope_core.settings import AuditSettings
from copyscope_core.workflow.graph import parse_graph
from copyscope_core.workflow.node_info import InputInfo, NodeCatalog, bundled_catalog

CASE = Path(__file__).resolve().parent.parent / "data" / "cases" / "backslash-name.json"


def workflow(slash: str = "\\") -> dict[str, Any]:
    data = json.loads(CASE.read_text(encoding="utf-8"))
    data["10"]["inputs"]["lora_name"] = f"styles{slash}jane.safetensors"
    return data


def server(slash: str = "/", *checkpoints: str) -> NodeCatalog:
    """A server whose folders are set off by this slash."""
    raw = dict(bundled_catalog()._raw)
    raw["CheckpointLoaderSimple"] = {
        "input": {"required": {"ckpt_name": [["base.safetensors", *checkpoints]]}}, "output": ["MODEL", "CLIP", "VAE"],
    }  # fmt: skip
    lists = {"lora_name": [[f"styles{slash}jane.safetensors", "jane.safetensors"]]}
    raw["LoraLoader"] = {"input": {"required": {"model": ["MODEL"], "clip": ["CLIP"], **lists}},
                         "output": ["MODEL", "CLIP"]}  # fmt: skip
    return NodeCatalog(raw, live=True)


def plan(data: Any, catalog: NodeCatalog, **settings: Any) -> Plan:
    return make_plan(data, catalog, AuditSettings(**settings))


def test_the_case_itself_has_a_backslash() -> None:
    assert json.loads(CASE.read_text(encoding="utf-8")) == workflow("\\")


@pytest.mark.parametrize("there", ["/", "\\"])
@pytest.mark.parametrize("here", ["/", "\\"])
def test_the_servers_spelling_is_sent_and_hashed(here: str, there: str) -> None:
    made = plan(workflow(here), server(there))
    name = f"styles{there}jane.safetensors"
    sent, _ = made.rewriter.graph(made.full, 0)
    assert [item.inputs["lora_name"] for item in sent.values() if item.class_type == "LoraLoader"] == [name]
    assert [(player.name, player.files) for player in made.players if player.kind == "lora"] == [("jane", (name,))]
    same = plan(workflow(there), server(there))
    assert made.rewriter.target(made.full) == same.rewriter.target(same.full)  # hence the keys are the same


def test_a_name_through_a_link_is_written_at_its_node() -> None:
    data = workflow()
    data["20"] = node("PrimitiveString", value=data["10"]["inputs"]["lora_name"])
    data["10"]["inputs"]["lora_name"] = ["20", 0]
    made = plan(data, server())
    assert made.graph["10"].inputs["lora_name"] == "styles/jane.safetensors"
    data["20"]["inputs"]["value"] = "styles/jane.safetensors"
    assert plan(data, server()).graph["10"].inputs["lora_name"] == parse_graph(data)["10"].inputs["lora_name"]


def test_other_names_stay_and_are_refused() -> None:
    data = workflow()
    data["10"]["inputs"]["lora_name"] = "styles\\june.safetensors"
    with pytest.raises(WorkflowError, match=r"lacks 'styles\\\\june\.safetensors'"):
        plan(data, server())


def test_what_fits_is_left_alone() -> None:
    graph = parse_graph(workflow("/"))
    named = with_server_names(graph, server("/"))
    assert all(named[key] is graph[key] for key in graph)


def test_a_server_that_has_both_spellings_has_two_files() -> None:
    item = InputInfo("x", "COMBO", False, ("a/b", "a\\b", "c\\d", "c/d"))
    assert [item.spelling(value) for value in ("a/b", "a\\b", "c/d", "e\\f", 3, None)] == [
        "a/b", "a\\b", "c/d", "e\\f", 3, None,
    ]  # fmt: skip
    assert InputInfo("x", "COMBO", False, ("a\\b\\c",)).spelling("a/b\\c") == "a\\b\\c"
    assert InputInfo("x", "STRING", False).spelling("a\\b") == "a\\b"
    assert InputInfo("x", "COMBO", False, ("a/b",), image_upload=True).spelling("a\\b") == "a\\b"


def test_baselines_are_spelt_so_too() -> None:
    catalog = server("\\", "plain\\sd15.safetensors")
    made = plan(workflow(), catalog, baseline_checkpoint="plain/sd15.safetensors")
    sent, _ = made.rewriter.graph(made.full & ~(1 << made.names.index("base")), 0)
    names = [item.inputs["ckpt_name"] for item in sent.values() if item.class_type == "CheckpointLoaderSimple"]
    assert names == ["plain\\sd15.safetensors"]
    data = workflow()
    data["1"]["inputs"]["ckpt_name"] = "plain/sd15.safetensors"
    locked = plan(data, catalog, baseline_checkpoint="plain/sd15.safetensors").locked
    assert "this very file" in locked[0].reason


def test_players_are_found_by_either_spelling() -> None:
    for here in ("/", "\\"):
        for there in ("/", "\\"):
            made = plan(workflow(), server(there), players=(f"styles{here}jane.safetensors",))
            assert made.names == ("jane",)
    with pytest.raises(PlayerError, match="No component is called"):
        plan(workflow(), server(), players=("styles/june.safetensors",))
