"""Sampled Shapley values: a weighted regression on pairs of complementary coalitions (KernelSHAP).

φ minimises Σ_S k(S) · (v(S) − v(∅) − Σ_{i∈S} φᵢ)² under Σφ = v(N) − v(∅), with k(S) = (n−1)/(C(n,s)·s·(n−s)) (Lundberg
and Lee 2017). A coalition S and its complement T enter that sum together, and together only by u = v(S) − v(T):

    φ = argmin Σ_pairs k(S) · (u − Σ_{i∈S} φᵢ + Σ_{i∈T} φᵢ)²,

so that what two players do together cancels, and games of pairwise interactions come out exactly (paired sampling:
Covert and Lee 2021). Pairs are drawn without replacement within strata of equal size |S|; the pairs of single players
and single removals are all taken. How v bends with the mere size of a coalition is fitted along with φ, by odd powers
of n − 2|S|: over all pairs these are orthogonal to who is in S, so they take nothing from φ and much from its error.

The error of the draw is estimated stratum by stratum with the residuals' leverage taken into account (a jackknife) and
the finite population correction, so a stratum that is drawn whole adds none, and the whole game gives the exact Shapley
value. ``docs/sampling.md`` compares it with other estimators.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import GameError
from .statistics import Source

Floats = NDArray[np.float64]

DRAW_SEED = 20171205
"""Fixed: the pairs of a larger design begin with those of a smaller one, so that stored coalitions are used again."""

_ENUMERATED = 50_000
"""Strata of at most so many pairs are listed and shuffled; from larger ones, pairs are drawn until they are new."""

_FIRST = 2
"""Pairs that every stratum begins with: one alone says nothing of its spread. A stratum of three is taken whole."""

_POWERS = (3, 5, 7)
"""Of n − 2|S|; the first power is what Σφ = v(N) − v(∅) fixes."""

_PRIOR = 8
"""How many pairs' worth of weight all strata together have in the spread of one."""


