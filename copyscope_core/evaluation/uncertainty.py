"""Intervals for a whole game: the same seeds are left out of every coalition, and everything is computed again.

The statistics are in ``statistics.py``, the distances of what remains in ``resampling.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..distances.kernel import Kernel, polynomial_kernel
from ..distances.registry import KERNELS, Coalitions, DistanceName
from ..game.design import Design, membership
from ..game.interactions import pair_interactions
from ..game.statistics import (
    FEW_GROUPS,
    LARGE,
    LEVEL,
    MOST_GROUPS,
    Deletions,
    Source,
    deletions,
    intervals,
    joint_variance,
    share_intervals,
)
from .resampling import resampled_frechet, resampled_kernel
from .standing import Chance

REFERENCE_IMAGES = 8
"""Fewer reference images are taken as they are: the interval is then for chance in the seeds alone."""

MOST_IMAGES = 2_048
"""Above this on both sides the Fréchet distance is too dear to be computed again for every group left out."""

JOINT_GROUPS = 8
"""Of seeds, and of reference images, that are left out together to see what the two do only together; half as many
where a distance is dear."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Intervals, [low, high] in the last axis, of the results of a game.

    Attributes:
        shapley: (n, 2).
        share: (n, 2), or None where every φ is 0.
        group_shapley, group_share: (m, 2) of the design's groups; None where players are not grouped, or all φ are 0.
        pairs: (n, n, 2) of the interaction index of each pair; None for more than ``interactions.MOST_PLAYERS``.
        fid: (K, 2) of d².
        kid_shapley: (n, 2), or None where KID is not defined without some of the seeds.
        chance: where chance in φ comes from.
        seeds: how many there are.
        groups: how many parts of them were left out in turn.
        reference_groups: the same for the reference images; 0: taken as they are.
    """

    shapley: Floats
    share: Floats | None
    group_shapley: Floats | None
    group_share: Floats | None
    pairs: Floats | None
    fid: Floats
    kid_shapley: Floats | None
    chance: Chance
    seeds: int
    groups: int
    reference_groups: int


@dataclass(frozen=True, eq=False)
class Estimates:
    """The results that intervals are put around.

    Attributes:
        values: (K,) v(S) in the order of the design.
        fid: (K,) d²(S).
        kid_values: (K,) v(S) by the kernel distance, or None.
        pairs: (n, n) interaction index of each pair, or None.
    """

    values: Floats
    fid: Floats
    kid_values: Floats | None
    pairs: Floats | None


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
        by_seed: (G, K).
        images: the same for the images; None where they are taken as they are.
    """

    by_seed: Floats
    deletions: Deletions
    images: _ImageReplicates | None

    def chance(
        self, result: Callable[[Floats], Floats], chosen: Sequence[Source], counts: tuple[int, int, int]
    ) -> Chance:
        """Where chance in a result comes from. ``chosen``: what the choice of coalitions adds."""
        seeds, *images = self.sources(result)
        return Chance((seeds,), tuple(images), tuple(chosen), counts)

    def sources(self, result: Callable[[Floats], Floats], *, once: bool = True) -> list[Source]:
        """Where chance comes from in a result.

        Args:
            result: a function of the distances (…, K).
            once: what seeds and images do only together is counted once, and not in the variance of each.
        """
        found = [self.deletions.source(result(self.by_seed))]
        if self.images is not None:
            images = self.images.deletions.source(result(self.images.by_image))
            joint = joint_variance(*self.images.both_deletions, result(self.images.by_both))
            found.append(images.without(joint) if once else images)
        return found


@dataclass(frozen=True, eq=False)
class _ImageReplicates:
    """What `_Replicates` has of the images.

    Attributes:
        by_image: (M, K).
        by_both: (A, B, K) without a group of seeds and a group of images at once.
    """

    by_image: Floats
    deletions: Deletions
    by_both: Floats
    both_deletions: tuple[Deletions, Deletions]


