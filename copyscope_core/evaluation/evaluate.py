"""From features to results: distances of every coalition, values, Shapley values and what to be careful about.

Pure computation on arrays; images and features are made elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ..distances.kernel import Clips, Kernel
from ..distances.registry import Coalitions, DistanceName, Distances, check_table, measure_distances
from ..errors import GameError
from ..features.views import CONTENT
from ..game.choose import MOST_SAMPLED
from ..game.design import Design, Exact, membership
from ..game.interactions import MOST_PLAYERS, Members, interaction_index, n_shapley, pair_interactions
from ..game.shapley import ablation, check_efficiency, shares
from ..game.statistics import LEVEL, intervals
from ..game.table import MAX_PLAYERS, check_players, coalition_label, require_measured
from .cautions import Caution, count_cautions, covariance_cautions, effect_cautions, interval_cautions
from .contrast import kernel_of
from .uncertainty import Estimates, NoIntervalError, Uncertainty, resample, same_seeds
from .value_functions import Sides, ValueFunction, kernel_function, style_kernel, value_function
from .verdict import Said, Verdict, decide

__all__ = ["Caution", "Control", "DistanceName", "Evaluation", "evaluate", "find_no_effect"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Control:
    """The same measurement against unrelated images of the same kind.

    Attributes:
        count: how many control images.
        distance: (K,) distances of the coalitions to them, NaN where undefined; in the distance in use.
    """

    count: int
    distance: Floats


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Results of an audit. Arrays over coalitions are in the order of ``masks``, arrays over players in theirs.

    Values, Shapley values and their companions are in units of the distance in use; d(S) stands for it.

    Attributes:
        players: n names.
        design: which coalitions were measured, K of them, and how φ follows.
        distance_name: the distance in use.
        distance: (K,) d²(S), the Fréchet distance of each coalition's images to the reference (FID), whatever the
            distance in use.
        mean, covariance: (K,) its two parts, ‖Δμ‖² and tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½; they sum to ``distance``.
        kid: (K,) unbiased kernel distance; None where a side has one image.
        chosen: (K,) d(S); NaN where a kernel distance has one reference image, for then only v(S) is defined.
        counts: (K,) images of each coalition.
        values: (K,) v(S) = d(∅) − d(S).
        shapley: (n,) φ of v, or its estimate.
        level: two-sided confidence level of all intervals.
        sampling: (n, 2) interval of φ for the choice of coalitions alone; None where φ is exact.
        shapley_mean, shapley_covariance: (n,) its parts from the two parts of d²; None unless FID is in use.
        share: (n,) φ/Σ|φ|, or None where every φ is 0.
        leave_one_out: (n,) v(N) − v(N∖i).
        ablation: (n,) mean d over the coalitions without i, without the reference's own term where d is not defined;
            None where not all coalitions were measured.
        single: (n,) v({i}) − v(∅).
        kid_shapley: (n,) φ of the kernel game, or None where a coalition has one image.
        no_effect: (n,) True where the player never changes a pixel; None where pixels were not compared, or coalitions
            were sampled.
        efficiency_gap: Σφ − (v(N) − v(∅)), rounding only.
        reference_count: images of the reference.
        warnings: what to be careful about.
        pairs: (n, n) Shapley interaction index of each pair, φ on the diagonal; None for more than 12 players, or
            where not all coalitions were measured.
        n_shapley: members → n-Shapley value up to order 3; empty where there are no ``pairs``.
        group_shapley, group_share: (m,) φ of the design's groups, their members' together, and φ/Σ|φ| over groups (None
            where all are 0); both None where players are not grouped.
        uncertainty: intervals, or None; ``no_interval`` then says why, in a sentence.
        control: the coalitions' distances to the control images, or None.
        functions: what each value function says of every player, content first.
        verdict: the answer.
    """

    players: tuple[str, ...]
    design: Design
    distance_name: DistanceName
    distance: Floats
    mean: Floats
    covariance: Floats
    kid: tuple[float | None, ...]
    chosen: Floats
    counts: tuple[int, ...]
    values: Floats
    shapley: Floats
    level: float
    sampling: Floats | None
    shapley_mean: Floats | None
    shapley_covariance: Floats | None
    share: Floats | None
    leave_one_out: Floats
    ablation: Floats | None
    single: Floats
    kid_shapley: Floats | None
    no_effect: tuple[bool, ...] | None
    efficiency_gap: float
    reference_count: int
    warnings: tuple[Caution, ...]
    pairs: Floats | None
    n_shapley: dict[Members, float]
    group_shapley: Floats | None
    group_share: Floats | None
    uncertainty: Uncertainty | None
    no_interval: str
    control: Control | None
    functions: tuple[ValueFunction, ...]
    verdict: Verdict

    @property
    def masks(self) -> tuple[int, ...]:
        """The measured coalitions."""
        return self.design.masks

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
    design: Design | None = None,
    views: Mapping[str, slice] | None = None,
    preprocessing: str = "",
    clips: bool = False,
    level: float = LEVEL,
) -> Evaluation:
    """Measure coalitions against the reference and divide the change among the players.

    Args:
        players: n names, in the order of the bits.
        features: for each mask of the design the features (k, d) of its images. Coalitions with equal features are
            measured once.
        reference: (m, d) features of the rights holder's images.
        pixel_hashes: for each mask the hashes of its images' pixels, in order; needed to tell which players have no
            effect at all.
        seeds: for each mask the seed offset of each of its images, in order; images of one seed (a batch) vary
            together. Intervals need the same seeds, in the same order, in every coalition.
        control: (c, d) features of unrelated images of the same kind.
        distance: what v(S) is made of.
        design: which coalitions are measured; None: all 2**n.
        views: columns of the features by value function, ``content`` among them; None: all are content.
        preprocessing: id of the features, which decides the kernel of style.
        clips: the images of one seed are frames of one clip, no images of their own: they make no pairs of a kernel
            distance, and cautions count clips.
        level: of every interval, and of what the verdict takes to be no chance.

    Raises:
        GameError: coalitions are missing (named); an array is empty, of the wrong shape, or not finite; the distance
            is not defined for so few images; frames of clips have no seeds, or others in other coalitions.
    """
    if distance not in get_args(DistanceName):
        raise GameError(f"There is no distance “{distance}”; choose one of {', '.join(get_args(DistanceName))}.")
    names = check_players(players, MAX_PLAYERS if design is None else MOST_SAMPLED)
    views = {CONTENT: slice(None)} if views is None else views
    design = design or Exact(len(names))
    require_measured(features, design.masks, names)
    ref = check_table(reference, "the reference images", None)
    unrelated = None if control is None else check_table(control, "the control images", ref.shape[1])
    tables = [
        check_table(features[mask], f"the coalition {coalition_label(mask, names)}", ref.shape[1])
        for mask in design.masks
    ]
    counts = tuple(len(x) for x in tables)
    clip_of = _clips(seeds, design.masks) if clips else None
    kernels = {name: kernel_of(distance) if name == CONTENT else style_kernel(preprocessing) for name in views}
    seen = {name: _sides(columns, kernels[name], tables, ref, unrelated, clip_of) for name, columns in views.items()}
    coalitions, works = seen[CONTENT].coalitions, seen[CONTENT].reference
    measured = measure_distances(coalitions, works, distance)
    part = _defined(measured, distance)
    values = part[0] - part
    phi = design.shapley(values)
    chance = design.sampling(values)
    gap = check_efficiency(values, phi)
    share = shares(phi)
    grouped = None if not design.groups else phi @ membership(design.groups).T
    kid_values = None if np.isnan(measured.kid_part).any() else measured.kid_part[0] - measured.kid_part
    whole = isinstance(design, Exact)
    pairs = pair_interactions(values) if whole and len(names) <= MOST_PLAYERS else None
    mean_phi = covariance_phi = None
    if distance == "fid":
        mean_phi = design.shapley(measured.mean[0] - measured.mean)
        covariance_phi = design.shapley(measured.covariance[0] - measured.covariance)
    no_effect = None if pixel_hashes is None else find_no_effect(names, pixel_hashes, design)

    images, uncertainty, reason = None, None, None
    try:
        images = same_seeds(seeds, design.masks, counts)
        estimates = Estimates(values, measured.fid, kid_values, pairs)
        uncertainty = resample(coalitions, images, works, distance, design, estimates, level)
    except NoIntervalError as error:
        reason = error
    of_phi = None if uncertainty is None else uncertainty.chance
    functions = [value_function(CONTENT, seen[CONTENT], design, images, phi, of_phi, level)]
    functions += [kernel_function(name, seen[name], design, images, level) for name in seen if name != CONTENT]
    verdict = decide(
        [Said(item.name, item.standing) for item in functions if item.standing is not None],
        "shapley" if unrelated is None else "contrast",
        one_seed=reason is not None and reason.code == "one_seed",
        changes=bool(np.any(phi)),
    )
    warnings = (
        *count_cautions(counts, len(ref), distance, None if clip_of is None else len(np.unique(clip_of))),
        *interval_cautions(uncertainty, None if seeds is None else reason),
        *effect_cautions(names, share, no_effect),
        *covariance_cautions(names, share, mean_phi, covariance_phi),
    )
    return Evaluation(
        players=names,
        design=design,
        distance_name=distance,
        distance=measured.fid,
        mean=measured.mean,
        covariance=measured.covariance,
        kid=tuple(None if np.isnan(value) else float(value) for value in measured.kid),
        chosen=measured.chosen,
        counts=counts,
        values=values,
        shapley=phi,
        level=level,
        sampling=intervals(phi, chance, level) if chance else None,
        shapley_mean=mean_phi,
        shapley_covariance=covariance_phi,
        share=share,
        leave_one_out=_leave_one_out(design, values),
        ablation=ablation(part if np.isnan(measured.chosen).any() else measured.chosen) if whole else None,
        single=_single_increments(design, values),
        kid_shapley=None if kid_values is None else design.shapley(kid_values),
        no_effect=no_effect,
        efficiency_gap=float(gap),
        reference_count=len(ref),
        warnings=warnings,
        pairs=pairs,
        n_shapley=({} if pairs is None else {members: float(value) for members, value in n_shapley(values).items()}),
        group_shapley=grouped,
        group_share=None if grouped is None else shares(grouped),
        uncertainty=uncertainty,
        no_interval="" if reason is None else str(reason),
        control=(
            None
            if unrelated is None
            else Control(len(unrelated), measure_distances(coalitions, unrelated[:, views[CONTENT]], distance).chosen)
        ),
        functions=tuple(functions),
        verdict=verdict,
    )


