"""Designs: which coalitions of a game are measured, and how the Shapley value follows from theirs alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import GameError
from .owen import Owen
from .permutations import Permutations
from .regression import Regression
from .shapley import shapley_values
from .statistics import Source

Floats = NDArray[np.float64]
Estimator = Literal["regression", "permutation"]
"""How φ is estimated where not every coalition is measured."""

MOST_SAMPLED = 48
"""Players of a sampled game; a bitmask of them is a whole number in JavaScript, too."""


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


def exact_count(n: int, groups: Sequence[Sequence[int]] = ()) -> int:
    """How many coalitions the exact value needs.

    Args:
        groups: a partition of the players; empty: none is grouped.
    """
    if not groups:
        return 1 << n
    others = len(groups) - 1
    # Unions of whole groups are shared; what has part of a group belongs to that group alone.
    return (1 << len(groups)) + sum(((1 << len(group)) - 2) << others for group in groups)


def choose_design(
    n: int, groups: Sequence[Sequence[int]] = (), budget: int | None = None, estimator: Estimator = "regression"
) -> Design:
    """The exact design where the budget allows it, else the smallest sampled one, to be grown.

    Args:
        groups: a partition of the players, for the Owen value; empty: none is grouped.
        budget: how many coalitions may be measured; None: all that the exact value needs.
        estimator: groups need ``permutation``, whatever is asked for.

    Raises:
        GameError: the budget is too small for this many players, or there are too many players.
    """
    if budget is None or budget >= exact_count(n, groups):
        return Owen(n, tuple(map(tuple, groups))) if groups else Exact(n)
    if n > MOST_SAMPLED:
        raise GameError(f"There are {n} players; at most {MOST_SAMPLED} can be sampled, so lock some.")
    design = smallest_sample(n, groups, estimator)
    if len(design.masks) > budget:
        raise GameError(
            f"A budget of {budget:,} coalitions is too small for {n} players, who need {len(design.masks):,} at least; "
            "raise it, or lock some players."
        )
    return design


def smallest_sample(n: int, groups: Sequence[Sequence[int]] = (), estimator: Estimator = "regression") -> Design:
    """The sampled design with the fewest coalitions."""
    if groups or estimator == "permutation":
        return Permutations.smallest(n, tuple(map(tuple, groups)))
    return Regression.smallest(n)
