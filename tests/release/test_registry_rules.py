"""What the ComfyUI registry forbids, and what this project promises, looked for in every file of the pack.

No ``eval`` or ``exec``, no installing at run time, no unpickling, no process but the ComfyUI that the user named and
the browser that prints a PDF, no connection but to the server that the user named, nothing that turns text into markup
or code in the browser.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sorted([ROOT / "__init__.py", *(ROOT / "nodes").rglob("*.py"), *(ROOT / "copyscope_core").rglob("*.py")])
SCRIPTS = sorted([*(ROOT / "web").rglob("*.js"), *(ROOT / "copyscope_core").rglob("*.js")])

NEVER_CALLED = {"eval", "exec", "compile", "__import__", "input"}
NEVER_IMPORTED = {
    "pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "ctypes", "cffi", "requests", "httpx",
    "ftplib", "smtplib", "telnetlib", "xmlrpc", "pip", "ensurepip", "zipimport", "tarfile", "pty", "webbrowser",
}  # fmt: skip
NEVER_USED = re.compile(
    r"torch\.load|torch\.jit\.load|torch\.hub|os\.system|os\.popen|shell\s*=\s*True|allow_pickle\s*=\s*True"
    r"|trust_remote_code\s*=\s*True|pip install|extractall|unpack_archive|hf_hub|snapshot_download"
)
PLACES = {
    "subprocess": {"copyscope_core/comfyui/host.py", "copyscope_core/report/pdf.py"},
    "socket": {"copyscope_core/comfyui/host.py"},
    "urllib": {"copyscope_core/comfyui/host.py"},
    "aiohttp": {
        "__init__.py",
        "copyscope_core/comfyui/client.py",
        "copyscope_core/comfyui/http.py",
        "nodes/routes.py",
        "copyscope_core/evidence/time_stamp.py",
    },
    "ray": {"copyscope_core/auditing/ray_fleet.py"},
    "fsspec": {"copyscope_core/store/storage.py"},
}
"""Modules that reach out of the process, and the only files that may import them."""

NEVER_IN_SCRIPTS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\s*\(|new Function|setAttribute\(\s*['\"]on"
    r"|createContextualFragment|javascript:|['\"`](?:https?:)?//(?!www\.w3\.org/)"
)


def imports(tree: ast.AST) -> set[str]:
    """The top-level names of all modules that a file imports, wherever in it."""
    found = set()
    for item in ast.walk(tree):
        if isinstance(item, ast.Import):
            found |= {alias.name.split(".")[0] for alias in item.names}
        elif isinstance(item, ast.ImportFrom) and item.level == 0 and item.module:
            found.add(item.module.split(".")[0])
        elif isinstance(item, ast.Call) and ast.unparse(item.func).endswith("import_module"):
            found |= {str(word.value).split(".")[0] for word in item.args if isinstance(word, ast.Constant)}
    return found


def code_of(tree: ast.Module) -> str:
    """A file's code without its docstrings, comments and messages of errors that say how to install something."""
    for item in ast.walk(tree):
        for name in ("body", "orelse"):
            for statement in getattr(item, name, []) if isinstance(getattr(item, name, None), list) else []:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    statement.value = ast.Constant(value=0)
        if isinstance(item, ast.Raise):
            item.exc = item.cause = None
    return ast.unparse(tree)


def offences(text: str, path: str) -> list[str]:
    """What a Python file at a path of the repository does that it must not."""
    tree = ast.parse(text)
    called = {item.func.id for item in ast.walk(tree) if isinstance(item, ast.Call) and isinstance(item.func, ast.Name)}
    found = sorted(called & NEVER_CALLED)
    used = imports(tree)
    found += sorted(used & NEVER_IMPORTED)
    found += sorted(module for module, places in PLACES.items() if module in used and path not in places)
    return found + NEVER_USED.findall(code_of(tree))


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_python_file_breaks_the_rules(path: Path) -> None:
    assert offences(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_script_makes_markup_or_code_of_text(path: Path) -> None:
    code = re.sub(r"/\*.*?\*/|^\s*//.*$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert NEVER_IN_SCRIPTS.findall(code) == []


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')", "import pickle", "from torch import hub; torch.hub.load('x')", "import subprocess",
        "import socket", "def f():\n    import requests", "importlib.import_module('pickle')", "torch.load(path)",
        "run('pip install x')", "run(x, shell=True)", "np.load(x, allow_pickle=True)",
        "archive.extractall(folder)",
    ],
)  # fmt: skip
def test_the_rules_catch_what_they_are_for(text: str) -> None:
    assert offences(text, "any.py")


def test_every_place_and_the_reports_script_are_looked_at() -> None:
    named = {path.relative_to(ROOT).as_posix() for path in (*PYTHON, *SCRIPTS)}
    assert {place for places in PLACES.values() for place in places} <= named
    assert "copyscope_core/report/html/templates/report.js" in named


@pytest.mark.parametrize("text", ["box.innerHTML = x", "fetch('https://x')", "import('//x')", "eval (x)"])
def test_the_rules_for_scripts_catch_what_they_are_for(text: str) -> None:
    assert NEVER_IN_SCRIPTS.search(text)
