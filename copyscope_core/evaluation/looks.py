"""Looking at an audit several times while it grows, with one error for all looks together.

An audit that stops when its verdict is decided has looked at chance more than once, and every look may be fooled. So
looks share the error that was asked for (error spending: Lan and DeMets 1983, "Discrete sequential boundaries for
clinical trials"). By the look at which a part t of the budget was run,

    g(t) = error · t^ρ        (Kim and DeMets 1987, "Design and analysis of group sequential tests …")

of it may be spent. The bound c_k of look k is the one that a Brownian motion B, looked at in the same way, first
crosses there with the probability g(t_k) − g(t_{k−1}), by numerical integration (Armitage, McPherson and Rowe 1969):

    P(|B(t_j)| < c_j √t_j for j < k, |B(t_k)| ≥ c_k √t_k) = g(t_k) − g(t_{k−1}),        level_k = 1 − 2 (1 − Φ(c_k)).

Student's t stands for the normal distribution at the same level (Jennison and Turnbull 2000, "Group Sequential
Methods", 4.4). Intervals at these levels are repeated confidence intervals (Jennison and Turnbull 1989): they hold at
all looks together. Results of two looks are correlated by √(t_j/t_k) where chance is in the seeds alone. Where works or
coalitions have a part in it they are more, since no part of the variance falls faster than 1/t; the more alike looks
are, the less often any of several misses (Slepian 1962), so that these bounds then err towards wide.

What the rest of the budget would bring is predicted from what was measured (predictive power: Spiegelhalter, Freedman
and Blackburn 1986): results at its end are drawn around those of now, with the seeds' measured covariance, as uncertain
as so few seeds leave it, and asked for their verdict.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..game.statistics import RESAMPLING_SEED, Source, student_quantile
from .evaluate import Evaluation
from .standing import Chance

FIRST = 3
"""Seeds at the first look: intervals from two do not hold their level (docs/uncertainty.md)."""

RHO = 2.0
"""Of g(t) = t^ρ: the larger, the more of the error is kept for the last look."""

FUTILE = 0.02
"""An audit is given up where a decision within the budget is less probable than this."""

DRAWS = 4_000
POINTS, HALVINGS = 1_001, 60
"""Of the numerical integration: places of B at a look, and how often the bracket of a bound is halved."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outlook:
    """What the rest of the budget would probably bring.

    Attributes:
        chance: how probable it is that the verdict would be decided at its end, 0…1; None: unknown.
        narrower: by what part the interval of the first would be narrower, 0…1; None: unknown.
    """

    chance: float | None
    narrower: float | None


