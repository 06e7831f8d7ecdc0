"""``copyscope audit`` with a real ComfyUI that it starts: the images, what is reused, kill -9 of either side."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hostutil import REPOSITORY, Server, require_host, start_server
from images_on_disk import image_folder
from PIL import Image

from copyscope_core.auditing.audit import AuditResult
from copyscope_core.auditing.servers import ServerChoice
from copyscope_core.auditing.session import run_audit
from copyscope_core.comfyui.client import ComfyClient
from copyscope_core.errors import HostError, WorkflowError
from copyscope_core.evaluation.measure import Works
from copyscope_core.files.folders import read_folder
from copyscope_core.files.hashes import file_sha256
from copyscope_core.files.pixels import pixel_hash
from copyscope_core.observer import Quiet
from copyscope_core.settings import AuditSettings
from copyscope_core.store.runs import STATE_VARIABLE

from .audits import BASELINE, LORA_A, plain, values
from .conftest import make_base


class Quarters:
    """A feature extractor without a network: the mean colours of four quarters."""

    id = "quarters"
    dimension = 12

    def __call__(self, images: Any) -> np.ndarray[Any, Any]:
        rows = []
        for image in images:
            halves = (slice(None, len(image) // 2), slice(len(image) // 2, None))
            rows.append([image[r, c].mean(axis=(0, 1)) for r in halves for c in halves])
        return np.asarray(rows, dtype=np.float32).reshape(len(images), 12)


class Watcher(Quiet):
    """An observer that acts at a step; steps 0 to 2 are also those of hashing two model files."""

    def __init__(self, at: int = -1, act: Callable[[], object] = lambda: None) -> None:
        self.at, self.act, self.notes = at, act, list[str]()

    def step(self, done: int, text: str = "") -> None:
        if done == self.at and self.act is not None:
            self.at = -1
            self.act()

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))


@pytest.fixture
def base(tmp_path: Path, mini_models: Path) -> Path:
    return make_base(tmp_path / "base", mini_models)


def started(base: Path) -> ServerChoice:
    """A ComfyUI of the audit's own."""
    return ServerChoice(comfyui=require_host(), base_directory=base, arguments=("--cpu",))


def audit(
    tmp_path: Path,
    choice: Server | Sequence[Server] | ServerChoice,
    observer: Watcher | None = None,
    workflow: Any = None,
    **options: Any,
) -> AuditResult:
    tmp_path.mkdir(exist_ok=True)
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(workflow or plain()), encoding="utf-8")
    if isinstance(choice, Server):
        choice = [choice]
    if not isinstance(choice, ServerChoice):
        choice = ServerChoice(tuple(server.url for server in choice))
    settings = AuditSettings(**{"seeds": 1, **options})
    reference = read_folder(image_folder(tmp_path / "reference", 3))
    return run_audit(
        file, Works(reference), tmp_path / "out", settings, choice, extractor=Quarters(), observer=observer or Watcher()
    )


@pytest.fixture(scope="module")
def expected(mini_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The results of an audit that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(folder / "state"))
        yield values(audit(folder, mini_server).report.model_dump())


def pixels_of_prompt(server: Server, workflow: dict[str, Any]) -> str:
    """The pixel hash of what the workflow makes by itself, without CopyScope."""

    async def main() -> str:
        async with ComfyClient(server.url) as client:
            image = (await client.run(workflow))["outputs"]["9"]["images"][0]
            data = await client.fetch_image(image["filename"], image["subfolder"], image["type"])
        return pixel_hash(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))

    return asyncio.run(main())


def test_coalitions_are_what_the_workflow_makes_by_hand_and_are_made_once(
    tmp_path: Path, mini_server: Server, expected: Any
) -> None:
    result = audit(tmp_path, mini_server)
    report = result.report
    without = next(c for c in report.coalitions if c.members == ["prompt"])
    assert report.coalitions[-1].image_files[0].pixel_sha256 == pixels_of_prompt(mini_server, plain())
    assert without.image_files[0].pixel_sha256 == pixels_of_prompt(mini_server, plain(lora=None))
    assert report.deterministic is True
    assert report.environment["not_hashed"] == []
    models = mini_server.base_dir / "models"
    assert next(m.sha256 for m in report.models if m.file == LORA_A) == file_sha256(models / "loras" / LORA_A)
    again = audit(tmp_path, mini_server)
    assert (again.sampled, again.reused) == (0, 5)
    assert values(again.report.model_dump()) == values(report.model_dump()) == expected
    stored = next((tmp_path / "out" / "coalitions").glob("*/0000.png")).read_bytes()
    assert b'"CheckpointLoaderSimple"' in stored


