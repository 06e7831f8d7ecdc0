"""Canaries: coalitions that are run once again at the end of an audit.

If a component leaked from one coalition into another (a LoRA that stayed applied, say), a coalition that is run after
all the others gives other pixels than it gave in its turn. Its noise nodes carry a word that no earlier prompt had, so
that the server cannot answer from its cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..evaluation.evaluate import Caution
from ..game.coalitions import label
from ..report.schema import CanaryResult
from ..store.entry import Entry
from ..store.run_store import RunStore


@dataclass(frozen=True)
class Canary:
    """A coalition's first seed, in its turn and once again at the end."""

    mask: int
    first: Entry
    again: Entry


def judge_canaries(
    canaries: Sequence[Canary], names: Sequence[str], store: RunStore, tolerance: int
) -> list[CanaryResult]:
    """Compare the canaries' pixels.

    Args:
        tolerance: a channel's difference (0…255) that two runs of the full coalition have anyhow.

    Raises:
        StoreError, ImageError: an image was changed or cannot be read.
    """
    return [_judge(canary, names, store, tolerance) for canary in canaries]


def canary_cautions(results: Sequence[CanaryResult], names: Sequence[str]) -> list[Caution]:
    """A warning where a canary's pixels are not those of its turn."""
    failed = [label(result.mask, names) for result in results if not result.holds]
    if not failed:
        return []
    return [
        Caution(
            "canary_mismatch",
            f"Run again at the end, {'; '.join(failed)} gave other pixels than in its turn: something of one "
            "combination stayed in the server and reached another, so these contributions cannot be relied on. Restart "
            "the server and run the audit again in a new folder.",
        )
    ]


def largest_difference(store: RunStore, one: Entry, other: Entry) -> int:
    """A channel's largest difference between the images of two entries, 0…255; 255 where their shapes differ.

    Raises:
        StoreError, ImageError: an image was changed or cannot be read.
    """
    if [image.pixel_sha256 for image in one.images] == [image.pixel_sha256 for image in other.images]:
        return 0
    if len(one.images) != len(other.images):
        return 255
    largest = 0
    for first, second in zip(store.images(one), store.images(other), strict=True):
        if first.pixels.shape != second.pixels.shape:
            return 255
        largest = max(largest, int(np.abs(first.pixels.astype(np.int16) - second.pixels).max()))
    return largest


def _judge(canary: Canary, names: Sequence[str], store: RunStore, tolerance: int) -> CanaryResult:
    difference = largest_difference(store, canary.first, canary.again)
    return CanaryResult(
        mask=canary.mask,
        members=[name for place, name in enumerate(names) if canary.mask >> place & 1],
        pixel_sha256=[image.pixel_sha256 for image in canary.again.images],
        difference=difference,
        holds=difference <= tolerance,
    )
