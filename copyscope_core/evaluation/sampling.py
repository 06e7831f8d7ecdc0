"""Sampled mode: what to run next, and when to stop.

A sample of coalitions grows by about a fifth at a time, where that narrows the widest interval most, until the budget
is used up, every share's interval is narrow enough, or the seeds, not the choice of coalitions, make up nearly all of
the interval. The smallest sample is never narrow enough: so few pairs look calm by chance too often, and stopping where
they do is choosing by that chance (``studies/stopping.py``: intervals of eight players held the truth in 87%).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..game.choose import smallest_sample
from ..game.design import Design
from ..settings import AuditSettings
from .evaluate import Evaluation

GROWTH = 5
"""Each round adds a fifth of what there is, so that rounds are few and choices well informed."""

NEGLIGIBLE = 0.1
"""The sample is large enough where its own interval is narrower than this part of the whole: 1% of the variance."""


Stop = Literal["budget", "target", "chance"]


def next_design(evaluation: Evaluation, settings: AuditSettings) -> Design | None:
    """The design to go on with; None where no more coalitions are to be run."""
    found = _decide(evaluation, settings)
    return None if isinstance(found, str) else found


def growth(design: Design, budget: int) -> int:
    """How many coalitions more the next round may run: a fifth, but enough for a pair of orders, within the budget."""
    have = len(design.masks)
    return max(min(budget - have, max(2 * design.n, have // GROWTH)), 0)


def _decide(evaluation: Evaluation, settings: AuditSettings) -> Design | Stop:
    """The larger design, or why there is none."""
    design, ends = evaluation.design, evaluation.sampling
    if ends is None:
        return "target"  # all that the value needs was measured
    width = _width(evaluation)
    smallest = len(design.masks) <= len(smallest_sample(design.n, design.groups, settings.estimator).masks)
    narrow = settings.target_width is not None and width is not None and width <= settings.target_width
    if narrow and not smallest:
        return "target"
    found, player = evaluation.uncertainty, int((ends[:, 1] - ends[:, 0]).argmax())
    if found is not None and _span(ends[player]) < NEGLIGIBLE * _span(found.shapley[player]):
        return "chance"
    larger = design.grow(evaluation.values, player, growth(design, settings.budget or 0))
    if larger != design:
        return larger
    return "target" if narrow else "budget"


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
