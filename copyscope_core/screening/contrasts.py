"""One model against all artists at once: the contrast of ``evaluation.contrast`` for a game of one player.

For each seed k and work w the model moves the images by

    e_kw = 2 k(x_k with, w) − 2 k(x_k without, w),

and its contrast with an artist is the mean of e over seeds and the artist's works, less that over the artist's control.
All works of all artists stand in one matrix, so that a model costs one kernel, which is one matrix product, and
what each artist takes of it are products with matrices of zeros and ones. Chance is counted as there: in the seeds, in
the works, and what both do together once; intervals and p are Student's with Satterthwaite's degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..distances.kernel import Kernel
from ..evaluation.contrast import FEWEST_APART
from ..game.statistics import LEVEL, student_quantile

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Effects:
    """The contrasts of one model with A artists, in units of the kernel.

    Attributes:
        effect: (A,) above 0: nearer to the artist than to the control.
        low, high: (A,) 95% interval.
        p: (A,) one-sided: how often chance alone gives an effect so far above 0.
    """

    effect: Floats
    low: Floats
    high: Floats
    p: Floats


class Sides:
    """The works of all artists as one view of the features sees them.

    Args:
        works: (W, d).
        reference, control: (W, A) which works are an artist's, and which it is compared with: one or more, and two or
            more.
        kernel: of the view.
    """

    def __init__(self, works: Floats, reference: Bools, control: Bools, kernel: Kernel) -> None:
        self._works = works
        self._kernel = kernel
        self._masks = reference.astype(np.float64), control.astype(np.float64)
        self._counts = self._masks[0].sum(axis=0), self._masks[1].sum(axis=0)

    def places(self, images: Floats, seeds: int) -> Floats:
        """Where the images of each seed lie: mean k(x, w), (K, W).

        Args:
            images: (K·b, d), seed by seed.
            seeds: K.
        """
        table = self._kernel(images, self._works)
        return np.asarray(table.reshape(seeds, -1, table.shape[1]).mean(axis=1))

    def effects(self, moved: Floats) -> Effects:
        """The contrasts of one model with all artists.

        Args:
            moved: (K, W) e: twice ``places`` with the model, less that without it; K is 2 or more.
        """
        seeds = len(moved)
        e = moved - moved.mean()  # cancels in a contrast, and keeps sums of squares exact
        by_work, squares = e.mean(axis=0), (e**2).sum(axis=0)
        means, spreads, rests = [], [], []
        for mask, count in zip(self._masks, self._counts, strict=True):
            by_seed = e @ mask / count  # (K, A)
            mean = by_seed.mean(axis=0)
            of_works = (by_work**2) @ mask
            means.append(by_seed)
            spreads.append(np.maximum(of_works - count * mean**2, 0.0))
            rests.append(
                np.maximum(
                    squares @ mask - seeds * of_works - count * (by_seed**2).sum(axis=0) + seeds * count * mean**2, 0.0
                )
            )
        by_seed = means[0] - means[1]
        effect = by_seed.mean(axis=0)
        parts = [(by_seed.var(axis=0, ddof=1) / seeds, np.full(len(effect), seeds - 1.0))]
        parts += self._in_works(spreads, rests, seeds)
        variance = np.sum([part for part, _ in parts], axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            df = variance**2 / np.sum([part**2 / df for part, df in parts], axis=0)
            t = np.where(effect == 0, 0.0, effect / np.sqrt(variance))
        df = np.where(np.isfinite(df), df, sum(df for _, df in parts))
        half = student_quantile((1 + LEVEL) / 2, df) * np.sqrt(variance)
        return Effects(effect, effect - half, effect + half, _above(t, df))

    def _in_works(self, spreads: list[Floats], rests: list[Floats], seeds: int) -> list[tuple[Floats, Floats]]:
        """Variance and degrees of freedom of the works, each (A,), less what the seeds count already.

        Reference and control apart where each has enough works, else one spread of both, as ``contrast`` has it; of a
        pair of parts the second is then 0.
        """
        m, c = self._counts
        apart = np.minimum(m, c) >= FEWEST_APART
        free = [np.maximum(count - 1, 0.0) for count in (m, c)]
        common_spread = (spreads[0] + spreads[1]) / (m + c - 2)
        common_rest = (rests[0] + rests[1]) / ((seeds - 1) * (free[0] + free[1]))
        pooled = (1 / m + 1 / c) * np.maximum(common_spread - common_rest / seeds, 0.0)
        found = []
        for place, (count, spread, rest) in enumerate(zip((m, c), spreads, rests, strict=True)):
            df = np.maximum(free[place], 1.0)
            own = np.maximum(spread / df - rest / (df * (seeds - 1)) / seeds, 0.0) / count
            instead = pooled if place == 0 else np.zeros_like(pooled)
            found.append((np.where(apart, own, instead), np.where(apart, df, m + c - 2)))
        return found


def _above(t: Floats, df: Floats) -> Floats:
    """P(T ≥ t) of Student's distribution; 1 where nothing moved at all."""
    from scipy.special import stdtr  # when used, as in `student_quantile`

    return np.where(t == 0, 1.0, np.asarray(stdtr(df, -t)))
