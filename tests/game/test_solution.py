"""Shapley values of a user's own table of values."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copyscope_core.errors import GameError
from copyscope_core.game.solution import shapley, solve
from copyscope_core.game.table import Game

from .test_mona_lisa import BASE, FID

GLOVES = {(): 0, ("left",): 0, ("right",): 0, ("third",): 0, ("left", "right"): 1, ("left", "third"): 1,
          ("right", "third"): 0, ("left", "right", "third"): 1}  # fmt: skip
"""One left glove and two right ones; a pair is worth 1. By hand over the six orders: 4/6, 1/6, 1/6."""


def test_the_glove_game() -> None:
    result = shapley(["left", "right", "third"], GLOVES)
    assert result.players == ("left", "right", "third")
    assert result.values == pytest.approx({"left": 2 / 3, "right": 1 / 6, "third": 1 / 6})
    assert result.shares == pytest.approx({"left": 2 / 3, "right": 1 / 6, "third": 1 / 6})
    assert result.leave_one_out == {"left": 1.0, "right": 0.0, "third": 0.0}
    assert abs(result.efficiency_gap) < 1e-12
    # I(left, right) is half of the pair's 1 without the third, and half of 0 with it; the two right gloves compete.
    assert result.interactions == pytest.approx(
        {("left", "right"): 0.5, ("left", "third"): 0.5, ("right", "third"): -0.5}
    )


def test_the_papers_mona_lisa_table() -> None:
    """docs/mona-lisa.md: over SDv1-5 the phrase "mona_lisa" contributes nothing beside "da Leonardo da vinci"."""
    players = ["Davinci", "MonaLisa"]
    values = {alliance: BASE - fid for alliance, fid in FID.items() if set(alliance) <= set(players)}
    result = shapley(players, values)
    assert result.values == pytest.approx({"Davinci": 70.115, "MonaLisa": -1.115})
    assert result.shares == pytest.approx({"Davinci": 0.9843, "MonaLisa": -0.0157}, abs=5e-5)
    assert result.leave_one_out == pytest.approx({"Davinci": 95.06, "MonaLisa": 23.83})
    with pytest.raises(GameError, match=r"lacks 2 of 8 coalitions: \{Davinci, Leonardo\}, \{MonaLisa, Leonardo\};"):
        three = ["Davinci", "MonaLisa", "Leonardo"]
        shapley(three, {alliance: BASE - fid for alliance, fid in FID.items() if set(alliance) <= set(three)})


def test_coalitions_may_be_written_in_many_ways() -> None:
    expected = shapley(["a", "b"], [0.0, 1.0, 2.0, 4.0])
    assert expected.values == {"a": 1.5, "b": 2.5}
    tables: list[Any] = [
        {(): 0, ("a",): 1, ("b",): 2, ("b", "a"): 4},
        {frozenset(): 0, frozenset("a"): 1, frozenset("b"): 2, frozenset("ab"): 4},
        {(): np.float32(0), "a": 1, "b": 2, frozenset("ab"): 4},
        np.array([0, 1, 2, 4]),
    ]
    for table in tables:
        assert shapley(("a", "b"), table).values == expected.values
    assert shapley(iter(["a", "b"]), tables[0]).values == expected.values


def test_without_any_effect_there_are_no_shares() -> None:
    result = shapley(["a", "b"], [3, 3, 3, 3])
    assert result.values == {"a": 0.0, "b": 0.0}
    assert result.shares is None
    assert result.as_json()["share"] == {"a": None, "b": None}


@settings(deadline=None)
@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.floats(-1e6, 1e6), min_size=2**n, max_size=2**n)))
def test_efficiency_holds(values: list[float]) -> None:
    names = [f"p{i}" for i in range(len(values).bit_length() - 1)]
    result = shapley(names, values)
    assert sum(result.values.values()) == pytest.approx(values[-1] - values[0], abs=1e-6)


def test_interactions_of_many_players_are_refused_when_they_are_asked_for() -> None:
    game = Game(tuple(f"p{i}" for i in range(13)), np.arange(2**13, dtype=float))
    result = solve(game)
    assert result.values["p3"] == pytest.approx(8.0)
    with pytest.raises(GameError, match="at most 12 players, and this game has 13"):
        result.interactions  # noqa: B018


FULL = {(): 0, "a": 1, "b": 2, ("a", "b"): 4}
BAD: dict[str, tuple[Any, Any, str]] = {
    "missing": ("ab", {k: v for k, v in FULL.items() if k != "a"}, r"lacks 1 of 4 coalitions: \{a\}"),
    "empty missing": ("ab", {k: v for k, v in FULL.items() if k != ()}, "lacks 1 of 4 coalitions: ∅"),
    "unknown": ("ab", {**FULL, ("a", "c"): 1}, "“c” is not a player"),
    "letters": ("ab", {**FULL, "ab": 1}, "“ab” is not a player"),
    "twice": ("ab", {**FULL, ("b", "a"): 4}, r"\{a, b\} is listed twice"),
    "a member twice": ("ab", {**FULL, ("a", "a"): 4}, "named twice in one coalition"),
    "a number": ("ab", {**FULL, 3: 4}, "not 3"),
    "not names": ("ab", {**FULL, (1, 2): 4}, "not 1"),
    "NaN": ("ab", {**FULL, "a": float("nan")}, r"\{a\} is not a finite number"),
    "text": ("ab", {**FULL, "a": "1"}, r"\{a\} is no number, but a str"),
    "too short": ("ab", [0, 1, 2], r"needs 4 values.*\(3,\)"),
    "text array": ("ab", ["x", 1, 2, 3], "are numbers"),
    "ragged": ("ab", [[1], [1, 2]], "are numbers"),
    "none": ("", {(): 1}, "no players"),
    "twins": ("aa", FULL, "listed twice"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_one_sentence(case: str) -> None:
    names, values, message = BAD[case]
    with pytest.raises(GameError, match=message) as caught:
        shapley(list(names), values)
    assert "\n" not in str(caught.value)


def test_players_are_a_list_of_names() -> None:
    for players in ("ab", 3, [1, 2], [None]):
        with pytest.raises(GameError, match="name"):
            shapley(players, [0, 1, 2, 3])  # type: ignore[arg-type]
    with pytest.raises(GameError, match="at most 24"):
        shapley([f"p{i}" for i in range(25)], itertools.repeat(1.0))  # type: ignore[arg-type]
