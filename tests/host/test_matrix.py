"""The matrix of hosts: those that cannot be tested say why."""

from __future__ import annotations

from pathlib import Path

import pytest

from .matrix import main


def test_a_host_that_is_too_old_or_none_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "old"
    (old / "comfy").mkdir(parents=True)
    (old / "main.py").touch()
    (old / "comfyui_version.py").write_text('__version__ = "0.3.40"\n', encoding="utf-8")
    assert main([str(old), str(tmp_path / "nothing")]) == 1
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0].endswith("is ComfyUI 0.3.40, which is too old; CopyScope needs 0.3.64 or later, so update it.")
    assert "is not a ComfyUI folder" in lines[1]


def test_no_host_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
