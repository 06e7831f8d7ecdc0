"""Interactions: against shapiq, hand-made games, and what they must add up to."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from copyscope_core.game.interactions import interaction_index, mobius_transform, n_shapley, pair_interactions
from copyscope_core.game.shapley import shapley_values


def game(seed: int, n: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=2**n)


@pytest.mark.parametrize("n", [2, 3, 5, 6])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_as_shapiq_has_them(n: int, order: int) -> None:
    shapiq = pytest.importorskip("shapiq")
    values = game(n, n)
    order = min(order, n)

    def value(coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.asarray(values[np.asarray(coalitions, dtype=bool) @ (1 << np.arange(n))] - values[0])

    computer = shapiq.ExactComputer(value, n_players=n)
    index, n_sii = computer("SII", order=order), computer("k-SII", order=order)
    ours = n_shapley(values, order)
    assert len(ours) == sum(1 for size in range(1, order + 1) for _ in itertools.combinations(range(n), size))
    for members, own in ours.items():
        assert interaction_index(values, members) == pytest.approx(index[members], abs=1e-12)
        assert own == pytest.approx(n_sii[members], abs=1e-12)


def test_dividends_add_up_to_values() -> None:
    values = game(0, 4)
    dividends = mobius_transform(values)
    for mask in range(16):
        assert sum(dividends[s] for s in range(16) if s & mask == s) == pytest.approx(values[mask])


def test_pairs_that_need_each_other() -> None:
    """Two components that do something only together, and one that adds its own."""
    values = np.array([10.0 * ((mask & 3) == 3) + 4.0 * (mask >> 2) for mask in range(8)])
    pairs = pair_interactions(values)
    assert pairs[0, 1] == pairs[1, 0] == pytest.approx(10)
    assert pairs[0, 2] == pairs[1, 2] == 0
    assert np.diag(pairs) == pytest.approx([5, 5, 4])
    assert n_shapley(values)[0, 1] == pytest.approx(10)
    assert n_shapley(values)[0,] == pytest.approx(0)


def test_pairs_that_stand_in_for_each_other_are_negative() -> None:
    values = np.array([0.0, 6.0, 6.0, 6.0])
    assert pair_interactions(values)[0, 1] == pytest.approx(-6)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_n_shapley_values_divide_everything(order: int) -> None:
    values = game(1, 5)
    assert sum(n_shapley(values, order).values()) == pytest.approx(values[-1] - values[0])
    assert np.diag(pair_interactions(values)) == pytest.approx(shapley_values(values))


def test_a_player_without_effect_has_no_interactions() -> None:
    rng = np.random.default_rng(2)
    half = rng.normal(size=8)
    values = np.stack([half, half], axis=1).ravel()  # bit 0 changes nothing
    assert pair_interactions(values)[0].tolist() == [0, 0, 0, 0]
    assert all(value == 0 for members, value in n_shapley(values).items() if 0 in members)


def test_batches() -> None:
    values = np.stack([game(3, 4), game(4, 4)])
    assert pair_interactions(values).shape == (2, 4, 4)
    assert pair_interactions(values)[1] == pytest.approx(pair_interactions(values[1]))
    assert n_shapley(values)[0, 2, 3][0] == pytest.approx(n_shapley(values[0])[0, 2, 3])


def test_players_must_exist_and_differ() -> None:
    for players in ((0, 0), (0, 9), (-1,)):
        with pytest.raises(ValueError, match="different players"):
            interaction_index(game(0, 3), players)
