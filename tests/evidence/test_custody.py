"""Who made a report, when and with what, and the log of it."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from copyscope_core import __version__
from copyscope_core.evidence import custody
from copyscope_core.evidence.custody import PACKAGE, Custody, tree_sha256
from copyscope_core.evidence.publish import ReportOptions
from copyscope_core.report.report import Report
from copyscope_core.store.runs import STATE_VARIABLE
from tests.evidence.scored import make_scored


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text("utf-8").splitlines()]


def test_a_report_names_who_made_it_with_what_and_the_log_what_it_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    monkeypatch.setattr(sys, "argv", ["/usr/bin/copyscope", "score", "--storage", "s3://me:secret@host/a b"])
    out = make_scored(tmp_path, ReportOptions(examiner="A. Smith", case="<b>7 O 12/26"))
    first = hashlib.sha256((out / "manifest.json").read_bytes()).hexdigest()
    report = Report.load(out / "report.json")
    made = report.custody
    assert made is not None
    assert (made.examiner, made.case, made.made, made.reused) == ("A. Smith", "<b>7 O 12/26", 0, 4)
    assert made.command == "copyscope score --storage 's3://host/a b'"
    assert made.started <= made.finished
    assert abs(made.clock_moved) < 1
    assert made.tree_sha256 == tree_sha256()
    page = (out / "report.html").read_text("utf-8")
    assert "&lt;b&gt;7 O 12/26" in page
    assert "<b>7 O" not in page
    for text in (made.started, made.tree_sha256, first, "A. Smith"):
        assert text in page
    assert [item["event"] for item in events(out)] == ["begun", *["reused"] * 4, "report"]
    make_scored(tmp_path)
    again = events(out)
    assert [item["event"] for item in again] == ["begun", *["reused"] * 4, "report"] * 2
    assert [item.get("replaces") for item in again if item["event"] == "report"] == [None, first]
    assert again[0]["copyscope"] == __version__
    assert [item["time"] for item in again] == sorted(item["time"] for item in again)


def test_what_ended_a_session_is_noted_but_nothing_after_its_report(tmp_path: Path) -> None:
    session = Custody(tmp_path)
    session.stopped(KeyboardInterrupt())
    assert [item["event"] for item in events(tmp_path)] == ["begun", "stopped"]
    session.record("mean-colours", None, None)
    session.stopped(ValueError("late"))
    assert len(events(tmp_path)) == 2


def test_a_clock_that_is_set_meanwhile_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Custody(tmp_path)
    now = custody._now()
    monkeypatch.setattr(custody, "_now", lambda: now.replace(year=now.year + 1))
    assert session.record("mean-colours", None, None).clock_moved > 86400 * 364


def test_the_tree_is_that_of_the_files() -> None:
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n"
        for name, path in sorted((path.relative_to(PACKAGE).as_posix(), path) for path in PACKAGE.rglob("*"))
        if path.is_file() and "__pycache__" not in name and not name.startswith("weights/")
    ]
    assert tree_sha256() == hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("how", ["loose", "packed", "detached", "linked", "none", "odd"])
def test_the_commit_is_that_of_the_working_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str) -> None:
    monkeypatch.setattr(custody, "PACKAGE", tmp_path / "copy" / "copyscope_core")
    git, commit = tmp_path / "copy" / ".git", "a1" * 20
    git.parent.mkdir()
    files = {
        "loose": {".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": f"{commit}\n"},
        "packed": {".git/HEAD": "ref: refs/heads/main", ".git/packed-refs": f"# x\n{commit} refs/heads/main\n"},
        "detached": {".git/HEAD": commit},
        "linked": {
            ".git": "gitdir: ../repository/worktrees/copy\n",
            "../repository/worktrees/copy/HEAD": "ref: refs/heads/b",
            "../repository/worktrees/copy/commondir": "../..\n",
            "../repository/refs/heads/b": commit,
        },
        "odd": {".git/HEAD": "ref: ../../x", "../x": "no commit"},
    }
    for name, text in files.get(how, {}).items():
        path = git.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert custody._checked_out() == (None if how in ("none", "odd") else commit)
