"""Simple measures of how alike two pictures are, which need no network: colours, coarse shapes, structure.

The paper compares its combinations by such measures too. They look at pixels in their place, so they see a copied
picture and miss a copied style; the report shows them beside the distance, never instead of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SIDE = 64
WINDOW = 8
BINS = 8
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class Likeness(NamedTuple):
    """How alike two pictures are; 1: the same in this respect.

    Attributes:
        colours: common part of their colour histograms, 0…1.
        shapes: part of equal bits of their difference hashes, 0…1; pictures that have nothing to do with each other
            agree in about half.
        structure: structural similarity (SSIM) of their greys, −1…1.
        colour_structure: mean SSIM of red, green and blue, −1…1.
    """

    colours: float
    shapes: float
    structure: float
    colour_structure: float


def likeness(one: Image.Image, other: Image.Image) -> Likeness:
    """Compare two RGB pictures; the second is cropped to the first's proportions."""
    fitted = ImageOps.fit(other, one.size, Image.Resampling.LANCZOS)
    small = [picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS) for picture in (one, fitted)]
    first, second = (np.asarray(picture) for picture in small)
    grey, grey_too = (np.asarray(picture.convert("L")) for picture in small)
    channels = [_ssim(first[..., k], second[..., k]) for k in range(3)]
    return Likeness(
        float(np.minimum(_histogram(first), _histogram(second)).sum()),
        float((_difference_hash(one) == _difference_hash(fitted)).mean()),
        _ssim(grey, grey_too),
        float(np.mean(channels)),
    )


def mean_likeness(pairs: Sequence[tuple[Image.Image, Image.Image]]) -> Likeness | None:
    """The mean of each measure over pairs of pictures; None where there are none."""
    if not pairs:
        return None
    return Likeness(*np.mean([likeness(*pair) for pair in pairs], axis=0).tolist())


def _histogram(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    places = pixels.reshape(-1, 3).astype(np.int64) * BINS // 256 @ np.array([BINS * BINS, BINS, 1])
    return np.bincount(places, minlength=BINS**3) / len(places)


def _difference_hash(picture: Image.Image) -> NDArray[np.bool_]:
    """Whether each of 8×8 cells is darker than its right neighbour."""
    cells = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.LANCZOS))
    return np.asarray(cells[:, :-1] < cells[:, 1:])


def _ssim(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean structural similarity of windows of 8×8 pixels side by side."""
    x, y = (_windows(channel) for channel in (one, other))
    mean_x, mean_y = x.mean(axis=1), y.mean(axis=1)
    covariance = ((x - mean_x[:, None]) * (y - mean_y[:, None])).mean(axis=1)
    light = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return float((light * (2 * covariance + _C2) / (x.var(axis=1) + y.var(axis=1) + _C2)).mean())


def _windows(channel: NDArray[np.uint8]) -> NDArray[np.float64]:
    count = SIDE // WINDOW
    blocks = channel.astype(np.float64).reshape(count, WINDOW, count, WINDOW)
    return blocks.swapaxes(1, 2).reshape(count * count, WINDOW * WINDOW)
