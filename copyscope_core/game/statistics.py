"""Intervals: how far a result may be off because other seeds, or other reference images, might have been drawn.

The resampling unit is the seed (its whole batch at once, the same seeds in every coalition), and the reference image
where there are enough. Each unit is left out in turn (delete-one jackknife; in groups where there are many), everything
is computed again, and the spread of the results gives the variance (Tukey 1958; Efron and Stein 1981):

    V = Σ_sources (G−1)/G · Σ_g (θ_(g) − θ̄)²,        θ̂ ± t_ν(0.975) · √V,        ν = V² / Σ V_k²/(G_k−1)

with Satterthwaite's ν (1946). What seeds and references do to a result only together is in both variances. Leaving out
some of both at once says how much that is, and it is counted once (`joint_variance`). No image is ever taken twice, so
FID's bias for few images is not made larger, and the interval is for what is reported: the expected φ of this many
images. ``docs/uncertainty.md`` has the calibration, and what bootstrap intervals did instead.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
"""Two-sided confidence level of every interval, where an audit is not looked at more than once."""

MOST_GROUPS = 64
"""More units than this are left out in groups of equal size."""

LARGE = 512
FEW_GROUPS = 16
"""Where both sides have more than `LARGE` images a distance is expensive, and only this many groups are left out."""

DRAWS = 10_000
RESAMPLING_SEED = 231112847
"""Fixed, so that the same images give the same report."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Deletions:
    """Which images are left out together.

    Attributes:
        weights: (G, n) 1 for an image that stays, 0 for one that is left out.
        scale: the variance is scale · Σ_g (θ_(g) − θ̄)².
    """

    weights: Floats
    scale: float

    def source(self, replicates: Floats) -> Source:
        """The source of variance whose results without each group are ``replicates``, (G, …)."""
        return Source(math.sqrt(self.scale) * (replicates - replicates.mean(axis=0)))


@dataclass(frozen=True, eq=False)
class Source:
    """One independent origin of chance: the seeds, the reference, or the control.

    Attributes:
        deviations: (G, …), so scaled that their squares sum to the variance of the result, (…), and their products to
            covariances. Linear functions of results are linear functions of deviations.
        lost: how many means were taken from them.
    """

    deviations: Floats
    lost: int = 1

    @property
    def df(self) -> int:
        """Degrees of freedom."""
        return len(self.deviations) - self.lost

    def without(self, joint: Floats) -> Source:
        """A source whose variance, summed over the results, is smaller by that of another source and this one together.

        Args:
            joint: (…) as `joint_variance` gives it.
        """
        total = float((self.deviations**2).sum())
        left = 1.0 - float(joint.sum()) / total if total > 0 else 1.0
        return Source(math.sqrt(max(left, 0.0)) * self.deviations, self.lost)

    def apply(self, matrix: Floats) -> Source:
        """The source of the linear function matrix (j, k) of results (k,)."""
        return Source(self.deviations @ matrix.T, self.lost)


