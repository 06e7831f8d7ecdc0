"""The Fréchet distance between two sets of features, seen as Gaussians (Heusel et al. 2017), without a matrix root.

d² = ‖μ₁−μ₂‖² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½. With Σ₁ = AᵀA and Σ₂ = BᵀB, where A (n₁−1×d) and B (n₂−1×d) are the
features less their mean, divided by √(n−1), tr (Σ₁Σ₂)^½ is the sum of the singular values of A·Bᵀ: real, stable, and
small. A set of one image has Σ = 0: a point mass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import GameError

Matrix = npt.NDArray[np.float64]

WELL_CONDITIONED = 1e-4
"""Smallest pivot of a Cholesky factor that is trusted, relative to the largest."""

ROUNDING = 1e-9
"""A covariance part above −ROUNDING·(tr Σ₁ + tr Σ₂) and below 0 is rounding, and becomes 0."""

BLOCK = 1024
"""Rows that are centred at a time."""

LARGE = 128
"""Matrices with fewer rows or columns have their singular values computed directly."""

BLUR = 8 * np.finfo(np.float64).eps
"""How far rounding is taken to move an eigenvalue of M·Mᵀ, relative to the largest; 5.3 ε is the most seen."""

TOLERANCE = 5e-9
"""What that may add up to in a covariance part, relative to it."""


@dataclass(frozen=True)
class Frechet:
    """The two parts of a squared Fréchet distance.

    Attributes:
        mean: ‖μ₁−μ₂‖².
        covariance: tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½.
    """

    mean: float
    covariance: float

    @property
    def distance(self) -> float:
        """d², which is what is called FID."""
        return self.mean + self.covariance

    def __float__(self) -> float:
        return self.distance


def frechet_distance(x: npt.ArrayLike, y: npt.ArrayLike) -> Frechet:
    """Squared Fréchet distance between two sets of features, in float64.

    Args:
        x: (n₁, d), one row an image; n₁ = 1 is a point mass.
        y: (n₂, d).

    Returns:
        The squared distance and its two parts; ``float()`` of it is d².

    Raises:
        GameError: a matrix is empty or not finite, or the dimensions differ.
    """
    x, y = feature_pair(x, y)
    difference = x.mean(axis=0) - y.mean(axis=0)
    factor = _square_factor if min(len(x), len(y)) > x.shape[1] + 1 else covariance_factor
    return Frechet(float(difference @ difference), covariance_part(factor(x), factor(y)))


def frechet_from_grams(xx: Matrix, xy: Matrix, yy: Matrix) -> Frechet:
    """The same from inner products alone: rows and columns can be resampled without going back to features.

    Precision is that of ‖features‖², so subtract a common vector (such as ``y``'s mean) from all features first.

    Args:
        xx: x·xᵀ, (n₁, n₁).
        xy: x·yᵀ, (n₁, n₂).
        yy: y·yᵀ, (n₂, n₂).
    """
    mean = float(xx.mean() + yy.mean() - 2 * xy.mean())
    cross = covariance_factor(covariance_factor(xy).T)
    traces = [float((np.trace(gram) - len(gram) * gram.mean()) / max(len(gram) - 1, 1)) for gram in (xx, yy)]
    return Frechet(max(mean, 0.0), _bures(traces[0], traces[1], cross))


def frechet_from_statistics(
    mu1: npt.ArrayLike, sigma1: npt.ArrayLike, mu2: npt.ArrayLike, sigma2: npt.ArrayLike
) -> Frechet:
    """Squared Fréchet distance between two Gaussians given by mean (d,) and covariance (d, d).

    Each Σ is split by its eigenvectors into AᵀA; eigenvalues that are rounding are left out.

    Raises:
        GameError: shapes do not fit, a number is not finite, or a covariance is not symmetric positive semi-definite.
    """
    means = [_finite(mu, "A mean", 1) for mu in (mu1, mu2)]
    factors = [_factor_of(_finite(sigma, "A covariance", 2)) for sigma in (sigma1, sigma2)]
    dimensions = {mean.shape[0] for mean in means} | {factor.shape[1] for factor in factors}
    if len(dimensions) != 1:
        raise GameError(f"Means and covariances have different dimensions ({sorted(dimensions)}).")
    difference = means[0] - means[1]
    return Frechet(float(difference @ difference), covariance_part(*factors))


def covariance_factor(x: Matrix) -> Matrix:
    """A (n−1, d) with AᵀA = Σ (n−1 in the denominator) for features x (n, d); no rows for one image.

    Centring leaves n rows of rank n−1. The reflection that takes the vector of ones to the first axis gathers what is
    always zero in the first row, which is left out; it subtracts one and the same vector from all the others.
    """
    if len(x) == 1:
        return x[1:]
    rows: Matrix = x[1:] - _reflected_mean(x)
    rows /= np.sqrt(len(x) - 1)
    return rows


def _reflected_mean(x: Matrix) -> Matrix:
    """What the reflection of ``covariance_factor`` subtracts from all rows but the first: (d,); two rows or more."""
    mean = x.mean(axis=0)
    return np.asarray(mean + (mean - x[0]) / (np.sqrt(len(x)) - 1))


def _square_factor(x: Matrix) -> Matrix:
    """R (d, d) with RᵀR = Σ for features x (n, d), n > d + 1.

    By Cholesky, which is quickest, unless Σ is near-singular: squaring would then lose what QR keeps. Rows are centred
    and multiplied a block at a time: a second matrix of their size would take longer to get than to compute with.
    """
    from scipy.linalg.blas import dsyrk

    n, d = x.shape
    shift = _reflected_mean(x)
    rows, lower = np.empty((BLOCK, d)), np.zeros((d, d), order="F")
    for start in range(1, n, BLOCK):
        part = rows[: min(BLOCK, n - start)]
        np.subtract(x[start : start + BLOCK], shift, out=part)
        lower = dsyrk(1 / (n - 1), part.T, beta=1, c=lower, lower=1, overwrite_c=1)
    try:
        r: Matrix = np.asarray(np.linalg.cholesky(lower).T, dtype=np.float64)
    except np.linalg.LinAlgError:
        r = np.zeros((1, 1))
    scale = r.diagonal()
    if scale.min() > WELL_CONDITIONED * scale.max():
        return r
    return np.asarray(np.linalg.qr(covariance_factor(x), mode="r"))


def covariance_part(a: Matrix, b: Matrix) -> float:
    """tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½ for Σ₁ = AᵀA and Σ₂ = BᵀB.

    Args:
        a: (m₁, d).
        b: (m₂, d).
    """
    return _bures(float(np.vdot(a, a)), float(np.vdot(b, b)), a @ b.T)


def _bures(trace1: float, trace2: float, cross: Matrix) -> float:
    if not (np.isfinite(cross).all() and np.isfinite(trace1 + trace2)):
        raise GameError("The features are too large for their distance to be computed.")
    value = _less_twice_nuclear_norm(trace1 + trace2, cross)
    # ‖A·Bᵀ‖∗ ≤ ‖A‖‖B‖ ≤ (tr Σ₁ + tr Σ₂)/2, so a negative value is rounding.
    if value < -ROUNDING * (trace1 + trace2):
        raise GameError("The covariances do not belong together: their distance came out negative.")
    return max(value, 0.0)


def _less_twice_nuclear_norm(traces: float, matrix: Matrix) -> float:
    """``traces`` less twice the sum of the singular values of a matrix M, with a relative error under ``TOLERANCE``.

    A large M is squared: the roots of the eigenvalues of M·Mᵀ take a quarter of the time. Squaring moves an eigenvalue
    by ``BLUR`` of the largest at most, so its root σ by about that divided by 2σ: little, but for the smallest. Where
    their errors would add up to more than the tolerance, they are singular values of VᵀM, with V their eigenvectors.
    """
    if min(matrix.shape) < LARGE or not 1e-70 < np.abs(matrix).max() < 1e70:  # or squares leave float64's range
        return traces - 2 * _nuclear_norm(matrix)
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    square = wide @ wide.T
    values = np.linalg.eigvalsh(square)
    blur = BLUR * values[-1]
    roots = np.sqrt(np.maximum(values, 0))
    errors = 2 * (np.sqrt(np.maximum(values, blur)) - np.sqrt(np.maximum(values - blur, 0)))
    remaining = np.cumsum(errors[::-1])[::-1]
    blurred = int(np.count_nonzero(remaining > TOLERANCE * (traces - 2 * roots.sum())))
    if blurred == 0:
        return float(traces - 2 * roots.sum())
    if blurred > len(wide) // 4:
        return traces - 2 * _nuclear_norm(matrix)
    from scipy.linalg import eigh

    _, vectors = eigh(square, subset_by_index=(0, blurred - 1))
    return float(traces - 2 * (roots[blurred:].sum() + _nuclear_norm(vectors.T @ wide)))


def _nuclear_norm(matrix: Matrix) -> float:
    """Sum of the singular values of a matrix; 0 for an empty one."""
    if matrix.size == 0:
        return 0.0
    return float(np.linalg.svd(matrix, compute_uv=False).sum())


def _factor_of(sigma: Matrix) -> Matrix:
    if sigma.shape[0] != sigma.shape[1]:
        raise GameError(f"A covariance is square; this one is {sigma.shape[0]}×{sigma.shape[1]}.")
    scale = float(np.abs(sigma).max())
    if not np.allclose(sigma, sigma.T, rtol=0, atol=1e-6 * scale):
        raise GameError("A covariance is not symmetric.")
    values, vectors = np.linalg.eigh((sigma + sigma.T) / 2)
    largest = max(float(values[-1]), 0.0)
    if values[0] < -1e-6 * max(largest, scale):
        raise GameError("A covariance is not positive semi-definite.")
    keep = values > largest * len(values) * np.finfo(np.float64).eps
    factor: Matrix = np.sqrt(values[keep])[:, None] * vectors[:, keep].T
    return factor


def feature_pair(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Matrix, Matrix]:
    """Two feature matrices in float64, checked.

    Raises:
        GameError: a matrix is empty or not finite, or the dimensions differ.
    """
    first, second = _finite(x, "A feature matrix", 2), _finite(y, "A feature matrix", 2)
    if first.shape[1] != second.shape[1]:
        raise GameError(f"The two sets' features have different dimensions ({first.shape[1]} and {second.shape[1]}).")
    return first, second


def _finite(values: npt.ArrayLike, name: str, dimensions: int) -> Matrix:
    array: npt.NDArray[Any] = np.asarray(values)
    if array.ndim != dimensions or array.size == 0:
        raise GameError(f"{name} has {dimensions} dimension(s) and is not empty; this one has shape {array.shape}.")
    if not np.issubdtype(array.dtype, np.number) or np.issubdtype(array.dtype, np.complexfloating):
        raise GameError(f"{name} holds real numbers; this one holds {array.dtype}.")
    converted: Matrix = array.astype(np.float64, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):  # the sum is quick to look at, but can overflow
        suspect = not np.isfinite(converted.sum())
    if suspect and not np.isfinite(converted).all():
        raise GameError(f"{name} has NaN or infinite numbers.")
    return converted
