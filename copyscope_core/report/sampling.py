"""How the coalitions of a sampled game were chosen, for the report."""

from __future__ import annotations

from ..evaluation.cautions import Caution
from ..evaluation.evaluate import Evaluation
from ..evaluation.sampling import _decide, _width
from ..game.choose import exact_count
from ..game.permutations import Permutations
from ..game.regression import Regression
from ..settings import AuditSettings
from .schema import SamplingRecord

FEW_ORDERS = 5
"""With fewer pairs of orders the 95% intervals were found to hold the exact value less often (``docs/sampling.md``)."""


def sampling_record(evaluation: Evaluation, settings: AuditSettings) -> SamplingRecord | None:
    """How the coalitions were chosen, for the report; None where all that are needed were measured."""
    design = evaluation.design
    if design.complete or not isinstance(design, Regression | Permutations):
        return None
    stop = "verdict" if settings.until_sure else _decide(evaluation, settings)
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
        "verdict": "the audit ran until it was sure",
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