def deletions(units: Sequence[Hashable], most: int = MOST_GROUPS) -> Deletions | None:
    """Leave out one unit at a time, or groups of s units where there are more than ``most``.

    Groups have equal sizes, since FID's bias depends on the number of images; up to s−1 units are then never left out,
    which the scale (n−s)²/(n·s·(G−1)) allows for. It is (n−1)/n for s = 1, and exact for a mean.

    Args:
        units: the unit of each image, such as its seed, (n,); equal ones are left out together.

    Returns:
        None where there is one unit.
    """
    order = list(dict.fromkeys(units))
    n = len(order)
    if n < 2:
        return None
    size = -(-n // most)
    shuffled = np.random.default_rng(RESAMPLING_SEED).permutation(n) if size > 1 else np.arange(n)
    group = np.full(n, -1)
    groups = n // size
    group[shuffled[: groups * size]] = np.repeat(np.arange(groups), size)
    of_unit = {unit: int(group[index]) for index, unit in enumerate(order)}
    of_image = np.array([of_unit[unit] for unit in units])
    weights = (of_image[None, :] != np.arange(groups)[:, None]).astype(np.float64)
    return Deletions(weights, (n - size) ** 2 / (n * size * (groups - 1)))


def joint_variance(first: Deletions, second: Deletions, replicates: Floats) -> Floats:
    """The variance that two sources cause only together, (…), which the jackknife of each of them counts.

    Args:
        replicates: (G, H, …) results without a group of the first and a group of the second.
    """
    own = replicates - replicates.mean(axis=0) - replicates.mean(axis=1, keepdims=True) + replicates.mean(axis=(0, 1))
    return np.asarray(first.scale * second.scale * (own**2).sum(axis=(0, 1)))


def intervals(estimate: ArrayLike, sources: Sequence[Source], level: float = LEVEL) -> Floats:
    """Low and high ends for estimates (…) with sources of the same shape: (…, 2)."""
    point = np.asarray(estimate, dtype=np.float64)
    variance, df = _variance(np.stack([(source.deviations**2).sum(axis=0) for source in sources]), sources)
    half = student_quantile((1 + level) / 2, df) * np.sqrt(variance)
    return np.stack([point - half, point + half], axis=-1)


def two_sided(estimate: ArrayLike, sources: Sequence[Source]) -> Floats:
    """p of each estimate (…) being 0, two-sided, with sources of the same shape; 1 where nothing varies and it is 0."""
    from scipy.special import stdtr  # when used, as in `student_quantile`

    point = np.asarray(estimate, dtype=np.float64)
    variance, df = _variance(np.stack([(source.deviations**2).sum(axis=0) for source in sources]), sources)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(point == 0, 0.0, np.abs(point) / np.sqrt(variance))
    return np.asarray(2 * stdtr(df, -t))


def share_intervals(phi: ArrayLike, sources: Sequence[Source], level: float = LEVEL) -> Floats:
    """Intervals for the shares φ/Σ|φ|, within −1 … 1: (n,) → (n, 2).

    Fieller's method (1954): those s for which φᵢ − s·Σⱼ σⱼφⱼ does not differ significantly from 0, where σ are the
    measured signs. Unlike an interval around φ/Σ|φ| it stays honest where Σ|φ| is itself uncertain.
    """
    p = np.asarray(phi, dtype=np.float64)
    total = float(np.abs(p).sum())
    if total == 0:
        return np.zeros((len(p), 2))
    share = p / total
    tops = [source.deviations for source in sources]
    bottoms = [deviation @ np.sign(p) for deviation in tops]
    parts = np.stack(
        [((top - share * bottom[:, None]) ** 2).sum(axis=0) for top, bottom in zip(tops, bottoms, strict=True)]
    )
    # A share that cannot vary while the signs hold (that of a single player) is as sure as the signs are.
    signs = np.array([[float(bottom @ bottom)] for bottom in bottoms])
    _, df = _variance(np.where(parts.sum(axis=0) > 1e-24 * total**2, parts, signs), sources)
    t2 = student_quantile((1 + level) / 2, df) ** 2
    # (φᵢ − s·T)² ≤ t²·(A − 2sB + s²C), a quadratic in s.
    a = total**2 - t2 * sum(float(bottom @ bottom) for bottom in bottoms)
    b = p * total - t2 * sum((top * bottom[:, None]).sum(axis=0) for top, bottom in zip(tops, bottoms, strict=True))
    c = p**2 - t2 * sum((top**2).sum(axis=0) for top in tops)
    root = np.sqrt(np.maximum(b * b - a * c, 0.0))
    bounded = a > 0
    safe = np.where(bounded, a, 1.0)
    ends = np.stack([np.where(bounded, (b - root) / safe, -1.0), np.where(bounded, (b + root) / safe, 1.0)], axis=-1)
    # A player without any effect has no part in the numerator: its share is exactly 0, whatever the total is.
    idle = (p == 0) & (sum((top**2).sum(axis=0) for top in tops) == 0)
    return np.asarray(np.where(idle[:, None], 0.0, np.clip(ends, -1.0, 1.0)))


def difference_intervals(phi: ArrayLike, sources: Sequence[Source], level: float = LEVEL) -> Floats:
    """Intervals for φᵢ − φⱼ of all pairs: (n,) → (n, n, 2)."""
    p = np.asarray(phi, dtype=np.float64)
    paired = [Source(s.deviations[:, :, None] - s.deviations[:, None, :], s.lost) for s in sources]
    return intervals(p[:, None] - p[None, :], paired, level)


def probability_largest(phi: ArrayLike, sources: Sequence[Source]) -> Floats:
    """How probable it is that each player's φ is the largest, (n,), from draws around the measured ones.

    The draws have the measured covariance, Student's tails for each source (a fiducial distribution, as
    Behrens–Fisher), and a fixed seed. Ties are shared.
    """
    rng = np.random.default_rng(RESAMPLING_SEED)
    p = np.asarray(phi, dtype=np.float64)
    draws = np.tile(p, (DRAWS, 1))
    for source in sources:
        normal = rng.normal(size=(DRAWS, len(source.deviations))) @ source.deviations
        draws += normal * np.sqrt(source.df / rng.chisquare(source.df, size=(DRAWS, 1)))
    first = draws == draws.max(axis=1, keepdims=True)
    return np.asarray((first / first.sum(axis=1, keepdims=True)).mean(axis=0))


def student_quantile(probability: ArrayLike, df: ArrayLike) -> Floats:
    """Quantile of Student's t distribution for real degrees of freedom, elementwise."""
    from scipy.special import stdtrit  # when used: `import copyscope_core` and ComfyUI's start stay short

    return np.asarray(stdtrit(np.asarray(df, dtype=np.float64), np.asarray(probability, dtype=np.float64)))


def _variance(parts: Floats, sources: Sequence[Source]) -> tuple[Floats, Floats]:
    """Total variance (…) and Satterthwaite's degrees of freedom (…) from each source's variance, (sources, …)."""
    total = parts.sum(axis=0)
    dfs = np.array([source.df for source in sources], dtype=np.float64)
    largest = np.maximum(parts.max(axis=0), np.finfo(np.float64).tiny)
    scaled = parts / largest
    spread = np.tensordot(1 / dfs, scaled**2, axes=1)
    df = np.divide(scaled.sum(axis=0) ** 2, spread, out=np.full_like(total, dfs.sum()), where=spread > 0)
    return total, df
