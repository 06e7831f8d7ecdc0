"""Shapley interactions: what two or three players do together beyond what they do apart.

Every function takes a game's values with any leading batch dimensions, (…, 2**n), as `shapley` does; units are those
of v. All is computed from the Möbius transform (Harsanyi dividends) m(R) = Σ_{S⊆R} (−1)^{|R|−|S|} v(S), in which a
player without effect has exactly 0 everywhere.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .coalitions import presence
from .shapley import player_count

MOST_PLAYERS = 12
"""Above this, reports leave interactions out: there are too many of them to read."""

HIGHEST_ORDER = 3

Floats = NDArray[np.float64]
Members = tuple[int, ...]


def mobius_transform(values: ArrayLike) -> Floats:
    """Harsanyi dividends m(R), (…, 2**n), with v(S) = Σ_{R⊆S} m(R).

    Raises:
        GameError: the last axis is not 2**n long.
    """
    v = np.asarray(values, dtype=np.float64)
    n = player_count(v)
    result = v.copy()
    for i in range(n):
        halves = result.reshape(*v.shape[:-1], 2 ** (n - 1 - i), 2, 2**i)
        halves[..., 1, :] -= halves[..., 0, :]
    return result


def interaction_index(values: ArrayLike, players: Members) -> Floats:
    """Shapley interaction index of a set T of players, (…, 2**n) → (…): its surplus, averaged over coalitions.

    I(T) = Σ_S |S|!(n−|S|−|T|)!/(n−|T|+1)! · Σ_{L⊆T} (−1)^{|T|−|L|} v(S∪L) over the coalitions S without T
    (Grabisch and Roubens 1999), which is Σ_{R⊇T} m(R)/(|R|−|T|+1). For one player it is the Shapley value.
    """
    return _index(mobius_transform(values), players)


def pair_interactions(values: ArrayLike) -> Floats:
    """The interaction index of every pair, (…, 2**n) → (…, n, n), symmetric, with φ on the diagonal.

    Positive: the two do more together than apart. Negative: they stand in for each other.
    """
    dividends = mobius_transform(values)
    n = player_count(dividends)
    result = np.empty((*dividends.shape[:-1], n, n))
    for i, j in itertools.combinations_with_replacement(range(n), 2):
        result[..., i, j] = result[..., j, i] = _index(dividends, (i, j) if i != j else (i,))
    return result


def n_shapley(values: ArrayLike, order: int = HIGHEST_ORDER) -> dict[Members, Floats]:
    """n-Shapley values up to an order: how v(N) − v(∅) divides among single players, pairs and triples.

    Φᵏ(T) = Φᵏ⁻¹(T) + B_{k−|T|} Σ_{U⊆N∖T, |U|=k−|T|} I(T∪U) for |T| < k and I(T) for |T| = k, with Bernoulli numbers B
    (Bordt and von Luxburg 2023). Their sum over all T is v(N) − v(∅). Where the order exceeds n, n is taken.

    Returns:
        Members (sorted) → value (…), for all sets of 1 to ``order`` players.
    """
    dividends = mobius_transform(values)
    n = player_count(dividends)
    order = min(order, n)
    index = {
        members: _index(dividends, members)
        for size in range(1, order + 1)
        for members in itertools.combinations(range(n), size)
    }
    result: dict[Members, Floats] = {}
    for members, own in index.items():
        value = own.copy()
        others = [i for i in range(n) if i not in members]
        for size in range(len(members) + 1, order + 1):
            bernoulli = _BERNOULLI[size - len(members)]
            for more in itertools.combinations(others, size - len(members)):
                value = value + bernoulli * index[tuple(sorted(members + more))]
        result[members] = value
    return result


_BERNOULLI = (1.0, -0.5, 1 / 6, 0.0)


def _index(dividends: Floats, players: Members) -> Floats:
    n = player_count(dividends)
    if len(set(players)) != len(players) or not all(0 <= i < n for i in players):
        raise ValueError(f"{players} are no {len(players)} different players of {n}.")
    mask = sum(1 << i for i in players)
    supersets = np.flatnonzero((np.arange(1 << n) & mask) == mask)
    sizes = presence(n).sum(axis=1)[supersets]
    return np.asarray(dividends[..., supersets] @ (1 / (sizes - len(players) + 1)))