@dataclass(frozen=True)
class Regression:
    """The coalitions of a regression, and what follows from their values.

    Attributes:
        n: number of players.
        drawn: pairs taken of the strata of size 1 … ⌊n/2⌋.
    """

    n: int
    drawn: tuple[int, ...]

    @classmethod
    def smallest(cls, n: int) -> Regression:
        """The first design: all singles and single removals, and two pairs of every other size; all of four players."""
        return cls(n, tuple(pairs if s == 1 or pairs <= 3 else _FIRST for s, pairs in enumerate(strata(n), 1)))

    @functools.cached_property
    def masks(self) -> tuple[int, ...]:
        """∅, then the pairs, each with its complement, then N."""
        full = (1 << self.n) - 1
        return (0, *(mask for pair in self._pairs for mask in (pair, full ^ pair)), full)

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """None."""
        return ()

    @property
    def complete(self) -> bool:
        """Whether every coalition is in it."""
        return self.drawn == strata(self.n)

    def shapley(self, values: Floats) -> Floats:
        """Estimates of φ: (…, K) in the order of ``masks`` → (…, n). They sum to v(N) − v(∅)."""
        return self._fit(values)[0]

    def sampling(self, values: Floats) -> list[Source]:
        """What the draw of coalitions adds to the variance of φ, a source for each stratum: values (K,)."""
        return [source for source in self._strata(values) if source is not None]

    def grow(self, values: Floats, player: int, coalitions: int) -> Regression:
        """A larger design: each next pair where it takes most off the variance of one player's φ.

        Args:
            values: (K,) in the order of ``masks``.
            coalitions: at most so many more.
        """
        sizes, draws = strata(self.n), list(self.drawn)
        spread = self._spread(values, player)

        def variance(stratum: int, count: int) -> float:
            return float(spread[stratum]) / count * (1 - count / sizes[stratum])

        for _ in range(coalitions // 2):
            left = [s for s in range(len(sizes)) if draws[s] < sizes[s]]
            if not left:
                break
            best = max(left, key=lambda s: variance(s, draws[s]) - variance(s, draws[s] + 1))
            draws[best] += 1
        return Regression(self.n, tuple(draws))

    @functools.cached_property
    def _pairs(self) -> tuple[int, ...]:
        return tuple(
            itertools.chain.from_iterable(draw_pairs(self.n, s, count) for s, count in enumerate(self.drawn, 1))
        )

    @functools.cached_property
    def _stratum(self) -> NDArray[np.intp]:
        return np.repeat(np.arange(len(self.drawn)), self.drawn)

    @functools.cached_property
    def _design(self) -> tuple[Floats, Floats, Floats]:
        """±1 for each pair and player, (P, n); powers of size, (P, k); weight, (P,)."""
        members = np.array([[pair >> i & 1 for i in range(self.n)] for pair in self._pairs], dtype=np.float64)
        lack = 1 - 2 * np.arange(1, len(self.drawn) + 1) / max(self.n, 1)
        powers = np.array(_POWERS[: max(len(self.drawn) - 1, 0)], dtype=np.float64)
        size = (lack[:, None] ** powers)[self._stratum]
        weight = (stratum_weights(self.n) / np.array(self.drawn, dtype=np.float64))[self._stratum]
        return 2 * members.reshape(-1, self.n) - 1, size, weight

    @functools.cached_property
    def _solution(self) -> tuple[Floats, Floats]:
        """What each pair's u adds to φ and to the size effects, (P, n + k), and the pairs' leverages, (P,)."""
        sign, size, weight = self._design
        free = sign - sign.mean(axis=1, keepdims=True)  # under Σφ = constant
        columns = np.concatenate([free, size], axis=1)
        weighted = columns * weight[:, None]
        gram = weighted.T @ columns
        gram[: self.n, : self.n] += max(gram.trace(), 1.0) / self.n  # Σφ, left open by the columns, becomes 0
        influence = np.linalg.solve(gram, weighted.T).T
        return influence, np.einsum("pc,pc->p", influence, columns)

    def _fit(self, values: Floats) -> tuple[Floats, Floats]:
        """φ (…, n) and the residuals of the pairs (…, P)."""
        v = np.asarray(values, dtype=np.float64)
        sign, size, _ = self._design
        even = (v[..., -1] - v[..., 0])[..., None] / self.n
        rest = v[..., 1:-1:2] - v[..., 2:-1:2] - even * sign.sum(axis=1)
        found = rest @ self._solution[0]
        phi, bend = found[..., : self.n], found[..., self.n :]
        return even + phi, rest - phi @ sign.T - bend @ size.T

    def _strata(self, values: Floats) -> list[Source | None]:
        """For each stratum its source of chance; None where it is drawn whole."""
        _, residual = self._fit(values)
        influence, leverage = self._solution
        moved = influence[:, : self.n] * (residual / np.maximum(1 - leverage, 1e-9))[:, None]
        result: list[Source | None] = []
        for s, (count, size) in enumerate(zip(self.drawn, strata(self.n), strict=True)):
            if count == size:
                result.append(None)
                continue
            rows = moved[self._stratum == s]
            scale = math.sqrt(count / (count - 1) * (1 - count / size))
            result.append(Source(scale * (rows - rows.mean(axis=0))))
        return result

    def _spread(self, values: Floats, player: int) -> Floats:
        """For each stratum the variance that one pair alone would leave in a player's φ.

        A stratum's own estimate is drawn towards what all strata say together: few pairs tell little, and one that
        looks calm by chance would never be looked at again.
        """
        weight, sizes = stratum_weights(self.n), strata(self.n)
        own, known = np.zeros(len(sizes)), np.zeros(len(sizes))
        for s, source in enumerate(self._strata(values)):
            if source is not None:
                count = self.drawn[s]
                own[s] = (source.deviations[:, player] ** 2).sum() * count / (1 - count / sizes[s])
                known[s] = count - 1
        common = (known * own).sum() / max((known * weight**2).sum(), 1e-300)
        return np.asarray((known * own + _PRIOR * common * weight**2) / (known + _PRIOR))


@functools.lru_cache(maxsize=64)
def strata(n: int) -> tuple[int, ...]:
    """How many pairs of complementary coalitions there are whose smaller part has 1 … ⌊n/2⌋ members."""
    return tuple(math.comb(n, s) // (2 if 2 * s == n else 1) for s in range(1, n // 2 + 1))


@functools.lru_cache(maxsize=64)
def stratum_weights(n: int) -> Floats:
    """The kernel's weight of all pairs of a stratum together, (⌊n/2⌋,)."""
    sizes = np.arange(1, n // 2 + 1)
    return np.asarray(1 / (sizes * (n - sizes)) / np.where(2 * sizes == n, 2, 1))


def fewest(n: int) -> int:
    """How many coalitions a regression needs at least."""
    return len(Regression.smallest(n).masks)


def draw_pairs(n: int, size: int, count: int) -> list[int]:
    """The first pairs of a stratum in its fixed random order, each by its part of ``size`` members.

    Raises:
        GameError: there are not so many.
    """
    total = strata(n)[size - 1]
    if count > total:
        raise GameError(f"There are {total:,} pairs of {size} and {n - size} players, and {count:,} were asked for.")
    if total <= _ENUMERATED:
        return _shuffled(n, size)[:count]
    return _drawn(n, size, count)


@functools.lru_cache(maxsize=256)
def _shuffled(n: int, size: int) -> list[int]:
    masks = [_mask(members) for members in itertools.combinations(range(n), size)][: strata(n)[size - 1]]
    order = np.random.default_rng([DRAW_SEED, n, size]).permutation(len(masks))
    return [masks[i] for i in order]


def _drawn(n: int, size: int, count: int) -> list[int]:
    rng, full = np.random.default_rng([DRAW_SEED, n, size]), (1 << n) - 1
    found: dict[int, None] = {}
    while len(found) < count:
        mask = _mask(rng.permutation(n)[:size].tolist())
        found.setdefault(min(mask, full ^ mask) if 2 * size == n else mask)
    return list(found)


def _mask(members: tuple[int, ...] | list[int]) -> int:
    return functools.reduce(lambda mask, i: mask | 1 << i, members, 0)
