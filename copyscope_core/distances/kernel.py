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

GAUSSIAN_SIGMA = 10.0
GAUSSIAN_SCALE = 1000.0
"""Bandwidth and scale of CMMD, for features of length 1."""

_ROWS = 1024


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


def kernel_distance(x: npt.ArrayLike, y: npt.ArrayLike, kernel: Kernel = polynomial_kernel) -> float | None:
    """KID: mean k(x, x′) over pairs x ≠ x′, plus the same for y, minus 2 mean k(x, y).

    Args:
        x: features, (n₁, d).
        y: features, (n₂, d).
        kernel: k; the default is KID's.

    Returns:
        The distance, or None where a side has one image, for then it has no pairs.

    Raises:
        GameError: a matrix is empty or not finite, or the dimensions differ.
    """
    x, y = feature_pair(x, y)
    within_x, within_y = _mean_of_pairs(x, kernel), _mean_of_pairs(y, kernel)
    if within_x is None or within_y is None:
        return None
    return within_x + within_y - 2 * _kernel_sum(x, y, kernel) / (len(x) * len(y))


def kernel_value(x: npt.ArrayLike, y: npt.ArrayLike, kernel: Kernel = polynomial_kernel) -> float | None:
    """KID without its mean k(y, y′): the part that differs between coalitions with one reference y.

    In v(S) = KID(∅) − KID(S) that term cancels, so the kernel game is defined for one reference image too.

    Args:
        x: a coalition's features, (n₁, d).
        y: the reference's features, (n₂, d), n₂ ≥ 1.
        kernel: k; the default is KID's.

    Returns:
        mean k(x, x′) − 2 mean k(x, y), or None where x has one image.

    Raises:
        GameError: a matrix is empty or not finite, or the dimensions differ.
    """
    x, y = feature_pair(x, y)
    within_x = _mean_of_pairs(x, kernel)
    return None if within_x is None else within_x - 2 * _kernel_sum(x, y, kernel) / (len(x) * len(y))


def _kernel_sum(x: Matrix, y: Matrix, kernel: Kernel) -> float:
    """Sum of the kernel over all pairs, a block of rows at a time, so that memory stays flat."""
    return sum(float(kernel(x[start : start + _ROWS], y).sum()) for start in range(0, len(x), _ROWS))


def _mean_of_pairs(x: Matrix, kernel: Kernel) -> float | None:
    """Mean of k(x, x′) over pairs of different rows of (n, d); None for n = 1."""
    n = len(x)
    if n < 2:
        return None
    total = 0.0
    for start in range(0, n, _ROWS):
        block = kernel(x[start : start + _ROWS], x)
        np.fill_diagonal(block[:, start:], 0.0)
        total += float(block.sum())
    return total / (n * (n - 1))
