"""The host tests that a cache can affect, on several ComfyUIs in every cache mode that each has.

    python -m tests.host.matrix                                     # the hosts in ~/comfy
    python -m tests.host.matrix ~/comfy/ComfyUI-0.3.64 --all -x     # all host tests in its default mode, -x for pytest

Prints one table in Markdown, and after each run a line; ``--out FILE`` writes the table after each run. A host that is
too old, or is none, says so. The exit code is 0 if the tests passed everywhere.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from copyscope_core.comfyui.host import comfyui_version
from copyscope_core.errors import HostError

TESTS = Path(__file__).resolve().parent
HOSTS = ("ComfyUI-0.3.64", "ComfyUI-0.8.0", "ComfyUI")
"""Folders in ``~/comfy`` that are taken where none is named."""

CLASSIC = "--cache-classic"
MODES = {
    CLASSIC: CLASSIC,
    "--cache-lru": "--cache-lru 100",
    "--cache-ram": "--cache-ram 1000",
    "--cache-none": "--cache-none",
}
"""Launch flags → with a value. 1,000 GB are never free, so that this cache drops whatever it can. Where ``--cache-ram``
takes one number (0.8.0) it is run without pressure: there ComfyUI collects garbage after each output that it drops, and
a prompt of these tests took eight minutes."""

CHOSEN = (
    "test_graph_audit.py::test_full_coalition_is_the_users_image_and_absence_is_the_bypass_by_hand",
    "test_graph_audit.py::test_what_memory_must_hold_is_asked_of_the_cache",
    "test_until_sure.py::test_a_graph_that_is_stopped_reports_what_is_known",
    "test_video.py::test_the_graph_and_the_command_measure_the_same_frames",
)
"""Tests whose outcome a cache can change: pixels and reuse in a graph and over a server, memory, stopping, clips."""


@dataclass(frozen=True)
class Outcome:
    """What the tests gave on a host in one cache mode."""

    version: str
    mode: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    names: tuple[str, ...] = ()

    @property
    def row(self) -> str:
        return (
            f"| {self.version} | {self.mode} | {self.passed} | {self.failed} | {self.skipped} | {self.seconds:.0f} s |"
            + (f" {', '.join(self.names)}" if self.names else "")
        )


HEAD = "| ComfyUI | cache | passed | failed | skipped | time |\n| --- | --- | --- | --- | --- | --- |"


def modes(comfyui: Path) -> list[str]:
    """The launch flags of the cache modes that a host has; its default, without any, first.

    Where ``--cache-ram`` takes a list the RAM-pressure cache is the default, elsewhere the classic one.
    """
    text = (comfyui / "comfy" / "cli_args.py").read_text(encoding="utf-8")
    found = {flag: flags for flag, flags in MODES.items() if f'"{flag}"' in text}
    if not re.search(r"\"--cache-ram\", nargs=['\"]\*", text):
        found = {flag: flag if flag == "--cache-ram" else flags for flag, flags in found.items() if flag != CLASSIC}
    return ["", *found.values()]


def run_host(comfyui: Path, flags: str, tests: Sequence[str], words: Sequence[str], models: Path) -> Outcome:
    """Run tests on a host in one cache mode.

    Args:
        flags: launch flags that choose the mode.
        words: for pytest.
        models: a folder of miniature models that the runs share.
    """
    environment = {**os.environ, "COMFYUI_PATH": str(comfyui), "COPYSCOPE_HOST_ARGS": flags,
                   "COPYSCOPE_MINI_MODELS": str(models)}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "tests.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={record}", *tests, *words]
        started = time.monotonic()
        subprocess.run(command, env=environment, cwd=TESTS.parents[1], check=False)
        seconds = time.monotonic() - started
        cases = list(ElementTree.parse(record).iter("testcase")) if record.exists() else []
    failed = [case.get("name", "?") for case in cases if {"failure", "error"} & {part.tag for part in case}]
    skipped = sum(any(part.tag == "skipped" for part in case) for case in cases)
    if not cases:
        failed = ["no test ran"]
    passed = max(0, len(cases) - len(failed) - skipped)
    return Outcome(comfyui_version(comfyui), flags or "default", passed, len(failed), skipped, seconds, tuple(failed))


def outcomes(
    hosts: Sequence[Path], tests: Sequence[str], words: Sequence[str], every_mode: bool
) -> Iterator[Outcome | str]:
    """What the tests gave on each host, in each mode or in its default; a sentence for a host that cannot be tested."""
    with tempfile.TemporaryDirectory(prefix="copyscope-models-") as models:
        for host in hosts:
            try:
                comfyui_version(host)
            except HostError as error:
                yield str(error)
                continue
            for flags in modes(host) if every_mode else [""]:
                yield run_host(host, flags, tests, words, Path(models))


def main(words: Sequence[str], run: Callable[..., Iterator[Outcome | str]] = outcomes) -> int:
    """Run the tests on each host in each mode, and print the table."""
    words = list(words)
    out = None
    if "--out" in words:
        place = words.index("--out")
        out = Path(words[place + 1])
        del words[place : place + 2]
    named = [Path(word).expanduser().resolve() for word in words if not word.startswith("-")]
    hosts = named or [path for name in HOSTS if (path := Path.home() / "comfy" / name).is_dir()]
    if not hosts:
        print(__doc__)
        return 2
    whole = "--all" in words
    chosen = [str(TESTS)] if whole else [str(TESTS / name) for name in CHOSEN]
    found: list[Outcome | str] = []
    for outcome in run(hosts, chosen, [word for word in words if word.startswith("-") and word != "--all"], not whole):
        found.append(outcome)
        print(outcome.row if isinstance(outcome, Outcome) else outcome, flush=True)
        if out is not None:
            out.write_text(table(found) + "\n", encoding="utf-8")
    print("\n" + table(found))
    return 0 if all(isinstance(item, Outcome) and not item.failed for item in found) else 1


def table(found: Sequence[Outcome | str]) -> str:
    """The outcomes in Markdown, and below it a line for each host that could not be tested."""
    rows = [item.row for item in found if isinstance(item, Outcome)]
    return "\n".join([*([HEAD, *rows] if rows else []), *(item for item in found if isinstance(item, str))])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
