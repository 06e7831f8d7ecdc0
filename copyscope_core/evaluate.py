"""From features to results: distances of every coalition, values, Shapley values and what to be careful about.

Pure computation on arrays; images and features are made elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from .cautions import (
    Caution,
    count_cautions,
    covariance_cautions,
    effect_cautions,
    interval_cautions,
)
from .distances import Coalitions, DistanceName, Distances, check_table, measure_distances
from .errors import GameError
from .game import Game, check_players, coalition_label, require_complete
from .interactions import MOST_PLAYERS, Members, interaction_index, n_shapley, pair_interactions
from .shapley import (
    ablation,
    check_efficiency,
    leave_one_out,
    shapley_values,
    shares,
    single_increments,
)
from .uncertainty import Estimates, NoIntervalError, Uncertainty, resample, same_seeds

__all__ = ["Caution", "Control", "DistanceName", "Evaluation", "evaluate", "find_no_effect"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Control:
    """The same measurement against unrelated images of the same kind.

    Attributes:
        count: how many control images.
        distance: (2**n,) distances of the coalitions to them, NaN where undefined; in the distance in use.
        shapley: (n,) φ against the control.
        contrast: (n,) φ against the reference − φ against the control: how much more a player moves the images towards
            this reference than towards such images at large.
    """

    count: int
    distance: Floats
    shapley: Floats
    contrast: Floats


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Results of an audit. Arrays over coalitions are indexed by bitmask, arrays over players by their order.

    Values, Shapley values and their companions are in units of the distance in use; d(S) stands for it.

    Attributes:
        players: n names.
        distance_name: the distance in use.
        distance: (2**n,) d²(S), the Fréchet distance of each coalition's images to the reference (FID), whatever the
            distance in use.
        mean, covariance: (2**n,) its two parts, ‖Δμ‖² and tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½; they sum to ``distance``.
        kid: (2**n,) unbiased kernel distance; None where a side has one image.
        chosen: (2**n,) d(S); NaN where a kernel distance has one reference image, for then only v(S) is defined.
        counts: (2**n,) images of each coalition.
        values: (2**n,) v(S) = d(∅) − d(S).
        shapley: (n,) φ of v.
        shapley_mean, shapley_covariance: (n,) its parts from the two parts of d²; None unless FID is in use.
        share: (n,) φ/Σ|φ|, or None where every φ is 0.
        leave_one_out: (n,) v(N) − v(N∖i).
        ablation: (n,) mean d over the coalitions without i, without the reference's own term where d is not defined.
        single: (n,) v({i}) − v(∅).
        kid_shapley: (n,) φ of the kernel game, or None where a coalition has one image.
        no_effect: (n,) True where the player never changes a pixel; None where pixels were not compared.
        efficiency_gap: Σφ − (v(N) − v(∅)), rounding only.
        reference_count: images of the reference.
        warnings: what to be careful about.
        pairs: (n, n) Shapley interaction index of each pair, φ on the diagonal; None for more than 12 players.
        n_shapley: members → n-Shapley value up to order 3; empty for more than 12 players.
        uncertainty: intervals, or None; ``no_interval`` then says why, in a sentence.
        control: the same against the control images, or None.
    """

    players: tuple[str, ...]
    distance_name: DistanceName
    distance: Floats
    mean: Floats
    covariance: Floats
    kid: tuple[float | None, ...]
    chosen: Floats
    counts: tuple[int, ...]
    values: Floats
    shapley: Floats
    shapley_mean: Floats | None
    shapley_covariance: Floats | None
    share: Floats | None
    leave_one_out: Floats
    ablation: Floats
    single: Floats
    kid_shapley: Floats | None
    no_effect: tuple[bool, ...] | None
    efficiency_gap: float
    reference_count: int
    warnings: tuple[Caution, ...]
    pairs: Floats | None
    n_shapley: dict[Members, float]
    uncertainty: Uncertainty | None
    no_interval: str
    control: Control | None

    @property
    def game(self) -> Game:
        """The game of v(S)."""
        return Game(self.players, self.values)

    def interaction(self, members: Members) -> float:
        """Shapley interaction index of some players, given by their places."""
        return float(interaction_index(self.values, members))


