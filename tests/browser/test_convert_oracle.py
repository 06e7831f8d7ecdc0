"""UI to API conversion against the front end itself: what pressing Run would send."""

from __future__ import annotations

import json
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
    """Class and inputs of every node, without values that serve the front end's own display."""
    found = {}
    for name, node in graph.items():
        declared = {one for section in info[node["class_type"]]["input"].values() for one in section}
        inputs = {
            key: value
            for key, value in node["inputs"].items()
            if isinstance(value, list) or key.split(".")[0] in declared
        }
        found[name] = (node["class_type"], inputs)
    return found


def compare(page: Page, info: dict[str, Any], ui: dict[str, Any], dropped: tuple[str, ...] = ()) -> dict[str, Any]:
    import frontend

    frontend.load_ui(page, ui)
    answer = frontend.graph_to_prompt(page)
    expected = {name: node for name, node in answer.items() if name not in dropped}
    assert comparable(to_api(ui, info), info) == comparable(expected, info)
    return answer


@pytest.mark.parametrize("name", STORED)
def test_stored_answers_are_the_front_ends(name: str, page: Page, object_info: dict[str, Any]) -> None:
    import frontend

    case = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    dropped = ("31:1",) if name == "subgraph_bypassed" else ()
    answer = compare(page, object_info, case["ui"], dropped)
    frontend.screenshot(page, f"convert-{name}")
    assert comparable(answer, object_info) == comparable(case["api"], object_info)
    assert frontend.missing_nodes(page) == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_convert_as_in_the_front_end(name: str, page: Page, object_info: dict[str, Any]) -> None:
    path = template(name)
    if path is None:
        pytest.skip(f"NO TEMPLATE {name}: this ComfyUI has no comfyui-workflow-templates that holds it")
    compare(page, object_info, json.loads(path.read_text(encoding="utf-8")))
