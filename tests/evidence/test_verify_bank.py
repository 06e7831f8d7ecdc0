"""Verification of reports whose control images CopyScope took from its own bank."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from images_on_disk import MeanColours, image_folder

from copyscope_core.auditing.score import Score
from copyscope_core.controls.bank import load_bank
from copyscope_core.evaluation.measure import Works
from copyscope_core.evidence.verify import Verification, Verifier
from copyscope_core.files.folders import read_folder
from copyscope_core.store.runs import STATE_VARIABLE


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A scored folder; one reference image is a work of the bank."""
    root = tmp_path_factory.mktemp("scored")
    table = {
        "players": ["style"],
        "coalitions": [{"folder": "a", "members": []}, {"folder": "b", "members": ["style"]}],
    }
    for number, name in enumerate("ab"):
        image_folder(root / "images" / name, 3, seed=100 * number)
    (root / "images" / "game.json").write_text(json.dumps(table), encoding="utf-8")
    image_folder(root / "reference", 2, seed=9000, size=(40, 60))
    shutil.copy(load_bank().images[0].path, root / "reference")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(root / "state"))
        works = Works(read_folder(root / "reference"), bank=load_bank())
        Score(root / "images", works, root / "out", MeanColours()).run()
        yield root


def verified(made: Path, run: Path, change: Callable[[dict[str, Any]], object] = bool) -> Verification:
    """What is found in a copy of the run whose report's record of the control was changed."""
    shutil.copytree(made / "out", run)
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    change(report["control"])
    (run / "report.json").write_text(json.dumps(report), encoding="utf-8")
    return Verifier(run, MeanColours(), images=made / "images").run()


def found(result: Verification) -> list[str]:
    return [f"{item.what}: {item.message}" for item in result.findings]


def test_an_untouched_choice_holds_and_its_pictures_are_checked(made: Path, tmp_path: Path) -> None:
    result = verified(made, tmp_path / "run")
    assert [item.what for item in result.findings] == ["report.json"]  # it was written anew
    report = json.loads((made / "out" / "report.json").read_text(encoding="utf-8"))
    assert {item["reason"] for item in report["control"]["left_out"]} >= {"same_picture"}
    assert result.images == 6 + 3 + report["control"]["count"]
    assert (result.notes, result.unchecked) == ((), ())


@pytest.mark.parametrize(
    "change",
    [
        lambda control: control["images"].pop(),
        lambda control: control["kinds"].reverse() or control["kinds"].append("print"),
        lambda control: control["left_out"].clear(),
    ],
    ids=["a control fewer", "other kinds", "nothing left out"],
)
def test_another_choice_is_found(made: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    expected = "report.json: choice of control images: is not what CopyScope chooses from its bank for this reference"
    assert expected in found(verified(made, tmp_path / "run", change))


def test_a_reference_that_has_no_features_is_said(made: Path, tmp_path: Path) -> None:
    report = json.loads((made / "out" / "report.json").read_text(encoding="utf-8"))
    key = report["reference"]["images"][0]["matched_sha256"]
    shutil.copytree(made / "out", tmp_path / "run")
    (tmp_path / "run" / "features" / "mean-colours" / f"{key}.safetensors").unlink()
    result = Verifier(tmp_path / "run", MeanColours(), images=made / "images").run()
    assert any("cannot be chosen again: the features of 1 images are not stored" in text for text in found(result))


def test_another_version_of_the_bank_is_noted(made: Path, tmp_path: Path) -> None:
    result = verified(made, tmp_path / "run", lambda control: control.update(bank="0" * 64))
    assert not any("choice of control images" in text for text in found(result))
    assert result.unchecked == (("control images", "are of another version of CopyScope's control bank"),)
