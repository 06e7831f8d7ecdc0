"""Who comes first on one value function, and how sure that is.

Two things must hold before a name is named: the first is above 0, and it is ahead of every other. That it is above 0 is
tested at level α/n for n units (Bonferroni), because the largest of n numbers is looked at. That it is ahead needs no
such correction: the two-sided test of the first against the second at level α holds for the selected winner (Hung and
Fithian 2019, "Rank verification for exponential families").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..game.statistics import LEVEL, Source, intervals, student_quantile, two_sided

POWER = 0.8
"""How often the number of seeds or references that is called enough would indeed be enough."""

MOST_MORE = 64
"""More than so many times as many seeds or references are not proposed."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Chance:
    """Where chance in some results comes from.

    Attributes:
        seeds, works, coalitions: sources (…, n) of the seeds, of the reference and control images, and of the choice of
            coalitions. Where works are empty, the reference images are taken as they are.
        counts: how many seeds, reference images and control images (0: none) there are.
    """

    seeds: tuple[Source, ...]
    works: tuple[Source, ...]
    coalitions: tuple[Source, ...]
    counts: tuple[int, int, int]

    @property
    def all(self) -> tuple[Source, ...]:
        """All of them."""
        return (*self.seeds, *self.works, *self.coalitions)

    def apply(self, matrix: Floats) -> Chance:
        """That of the linear function matrix (j, k) of results (k,)."""
        seeds, works, coalitions = (
            tuple(source.apply(matrix) for source in part) for part in (self.seeds, self.works, self.coalitions)
        )
        return Chance(seeds, works, coalitions, self.counts)


@dataclass(frozen=True)
class Needed:
    """What would decide it, if the measured difference holds, each alone; None: it alone would not, or far too many.

    Attributes:
        seeds, references: how many in all.
    """

    seeds: int | None
    references: int | None


@dataclass(frozen=True)
class Standing:
    """Units (players or groups of them) by what a value function says.

    Attributes:
        first: place of the largest estimate.
        estimate: of the first.
        interval: its interval; None: there is none.
        above_zero: p of the first not being above 0, corrected for the number of units; None: no interval.
        ahead: p of the first not being ahead of the nearest other; None: no interval, or one unit.
        tied: units that the first cannot be told from.
        needed: what would decide it; None: it is decided, or there is no interval.
        level: of the interval; α is what it leaves to 1.
    """

    first: int
    estimate: float
    interval: tuple[float, float] | None
    above_zero: float | None
    ahead: float | None
    tied: tuple[int, ...]
    needed: Needed | None
    level: float = LEVEL

    @property
    def alpha(self) -> float:
        """How improbable a result of chance must be."""
        return 1 - self.level

    @property
    def sure(self) -> bool:
        """Whether the first is told from 0 and from every other."""
        return self.above_zero is not None and self.above_zero <= self.alpha and not self.tied and self.estimate > 0


def standing(estimate: Floats, chance: Chance | None, level: float = LEVEL) -> Standing:
    """Who comes first among units, (n,), and how sure that is. ``chance``: sources (…, n); None: unknown."""
    alpha = 1 - level
    first = int(np.argmax(estimate))
    others = [j for j in range(len(estimate)) if j != first]
    if chance is None:
        return Standing(first, float(estimate[first]), None, None, None, (), None, level)
    # The first itself, then the first less each other.
    matrix = np.zeros((1 + len(others), len(estimate)))
    matrix[:, first] = 1.0
    for row, other in enumerate(others, start=1):
        matrix[row, other] -= 1.0
    values, moved = matrix @ estimate, chance.apply(matrix)
    p = two_sided(values, moved.all)
    above = min(1.0, float(p[0]) * len(estimate)) if values[0] > 0 else 1.0
    tied = tuple(other for other, value in zip(others, p[1:], strict=True) if value > alpha)
    ends = intervals(values, moved.all, level)[0]
    asked = [(0, alpha / len(estimate))] if above > alpha else []
    asked += [(row, alpha) for row, value in enumerate(p[1:], start=1) if value > alpha]
    return Standing(
        first,
        float(estimate[first]),
        (float(ends[0]), float(ends[1])),
        above,
        float(p[1:].max()) if others else None,
        tied,
        _needed(values, moved, asked) if asked else None,
        level,
    )


def _needed(values: Floats, chance: Chance, asked: list[tuple[int, float]]) -> Needed:
    """How many seeds, or references, would tell all that is ``asked``: places of values and their levels."""
    seeds: list[float] = []
    references: list[float] = []
    k, m, c = chance.counts
    of_seeds, of_works, of_coalitions = (
        sum(((source.deviations**2).sum(axis=0) for source in part), np.zeros(len(values)))
        for part in (chance.seeds, chance.works, chance.coalitions)
    )
    for place, alpha in asked:
        reach = float(student_quantile(1 - alpha / 2, 30) + student_quantile(POWER, 30))
        room = (max(float(values[place]), 0.0) / reach) ** 2 - float(of_coalitions[place])
        v_seeds, v_works = float(of_seeds[place]), float(of_works[place])
        left = room - v_works
        seeds.append(k * v_seeds / left if left > 0 else math.inf)
        # The works' variance falls as 1/m + 1/c, of which more references take only the first part.
        per = v_works / (1 / m + (1 / c if c else 0.0)) if m else 0.0
        left = room - v_seeds - (per / c if c else 0.0)
        references.append(per / left if left > 0 and per > 0 else math.inf)
    return Needed(_more(max(seeds), k), _more(max(references), m))


def _more(count: float, have: int) -> int | None:
    """A number that is more than what there is, and not absurd."""
    if not math.isfinite(count) or count > MOST_MORE * have:
        return None
    return max(have + 1, math.ceil(count))
