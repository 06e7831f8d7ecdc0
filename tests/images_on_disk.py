"""Images and features for tests of whole audits: small, and fast to measure."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


class MeanColours:
    """A feature extractor without a network: mean and spread of each channel, in four quarters."""

    id = "mean-colours"
    dimension = 24

    def __init__(self) -> None:
        self.images = 0

    def __call__(self, images: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        self.images += len(images)
        return np.stack([self._features(image.astype(np.float32)) for image in images])

    @staticmethod
    def _features(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        rows, columns = image.shape[0] // 2, image.shape[1] // 2
        parts = [image[:rows, :columns], image[rows:, :columns], image[:rows, columns:], image[rows:, columns:]]
        values = [function(part, axis=(0, 1)) for part in parts for function in (np.mean, np.std)]
        return np.concatenate(values).astype(np.float32)


def png_bytes(seed: int, size: tuple[int, int] = (32, 32), low: int = 0, high: int = 256) -> bytes:
    """A PNG of noise."""
    pixels = np.random.default_rng(seed).integers(low, high, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def image_folder(folder: Path, count: int, seed: int = 1000, size: tuple[int, int] = (32, 32)) -> Path:
    """A folder of PNGs of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        (folder / f"{index:03d}.png").write_bytes(png_bytes(seed + index, size))
    return folder
