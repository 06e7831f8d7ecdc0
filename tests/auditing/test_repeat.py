"""The stored workflows of an audit run again, by a folder or a bundle, on a server that may be another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from example_workflows import HASHES
from fakecomfy import FakeComfy

from copyscope_core.auditing.repeat import repeat
from copyscope_core.auditing.servers import ServerChoice
from copyscope_core.errors import CopyScopeError
from copyscope_core.evidence.bundle import bundle
from tests.auditing.test_audit import audit


def test_every_image_comes_out_the_same_on_the_same_server(server: FakeComfy, tmp_path: Path) -> None:
    report = audit(server, tmp_path).report
    choice = ServerChoice((server.url,))
    for place in (tmp_path / "out", bundle(tmp_path / "out", tmp_path / "out.zip").path):
        server.prompts.clear()
        result = repeat(place, choice)
        assert len(server.prompts) == len(result.images) == result.same == 4 * 2
        assert {image.difference for image in result.images} == {0}
        assert sorted({image.seed for image in result.images}) == [0, 1]
        assert result.notes == ()
    assert [image.file for image in repeat(tmp_path / "out", choice, seeds=1).images] == [
        item.image_files[0].file for item in report.coalitions
    ]


def test_what_differs_is_named(server: FakeComfy, tmp_path: Path) -> None:
    audit(server, tmp_path)
    paint = server.paint
    server.paint = lambda digest, number: paint(digest, number) ^ np.uint8(number % 2)
    server.version, server.hashes = "0.9.0", {**HASHES, next(iter(HASHES)): "d" * 64}
    result = repeat(tmp_path / "out", ServerChoice((server.url,)))
    assert 0 < result.same < 8
    assert {image.difference for image in result.images if not image.same} == {1}
    assert any("made with ComfyUI 0.8.0; this is 0.9.0" in note for note in result.notes)
    assert any("is another file here" in note for note in result.notes)
    assert result.as_json()["same"] == result.same


def test_workflows_that_are_not_the_manifests_are_not_run(server: FakeComfy, tmp_path: Path) -> None:
    audit(server, tmp_path)
    server.prompts.clear()
    path = tmp_path / "out" / "workflows.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored["0"] = stored["3"]
    path.write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(CopyScopeError, match="is not that of the manifest"):
        repeat(tmp_path / "out", ServerChoice((server.url,)))
    path.unlink()
    with pytest.raises(CopyScopeError, match=r"holds no workflows\.json"):
        repeat(tmp_path / "out", ServerChoice((server.url,)))
    assert server.prompts == []
