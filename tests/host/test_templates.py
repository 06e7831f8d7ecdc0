"""ComfyUI's own image templates against a real host: planned, with the right output, and nothing passed over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accounts import missed
from hostutil import host_python, require_host, start_server

from tools.plan_templates import (
    FAILED,
    GOOD,
    PLANNED,
    Outcome,
    image_templates,
    make_models,
    outcome,
    templates_in,
)

pytestmark = pytest.mark.host

NO_TEMPLATES = (
    "NO TEMPLATES FOUND: install comfyui-workflow-templates into ComfyUI's environment, or name one that has it in "
    "COPYSCOPE_TEMPLATES; this test did NOT run"
)
WANTED = 0.97
MOST_SECONDS = 1.0


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Outcome], dict[str, Any]]]:
    host = require_host()
    named = os.environ.get("COPYSCOPE_TEMPLATES")
    folder = templates_in(Path(named) if named else host_python(host).parent.parent)
    if folder is None:
        pytest.skip(NO_TEMPLATES)
    templates = image_templates(folder)
    base = tmp_path_factory.mktemp("templates")
    make_models(templates, base / "models")
    with start_server(base, pack=False) as server:
        info = server.get("/object_info")
    yield [outcome(template, info) for template in templates], info


def test_nearly_all_are_planned_and_quickly(planned: tuple[list[Outcome], dict[str, Any]]) -> None:
    outcomes, _ = planned
    runnable = [one for one in outcomes if one.reason in (*GOOD, FAILED)]
    assert len(runnable) > 20
    assert sum(one.reason in GOOD for one in runnable) >= WANTED * len(runnable)
    assert max(one.seconds for one in outcomes) < MOST_SECONDS


def test_the_output_is_the_one_that_the_index_names(planned: tuple[list[Outcome], dict[str, Any]]) -> None:
    outcomes, _ = planned
    wrong = []
    for one in outcomes:
        if one.reason != PLANNED or not one.graph or not one.plans:
            continue
        named = {name.rpartition(":")[2]: name for name in one.graph}
        images = [
            images
            for output in one.template.outputs
            if output in named and (images := one.graph[named[output]]["inputs"].get("images"))  # None: a video
        ]
        target = one.plans[""].target
        if images and [target.node, target.slot] not in images and not _passes_on(one, images, target.node):
            wrong.append((one.template.name, images, target))
    assert wrong == []


def test_nothing_upstream_is_passed_over(planned: tuple[list[Outcome], dict[str, Any]]) -> None:
    outcomes, info = planned
    silent = {
        (one.template.name, name): left
        for one in outcomes
        for name, plan in (one.plans or {}).items()
        if one.graph and (left := missed(plan, one.graph, info))
    }
    assert silent == {}


def _passes_on(one: Outcome, images: list[Any], target: str) -> bool:
    """Whether the index names an output behind a switch that passes the target on."""
    graph, waiting = one.graph or {}, [image[0] for image in images if isinstance(image, list)]
    while waiting:
        node = graph[waiting.pop()]
        if node["class_type"] in ("ComfySwitchNode", "PreviewImage", "SaveImage"):
            links = [value for value in node["inputs"].values() if isinstance(value, list)]
            if any(link[0] == target for link in links):
                return True
            waiting += [link[0] for link in links]
    return False
