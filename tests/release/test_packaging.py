"""What installs and registers the pack says the same in every place."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import tomllib

from copyscope_core.comfyui.style_prompt import STYLE_NODE

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_requirements_are_the_cores_dependencies() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split("\n")
    assert [line for line in lines if line] == PROJECT["project"]["dependencies"]


def test_dependencies_break_no_other_pack() -> None:
    names = [re.match(r"[\w-]+", item).group().lower() for item in PROJECT["project"]["dependencies"]]
    assert not [item for item in PROJECT["project"]["dependencies"] if "==" in item]
    assert not [name for name in names if "opencv" in name]


def test_registry_metadata() -> None:
    comfy = PROJECT["tool"]["comfy"]
    assert comfy["PublisherId"] and comfy["DisplayName"]
    assert comfy["requires-comfyui"] == ">=0.3.64"
    assert "web" not in comfy  # WEB_DIRECTORY in __init__.py is used instead
    assert "comfyui" not in PROJECT["project"]["name"].lower()
    assert re.fullmatch(r"[a-z][a-z0-9-]*", PROJECT["project"]["name"])
    assert PROJECT["project"]["license"] == "GPL-3.0-or-later"
    assert "GNU GENERAL PUBLIC LICENSE" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_core_imports_relatively_and_never_comfy() -> None:
    forbidden = ("comfy", "comfy_api", "folder_paths", "nodes", "server", "execution", "copyscope_core")
    for path in (ROOT / "copyscope_core").rglob("*.py"):
        for item in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(item, ast.Import):
                names = [alias.name for alias in item.names]
            elif isinstance(item, ast.ImportFrom) and item.level == 0:
                names = [item.module or ""]
            else:
                continue
            assert not [name for name in names if name.split(".")[0] in forbidden], (path, names)


def test_node_ids_never_change() -> None:
    ids = set()
    for path in sorted((ROOT / "nodes").rglob("*.py")):
        ids |= set(re.findall(r'"(CopyScope(?!Extension)[A-Z]\w+)"', path.read_text(encoding="utf-8")))
    assert ids | {STYLE_NODE} == {
        "CopyScopeCoalitionEnumerator", "CopyScopeLoaderCoalitions", "CopyScopePlayers",
        "CopyScopeSettings", "CopyScopeLoadReference",
        "CopyScopeFID", "CopyScopeShapleyReport", "CopyScopeCoalitionImages", "CopyScopeCollectCoalitions",
        "CopyScopeTurn", "CopyScopeStyleOfImage",
    }  # fmt: skip


def test_importing_the_core_loads_nothing_heavy() -> None:
    code = (
        "import sys, copyscope_core.planning.plan, copyscope_core.report.build, copyscope_core.store.run_store;"
        "sys.exit(str([m for m in ('torch', 'torchvision', 'scipy') if m in sys.modules] or '') or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
