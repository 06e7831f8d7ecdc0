"""The numbers of an evaluation as records of the report."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.evaluate import Evaluation
from ..features.views import CONTENT, STYLE
from ..game.coalitions import members
from ..game.statistics import DRAWS, RESAMPLING_SEED
from .schema import (
    CoalitionResult,
    Difference,
    GroupResult,
    ImageRecord,
    Interaction,
    Interval,
    PlayerInfo,
    PlayerResult,
    UncertaintyRecord,
)

METHOD = (
    "jackknife: each seed (its whole batch, in every combination at once), and each reference image where there are "
    "at least 8, is left out in turn, what both do together is counted once; Student's t with Satterthwaite's degrees "
    "of freedom"
)


def player_results(
    evaluation: Evaluation, known: Sequence[PlayerInfo], group_names: Sequence[str] = ()
) -> list[PlayerResult]:
    """A record for each player, in the order of the evaluation.

    Args:
        known: where each comes from.
        group_names: of the design's groups, in their order.
    """
    group = {i: name for name, members in zip(group_names, evaluation.design.groups, strict=False) for i in members}
    names = [other.name for other in known]
    return [_player_result(evaluation, i, info, names, group.get(i)) for i, info in enumerate(known)]


def coalition_results(
    evaluation: Evaluation, folders: Mapping[int, str], images: Mapping[int, Sequence[ImageRecord]]
) -> list[CoalitionResult]:
    """A record for each measured coalition, by bitmask."""
    found, control = evaluation.uncertainty, evaluation.control
    return [
        CoalitionResult(
            members=list(members(mask, evaluation.players)),
            mask=mask,
            fid=float(evaluation.distance[i]),
            fid_interval=None if found is None else _ends(found.fid[i]),
            fid_mean=float(evaluation.mean[i]),
            fid_covariance=float(evaluation.covariance[i]),
            kid=evaluation.kid[i],
            distance=_finite(evaluation.chosen[i]),
            control_distance=None if control is None else _finite(control.distance[i]),
            value=float(evaluation.values[i]),
            images=evaluation.counts[i],
            folder=folders.get(mask),
            image_files=list(images.get(mask, ())),
        )
        for mask, i in sorted(zip(evaluation.masks, range(len(evaluation.masks)), strict=True))
    ]


def differences(evaluation: Evaluation, names: Sequence[str]) -> list[Difference]:
    """A record for each pair of players, by what the verdict is based on."""
    content = evaluation.functions[0]
    worth = evaluation.shapley if content.contrast is None else content.contrast
    return [
        Difference(
            first=names[i],
            second=names[j],
            difference=float(worth[i] - worth[j]),
            interval=None if content.difference is None else _ends(content.difference[i, j]),
        )
        for i, j in itertools.combinations(range(len(names)), 2)
    ]


def interactions(evaluation: Evaluation, names: Sequence[str]) -> list[Interaction]:
    """A record for each set of one to three players; none where there are too many players."""
    found = evaluation.uncertainty
    pair_ends = None if found is None else found.pairs
    return [
        Interaction(
            members=[names[i] for i in group],
            sii=evaluation.interaction(group),
            sii_interval=None if pair_ends is None or len(group) > 2 else _ends(pair_ends[group[0], group[-1]]),
            n_sii=value,
        )
        for group, value in evaluation.n_shapley.items()
    ]


def group_results(evaluation: Evaluation, group_names: Sequence[str], names: Sequence[str]) -> list[GroupResult]:
    """A record for each group of players; none where no players are grouped.

    Args:
        group_names: of the design's groups, in their order.
        names: of the players.
    """
    found, phi = evaluation.uncertainty, evaluation.group_shapley
    if phi is None or not group_names:
        return []
    return [
        GroupResult(
            name=name,
            members=[names[i] for i in group],
            shapley=float(phi[g]),
            shapley_interval=(None if found is None or found.group_shapley is None else _ends(found.group_shapley[g])),
            share=_item(evaluation.group_share, g),
            share_interval=None if found is None or found.group_share is None else _ends(found.group_share[g]),
        )
        for g, (name, group) in enumerate(zip(group_names, evaluation.design.groups, strict=True))
    ]


def uncertainty_record(evaluation: Evaluation) -> UncertaintyRecord | None:
    """How the intervals were made, or None."""
    found = evaluation.uncertainty
    if found is None:
        return None
    return UncertaintyRecord(
        level=evaluation.level,
        method=METHOD,
        seeds=found.seeds,
        seed_groups=found.groups,
        reference_groups=found.reference_groups,
        resampling_seed=RESAMPLING_SEED,
        draws=DRAWS,
    )


def _player_result(
    evaluation: Evaluation, i: int, info: PlayerInfo, names: Sequence[str], group: str | None
) -> PlayerResult:
    found = evaluation.uncertainty
    functions = {item.name: item for item in evaluation.functions}
    content, style = functions[CONTENT], functions.get(STYLE)
    return PlayerResult(
        **info.model_dump(),
        group=group,
        shapley=float(evaluation.shapley[i]),
        shapley_interval=None if found is None else _ends(found.shapley[i]),
        share=_item(evaluation.share, i),
        share_interval=None if found is None or found.share is None else _ends(found.share[i]),
        indistinguishable_from=None
        if content.difference is None
        else _indistinguishable(content.difference[i], i, names),
        probability_largest=_item(content.probability_largest, i),
        leave_one_out=float(evaluation.leave_one_out[i]),
        single=float(evaluation.single[i]),
        ablation=_item(evaluation.ablation, i),
        shapley_mean=_item(evaluation.shapley_mean, i),
        shapley_covariance=_item(evaluation.shapley_covariance, i),
        kid_shapley=_item(evaluation.kid_shapley, i),
        kid_shapley_interval=None if found is None or found.kid_shapley is None else _ends(found.kid_shapley[i]),
        contrast=_item(content.contrast, i),
        contrast_interval=_interval(content.contrast_interval, i),
        style_shapley=None if style is None else _item(style.shapley, i),
        style_shapley_interval=None if style is None else _interval(style.shapley_interval, i),
        style_contrast=None if style is None else _item(style.contrast, i),
        style_contrast_interval=None if style is None else _interval(style.contrast_interval, i),
        sampling_interval=None if evaluation.sampling is None else _ends(evaluation.sampling[i]),
        no_effect=None if evaluation.no_effect is None else evaluation.no_effect[i],
    )


def _indistinguishable(ends: NDArray[np.float64], own: int, names: Sequence[str]) -> list[str]:
    """Names of the players whose difference, (n, 2), may be 0."""
    return [name for j, name in enumerate(names) if j != own and ends[j, 0] <= 0 <= ends[j, 1]]


def _item(values: NDArray[np.float64] | None, i: int) -> float | None:
    return None if values is None else float(values[i])


def _interval(ends: NDArray[np.float64] | None, i: int) -> Interval | None:
    return None if ends is None else _ends(ends[i])


def _finite(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _ends(pair: NDArray[np.float64]) -> Interval:
    return [float(pair[0]), float(pair[1])]
