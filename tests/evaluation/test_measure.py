"""From images to numbers: seeds reach the intervals, controls reach the contrast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from copyscope_core.errors import GameError
from copyscope_core.evaluation.measure import Works, measure
from copyscope_core.features.extractor import FeatureCache, Features
from copyscope_core.files.images import ImageFile, Pixels, read_image


class Colours:
    """Features that are an image's mean colour, and its mean square."""

    id = "colours"
    dimension = 6

    def __call__(self, images: Sequence[Pixels]) -> Features:
        scaled = [image.astype(np.float32) / 255 for image in images]
        return np.stack([np.concatenate([x.mean((0, 1)), (x**2).mean((0, 1))]) for x in scaled]).astype(np.float32)


@pytest.fixture
def picture(tmp_path: Path) -> Callable[[int, int], ImageFile]:
    def make(seed: int, red: int) -> ImageFile:
        path = tmp_path / f"{seed}-{red}.png"
        pixels = np.random.default_rng(seed).integers(0, 100, size=(8, 8, 3))
        pixels[..., 0] += red
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        return read_image(path)

    return make


def loader(
    picture: Callable[[int, int], ImageFile], known: bool = True
) -> Callable[[int], list[tuple[ImageFile, int | None]]]:
    return lambda mask: [(picture(k, 60 * mask), k if known else None) for k in range(5)]


def test_seeds_reach_the_intervals(picture: Callable[[int, int], ImageFile]) -> None:
    reference = [picture(100 + k, 120) for k in range(3)]
    cache = FeatureCache(None, Colours())
    found = measure(["red"], loader(picture), Works(reference), cache)
    assert found.evaluation.uncertainty is not None
    assert found.evaluation.uncertainty.seeds == 5
    assert found.control is None
    unknown = measure(["red"], loader(picture, known=False), Works(reference), cache)
    assert unknown.evaluation.uncertainty is None
    assert "no_interval" in {caution.code for caution in unknown.evaluation.warnings}


def test_control_images_are_measured_and_recorded(picture: Callable[[int, int], ImageFile]) -> None:
    reference, control = [picture(100 + k, 120) for k in range(3)], [picture(200 + k, 30) for k in range(4)]
    found = measure(["red"], loader(picture), Works(reference, control), FeatureCache(None, Colours()))
    compared = found.evaluation.control
    assert compared is not None
    assert found.control is not None
    assert found.control["count"] == compared.count == 4
    assert [item["file"] for item in found.control["images"]] == [image.name for image in control]
    assert compared.shapley[0] < found.evaluation.shapley[0]


def test_the_distance_is_passed_on(picture: Callable[[int, int], ImageFile]) -> None:
    reference = [picture(100, 120)]
    cache = FeatureCache(None, Colours())
    assert measure(["red"], loader(picture), Works(reference), cache, distance="kid").evaluation.distance_name == "kid"
    with pytest.raises(GameError, match="at least 5,000 images"):
        measure(["red"], loader(picture), Works(reference), cache, distance="fid_infinity")
