"""Numbers computed again for every design: all coalitions, samples of them, and groups of players."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from copyscope_core.errors import GameError
from copyscope_core.evaluation.evaluate import evaluate
from copyscope_core.evidence.verify_numbers import _texts, compare_numbers, design_of, evaluate_again, stored_features
from copyscope_core.game.design import Design, Exact
from copyscope_core.game.owen import Owen
from copyscope_core.game.permutations import Permutations
from copyscope_core.game.regression import Regression
from copyscope_core.report.build import build_report
from copyscope_core.report.report import Report
from copyscope_core.report.sampling import sampling_record
from copyscope_core.settings import AuditSettings

NAMES = tuple("abcdef")
GROUPS = ((0, 1, 2), (3,), (4, 5))


def made(design: Design, groups: Sequence[str] = ()) -> tuple[Report, dict[str, Any]]:
    """A report on made-up features, and the features by the hash that stands for their pixels."""
    rng = np.random.default_rng(1)
    noise, works = rng.normal(size=(5, 8)), rng.normal(size=(9, 8)).astype(np.float32)
    features = {
        mask: (noise + 0.3 * rng.normal(size=noise.shape) + 3 - 0.4 * mask.bit_count()).astype(np.float32)
        for mask in design.masks
    }
    key = "{:064x}".format
    store = {key(1000 * mask + row + 1): table[row] for mask, table in features.items() for row in range(5)}
    store |= {key(10**9 + row): works[row] for row in range(9)}
    nearest = {
        mask: [np.linalg.norm(works.astype(np.float64) - row, axis=1) for row in table.astype(np.float64)]
        for mask, table in features.items()
    }
    evaluation = evaluate(
        NAMES, features, works, {mask: [key(1000 * mask + row + 1) for row in range(5)] for mask in features},
        seeds={mask: list(range(5)) for mask in features}, design=design,
    )  # fmt: skip
    report = build_report(
        evaluation,
        groups=groups,
        sampling=sampling_record(evaluation, AuditSettings(budget=len(design.masks))),
        images={
            mask: [
                {"file": str(row), "pixel_sha256": key(1000 * mask + row + 1), "seed": row,
                 "nearest": int(nearest[mask][row].argmin()), "nearest_distance": float(nearest[mask][row].min())}
                for row in range(5)
            ]
            for mask in design.masks
        },
        reference={"count": 9, "images": [{"file": str(row), "matched_sha256": key(10**9 + row)} for row in range(9)]},
    )  # fmt: skip
    return report, store


@pytest.mark.parametrize(
    ("design", "groups", "drawn"),
    [
        (Exact(6), (), None),
        (Owen(6, GROUPS), ("one", "two", "three"), None),
        (Regression.smallest(6), (), list(Regression.smallest(6).drawn)),
        (Permutations.smallest(6), (), [2]),
        (Permutations.smallest(6, GROUPS), ("one", "two", "three"), [2]),
    ],
    ids=["exact", "owen", "regression", "permutation", "grouped permutation"],
)
def test_every_design_is_computed_again(design: Design, groups: Sequence[str], drawn: list[int] | None) -> None:
    report, store = made(design, groups)
    assert (report.sampling.drawn if report.sampling else None) == drawn
    features = stored_features(report, store.get)
    evaluation = evaluate_again(report, features)
    assert evaluation.masks == design.masks
    count, findings = compare_numbers(report, features, evaluation)
    assert findings == []
    assert count > 10 * len(design.masks)
    players = [*report.players]
    players[2] = players[2].model_copy(update={"shapley": players[2].shapley + 0.01})
    _, findings = compare_numbers(report.model_copy(update={"players": players}), features, evaluation)
    assert [finding.what for finding in findings] == ["report.json: players.c.shapley"]


def test_a_design_that_does_not_fit_its_coalitions_is_refused() -> None:
    report, _ = made(Regression.smallest(6))
    assert report.sampling is not None
    for drawn in ([6, 2], [6, 2, 3], [10**6] * 3):
        sampling = report.sampling.model_copy(update={"drawn": drawn})
        with pytest.raises(GameError, match="do not fit"):
            design_of(report.model_copy(update={"sampling": sampling}))
    with pytest.raises(GameError, match="do not fit"):
        design_of(report.model_copy(update={"sampling": None}))


def test_long_texts_are_shown_from_where_they_differ() -> None:
    assert _texts(1.5, None) == ("1.500000", "null")
    one, other = _texts("same " * 30 + "old end", "same " * 30 + "new end")
    assert one.endswith("same old end")
    assert other.endswith("same new end")
    assert one.startswith("…")
    assert _texts("a" * 100, "b")[1] == "b"
