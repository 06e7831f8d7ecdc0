"""Every model file, tag, image and model source upstream is a player, locked or unmeasured: from the types alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from accounts import expected, missed

from copyscope_core.planning.plan import make_plan
from copyscope_core.settings import AuditSettings
from copyscope_core.workflow.node_info import NodeCatalog, bundled_catalog
from tests.planning.test_cases import CATALOG, RIGHT, case

UI = Path(__file__).resolve().parent.parent / "data" / "ui"
# In "bypass" a latent is bypassed with nothing before it, so that the workflow cannot run.
FILES = sorted(path.stem for path in UI.glob("*.json") if path.stem not in ("object_info", "bypass"))
OFF = {
    "rgthree-any-switch": {"b.safetensors"},
    "cr-load-lora-switched-off": {"a.safetensors"},
    "efficient-loader": {"d.safetensors"},
}
"""What the cases themselves switch off, in ways that only their packs know."""


def plan_of(graph: Any, catalog: NodeCatalog, output: str | None = None) -> Any:
    return make_plan(graph, catalog, AuditSettings(max_coalitions=2**40, output=output))


@pytest.mark.parametrize("name", RIGHT)
def test_of_the_cases(name: str) -> None:
    graph = case(name)
    assert missed(plan_of(graph, CATALOG), graph, CATALOG._raw, frozenset(OFF.get(name, ()))) == []


@pytest.mark.parametrize("name", FILES)
def test_of_community_workflows(name: str) -> None:
    graph = json.loads((UI / f"{name}.json").read_text(encoding="utf-8"))["api"]
    catalog = bundled_catalog()
    for output in [node_id for node_id, node in graph.items() if node["class_type"] == "SaveImage"]:
        plan = plan_of(graph, catalog, output)
        assert list(expected(graph, catalog._raw, plan.target.node))
        assert missed(plan, graph, catalog._raw) == []


def test_that_it_would_be_seen() -> None:
    graph = case("ip-adapter-face-id")
    graph["40"] = {"class_type": "OddLoader", "inputs": {"repository": "x"}}
    graph["5"]["inputs"]["model"] = ["40", 0]
    odd = {"OddLoader": {"input": {"required": {"repository": ["STRING"]}}, "output": ["MODEL"]}}
    plan = plan_of(case("ip-adapter-face-id"), CATALOG)
    assert missed(plan, graph, {**CATALOG._raw, **odd}) == [("source", "40", "OddLoader")]
    graph["1"]["inputs"]["ckpt_name"] = "another.safetensors"
    assert ("file", "1", "another.safetensors") in missed(plan, graph, {**CATALOG._raw, **odd})
