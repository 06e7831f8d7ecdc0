"""The matrix of hosts: the cache modes of a host, what becomes of failures, and hosts that cannot be tested."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .matrix import CHOSEN, MODES, TESTS, Outcome, main, modes


def test_a_host_that_is_too_old_or_none_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "old"
    (old / "comfy").mkdir(parents=True)
    (old / "main.py").touch()
    (old / "comfyui_version.py").write_text('__version__ = "0.3.40"\n', encoding="utf-8")
    assert main([str(old), str(tmp_path / "nothing")]) == 1
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0].endswith("is ComfyUI 0.3.40, which is too old; CopyScope needs 0.3.64 or later, so update it.")
    assert "is not a ComfyUI folder" in lines[1]


def test_no_host_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main([]) == 2
    assert "python -m tests.host.matrix" in capsys.readouterr().out


def test_every_cache_mode_of_a_host_is_found(tmp_path: Path) -> None:
    (tmp_path / "comfy").mkdir()
    args = tmp_path / "comfy" / "cli_args.py"
    args.write_text('add_argument("--cache-lru", type=int)\nadd_argument("--cache-none")\n', encoding="utf-8")
    assert modes(tmp_path) == ["", "--cache-lru 100", "--cache-none"]
    args.write_text("".join(f'add_argument("{flag}")\n' for flag in MODES), encoding="utf-8")
    assert modes(tmp_path) == ["", "--cache-lru 100", "--cache-ram", "--cache-none"]
    args.write_text("".join(f"add_argument(\"{flag}\", nargs='*')\n" for flag in MODES), encoding="utf-8")
    assert modes(tmp_path) == ["", *MODES.values()]


def test_the_chosen_tests_are_there() -> None:
    for name in CHOSEN:
        file, _, test = name.partition("::")
        assert f"def {test}(" in (TESTS / file).read_text(encoding="utf-8")


def test_a_failure_anywhere_is_no_success_and_the_table_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = []

    def run(hosts: list[Path], tests: list[str], words: list[str], every_mode: bool) -> Iterator[Outcome | str]:
        given.append((hosts, len(tests), words, every_mode))
        yield Outcome("0.33.0", "default", 4, 0, 0, 61.4)
        yield Outcome("0.33.0", "--cache-none", 3, 1, 0, 5.0, ("test_it",))

    assert main([str(tmp_path), "-x", "--out", str(tmp_path / "table.md")], run) == 1
    assert given == [([tmp_path], len(CHOSEN), ["-x"], True)]
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| 0.33.0 | default | 4 | 0 | 0 | 61 s |" in table
    assert "| 0.33.0 | --cache-none | 3 | 1 | 0 | 5 s | test_it" in table
    assert table.strip() in capsys.readouterr().out
