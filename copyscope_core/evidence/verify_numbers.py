"""Every number of a report computed again from stored features, and compared with what the report says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import GameError
from ..evaluation.evaluate import Evaluation, evaluate
from ..evaluation.looks import levels_of
from ..evaluation.measure import nearest_references
from ..features.views import CONTENT
from ..game.choose import exact_count
from ..game.design import Design
from ..game.owen import Owen
from ..game.permutations import Permutations
from ..game.regression import Regression
from ..game.statistics import LEVEL
from ..report.report import Report
from ..report.results import (
    coalition_results,
    differences,
    group_results,
    interactions,
    player_results,
    uncertainty_record,
)
from ..report.sampling import sampling_record
from ..report.schema import PlayerInfo, UntilSureRecord
from ..report.text import number
from ..report.verdict import verdict_record
from ..settings import AuditSettings
from .findings import Finding

RELATIVE = 1e-6
ABSOLUTE = 1e-9
"""Of the largest distance: other processors may round differently."""

MOST_LOOKS = 1_000
"""No audit takes more: a report that says so was changed."""

LONGEST = 60
"""Characters of a value that are shown."""

Row = Callable[[str], NDArray[np.float32] | None]
"""Gives the stored features (d,) of a pixel hash, or None."""


class Features(NamedTuple):
    """Stored features as the report needs them."""

    coalitions: dict[int, NDArray[np.float32]]
    reference: NDArray[np.float32]
    control: NDArray[np.float32] | None


def stored_features(report: Report, row: Row) -> Features:
    """The features of every image of the report.

    Raises:
        GameError: some are not stored, or the report does not say where.
    """
    control = None if report.control is None else _table([image.matched_sha256 for image in report.control.images], row)
    return Features(
        {item.mask: _table([image.pixel_sha256 for image in item.image_files], row) for item in report.coalitions},
        _table([image.matched_sha256 for image in report.reference.images], row),
        control,
    )


def evaluate_again(report: Report, features: Features) -> Evaluation:
    """What the report was made from.

    Raises:
        GameError: the features do not fit, or coalitions are missing.
    """
    return evaluate(
        [player.name for player in report.players],
        features.coalitions,
        features.reference,
        {item.mask: [str(image.pixel_sha256) for image in item.image_files] for item in report.coalitions},
        seeds={item.mask: [image.seed for image in item.image_files] for item in report.coalitions},
        control=features.control,
        distance=report.distance,
        design=design_of(report),
        views=_views(report, features),
        preprocessing=report.preprocessing,
        clips=report.clips is not None,
        level=_level(report),
    )


def _level(report: Report) -> float:
    """Of the report's intervals."""
    sure = report.verdict.until_sure
    level = LEVEL if sure is None or not sure.looks else sure.looks[-1].level
    if not 0 < level < 1:
        raise GameError(f"the last look has the level {level}, which is no level")
    return level


def design_of(report: Report) -> Design | None:
    """Which coalitions the report is made of; None: all 2ⁿ.

    Raises:
        GameError: the report has not as many coalitions as its design asks for.
    """
    n, measured, record = len(report.players), len(report.coalitions), report.sampling
    place = {player.name: index for index, player in enumerate(report.players)}
    try:
        groups = tuple(tuple(place[name] for name in group.members) for group in report.groups)
    except KeyError as error:
        raise GameError(f"a group has a member that is no player: {error}") from error
    if record is None:
        _expect(measured == exact_count(n, groups), measured)
        return Owen(n, groups) if groups else None
    if record.estimator == "regression":
        _expect(measured == 2 + 2 * sum(record.drawn), measured)
        return Regression(n, tuple(record.drawn))
    _expect(len(record.drawn) == 1 and 2 <= record.drawn[0] <= measured, measured)
    return replace(Permutations.smallest(n, groups), drawn=record.drawn[0])


def _expect(fits: bool, measured: int) -> None:
    if not fits:
        raise GameError(f"the report has {measured:,} coalitions, which do not fit how they were chosen")


def compare_numbers(report: Report, features: Features, evaluation: Evaluation) -> tuple[int, list[Finding]]:
    """How many values were compared, and those that differ, each by its place in ``report.json``."""
    known = [PlayerInfo.model_validate(player.model_dump()) for player in report.players]
    names = [player.name for player in known]
    groups = [group.name for group in report.groups]
    results = player_results(evaluation, known, groups)
    record = uncertainty_record(evaluation)
    general = report.control is not None and report.control.source == "bank"
    expected = {
        "verdict": verdict_record(
            evaluation, results, groups, general, report.preprocessing, _until_sure(report, evaluation, groups or names)
        ).model_dump(),
        "players": _by(results, "name"),
        "coalitions": _by(coalition_results(evaluation, {}, {}), "mask", {"folder", "image_files"}),
        "differences": [item.model_dump() for item in differences(evaluation, names)],
        "groups": [item.model_dump() for item in group_results(evaluation, groups, names)],
        "sampling": _sampling(report, evaluation),
        "interactions": [item.model_dump() for item in interactions(evaluation, names)],
        "uncertainty": None if record is None else record.model_dump(),
        "no_interval": evaluation.no_interval or None,
        "efficiency_gap": evaluation.efficiency_gap,
        "nearest": _nearest(report, features),
    }
    found = report.model_dump(include=set(expected)) | {
        "players": _by(report.players, "name"),
        "coalitions": _by(report.coalitions, "mask", {"folder", "image_files"}),
        "nearest": {
            item.mask: [[image.nearest, image.nearest_distance] for image in item.image_files]
            for item in report.coalitions
        },
    }
    count = 0
    findings = []
    slack = ABSOLUTE * max(1.0, float(np.abs(evaluation.distance).max()))
    for path, wanted, have in _leaves(expected, found, ""):
        count += 1
        if not _equal(wanted, have, slack):
            have_text, wanted_text = _texts(have, wanted)
            message = f"is {have_text}, but {wanted_text} when computed again"
            findings.append(Finding(f"report.json: {path}", message))
    codes = {warning.code for warning in report.warnings}
    findings += [
        Finding("report.json: warnings", f"lacks the warning {caution.code}")
        for caution in evaluation.warnings
        if caution.code not in codes
    ]
    return count, findings


