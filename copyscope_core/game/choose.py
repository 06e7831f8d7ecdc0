"""Chooses which coalitions of a game are measured: all of them, or a sample if the budget is smaller."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import GameError
from .coalitions import how_many
from .design import Design, Estimator, Exact
from .owen import Owen
from .permutations import Permutations
from .regression import Regression
from .table import MAX_PLAYERS

MOST_SAMPLED = 48
"""Most players of a sampled game: bitmasks of up to 53 bits are exact numbers in JavaScript, too."""


def exact_count(n: int, groups: Sequence[Sequence[int]] = ()) -> int:
    """The number of coalitions that the exact value needs.

    Args:
        groups: a partition of the players; empty if no players are grouped.
    """
    if not groups:
        return 1 << n
    others = len(groups) - 1
    # Unions of whole groups are counted once. Any other coalition holds a part of exactly one group.
    return (1 << len(groups)) + sum(((1 << len(group)) - 2) << others for group in groups)


def choose_design(
    n: int, groups: Sequence[Sequence[int]] = (), budget: int | None = None, estimator: Estimator = "regression"
) -> Design:
    """The exact design if the budget allows it, else the smallest sampled design, which is grown later.

    Args:
        groups: a partition of the players, for the Owen value; empty if no players are grouped.
        budget: how many coalitions may be measured; None if there is no limit.
        estimator: for the sampled design; ignored if there are groups, which need ``permutation``.

    Raises:
        GameError: the budget is too small for this many players, or there are too many players.
    """
    count = exact_count(n, groups)
    if budget is None or budget >= count:
        if count > 1 << MAX_PLAYERS or n > MOST_SAMPLED:
            raise GameError(
                f"The exact value for {n:,} players needs {how_many(count)} coalitions; it is computed from at most "
                f"{1 << MAX_PLAYERS:,}, and for at most {MOST_SAMPLED} players in groups, so lock some or give a "
                "smaller budget."
            )
        return Owen(n, tuple(map(tuple, groups))) if groups else Exact(n)
    if n > MOST_SAMPLED:
        raise GameError(f"There are {n:,} players; at most {MOST_SAMPLED} can be sampled, so lock some.")
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
