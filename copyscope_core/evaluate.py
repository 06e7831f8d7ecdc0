"""From features to results: distances of every coalition, values, Shapley values and what to be careful about.

Pure computation on arrays; images and features are made elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import GameError
from .frechet import frechet_distance
from .game import Game, check_players, coalition_label, require_complete
from .kernel import kernel_distance, kernel_value
from .shapley import (
    ablation,
    check_efficiency,
    leave_one_out,
    shapley_values,
    shares,
    single_increments,
)

FEW_IMAGES = 50
"""Below so many images on either side, FID's bias and noise are large enough to warn about."""

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


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Results of an audit. Arrays over coalitions are indexed by bitmask, arrays over players by their order.

    Attributes:
        players: n names.
        distance: (2**n,) d²(S), the Fréchet distance of each coalition's images to the reference (FID).
        mean, covariance: (2**n,) its two parts, ‖Δμ‖² and tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½; they sum to ``distance``.
        kid: (2**n,) unbiased kernel distance; None where a side has one image.
        counts: (2**n,) images of each coalition.
        values: (2**n,) v(S) = d²(∅) − d²(S).
        shapley: (n,) φ of v; ``shapley_mean`` and ``shapley_covariance`` are its parts from the two parts of d².
        share: (n,) φ/Σ|φ|, or None where every φ is 0.
        leave_one_out: (n,) v(N) − v(N∖i).
        ablation: (n,) mean d² over the coalitions without i.
        single: (n,) v({i}) − v(∅).
        kid_shapley: (n,) φ of the kernel game, or None where a coalition has one image.
        no_effect: (n,) True where the player never changes a pixel; None where pixels were not compared.
        efficiency_gap: Σφ − (v(N) − v(∅)), rounding only.
        reference_count: images of the reference.
        warnings: what to be careful about.
    """

    players: tuple[str, ...]
    distance: Floats
    mean: Floats
    covariance: Floats
    kid: tuple[float | None, ...]
    counts: tuple[int, ...]
    values: Floats
    shapley: Floats
    shapley_mean: Floats
    shapley_covariance: Floats
    share: Floats | None
    leave_one_out: Floats
    ablation: Floats
    single: Floats
    kid_shapley: Floats | None
    no_effect: tuple[bool, ...] | None
    efficiency_gap: float
    reference_count: int
    warnings: tuple[Caution, ...]

    @property
    def game(self) -> Game:
        """The game of v(S)."""
        return Game(self.players, self.values)


@dataclass(frozen=True)
class _Measured:
    distance: float
    mean: float
    covariance: float
    kid: float | None
    kernel: float | None
    count: int


def evaluate(
    players: Sequence[str],
    features: Mapping[int, NDArray[np.floating]],
    reference: NDArray[np.floating],
    pixel_hashes: Mapping[int, Sequence[str]] | None = None,
) -> Evaluation:
    """Measure every coalition against the reference and divide the change among the players.

    Args:
        players: n names, in the order of the bits.
        features: for each of the 2**n masks the features (k, d) of its images. Coalitions with equal features are
            measured once.
        reference: (m, d) features of the rights holder's images.
        pixel_hashes: for each mask the hashes of its images' pixels, in order; needed to tell which players have no
            effect at all.

    Raises:
        GameError: coalitions are missing (named); an array is empty, of the wrong shape, or not finite.
    """
    names = check_players(players)
    require_complete(features, names)
    ref = _checked(reference, "the reference images", None)
    measured = _measure(names, features, ref)

    distance = np.array([item.distance for item in measured])
    mean = np.array([item.mean for item in measured])
    covariance = np.array([item.covariance for item in measured])
    values = distance[0] - distance
    phi = shapley_values(values)
    gap = check_efficiency(values, phi)
    kernel = [item.kernel for item in measured]
    kid_phi = None
    if all(value is not None for value in kernel):
        kernel_array = np.array(kernel, dtype=np.float64)
        kid_phi = shapley_values(kernel_array[0] - kernel_array)

    share = shares(phi)
    mean_phi = shapley_values(mean[0] - mean)
    covariance_phi = shapley_values(covariance[0] - covariance)
    no_effect = None if pixel_hashes is None else find_no_effect(names, pixel_hashes)
    counts = tuple(item.count for item in measured)
    warnings = (
        *_count_warnings(counts, len(ref)),
        *_effect_warnings(names, share, no_effect),
        *_covariance_warnings(names, share, mean_phi, covariance_phi),
    )
    return Evaluation(
        players=names,
        distance=distance,
        mean=mean,
        covariance=covariance,
        kid=tuple(item.kid for item in measured),
        counts=counts,
        values=values,
        shapley=phi,
        shapley_mean=mean_phi,
        shapley_covariance=covariance_phi,
        share=share,
        leave_one_out=leave_one_out(values),
        ablation=ablation(distance),
        single=single_increments(values),
        kid_shapley=kid_phi,
        no_effect=no_effect,
        efficiency_gap=float(gap),
        reference_count=len(ref),
        warnings=warnings,
    )


def find_no_effect(players: Sequence[str], pixel_hashes: Mapping[int, Sequence[str]]) -> tuple[bool, ...]:
    """For each player, whether S and S∪i have the same pixels for every coalition S without i.

    Raises:
        GameError: coalitions are missing (named).
    """
    require_complete(pixel_hashes, players)
    images = [tuple(pixel_hashes[mask]) for mask in range(2 ** len(players))]
    return tuple(
        all(images[mask] == images[mask | 1 << bit] for mask in range(len(images)) if not mask >> bit & 1)
        for bit in range(len(players))
    )


def _checked(array: NDArray[np.floating], what: str, width: int | None) -> Floats:
    x = np.asarray(array, dtype=np.float64)
    if x.ndim != 2 or 0 in x.shape:
        raise GameError(f"The features of {what} must be a table of images × numbers; got shape {x.shape}.")
    if width is not None and x.shape[1] != width:
        raise GameError(
            f"The features of {what} have {x.shape[1]} numbers an image, those of the reference {width}; "
            "compute both with the same extractor."
        )
    if not np.isfinite(x).all():
        bad = int((~np.isfinite(x).all(axis=1)).sum())
        raise GameError(f"{bad} of {len(x)} images of {what} have features that are not finite; check those images.")
    return x


def _measure(
    players: Sequence[str], features: Mapping[int, NDArray[np.floating]], reference: Floats
) -> list[_Measured]:
    """Distances of every coalition's features (k, d) to the reference (m, d); equal features are measured once."""
    known: dict[tuple[tuple[int, ...], bytes], _Measured] = {}
    result = []
    for mask in range(2 ** len(players)):
        x = _checked(features[mask], f"the coalition {coalition_label(mask, players)}", reference.shape[1])
        key = (x.shape, hashlib.sha256(x.tobytes()).digest())
        if key not in known:
            frechet = frechet_distance(x, reference)
            known[key] = _Measured(
                distance=float(frechet.distance),
                mean=float(frechet.mean),
                covariance=float(frechet.covariance),
                kid=kernel_distance(x, reference),
                kernel=kernel_value(x, reference),
                count=len(x),
            )
        result.append(known[key])
    return result


def _count_warnings(counts: Sequence[int], reference_count: int) -> list[Caution]:
    found = []
    low, high = min(counts), max(counts)
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
    if low == 1:
        found.append(
            Caution(
                "one_image",
                "A combination has a single image, so nothing is known about how its images vary, and KID is "
                "undefined; run more seeds.",
            )
        )
    few = [
        f"{count} {what}"
        for count, what in ((low, "images a combination"), (reference_count, "reference images"))
        if 1 < count < FEW_IMAGES
    ]
    if few:
        found.append(
            Caution(
                "few_images",
                f"There are only {' and '.join(few)}. Below {FEW_IMAGES}, FID is biased upwards and noisy: compare "
                "these distances with each other, not with FIDs from elsewhere, and take small differences for noise.",
            )
        )
    return found


def _effect_warnings(players: Sequence[str], share: Floats | None, no_effect: Sequence[bool] | None) -> list[Caution]:
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


def _covariance_warnings(
    players: Sequence[str], share: Floats | None, mean: Floats, covariance: Floats
) -> list[Caution]:
    if share is None:
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
