"""Shapley values against definition, known games, axioms and shapiq's exact computation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from copyscope_core.errors import GameError
from copyscope_core.game.shapley import (
    ablation,
    check_efficiency,
    efficiency_gap,
    leave_one_out,
    shapley_values,
    shares,
    single_increments,
)
from copyscope_core.game.table import Game
from tests.fuzz.limits import time_limit

Floats = NDArray[np.float64]


def matrix(n: int) -> NDArray[np.bool_]:
    """All coalitions as a boolean matrix (2**n, n), row = bitmask."""
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(bool)


def by_definition(values: Floats) -> Floats:
    """The mean marginal contribution over all n! orders."""
    n = int(math.log2(len(values)))
    phi = np.zeros(n)
    for order in itertools.permutations(range(n)):
        mask = 0
        for i in order:
            phi[i] += values[mask | 1 << i] - values[mask]
            mask |= 1 << i
    return phi / math.factorial(n)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6])
def test_equals_the_mean_over_all_orders(n: int) -> None:
    values = np.random.default_rng(n).normal(scale=100, size=2**n)
    assert shapley_values(values) == pytest.approx(by_definition(values), abs=1e-10)


@pytest.mark.parametrize(("n", "seed"), [(n, seed) for n in (2, 4, 7, 10) for seed in range(3)])
def test_equals_shapiq_exact(n: int, seed: int) -> None:
    from shapiq.game_theory.exact import ExactComputer  # takes seconds to import

    game = Game(tuple(f"p{i}" for i in range(n)), np.random.default_rng(seed).normal(scale=50, size=2**n))
    computer = ExactComputer(lambda rows: game(rows), n_players=n)
    expected = computer("SV").get_n_order_values(1)
    assert shapley_values(game.values) == pytest.approx(expected, abs=1e-9)


def test_unanimity_game() -> None:
    """v(S) = 1 if S ⊇ T: the members of T share 1 equally, all others get exactly 0."""
    rows = matrix(6)
    values = rows[:, [1, 3, 4]].all(axis=1).astype(float)
    phi = shapley_values(values)
    assert phi[[1, 3, 4]] == pytest.approx([1 / 3] * 3)
    assert phi[[0, 2, 5]].tolist() == [0.0, 0.0, 0.0]


def test_airport_game() -> None:
    """v(S) = the longest runway needed: each piece of runway is shared by its users (Littlechild, Owen 1973)."""
    costs = np.array([1.0, 4.0, 4.0, 9.0])
    values = np.where(matrix(4), costs, 0).max(axis=1)
    assert shapley_values(values) == pytest.approx([1 / 4, 1 / 4 + 1, 1 / 4 + 1, 1 / 4 + 1 + 5])


def test_glove_game() -> None:
    """One left glove, two right gloves: 2/3, 1/6, 1/6."""
    rows = matrix(3)
    values = np.minimum(rows[:, 0], rows[:, 1] | rows[:, 2]).astype(float)
    assert shapley_values(values) == pytest.approx([2 / 3, 1 / 6, 1 / 6])


games = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.floats(-1e4, 1e4, allow_nan=False, allow_subnormal=False), min_size=2**n, max_size=2**n).map(
        np.array
    )
)


@given(games, st.floats(-10, 10), st.floats(-10, 10), st.integers(0, 2**32 - 1))
def test_linearity(v: Floats, a: float, b: float, seed: int) -> None:
    w = np.random.default_rng(seed).normal(scale=100, size=v.shape)
    both = shapley_values(a * v + b * w)
    assert both == pytest.approx(a * shapley_values(v) + b * shapley_values(w), abs=1e-7)


@given(games)
def test_efficiency(v: Floats) -> None:
    phi = shapley_values(v)
    assert abs(efficiency_gap(v, phi)) <= 1e-9 * max(1.0, np.abs(v).max())
    check_efficiency(v, phi)


@given(games, st.data())
def test_a_dummy_gets_exactly_its_own_value_and_a_null_player_exactly_zero(v: Floats, data: st.DataObject) -> None:
    n = v.size.bit_length() - 1
    position = data.draw(st.integers(0, n))
    rows = matrix(n + 1)
    others = np.delete(rows, position, axis=1) @ (1 << np.arange(n))
    phi = shapley_values(v[others])
    assert phi[position] == 0.0
    assert np.delete(phi, position) == pytest.approx(shapley_values(v), abs=1e-8)
    worth = data.draw(st.integers(-100, 100))
    phi = shapley_values(v[others] + worth * rows[:, position])
    assert phi[position] == pytest.approx(worth, abs=1e-8)


@given(st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_symmetry(n: int, seed: int) -> None:
    """A game that does not tell player 0 from player 1 gives them the same."""
    v = np.random.default_rng(seed).normal(size=2**n)
    masks = np.arange(2**n)
    swapped = (masks & ~3) | (masks & 1) << 1 | (masks & 2) >> 1
    phi = shapley_values(v + v[swapped])
    assert phi[0] == pytest.approx(phi[1], abs=1e-12)


@settings(max_examples=25)
@given(st.integers(1, 5), st.permutations(range(5)), st.integers(0, 2**32 - 1))
def test_renaming_players_renames_values(n: int, order: list[int], seed: int) -> None:
    order = [i for i in order if i < n]
    v = np.random.default_rng(seed).normal(size=2**n)
    renamed = np.empty_like(v)
    for mask in range(2**n):
        renamed[sum(1 << order[i] for i in range(n) if mask >> i & 1)] = v[mask]
    assert shapley_values(renamed)[order] == pytest.approx(shapley_values(v), abs=1e-12)


def test_batch_dimensions() -> None:
    v = np.random.default_rng(0).normal(size=(2, 3, 16))
    for function in (shapley_values, leave_one_out, single_increments, ablation):
        batch = function(v)
        assert batch.shape == (2, 3, 4)
        assert batch[1, 2] == pytest.approx(function(v[1, 2]))
    assert check_efficiency(v, shapley_values(v)).shape == (2, 3)


def test_companions_on_a_hand_made_game() -> None:
    d = np.array([300.0, 280.0, 290.0, 240.0])
    v = d[0] - d
    assert leave_one_out(v).tolist() == [50.0, 40.0]
    assert single_increments(v).tolist() == [20.0, 10.0]
    assert ablation(d).tolist() == [295.0, 290.0]
    phi = shapley_values(v)
    assert phi.tolist() == [35.0, 25.0]
    share = shares(phi)
    assert share is not None
    assert share == pytest.approx([35 / 60, 25 / 60])


def test_shares_are_signed_and_undefined_without_change() -> None:
    share = shares([3.0, -1.0])
    assert share is not None
    assert share.tolist() == [0.75, -0.25]
    assert shares([0.0, 0.0]) is None
    batch = shares([[3.0, -1.0], [0.0, 0.0]])
    assert batch is not None
    assert batch[0].tolist() == [0.75, -0.25]
    assert np.isnan(batch[1]).all()


def test_wrong_values_fail_the_efficiency_check() -> None:
    v = np.array([0.0, 1.0, 2.0, 4.0])
    with pytest.raises(GameError, match="do not add up"):
        check_efficiency(v, [1.0, 2.0])
    with pytest.raises(GameError, match="do not add up"):
        check_efficiency(v, [np.nan, 2.0])


@pytest.mark.parametrize("size", [0, 1, 3, 12])
def test_arrays_that_are_no_game(size: int) -> None:
    with pytest.raises(GameError, match="2ⁿ values"):
        shapley_values(np.zeros(size))


def test_twenty_players_take_no_loop_over_coalitions() -> None:
    v = np.random.default_rng(1).normal(size=2**20)
    with time_limit():  # 0.03 s; every pair of a coalition and a player, one by one, takes over a minute
        check_efficiency(v, shapley_values(v))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 250.0])
def test_what_counts_as_rounding(scale: float) -> None:
    """A gap of 1e-9 of the largest value passes, or of 1 where all values are smaller; a larger one does not."""
    values = scale * np.array([0.0, 0.25, 0.5, 1.0])
    phi, limit = shapley_values(values), 1e-9 * max(scale, 1.0)
    assert check_efficiency(values, np.add(phi, [0.9 * limit, 0])) == pytest.approx(0.9 * limit, rel=1e-3)
    for gap in (1.1 * limit, -1.1 * limit):
        with pytest.raises(GameError, match="do not add up"):
            check_efficiency(values, np.add(phi, [gap, 0]))
