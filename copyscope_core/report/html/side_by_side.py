"""Generated images beside their nearest references: which coalitions are shown, and which of their images.

The best pair alone would be cherry-picked: the median pair stands beside it, and one that is drawn at random.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from ..report import Report
from ..schema import CoalitionResult

DRAW_SEED = 20231121
"""Of the random pairs; fixed, so that nobody can draw until it pleases."""

MOST = 25
"""Coalitions shown side by side."""


class Pair(NamedTuple):
    """A generated image and its nearest reference.

    Attributes:
        label: ``best``, ``median`` or ``random``.
        image: place among the coalition's images.
        reference: place among the reference images.
        distance: of their features.
    """

    label: str
    image: int
    reference: int
    distance: float


def compared(report: Report) -> list[CoalitionResult]:
    """The full workflow, each single removal and each single player, as far as they were run."""
    players = len(report.players)
    full = (1 << players) - 1
    masks = [full, *(full ^ 1 << bit for bit in range(players)), *(1 << bit for bit in range(players)), 0]
    by_mask = {item.mask: item for item in report.coalitions}
    return [by_mask[mask] for mask in dict.fromkeys(masks) if mask in by_mask][:MOST]


def removals(report: Report) -> list[tuple[int, CoalitionResult]]:
    """For each player that one can do without: its place, and the coalition of all others."""
    full = (1 << len(report.players)) - 1
    by_mask = {item.mask: item for item in report.coalitions}
    return [(bit, by_mask[full ^ 1 << bit]) for bit in range(len(report.players)) if full ^ 1 << bit in by_mask][:MOST]


def pairs(coalition: CoalitionResult) -> list[Pair]:
    """The best pair, the median pair and a random one of the others; fewer where there are fewer images."""
    known = sorted(
        (image.nearest_distance, place, image.nearest)
        for place, image in enumerate(coalition.image_files)
        if image.nearest is not None and image.nearest_distance is not None
    )
    if not known:
        return []
    chosen = {"best": 0, "median": len(known) // 2}
    rest = [place for place in range(len(known)) if place not in chosen.values()]
    if rest:
        chosen["random"] = _draw(rest, coalition.mask)
    if len(known) == 1:
        del chosen["median"]
    return [Pair(label, known[place][1], known[place][2], known[place][0]) for label, place in chosen.items()]


def _draw(places: Sequence[int], mask: int) -> int:
    return random.Random(DRAW_SEED + mask).choice(places)  # noqa: S311 - a draw that anyone can repeat
