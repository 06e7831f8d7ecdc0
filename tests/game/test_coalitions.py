"""Coalitions: their names, their matrix, and the order in which they are run."""

from __future__ import annotations

import itertools

import pytest

from copyscope_core.game.coalitions import execution_order, label, members, presence


@pytest.mark.parametrize("n", range(1, 7))
def test_the_whole_comes_first_and_neighbours_differ_in_one_player(n: int) -> None:
    order = execution_order(range(1 << n), n)
    assert sorted(order) == list(range(1 << n))
    assert order[0] == (1 << n) - 1
    assert [(a ^ b).bit_count() for a, b in itertools.pairwise(order)] == [1] * (len(order) - 1)


@pytest.mark.parametrize("costly", [(), (0,), (1,), (3,), (3, 1), (2, 0, 3), (3, 2, 1, 0)])
def test_costly_players_change_least_often(costly: tuple[int, ...]) -> None:
    order = execution_order(range(16), 4, costly)
    assert order[0] == 15
    by_cost = [*costly, *(player for player in range(4) if player not in costly)]
    changes = [sum((a ^ b) >> player & 1 for a, b in itertools.pairwise(order)) for player in by_cost]
    assert changes == [1, 2, 4, 8]  # a reflected Gray code's


def test_some_coalitions_keep_the_order_of_all() -> None:
    chosen = {0, 3, 5, 6, 9, 15}
    assert execution_order(chosen, 4, (2,)) == [mask for mask in execution_order(range(16), 4, (2,)) if mask in chosen]


def test_three_players_in_full() -> None:
    assert execution_order(range(8), 3) == [0b111, 0b011, 0b001, 0b101, 0b100, 0b000, 0b010, 0b110]


def test_names_and_rows() -> None:
    assert members(0b101, "abc") == ("a", "c")
    assert label(0b110, "abc") == "b + c"
    assert "∅" in label(0, "abc")
    assert presence(2).tolist() == [[False, False], [True, False], [False, True], [True, True]]
