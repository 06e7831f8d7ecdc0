"""Intervals for a whole game: the same seeds are left out of every coalition, and everything is computed again.

The statistics are in ``statistics.py``, the distances of what remains in ``resampling.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .distances import KERNELS, Coalitions, DistanceName
from .interactions import pair_interactions
from .resampling import resampled_frechet, resampled_kernel
from .shapley import shapley_values
from .statistics import (
    FEW_GROUPS,
    LARGE,
    MOST_GROUPS,
    Deletions,
    Source,
    deletions,
    difference_intervals,
    intervals,
    probability_largest,
    share_intervals,
)

REFERENCE_IMAGES = 8
"""Fewer reference images are taken as they are: the interval is then for chance in the seeds alone."""

MOST_IMAGES = 2_048
"""Above this on both sides the Fréchet distance is too dear to be computed again for every group left out."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """95% intervals, [low, high] in the last axis, of the results of a game.

    Attributes:
        shapley: (n, 2).
        share: (n, 2), or None where every φ is 0.
        difference: (n, n, 2) of φᵢ − φⱼ.
        probability_largest: (n,) how probable it is that the player's φ is the largest.
        pairs: (n, n, 2) of the interaction index of each pair; None for more than ``interactions.MOST_PLAYERS``.
        fid: (2**n, 2) of d².
        kid_shapley: (n, 2), or None where KID is not defined without some of the seeds.
        control_shapley, contrast: (n, 2) of φ against the control and of φ − that; None without a control.
        seeds: how many there are.
        groups: how many parts of them were left out in turn.
        reference_groups: the same for the reference images; 0: taken as they are.
        control_groups: the same for the control images.
    """

    shapley: Floats
    share: Floats | None
    difference: Floats
    probability_largest: Floats
    pairs: Floats | None
    fid: Floats
    kid_shapley: Floats | None
    control_shapley: Floats | None
    contrast: Floats | None
    seeds: int
    groups: int
    reference_groups: int
    control_groups: int


@dataclass(frozen=True, eq=False)
class Estimates:
    """The results that intervals are put around; meanings and shapes as in ``evaluate.Evaluation``."""

    shapley: Floats
    fid: Floats
    kid_shapley: Floats | None
    pairs: Floats | None
    control_shapley: Floats | None


class NoIntervalError(Exception):
    """There can be no interval; the message says why, in a sentence for the report.

    Attributes:
        code: of the report's warning.
    """

    def __init__(self, message: str, code: str = "no_interval") -> None:
        super().__init__(message)
        self.code = code


ONE_SEED = "One seed was run, so there is no interval: nothing tells these numbers from chance. Run more seeds."


@dataclass(frozen=True, eq=False)
class _Replicates:
    """A distance of every coalition to one set of images, computed again without each group of seeds or images.

    Attributes:
        by_seed: (G, 2**n); by_image: (M, 2**n), or None where the images are taken as they are.
    """

    by_seed: Floats
    by_image: Floats | None
    seed_deletions: Deletions
    image_deletions: Deletions | None

    def sources(self, result: Callable[[Floats], Floats]) -> list[Source]:
        """Where chance comes from in a result: a function of the distances (…, 2**n)."""
        found = [self.seed_deletions.source(result(self.by_seed))]
        if self.by_image is not None and self.image_deletions is not None:
            found.append(self.image_deletions.source(result(self.by_image)))
        return found


def same_seeds(clusters: Mapping[int, Sequence[int | None]] | None, counts: Sequence[int]) -> list[int]:
    """The seed of each image, (k,), which must be the same in every coalition.

    Args:
        clusters: mask → the seed of each image, in their order.
        counts: images of each coalition, by bitmask.

    Raises:
        NoIntervalError: seeds are unknown or differ between coalitions, have unequal batches, or there is one.
    """
    rows = [list((clusters or {}).get(mask, ())) for mask in range(len(counts))]
    if [len(row) for row in rows] != list(counts) or any(seed is None for row in rows for seed in row):
        raise NoIntervalError("The seeds of the images are not known, so there is no interval.")
    if any(row != rows[0] for row in rows):
        raise NoIntervalError("The combinations do not have the same seeds, so there is no interval.")
    seeds = [seed for seed in rows[0] if seed is not None]
    if len({seeds.count(seed) for seed in set(seeds)}) != 1:
        raise NoIntervalError("The seeds have different numbers of images, so there is no interval.")
    if len(set(seeds)) == 1:
        raise NoIntervalError(ONE_SEED, "one_seed")
    return seeds


def resample(
    coalitions: Coalitions,
    seeds: Sequence[int],
    reference: Floats,
    control: Floats | None,
    name: DistanceName,
    estimates: Estimates,
) -> Uncertainty:
    """Intervals around the results of a game.

    Args:
        coalitions: features of all coalitions, each with the same seeds in the same order.
        seeds: the seed of each image, (k,); at least two.
        reference: (m, d).
        control: (c, d), or None.
        name: the distance in use.
        estimates: the results.

    Raises:
        NoIntervalError: the distance cannot be resampled, or is not defined without one of the seeds.
    """
    if name == "fid_infinity":
        raise NoIntervalError("FID extrapolated to infinitely many images is not resampled, so there is no interval.")
    if min(len(seeds), len(reference)) > MOST_IMAGES:
        raise NoIntervalError(
            f"More than {MOST_IMAGES:,} images on both sides would take too long to resample, so there is no interval."
        )
    fid = _replicates(coalitions, seeds, reference, "fid")
    chosen = fid if name == "fid" else _replicates(coalitions, seeds, reference, name)
    if not np.isfinite(chosen.by_seed).all():
        raise NoIntervalError("This distance is not defined without one of the two seeds, so there is no interval.")
    kid = chosen if name == "kid" else _replicates(coalitions, seeds, reference, "kid")
    sources = chosen.sources(_shapley)
    control_sources: list[Source] = []
    if control is not None:
        control_sources = _replicates(coalitions, seeds, control, name).sources(_shapley)
    phi, pairs = estimates.shapley, estimates.pairs
    return Uncertainty(
        shapley=intervals(phi, sources),
        share=share_intervals(phi, sources) if np.any(phi) else None,
        difference=difference_intervals(phi, sources),
        probability_largest=probability_largest(phi, sources),
        pairs=None if pairs is None else intervals(pairs, chosen.sources(lambda d: pair_interactions(_values(d)))),
        fid=intervals(estimates.fid, fid.sources(lambda distances: distances)),
        kid_shapley=(
            intervals(estimates.kid_shapley, kid.sources(_shapley))
            if estimates.kid_shapley is not None and np.isfinite(kid.by_seed).all()
            else None
        ),
        control_shapley=(
            intervals(estimates.control_shapley, control_sources) if estimates.control_shapley is not None else None
        ),
        contrast=(
            intervals(phi - estimates.control_shapley, _contrast(sources, control_sources))
            if estimates.control_shapley is not None
            else None
        ),
        seeds=len(set(seeds)),
        groups=len(chosen.by_seed),
        reference_groups=0 if chosen.by_image is None else len(chosen.by_image),
        control_groups=len(control_sources[1].deviations) if len(control_sources) > 1 else 0,
    )


def _replicates(coalitions: Coalitions, seeds: Sequence[int], y: Floats, name: DistanceName) -> _Replicates:
    most = FEW_GROUPS if min(len(seeds), len(y)) > LARGE else MOST_GROUPS
    rows = deletions(seeds, most)
    columns = deletions(range(len(y)), most) if len(y) >= REFERENCE_IMAGES else None
    if rows is None:
        raise NoIntervalError(ONE_SEED, "one_seed")
    center = y.mean(axis=0)

    def distances(weights: Floats | None, image_weights: Floats | None) -> Floats:
        kernel = KERNELS.get(name)
        if kernel is not None:
            found = [resampled_kernel(x, y, kernel, weights, image_weights) for x in coalitions.distinct]
        else:
            found = [
                resampled_frechet(x - center, y - center, weights, image_weights).sum(axis=1)
                for x in coalitions.distinct
            ]
        return np.stack(found, axis=1)[:, coalitions.index]

    return _Replicates(
        distances(rows.weights, None),
        None if columns is None else distances(None, columns.weights),
        rows,
        columns,
    )


def _contrast(reference: Sequence[Source], control: Sequence[Source]) -> list[Source]:
    """Sources of φ against the reference − φ against the control: the seeds are shared, the images are not."""
    seeds = Source(reference[0].deviations - control[0].deviations)
    return [seeds, *reference[1:], *control[1:]]


def _values(distances: Floats) -> Floats:
    """v(S) = d(∅) − d(S)."""
    return distances[..., :1] - distances


def _shapley(distances: Floats) -> Floats:
    return shapley_values(_values(distances))
