"""The Owen value: the Shapley value for players that come in groups, such as all LoRAs of one author.

Groups stay together: a coalition holds some whole groups and, of one more group at most, a part. Between groups the
value is divided by the Shapley value of the game of whole groups, within a group by what its parts do there. So a
group gets the same whether its author ships one model or many. Source: Owen (1977).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .shapley import shapley_values
from .statistics import Source

if TYPE_CHECKING:
    from .design import Design

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Owen:
    """The coalitions that the Owen value needs.

    Attributes:
        n: number of players.
        groups: a partition of the players 0 … n−1.
    """

    n: int
    groups: tuple[tuple[int, ...], ...]

    @functools.cached_property
    def masks(self) -> tuple[int, ...]:
        """∅ first, N last, in the order of the bitmasks."""
        return tuple(sorted({int(mask) for table in self._tables for mask in table.ravel()}))

    @property
    def complete(self) -> bool:
        """Always: the value is exact."""
        return True

    def shapley(self, values: Floats) -> Floats:
        """The Owen value: (…, K) in the order of ``masks`` → (…, n)."""
        v = np.asarray(values, dtype=np.float64)
        result = np.empty((*v.shape[:-1], self.n))
        count = len(self.groups)
        by_size = [1 / (count * math.comb(count - 1, size)) for size in range(count)]
        weight = np.array([by_size[others.bit_count()] for others in range(1 << (count - 1))])
        for group, places in zip(self.groups, self._places, strict=True):
            within = shapley_values(v[..., places])  # (…, unions of other groups, members)
            within *= weight[:, None]
            result[..., list(group)] = within.sum(axis=-2)
        return result

    def sampling(self, values: Floats) -> list[Source]:
        """None: nothing is sampled."""
        return []

    def grow(self, values: Floats, player: int, coalitions: int) -> Design:
        """The same."""
        return self

    @functools.cached_property
    def _tables(self) -> list[NDArray[np.int64]]:
        """For each group the masks of its parts beside each union of other groups, (2^(m−1), 2^b)."""
        tables = []
        for own in self.groups:
            others = [mask_of(group) for group in self.groups if group != own]
            unions = np.array(_unions(others), dtype=np.int64)
            parts = np.array(_unions([1 << player for player in own]), dtype=np.int64)
            tables.append(unions[:, None] | parts[None, :])
        return tables

    @functools.cached_property
    def _places(self) -> list[NDArray[np.intp]]:
        """The tables as places in ``masks``."""
        known = np.array(self.masks, dtype=np.int64)
        return [np.searchsorted(known, table) for table in self._tables]


def mask_of(players: tuple[int, ...]) -> int:
    """The bitmask of some players."""
    return sum(1 << player for player in players)


def _unions(parts: list[int]) -> list[int]:
    """The union of every subset of disjoint masks; subset *k* has the parts whose bits are set in *k*."""
    result = [0]
    for part in parts:
        result += [mask | part for mask in result]
    return result
