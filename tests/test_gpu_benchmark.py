"""``make gpu``: what cannot be run stands in the table with its reason, and one part that fails ends no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.gpu import PARTS, Options, Row, in_process, markdown


@pytest.mark.parametrize("part", PARTS)
def test_without_a_gpu_each_part_says_so(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert in_process(part, Options("cuda", True, Path("nowhere")), 60) == [Row(part, part, "not run: no CUDA device")]


@pytest.mark.parametrize("part", sorted(gpu.ON_COMFYUI))
def test_without_a_comfyui_each_part_that_needs_one_says_so(part: str) -> None:
    (row,) = in_process(part, Options("cpu", True, Path("nowhere")), 60)
    assert row.value == "not run: no ComfyUI in nowhere"


def test_a_part_has_the_time_that_is_left() -> None:
    options = Options("cpu", True, Path("nowhere"))
    assert in_process("features", options, 0)[0].value == "not run: the time was over"
    assert in_process("features", options, 0.1)[0].value == "not run to its end: the time was over"


def test_a_part_that_fails_is_a_line_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "why_not", lambda part, options: None)
    (row,) = in_process("repeat", Options("no-such-device", True, Path("nowhere")), 300)
    assert row.holds is False
    assert row.value.startswith("not run to its end: ")


def test_the_table_says_which_goals_are_met() -> None:
    rows = [Row("a", "x", "1", "2", False), Row("b", "y", "3", "3", True), Row("c", "z", "not run: no word")]
    lines = markdown(rows, "a machine", "a command").splitlines()
    assert lines[0] == "`a command` on a machine"
    assert lines[-3:] == ["| a | x | 1 | 2 | **no** |", "| b | y | 3 | 3 | yes |", "| c | z | not run: no word |  |  |"]
