"""Feature cache and Inception extractor: once per pixel hash, kept on interrupt, never trusted blindly."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save

from copyscope_core.errors import ImageError, StoreError
from copyscope_core.features.extractor import (
    INCEPTION_ID,
    FeatureCache,
    FeatureExtractor,
    Features,
    InceptionExtractor,
)
from copyscope_core.features.inception import full_precision, load_inception
from copyscope_core.features.views import views_of
from copyscope_core.files import atomic as files
from copyscope_core.files.folders import read_folder
from copyscope_core.files.pixels import Pixels, pixel_hash, resize_bicubic


class Means:
    """A small extractor: mean of each channel; it counts the images it was given."""

    id = "means.v1"
    dimension = 3

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, images: Sequence[Pixels]) -> Features:
        self.batches.append(len(images))
        return np.stack([pixels.mean(axis=(0, 1)) for pixels in images]).astype(np.float32)


class Interrupted(Exception):
    """What a host raises when the user cancels."""


def picture(seed: int, size: int = 12) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, size=(size, size + seed % 3, 3), dtype=np.uint8)


def pairs(*seeds: int) -> list[tuple[Pixels, str]]:
    return [(picture(seed), pixel_hash(picture(seed))) for seed in seeds]


def expected(*seeds: int) -> np.ndarray:
    return np.stack([picture(seed).mean(axis=(0, 1)) for seed in seeds]).astype(np.float32)


@pytest.fixture(params=["memory", "folder"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "run" / "features" if request.param == "folder" else None


def test_each_distinct_image_is_computed_once_and_order_is_kept(folder: Path | None) -> None:
    extractor = Means()
    cache = FeatureCache(folder, extractor, batch_size=2)
    rows = cache.features(pairs(3, 1, 3, 2, 1))
    assert np.array_equal(rows, expected(3, 1, 3, 2, 1))
    assert rows.dtype == np.float32
    assert extractor.batches == [2, 1]
    assert np.array_equal(cache.features(pairs(2, 5)), expected(2, 5))
    assert extractor.batches == [2, 1, 1]
    assert cache.features([]).shape == (0, 3)


def test_files_lie_where_the_documentation_says_and_serve_the_next_run(tmp_path: Path) -> None:
    rows = FeatureCache(tmp_path, Means()).features(pairs(1, 2))
    names = sorted(path.name for path in (tmp_path / "means.v1").iterdir())
    assert names == sorted(f"{key}.safetensors" for _, key in pairs(1, 2))
    again = Means()
    assert np.array_equal(FeatureCache(tmp_path, again).features(pairs(1, 2)), rows)
    assert again.batches == []


def test_takes_image_files(tmp_path: Path) -> None:
    Image.fromarray(picture(1)).save(tmp_path / "a.png")
    Image.fromarray(picture(1)).save(tmp_path / "b.bmp")
    extractor = Means()
    rows = FeatureCache(None, extractor).features(read_folder(tmp_path))
    assert np.array_equal(rows, expected(1, 1))
    assert extractor.batches == [1]


def test_progress_counts_distinct_images_and_may_interrupt(folder: Path | None) -> None:
    extractor = Means()
    cache = FeatureCache(folder, extractor, batch_size=2)
    calls: list[tuple[int, int]] = []

    def stop_at_four(done: int, total: int) -> None:
        calls.append((done, total))
        if done == 4:
            raise Interrupted

    with pytest.raises(Interrupted):
        cache.features(pairs(1, 2, 3, 3, 4, 5), stop_at_four)
    assert calls == [(2, 5), (4, 5)]
    calls.clear()
    rows = cache.features(pairs(1, 2, 3, 3, 4, 5), lambda done, total: calls.append((done, total)))
    assert calls == [(4, 5), (5, 5)]
    assert extractor.batches == [2, 2, 1]
    assert np.array_equal(rows, expected(1, 2, 3, 3, 4, 5))


def file_of(array: np.ndarray, name: str = "features", checksum: str | None = None) -> bytes:
    """A safetensors file of one vector, with its checksum or another one."""
    return save({name: array}, {"sha256": checksum or hashlib.sha256(array.tobytes()).hexdigest()})


ZEROS = np.zeros(3, dtype=np.float32)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"rubbish",
        b"PK\x03\x04 no archive",
        file_of(ZEROS)[:-1],
        file_of(ZEROS) + b"x",
        file_of(np.zeros(4, dtype=np.float32)),
        file_of(np.zeros((1, 3), dtype=np.float32)),
        file_of(np.zeros(3, dtype=np.float64)),
        file_of(np.array([0, np.nan, 0], dtype=np.float32)),
        file_of(ZEROS, name="other"),
        file_of(ZEROS, checksum="0" * 64),
        save({"features": ZEROS}),
        file_of(ZEROS).replace(b'"F32"', b'"BF16"'),
        file_of(ZEROS).replace(b"[3]", b"[9]"),
        (1 << 60).to_bytes(8, "little") + file_of(ZEROS)[8:],
        bytes(1 << 20),
    ],
)
def test_damaged_files_are_computed_again_with_a_warning(
    tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    FeatureCache(tmp_path, Means()).features(pairs(1, 2))
    path = tmp_path / "means.v1" / f"{pairs(1)[0][1]}.safetensors"
    path.write_bytes(data)
    extractor = Means()
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(FeatureCache(tmp_path, extractor).features(pairs(1, 2)), expected(1, 2))
    assert extractor.batches == [1]
    assert str(path) in caplog.text
    assert np.array_equal(load_file(path)["features"], expected(1)[0])


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    FeatureCache(tmp_path, Means()).features(pairs(1))
    path = tmp_path / "means.v1" / f"{pairs(1)[0][1]}.safetensors"
    data = path.read_bytes()
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        assert FeatureCache(tmp_path, Means()).stored(pairs(1)[0][1]) is None
    path.write_bytes(data)
    assert np.array_equal(FeatureCache(tmp_path, Means()).stored(pairs(1)[0][1]), expected(1)[0])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_a_link_in_the_place_of_features_is_not_opened(tmp_path: Path) -> None:
    FeatureCache(tmp_path, Means()).features(pairs(1))
    path = tmp_path / "means.v1" / f"{pairs(1)[0][1]}.safetensors"
    elsewhere = path.rename(tmp_path / "elsewhere.safetensors")
    os.mkfifo(path)
    assert FeatureCache(tmp_path, Means()).stored(pairs(1)[0][1]) is None
    path.unlink()
    path.symlink_to(elsewhere)
    assert FeatureCache(tmp_path, Means()).stored(pairs(1)[0][1]) is None


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    path = tmp_path / "means.v1" / f"{pairs(1)[0][1]}.safetensors"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(Bomb()))
    FeatureCache(tmp_path, Means()).features(pairs(1))
    assert not (tmp_path / "exploded").exists()


def test_a_write_that_fails_leaves_no_file_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StoreError, match="The disk is full"):
        FeatureCache(tmp_path, Means()).features(pairs(1))
    assert list((tmp_path / "means.v1").iterdir()) == []


def test_features_that_are_not_finite_are_refused_and_not_stored(tmp_path: Path) -> None:
    class Broken(Means):
        def __call__(self, images: Sequence[Pixels]) -> Features:
            return np.full((len(images), 3), np.nan, dtype=np.float32)

    with pytest.raises(ImageError, match="NaN or infinite features"):
        FeatureCache(tmp_path, Broken()).features(pairs(1))
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_names_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    class Escaping(Means):
        id = "../elsewhere"

    with pytest.raises(ValueError, match="no plain folder name"):
        FeatureCache(tmp_path, Escaping())
    with pytest.raises(ValueError, match="no SHA-256"):
        FeatureCache(tmp_path, Means()).features([(picture(1), "../../x")])


# --- the Inception extractor


def test_inception_extractor_is_resize_and_network() -> None:
    model = load_inception()
    images = [picture(1, 40), picture(2, 320), picture(3, 64)]
    extractor: FeatureExtractor = InceptionExtractor(batch_size=2, model=model)
    rows = extractor(images)
    batch = torch.from_numpy(np.stack([resize_bicubic(image, 299, 299) for image in images])).permute(0, 3, 1, 2)
    with full_precision():
        alone = model(batch).numpy()
    assert (extractor.id, extractor.dimension) == (INCEPTION_ID, 2974)
    assert views_of(extractor) == {"content": slice(0, 2048), "style": slice(2048, 2974)}
    assert rows.shape == (3, 2974)
    assert rows.dtype == np.float32
    assert np.abs(rows - alone).max() < 1e-5


def test_a_host_can_run_the_batches_itself() -> None:
    """No network is loaded; never more than a batch is resized; rows come back in order."""
    seen: list[tuple[int, ...]] = []

    def run(batch: torch.Tensor) -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        assert batch.dtype == torch.float32
        assert 0 <= batch.min() <= batch.max() <= 255
        seen.append(tuple(batch.shape))
        return batch.mean(dim=(2, 3)).repeat(1, 992)[:, :2974]

    extractor = InceptionExtractor(batch_size=2, run=run)
    images = [np.full((8, 8, 3), value, dtype=np.uint8) for value in (10, 20, 30, 40, 50)]
    assert extractor(images)[:, 0] == pytest.approx([10, 20, 30, 40, 50])
    assert seen == [(2, 3, 299, 299), (2, 3, 299, 299), (1, 3, 299, 299)]
    assert extractor._model is None
    with pytest.raises(ValueError, match="at least 1"):
        InceptionExtractor(batch_size=0)


def test_importing_features_does_not_import_torch() -> None:
    code = "import copyscope_core.features, sys; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
