"""What limits a report: how often such verdicts were right, and what the audit did not measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..features.views import STYLE
from .rates import WHEN_TO_BELIEVE, Rate, rates_for
from .schema import ReportData
from .text import kind_words
from .verdict import control_of

READINGS = ("no_control", "fixed_references", "general_control")
"""What the verdict's readings say of its limits."""

NAMED = 3
"""Most components named in a sentence."""


class Limits(NamedTuple):
    """The box *Limits and error rates*.

    Attributes:
        rates: of planted games; empty: such verdicts were not measured.
        believe: when to believe a verdict, by these games.
        basis: what the verdict rests on, a sentence each.
        unmeasured: what was not measured.
    """

    rates: list[Rate]
    believe: tuple[str, ...]
    basis: list[str]
    unmeasured: list[str]


def limits_of(report: ReportData) -> Limits:
    """The limits of a report."""
    record = report.verdict
    found = []
    if report.locked:
        names = _some([f"{kind_words(item.kind)} “{item.name}”" for item in report.locked])
        found.append(f"What these contribute, which are present in every combination: {names}.")
    if report.unmeasured:
        found.append(
            f"Other parts of the workflow that may matter: {_some([item.name for item in report.unmeasured])}."
        )
    if STYLE not in [item.function for item in record.value_functions]:
        found.append("Style apart from what is shown: these features have no part that sees style alone.")
    if report.workflow is None and not report.private:
        found.append("Whether the images come from these models: they were scored as they were given.")
    found.append(_scope(report))
    found.append(
        "Whether a model was trained on these works, and whether anyone copied: a resemblance has other causes too."
    )
    basis = [item.sentence for item in record.reading if item.code in READINGS]
    rates = rates_for(control_of(record), report.distance, report.preprocessing)
    return Limits(rates, WHEN_TO_BELIEVE if rates else (), basis, found)


def _scope(report: ReportData) -> str:
    seeds = report.verdict.seeds or len(report.seeds)
    run = f"{seeds} seed{'' if seeds == 1 else 's'}" if seeds else "these images"
    few = report.verdict.references
    works = "one reference image" if few == 1 else f"{few} reference images"
    return f"Other prompts, strengths, sizes and works: all numbers are of this workflow, {run} and {works}."


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    shown = ", ".join(names[:NAMED])
    return f"{shown} and {more} more" if more > 0 else shown