def test_a_server_killed_in_mid_run_is_started_again(tmp_path: Path, base: Path, expected: Any) -> None:
    def kill() -> None:
        for process in servers(base):
            process.kill()

    observer = Watcher(3, lambda: threading.Timer(0.3, kill).start())
    result = audit(tmp_path, started(base), observer)
    assert values(result.report.model_dump()) == expected
    assert any("started again" in note for note in observer.notes)
    assert servers(base) == []


def test_two_servers_share_an_audit_and_one_of_them_is_killed(
    tmp_path: Path, base: Path, mini_server: Server, expected: Any
) -> None:
    with start_server(base) as second:
        shared = audit(tmp_path / "shared", [mini_server, second])
        makers = {
            entry_of(path)["meta"]["server"] for path in (tmp_path / "shared" / "out").glob("coalitions/*/*.json")
        }
        assert makers == {mini_server.url, second.url}
        assert shared.report.deterministic is True
        observer = Watcher(3, second.process.kill)
        killed = audit(tmp_path / "killed", [mini_server, second], observer)
    assert values(shared.report.model_dump()) == values(killed.report.model_dump()) == expected
    assert any("Its work goes to the other servers" in note for note in observer.notes)


def entry_of(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def servers(base: Path) -> list[psutil.Process]:
    """The ComfyUI processes that use a base directory."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if str(base) in words and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
def test_a_killed_client_leaves_no_server_and_the_same_audit_can_be_finished(
    tmp_path: Path, base: Path, mini_server: Server, expected: Any
) -> None:
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(plain()), encoding="utf-8")
    reference = image_folder(tmp_path / "reference", 3)
    words = [sys.executable, "-m", "copyscope_core.cli", "audit", file, "--reference", reference]
    words += ["--out", tmp_path / "out", "--comfyui", require_host(), "--base-directory", base]
    words += ["--comfyui-arg=--cpu", "--seeds", "1"]
    client = subprocess.Popen([str(word) for word in words], cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(list((tmp_path / "out").glob("coalitions/[!.]*/entry.json"))) >= 2)
    client.kill()
    client.wait()
    wait_for(lambda: not servers(base))
    result = audit(tmp_path, mini_server)
    assert result.reused >= 2
    assert values(result.report.model_dump()) == expected


def wait_for(condition: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_stops_the_server_that_was_started(tmp_path: Path, base: Path, mini_server: Server) -> None:
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        audit(tmp_path, started(base), Watcher(3, interrupt))
    assert servers(base) == []
    assert audit(tmp_path, mini_server).reused >= 2


def test_what_cannot_run_is_named(tmp_path: Path, mini_server: Server) -> None:
    missing = plain(lora="gone.safetensors")
    with pytest.raises(WorkflowError, match=r"lacks 'gone.safetensors' .*" + re.escape(LORA_A)):
        audit(tmp_path, mini_server, workflow=missing)
    broken = plain()
    (mini_server.base_dir / "input" / "broken.png").write_bytes(b"no image")
    broken["5"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["30", 0], "vae": ["4", 2]}}
    broken["30"] = {"class_type": "LoadImage", "inputs": {"image": "broken.png"}}
    with pytest.raises(HostError, match=r"The coalition .* cannot be run.*"):
        audit(tmp_path, mini_server, workflow=broken)


def test_a_baseline_checkpoint_makes_the_checkpoint_a_player(tmp_path: Path, mini_server: Server) -> None:
    report = audit(tmp_path, mini_server, baseline_checkpoint=BASELINE, lock=("prompt",)).report
    assert [player.kind for player in report.players] == ["checkpoint", "lora"]
    assert len({c.image_files[0].pixel_sha256 for c in report.coalitions}) == 4