def seed_looks(most: int) -> tuple[int, ...]:
    """How many seeds there are at each look: 3, 4, 6, 8, 12, 16, 24, 32 … and at last ``most``."""
    found = [FIRST]
    while found[-1] < most:
        power = 1 << (found[-1].bit_length() - 1)
        found.append(2 * power if found[-1] > power else power + power // 2)
    return (*(count for count in found if count < most), most)


@functools.cache
def levels_of(error: float, times: tuple[float, ...]) -> tuple[float, ...]:
    """The level of each of some looks.

    Args:
        error: for all looks together, 0…1.
        times: which part of the budget was run at each look, rising, above 0, up to 1.
    """
    from scipy.special import ndtr, ndtri  # when used, as in `student_quantile`

    levels, before, spent = [], 0.0, 0.0
    places, density = np.zeros(1), np.ones(1)
    for time in times:
        spread, due = math.sqrt(time - before), error * min(time, 1.0) ** RHO - spent

        def crossing(bound: float, places: Floats = places, density: Floats = density, spread: float = spread) -> float:
            """How probably B leaves (−bound, bound) at this look, and has not before."""
            return float(density @ (ndtr((places - bound) / spread) + ndtr((-bound - places) / spread)))

        low, high = 0.0, -float(ndtri(due / 4)) * math.sqrt(time) + 1e-9
        for _ in range(HALVINGS):
            bound = (low + high) / 2
            low, high = (bound, high) if crossing(bound) > due else (low, bound)
        levels.append(float(1 - 2 * ndtr(-high / math.sqrt(time))))
        grid = np.linspace(-high, high, POINTS)
        steps = (grid[:, None] - places) / spread
        density = np.exp(-(steps**2) / 2) @ density * (grid[1] - grid[0]) / (spread * math.sqrt(2 * math.pi))
        places, before, spent = grid, time, spent + due
    return tuple(levels)


def outlook(evaluation: Evaluation, seeds: int, level: float, more: float = 1.0) -> Outlook:
    """What more seeds, and more coalitions of a sample, would probably bring.

    Args:
        seeds: how many there would be in all.
        level: of the verdict then.
        more: how many times as many coalitions there would be.
    """
    known = [
        (item.ranked, item.chance)
        for item in evaluation.functions
        if item.ranked is not None and item.chance is not None
    ]
    if not known or len(known) < sum(item.ranked is not None for item in evaluation.functions):
        return Outlook(None, None)
    futures = [_futures(ranked, chance, seeds, more) for ranked, chance in known]
    values, scales = futures[-1]
    rows, first = np.arange(DRAWS), values.argmax(axis=1)
    same = np.all([other.argmax(axis=1) == first for other, _ in futures], axis=0)
    above = np.all([other[rows, first] > 0 for other, _ in futures], axis=0)
    leads = values[rows, first][:, None] - values
    leads[rows, first] = values[rows, first]
    ranked, chance = known[-1]
    then = _Reach.of(chance, seeds, more, level)
    decided = same & above & (leads >= then.needed(scales, first)).all(axis=1)
    leader, sure = int(ranked.argmax()), np.ones((1, 1))
    now = _Reach.of(chance, chance.counts[0], 1.0, evaluation.level)
    ends = [float(reach.needed(sure, np.array([leader]), corrected=False)[0, leader]) for reach in (now, then)]
    return Outlook(
        float(decided.mean()) if np.any(evaluation.shapley) else 0.0,
        max(0.0, 1 - ends[1] / ends[0]) if ends[0] > 0 else 0.0,
    )


def _futures(ranked: Floats, chance: Chance, seeds: int, more: float) -> tuple[Floats, Floats]:
    """Draws of what units may be ranked by then, (DRAWS, u), and of the seeds' variance by the measured, (DRAWS, 1).

    All value functions are given the same draws, since they see the same seeds.
    """
    rng = np.random.default_rng(RESAMPLING_SEED)
    draws, scales = np.tile(ranked, (DRAWS, 1)), np.ones((DRAWS, 1))
    for part, left in ((chance.seeds, 1 - chance.counts[0] / seeds), (chance.coalitions, 1 - 1 / more)):
        for source in part:
            normal = rng.normal(size=(DRAWS, len(source.deviations))) @ source.deviations
            scale = source.df / rng.chisquare(source.df, size=(DRAWS, 1))
            draws += math.sqrt(max(left, 0.0)) * np.sqrt(scale) * normal
            scales = scale if part is chance.seeds else scales
    return draws, scales


@dataclass(frozen=True, eq=False)
class _Reach:
    """How large results must be then to be told from 0: of two units' difference, and on the diagonal of one unit.

    Attributes:
        seeds, rest: (u, u) variances that come from the seeds, and from all else.
        quantile, corrected: (u, u) of Student's t; corrected for the number of units on the diagonal.
    """

    seeds: Floats
    rest: Floats
    quantile: Floats
    corrected: Floats

    @classmethod
    def of(cls, chance: Chance, seeds: int, more: float, level: float) -> _Reach:
        """At a number of seeds, with so many times as many coalitions."""
        have = chance.counts[0]
        of_seeds = [(have / seeds * _variances(source), float(seeds - 1)) for source in chance.seeds]
        of_rest = [(_variances(source), float(source.df)) for source in chance.works]
        of_rest += [(_variances(source) / more, float(source.df)) for source in chance.coalitions]
        parts = [*of_seeds, *of_rest]
        zero = np.zeros_like(parts[0][0])
        total = sum((variance for variance, _ in parts), zero)
        spread = sum((variance**2 / df for variance, df in parts), zero)
        dfs = np.divide(total**2, spread, out=np.ones_like(total), where=spread > 0)
        alpha = np.full_like(total, 1 - level)
        np.fill_diagonal(alpha, (1 - level) / len(total))
        return cls(
            sum((variance for variance, _ in of_seeds), zero),
            sum((variance for variance, _ in of_rest), zero),
            student_quantile((1 + level) / 2, dfs),
            student_quantile(1 - alpha / 2, dfs),
        )

    def needed(self, scales: Floats, first: NDArray[np.intp], corrected: bool = True) -> Floats:
        """For the first of each draw: its lead over each unit, and in its own place its value, (draws, u).

        Args:
            scales: (draws, 1) the seeds' variance beside the measured.
            first: (draws,) places.
        """
        quantile = self.corrected if corrected else self.quantile
        return np.asarray(quantile[first] * np.sqrt(scales * self.seeds[first] + self.rest[first]))


def _variances(source: Source) -> Floats:
    """Variance of each difference of two units, (u, u), and on the diagonal of each unit."""
    moved = source.deviations[:, :, None] - source.deviations[:, None, :]
    found = np.asarray((moved**2).sum(axis=0))
    np.fill_diagonal(found, (source.deviations**2).sum(axis=0))
    return found
