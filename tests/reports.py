"""Reports for tests, from an evaluation and whatever fields matter."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from copyscope_core.evaluation.evaluate import Evaluation
from copyscope_core.report.build import Components, Images, Provenance, build_report
from copyscope_core.report.report import Report


def report_of(evaluation: Evaluation, **given: Any) -> Report:
    """A report of an evaluation; ``given``: fields of `Components`, `Images`, `Provenance`, and build_report's own."""

    def take(kind: Any) -> Any:
        return kind(**{item.name: given.pop(item.name) for item in fields(kind) if item.name in given})

    return build_report(evaluation, take(Components), take(Images), take(Provenance), **given)
