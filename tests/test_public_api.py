"""The public names of ``copyscope_core``: this test fails when a name, a parameter or a result's field changes."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import copyscope_core as cs
from copyscope_core.api.given import Settings

ROOT = Path(__file__).resolve().parents[1]

SERVERS = "server=None, comfyui=None, base_directory=None, comfyui_args=()"
MEASURING = "features='inception', device=None, show_reference=True, private=False, "
MEASURING += "copy=True, examiner=None, case=None, observer=None"
FUNCTIONS = {
    "audit": f"(workflow, reference, out, *, {SERVERS}, timeout=900.0, ray=None, storage=None, control=None, "
    f"style_checkpoint=None, share_reference=False, {MEASURING}, **settings)",
    "fid": "(a, b, *, features='inception', device=None, observer=None)",
    "frechet_distance": "(x, y)",
    "kernel_distance": "(x, y, kernel=polynomial_kernel, clips=None)",
    "plan": f"(workflow, *, {SERVERS}, observer=None, **settings)",
    "score": f"(folder, reference, out, *, control=None, distance='fid', {MEASURING})",
    "shapley": "(players, values)",
}
CLASSES = {
    "AuditSettings": {
        "allow_paid_nodes", "artists", "baseline_checkpoint", "baseline_models", "baseline_vae", "budget", "distance",
        "error", "estimator", "frames", "groups", "image_players", "key_prompts", "lock", "max_coalitions", "max_runs",
        "neutral_prompt", "of", "output", "over", "players", "seeds", "target_width", "until_sure",
    },
    "CopyScopeError": {"code"},
    "FeatureExtractor": {"dimension", "id"},
    "FidResult": {"as_json", "fid", "fid_covariance", "fid_mean", "kid", "n_a", "n_b", "preprocessing", "warnings"},
    "Frechet": {"covariance", "distance", "mean"},
    "Observer": {"note", "stage", "step"},
    "Report": {
        "canaries", "clips", "coalitions", "control", "created", "custody", "deterministic", "differences", "distance",
        "efficiency_gap", "environment", "groups", "headline", "interactions", "load", "locked", "metadata", "models",
        "no_interval", "parse", "players", "plot", "preprocessing", "private", "ranked", "reference", "sampling",
        "schema_version", "seeds", "settings", "statement", "to_pandas", "uncertainty", "unmeasured", "verdict",
        "views", "warnings", "workflow", "worth",
    },
    "ShapleyResult": {
        "as_json", "efficiency_gap", "game", "interactions", "leave_one_out", "players", "shares", "values",
    },
}  # fmt: skip
PLAN = {
    "batch", "coalitions", "cost", "label", "locked", "members", "names", "players", "seeds", "summary", "unmeasured",
    "warnings",
}  # fmt: skip
"""What docs/api.md tells of a plan; it has more, which may change."""
METHODS = {
    "load": "(path)",
    "to_pandas": "(self, table='players')",
    "plot": "(self, ax=None)",
    "ranked": "(self)",
    "_repr_html_": "(self)",
}


def signature(function: Any) -> str:
    """Names, kinds and defaults of the parameters, without their types."""
    found = inspect.signature(function)
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in found.parameters.values()]
    text = str(found.replace(parameters=plain, return_annotation=inspect.Signature.empty))
    for p in plain:
        if inspect.isfunction(p.default):
            text = text.replace(repr(p.default), p.default.__name__)
    return text


def public(cls: Any) -> set[str]:
    """Public attributes, without those that every pydantic model or exception has."""
    inherited = set(dir(BaseModel)) if issubclass(cls, BaseModel) else set(dir(ValueError))
    fields = set(getattr(cls, "__dataclass_fields__", ())) | set(getattr(cls, "model_fields", ()))
    return {name for name in {*dir(cls), *fields} - inherited if not name.startswith("_")}


def test_names() -> None:
    assert set(cs.__all__) == {*FUNCTIONS, *CLASSES, "Plan", "__version__"}
    assert set(cs.__all__) <= set(dir(cs))
    assert list(cs.__all__) == sorted(cs.__all__)
    with pytest.raises(AttributeError, match=r"'copyscope_core' has no attribute 'nothing'"):
        cs.nothing  # noqa: B018


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures(name: str) -> None:
    function = getattr(cs, name)
    assert inspect.isfunction(function)
    assert signature(function) == FUNCTIONS[name]
    assert inspect.getdoc(function)


@pytest.mark.parametrize("name", CLASSES)
def test_attributes(name: str) -> None:
    assert public(getattr(cs, name)) == CLASSES[name]


def test_attributes_of_a_plan() -> None:
    assert public(cs.Plan) >= PLAN


def test_methods_of_a_report() -> None:
    assert {name: signature(getattr(cs.Report, name)) for name in METHODS} == METHODS


def test_every_setting_is_a_keyword() -> None:
    assert set(Settings.__annotations__) == set(cs.AuditSettings.model_fields)


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_importing_loads_nothing_of_others() -> None:
    heavy = "('numpy', 'pydantic', 'PIL', 'aiohttp', 'torch', 'scipy', 'pandas', 'matplotlib')"
    assert run(f"import sys, copyscope_core; print([m for m in {heavy} if m in sys.modules])") == "[]"
    light = "import sys, copyscope_core as cs; cs.shapley(['a'], {(): 0, 'a': 1}); cs.Report; cs.audit"
    assert run(f"{light}; print([m for m in ('torch', 'scipy', 'matplotlib') if m in sys.modules])") == "[]"


def test_no_room_bears_the_name_of_a_public_function() -> None:
    """Python binds a sub-package to its name once anyone has imported it, and would hide the function."""
    rooms = {path.parent.name for path in (ROOT / "copyscope_core").glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / "copyscope_core").glob("*.py")}
    assert "planning" in rooms and "settings" in modules
    assert not (rooms | modules) & set(cs.__all__)


def test_the_names_are_there_inside_another_package() -> None:
    """As ComfyUI loads the pack: under a name that is a path, with the core as a sub-package."""
    code = (
        "import importlib, importlib.util, sys, types\n"
        "name = '/ComfyUI/custom_nodes/copyscope'\n"
        "pack = types.ModuleType(name); pack.__path__ = ['.']; sys.modules[name] = pack\n"
        "sys.path[:] = [p for p in sys.path if p]\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        "cs = importlib.import_module('.copyscope_core', name)\n"
        "print(cs.plan.__module__ == f'{name}.copyscope_core.api.audits', cs.shapley(['a'], [0, 2]).values,\n"
        "      [m for m in sys.modules if m.startswith('copyscope_core')])"
    )
    assert run(code) == "True {'a': 2.0} []"


def test_star_import() -> None:
    assert run("from copyscope_core import *; print(fid.__name__, plan.__name__, __version__)") == (
        f"fid plan {cs.__version__}"
    )


def test_types_are_shipped_and_checked(tmp_path: Path) -> None:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    assert (ROOT / "copyscope_core" / "py.typed").is_file()
    file = tmp_path / "user.py"
    file.write_text(
        "import copyscope_core as cs\n"
        "value: float = cs.shapley(['a'], {(): 0.0, 'a': 1.0}).values['a']\n"
        "cs.audit('w.json', 'reference', 'out', seeds=2).plot()\n"
        "cs.audit('w.json', 'reference', 'out', sedes=2)\n"
        "cs.nothing\n"
        "cs.AuditSettings(seeds=2)\n",
        encoding="utf-8",
    )
    words = [sys.executable, "-m", "mypy", str(file)]
    result = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    errors = [line.partition("error: ")[2] for line in result.stdout.splitlines() if f"{file.name}:" in line]
    assert [error for error in errors if error] == [
        'Unexpected keyword argument "sedes" for "audit"; did you mean "seeds"?  [call-arg]',
        'Module has no attribute "nothing"  [attr-defined]',
    ], result.stdout
