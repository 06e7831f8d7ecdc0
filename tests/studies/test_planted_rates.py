"""The rates that every report quotes are those of the planted games' figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from copyscope_core.report.rates import CARRIED, HELD_OUT, LEARNED, NOBODY, RATES, WHEN_TO_BELIEVE, Rate, rate_sentence

pytest.importorskip("matplotlib")
from studies.planted.report import rates
from studies.trained.report import figures_of, known_rates, passes, right, values

STUDIES = Path(__file__).resolve().parents[2] / "studies"


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: f"{rate.control}, {rate.works}")
def test_quoted_rates_are_measured(rate: Rate) -> None:
    if rate.works in (LEARNED, NOBODY):
        known = known_rates([*figures_of(0), *figures_of(1)], rate.works == LEARNED, rate.control)
    else:
        games = json.loads((STUDIES / "planted" / "planted.json").read_text(encoding="utf-8"))["games"]
        known = rates(games, {CARRIED: "carried", HELD_OUT: "held out"}[rate.works], rate.control)
    assert (rate.games, rate.decided, rate.right) == known
    assert rate.games > 0


def test_reports_quote_what_the_page_says_of_when_to_believe_it() -> None:
    page = " ".join((STUDIES.parent / "docs" / "trust.md").read_text(encoding="utf-8").split())
    assert all(sentence in page for sentence in WHEN_TO_BELIEVE)
    games = [*figures_of(0), *figures_of(1)]
    wrong = {basis: known_rates(games, False, basis) for basis in ("none", "control", "bank")}
    assert {basis: found[:2] for basis, found in wrong.items()} == {
        "none": (131, 45), "control": (131, 5), "bank": (131, 8)
    }  # fmt: skip
    decided = known_rates(games, True, "control")
    assert (decided[0], decided[0] - decided[1]) == (166, 156)
    main = [game for game in games if game["kind"] == "main" and not game["tunes"] and passes(game)]
    first = [game for game in main if right(game, int(np.argmax(values(game, "style"))))]
    assert round(100 * len(first) / len(main)) == 74
    assert round(100 * np.mean([len(game["culprits"]) / len(game["players"]) for game in main])) == 43


def test_of_hundred_decided_with_its_interval() -> None:
    known = Rate("bank", CARRIED, 94, 32, 29).of_hundred
    assert known == pytest.approx((90.6, 75.8, 96.8), abs=0.05)  # Wilson
    assert Rate("bank", CARRIED, 41, 0, 0).of_hundred is None
    said = rate_sentence([Rate("bank", CARRIED, 94, 32, 29), Rate("bank", HELD_OUT, 41, 0, 0)])
    assert "right in 29 of 32 decided (of 94) where the reference is works that it was made from" in said
    assert said.endswith("none of 41 decided where it is other works of the artist.")
    said = rate_sentence([Rate("bank", CARRIED, 94, 32, 29), Rate("bank", NOBODY, 100, 6, 0)])
    assert said.endswith("; it named a component in 6 of 100 games in which none had learned from the artist.")