def _sampling(report: Report, evaluation: Evaluation) -> dict[str, Any] | None:
    """The record of the sample, for the budget and the target that it names."""
    said = report.sampling
    asked = AuditSettings()
    if said is not None:
        sure = said.stopped == "verdict"
        asked = AuditSettings(budget=said.budget, target_width=said.target_width, until_sure=sure)
    record = sampling_record(evaluation, asked)
    return None if record is None else record.model_dump()


def _until_sure(report: Report, evaluation: Evaluation, units: Sequence[str]) -> UntilSureRecord | None:
    """How the audit ended, with the levels that its looks have by their error, and the last look as it is now."""
    said = report.verdict.until_sure
    if said is None:
        return None
    runs = [look.seeds * look.coalitions for look in said.looks]
    rising = all(before < now for before, now in itertools.pairwise([0, *runs]))
    if not runs or not rising or runs[-1] > said.budget or not 0 < said.error < 1 or len(runs) > MOST_LOOKS:
        return said.model_copy(update={"looks": []})
    levels = levels_of(said.error, tuple(count / said.budget for count in runs))
    looks = [look.model_copy(update={"level": level}) for look, level in zip(said.looks, levels, strict=True)]
    place, first = evaluation.functions[-1].standing, evaluation.verdict.first
    now = {
        "seeds": len(report.seeds),
        "coalitions": len(evaluation.masks),
        "first": None if first is None else units[first],
        "estimate": None if place is None else place.estimate,
        "interval": None if place is None or place.interval is None else list(place.interval),
        "decided": evaluation.verdict.decided,
    }
    return said.model_copy(update={"looks": [*looks[:-1], looks[-1].model_copy(update=now)]})


def _table(keys: Sequence[str | None], row: Row) -> NDArray[np.float32]:
    rows = [None if key is None else row(key) for key in keys]
    missing = [str(key)[:16] for key, item in zip(keys, rows, strict=True) if item is None]
    if missing or not rows:
        raise GameError(
            f"the features of {len(missing)} of {len(rows)} images are not stored: {', '.join(missing[:3])}"
        )
    return np.stack([item for item in rows if item is not None])


def _views(report: Report, features: Features) -> Mapping[str, slice]:
    """Which columns of the features are what.

    Raises:
        GameError: the features have no such columns.
    """
    width = features.reference.shape[1]
    for name, (start, stop) in report.views.items():
        if not 0 <= start < stop <= width:
            raise GameError(f"the view {name} is not within the {width:,} numbers of the features")
    return {CONTENT: slice(0, width)} | {name: slice(*columns) for name, columns in report.views.items()}


def _nearest(report: Report, features: Features) -> dict[int, list[list[Any]]]:
    content = _views(report, features)[CONTENT]
    result = {}
    for item in report.coalitions:
        places, distances = nearest_references(
            features.coalitions[item.mask][:, content], features.reference[:, content]
        )
        result[item.mask] = [list(pair) for pair in zip(places.tolist(), distances.tolist(), strict=True)]
    return result


def _by(records: Sequence[Any], key: str, exclude: set[str] | None = None) -> dict[Any, dict[str, Any]]:
    return {getattr(record, key): record.model_dump(exclude=exclude) for record in records}


def _leaves(expected: Any, found: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Pairs of values at the same place; a part that one side lacks is one pair."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in [*expected, *(key for key in found if key not in expected)]:
            yield from _leaves(expected.get(key), found.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for place, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from _leaves(one, other, f"{path}[{place}]")
    else:
        yield path, expected, found


def _equal(wanted: Any, have: Any, slack: float) -> bool:
    if isinstance(wanted, float) and isinstance(have, float | int) and not isinstance(have, bool):
        return math.isclose(wanted, have, rel_tol=RELATIVE, abs_tol=slack)
    return type(wanted) is type(have) and wanted == have


def _texts(one: Any, other: Any) -> tuple[str, str]:
    """Two different values as text; long ones are cut to where they begin to differ."""
    texts = [number(v, 6) if isinstance(v, float) else "null" if v is None else str(v) for v in (one, other)]
    same = next((k for k, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
    start = max(0, same - LONGEST // 3) if max(map(len, texts)) > LONGEST else 0
    first, second = (
        ("…" if start else "") + text[start : start + LONGEST] + ("…" if len(text) > start + LONGEST else "")
        for text in texts
    )
    return first, second
