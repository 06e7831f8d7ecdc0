"""Damaged workflows, node lists and settings: a plan or one sentence."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

from example_workflows import with_lora
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from copyscope_core.cli.audit import print_plan
from copyscope_core.planning.own_nodes import embedded_settings
from copyscope_core.planning.plan import make_plan
from copyscope_core.settings import AuditSettings, load_settings
from copyscope_core.workflow.graph import parse_graph, to_json
from copyscope_core.workflow.node_info import NodeCatalog, bundled_catalog
from copyscope_core.workflow.read import read_workflow
from copyscope_core.workflow.ui.convert import convert, is_ui_format

from .harness import fuzzed, guarded
from .mutations import TEXTS, as_json, damaged, damaged_bytes

ROOT = Path(__file__).resolve().parents[2]
CASES = sorted((ROOT / "tests/data/cases").glob("*.json"))
OBJECT_INFO: dict[str, Any] = {
    name: one
    for path in (ROOT / "copyscope_core/workflow/object_info.json", ROOT / "tests/data/cases/object_info.json")
    for name, one in json.loads(path.read_text(encoding="utf-8")).items()
}
UI_INFO: dict[str, Any] = json.loads((ROOT / "tests/data/ui/object_info.json").read_text(encoding="utf-8"))
API = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "workflows/api").glob("*.json"))]
API += [json.loads(path.read_text(encoding="utf-8")) for path in CASES if path.stem != "object_info"]
API.append(with_lora())
UI = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "workflows").glob("*.json"))]
UI += [
    json.loads(path.read_text(encoding="utf-8"))["ui"]
    for path in sorted((ROOT / "tests/data/ui").glob("*.json"))
    if path.stem != "object_info"
]
SETTINGS = [
    AuditSettings().model_dump(mode="json"),
    {"seeds": 2, "baseline_checkpoint": "b.safetensors", "key_prompts": ["by hokusai", "a wave"], "lock": ["VAE"]},
    {"players": ["lora"], "image_players": ["1"], "baseline_models": {"1": "b.safetensors"}, "output": "9"},
]
COALITIONS = 8
"""Coalitions that are rewritten of each plan."""


def plan_all(graph: Any, catalog: NodeCatalog, settings: AuditSettings | None = None) -> None:
    """Plan a workflow, rewrite some coalitions, and print the plan."""
    parsed = parse_graph(graph)
    plan = make_plan(parsed, catalog, (settings or AuditSettings()).over(embedded_settings(parsed)))
    for mask in plan.coalitions[:COALITIONS]:
        rewritten, target = plan.rewriter.graph(mask, 1, "again")
        assert target.node in rewritten
        json.dumps(to_json(rewritten))
    summary = plan.summary()
    json.dumps(summary)
    with contextlib.redirect_stdout(io.StringIO()):
        print_plan(summary)


@fuzzed(2)
@given(damaged(API))
def test_api_workflows(graph: Any) -> None:
    with guarded():
        plan_all(graph, bundled_catalog())


@fuzzed()
@given(damaged(UI))
def test_ui_workflows(data: Any) -> None:
    with guarded():
        if is_ui_format(data):
            plan_all(convert(data, UI_INFO).graph, NodeCatalog(UI_INFO, live=False))


@fuzzed(0.5)
@given(damaged_bytes([as_json(item) for item in API + UI]))
def test_workflow_files(data: bytes) -> None:
    with guarded() as folder:
        path = folder / "workflow.json"
        path.write_bytes(data)
        graph = read_workflow(path)
        if is_ui_format(graph):
            graph = convert(graph, UI_INFO).graph
        plan_all(graph, bundled_catalog())


def held_by_image(kind: str, workflow: Any) -> bytes:
    """An image as ComfyUI saves it, with a workflow in both forms."""
    text, buffer = json.dumps(workflow), io.BytesIO()
    info, exif = PngImagePlugin.PngInfo(), Image.Exif()
    info.add_text("prompt", text, zip=True)
    info.add_text("workflow", text)
    exif[0x0110], exif[0x010F] = f"prompt:{text}", f"workflow:{text}"
    Image.new("RGB", (4, 4)).save(buffer, kind, **({"pnginfo": info} if kind == "PNG" else {"exif": exif}))
    return buffer.getvalue()


IMAGES = [held_by_image(kind, with_lora()) for kind in ("PNG", "WEBP", "JPEG")]


@fuzzed(0.5)
@given(damaged_bytes(IMAGES))
def test_images_that_hold_workflows(data: bytes) -> None:
    with guarded() as folder:
        path = folder / "image.png"
        path.write_bytes(data)
        plan_all(read_workflow(path), bundled_catalog())


def test_these_images_are_read(tmp_path: Path) -> None:
    for number, data in enumerate(IMAGES):
        (tmp_path / str(number)).write_bytes(data)
        assert read_workflow(tmp_path / str(number)) == with_lora()


@fuzzed(0.5)
@given(st.sampled_from(API), st.data())
def test_node_lists_of_servers(graph: Any, data: st.DataObject) -> None:
    classes = {node.get("class_type") for node in graph.values()}  # an entry of a history holds its nodes deeper
    known = {name: copy.deepcopy(OBJECT_INFO[name]) for name in classes if name in OBJECT_INFO}
    info = data.draw(damaged([known]))
    with guarded():
        plan_all(graph, NodeCatalog(info, live=True))


@fuzzed(0.5)
@given(damaged(SETTINGS, most=3), st.sampled_from(API))
def test_settings_files(data: Any, graph: Any) -> None:
    with guarded() as folder:
        path = folder / "settings.json"
        path.write_bytes(as_json(data))
        plan_all(graph, bundled_catalog(), load_settings(path))


@fuzzed(0.25)
@given(st.sampled_from([0, 1, 2]), st.sampled_from(TEXTS), st.sampled_from(TEXTS))
def test_hostile_names(index: int, name: str, phrase: str) -> None:
    graph = with_lora(text=f"a wave, {phrase}, by hokusai")
    graph["2"]["inputs"]["lora_name"] = name
    graph["1"]["_meta"] = {"title": name}
    settings = [AuditSettings(), AuditSettings(baseline_checkpoint=name), AuditSettings(neutral_prompt=phrase)][index]
    with guarded():
        plan_all(graph, bundled_catalog(), settings)
