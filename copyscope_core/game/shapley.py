"""Exact Shapley values and their companions, vectorised over the coalition bitmask.

Every function takes a game's values with any leading batch dimensions, (…, 2**n): index *mask* of the last axis is
v(S) of the coalition whose members are the bits of *mask*. Units are those of v (FID points, for CopyScope).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import GameError

EFFICIENCY_TOLERANCE = 1e-9
"""Largest efficiency gap taken for rounding, relative to the largest |v(S)| of the game."""

Floats = NDArray[np.float64]


def player_count(values: Floats) -> int:
    """n of an array (…, 2**n).

    Raises:
        GameError: the last axis has no length 2**n with n ≥ 1.
    """
    size = values.shape[-1] if values.ndim else 0
    if size < 2 or size & (size - 1):
        raise GameError(f"A game needs 2ⁿ values, one for each coalition of its players; it has {size}.")
    return size.bit_length() - 1


def shapley_values(values: ArrayLike) -> Floats:
    """Shapley values φᵢ = Σ_S |S|!(n−1−|S|)!/n! · (v(S∪i) − v(S)) over the coalitions S without i: (…, 2**n) → (…, n).

    The sum is taken over differences, so a player that never changes v gets exactly 0.0.
    Source: Shapley (1953); CopyScope, arXiv 2311.12847, equation of FID-Shapley.

    Raises:
        GameError: the last axis is not 2**n long.
    """
    v = np.asarray(values, dtype=np.float64)
    n = player_count(v)
    weights = _weights(n)
    phi = np.empty((*v.shape[:-1], n))
    for i in range(n):
        without, having = _split(v, n, i)
        difference = having - without
        difference *= weights.reshape(difference.shape[-2:])
        phi[..., i] = difference.reshape(*v.shape[:-1], -1).sum(axis=-1)
    return phi


def leave_one_out(values: ArrayLike) -> Floats:
    """v(N) − v(N∖i), the change when a single player is removed from the whole: (…, 2**n) → (…, n)."""
    v = np.asarray(values, dtype=np.float64)
    n = player_count(v)
    full = v.shape[-1] - 1
    return np.asarray(v[..., full, None] - v[..., full ^ (1 << np.arange(n))])


def single_increments(values: ArrayLike) -> Floats:
    """v({i}) − v(∅), the change when a single player joins the empty coalition: (…, 2**n) → (…, n)."""
    v = np.asarray(values, dtype=np.float64)
    n = player_count(v)
    return np.asarray(v[..., 1 << np.arange(n)] - v[..., 0, None])


def ablation(distances: ArrayLike) -> Floats:
    """Mean of d²(S) over the coalitions without i, the paper's ablation: (…, 2**n) → (…, n).

    The larger, the more the images move away from the reference when i is missing.
    """
    d = np.asarray(distances, dtype=np.float64)
    n = player_count(d)
    return np.stack([_split(d, n, i)[0].mean(axis=(-2, -1)) for i in range(n)], axis=-1)


def shares(phi: ArrayLike) -> Floats | None:
    """φ/Σ|φ|, signed, the paper's normalisation: (…, n) → (…, n).

    Returns:
        None where a single game (n,) has Σ|φ| = 0, for then a share has no meaning. Within a batch such a row is NaN.
    """
    p = np.asarray(phi, dtype=np.float64)
    total = np.abs(p).sum(axis=-1, keepdims=True)
    if p.ndim == 1 and total[0] == 0:
        return None
    return np.asarray(np.divide(p, total, out=np.full_like(p, np.nan), where=total > 0))


def efficiency_gap(values: ArrayLike, phi: ArrayLike) -> Floats:
    """Σφ − (v(N) − v(∅)), zero up to rounding for true Shapley values: (…, 2**n), (…, n) → (…)."""
    v = np.asarray(values, dtype=np.float64)
    return np.asarray(np.asarray(phi, dtype=np.float64).sum(axis=-1) - (v[..., -1] - v[..., 0]))


def check_efficiency(values: ArrayLike, phi: ArrayLike) -> Floats:
    """The efficiency gap (…), after checking that it is no more than rounding.

    Raises:
        GameError: |gap| exceeds ``EFFICIENCY_TOLERANCE`` × the largest |v(S)| (or ×1 where that is smaller than 1).
    """
    v = np.asarray(values, dtype=np.float64)
    gap = efficiency_gap(v, phi)
    limit = EFFICIENCY_TOLERANCE * np.maximum(1.0, np.abs(v).max(axis=-1))
    if not np.all(np.abs(gap) <= limit):
        raise GameError(
            f"The Shapley values do not add up: Σφ is off v(N) − v(∅) by {np.abs(gap).max():.3g}, more than rounding; "
            "please report this with the table of values."
        )
    return gap


def _split(v: Floats, n: int, i: int) -> tuple[Floats, Floats]:
    """Views (…, 2**(n−1−i), 2**i) of v on the coalitions without i and, in the same order, with i."""
    halves = v.reshape(*v.shape[:-1], 2 ** (n - 1 - i), 2, 2**i)
    return halves[..., 0, :], halves[..., 1, :]


def _weights(n: int) -> Floats:
    """|S|!(n−1−|S|)!/n! for the 2**(n−1) coalitions of the other players, by their bitmask."""
    size = np.zeros(1, dtype=np.uint8)
    for _ in range(n - 1):
        size = np.concatenate([size, size + np.uint8(1)])
    by_size = np.array([1 / (n * math.comb(n - 1, s)) for s in range(n)])
    return np.asarray(by_size[size])
