"""A scored run folder for tests of evidence, with all that it was made from beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from images_on_disk import MeanColours, image_folder

from copyscope_core.auditing.score import Score
from copyscope_core.evaluation.measure import Works
from copyscope_core.evidence.publish import ReportOptions
from copyscope_core.evidence.verify import Verification, Verifier
from copyscope_core.files.folders import read_folder

FOLDERS = {"none": [], "a": ["style"], "b": ["base"], "ab": ["base", "style"]}


def make_scored(root: Path, options: ReportOptions | None = None) -> Path:
    """Four coalitions of four images, nine reference and nine control images; returns the run folder, ``root/out``."""
    table = {
        "players": ["base", {"name": "style", "kind": "lora"}],
        "coalitions": [{"folder": folder, "members": names} for folder, names in FOLDERS.items()],
    }
    for number, name in enumerate(FOLDERS):
        image_folder(root / "images" / name, 4, seed=100 * number)
    (root / "images" / "game.json").write_text(json.dumps(table), encoding="utf-8")
    reference = read_folder(image_folder(root / "reference", 9, seed=9000, size=(40, 60)))
    control = read_folder(image_folder(root / "control", 9, seed=8000, size=(50, 50)))
    works = Works(reference, control)
    Score(root / "images", works, root / "out", MeanColours(), options=options or ReportOptions()).run()
    return root / "out"


def verified(path: Path, **options: Any) -> Verification:
    """What is found in a run folder, or a bundle."""
    return Verifier(path, MeanColours(), **options).run()


def changed(result: Verification) -> list[str]:
    """The files and numbers that were changed or added."""
    return [item.what for item in result.findings]


def unchecked(result: Verification) -> list[str]:
    """The files and numbers that could not be checked."""
    return [item.what for item in result.unchecked]
