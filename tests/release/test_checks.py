"""The lists that ``make check`` goes by name what there is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import SLOW

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("entry", SLOW)
def test_every_slow_test_is_there(entry: str) -> None:
    name, _, function = entry.partition("::")
    path = ROOT / name
    assert path.is_dir() if name.endswith("/") else path.is_file()
    if function:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert function in {item.name for item in ast.walk(tree) if isinstance(item, ast.FunctionDef)}


def test_the_list_is_sorted_and_names_nothing_twice() -> None:
    assert sorted(set(SLOW)) == SLOW
