"""One verdict from what the value functions say: a name, or what keeps it from being named.

A name is named only where content and style put the same unit first and style is sure of it (``standing``). Content
alone may be sure and wrong where works show the same subject (docs/style.md). Where the two put different units first,
it is not decided: a component that brings the artist's subjects and one that brings the artist's hand are both near to
the reference, in different ways. Features without style have content alone to go by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .standing import Needed, Standing

Basis = Literal["contrast", "shapley"]
"""What players are ranked by: the contrast with control images, or φ where there are none."""

Agreement = Literal["agree", "disagree"]

Reason = Literal["one_seed", "no_interval", "no_change", "not_nearer", "may_be_chance", "tied", "disagree"]
"""Why it is not decided.

``one_seed``, ``no_interval``: chance is unknown. ``no_change``: no component changes anything. ``not_nearer``: the
first does not bring the images nearer. ``may_be_chance``: it cannot be told from 0. ``tied``: it cannot be told from
another. ``disagree``: content and style put different ones first.
"""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Said:
    """What one value function says.

    Attributes:
        name: ``content``, ``style``, …
        standing: on the basis in use.
    """

    name: str
    standing: Standing


@dataclass(frozen=True)
class Verdict:
    """The answer of an audit.

    Attributes:
        decided: whether one unit is named.
        first: place of the unit that comes first, by the last value function; None: nothing changes.
        basis: what units are ranked by.
        said: what each value function says.
        agreement: whether they put the same unit first; None: there is only one.
        reasons: why it is not decided; empty where it is.
        tied: units that the first cannot be told from.
        needed: what would decide it, or None.
    """

    decided: bool
    first: int | None
    basis: Basis
    said: tuple[Said, ...]
    agreement: Agreement | None
    reasons: tuple[Reason, ...]
    tied: tuple[int, ...]
    needed: Needed | None


def decide(said: Sequence[Said], basis: Basis, *, one_seed: bool, changes: bool) -> Verdict:
    """The verdict.

    Args:
        said: at least one value function; the last one must be sure of what is named.
        one_seed: there is one seed, and so no interval.
        changes: whether any component changes anything.
    """
    agreement: Agreement | None = None
    if len(said) > 1:
        agreement = "agree" if len({item.standing.first for item in said}) == 1 else "disagree"
    lead = said[-1].standing
    reasons = _reasons(said, lead, agreement, one_seed=one_seed, changes=changes)
    decided = not reasons
    only_chance = set(reasons) <= {"may_be_chance", "tied"}
    return Verdict(
        decided,
        lead.first if changes else None,
        basis,
        tuple(said),
        agreement,
        reasons,
        () if decided else lead.tied,
        lead.needed if only_chance and not decided else None,
    )


def _reasons(
    said: Sequence[Said], lead: Standing, agreement: Agreement | None, *, one_seed: bool, changes: bool
) -> tuple[Reason, ...]:
    if not changes:
        return ("no_change",)
    found: list[Reason] = []
    if lead.above_zero is None:
        found.append("one_seed" if one_seed else "no_interval")
    if agreement == "disagree":
        found.append("disagree")
    elif any(item.standing.estimate <= 0 for item in said):
        found.append("not_nearer")
    elif lead.above_zero is not None and not lead.sure:
        found += ["may_be_chance"] if lead.above_zero > lead.alpha else []
        found += ["tied"] if lead.tied else []
    return tuple(found)
