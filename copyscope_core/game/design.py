"""Designs: which coalitions of a game are measured, and how the Shapley value follows from theirs alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .shapley import shapley_values
from .statistics import Source

Floats = NDArray[np.float64]
Estimator = Literal["regression", "permutation"]
"""How φ is estimated where not every coalition is measured."""


class Design(Protocol):
    """Some coalitions of a game. Values are arrays (…, K) of v in the order of ``masks``."""

    @property
    def n(self) -> int:
        """How many players."""

    @property
    def masks(self) -> tuple[int, ...]:
        """The coalitions, K of them: ∅ first, N last, all single players and single removals among them."""

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """A partition of the players into those that join together; empty where each is alone."""

    @property
    def complete(self) -> bool:
        """Whether φ is exact."""

    def shapley(self, values: Floats) -> Floats:
        """φ, or an estimate: (…, K) → (…, n)."""

    def sampling(self, values: Floats) -> list[Source]:
        """Where chance in the choice of coalitions comes into φ: values (K,); empty where φ is exact."""

    def grow(self, values: Floats, player: int, coalitions: int) -> Design:
        """A design that holds this one and at most so many coalitions more, chosen to narrow one player's interval."""


@dataclass(frozen=True)
class Exact:
    """All 2ⁿ coalitions, by bitmask."""

    n: int

    @functools.cached_property
    def masks(self) -> tuple[int, ...]:
        """0 … 2ⁿ − 1."""
        return tuple(range(1 << self.n))

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """None."""
        return ()

    @property
    def complete(self) -> bool:
        """Always."""
        return True

    def shapley(self, values: Floats) -> Floats:
        """φ: (…, 2ⁿ) → (…, n)."""
        return shapley_values(values)

    def sampling(self, values: Floats) -> list[Source]:
        """None."""
        return []

    def grow(self, values: Floats, player: int, coalitions: int) -> Design:
        """The same."""
        return self


def membership(groups: Sequence[Sequence[int]]) -> Floats:
    """1 where a player is in a group, (m, n): sums over groups are ``membership(groups) @ φ``."""
    result = np.zeros((len(groups), sum(len(group) for group in groups)))
    for row, group in enumerate(groups):
        result[row, list(group)] = 1.0
    return result
