"""Designs: exact, grouped and sampled values against definitions, and intervals of samples against the truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from copyscope_core.errors import GameError
from copyscope_core.game.choose import choose_design, exact_count, smallest_sample
from copyscope_core.game.design import Exact, membership
from copyscope_core.game.owen import Owen
from copyscope_core.game.permutations import Permutations
from copyscope_core.game.regression import Regression, draw_pairs, fewest, strata
from copyscope_core.game.shapley import shapley_values
from copyscope_core.game.statistics import intervals

GROUPS = ((0, 3), (1,), (2, 4, 5))


def bent_game(n: int, seed: int) -> np.ndarray:
    """A game like an audit's: features move with the players and saturate; squared distances to a target."""
    rng = np.random.default_rng([seed, n])
    present = np.arange(2**n)[:, None] >> np.arange(n) & 1
    moves = rng.normal(size=(n, 8)) * rng.exponential(size=(n, 1))
    distance = ((3 * np.tanh(present @ moves / 2) - 2 * rng.normal(size=8)) ** 2).sum(axis=1)
    return distance[0] - distance


def of(design: object, values: np.ndarray) -> np.ndarray:
    return values[list(design.masks)]  # type: ignore[attr-defined]


def owen_by_definition(values: np.ndarray, groups: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """Mean marginal contributions over all orders in which groups stay together."""
    total, count = np.zeros(sum(map(len, groups))), 0
    for order in itertools.permutations(groups):
        for parts in itertools.product(*(itertools.permutations(group) for group in order)):
            mask = 0
            for player in itertools.chain(*parts):
                total[player] += values[mask | 1 << player] - values[mask]
                mask |= 1 << player
            count += 1
    return total / count


@pytest.mark.parametrize("n", range(1, 13))
def test_a_whole_regression_is_the_shapley_value(n: int) -> None:
    values = np.random.default_rng(n).normal(size=2**n)
    design = Regression(n, strata(n))
    assert design.complete
    assert sorted(design.masks) == list(range(2**n))
    assert design.shapley(of(design, values)) == pytest.approx(shapley_values(values), abs=1e-12)
    assert design.sampling(of(design, values)) == []


def test_pairwise_interactions_come_out_exactly_from_few_coalitions() -> None:
    n, rng = 10, np.random.default_rng(0)
    present = np.arange(2**n)[:, None] >> np.arange(n) & 1
    values = present @ rng.normal(size=n) + ((present @ rng.normal(size=(n, n))) * present).sum(axis=1)
    for design in (Regression.smallest(n), Permutations.smallest(n)):
        assert len(design.masks) < 60
        assert design.shapley(of(design, values)) == pytest.approx(shapley_values(values), abs=1e-10)


@pytest.mark.parametrize("n", [8, 11])
@pytest.mark.parametrize("kind", [Regression, Permutations])
def test_intervals_of_a_sample_hold_the_exact_value(kind: type, n: int) -> None:
    covered, games = 0.0, 40
    for seed in range(games):
        values = bent_game(n, seed)
        design = kind.smallest(n)
        for _ in range(4):
            design = design.grow(of(design, values), seed % n, 16)
        known = of(design, values)
        ends = intervals(design.shapley(known), design.sampling(known))
        exact = shapley_values(values)
        assert design.shapley(known).sum() == pytest.approx(values[-1] - values[0])
        covered += float(((ends[:, 0] <= exact) & (exact <= ends[:, 1])).mean()) / games
    assert 0.90 <= covered <= 0.995


def test_a_sample_grows_where_the_error_is_and_keeps_what_it_has() -> None:
    n = 12
    values = bent_game(n, 1)
    small = Regression.smallest(n)
    large = small.grow(of(small, values), 3, 100)
    assert set(small.masks) < set(large.masks)
    assert len(large.masks) == len(small.masks) + 100

    def half(design: Regression) -> float:
        known = of(design, values)
        return float(np.diff(intervals(design.shapley(known), design.sampling(known))[3])[0])

    assert half(large) < half(small)
    whole = large.grow(of(large, values), 0, 10**6)
    assert whole.complete
    assert whole.grow(of(whole, values), 0, 100) == whole


def test_pairs_are_drawn_once_and_in_a_fixed_order() -> None:
    for n, size in ((9, 4), (8, 4), (30, 15), (30, 3)):
        pairs = draw_pairs(n, size, 40 if n > 9 else strata(n)[size - 1])
        full = (1 << n) - 1
        assert len({min(pair, full ^ pair) for pair in pairs}) == len(pairs)
        assert {pair.bit_count() for pair in pairs} <= {size, n - size}
        assert draw_pairs(n, size, 10) == pairs[:10]
    with pytest.raises(GameError, match="There are 35 pairs"):
        draw_pairs(8, 4, 36)


@pytest.mark.parametrize("n", [2, 3, 8, 30])
def test_singles_and_removals_are_in_every_design(n: int) -> None:
    full = (1 << n) - 1
    edge = {0, full, *(1 << i for i in range(n)), *(full ^ 1 << i for i in range(n))}
    for design in (Regression.smallest(n), Permutations.smallest(n)):
        assert edge <= set(design.masks)
        assert (design.masks[0], design.masks[-1]) == (0, full)
    assert fewest(n) == len(Regression.smallest(n).masks) <= 4 * n + 2


def test_owen_value_by_its_definition() -> None:
    values = np.random.default_rng(1).normal(size=64)
    design = Owen(6, GROUPS)
    assert len(design.masks) == exact_count(6, GROUPS) == 40
    assert design.shapley(of(design, values)) == pytest.approx(owen_by_definition(values, GROUPS), abs=1e-12)
    sampled = Permutations(6, GROUPS, 800)
    assert set(sampled.masks) <= set(design.masks)
    known = of(sampled, values)
    ends = intervals(sampled.shapley(known), sampled.sampling(known))
    found = owen_by_definition(values, GROUPS)
    assert ((ends[:, 0] <= found) & (found <= ends[:, 1])).mean() > 0.8


def test_splitting_a_model_does_not_change_its_authors_value() -> None:
    """Three players; then the first is split into three of which each alone does all that it did."""
    whole = np.random.default_rng(2).normal(size=8)
    split = np.array([whole[bool(mask & 0b111) | (mask >> 3) << 1] for mask in range(32)])
    design = Owen(5, ((0, 1, 2), (3,), (4,)))
    phi = membership(design.groups) @ design.shapley(of(design, split))
    assert phi == pytest.approx(shapley_values(whole), abs=1e-12)
    ungrouped = shapley_values(split)
    assert ungrouped[:3].sum() != pytest.approx(phi[0], abs=1e-3)


def test_groups_of_one_and_one_group_are_shapley_values() -> None:
    values = np.random.default_rng(3).normal(size=16)
    for groups in (((0,), (1,), (2,), (3,)), ((0, 1, 2, 3),)):
        design = Owen(4, groups)
        assert design.shapley(of(design, values)) == pytest.approx(shapley_values(values), abs=1e-12)


def test_a_player_without_effect_has_exactly_nothing() -> None:
    values = np.random.default_rng(4).normal(size=64)[[mask & ~0b1000 for mask in range(64)]]
    for design in (Exact(6), Owen(6, GROUPS), Permutations(6, GROUPS, 5)):
        assert design.shapley(of(design, values))[3] == 0.0


def test_what_the_budget_decides() -> None:
    assert choose_design(4) == Exact(4)
    assert choose_design(5, budget=32) == Exact(5)
    assert choose_design(10, budget=512) == Regression.smallest(10)
    assert choose_design(10, budget=512, estimator="permutation") == Permutations.smallest(10)
    assert choose_design(6, GROUPS, 40) == Owen(6, GROUPS)
    assert choose_design(6, GROUPS, 39) == smallest_sample(6, GROUPS)
    with pytest.raises(GameError, match="A budget of 30 coalitions is too small for 10 players, who need 38"):
        choose_design(10, budget=30)
    with pytest.raises(GameError, match="at most 48"):
        choose_design(60, budget=1000)
