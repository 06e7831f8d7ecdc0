"""FID of two sets of images: the command's numbers, whatever form the images come in."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from images_on_disk import MeanColours, image_folder
from PIL import Image

from copyscope_core.cli import main as cli
from copyscope_core.distances.frechet import frechet_distance
from copyscope_core.distances.kernel import kernel_distance
from copyscope_core.errors import CopyScopeError, ImageError
from copyscope_core.evaluation.fid import FidResult, fid
from copyscope_core.features.extractor import INCEPTION_ID
from copyscope_core.files.folders import read_folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("fid")
    return image_folder(root / "a", 3), image_folder(root / "b", 2, seed=5, size=(40, 24))


def test_the_numbers_are_those_of_the_command(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["copyscope", "fid", *map(str, folders), "--device", "cpu", "--json"])
    with pytest.raises(SystemExit):
        cli.main()
    result = fid(*folders, device="cpu")
    assert result.as_json() == json.loads(capsys.readouterr().out)
    assert result.preprocessing == INCEPTION_ID
    assert (result.n_a, result.n_b) == (3, 2)
    assert result.fid == pytest.approx(result.fid_mean + result.fid_covariance)


def test_every_form_of_the_same_images_gives_the_same(folders: tuple[Path, Path]) -> None:
    a, b = folders
    expected = fid(a, b, features=MeanColours())
    x, y = (MeanColours()([image.pixels for image in read_folder(folder)]) for folder in folders)
    assert expected.fid == pytest.approx(frechet_distance(x, y).distance)
    assert expected.kid == kernel_distance(x, y)
    files = sorted(a.iterdir())
    pixels = [np.asarray(Image.open(file)) for file in files]
    forms: list[Any] = [
        str(a),
        files,
        [str(file) for file in files],
        [Image.open(file) for file in files],
        (Image.open(file).convert("RGBA") for file in files),
        pixels,
        np.stack(pixels),
        [files[0], pixels[1], Image.open(files[2])],
    ]
    for form in forms:
        assert fid(form, b, features=MeanColours()) == expected


def test_one_image_on_a_side(folders: tuple[Path, Path]) -> None:
    one = np.zeros((1, 8, 8, 3), dtype=np.uint8)
    result = fid(folders[0], one, features=MeanColours())
    assert result.kid is None
    assert result.fid > 0


def test_warnings() -> None:
    many = FidResult(1.0, 0.1, 50, 60, 0.5, 0.5, INCEPTION_ID)
    assert many.warnings == ()
    other = FidResult(1.0, 0.1, 50, 49, 0.5, 0.5, "colours")
    assert ["colours" in other.warnings[0], "fewer than 50" in other.warnings[1]] == [True, True]


class Shown:
    def __init__(self) -> None:
        self.stages: list[tuple[str, int]] = []
        self.steps: list[int] = []

    def stage(self, name: str, total: int) -> None:
        self.stages.append((name, total))

    def step(self, done: int, text: str = "") -> None:
        self.steps.append(done)

    def note(self, text: str) -> None:
        pass


def test_progress_is_told(folders: tuple[Path, Path]) -> None:
    shown = Shown()
    fid(folders[0], np.zeros((1, 8, 8, 3), dtype=np.uint8), features=MeanColours(), observer=shown)
    assert shown.stages == [(f"Features of {folders[0]}", 3), ("Features of the second images", 1)]
    assert shown.steps == [3, 1]


class Wrong(MeanColours):
    dimension = 7


BAD: dict[str, tuple[Any, str]] = {
    "no folder": ("/nowhere/at/all", "does not exist"),
    "nothing": ([], "no images"),
    "an empty array": (np.zeros((0, 8, 8, 3), dtype=np.uint8), "no images"),
    "one image": (np.zeros((8, 8, 3), dtype=np.uint8), r"shape \(8, 8, 3\).*list of one"),
    "floats": (np.zeros((2, 8, 8, 3)), r"images\[0\] holds float64, not uint8"),
    "channels": (np.zeros((2, 8, 8, 5), dtype=np.uint8), r"shape \(8, 8, 5\)"),
    "a number": (3, "int is no set of images"),
    "bytes": (b"png", "bytes is no set of images"),
    "an image": (Image.new("RGB", (8, 8)), "Image is no set of images"),
    "numbers": ([3], r"images\[0\] is of type int"),
    "float pixels": ([Image.new("F", (8, 8))], r"images\[0\] has floating-point pixels"),
    "no file": (["/nowhere/at/all.png"], "cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_images_are_one_sentence(case: str, folders: tuple[Path, Path]) -> None:
    source, message = BAD[case]
    with pytest.raises(ImageError, match=message) as caught:
        fid(folders[0], source, features=MeanColours())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "warp"}, "device 'warp' cannot be used"),
        ({"features": "/nowhere/at/all"}, "config.json cannot be read"),
        ({"features": 3}, "int is no extractor"),
        ({"features": MeanColours}, "type is no extractor"),
        ({"features": MeanColours(), "device": "cpu"}, "leave the device out"),
        ({"features": Wrong()}, r"shape \(3, 24\) for 3 images; it must be \(3, 7\)"),
    ],
)
def test_bad_features_are_one_sentence(folders: tuple[Path, Path], options: Any, message: str) -> None:
    with pytest.raises(CopyScopeError, match=message) as caught:
        fid(folders[0], folders[0], **options)
    assert "\n" not in str(caught.value)
