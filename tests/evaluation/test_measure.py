"""From images to numbers: seeds reach the intervals, controls reach the contrast."""

from __future__ import annotations

import os
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from images_on_disk import image_folder
from PIL import Image

from copyscope_core.errors import GameError
from copyscope_core.evaluation.measure import GeneratedImage, Works, input_image_warnings, measure
from copyscope_core.features.extractor import FeatureCache, Features
from copyscope_core.files import images
from copyscope_core.files.folders import list_folder, read_folder
from copyscope_core.files.images import ImageFile, read_image
from copyscope_core.files.pixels import Pixels


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


def loader(picture: Callable[[int, int], ImageFile], known: bool = True) -> Callable[[int], list[GeneratedImage]]:
    return lambda mask: [GeneratedImage(picture(k, 60 * mask), k if known else None) for k in range(5)]


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


def test_frames_are_clips_of_their_seeds(picture: Callable[[int, int], ImageFile]) -> None:
    def frames(mask: int) -> list[GeneratedImage]:
        return [GeneratedImage(picture(10 * clip + k, 60 * mask), clip, 3 * k) for clip in range(3) for k in range(2)]

    works, cache = Works([picture(100 + k, 120) for k in range(3)]), FeatureCache(None, Colours())
    found = measure(["red"], frames, works, cache)
    assert [(record["seed"], record["frame"]) for record in found.images[0]] == [
        (c, f) for c in range(3) for f in (0, 3)
    ]
    assert any("only 3 clips a combination" in caution.message for caution in found.evaluation.warnings)
    assert found.evaluation.uncertainty is not None
    assert found.evaluation.uncertainty.seeds == 3
    with pytest.raises(GameError, match="fid_infinity is not defined for frames"):
        measure(["red"], frames, works, cache, distance="fid_infinity")
    with pytest.raises(GameError, match=r"at least 2 clips a combination, and the coalition .* has 1;"):
        measure(["red"], lambda mask: frames(mask)[:2], works, cache, distance="kid")


def test_a_broken_frame_is_named(tmp_path: Path, picture: Callable[[int, int], ImageFile]) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "black.png")
    black = GeneratedImage(read_image(tmp_path / "black.png"), 1, 4)
    whole = [GeneratedImage(picture(0, 9), 0, 4), black]
    found = measure(["red"], lambda mask: whole, Works([picture(100, 120)]), FeatureCache(None, Colours()))
    assert "red, seed +1, frame 5, is entirely black" in found.warnings[-1].message


def test_control_images_are_measured_and_recorded(picture: Callable[[int, int], ImageFile]) -> None:
    reference, control = [picture(100 + k, 120) for k in range(3)], [picture(200 + k, 30) for k in range(4)]
    found = measure(["red"], loader(picture), Works(reference, control), FeatureCache(None, Colours()))
    compared = found.evaluation.control
    assert compared is not None
    assert found.control is not None
    assert found.control["count"] == compared.count == 4
    assert [item["file"] for item in found.control["images"]] == [image.name for image in control]
    content = found.evaluation.functions[0]
    assert content.contrast is not None
    assert content.contrast[0] > 0


def test_the_distance_is_passed_on(picture: Callable[[int, int], ImageFile]) -> None:
    reference = [picture(100, 120)]
    cache = FeatureCache(None, Colours())
    assert measure(["red"], loader(picture), Works(reference), cache, distance="kid").evaluation.distance_name == "kid"
    with pytest.raises(GameError, match="at least 5,000 images"):
        measure(["red"], loader(picture), Works(reference), cache, distance="fid_infinity")


def test_reference_images_are_decoded_once_and_only_a_few_are_in_memory(
    tmp_path: Path, picture: Callable[[int, int], ImageFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: 40 images, none of the size of the generated ones."""
    folder = image_folder(tmp_path / "reference", 40, size=(30, 20))
    eager = measure(["red"], loader(picture), Works(read_folder(folder)), FeatureCache(None, Colours()))
    alive, decoded, most = 0, [], 0
    plain = images.decode_pixels

    def counted(data: bytes, path: Path) -> Any:
        nonlocal alive, most
        pixels = plain(data, path)
        decoded.append(path.name)
        alive += 1
        most = max(most, alive)
        weakref.finalize(pixels, gone)
        return pixels

    def gone() -> None:
        nonlocal alive
        alive -= 1

    monkeypatch.setattr(images, "decode_pixels", counted)
    reference = list_folder(folder)
    made = {mask: loader(picture)(mask) for mask in range(2)}
    decoded.clear()
    alive = most = 0
    found = measure(["red"], made.__getitem__, Works(reference, reference[:9]), FeatureCache(None, Colours()))
    warnings = input_image_warnings({"7": reference[3]}, reference, FeatureCache(None, Colours()), found)
    assert most <= 2 * in_threads_at_most() + 1
    assert alive == 0
    assert Counter(decoded) == Counter([image.name for image in (*reference, *reference[:9], reference[3])])
    assert found.reference == eager.reference
    assert found.reference_features.shape == (40, Colours.dimension)
    assert np.array_equal(found.reference_features, eager.reference_features)
    assert found.evaluation.shapley == pytest.approx(eager.evaluation.shapley)
    assert [caution.code for caution in warnings] == ["input_matches_reference"]


def in_threads_at_most() -> int:
    return min(8, os.cpu_count() or 1)
