"""Sampled mode: what to run next, and when to stop.

A sample of coalitions grows by about a fifth at a time, where that narrows the widest interval most, until the budget
is used up, every share's interval is narrow enough, or the seeds, not the choice of coalitions, make up nearly all of
the interval.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from .cautions import Caution
from .design import Design, exact_count
from .evaluate import Evaluation
from .permutations import Permutations
from .regression import Regression
from .report_schema import SamplingRecord
from .settings import AuditSettings

GROWTH = 5
"""Each round adds a fifth of what there is, so that rounds are few and choices well informed."""

NEGLIGIBLE = 0.1
"""The sample is large enough where its own interval is narrower than this part of the whole: 1% of the variance."""

FEW_ORDERS = 5
"""With fewer pairs of orders the 95% intervals were found to hold the exact value less often (``docs/sampling.md``)."""

Stop = Literal["budget", "target", "chance"]


def next_design(evaluation: Evaluation, settings: AuditSettings) -> Design | None:
    """The design to go on with; None where no more coalitions are to be run."""
    found = _decide(evaluation, settings)
    return None if isinstance(found, str) else found


def growth(design: Design, budget: int) -> int:
    """How many coalitions more the next round may run: a fifth, but enough for a pair of orders, within the budget."""
    have = len(design.masks)
    return max(min(budget - have, max(2 * design.n, have // GROWTH)), 0)


def sampling_record(evaluation: Evaluation, settings: AuditSettings) -> SamplingRecord | None:
    """How the coalitions were chosen, for the report; None where all that are needed were measured."""
    design = evaluation.design
    if design.complete or not isinstance(design, Regression | Permutations):
        return None
    stop = _decide(evaluation, settings)
    return SamplingRecord(
        estimator="regression" if isinstance(design, Regression) else "permutation",
        coalitions=len(design.masks),
        of=exact_count(design.n, design.groups),
        budget=settings.budget or len(design.masks),
        target_width=settings.target_width,
        width=_width(evaluation),
        stopped=stop if isinstance(stop, str) else "budget",
        drawn=list(design.drawn) if isinstance(design, Regression) else [design.drawn],
    )


def sampling_cautions(record: SamplingRecord | None) -> list[Caution]:
    """What a reader of a sampled audit must know."""
    if record is None:
        return []
    why = {
        "budget": "the budget was used up",
        "target": "every share's interval is as narrow as was asked for",
        "chance": "more of them would hardly narrow the intervals, which come from the seeds; more seeds would",
    }[record.stopped]
    found = [
        Caution(
            "sampled",
            f"Of {record.of:,} combinations {record.coalitions:,} were run, and contributions are estimated from "
            f"them; the intervals allow for it. No more were run because {why}. Interactions, the ablation, and "
            "whether a component has no effect at all need every combination, so this report does not have them.",
        )
    ]
    if record.estimator == "permutation" and record.drawn[0] < FEW_ORDERS:
        found.append(
            Caution(
                "few_orders",
                f"Only {record.drawn[0]} orders of the components and their reverses were run, too few to tell how far "
                "off they are: the intervals may be too narrow. Raise the budget, or use the regression where no "
                "components are grouped.",
            )
        )
    return found


def _decide(evaluation: Evaluation, settings: AuditSettings) -> Design | Stop:
    """The larger design, or why there is none."""
    design, ends = evaluation.design, evaluation.sampling
    if ends is None:
        return "target"  # all that the value needs was measured
    width = _width(evaluation)
    if settings.target_width is not None and width is not None and width <= settings.target_width:
        return "target"
    found, player = evaluation.uncertainty, int((ends[:, 1] - ends[:, 0]).argmax())
    if found is not None and _span(ends[player]) < NEGLIGIBLE * _span(found.shapley[player]):
        return "chance"
    larger = design.grow(evaluation.values, player, growth(design, settings.budget or 0))
    return "budget" if larger == design else larger


def _width(evaluation: Evaluation) -> float | None:
    """Width of the widest interval of a share, of everything that is known of chance."""
    found = evaluation.uncertainty
    if found is not None:
        return None if found.share is None else float((found.share[:, 1] - found.share[:, 0]).max())
    total = float(np.abs(evaluation.shapley).sum())
    if evaluation.sampling is None or total == 0:
        return None
    return float(max(_span(ends) for ends in evaluation.sampling)) / total


def _span(ends: np.ndarray) -> float:
    return float(ends[1] - ends[0])
