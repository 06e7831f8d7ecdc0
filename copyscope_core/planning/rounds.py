"""What an audit runs next: more coalitions of a sample, more seeds of an audit until it is sure, or no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..evaluation.evaluate import Evaluation
from ..evaluation.race import with_effect
from ..evaluation.sampling import next_design
from ..store.entry import Entry
from .plan import Plan
from .steps import Step


def next_plan(plan: Plan, evaluation: Evaluation) -> tuple[Plan, bool]:
    """The plan after it was measured, and whether it has more to run."""
    if plan.race is not None:
        if plan.race.stopped is not None:
            return plan, False
        race = plan.race.after(evaluation)
        return plan.at(race), race.stopped is None
    design = next_design(evaluation, plan.settings)
    return (plan, False) if design is None else (replace(plan, design=design), True)


def stopped(plan: Plan) -> Plan:
    """The plan of a race that its user stopped: that of the last look."""
    return plan if plan.race is None else plan.at(plan.race.stop())


def put_back(plan: Plan, entries: Mapping[Step, Entry]) -> Plan | None:
    """The plan with those players that were set aside and changed pixels in their trial; None: there are none.

    Args:
        entries: of all steps, the trials' own among them.
    """
    race = plan.race
    if race is None or not (trials := plan.trials()):
        return None
    same = [_pixels(entries[step]) == _pixels(entries[plan.maker(step)]) for step in trials]
    moved = with_effect(race.trials(), same)
    return plan.at(race.without(moved)) if moved else None


def _pixels(entry: Entry) -> list[str]:
    return [image.pixel_sha256 for image in entry.images]
