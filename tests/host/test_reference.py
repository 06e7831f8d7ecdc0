"""Reference folders and settings on the nodes, on a real host: what is looked at when, and what is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import pytest
from hostutil import Server
from images_on_disk import image_folder

from .audits import audited, error_of, node, plain, report_of, values


@pytest.fixture
def folder(mini_server: Server) -> Iterator[Path]:
    """A subfolder of the host's input folder with four images of noise."""
    path = image_folder(mini_server.base_dir / "input" / "looked-at", 4, size=(90, 70))
    yield path
    rmtree(path)


def test_a_posted_prompt_decodes_no_reference_image(mini_server: Server, folder: Path) -> None:
    """An image that is damaged behind its signature passes there, and is named when it is measured."""
    damaged = folder / "002.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    for workflow in (audited(plain(seed=71), seeds=1, reference=folder.name), by_node(folder)):
        del workflow["9"]
        status, answer = mini_server.post("/prompt", {"prompt": workflow})
        assert status == 200, answer
        assert "002.png is not an image that can be read" in error_of(mini_server.run(workflow))
    (folder / "notes.png").write_text("no image", encoding="utf-8")
    for workflow in (audited(plain(seed=71), seeds=1, reference=folder.name), by_node(folder)):
        del workflow["9"]
        status, answer = mini_server.post("/prompt", {"prompt": workflow})
        assert status == 400
        assert "notes.png is not an image that can be read" in str(answer["node_errors"])


def test_the_images_are_there_when_a_preview_is_wired_later(mini_server: Server, folder: Path) -> None:
    workflow = by_node(folder)
    first = report_of(mini_server.run(workflow))
    assert first["reference"]["count"] == 4
    workflow["31"] = node("PreviewImage", images=["30", 1])
    entry = mini_server.run(workflow)
    assert len(entry["outputs"]["31"]["images"]) == 4
    assert values(report_of(entry)) == values(first)
    del workflow["31"]
    assert values(report_of(mini_server.run(workflow))) == values(first)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"target_width": 0.1}, "The settings do not fit: target_width needs a budget: how many coalitions may be run"),
        ({"budget": 3}, "The settings do not fit: budget: Input should be greater than or equal to 4."),
        ({"budget": 8, "groups": "Jane"}, "A group must be NAME = PLAYER, PLAYER"),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(mini_server: Server, inputs: dict, sentence: str) -> None:
    workflow = audited(plain(seed=72), seeds=1)
    workflow["24"] = node("CopyScopeSettings", **{"budget": 0, "target_width": 0.0, "estimator": "regression",
                                                  "groups": "", **inputs})  # fmt: skip
    workflow["21"]["inputs"]["settings"] = ["24", 0]
    del workflow["9"]
    said = error_of(mini_server.run(workflow)).strip()
    assert said.startswith(sentence)
    assert "\n" not in said
    assert "pydantic" not in said


def by_node(folder: Path) -> dict:
    workflow = audited(plain(seed=71), seeds=1, reference="(none)")
    workflow["30"] = node("CopyScopeLoadReference", folder=folder.name)
    workflow["22"]["inputs"]["reference"] = ["30", 0]
    return workflow
