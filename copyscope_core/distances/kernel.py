"""Kernel distances: unbiased squared MMD between two sets of features.

With the kernel (x·y/d + 1)³ it is the Kernel Inception Distance (Bińkowski et al. 2018); with a Gaussian of the angle
between features it is what CMMD measures (Jayasumana et al. 2024). The full-sample U-statistic is computed, without
subsets, so there is nothing random in it. It may be negative.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .frechet import Matrix, feature_pair

Kernel = Callable[[Matrix, Matrix], Matrix]
"""Kernel of all pairs of rows of (n₁, d) and (n₂, d): (n₁, n₂)."""

Clips = npt.NDArray[np.intp]
"""The clip of each image, (n,). Frames of one clip resemble each other, so they are no pair, as an image and itself is
none: their k would bring back the bias that KID is free of."""

GAUSSIAN_SIGMA = 10.0
GAUSSIAN_SCALE = 1000.0
"""Bandwidth and scale of CMMD, for features of length 1."""

_ROWS = 1024


def linear_kernel(x: Matrix, y: Matrix) -> Matrix:
    """x·y for all pairs of rows of (n₁, d) and (n₂, d): (n₁, n₂). Its distance of mean embeddings is ‖Δμ‖²."""
    kernel: Matrix = x @ y.T
    return kernel


def polynomial_kernel(x: Matrix, y: Matrix) -> Matrix:
    """(x·y/d + 1)³ for all pairs of rows of (n₁, d) and (n₂, d): (n₁, n₂)."""
    kernel: Matrix = (x @ y.T / x.shape[1] + 1) ** 3
    return kernel


def gaussian_kernel(x: Matrix, y: Matrix) -> Matrix:
    """1000·exp(−‖x/‖x‖ − y/‖y‖‖²/(2·10²)) for all pairs of rows of (n₁, d) and (n₂, d): (n₁, n₂).

    Features are brought to length 1 first, as CMMD does with CLIP's. A feature of zeros stays zero.
    """
    a, b = (z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), np.finfo(np.float64).tiny) for z in (x, y))
    squared = np.sum(a * a, axis=1)[:, None] + np.sum(b * b, axis=1)[None, :] - 2 * a @ b.T
    kernel: Matrix = GAUSSIAN_SCALE * np.exp(np.maximum(squared, 0.0) / (-2 * GAUSSIAN_SIGMA**2))
    return kernel


def kernel_distance(
    x: npt.ArrayLike, y: npt.ArrayLike, kernel: Kernel = polynomial_kernel, clips: Clips | None = None
) -> float | None:
    """KID: mean k(x, x′) over pairs x ≠ x′, plus the same for y, minus 2 mean k(x, y).

    Args:
        x: features, (n₁, d).
        y: features, (n₂, d).
        kernel: k; the default is KID's.
        clips: the clip of each image of x; None: each is one of its own.

    Returns:
        The distance, or None where a side has one image, or one clip, for then it has no pairs.

    Raises:
        GameError: a matrix is empty or not finite, or the dimensions differ.
    """
    x, y = feature_pair(x, y)
    within_x, within_y = mean_of_pairs(x, kernel, clips), mean_of_pairs(y, kernel)
    if within_x is None or within_y is None:
        return None
    return within_x + within_y - 2 * mean_between(x, y, kernel)


def kernel_value(
    x: npt.ArrayLike, y: npt.ArrayLike, kernel: Kernel = polynomial_kernel, clips: Clips | None = None
) -> float | None:
    """KID without its mean k(y, y′): the part that differs between coalitions with one reference y.

    In v(S) = KID(∅) − KID(S) that term cancels, so the kernel game is defined for one reference image too.

    Args:
        x: a coalition's features, (n₁, d).
        y: the reference's features, (n₂, d), n₂ ≥ 1.
        kernel: k; the default is KID's.
        clips: the clip of each image of x; None: each is one of its own.

    Returns:
        mean k(x, x′) − 2 mean k(x, y), or None where x has one image, or one clip.

    Raises:
        GameError: a matrix is empty or not finite, or the dimensions differ.
    """
    x, y = feature_pair(x, y)
    within_x = mean_of_pairs(x, kernel, clips)
    return None if within_x is None else within_x - 2 * mean_between(x, y, kernel)


def mean_between(x: Matrix, y: Matrix, kernel: Kernel) -> float:
    """Mean of k over all pairs of rows of (n₁, d) and (n₂, d), a block of rows at a time, so that memory stays flat."""
    total = sum(float(kernel(x[start : start + _ROWS], y).sum()) for start in range(0, len(x), _ROWS))
    return total / (len(x) * len(y))


def mean_own(x: Matrix, kernel: Kernel) -> float:
    """Mean k(x, x) of the rows of (n, d)."""
    return sum(float(kernel(row[None], row[None])[0, 0]) for row in x) / len(x)


def mean_of_pairs(x: Matrix, kernel: Kernel, clips: Clips | None = None) -> float | None:
    """Mean of k(x, x′) over pairs of rows of (n, d), each of another clip; None where there are none."""
    n = len(x)
    of = np.arange(n) if clips is None else clips
    pairs = n * n - int((np.unique(of, return_counts=True)[1] ** 2).sum())
    if not pairs:
        return None
    total = 0.0
    for start in range(0, n, _ROWS):
        block = kernel(x[start : start + _ROWS], x)
        block[of[start : start + _ROWS, None] == of] = 0.0
        total += float(block.sum())
    return total / pairs
