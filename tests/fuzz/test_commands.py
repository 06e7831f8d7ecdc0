"""Whole commands on damaged files: exit code 0, or 2 after one line, and never a traceback."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copyscope_core.cli.main import main

from .harness import fuzzed, guarded
from .mutations import TEXTS, as_json, damaged, damaged_bytes
from .test_games import SCORED, VALUES
from .test_workflows import API, SETTINGS


def command(*words: Any) -> None:
    """Run a command; standard output and errors are as a terminal in ASCII would take them."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["copyscope", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
    err.flush()
    said = err.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert ended.value.code in (0, 2), (ended.value.code, said)
    assert "Traceback" not in said
    if ended.value.code == 2:
        assert said.strip()


@pytest.fixture(autouse=True)
def handlers() -> Any:
    """Leave the package's log handlers as they were: a command adds one to a stream that is closed afterwards."""
    package = logging.getLogger("copyscope_core")
    kept, propagate = list(package.handlers), package.propagate
    yield
    package.handlers, package.propagate = kept, propagate


@fuzzed(0.5)
@given(damaged(API), st.booleans())
def test_plan(graph: Any, as_object: bool) -> None:
    with guarded() as root:
        (root / "workflow.json").write_bytes(as_json(graph))
        command("plan", root / "workflow.json", *(["--json"] if as_object else []))


@fuzzed(0.5)
@given(damaged_bytes([as_json(item) for item in API]), damaged_bytes([as_json(item) for item in SETTINGS]))
def test_plan_files(graph: bytes, settings: bytes) -> None:
    with guarded() as root:
        (root / "workflow.json").write_bytes(graph)
        (root / "settings.json").write_bytes(settings)
        command("plan", root / "workflow.json", "--settings", root / "settings.json")


@fuzzed(0.5)
@given(damaged_bytes([as_json(item) for item in VALUES + SCORED]), st.booleans())
def test_shapley(table: bytes, as_object: bool) -> None:
    with guarded() as root:
        (root / "game.json").write_bytes(table)
        command("shapley", root / "game.json", *(["--json"] if as_object else []))


@fuzzed(0.25)
@given(
    st.sampled_from(["plan", "score", "shapley", "fid", "runs", "verify"]),
    st.sampled_from(TEXTS),
    st.sampled_from(TEXTS),
)
def test_arguments(name: str, first: str, second: str) -> None:
    if "\0" in first + second or any("\ud800" <= letter <= "\udfff" for letter in first + second):
        return  # no operating system passes these on
    with guarded() as root, pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        words = {"runs": ["runs", "clean", first, second], "fid": ["fid", first, second]}
        command(*words.get(name, [name, first, "--reference", second, "--out", root / "out"]))