def find_no_effect(
    players: Sequence[str], pixel_hashes: Mapping[int, Sequence[str]], design: Design | None = None
) -> tuple[bool, ...] | None:
    """For each player, whether S and S∪i have the same pixels for every measured coalition S without i.

    Returns:
        None where the design is a sample, for then coalitions that were not run might differ.

    Raises:
        GameError: coalitions are missing (named).
    """
    design = design or Exact(len(players))
    if not design.complete:
        return None
    require_measured(pixel_hashes, design.masks, players)
    images = {mask: tuple(pixel_hashes[mask]) for mask in design.masks}
    return tuple(
        all(
            images[mask] == images[mask | 1 << bit]
            for mask in images
            if not mask >> bit & 1 and mask | 1 << bit in images
        )
        for bit in range(len(players))
    )


def _sides(
    columns: slice,
    kernel: Kernel,
    tables: Sequence[Floats],
    reference: Floats,
    control: Floats | None,
    clips: Clips | None,
) -> Sides:
    """What one value function sees."""
    return Sides(
        Coalitions.of([np.ascontiguousarray(table[:, columns]) for table in tables], clips),
        reference[:, columns],
        None if control is None else control[:, columns],
        kernel,
    )


def _clips(seeds: Mapping[int, Sequence[int | None]] | None, masks: Sequence[int]) -> Clips:
    """The clip of each image, (k,): the place of its seed. Raises GameError where coalitions have other seeds."""
    rows = {tuple((seeds or {}).get(mask, ())) for mask in masks}
    row = rows.pop()
    if rows or not row or None in row:
        raise GameError("Frames of clips need their seeds, the same, with as many frames each, in every coalition.")
    return np.array([row.index(seed) for seed in row], dtype=np.intp)


def _leave_one_out(design: Design, values: Floats) -> Floats:
    """v(N) − v(N∖i), (n,)."""
    full = design.masks[-1]
    return np.array([values[-1] - values[_place(design, full ^ 1 << i)] for i in range(design.n)])


def _single_increments(design: Design, values: Floats) -> Floats:
    """v({i}) − v(∅), (n,)."""
    return np.array([values[_place(design, 1 << i)] - values[0] for i in range(design.n)])


def _place(design: Design, mask: int) -> int:
    return mask if isinstance(design, Exact) else design.masks.index(mask)


def _defined(measured: Distances, name: DistanceName) -> Floats:
    """The part of the distance that v(S) is made of, (2**n,).

    Raises:
        GameError: a coalition has one image, so that a kernel distance is not defined.
    """
    if np.isnan(measured.part).any():
        raise GameError(f"The distance {name} needs at least two images a combination; run more seeds, or use fid.")
    return measured.part
