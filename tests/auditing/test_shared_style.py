"""Style that the audited server computes: only with leave, refused early, kept nowhere, and verified afterwards."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_workflows import HASHES, with_lora
from fakecomfy import FakeComfy, fake_comfy
from images_on_disk import MeanColours, image_folder
from PIL import Image

from copyscope_core.auditing.audit import AuditResult
from copyscope_core.auditing.servers import ServerChoice
from copyscope_core.auditing.session import run_audit
from copyscope_core.auditing.shared_style import SharedStyle, allowed_style
from copyscope_core.comfyui.style_prompt import STYLE_NODE, told_style
from copyscope_core.errors import CopyScopeError, HostError
from copyscope_core.evaluation.measure import Works
from copyscope_core.evidence.verify import Verification, Verifier
from copyscope_core.features.beside import ContentAndStyle
from copyscope_core.features.extractor import FeatureCache
from copyscope_core.files.folders import read_folder
from copyscope_core.settings import AuditSettings
from copyscope_core.store.runs import STATE_VARIABLE

ID = "introstyle-0123456789abcdef-out5-t25-512px-4"
CHECKPOINT = "plain.safetensors"


def answer(text: str) -> dict[str, Any]:
    """What the server says of an image: its mean and spread."""
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
    return {"id": ID, "style": [float(pixels.mean()), float(pixels.std())]}


class Computed:
    """The same, computed here."""

    id = ID
    dimension = 2

    def __call__(self, images: Any) -> np.ndarray:
        return np.array([[image.mean(), image.std()] for image in images], dtype=np.float32)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))


@pytest.fixture
def server() -> Iterator[FakeComfy]:
    with fake_comfy() as running:
        running.hashes = dict(HASHES)
        running.style = answer
        running.info[STYLE_NODE] = {
            "input": {"required": {"model": ["MODEL", {}], "vae": ["VAE", {}], "image": ["STRING", {}]}},
            "output": [],
            "output_node": True,
        }
        names = running.info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"]
        names[0] = [CHECKPOINT, "dream.safetensors"]
        yield running


def audit(server: FakeComfy, folder: Path, checkpoint: str | None = CHECKPOINT) -> AuditResult:
    """An audit of a LoRA and a prompt, against three works and two others."""
    folder.mkdir(exist_ok=True)
    (folder / "workflow.json").write_text(json.dumps(with_lora()), encoding="utf-8")
    works = Works(
        read_folder(image_folder(folder / "reference", 3, size=(48, 64))),
        read_folder(image_folder(folder / "control", 2, seed=70, size=(48, 64))),
    )
    return run_audit(
        folder / "workflow.json", works, folder / "out", AuditSettings(seeds=2), ServerChoice((server.url,)),
        extractor=MeanColours(), style=None if checkpoint is None else SharedStyle(checkpoint, True),
    )  # fmt: skip


def asked(server: FakeComfy) -> list[dict[str, Any]]:
    """The prompts that asked for style."""
    return [prompt for prompt in server.prompts if STYLE_NODE in json.dumps(prompt)]


def verify(folder: Path) -> Verification:
    return Verifier(folder / "out", MeanColours(), reference=folder / "reference", control=folder / "control").run()


def test_style_comes_from_the_server_after_the_coalitions_and_is_forgotten_there(
    server: FakeComfy, tmp_path: Path
) -> None:
    report = audit(server, tmp_path).report
    assert report.preprocessing == f"mean-colours.{ID}"
    assert report.views == {"content": [0, 24], "style": [24, 26]}
    images = {image.pixel_sha256 for item in report.coalitions for image in item.image_files}
    prompts = asked(server)
    assert len(prompts) == 1 + len(images) + 3 + 2  # a trial, the generated images, the reference, the control
    assert all(prompt["1"]["inputs"] == {"ckpt_name": CHECKPOINT} for prompt in prompts)
    kinds = [STYLE_NODE in json.dumps(prompt) for prompt in server.prompts]
    assert kinds[0]
    assert not any(kinds[1:9])  # eight coalitions at two seeds, and no style in between
    assert len(server.forgotten) >= len(prompts)
    assert not [entry for entry in server._history.values() if STYLE_NODE in json.dumps(entry)]


def test_the_numbers_are_those_of_the_same_style_computed_here(server: FakeComfy, tmp_path: Path) -> None:
    report = audit(server, tmp_path).report
    cache = FeatureCache(tmp_path / "here", ContentAndStyle(MeanColours(), Computed()))
    there = FeatureCache(tmp_path / "out" / "features", cache.extractor)
    for item in report.coalitions:
        for image in item.image_files:
            path = tmp_path / "out" / str(item.folder) / image.file
            (row,) = cache.features([found for found in read_folder(path.parent) if found.name == path.name])
            stored = there.stored(str(image.pixel_sha256))
            assert stored is not None
            assert np.array_equal(stored, row)
    assert all(player.style_shapley is not None for player in report.players)
    assert all(player.style_contrast is not None for player in report.players)
    alone = audit(server, tmp_path / "alone", None).report
    assert [player.shapley for player in alone.players] == [player.shapley for player in report.players]
    assert all(player.style_shapley is None for player in alone.players)
    assert alone.views == {"content": [0, 24]}


def test_a_report_with_a_servers_style_can_be_verified(server: FakeComfy, tmp_path: Path) -> None:
    audit(server, tmp_path)
    result = verify(tmp_path)
    assert result.findings == ()
    assert result.features > 0
    assert any("Style was not computed again" in note for note in result.notes)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda report: report["players"][0].update(style_shapley=1e6), "report.json: players"),
        (lambda report: report["views"].update(style=[24, 25]), "report.json: numbers"),
        (lambda report: report["views"].update(content=[0, 12]), "report.json: views"),
        (lambda report: report.update(views={}), "report.json: views"),
    ],
)
def test_what_was_forged_about_style_is_found(server: FakeComfy, tmp_path: Path, change: Any, where: str) -> None:
    audit(server, tmp_path)
    path = tmp_path / "out" / "report.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")
    assert any(finding.what.startswith(where) for finding in verify(tmp_path).findings)


def test_content_that_was_forged_beside_style_is_found(server: FakeComfy, tmp_path: Path) -> None:
    report = audit(server, tmp_path).report
    extractor = ContentAndStyle(MeanColours(), Computed())
    cache = FeatureCache(tmp_path / "out" / "features", extractor)
    digest = str(report.coalitions[0].image_files[0].pixel_sha256)
    row = cache.stored(digest)
    assert row is not None
    row[0] += 50
    cache.keep({digest: row})
    (tmp_path / "out" / "manifest.json").unlink()  # which would name the file first
    found = [finding.what for finding in verify(tmp_path).findings if "not what its image gives" in finding.message]
    assert found == [f"features/{extractor.id}/{digest}.safetensors"]


def test_without_leave_nothing_is_sent() -> None:
    assert allowed_style(SharedStyle(), "plain") is None
    assert allowed_style(SharedStyle(CHECKPOINT, True), "plain") == CHECKPOINT
    assert allowed_style(SharedStyle(None, True), "plain") == "plain"
    with pytest.raises(CopyScopeError, match="give --share-reference too"):
        allowed_style(SharedStyle(CHECKPOINT), None)
    with pytest.raises(CopyScopeError, match="name a --style-checkpoint or a --baseline-checkpoint too"):
        allowed_style(SharedStyle(None, True), None)


def test_a_server_without_the_pack_is_refused_before_anything_is_sent(server: FakeComfy, tmp_path: Path) -> None:
    del server.info[STYLE_NODE]
    with pytest.raises(HostError, match="install this version of the CopyScope pack"):
        audit(server, tmp_path)
    assert server.prompts == []


def test_a_server_without_the_checkpoint_is_refused_before_anything_is_sent(server: FakeComfy, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"lacks the checkpoint 'other\.safetensors'; it has: plain\.safetensors"):
        audit(server, tmp_path, "other.safetensors")
    assert server.prompts == []


def test_a_checkpoint_that_cannot_be_run_is_named_before_anything_is_sampled(server: FakeComfy, tmp_path: Path) -> None:
    server.fail = lambda prompt: "It is not known which block" if STYLE_NODE in json.dumps(prompt) else None
    with pytest.raises(HostError, match=r"style of an image could not be computed.*not known which block"):
        audit(server, tmp_path)
    assert len(server.prompts) == len(server.forgotten) == 1


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"id": ID},
        {"id": ID, "style": []},
        {"id": ID, "style": [1, "2"]},
        {"id": ID, "style": [float("nan")]},
        {"id": ID, "style": [True]},
        {"id": 3, "style": [1.0]},
    ],
)
def test_an_answer_that_is_no_style_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(HostError, match="The server gave"):
        told_style({"outputs": {"2": {"copyscope_style": [record]}}})


def test_a_servers_id_may_lead_nowhere(server: FakeComfy, tmp_path: Path) -> None:
    server.style = lambda image: {"id": "../../x", "style": [1.0]}
    with pytest.raises(HostError, match="names no style model"):
        audit(server, tmp_path)
    assert len(server.prompts) == 1


def test_a_model_that_changes_in_mid_audit_ends_it(server: FakeComfy, tmp_path: Path) -> None:
    def other(text: str) -> dict[str, Any]:
        return {**answer(text), "id": ID if len(asked(server)) < 3 else ID.replace("0", "1")}

    server.style = other
    with pytest.raises(HostError, match="changed on the server in mid-audit"):
        audit(server, tmp_path)
