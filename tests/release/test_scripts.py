"""Studies, benchmarks, tools and campaigns are run as modules, so they import each other by their full names."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("benchmarks", "studies", "studies/planted", "tools/miniature", "tools/style_zoo", "tests/faults")
SCRIPTS = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_neighbours_are_imported_by_their_full_names(path: Path) -> None:
    neighbours = {item.stem for item in (*path.parent.glob("*.py"), *(ROOT / "tests").glob("*.py"))}
    named = [
        item.module
        for item in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(item, ast.ImportFrom) and item.level == 0 and item.module
    ]
    assert not [name for name in named if name in neighbours]
