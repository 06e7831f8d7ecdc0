"""A release: one version everywhere, the registry's own rules, and packages that work without this repository."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import tomllib
from PIL import Image

import copyscope_core

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RAW = "https://raw.githubusercontent.com/copyscope/copyscope/main/"
NO_COMFY_CLI = (
    "NO COMFY-CLI: pip install comfy-cli, best in an environment of its own (COMFY_CLI names its `comfy`); "
    "the registry's own validation did NOT run"
)
USE = """
import copyscope_core as cs
from pathlib import Path
from copyscope_core.demo.models import make_model
from copyscope_core.features.inception import load_inception
from copyscope_core.game.shapley import shapley_values
from copyscope_core.workflow.node_info import bundled_catalog
assert shapley_values([0, 1, 2, 3]).tolist() == [1, 2]
assert bundled_catalog().get("KSampler") is not None
load_inception()
make_model("zoo-lora", Path("lora.safetensors"), artist="hokusai")
print(cs.__version__, Path(cs.__file__).parent)
"""


def run(command: Sequence[str], cwd: Path, **variables: str) -> str:
    """What a command prints; fails with it where the command does."""
    environment = {name: value for name, value in os.environ.items() if name != "COMFYUI_PATH"} | variables
    result = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, encoding="utf-8", check=False, timeout=600
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_one_version() -> None:
    """The registry reads it from pyproject.toml; a git clone in ComfyUI has no installed metadata to read it from."""
    tree = ast.parse((ROOT / "copyscope_core" / "__init__.py").read_text(encoding="utf-8"))
    given = [
        ast.literal_eval(item.value)
        for item in tree.body
        if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == "__version__"
    ]
    assert given == [PROJECT["project"]["version"]] == [copyscope_core.__version__]
    assert "dynamic" not in PROJECT["project"]
    assert f"## [{given[0]}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_what_the_registry_shows() -> None:
    urls = PROJECT["project"]["urls"]
    assert urls["Repository"] == "https://github.com/copyscope/copyscope"
    assert all(url.startswith(urls["Repository"]) for url in urls.values())
    comfy = PROJECT["tool"]["comfy"]
    sizes = {}
    for name in ("Icon", "Banner"):
        assert comfy[name].startswith(RAW)
        with Image.open(ROOT / comfy[name].removeprefix(RAW)) as image:
            sizes[name] = image.size
            assert image.format == "PNG"
    assert sizes["Icon"][0] == sizes["Icon"][1] <= 400
    assert sizes["Banner"][0] * 9 == sizes["Banner"][1] * 21


def test_extras_are_named_once() -> None:
    assert set(PROJECT["project"]["optional-dependencies"]) == {
        "batch", "bench", "clip", "dev", "docs", "ray", "seal", "torch",
    }  # fmt: skip


def test_actions_and_hooks_are_pinned() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, used = line.strip().removeprefix("- ").partition(": ")
            if name == "uses" and not used.startswith("./"):
                commit = used.partition("@")[2].split(" ")[0]
                assert len(commit) == 40 and set(commit) <= set("0123456789abcdef"), (path.name, line)
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert hooks.count("language: python") == hooks.count("==") == 3


def test_the_registrys_own_validation(tmp_path: Path) -> None:
    comfy = os.environ.get("COMFY_CLI") or shutil.which("comfy")
    if comfy is None:
        pytest.skip(NO_COMFY_CLI)
    words = (comfy, "--skip-prompt", "--no-enable-telemetry", "node", "validate")
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "DO_NOT_TRACK": "1"}
    said = run(words, ROOT, **home)  # fails with what it says where the registry would refuse
    assert "Running security checks" in said
    assert "warning" not in said.lower()


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it, of a copy of the tracked files."""
    pytest.importorskip("build", reason="NO BUILD: pip install build; the packages were NOT built")
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("NO GIT CHECKOUT: which files belong to a release is not known; the packages were NOT built")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in run(("git", "ls-files", "-z"), ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    run((sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out)), source)
    return next(out.glob("*.tar.gz")), next(out.glob("*.whl"))


def test_packages_hold_every_file_of_the_core(packages: tuple[Path, Path]) -> None:
    sdist, wheel = packages
    tracked = {name for name in run(("git", "ls-files", "-z", "copyscope_core"), ROOT).split("\0") if name}
    tracked = {name for name in tracked if (ROOT / name).is_file()}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == tracked
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked | {"pyproject.toml", "README.md", "LICENSE"} <= held
    assert max(path.stat().st_size for path in packages) < 99_000_000  # PyPI takes 100 MB a file


def test_an_installed_wheel_works_without_the_repository(packages: tuple[Path, Path], tmp_path: Path) -> None:
    """With the dependencies of this environment: to download torch anew would take minutes."""
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    run((sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(packages[1])), work)
    alone = {
        "PYTHONPATH": str(site), "HOME": str(work), "USERPROFILE": str(work),
        "COPYSCOPE_STATE_DIR": str(work / "state"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    said = run((sys.executable, "-c", USE), work, **alone).strip()
    assert said == f"{PROJECT['project']['version']} {site / 'copyscope_core'}"
    script = next(path for path in (site / "bin", site / "Scripts") if path.is_dir()) / "copyscope"
    command = [str(script)] if sys.platform == "win32" else [sys.executable, str(script)]
    run((*command, "demo", "--out", str(work / "demo")), work, **alone)
    report = json.loads((work / "demo" / "report.json").read_text(encoding="utf-8"))
    assert len(report["players"]) == 3
    assert (work / "demo" / "report.html").stat().st_size > 10_000


def test_the_citation_names_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {PROJECT['project']['version']}\n" in text
    assert f"\nlicense: {PROJECT['project']['license']}\n" in text
    assert f"\nrepository-code: {PROJECT['project']['urls']['Repository']}\n" in text


def test_the_tutorial_says_what_the_quick_start_does() -> None:
    workflow = json.loads((ROOT / "workflows" / "api" / "quick-start.json").read_text(encoding="utf-8"))
    (seeds,) = [node["inputs"]["seeds"] for node in workflow.values() if "seeds" in node["inputs"]]
    words = {4: "four", 8: "eight", 16: "sixteen"}[seeds]
    text = " ".join((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8").split())
    assert f"Four combinations at {words} seeds are {4 * seeds} runs" in text
    assert f"they are {4 * seeds + 3}." in text
    assert f"the {words} that it ships with" in text
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"{words} if you say nothing else" in readme
