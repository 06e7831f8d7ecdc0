"""The game: bitmasks, the matrix contract, and the table format with what it refuses."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from copyscope_core.errors import GameError
from copyscope_core.game.coalitions import members
from copyscope_core.game.table import LISTED, Game, check_players, mask_of, parse_game


def table(players: list[str], **changes: Any) -> dict[str, Any]:
    rows = [
        {"members": list(chosen), "value": 10.0 * size + len(chosen)}
        for size in range(len(players) + 1)
        for chosen in itertools.combinations(players, size)
    ]
    return {"players": players, "coalitions": rows} | changes


def test_bits_follow_the_players_order() -> None:
    players = ("a", "b", "c")
    assert mask_of(["c", "a"], players) == 0b101
    assert members(0b101, players) == ("a", "c")
    assert members(0, players) == ()


def test_matrix_in_vector_out() -> None:
    game = Game(("a", "b"), np.array([0.0, 1.0, 2.0, 4.0]))
    rows = np.array([[False, False], [True, False], [False, True], [True, True], [True, False]])
    assert game(rows).tolist() == [0.0, 1.0, 2.0, 4.0, 1.0]
    assert game(np.zeros((0, 2), dtype=bool)).shape == (0,)
    with pytest.raises(GameError, match="2 columns"):
        game(np.zeros((1, 3), dtype=bool))


def test_values_cannot_change_afterwards() -> None:
    source = np.arange(4.0)
    game = Game(("a", "b"), source)
    source[0] = 9
    assert game.values[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        game.values[0] = 1


def test_members_and_rows_in_any_order() -> None:
    data = table(["x", "y", "z"])
    shuffled = {
        "players": data["players"],
        "coalitions": [row | {"members": row["members"][::-1]} for row in reversed(data["coalitions"])],
    }
    assert np.array_equal(parse_game(data).values, parse_game(json.dumps(shuffled)).values)
    assert parse_game(json.dumps(data).encode()).players == ("x", "y", "z")


def test_integers_are_values_too() -> None:
    data = {"players": ["a"], "coalitions": [{"members": [], "value": 0}, {"members": ["a"], "value": 3}]}
    assert parse_game(data).values.tolist() == [0.0, 3.0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "does not fit the format"),
        ({"players": ["a"]}, "coalitions: Field required"),
        ({"players": [], "coalitions": []}, "no players"),
        ({"players": ["a", "a"], "coalitions": []}, "“a” is listed twice"),
        ({"players": ["a", " "], "coalitions": []}, "empty name"),
        ({"players": [f"p{i}" for i in range(25)], "coalitions": []}, "33,554,432 coalitions"),
        (table(["a"], coalitions=[{"members": ["b"], "value": 1.0}]), "Coalition 1 of the table: “b” is not a player"),
        (table(["a"], coalitions=[{"members": ["a", "a"], "value": 1.0}]), "“a” is named twice"),
        (table(["a"], coalitions=[{"members": [], "value": 1.0}] * 2), "∅ is listed twice"),
        (table(["a"], coalitions=[{"members": ["a"], "value": "1"}]), "coalitions.0.value"),
        (table(["a"], coalitions=[{"members": ["a"], "value": True}]), "coalitions.0.value"),
        (table(["a"], coalitions=[{"members": ["a"], "value": None}]), "coalitions.0.value"),
        ('{"players":["a"],"coalitions":[{"members":["a"],"value":NaN}]}', "{a} is not a finite number"),
        ('{"players":["a"],"coalitions":[{"members":[],"value":-Infinity}]}', "∅ is not a finite number"),
    ],
)
def test_bad_tables_get_one_sentence(data: Any, message: str) -> None:
    with pytest.raises(GameError) as caught:
        parse_game(data)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_coalitions_are_named() -> None:
    data = table(["a", "b"])
    del data["coalitions"][1]
    with pytest.raises(GameError, match=r"lacks 1 of 4 coalitions: \{a\};"):
        parse_game(data)


def test_a_long_list_of_missing_coalitions_is_cut_and_counted() -> None:
    players = [f"p{i}" for i in range(24)]
    with pytest.raises(GameError) as caught:
        parse_game({"players": players, "coalitions": []})
    assert f"lacks {2**24} of {2**24}" in str(caught.value)
    assert f"and {2**24 - LISTED} more" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_values_must_fit_the_players() -> None:
    with pytest.raises(GameError, match="needs 4 values"):
        Game(("a", "b"), np.zeros(3))
    with pytest.raises(GameError, match=r"\{b\}"):
        Game(("a", "b"), np.array([0.0, 1.0, np.nan, 2.0]))


def test_a_game_of_many_thousand_players_is_a_sentence() -> None:
    names = [f"p{number}" for number in range(20_000)]
    with pytest.raises(GameError, match=r"20000 players, which makes 2\^20,000 coalitions"):
        check_players(names)
    assert len(check_players(names, most=20_000)) == 20_000
    with pytest.raises(GameError, match="“p7” is listed twice"):
        check_players([*names, "p7"], most=30_000)
