"""What ComfyUI meets first: the pack says at its start which packages are not installed."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def entry() -> ModuleType:
    spec = importlib.util.spec_from_file_location("copyscope_entry", ROOT / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_packs_own_requirements_are_found_where_they_are_installed(entry: ModuleType) -> None:
    entry.check_requirements()


def test_what_is_missing_is_named_with_the_command_that_installs_it(entry: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("numpy>=1.25\nno-such-package>=2\npillow>=10.3\nneither_this\n\n# a remark\n", encoding="utf-8")
    command = f'"{sys.executable}" -m pip install -r "{path}"'
    with pytest.raises(ImportError, match=rf"needs no-such-package, neither_this, .*{re.escape(command)}$"):
        entry.check_requirements(path)
