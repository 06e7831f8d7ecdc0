"""What changes how to read a result: too few images, unequal counts, no effect, contributions from spread alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..distances.registry import DISTANCES, KERNELS, DistanceName
from ..features.extractor import INCEPTION_CONTENT_ID
from .uncertainty import NoIntervalError, Uncertainty

FEW_IMAGES = 50
"""Below so many images on either side, FID's bias and noise are large enough to warn about."""

FEW_SEEDS = 3
"""Below so many seeds the 95% intervals were found to hold the truth less often (``docs/uncertainty.md``)."""

NEGLIGIBLE_SHARE = 0.05
"""Players with a smaller |share| are not warned about one by one."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Caution:
    """Something that changes how to read the result.

    Attributes:
        code: a stable name for programs, such as ``few_images``.
        message: one or two sentences for a reader.
    """

    code: str
    message: str


def extractor_cautions(extractor: str) -> list[Caution]:
    """Content that is not FID's. ``extractor``: its id."""
    if extractor.startswith(f"{INCEPTION_CONTENT_ID}."):
        return []
    return [
        Caution(
            "other_features",
            f"The features are those of {extractor}, not of FID's Inception: compare these distances with each other, "
            "not with FIDs from elsewhere.",
        )
    ]


def count_cautions(
    counts: Sequence[int], reference_count: int, distance: DistanceName = "fid", clips: int | None = None
) -> list[Caution]:
    """Too few images, or unequal numbers of them.

    Args:
        counts: images of each coalition.
        clips: how many clips they are frames of, which is then what counts; None: they are no frames.
    """
    found = []
    low, high = min(counts), max(counts)
    thing = "image" if clips is None else "clip"
    if low != high:
        found.append(
            Caution(
                "unequal_counts",
                f"The combinations have between {low} and {high} images. FID depends on the number of images, so their "
                "distances can be compared only roughly; give every coalition the same seeds.",
            )
        )
    if reference_count == 1:
        found.append(
            Caution(
                "one_reference",
                "There is a single reference image. It is taken as a point: the distance is exact, but it says how "
                "near the images are to this one work, not to an artist's style, and KID is not defined.",
            )
        )
    alone = low if clips is None else clips
    if alone == 1:
        found.append(
            Caution(
                "one_image",
                f"A combination has a single {thing}, so nothing is known about how its {thing}s vary, and KID is "
                "undefined; run more seeds.",
            )
        )
    few = [
        f"{count} {what}"
        for count, what in ((alone, f"{thing}s a combination"), (reference_count, "reference images"))
        if 1 < count < FEW_IMAGES
    ]
    if few:
        reading = (
            f"{DISTANCES[distance].label} is unbiased, but noisy"
            if distance in KERNELS
            else "FID is biased upwards and noisy: compare these distances with each other, not with others' FIDs"
        )
        found.append(
            Caution(
                "few_images",
                f"There are only {' and '.join(few)}. Below {FEW_IMAGES}, {reading}; take small differences for noise.",
            )
        )
    return found


def interval_cautions(uncertainty: Uncertainty | None, reason: NoIntervalError | None) -> list[Caution]:
    """Why there is no interval, or that it rests on too few seeds (figures in ``docs/uncertainty.md``)."""
    if reason is not None:
        return [Caution(reason.code, str(reason))]
    if uncertainty is None or uncertainty.seeds >= FEW_SEEDS:
        return []
    return [
        Caution(
            "few_seeds",
            f"There are only {uncertainty.seeds} seeds, so the intervals are very wide; in simulated audits those of "
            "two seeds held the true value in as few as 89 of 100 cases instead of 95. Run at least 4 seeds.",
        )
    ]


def effect_cautions(players: Sequence[str], share: Floats | None, no_effect: Sequence[bool] | None) -> list[Caution]:
    """Nothing changes at all, or some players change no pixel."""
    found = []
    if share is None:
        found.append(
            Caution(
                "no_change",
                "No component changes the distance to the reference in any combination, so there are no shares.",
            )
        )
    idle = [name for name, flag in zip(players, no_effect or (), strict=False) if flag]
    if idle:
        found.append(
            Caution(
                "no_effect",
                f"Without effect on any pixel: {', '.join(idle)}. Check that the component is really applied "
                "(strength, file, wiring).",
            )
        )
    return found


def covariance_cautions(
    players: Sequence[str], share: Floats | None, mean: Floats | None, covariance: Floats | None
) -> list[Caution]:
    """Players whose contribution comes more from its covariance part (n,) than from its mean part (n,)."""
    if share is None or mean is None or covariance is None:
        return []
    mostly = [
        name
        for i, name in enumerate(players)
        if abs(share[i]) >= NEGLIGIBLE_SHARE and abs(covariance[i]) > abs(mean[i])
    ]
    if not mostly:
        return []
    return [
        Caution(
            "mostly_covariance",
            f"For {', '.join(mostly)} most of the contribution comes from how much the images vary, not from what they "
            "are like on average. A component that merely makes images more alike can score this way: look at them.",
        )
    ]
