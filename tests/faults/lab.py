"""What the fault campaign works with: a miniature audit, a real ComfyUI, clients as processes, and the comparison."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from copyscope_core.comfyui.host import ManagedHost
from copyscope_core.demo.models import make_model_folder
from copyscope_core.planning.steps import CANARIES

from ..host.audits import audited, node, plain
from ..images_on_disk import image_folder

REPOSITORY = Path(__file__).resolve().parents[2]
SEEDS = 1
PROMPTS = 4 * SEEDS + 1 + CANARIES
"""Prompts of an undisturbed audit: four coalitions, the whole one once more, and the canaries."""

Workflow = dict[str, dict[str, Any]]


class CampaignError(AssertionError):
    """Something was lost, differed, or ended without a sentence."""


@dataclass(frozen=True)
class Ended:
    """How a client ended: its exit code (negative: killed) and what it said on stderr."""

    code: int
    said: str


def workflow() -> Workflow:
    """Checkpoint, LoRA, prompt, 64×64, two steps; its image goes through the gate where faults are made."""
    result = plain()
    result["30"] = node("CopyScopeFaultGate", image=["8", 0])
    result["9"]["inputs"]["images"] = ["30", 0]
    return result


@dataclass
class Lab:
    """One base directory with miniature models, and one ComfyUI on it that is kept where a fault spares it."""

    folder: Path
    comfyui: Path
    host: ManagedHost = field(init=False)
    expected: Any = None
    audits: int = 0

    def __post_init__(self) -> None:
        self.base = self.folder / "base"
        shutil.rmtree(self.folder, ignore_errors=True)
        make_model_folder(self.base / "models", ["sd15"])
        for name in ("custom_nodes", "orders"):
            (self.base / name).mkdir(parents=True)
        shutil.copy(Path(__file__).parent / "fault_node.py", self.base / "custom_nodes" / "copyscope_fault.py")
        (self.base / "custom_nodes" / "copyscope").symlink_to(REPOSITORY, target_is_directory=True)
        image_folder(self.base / "input" / "ref", 3)
        self.file = self.folder / "workflow.json"
        self.file.write_text(json.dumps(workflow()), encoding="utf-8")
        self.host = ManagedHost(self.comfyui, ("--cpu",), self.folder / "kept.log", self.base)

    def new_out(self, name: str) -> Path:
        """A run folder for one more audit. The kept server forgets what it made, so that there is something to kill."""
        self.audits += 1
        ask(f"{self.host.url}/free", {"unload_models": True, "free_memory": True})
        return self.folder / "runs" / f"{self.audits:03d}-{name}"

    def order(self, *words: str) -> None:
        """Make the gate fail once for each order."""
        for number, text in enumerate(words):
            (self.base / "orders" / str(number)).write_text(text, encoding="utf-8")

    def client(self, out: Path, *, server: str | Sequence[str] = (), timeout: float = 120) -> Client:
        """Start ``copyscope audit`` on one or more servers, or with a ComfyUI of its own where none is named."""
        servers = [server] if isinstance(server, str) else server
        words = ["audit", self.file, "--reference", self.base / "input" / "ref", "--out", out, "--device", "cpu"]
        words += ["--seeds", SEEDS, "--timeout", timeout, "--comfyui", self.comfyui, "--base-directory", self.base]
        words += [word for url in servers for word in ("--server", url)] or ["--comfyui-arg=--cpu"]
        return Client([str(word) for word in words], out, self.folder / "state")

    def finish(self, out: Path, *, server: str | Sequence[str] = ()) -> None:
        """The same command once more; it must succeed and agree.

        Raises:
            CampaignError: it did not.
        """
        ended = self.client(out, server=server).wait()
        if ended.code != 0:
            raise CampaignError(f"{out.name}: the same command ended with {ended.code}: {ended.said[-1500:]}")
        self.check(out)

    def check(self, out: Path) -> None:
        """Compare a report with the undisturbed one, to the last bit.

        Raises:
            CampaignError: they differ.
        """
        found = numbers(out / "report.json")
        if found != self.expected:
            fields = differing(found, self.expected)
            raise CampaignError(f"{out.name}: the report differs from the undisturbed one in {fields}")

    def prompts(self, log: Path) -> int:
        """How many prompts a server has taken, by its log."""
        return log.read_bytes().count(b"got prompt") if log.exists() else 0

    def servers(self) -> list[psutil.Process]:
        """ComfyUI processes on this base directory that are not the kept one."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if str(self.base) in words and "-c" in words and process.pid != self.host.pid:
                found.append(process)
        return found

    def kill_host(self, host: ManagedHost) -> None:
        """``kill -9`` of a server and all that it started."""
        if host.pid is not None:
            os.killpg(host.pid, signal.SIGKILL)

    def graph(self) -> Workflow:
        """The same audit inside a graph."""
        result = audited(workflow(), seeds=SEEDS)
        result["21"]["inputs"]["image"] = ["30", 0]
        return result


class Client:
    """One ``copyscope`` process."""

    def __init__(self, words: list[str], out: Path, state: Path) -> None:
        self.out = out
        self.fresh = entries(out) == 0
        self.started = time.monotonic()
        environment = {**os.environ, "COPYSCOPE_STATE_DIR": str(state), "PYTHONUTF8": "1"}
        self.errors = out.with_name(out.name + ".stderr")
        self.errors.parent.mkdir(parents=True, exist_ok=True)
        with self.errors.open("wb") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "copyscope_core.cli", *words],
                cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, stderr=sink,
            )  # fmt: skip

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.process.wait()

    def wait(self, seconds: float = 600) -> Ended:
        """Wait for its end.

        Raises:
            CampaignError: it hangs, or ended with a traceback.
        """
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise CampaignError(f"{self.out.name}: the client hangs") from error
        said = self.errors.read_text(encoding="utf-8", errors="replace")
        if "Traceback (most recent" in said or self.process.returncode not in (0, 2, -9):
            raise CampaignError(f"{self.out.name}: the client ended with {self.process.returncode}: {said[-3000:]}")
        return Ended(self.process.returncode, said)


def ask(url: str, body: Any = None) -> Any:
    """The JSON that a server answers: to a POST where there is a body, else to a GET."""
    data = None if body is None else json.dumps(body).encode("utf-8")
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = answer.read()
    return json.loads(found) if found else None


def numbers(path: Path) -> Any:
    """A report without its time, its place, and the command that made it."""
    return without_custody(json.loads(path.read_text(encoding="utf-8")))


def without_custody(report: dict[str, Any]) -> dict[str, Any]:
    """The same of a report that a prompt gave."""
    return {name: value for name, value in report.items() if name not in ("created", "custody")}


def differing(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """Names of the fields in which two reports differ, for an error."""
    return ", ".join(name for name in {**found, **expected} if found.get(name) != expected.get(name))


def entries(out: Path) -> int:
    """How many coalitions a run folder holds."""
    return len(list(out.glob("coalitions/[!.]*/entry.json")))
