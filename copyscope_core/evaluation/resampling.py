"""Distances of resampled images: what the distance would be had other seeds, or other reference images, been drawn.

A resample is a vector of weights: how often each image is taken. The Fréchet distance follows from weighted means and
from the singular values of the weighted, centred inner products of the two sides' images, n×m numbers, so no d×d
covariance is ever made. With X centred and F·Fᵀ = X·(Σ₂)·Xᵀ, all resamples of the rows share one factor F (n×k,
k ≤ min(n, m, d)), because an orthogonal matrix on the right changes no singular value.
"""

from __future__ import annotations

import numpy as np

from ..distances.frechet import Matrix
from ..distances.kernel import Clips, Kernel

_NUMBERS = 1 << 21
"""Resamples are worked on in pieces of at most so many numbers (16 MiB)."""
_ROWS = 1024


def resampled_frechet(x: Matrix, y: Matrix, rows: Matrix | None = None, columns: Matrix | None = None) -> Matrix:
    """d² between resamples of two sets of features.

    Args:
        x: (n, d); precision is best where a common vector, such as y's mean, has been subtracted from both.
        y: (m, d).
        rows: (R, n) weights of x's images, non-negative integers that sum to at least 1; None: all 1.
        columns: (R, m) weights of y's images; None: all 1.

    Returns:
        (R, 2): ‖Δμ‖² and tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½. Their sum is `frechet.frechet_distance` of the repeated rows.
    """
    count = len(rows) if rows is not None else len(columns) if columns is not None else 1
    a = np.ones((1, len(x))) if rows is None else np.asarray(rows, dtype=np.float64)
    b = np.ones((1, len(y))) if columns is None else np.asarray(columns, dtype=np.float64)
    mean_x, trace_x = _moments(x, a)
    mean_y, trace_y = _moments(y, b)
    difference = mean_x - mean_y
    mean = np.einsum("rd,rd->r", difference, difference)
    if columns is None:
        nuclear = _one_sided(x, y, a)
    elif rows is None:
        nuclear = _one_sided(y, x, b)
    else:
        nuclear = _two_sided(x @ y.T, a, b)
    covariance = np.maximum(trace_x + trace_y - 2 * nuclear, 0.0)
    return np.stack([np.broadcast_to(mean, count), np.broadcast_to(covariance, count)], axis=1)


def resampled_kernel(
    x: Matrix,
    y: Matrix,
    kernel: Kernel,
    rows: Matrix | None = None,
    columns: Matrix | None = None,
    clips: Clips | None = None,
) -> Matrix:
    """mean k(x, x′) − 2 mean k(x, y) of resamples, where x and x′ are different original images, of different clips.

    Two copies of one image are no pair: their k(x, x) would put the bias back that KID is free of.

    Args:
        x: (n, d).
        y: (m, d).
        kernel: k.
        rows: (R, n) weights of x's images, at least two of them positive in each resample; None: all 1.
        columns: (R, m) weights of y's images; None: all 1.
        clips: the clip of each image of x; None: each is one of its own.

    Returns:
        (R,); NaN where a resample holds one original image, or one clip, of x only.
    """
    a = np.ones((1, len(x))) if rows is None else np.asarray(rows, dtype=np.float64)
    b = np.ones((1, len(y))) if columns is None else np.asarray(columns, dtype=np.float64)
    of = np.arange(len(x)) if clips is None else clips
    within: Matrix = np.zeros(len(a))
    across: Matrix = np.zeros(max(len(a), len(b)))
    for start in range(0, len(x), _ROWS):
        stop = min(start + _ROWS, len(x))
        block = kernel(x[start:stop], x)
        block[of[start:stop, None] == of] = 0.0
        within += np.einsum("rn,rn->r", a[:, start:stop] @ block, a)
        across += np.einsum("rm,rm->r", *np.broadcast_arrays(a[:, start:stop] @ kernel(x[start:stop], y), b))
    total_a, total_b = a.sum(axis=1), b.sum(axis=1)
    pairs = total_a**2 - ((a if clips is None else _by_clip(a, clips)) ** 2).sum(axis=1)
    mean_within = np.divide(within, pairs, out=np.full_like(within, np.nan), where=pairs > 0)
    return np.asarray(mean_within - 2 * across / (total_a * total_b))


def _by_clip(weights: Matrix, clips: Clips) -> Matrix:
    """The weights (R, n) of the images of each clip together, (R, clips)."""
    return np.asarray(weights @ (clips[:, None] == np.unique(clips)))


def _moments(x: Matrix, weights: Matrix) -> tuple[Matrix, Matrix]:
    """Weighted means (R, d) and traces of the covariances (R,) of x (n, d) under weights (R, n)."""
    total = weights.sum(axis=1)
    mean = weights @ x / total[:, None]
    squares = weights @ np.einsum("nd,nd->n", x, x)
    spread = squares - total * np.einsum("rd,rd->r", mean, mean)
    return mean, np.maximum(spread, 0.0) / np.maximum(total - 1, 1)


def _one_sided(x: Matrix, y: Matrix, weights: Matrix) -> Matrix:
    """tr (Σ₁Σ₂)^½, (R,), where only x is resampled: weights (R, n)."""
    n, m, d = len(x), len(y), x.shape[1]
    if m < 2:
        return np.zeros(len(weights))
    centred = (y - y.mean(axis=0)) / np.sqrt(m - 1)
    if m > d:
        centred = np.asarray(np.linalg.qr(centred, mode="r"))
    factor = x @ centred.T
    if factor.shape[1] > n:
        factor = np.ascontiguousarray(np.asarray(np.linalg.qr(factor.T, mode="r")).T)
    return _nuclear_norms(factor, weights)


def _nuclear_norms(factor: Matrix, weights: Matrix) -> Matrix:
    """Sums of singular values, (R,), of √w · (factor − weighted mean) / √(Σw − 1); factor (n, k), weights (R, n)."""
    result = np.empty(len(weights))
    step = max(1, _NUMBERS // factor.size)
    for start in range(0, len(weights), step):
        w = weights[start : start + step]
        total = w.sum(axis=1)
        centred = factor - (w @ factor / total[:, None])[:, None, :]
        centred *= np.sqrt(w / np.maximum(total - 1, 1)[:, None])[:, :, None]
        result[start : start + step] = np.linalg.svd(centred, compute_uv=False).sum(axis=1)
    return result


def _two_sided(cross: Matrix, a: Matrix, b: Matrix) -> Matrix:
    """tr (Σ₁Σ₂)^½, (R,), where both sides are resampled: cross (n, m), a (R, n), b (R, m)."""
    count = max(len(a), len(b))
    a, b = np.broadcast_to(a, (count, a.shape[1])), np.broadcast_to(b, (count, b.shape[1]))
    result = np.empty(count)
    step = max(1, _NUMBERS // cross.size)
    for start in range(0, count, step):
        w, v = a[start : start + step], b[start : start + step]
        total_w, total_v = w.sum(axis=1)[:, None], v.sum(axis=1)[:, None]
        by_row = v @ cross.T / total_v
        by_column = w @ cross / total_w
        middle = np.einsum("rn,rn->r", by_row, w)[:, None] / total_w
        centred = cross - by_row[:, :, None]
        centred -= (by_column - middle)[:, None, :]
        centred *= np.sqrt(w / np.maximum(total_w - 1, 1))[:, :, None]
        centred *= np.sqrt(v / np.maximum(total_v - 1, 1))[:, None, :]
        result[start : start + step] = np.linalg.svd(centred, compute_uv=False).sum(axis=1)
    return result
