"""``plan``, ``score`` and ``audit`` of a program, against a stand-in server: the command's results, refusals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from example_workflows import with_lora
from fakecomfy import FakeComfy
from images_on_disk import MeanColours, image_folder
from PIL import Image, PngImagePlugin

import copyscope_core as cs
from copyscope_core.api.given import works_of
from copyscope_core.auditing.servers import ServerChoice
from copyscope_core.auditing.session import run_plan
from copyscope_core.controls.bank import load_bank
from copyscope_core.observer import Quiet
from copyscope_core.store.runs import STATE_VARIABLE


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    monkeypatch.delenv("COPYSCOPE_SERVER", raising=False)


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "reference", 2, seed=99)


def numbers(report: cs.Report) -> dict[str, Any]:
    return report.model_dump(exclude={"created", "custody", "environment"})


def test_plan_is_what_the_command_prints(tmp_path: Path, server: FakeComfy) -> None:
    file = tmp_path / "w.json"
    file.write_text(json.dumps(with_lora()), encoding="utf-8")
    for url in (None, server.url):
        choice = ServerChoice((url,) if url else ())
        expected = run_plan(file, cs.AuditSettings(seeds=3, lock=("prompt",)), choice, Quiet()).summary()
        for workflow in (file, str(file), with_lora()):
            plan = cs.plan(workflow, seeds=3, lock=["prompt"], server=url)
            assert plan.summary() == expected
            assert repr(plan) == "<Plan of style: 2 coalitions, 6 images>"
    assert server.prompts == []


def test_plan_takes_what_comfyui_stores(tmp_path: Path) -> None:
    """An image, its content, and the history; `is_changed` is NaN where a node always runs."""
    stored = {key: {**node, "is_changed": [float("nan")]} for key, node in with_lora().items()}
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(stored))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    history = {"0a1b": {"prompt": [1, "0a1b", with_lora(), {}, ["9"]], "outputs": {}, "status": {}}}
    for workflow in (tmp_path / "a.png", str(tmp_path / "a.png"), stored, history, {"prompt": stored}):
        assert cs.plan(workflow).summary() == cs.plan(with_lora()).summary()


def test_score_is_what_it_writes(tmp_path: Path, reference: Path) -> None:
    folder = tmp_path / "images"
    for number, name in enumerate(("none", "a")):
        image_folder(folder / name, 2, seed=10 * number)
    rows = [{"folder": "none", "members": []}, {"folder": "a", "members": ["style"]}]
    (folder / "game.json").write_text(json.dumps({"players": ["style"], "coalitions": rows}), encoding="utf-8")
    report = cs.score(folder, reference, tmp_path / "out", features=MeanColours())
    assert report == cs.Report.load(tmp_path / "out")
    files = cs.score(str(folder), sorted(reference.iterdir()), str(tmp_path / "files"), features=MeanColours())
    assert numbers(files) == numbers(report)
    private = cs.score(folder, reference, tmp_path / "p", features=MeanColours(), private=True, distance="kid")
    assert (private.private, private.distance) == (True, "kid")
    with pytest.raises(cs.CopyScopeError, match="no distance 'fidd'; choose one of fid, kid, mmd, fid_infinity"):
        cs.score(folder, reference, tmp_path / "x", distance="fidd", features=MeanColours())  # type: ignore[arg-type]
    with pytest.raises(cs.CopyScopeError, match="must lie on the disk"):
        cs.score(folder, [MeanColours()], tmp_path / "x", features=MeanColours())  # type: ignore[list-item]
    with pytest.raises(cs.CopyScopeError, match="is empty"):
        cs.score(folder, [], tmp_path / "x", features=MeanColours())
    assert not (tmp_path / "x").exists()


def test_audit_in_a_script_and_in_a_running_loop(tmp_path: Path, server: FakeComfy, reference: Path) -> None:
    def audit(out: str) -> cs.Report:
        options: Any = {"features": MeanColours(), "baseline_checkpoint": None}
        return cs.audit(with_lora(), reference, tmp_path / out, server=server.url, seeds=1, **options)

    async def notebook() -> cs.Report:
        return audit("notebook")

    report = audit("script")
    assert report == cs.Report.load(tmp_path / "script")
    assert [player.name for player in report.players] == ["style", "prompt"]
    assert len(server.prompts) == 4 + 1 + 2  # canaries
    assert numbers(asyncio.run(notebook())) == numbers(report)
    assert [item for item in threading.enumerate() if item.name.startswith("copyscope_")] == []


def test_several_servers_and_the_environment(
    tmp_path: Path, server: FakeComfy, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(cs.CopyScopeError, match="given twice"):
        cs.audit(with_lora(), reference, tmp_path / "out", server=[server.url, server.url], features=MeanColours())
    monkeypatch.setenv("COPYSCOPE_SERVER", server.url)
    assert cs.audit(with_lora(), reference, tmp_path / "out", seeds=1, features=MeanColours()).seeds == [0]


def test_errors_in_a_running_loop_are_the_same(tmp_path: Path, reference: Path) -> None:
    async def notebook() -> None:
        cs.audit(with_lora(), reference, tmp_path / "out", server="127.0.0.1:9", features=MeanColours())

    with pytest.raises(cs.CopyScopeError, match=r"No ComfyUI server can be reached at http://127\.0\.0\.1:9"):
        asyncio.run(notebook())
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_an_interrupt_in_a_running_loop_stops_the_thread(tmp_path: Path, server: FakeComfy, reference: Path) -> None:
    """As a notebook's kernel is interrupted: SIGINT raises KeyboardInterrupt in the thread of the cell."""
    server.seconds = 0.3
    done = threading.Event()

    def audit(**options: Any) -> cs.Report:
        out = tmp_path / "out"
        return cs.audit(with_lora(), reference, out, server=server.url, seeds=4, features=MeanColours(), **options)

    def interrupt() -> None:
        while len(server.prompts) < 3 and not done.is_set():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    async def notebook() -> None:
        loop = asyncio.get_running_loop()
        assert loop.is_running()
        with pytest.raises(KeyboardInterrupt):
            audit()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    runner = asyncio.new_event_loop()  # asyncio.run would take SIGINT over, which a notebook's loop does not
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        runner.run_until_complete(notebook())
    finally:
        done.set()
        runner.close()
        signal.signal(signal.SIGINT, before)
    made = len(server.prompts)
    assert made < 10
    assert [item for item in threading.enumerate() if item.name.startswith("copyscope_")] == []
    server.seconds = 0
    assert len(audit().coalitions) == 4
    assert len(server.prompts) - made < 4 * 4 + 1 + 2


BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "typo": (with_lora(), {"sedes": 3}, "The settings do not fit: sedes"),
    "range": (with_lora(), {"seeds": 0}, "The settings do not fit: seeds"),
    "ray": (with_lora(), {"ray": "auto"}, "ray"),
    "number": (3, {}, "type int is no workflow"),
    "object": ({"1": object()}, {}, "cannot be written as JSON"),
    "NaN": ({"1": float("nan")}, {}, "has no class_type"),
    "no file": ("/nowhere/at/all.json", {}, "cannot be read"),
    "nobody": (with_lora(), {"lock": ["nobody"]}, "nobody"),
    "no server": (with_lora(), {"server": "ftp://x"}, "no server address"),
    "no ComfyUI": (with_lora(), {"server": None, "comfyui": "/"}, "not a ComfyUI folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_one_sentence(tmp_path: Path, server: FakeComfy, reference: Path, case: str) -> None:
    workflow, options, message = BAD[case]
    options = {"server": server.url, "features": MeanColours(), **options}
    with pytest.raises(cs.CopyScopeError, match=message) as caught:
        cs.audit(workflow, reference, tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert server.prompts == []
    assert not (tmp_path / "out").exists()


def test_no_file_of_a_workflow_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    cs.plan(with_lora())
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("copyscope-")] == []


def test_the_control_of_a_call_is_given_the_banks_or_none(tmp_path: Path) -> None:
    reference, own = (image_folder(tmp_path / name, count) for name, count in (("reference", 2), ("own", 3)))
    assert works_of(reference, None).bank is load_bank()
    none, given = works_of(reference, False), works_of(reference, own)
    assert (none.bank, len(none.control), given.bank, len(given.control)) == (None, 0, None, 3)