def evaluate(
    players: Sequence[str],
    features: Mapping[int, NDArray[np.floating]],
    reference: NDArray[np.floating],
    pixel_hashes: Mapping[int, Sequence[str]] | None = None,
    *,
    seeds: Mapping[int, Sequence[int | None]] | None = None,
    control: NDArray[np.floating] | None = None,
    distance: DistanceName = "fid",
) -> Evaluation:
    """Measure every coalition against the reference and divide the change among the players.

    Args:
        players: n names, in the order of the bits.
        features: for each of the 2**n masks the features (k, d) of its images. Coalitions with equal features are
            measured once.
        reference: (m, d) features of the rights holder's images.
        pixel_hashes: for each mask the hashes of its images' pixels, in order; needed to tell which players have no
            effect at all.
        seeds: for each mask the seed offset of each of its images, in order; images of one seed (a batch) vary
            together. Intervals need the same seeds, in the same order, in every coalition.
        control: (c, d) features of unrelated images of the same kind.
        distance: what v(S) is made of.

    Raises:
        GameError: coalitions are missing (named); an array is empty, of the wrong shape, or not finite; the distance
            is not defined for so few images.
    """
    if distance not in get_args(DistanceName):
        raise GameError(f"There is no distance “{distance}”; choose one of {', '.join(get_args(DistanceName))}.")
    names = check_players(players)
    require_complete(features, names)
    ref = check_table(reference, "the reference images", None)
    unrelated = None if control is None else check_table(control, "the control images", ref.shape[1])
    tables = [
        check_table(features[mask], f"the coalition {coalition_label(mask, names)}", ref.shape[1])
        for mask in range(2 ** len(names))
    ]
    counts = tuple(len(x) for x in tables)
    coalitions = Coalitions.of(tables)
    measured = measure_distances(coalitions, ref, distance)
    part = _defined(measured, distance)
    values = part[0] - part
    phi = shapley_values(values)
    gap = check_efficiency(values, phi)
    share = shares(phi)
    kid_phi = None if np.isnan(measured.kid_part).any() else shapley_values(measured.kid_part[0] - measured.kid_part)
    pairs = pair_interactions(values) if len(names) <= MOST_PLAYERS else None
    compared = None if unrelated is None else _compare(coalitions, unrelated, distance, phi)
    mean_phi = covariance_phi = None
    if distance == "fid":
        mean_phi = shapley_values(measured.mean[0] - measured.mean)
        covariance_phi = shapley_values(measured.covariance[0] - measured.covariance)
    no_effect = None if pixel_hashes is None else find_no_effect(names, pixel_hashes)

    uncertainty, reason = None, None
    try:
        images = same_seeds(seeds, counts)
        estimates = Estimates(phi, measured.fid, kid_phi, pairs, None if compared is None else compared.shapley)
        uncertainty = resample(coalitions, images, ref, unrelated, distance, estimates)
    except NoIntervalError as error:
        reason = error
    warnings = (
        *count_cautions(counts, len(ref)),
        *interval_cautions(uncertainty, None if seeds is None else reason),
        *effect_cautions(names, share, no_effect),
        *covariance_cautions(names, share, mean_phi, covariance_phi),
    )
    return Evaluation(
        players=names,
        distance_name=distance,
        distance=measured.fid,
        mean=measured.mean,
        covariance=measured.covariance,
        kid=tuple(None if np.isnan(value) else float(value) for value in measured.kid),
        chosen=measured.chosen,
        counts=counts,
        values=values,
        shapley=phi,
        shapley_mean=mean_phi,
        shapley_covariance=covariance_phi,
        share=share,
        leave_one_out=leave_one_out(values),
        ablation=ablation(part if np.isnan(measured.chosen).any() else measured.chosen),
        single=single_increments(values),
        kid_shapley=kid_phi,
        no_effect=no_effect,
        efficiency_gap=float(gap),
        reference_count=len(ref),
        warnings=warnings,
        pairs=pairs,
        n_shapley=({} if pairs is None else {members: float(value) for members, value in n_shapley(values).items()}),
        uncertainty=uncertainty,
        no_interval="" if reason is None else str(reason),
        control=compared,
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


def _defined(measured: Distances, name: DistanceName) -> Floats:
    """The part of the distance that v(S) is made of, (2**n,).

    Raises:
        GameError: a coalition has one image, so that a kernel distance is not defined.
    """
    if np.isnan(measured.part).any():
        raise GameError(f"The distance {name} needs at least two images a combination; run more seeds, or use fid.")
    return measured.part


def _compare(coalitions: Coalitions, control: Floats, name: DistanceName, phi: Floats) -> Control:
    measured = measure_distances(coalitions, control, name)
    part = _defined(measured, name)
    against = shapley_values(part[0] - part)
    return Control(len(control), measured.chosen, against, phi - against)
