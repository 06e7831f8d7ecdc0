"""UI to API conversion against the front end itself: what pressing Run would send."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hostutil import Server, find_comfyui

from copyscope_core.workflow.ui.convert import to_api

if TYPE_CHECKING:
    from playwright.sync_api import Page

DATA = Path(__file__).parent.parent / "data" / "ui"
STORED = sorted(path.stem for path in DATA.glob("*.json") if path.stem != "object_info")
NEWER = {
    "primitive_promoted": ("prim.safetensors", "style.safetensors"),
    "subgraphs": ('"steps": 6, "cfg": 6.5', '"steps": 6, "cfg": null'),
}
"""Stored answers that newer front ends give otherwise, and in which of their words.

1.46 and later: a primitive node outside a subgraph shows its value on the promoted widget but does not reach the inner
node, whose own value is sent; ``to_api`` does the same where the file tells that such a front end saved it. 1.58.1: the
null that a file has for a promoted widget is sent, which no server takes for a number; ``to_api`` sends the inner
node's value.
"""
TEMPLATES = [
    "sdxl_refiner_prompt_example",  # primitive nodes, notes, two checkpoints
    "flux_redux_model_example",  # primitive nodes, bypassed nodes
    "hidream_e1_full",  # reroutes
    "hunyuan_video_text_to_video",  # a muted node
    "flux_fill_inpaint_example",  # a subgraph with promoted widgets
    "flux_kontext_dev_basic",  # the same, with a bypassed source
    "image_qwen_image_edit_2509_relight",  # two kinds of promotion, linked promoted widgets
    "templates-6-key-frames",  # one subgraph many times
    "flux_depth_lora_example",  # an old subgraph file without proxyWidgets
    "video_wan_vace_14B_ref2v",  # bypassed nodes that pass nothing on
]


@cache
def template(name: str) -> Path | None:
    """A workflow that ships with the host's comfyui-workflow-templates."""
    host = find_comfyui()
    if host is None:
        return None
    for folder in (".venv", "venv"):
        for path in (host / folder).glob(f"**/comfyui_workflow_templates*/templates/{name}.json"):
            return path
    return None


@pytest.fixture(scope="module")
def object_info(comfy: Server) -> dict[str, Any]:
    info: dict[str, Any] = comfy.get("/object_info")
    return info


def comparable(graph: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """Class and inputs of every node, without values that serve the front end's own display.

    Newer front ends give nodes inside subgraphs new ids where two are the same, so those go by what they are: their
    class and inputs, sources included, and a count where several are the same. Older ones send the inside of a bypassed
    subgraph, which nothing uses and so never runs: it is left out.
    """
    used = {str(value[0]) for node in graph.values() for value in node["inputs"].values() if isinstance(value, list)}
    kept = [
        key for key, node in graph.items() if ":" not in key or key in used or info[node["class_type"]]["output_node"]
    ]

    @cache
    def name_of(node_id: str) -> str:
        return node_id if ":" not in node_id else json.dumps(content(node_id), sort_keys=True)

    def content(node_id: str) -> list[Any]:
        node = graph[node_id]
        declared = {one for section in info[node["class_type"]]["input"].values() for one in section}
        inputs = {}
        for key, value in node["inputs"].items():
            if isinstance(value, list):
                inputs[key] = [name_of(str(value[0])), *value[1:]] if str(value[0]) in graph else value
            elif key.split(".")[0] in declared:
                inputs[key] = value
        return [node["class_type"], inputs]

    counts = Counter(map(name_of, kept))
    return {name_of(node_id): (content(node_id), counts[name_of(node_id)]) for node_id in kept}


def ask(page: Page, ui: dict[str, Any]) -> dict[str, Any]:
    """What this front end would send."""
    import frontend

    frontend.load_ui(page, ui)
    return frontend.graph_to_prompt(page)


@pytest.mark.parametrize("name", STORED)
def test_stored_answers_are_the_front_ends(name: str, page: Page, object_info: dict[str, Any]) -> None:
    import frontend

    case = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    answer = ask(page, case["ui"])
    frontend.screenshot(page, f"convert-{name}")
    stored = comparable(case["api"], object_info)
    assert comparable(to_api(case["ui"], object_info), object_info) == stored
    accepted = [stored]
    if name in NEWER:
        accepted.append(comparable(json.loads(json.dumps(case["api"]).replace(*NEWER[name])), object_info))
    assert comparable(answer, object_info) in accepted
    assert frontend.missing_nodes(page) == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_convert_as_in_the_front_end(name: str, page: Page, object_info: dict[str, Any]) -> None:
    path = template(name)
    if path is None:
        pytest.skip(f"NO TEMPLATE {name}: this ComfyUI has no comfyui-workflow-templates that holds it")
    ui = json.loads(path.read_text(encoding="utf-8"))
    assert comparable(to_api(ui, object_info), object_info) == comparable(ask(page, ui), object_info)
