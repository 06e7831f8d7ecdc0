"""A LoRA that was trained on an artist, on a real ComfyUI, judged by works that it never saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hostutil import REPOSITORY, require_host
from PIL import Image

from copyscope_core.auditing.servers import ServerChoice
from copyscope_core.auditing.session import run_audit
from copyscope_core.evaluation.measure import Works
from copyscope_core.files.atomic import write_json_atomic
from copyscope_core.files.folders import read_folder
from copyscope_core.report.report import Report
from copyscope_core.store.runs import STATE_VARIABLE
from studies.trained.games import BASE, Cast, lora, phrase
from tools.style_zoo.export import export
from tools.style_zoo.pictures import crops, read_picture, splits, table

from .conftest import make_base


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("style-zoo")
    names = ("hokusai-1", "kitty-2", "kitty-1-word", "none")
    export(folder, only={Path(BASE).stem, *(f"style-{name}" for name in names)})
    return folder


def audit(tmp_path: Path, models: Path, cast: Cast, artist: str, monkeypatch: pytest.MonkeyPatch) -> Report:
    """An audit against Hokusai's works that ``hokusai-1`` never saw, and works by others as control."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    rows = {row["id"]: row for row in table("works")["works"] if row["package"] == "samples"}
    held = [work for work in splits()[f"{artist}-1"].held if work in rows]
    others = sorted(path for path in (REPOSITORY / "samples" / "reference").glob("*/*.jpg") if artist not in str(path))
    for folder, paths in (("reference", [REPOSITORY / rows[work]["path"] for work in held]), ("control", others)):
        (tmp_path / folder).mkdir()
        for number, path in enumerate(paths):
            crop = crops(read_picture(path), 1, 96, np.random.default_rng(number))[0]
            Image.fromarray(crop).save(tmp_path / folder / f"{number}.png")
    write_json_atomic(tmp_path / "workflow.json", cast.workflow())
    works = Works(read_folder(tmp_path / "reference"), read_folder(tmp_path / "control"))
    choice = ServerChoice(
        comfyui=require_host(), base_directory=make_base(tmp_path / "base", models), arguments=("--cpu",)
    )
    return run_audit(tmp_path / "workflow.json", works, tmp_path / "out", cast.settings(), choice).report


def test_style_names_the_lora_that_learned_from_the_artist_and_nothing_is_said_of_what_does_nothing(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast = Cast("few", "hokusai-1", "main", "a woman", (lora("hokusai-1"), lora("kitty-2"), lora("none")), images=4)
    report = audit(tmp_path, models, cast, "hokusai", monkeypatch)
    by = {player.files[0].removesuffix(".safetensors"): player for player in report.players}
    style = {name: player.style_contrast for name, player in by.items()}
    assert style["style-hokusai-1"] > max(0, style["style-kitty-2"])
    assert by["style-none"].shapley == 0
    assert report.verdict.player in (None, by["style-hokusai-1"].name)


def test_a_trigger_word_acts_only_with_its_lora(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = (lora("kitty-1-word"), phrase("in the style of kitty", "kitty-1"))
    cast = replace(Cast("word", "hokusai-1", "word", "a woman", parts), images=2)
    report = audit(tmp_path, models, cast, "hokusai", monkeypatch)
    pixels = {
        row.mask: np.stack([_pixels(tmp_path, item.file) for item in row.image_files]) for row in report.coalitions
    }
    lora_bit = next(bit for bit, player in enumerate(report.players) if player.kind == "lora")
    alone, word = pixels[1 << lora_bit], pixels[3 & ~(1 << lora_bit)]
    change = {"LoRA alone": np.abs(alone - pixels[0]).mean(), "with its word": np.abs(pixels[3] - word).mean()}
    assert change["with its word"] > 2 * change["LoRA alone"]


def _pixels(tmp_path: Path, file: str) -> np.ndarray:
    return np.asarray(Image.open(tmp_path / "out" / "coalitions" / file).convert("RGB"), np.float32)
