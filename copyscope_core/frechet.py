"""The Fréchet distance between two sets of features, seen as Gaussians (Heusel et al. 2017), without a matrix root.

d² = ‖μ₁−μ₂‖² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½. With Σ₁ = AᵀA and Σ₂ = BᵀB, where A (n₁×d) and B (n₂×d) are the centred
features divided by √(n−1), tr (Σ₁Σ₂)^½ is the sum of the singular values of A·Bᵀ: real, stable, and small (n₁×n₂).
A set of one image has Σ = 0: a point mass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import GameError

Matrix = npt.NDArray[np.float64]

WELL_CONDITIONED = 1e-4
"""Smallest pivot of a Cholesky factor that is trusted, relative to the largest."""

ROUNDING = 1e-9
"""A covariance part above −ROUNDING·(tr Σ₁ + tr Σ₂) and below 0 is rounding, and becomes 0."""


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


def frechet_distance(x: npt.ArrayLike, y: npt.ArrayLike) -> Frechet:
    """Squared Fréchet distance between two sets of features, in float64.

    Args:
        x: (n₁, d), one row an image; n₁ = 1 is a point mass.
        y: (n₂, d).

    Raises:
        GameError: a matrix is empty or not finite, or the dimensions differ.
    """
    x, y = feature_pair(x, y)
    difference = x.mean(axis=0) - y.mean(axis=0)
    return Frechet(float(difference @ difference), covariance_part(covariance_factor(x), covariance_factor(y)))


def frechet_from_grams(xx: Matrix, xy: Matrix, yy: Matrix) -> Frechet:
    """The same from inner products alone: rows and columns can be resampled without going back to features.

    Precision is that of ‖features‖², so subtract a common vector (such as ``y``'s mean) from all features first.

    Args:
        xx: x·xᵀ, (n₁, n₁).
        xy: x·yᵀ, (n₁, n₂).
        yy: y·yᵀ, (n₂, n₂).
    """
    n1, n2 = xy.shape
    mean = float(xx.mean() + yy.mean() - 2 * xy.mean())
    cross = xy - xy.mean(axis=0, keepdims=True)
    cross -= cross.mean(axis=1, keepdims=True)
    cross /= np.sqrt(max(n1 - 1, 1) * max(n2 - 1, 1))
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
    """A with AᵀA = Σ (n−1 in the denominator; 0 for one row): features (n, d) centred and scaled, (n, d)."""
    centred: Matrix = x - x.mean(axis=0)
    centred /= np.sqrt(max(len(x) - 1, 1))
    return centred


def covariance_part(a: Matrix, b: Matrix) -> float:
    """tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½ for Σ₁ = AᵀA and Σ₂ = BᵀB.

    Args:
        a: (m₁, d).
        b: (m₂, d).
    """
    trace_a, trace_b = float(np.vdot(a, a)), float(np.vdot(b, b))
    if min(len(a), len(b)) > a.shape[1]:
        a, b = _square_factor(a), _square_factor(b)
    return _bures(trace_a, trace_b, a @ b.T)


def _square_factor(a: Matrix) -> Matrix:
    """R (d, d) with RᵀR = AᵀA for A (m, d), m > d.

    By Cholesky, which is quickest, unless AᵀA is near-singular: squaring would then lose what QR keeps.
    """
    try:
        r: Matrix = np.asarray(np.linalg.cholesky(a.T @ a).T, dtype=np.float64)
    except np.linalg.LinAlgError:
        r = np.zeros((1, 1))
    scale = r.diagonal()
    if scale.min() > WELL_CONDITIONED * scale.max():
        return r
    return np.asarray(np.linalg.qr(a, mode="r"))


def nuclear_norm(matrix: Matrix) -> float:
    """Sum of the singular values of a matrix; 0 for an empty one."""
    if matrix.size == 0:
        return 0.0
    return float(np.linalg.svd(matrix, compute_uv=False).sum())


def _bures(trace1: float, trace2: float, cross: Matrix) -> float:
    if not (np.isfinite(cross).all() and np.isfinite(trace1 + trace2)):
        raise GameError("The features are too large for their distance to be computed.")
    value = trace1 + trace2 - 2 * nuclear_norm(cross)
    # ‖A·Bᵀ‖∗ ≤ ‖A‖‖B‖ ≤ (tr Σ₁ + tr Σ₂)/2, so a negative value is rounding.
    if value < -ROUNDING * (trace1 + trace2):
        raise GameError("The covariances do not belong together: their distance came out negative.")
    return max(value, 0.0)


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
    if not np.isfinite(converted).all():
        raise GameError(f"{name} has NaN or infinite numbers.")
    return converted
