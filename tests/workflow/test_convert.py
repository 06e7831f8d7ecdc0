"""UI to API conversion against stored answers of ComfyUI's front end (``tests/browser`` asks it live)."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from copyscope_core.errors import WorkflowError
from copyscope_core.planning.server_files import check_files
from copyscope_core.planning.target import find_target
from copyscope_core.workflow.graph import parse_graph, upstream
from copyscope_core.workflow.node_info import NodeCatalog, bundled_catalog
from copyscope_core.workflow.ui.convert import convert, differing, is_ui_format, to_api
from copyscope_core.workflow.ui.widgets import POWER_LOADER, link_types, read_widgets, resolve_dynamic_prompt

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


@pytest.mark.parametrize(
    ("extra", "sent"),
    [
        ({}, "prim.safetensors"),
        ({"frontendVersion": "1.45.21"}, "prim.safetensors"),
        ({"frontendVersion": "1.46.15"}, "style.safetensors"),
        ({"frontendVersion": "1.58.1"}, "style.safetensors"),
        ({"frontendVersion": [1, 58]}, "prim.safetensors"),
        ({"frontendVersion": "newest"}, "prim.safetensors"),
        ("1.58.1", "prim.safetensors"),
    ],
)
def test_a_primitive_reaches_into_a_subgraph_as_in_the_front_end_that_saved_it(extra: Any, sent: str) -> None:
    ui, _ = load("primitive_promoted")
    made = convert({**ui, "extra": extra}, INFO)
    assert made.graph["30:1"]["inputs"]["lora_name"] == sent
    told = [note for note in made.notes if "primitive node 32" in note]
    assert len(told) == (sent == "style.safetensors")


def test_tells_the_formats_apart() -> None:
    ui, api = load("bypass")
    assert is_ui_format(ui)
    assert not is_ui_format(api)
    assert not is_ui_format([])
    with pytest.raises(WorkflowError, match="not in ComfyUI's UI format"):
        to_api(api, INFO)


def test_nodes_that_the_server_lacks_are_kept_with_what_to_install() -> None:
    ui, api = load("subgraphs")
    info = {name: one for name, one in INFO.items() if name != "EmptyLatentImage"}
    done = convert(ui, info)
    assert done.graph["2:3"]["class_type"] == "EmptyLatentImage"
    assert {key: one for key, one in done.graph.items() if one["class_type"] != "EmptyLatentImage"} == {
        key: one for key, one in api.items() if one["class_type"] != "EmptyLatentImage"
    }
    catalog = NodeCatalog(info, live=True, packs=done.packs)
    with pytest.raises(WorkflowError, match=r"lacks the node class 'EmptyLatentImage' \(node '2:3'\); inst"):
        check_files({"2:3": parse_graph(done.graph)["2:3"]}, catalog)


def test_two_forms_that_differ_are_told() -> None:
    ui, api = load("loras_reroutes_primitive")
    graph = parse_graph(api)
    assert differing(graph, ui, INFO) == []
    sampler = next(name for name, one in api.items() if one["class_type"] == "KSampler")
    api[sampler]["inputs"]["steps"] = 77
    assert differing(parse_graph(api), ui, INFO) == [sampler]
    assert differing(graph, {"nodes": 3}, INFO) == []


@pytest.mark.parametrize(
    ("properties", "sentence"),
    [
        ({"cnr_id": "comfyui-some-pack"}, "install the node pack 'comfyui-some-pack' "),
        ({"aux_id": "someone/some-pack"}, "install the node pack https://github.com/someone/some-pack"),
        ({"cnr_id": "<script>", "aux_id": "a/b/c"}, "install its pack"),
        (None, "install its pack"),
    ],
)
def test_the_pack_of_an_unknown_node_is_named(properties: Any, sentence: str) -> None:
    ui, _ = load("dynamic_prompt")
    node(ui, 4).update(type="OddLatent", properties=properties)
    assert convert(ui, INFO).packs["OddLatent"].startswith(sentence)


def test_an_unknown_node_that_is_not_upstream_does_no_harm() -> None:
    ui, api = load("dynamic_prompt")
    ui["nodes"].append({
        "id": 70, "type": "ShowText|pysssss", "mode": 0, "widgets_values": ["a wave"], "outputs": [],
        "inputs": [{"name": "text", "type": "STRING", "link": 970}], "properties": {"cnr_id": "comfyui-custom-scripts"},
    })  # fmt: skip
    ui["links"].append([970, 3, 0, 70, 0, "STRING"])
    done = convert(ui, INFO)
    graph = parse_graph(done.graph)
    target = find_target(graph, bundled_catalog(), None)
    assert target == find_target(parse_graph(api), bundled_catalog(), None)
    assert "70" not in upstream(graph, target.node)


def test_a_widget_of_unknown_type_is_no_socket() -> None:
    schema = {
        "input": {"required": {"text": ["AUTOCOMPLETE_TEXT", {}], "model": ["MODEL"], "loras": ["LORAS"],
                               "seed": ["INT", {}]}},
        "output": ["MODEL"],
    }  # fmt: skip
    rows = [{"name": "style_a", "strength": 0.8, "active": True}]
    types = link_types({"A": schema})
    saved = {"widgets_values": ["<lora:style_a:0.8>", rows, 7, "fixed"],
             "inputs": [{"name": "model", "type": "MODEL", "link": 1}]}  # fmt: skip
    right = {"text": "<lora:style_a:0.8>", "loras": rows, "seed": 7}
    assert read_widgets(saved, schema, types).values == right
    saved["inputs"].append({"name": "loras", "type": "LORAS", "widget": {"name": "loras"}, "link": None})
    assert read_widgets(saved, schema, types).values == right
    saved["inputs"][-1].pop("widget")  # the file says that it is a socket
    assert read_widgets(saved, schema, types).values["seed"] != 7
    painter = {"input": {"required": {"mask": ["STRING", {"widgetType": "PAINTER"}], "width": ["INT", {}]}}}
    assert read_widgets({"widgets_values": ["a.png [temp]", 64]}, painter).values == {
        "mask": "a.png [temp]",
        "width": 64,
    }


@pytest.mark.parametrize(
    "value",
    ["style.safetensors", "<lora:style:0.8>", {"file": "style.safetensors"}, [{"name": "style", "strength": 1}]],
)
def test_a_lora_that_would_be_lost_is_refused(value: Any) -> None:
    ui, _ = load("dynamic_prompt")
    node(ui, 5)["widgets_values"].append(value)
    with pytest.raises(WorkflowError, match=r"node 5 \(KSampler\) holds .*style.* they would be lost; open it"):
        to_api(ui, INFO)


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
    values = [{}, {"type": "PowerLoraLoaderHeaderWidget"}, row, {}, ""]
    read = read_widgets({"type": POWER_LOADER, "widgets_values": values}, {"input": {}})
    assert read.values == {"lora_1": {"on": True, "lora": "a.safetensors", "strength": 0.5}}
    assert read.notes == ()
