"""What the value functions say of every player: the content of the images, and their style.

Content is the distance in use (FID, the paper's); style is a kernel distance of channel correlations from the same pass
of the same network (docs/style.md), or of a diffusion model's activations (docs/distances.md). Each has its Shapley
values and, where there are control images, its contrast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..distances.kernel import (
    Kernel,
    kernel_value,
    linear_kernel,
    mean_between,
    mean_of_pairs,
    mean_own,
    polynomial_kernel,
)
from ..distances.registry import Coalitions
from ..features.beside import has_style_model
from ..game.design import Design, membership
from ..game.statistics import LEVEL, difference_intervals, intervals, probability_largest
from .contrast import contrast
from .standing import Chance, Standing, standing
from .uncertainty import kernel_chance

Floats = NDArray[np.float64]


def style_kernel(preprocessing: str) -> Kernel:
    """The kernel of the style distance, by the id of the features.

    Inception's style vectors have the length √d, so that KID's kernel is (1 + cosine)³. Those of a diffusion model are
    channel means and deviations, whose squared Euclidean distance is IntroStyle's 2-Wasserstein distance.
    """
    return linear_kernel if has_style_model(preprocessing) else polynomial_kernel


@dataclass(frozen=True, eq=False)
class Yardstick:
    """Mean squared distances between single images, in units of the value function; None where there are no pairs.

    Attributes:
        control: of two control images: how far unrelated works are from each other.
        reference: of two reference images.
        none, full: of an image of the coalition ∅, and of N, to a reference image.
        none_control, full_control: of the same to a control image.
    """

    control: float | None
    reference: float | None
    none: float
    full: float
    none_control: float | None
    full_control: float | None


@dataclass(frozen=True, eq=False)
class ValueFunction:
    """What one value function says.

    Attributes:
        name: ``content`` or ``style``.
        shapley: (n,) φ; None: not defined for one image a coalition.
        shapley_interval: (n, 2), or None.
        contrast: (n,) as in ``contrast``, or None without a control.
        contrast_interval: (n, 2), or None.
        difference: (n, n, 2) interval of each player less each other, by the contrast where there is a control,
            else by φ; or None.
        probability_largest: (n,) how probable it is that the player is the first by that, or None.
        standing: who comes first among the design's groups, or players: by the contrast where there is a control, else
            by φ; None where that is not defined.
        yardstick: how far single images are apart.
        ranked: (u,) what the groups, or players, are ranked by; None where that is not defined.
        chance: where chance in that comes from; None: unknown.
    """

    name: str
    shapley: Floats | None
    shapley_interval: Floats | None
    contrast: Floats | None
    contrast_interval: Floats | None
    difference: Floats | None
    probability_largest: Floats | None
    standing: Standing | None
    yardstick: Yardstick
    ranked: Floats | None
    chance: Chance | None


@dataclass(frozen=True, eq=False)
class Sides:
    """What coalitions are compared with, as one value function sees it.

    Attributes:
        coalitions: features of the design's coalitions.
        reference: (m, d).
        control: (c, d), or None.
        kernel: of the contrast.
    """

    coalitions: Coalitions
    reference: Floats
    control: Floats | None
    kernel: Kernel


def value_function(
    name: str,
    sides: Sides,
    design: Design,
    seeds: Sequence[int] | None,
    shapley: Floats | None,
    chance: Chance | None,
    level: float = LEVEL,
) -> ValueFunction:
    """What a value function says.

    Args:
        seeds: the seed of each image, (k,), the same in every coalition; None: not known.
        shapley: (n,) its φ; None: not defined for so few images.
        chance: where chance in that comes from; None: unknown.
        level: of every interval.
    """
    units = membership(design.groups) if design.groups else np.eye(design.n)
    against = None
    if sides.control is not None:
        against = contrast(sides.coalitions, sides.reference, sides.control, sides.kernel, design, seeds)
    estimate, moved = (shapley, chance) if against is None else (against.estimate, against.chance)
    ranked = None if estimate is None else units @ estimate
    of_ranked = None if estimate is None or moved is None else moved.apply(units)
    return ValueFunction(
        name=name,
        shapley=shapley,
        shapley_interval=_intervals(shapley, chance, level),
        contrast=None if against is None else against.estimate,
        contrast_interval=None if against is None else _intervals(against.estimate, against.chance, level),
        difference=None if estimate is None or moved is None else difference_intervals(estimate, moved.all, level),
        probability_largest=(None if estimate is None or moved is None else probability_largest(estimate, moved.all)),
        standing=None if ranked is None else standing(ranked, of_ranked, level),
        yardstick=yardstick(sides, design),
        ranked=ranked,
        chance=of_ranked,
    )


def _intervals(estimate: Floats | None, chance: Chance | None, level: float) -> Floats | None:
    return None if estimate is None or chance is None else intervals(estimate, chance.all, level)


def kernel_function(
    name: str, sides: Sides, design: Design, seeds: Sequence[int] | None, level: float = LEVEL
) -> ValueFunction:
    """A value function whose distance is that of its kernel. ``seeds`` and ``level`` as for `value_function`."""
    clips = sides.coalitions.clips
    parts = [kernel_value(x, sides.reference, sides.kernel, clips) for x in sides.coalitions.distinct]
    defined = [part for part in parts if part is not None]
    if len(defined) < len(parts):
        return value_function(name, sides, design, seeds, None, None, level)
    distances = np.array(defined)[sides.coalitions.index]
    values = distances[0] - distances
    chance = None
    if seeds is not None:
        chance = kernel_chance(sides.coalitions, seeds, sides.reference, sides.kernel, design, values)
    return value_function(name, sides, design, seeds, design.shapley(values), chance, level)


def yardstick(sides: Sides, design: Design) -> Yardstick:
    """How far single images are apart: k(a, a) + k(b, b) − 2 k(a, b), on average."""
    none, full = (sides.coalitions.distinct[sides.coalitions.index[place]] for place in (0, len(design.masks) - 1))
    kernel, control = sides.kernel, sides.control
    return Yardstick(
        control=None if control is None else _within(control, kernel),
        reference=_within(sides.reference, kernel),
        none=_between(none, sides.reference, kernel),
        full=_between(full, sides.reference, kernel),
        none_control=None if control is None else _between(none, control, kernel),
        full_control=None if control is None else _between(full, control, kernel),
    )


def _within(x: Floats, kernel: Kernel) -> float | None:
    """Of two different rows; None where there is one."""
    pairs = mean_of_pairs(x, kernel)
    return None if pairs is None else 2 * (mean_own(x, kernel) - pairs)


def _between(x: Floats, y: Floats, kernel: Kernel) -> float:
    return mean_own(x, kernel) + mean_own(y, kernel) - 2 * mean_between(x, y, kernel)
