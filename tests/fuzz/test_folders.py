"""Damaged run folders: read, listed, cleaned, verified and gone on with; nothing outside them is touched."""

from __future__ import annotations

import functools
import json
import logging
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from images_on_disk import MeanColours, image_folder, png_bytes

from copyscope_core.auditing.score import Score
from copyscope_core.evaluation.measure import Works
from copyscope_core.evidence.manifest import read_manifest
from copyscope_core.evidence.run_files import FolderFiles
from copyscope_core.evidence.verify import Verifier
from copyscope_core.features.extractor import FeatureCache
from copyscope_core.files.folders import read_folder
from copyscope_core.files.hashes import HashCache
from copyscope_core.report.html.page import write_html
from copyscope_core.report.report import Report
from copyscope_core.report.text import summary_text
from copyscope_core.store.run_store import RunStore
from copyscope_core.store.runs import STATE_VARIABLE, clean_run, list_runs, register_run

from .harness import fuzzed, guarded
from .mutations import TEXTS, as_json, damaged, damaged_bytes
from .test_games import SCORED, check_page

KEY, OTHER = "a" * 64, "b" * 64


@functools.cache
def finished() -> Path:
    """A run folder with a report, a manifest, features and two entries, made once."""
    root = Path(tempfile.mkdtemp(prefix="copyscope-fuzz-base-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(root / "state"))
        for number, name in enumerate(("none", "a", "b", "ab")):
            image_folder(root / "images" / name, 2, seed=10 * number, size=(8, 8))
        (root / "images" / "game.json").write_bytes(as_json(SCORED[0]))
        reference = read_folder(image_folder(root / "reference", 2, seed=900, size=(8, 8)))
        Score(root / "images", Works(reference), root / "out", MeanColours()).run()
        store = RunStore(root / "out")
        for key in (KEY, OTHER):
            store.write(key, [png_bytes(1, (8, 8)), png_bytes(2, (8, 8))], {"offset": 0})
    return root


def copied(root: Path) -> Path:
    """A copy of the finished run, images and reference beside it."""
    for name in ("images", "reference", "out"):
        shutil.copytree(finished() / name, root / name)
    return root / "out"


def use(root: Path, out: Path) -> None:
    """All that reads or removes a run folder. A sentence ends one use, not the others."""
    store = RunStore(out)
    store.read_run()
    register_run(out)
    list_runs()
    for key in (KEY, OTHER):
        entry = store.read(key)
        if entry is not None:
            store.images(entry)
    store.write(KEY, [png_bytes(3, (8, 8))], {})
    Verifier(out, MeanColours(), root / "reference", images=root / "images", full=True).run()


@fuzzed()
@given(st.integers(0, 10_000), st.data())
def test_damaged_files(number: int, data: st.DataObject) -> None:
    files = sorted(path.relative_to(finished() / "out") for path in (finished() / "out").rglob("*") if path.is_file())
    name = files[number % len(files)]
    content = data.draw(damaged_bytes([(finished() / "out" / name).read_bytes()]))
    with guarded() as root:
        out = copied(root)
        (out / name).write_bytes(content)
        use(root, out)


@fuzzed()
@given(st.sampled_from(["report.json", "manifest.json", "run.json", f"coalitions/{KEY}/entry.json"]), st.data())
def test_damaged_documents(name: str, data: st.DataObject) -> None:
    document = data.draw(damaged([json.loads((finished() / "out" / name).read_bytes())], most=3))
    with guarded() as root:
        out = copied(root)
        (out / name).write_bytes(as_json(document))
        use(root, out)


@fuzzed(0.5)
@given(st.data())
def test_damaged_reports_are_shown_as_text(data: st.DataObject) -> None:
    document = data.draw(damaged([json.loads((finished() / "out" / "report.json").read_bytes())], most=4))
    with guarded() as root:
        (root / "report.json").write_bytes(as_json(document))
        report = Report.load(root / "report.json")
        summary_text(report)
        write_html(report, root, {}, [])
        check_page(root / "report.html")


@fuzzed(0.5)
@given(st.sampled_from(["folder", "link", "pipe", "gone", "empty", "huge"]), st.integers(0, 10_000))
def test_odd_things_in_the_place_of_files(what: str, number: int) -> None:
    parts = sorted(path.relative_to(finished() / "out") for path in (finished() / "out").rglob("*"))
    name = parts[number % len(parts)]
    with guarded() as root:
        out = copied(root)
        secret = root / "secret"
        secret.mkdir()
        (secret / "kept.txt").write_text("kept", encoding="utf-8")
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        if what == "folder":
            path.mkdir()
        elif what == "link":
            path.symlink_to(secret, target_is_directory=True)
        elif what == "pipe" and hasattr(os, "mkfifo"):
            os.mkfifo(path)
        elif what == "empty":
            path.write_bytes(b"")
        elif what == "huge":
            with path.open("wb") as stream:
                stream.truncate(1 << 34)
        try:
            use(root, out)
            clean_run(out)
        finally:
            assert (secret / "kept.txt").read_text(encoding="utf-8") == "kept"


@fuzzed(0.5)
@given(damaged_bytes([b'{"version": 1, "files": {"/x": {"size": 1, "mtime_ns": 1, "sha256": "' + b"a" * 64 + b'"}}}']))
def test_state_files(data: bytes) -> None:
    with guarded() as root:
        state = root / "state"
        state.mkdir()
        for name in ("runs.json", "hashes.json"):
            (state / name).write_bytes(data)
        (root / "model.ckpt").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
        HashCache(state / "hashes.json").sha256(root / "model.ckpt")
        list_runs()


@fuzzed(0.5)
@given(st.data())
def test_stored_features(data: st.DataObject) -> None:
    path = next((finished() / "out" / "features").rglob("*.safetensors"))
    content = data.draw(damaged_bytes([path.read_bytes()]))
    with guarded() as root:
        cache = FeatureCache(root / "features", MeanColours())
        folder = root / "features" / MeanColours.id
        folder.mkdir(parents=True)
        images = read_folder(image_folder(root / "images", 1, size=(8, 8)))
        (folder / f"{images[0].pixel_sha256}.safetensors").write_bytes(content)
        assert cache.features(images).shape == (1, MeanColours.dimension)


@fuzzed(0.25)
@given(st.sampled_from([*TEXTS, "..", "A" * 64, "a" * 63, "a" * 64 + "\n", "../" + "a" * 61]))
def test_keys_form_no_path(key: str) -> None:
    with guarded() as root:
        store = RunStore(root / "out")
        store.remove(key)
        store.write(key, [png_bytes(1, (8, 8))], {})


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@fuzzed(0.25)
@given(damaged_bytes([b"{}", b'{"copyscope_manifest": 1}']))
def test_small_manifests(data: bytes) -> None:
    with guarded() as root:
        (root / "manifest.json").write_bytes(data)
        read_manifest(FolderFiles(root))