def same_seeds(
    clusters: Mapping[int, Sequence[int | None]] | None, masks: Sequence[int], counts: Sequence[int]
) -> list[int]:
    """The seed of each image, (k,), which must be the same in every coalition.

    Args:
        clusters: mask → the seed of each image, in their order.
        masks: the coalitions.
        counts: images of each.

    Raises:
        NoIntervalError: seeds are unknown or differ between coalitions, have unequal batches, or there is one.
    """
    rows = [list((clusters or {}).get(mask, ())) for mask in masks]
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
    name: DistanceName,
    design: Design,
    estimates: Estimates,
    level: float = LEVEL,
) -> Uncertainty:
    """Intervals around the results of a game.

    Chance comes from the seeds, from the reference images, and from the choice of coalitions where they are a sample.

    Args:
        coalitions: features of the design's coalitions, each with the same seeds in the same order.
        seeds: the seed of each image, (k,); at least two.
        reference: (m, d).
        name: the distance in use.
        design: which coalitions there are, and how φ follows.
        estimates: the results.
        level: of every interval.

    Raises:
        NoIntervalError: the distance cannot be resampled, or is not defined without one of the seeds.
    """
    if name == "fid_infinity":
        raise NoIntervalError("FID extrapolated to infinitely many images is not resampled, so there is no interval.")
    if min(len(seeds), len(reference)) > MOST_IMAGES:
        raise NoIntervalError(
            f"More than {MOST_IMAGES:,} images on both sides would take too long to resample, so there is no interval."
        )
    fid = _replicates(coalitions, seeds, reference, None)
    chosen = fid if name == "fid" else _replicates(coalitions, seeds, reference, KERNELS[name])
    if not np.isfinite(chosen.by_seed).all():
        raise NoIntervalError("This distance is not defined without one of the two seeds, so there is no interval.")
    kid = chosen if name == "kid" else _replicates(coalitions, seeds, reference, polynomial_kernel)

    def shapley(distances: Floats) -> Floats:
        return design.shapley(_values(distances))

    values, kid_values = estimates.values, estimates.kid_values
    phi = design.shapley(values)
    chance = chosen.chance(shapley, design.sampling(values), (len(set(seeds)), len(reference), 0))
    sources = chance.all
    shapley_ends = intervals(phi, sources, level)
    table = membership(design.groups)
    grouped = [source.apply(table) for source in sources] if design.groups else None
    return Uncertainty(
        shapley=shapley_ends,
        share=share_intervals(phi, sources, level) if np.any(phi) else None,
        group_shapley=None if grouped is None else intervals(table @ phi, grouped, level),
        group_share=None
        if grouped is None or not np.any(table @ phi)
        else share_intervals(table @ phi, grouped, level),
        pairs=None if estimates.pairs is None else _pair_intervals(estimates.pairs, chosen, shapley_ends, level),
        # FIDs themselves are skewed: with less than the sum their intervals miss too often (docs/uncertainty.md).
        fid=intervals(estimates.fid, fid.sources(lambda distances: distances, once=False), level),
        kid_shapley=(
            intervals(design.shapley(kid_values), [*kid.sources(shapley), *design.sampling(kid_values)], level)
            if kid_values is not None and np.isfinite(kid.by_seed).all()
            else None
        ),
        chance=chance,
        seeds=len(set(seeds)),
        groups=len(chosen.by_seed),
        reference_groups=0 if chosen.images is None else len(chosen.images.by_image),
    )


def kernel_chance(
    coalitions: Coalitions, seeds: Sequence[int], reference: Floats, kernel: Kernel, design: Design, values: Floats
) -> Chance | None:
    """Where chance in φ of a kernel distance comes from; None where it is not defined without one of the seeds.

    Args:
        values: (K,) v(S).
    """
    found = _replicates(coalitions, seeds, reference, kernel)
    if not np.isfinite(found.by_seed).all():
        return None
    return found.chance(
        lambda distances: design.shapley(_values(distances)),
        design.sampling(values),
        (len(set(seeds)), len(reference), 0),
    )


def _replicates(coalitions: Coalitions, seeds: Sequence[int], y: Floats, kernel: Kernel | None) -> _Replicates:
    """Distances of a kernel, or the Fréchet distance where there is none."""
    most, joint = (FEW_GROUPS, JOINT_GROUPS // 2) if min(len(seeds), len(y)) > LARGE else (MOST_GROUPS, JOINT_GROUPS)
    rows = deletions(seeds, most)
    columns = deletions(range(len(y)), most) if len(y) >= REFERENCE_IMAGES else None
    if rows is None:
        raise NoIntervalError(ONE_SEED, "one_seed")
    few_rows, few_columns = deletions(seeds, joint), deletions(range(len(y)), joint)
    center = y.mean(axis=0)

    def distances(weights: Floats | None, image_weights: Floats | None) -> Floats:
        if kernel is not None:
            found = [
                resampled_kernel(x, y, kernel, weights, image_weights, coalitions.clips) for x in coalitions.distinct
            ]
        else:
            found = [
                resampled_frechet(x - center, y - center, weights, image_weights).sum(axis=1)
                for x in coalitions.distinct
            ]
        return np.stack(found, axis=1)[:, coalitions.index]

    images = None
    if columns is not None and few_rows is not None and few_columns is not None:
        shape = (len(few_rows.weights), len(few_columns.weights))
        both = distances(np.repeat(few_rows.weights, shape[1], axis=0), np.tile(few_columns.weights, (shape[0], 1)))
        by_image = distances(None, columns.weights)
        images = _ImageReplicates(by_image, columns, both.reshape(*shape, -1), (few_rows, few_columns))
    return _Replicates(distances(rows.weights, None), rows, images)


def _pair_intervals(pairs: Floats, replicates: _Replicates, single: Floats, level: float) -> Floats:
    """Intervals of interactions, (n, n, 2), with those of φ (n, 2) on the diagonal."""
    apart = 1 - np.eye(len(pairs))
    sources = replicates.sources(lambda distances: pair_interactions(_values(distances)) * apart)
    ends = intervals(pairs, sources, level)
    ends[np.diag_indices(len(pairs))] = single
    return ends


def _values(distances: Floats) -> Floats:
    """v(S) = d(∅) − d(S)."""
    return distances[..., :1] - distances
