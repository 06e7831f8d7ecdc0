"""Contrast: how much more a player moves the images towards the reference than towards control images.

With a kernel k, the squared distance of mean embeddings of a coalition's images X_S and a set of works W is

    d(S; W) = mean k(x, x′) + mean k(w, w′) − 2 mean k(x, w).

Against the reference Y less against the control Z, all but the last term cancels in v(S) = d(∅) − d(S), so that the
contrast of player i is a difference of two means over works and seeds:

    c_i = mean_y f_i(y) − mean_z f_i(z),     f_i(w) = φ_i of v(S) = 2 mean_x k(x_S, w) − 2 mean_x k(x_∅, w).

It is unbiased for any numbers of images, references and controls, one included, which the Fréchet distance is not: its
nuclear norm grows with the number of images (docs/uncertainty.md). For FID k(x, y) = x·y, which gives the contrast of
its mean part ‖Δμ‖² in FID points; for KID and MMD k is their own kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..distances.kernel import Kernel, linear_kernel
from ..distances.registry import KERNELS, Coalitions, DistanceName
from ..game.design import Design
from ..game.statistics import Source
from .standing import Chance

FEWEST_APART = 8
"""With fewer works on a side, the spread of works is taken from both sides together: a few works of one artist say too
little of it. Works of one artist differ less than unrelated ones, so this makes intervals wider, not narrower."""

_NUMBERS = 1 << 21
"""Works are gone through in pieces of at most so many numbers (16 MiB)."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Contrast:
    """The contrast of every player.

    Attributes:
        estimate: (n,) c.
        chance: where chance in it comes from; None: unknown, for the seeds are not known or there is one, or fewer
            than three works on both sides together.
    """

    estimate: Floats
    chance: Chance | None


def kernel_of(distance: DistanceName) -> Kernel:
    """The kernel of the contrast that goes with a distance; for both FIDs the one of ‖Δμ‖²."""
    return KERNELS.get(distance, linear_kernel)


def contrast(
    coalitions: Coalitions,
    reference: Floats,
    control: Floats,
    kernel: Kernel,
    design: Design,
    seeds: Sequence[int] | None,
) -> Contrast:
    """The contrast of every player, and where chance in it comes from.

    Args:
        coalitions: features of the design's coalitions.
        reference: (m, d).
        control: (c, d).
        design: which coalitions there are, and how φ follows.
        seeds: the seed of each image, (k,), the same in every coalition; None: not known.
    """
    m, c = len(reference), len(control)
    works = np.concatenate([reference, control])
    weight = np.concatenate([np.full(m, 1 / m), np.full(c, -1 / c)])
    if seeds is None or len(set(seeds)) < 2 or m + c < 3:
        # Coalitions may have different numbers of images: only their means are comparable.
        return Contrast(weight @ _effects(coalitions, None, works, kernel, design)[0], None)
    effects = _effects(coalitions, seeds, works, kernel, design)  # (K, W, n)
    estimate = np.einsum("kwn,w->n", effects, weight) / len(effects)
    joint = _joint_variance(effects, m)
    in_seeds = _seed_source(np.einsum("kwn,w->kn", effects, weight))
    in_works = [
        source.without(part) for source, part in zip(*_work_sources(effects.mean(axis=0), m, joint), strict=True)
    ]
    chosen = [] if design.complete else design.sampling(_values(coalitions, works, weight, kernel))
    return Contrast(estimate, Chance((in_seeds,), tuple(in_works), tuple(chosen), (len(effects), m, c)))


def _effects(
    coalitions: Coalitions, seeds: Sequence[int] | None, works: Floats, kernel: Kernel, design: Design
) -> Floats:
    """f: how far each player moves the images of each seed towards each work, (K, W, n); K = 1 where seeds is None."""
    order = [0] if seeds is None else list(dict.fromkeys(seeds))
    size = max(1, _NUMBERS // (len(coalitions.index) * len(order)))
    parts = []
    for start in range(0, len(works), size):
        piece = works[start : start + size]
        means = np.stack([_by_seed(kernel(x, piece), seeds, order) for x in coalitions.distinct], axis=-1)
        values = 2 * means[..., coalitions.index]
        parts.append(design.shapley(values - values[..., :1]))
    return np.concatenate(parts, axis=1)


def _by_seed(table: Floats, seeds: Sequence[int] | None, order: Sequence[int]) -> Floats:
    """Means over the images of each seed: (k, W) → (K, W)."""
    if seeds is None:
        return np.asarray(table.mean(axis=0, keepdims=True))
    place = {seed: row for row, seed in enumerate(order)}
    sums: Floats = np.zeros((len(order), table.shape[1]))
    np.add.at(sums, [place[seed] for seed in seeds], table)
    return sums / (len(seeds) / len(order))


def _values(coalitions: Coalitions, works: Floats, weight: Floats, kernel: Kernel) -> Floats:
    """v(S) of the contrast game, (K,)."""
    part = np.array([2 * float(kernel(x, works).mean(axis=0) @ weight) for x in coalitions.distinct])[coalitions.index]
    return np.asarray(part - part[0])


def _seed_source(by_seed: Floats) -> Source:
    """Chance in the seeds: (K, n)."""
    count = len(by_seed)
    return Source((by_seed - by_seed.mean(axis=0)) / np.sqrt(count * (count - 1)))


def _work_sources(by_work: Floats, m: int, joint: tuple[Floats, Floats]) -> tuple[list[Source], list[Floats]]:
    """Chance in the works, (W, n), and what of it the seeds count already.

    Reference and control apart where each has enough works, else one spread of both: Student's two samples.
    """
    parts = (by_work[:m], by_work[m:])
    apart = [part - part.mean(axis=0) for part in parts]
    if min(map(len, parts)) >= FEWEST_APART:
        return [Source(part / np.sqrt(len(part) * (len(part) - 1))) for part in apart], list(joint)
    df = len(by_work) - 2
    scale = np.sqrt((1 / len(parts[0]) + 1 / len(parts[1])) / df)
    return [Source(scale * np.concatenate(apart), lost=2)], [joint[0] + joint[1]]


def _joint_variance(effects: Floats, m: int) -> tuple[Floats, Floats]:
    """What seeds and works do only together, of each side: the variance (n,) that both of them count.

    Where a side has one work, the other side's is taken for it.
    """
    count = len(effects)
    pieces = (effects[:, :m], effects[:, m:])
    sums, dfs = [], []
    for piece in pieces:
        rest = piece - piece.mean(axis=0) - piece.mean(axis=1, keepdims=True) + piece.mean(axis=(0, 1))
        sums.append((rest**2).sum(axis=(0, 1)))
        dfs.append((count - 1) * (piece.shape[1] - 1))
    if min(piece.shape[1] for piece in pieces) < FEWEST_APART:
        common = (sums[0] + sums[1]) / sum(dfs)
        spread = (common, common)
    else:
        spread = (sums[0] / dfs[0], sums[1] / dfs[1])
    first, second = (s / (count * piece.shape[1]) for s, piece in zip(spread, pieces, strict=True))
    return first, second
