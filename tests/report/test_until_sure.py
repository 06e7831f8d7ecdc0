"""How an audit ended that ran until it was sure, in words."""

from __future__ import annotations

from typing import Any

import pytest

from copyscope_core.report.schema import UntilSureRecord
from copyscope_core.report.until_sure import until_sure_readings

LOOK = {
    "seeds": 3, "coalitions": 4, "runs": 12, "level": 0.99, "first": "a", "second": "b", "estimate": 1.0,
    "interval": None, "decided": False,
}  # fmt: skip
RECORD = {
    "error": 0.05, "looks": [LOOK, {**LOOK, "seeds": 4, "runs": 16}], "stopped": "decided", "runs": 16, "budget": 64,
    "seeds": 16, "chance": 0.999, "narrower": 0.5, "set_aside": [], "spared": 0, "tried": 0, "put_back": [],
}  # fmt: skip


def said(**changed: Any) -> list[str]:
    return [item.sentence for item in until_sure_readings(UntilSureRecord.model_validate({**RECORD, **changed}))]


def test_a_plain_audit_says_nothing() -> None:
    assert until_sure_readings(None) == []


@pytest.mark.parametrize(
    ("stopped", "why"),
    [
        ("decided", "because the verdict was decided"),
        ("cannot_decide", "because it could hardly be decided within its budget"),
        ("user", "because its user stopped it"),
    ],
)
def test_it_says_why_it_stopped_and_what_the_rest_would_have_brought(stopped: str, why: str) -> None:
    first, rest = said(stopped=stopped, chance=0.4)
    assert "at 4 of at most 16 seeds, after 16 of at most 64 runs" in first and why in first
    assert "were 2, such an audit names a wrong component in at most 5 of 100 cases" in first
    decided = "" if stopped == "decided" else "decided it in about 40 of 100 cases and "
    assert rest == f"The other 48 runs would have {decided}narrowed the interval of the first by about 50%."


def test_rare_and_certain_decisions_are_said_as_such() -> None:
    assert "in less than 1 of 100 cases" in said(stopped="cannot_decide", chance=0.001)[1]
    assert "almost surely" in said(stopped="user", chance=1.0)[1]
    assert said(stopped="decided", narrower=0.0)[1] == "The other 48 runs would have brought little."


def test_a_used_up_budget_leaves_nothing() -> None:
    (only,) = said(stopped="budget", chance=None, narrower=None, looks=[LOOK])
    assert "because its budget was used up" in only and "was 1, such" in only


def test_players_that_were_set_aside_or_put_back_are_named() -> None:
    aside = said(set_aside=["x"], spared=8, tried=1)[-1]
    assert "“x” changes no pixel in any combination at the first 3 seeds, so 8 runs were not made" in aside
    assert aside.endswith("the images without it stand in; 1 more was made at the end to try this.")
    back = said(put_back=["x", "y"])[-1]
    assert back.startswith("“x” and “y” had been set aside like this, and changed pixels at a later seed")
