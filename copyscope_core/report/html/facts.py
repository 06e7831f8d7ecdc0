"""What was run, in words: versions and device, settings, model files, and how reference images were brought to size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...settings import AuditSettings
from ..report import Report
from ..schema import ModelFile, Reference
from ..text import kind_words

ENVIRONMENT = {
    "copyscope": "CopyScope",
    "python": "Python",
    "numpy": "NumPy",
    "platform": "System",
    "torch": "PyTorch",
    "torchvision": "torchvision",
    "pillow": "Pillow",
    "comfyui": "ComfyUI",
    "comfyui_pytorch": "PyTorch of ComfyUI",
    "comfyui_os": "System of ComfyUI",
    "device": "Device of ComfyUI",
    "launch_flags": "Launch flags of ComfyUI",
    "node_packs": "Node packs",
    "not_hashed": "Model files not hashed",
}
"""Keys of the environment and what they are called; others are shown by their own names."""

SETTINGS = {
    "seeds": "Seeds",
    "players": "Components measured",
    "lock": "Components locked",
    "baseline_checkpoint": "Baseline checkpoint",
    "baseline_vae": "Baseline VAE",
    "baseline_models": "Other baselines",
    "key_prompts": "Phrases of the prompt",
    "neutral_prompt": "Neutral prompt",
    "image_players": "Images measured",
    "output": "Output node",
    "max_coalitions": "Most combinations allowed",
    "distance": "Distance",
    "budget": "Most combinations run",
    "target_width": "Stop at interval width",
    "estimator": "Estimator",
    "groups": "Groups",
    "frames": "Frames of a clip",
    "allow_paid_nodes": "Paid services allowed",
}


class Fact(NamedTuple):
    """A fact and what it is called."""

    name: str
    value: str


class Model(NamedTuple):
    """A model file, and which component loads it."""

    file: ModelFile
    use: str


def environment(report: Report) -> list[Fact]:
    """Versions and devices; what is empty is left out."""
    known = dict(report.environment)
    difference = known.pop("run_difference", None)
    if isinstance(device := known.get("device"), str):
        known["device"] = " ".join(dict.fromkeys(device.split()))  # a CPU's type and its name are the same word
    facts = [Fact(_name(key, ENVIRONMENT), plain(known[key])) for key in sorted(known, key=_place) if _told(known[key])]
    if isinstance(difference, int | float) and report.deterministic is False:
        facts.append(Fact("Two equal runs differ by at most", f"{difference:g} of 255"))
    return facts


def settings(report: Report) -> list[Fact]:
    """The settings that are not as they are by default, and the number of seeds."""
    default = AuditSettings().model_dump(mode="json")
    return [
        Fact(_name(key, SETTINGS), plain(value))
        for key, value in report.settings.items()
        if key == "seeds" or (_told(value) and value != default.get(key))
    ]


def models(report: Report) -> list[Model]:
    """The model files with what loads them."""
    return [Model(file, _use(report, file)) for file in report.models]


def matching(record: Reference) -> str:
    """How images were brought to the generated ones' size, as a sentence; empty: unknown."""
    width, height = record.preprocessing.get("width"), record.preprocessing.get("height")
    if not (isinstance(width, int) and isinstance(height, int)):
        return ""
    return (
        f"Measured as their middle in the shape of the generated images, resized to {width} × {height} pixels "
        "(bicubic, antialiased, 8 bits)."
    )


def plain(value: Any) -> str:
    """A fact as text: lists and tables as what they hold."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {plain(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    if value is None or isinstance(value, bool):
        return {None: "unknown", True: "yes", False: "no"}[value]
    return str(value)


def _told(value: Any) -> bool:
    return value is not None and value is not False and value not in ({}, [], "")


def _place(key: str) -> tuple[int, str]:
    known = list(ENVIRONMENT)
    return known.index(key) if key in known else len(known), key


def _name(key: str, names: Mapping[str, str]) -> str:
    return names.get(key) or key.replace("_", " ")


def _use(report: Report, model: ModelFile) -> str:
    for item in (*report.players, *report.locked, *report.unmeasured):
        if model.file in item.files and model.kind in (None, item.kind):
            return f"{kind_words(item.kind)} “{item.name}”" if item.name != item.kind else kind_words(item.kind)
    settings = report.settings
    others = settings.get("baseline_models")
    baselines = [settings.get("baseline_checkpoint"), settings.get("baseline_vae")]
    if model.file in (*baselines, *(others.values() if isinstance(others, Mapping) else ())):
        return "baseline, where the workflow's own is absent"
    return kind_words(model.kind) if model.kind else "not loaded by a component"
