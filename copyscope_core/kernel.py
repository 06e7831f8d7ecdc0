"""The Kernel Inception Distance: unbiased squared MMD with the kernel (x·y/d + 1)³ (Bińkowski et al. 2018).

The full-sample U-statistic is computed, without subsets, so there is nothing random in it. It may be negative.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .frechet import Matrix, feature_pair

_ROWS = 1024


def kernel_distance(x: npt.ArrayLike, y: npt.ArrayLike) -> float | None:
    """KID: mean k(x, x′) over pairs x ≠ x′, plus the same for y, minus 2 mean k(x, y).

    Args:
        x: features, (n₁, d).
        y: features, (n₂, d).

    Returns:
        The distance, or None where a side has one image, for then it has no pairs.

    Raises:
        GameError: a matrix is empty or not finite, or the dimensions differ.
    """
    x, y = feature_pair(x, y)
    within_x, within_y = _mean_of_pairs(x), _mean_of_pairs(y)
    if within_x is None or within_y is None:
        return None
    return within_x + within_y - 2 * _kernel_sum(x, y) / (len(x) * len(y))


def kernel_value(x: npt.ArrayLike, y: npt.ArrayLike) -> float | None:
    """KID without its mean k(y, y′): the part that differs between coalitions with one reference y.

    In v(S) = KID(∅) − KID(S) that term cancels, so the kernel game is defined for one reference image too.

    Args:
        x: a coalition's features, (n₁, d).
        y: the reference's features, (n₂, d), n₂ ≥ 1.

    Returns:
        mean k(x, x′) − 2 mean k(x, y), or None where x has one image.

    Raises:
        GameError: a matrix is empty or not finite, or the dimensions differ.
    """
    x, y = feature_pair(x, y)
    within_x = _mean_of_pairs(x)
    return None if within_x is None else within_x - 2 * _kernel_sum(x, y) / (len(x) * len(y))


def polynomial_kernel(x: Matrix, y: Matrix) -> Matrix:
    """(x·y/d + 1)³ for all pairs of rows of (n₁, d) and (n₂, d): (n₁, n₂)."""
    kernel: Matrix = (x @ y.T / x.shape[1] + 1) ** 3
    return kernel


def _kernel_sum(x: Matrix, y: Matrix) -> float:
    """Sum of the kernel over all pairs, a block of rows at a time, so that memory stays flat."""
    return sum(float(polynomial_kernel(x[start : start + _ROWS], y).sum()) for start in range(0, len(x), _ROWS))


def _mean_of_pairs(x: Matrix) -> float | None:
    """Mean of k(x, x′) over pairs of different rows of (n, d); None for n = 1."""
    n = len(x)
    if n < 2:
        return None
    diagonal = float(((np.sum(x * x, axis=1) / x.shape[1] + 1) ** 3).sum())
    return (_kernel_sum(x, x) - diagonal) / (n * (n - 1))
