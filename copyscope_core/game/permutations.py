"""Sampled Shapley and Owen values: players join one by one, in random orders and in the same orders backwards.

Each player's marginal contributions are averaged over the orders (Castro, Gómez and Tejada 2009); an order and its
reverse (antithetic, Mitchell et al. 2022) cancel what two players do together. Groups join whole: their members come
one after the other, which gives the Owen value.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .statistics import Source

Floats = NDArray[np.float64]

ORDER_SEED = 20220146
"""Fixed: the orders of a larger design begin with those of a smaller one, so that stored coalitions are used again."""


@dataclass(frozen=True)
class Permutations:
    """The coalitions of some random orders, and what follows from their values.

    Attributes:
        n: number of players.
        groups: a partition of the players 0 … n−1 into those that join together.
        drawn: pairs of an order and its reverse.
    """

    n: int
    groups: tuple[tuple[int, ...], ...]
    drawn: int

    @classmethod
    def smallest(cls, n: int, groups: tuple[tuple[int, ...], ...] = ()) -> Permutations:
        """Two pairs of orders: one alone says nothing of their spread."""
        return cls(n, groups or tuple((player,) for player in range(n)), 2)

    @functools.cached_property
    def masks(self) -> tuple[int, ...]:
        """∅; single players, single removals and what the orders pass through; N."""
        full = (1 << self.n) - 1
        found = dict.fromkeys(
            itertools.chain(
                (1 << player for player in range(self.n)),
                (full ^ (1 << player) for player in range(self.n)),
                (mask for order in self._orders for mask in self._joined(order)),
            )
        )
        return (0, *(mask for mask in found if mask not in (0, full)), full)

    @property
    def complete(self) -> bool:
        """Never: orders are drawn with replacement."""
        return False

    def shapley(self, values: Floats) -> Floats:
        """Estimates: (…, K) in the order of ``masks`` → (…, n). They sum to v(N) − v(∅)."""
        return np.asarray(self._by_pair(values).mean(axis=-2))

    def sampling(self, values: Floats) -> list[Source]:
        """What the draw of orders adds to the variance: values (K,)."""
        by_pair = self._by_pair(values)
        return [Source((by_pair - by_pair.mean(axis=0)) / math.sqrt(self.drawn * (self.drawn - 1)))]

    def grow(self, values: Floats, player: int, coalitions: int) -> Permutations:
        """More orders, as long as they bring at most so many new coalitions; each order serves all players alike."""
        larger, most = self, len(self.masks) + coalitions
        while len((wider := replace(larger, drawn=larger.drawn + 1)).masks) <= most:
            if wider.drawn > self.drawn + coalitions + 1:  # orders may bring nothing new for ever
                break
            larger = wider
        return larger

    @functools.cached_property
    def _orders(self) -> list[tuple[int, ...]]:
        """Each order, followed by its reverse."""
        rng = np.random.default_rng([ORDER_SEED, self.n, *(len(group) for group in self.groups)])
        result = []
        for _ in range(self.drawn):
            order: list[int] = []
            for place in rng.permutation(len(self.groups)):
                group = self.groups[place]
                order += [group[member] for member in rng.permutation(len(group))]
            result += [tuple(order), tuple(reversed(order))]
        return result

    def _joined(self, order: tuple[int, ...]) -> list[int]:
        """The coalitions that an order passes through, ∅ and N included."""
        return list(itertools.accumulate((1 << player for player in order), initial=0))

    @functools.cached_property
    def _steps(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """For each order and player the places in ``masks`` of the coalitions without and with it, (2·drawn, n)."""
        place = {mask: index for index, mask in enumerate(self.masks)}
        before = np.empty((len(self._orders), self.n), dtype=np.intp)
        after = np.empty_like(before)
        for row, order in enumerate(self._orders):
            passed = self._joined(order)
            for step, player in enumerate(order):
                before[row, player], after[row, player] = place[passed[step]], place[passed[step + 1]]
        return before, after

    def _by_pair(self, values: Floats) -> Floats:
        """The mean marginal contributions of each pair of orders, (…, drawn, n)."""
        v = np.asarray(values, dtype=np.float64)
        before, after = self._steps
        each = v[..., after] - v[..., before]
        return np.asarray(each.reshape(*v.shape[:-1], self.drawn, 2, self.n).mean(axis=-2))
