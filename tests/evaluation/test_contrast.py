"""The contrast: unbiased for unequal counts, the difference of two kernel games, with chance from both sides."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from copyscope_core.distances.kernel import Kernel, kernel_value, linear_kernel, polynomial_kernel
from copyscope_core.distances.registry import Coalitions
from copyscope_core.evaluation.contrast import Contrast, contrast, kernel_of
from copyscope_core.evaluation.evaluate import evaluate
from copyscope_core.game.design import Exact
from copyscope_core.game.shapley import shapley_values
from copyscope_core.game.statistics import intervals

Floats = NDArray[np.float64]
D = 24


def game(rng: np.random.Generator, n: int = 6, batch: int = 1) -> list[Floats]:
    """Features of four coalitions of two players, n seeds each."""
    common = rng.normal(size=(n * batch, D))
    moves = rng.normal(size=(2, D))
    return [
        common + (mask & 1) * moves[0] + (mask >> 1) * moves[1] + 0.1 * rng.normal(size=common.shape)
        for mask in range(4)
    ]


def found(
    tables: list[Floats], reference: Floats, control: Floats, kernel: Kernel, seeds: list[int] | None
) -> Contrast:
    return contrast(Coalitions.of(tables), reference, control, kernel, Exact(2), seeds)


@pytest.mark.parametrize("kernel", [linear_kernel, polynomial_kernel])
@pytest.mark.parametrize("sides", [(1, 5), (3, 2), (9, 20)])
def test_it_is_the_difference_of_two_kernel_games(kernel: Kernel, sides: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    tables = game(rng)
    reference, control = rng.normal(size=(sides[0], D)) + 1, rng.normal(size=(sides[1], D))
    known = found(tables, reference, control, kernel, list(range(6)))
    games = []
    for works in (reference, control):
        distances = np.array([kernel_value(x, works, kernel) for x in tables], dtype=np.float64)
        games.append(shapley_values(distances[0] - distances))
    assert known.estimate == pytest.approx(games[0] - games[1])
    assert known.chance is not None
    unknown = found(tables, reference, control, kernel, None)
    assert unknown.estimate == pytest.approx(known.estimate)
    assert unknown.chance is None


def test_of_fid_it_is_that_of_the_mean_part() -> None:
    rng = np.random.default_rng(4)
    tables = game(rng)
    reference, control = rng.normal(size=(3, D)) + 1, rng.normal(size=(7, D))
    sides = [evaluate(["a", "b"], dict(enumerate(tables)), works).shapley_mean for works in (reference, control)]
    assert sides[0] is not None
    assert sides[1] is not None
    result = evaluate(["a", "b"], dict(enumerate(tables)), reference, control=control)
    assert result.functions[0].contrast == pytest.approx(sides[0] - sides[1])
    assert kernel_of("fid") is linear_kernel
    assert kernel_of("kid") is polynomial_kernel


def test_a_batch_is_one_seed() -> None:
    """Two equal images a seed say no more than one."""
    rng = np.random.default_rng(5)
    tables = game(rng)
    reference, control = rng.normal(size=(2, D)), rng.normal(size=(5, D))
    one = found(tables, reference, control, linear_kernel, list(range(6)))
    two = found(
        [np.repeat(x, 2, axis=0) for x in tables], reference, control, linear_kernel, [k // 2 for k in range(12)]
    )
    assert one.chance is not None
    assert two.chance is not None
    assert two.estimate == pytest.approx(one.estimate)
    assert intervals(two.estimate, two.chance.all) == pytest.approx(intervals(one.estimate, one.chance.all))


def test_chance_is_unknown_for_one_seed_or_two_works() -> None:
    rng = np.random.default_rng(6)
    tables = game(rng, n=2)
    assert found(tables, tables[0], tables[1], linear_kernel, [0, 0]).chance is None
    assert found(tables, tables[0][:1], tables[1][:1], linear_kernel, [0, 1]).chance is None


@pytest.mark.parametrize(("references", "controls"), [(1, 20), (2, 20), (8, 20), (20, 20)])
@pytest.mark.parametrize("spread", [0.7, 1.4])
def test_a_player_that_only_changes_the_spread_has_none(references: int, controls: int, spread: float) -> None:
    """Reference and control from one distribution: the truth is 0, which 95 of 100 intervals must hold."""
    held, estimates = [], []
    for seed in range(120):
        rng = np.random.default_rng([seed, references, controls])
        base = rng.normal(size=(12, D))
        tables = {0: 1 + base, 1: 1 + spread * base}
        result = evaluate(
            ["spread"],
            tables,
            rng.normal(size=(references, D)) - 1,
            control=rng.normal(size=(controls, D)) - 1,
            seeds={0: list(range(12)), 1: list(range(12))},
        ).functions[0]
        assert result.contrast is not None
        assert result.contrast_interval is not None
        held.append(result.contrast_interval[0, 0] <= 0 <= result.contrast_interval[0, 1])
        estimates.append(result.contrast[0])
    assert 0.89 <= np.mean(held) <= 1
    assert abs(np.mean(estimates)) < 4 * np.std(estimates) / np.sqrt(len(estimates))
