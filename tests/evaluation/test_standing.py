"""Who comes first, and how sure that is: corrected for how many there are, and with what would decide it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from copyscope_core.evaluation.standing import Chance, Standing, standing
from copyscope_core.game.statistics import Source

Floats = NDArray[np.float64]


def chance(rows: Floats, works: Floats | None = None, counts: tuple[int, int, int] = (8, 3, 20)) -> Chance:
    """Chance in the seeds from the results of each seed, (K, n), and in the works from (W, n)."""

    def source(table: Floats) -> Source:
        return Source((table - table.mean(axis=0)) / np.sqrt(len(table) * (len(table) - 1)))

    return Chance((source(rows),), () if works is None else (source(works),), (), counts)


def of(rows: Floats, works: Floats | None = None, counts: tuple[int, int, int] = (8, 3, 20)) -> Standing:
    return standing(rows.mean(axis=0), chance(rows, works, counts))


def test_a_clear_first_is_sure() -> None:
    rng = np.random.default_rng(1)
    found = of(np.array([1.0, 20.0, 2.0]) + rng.normal(size=(8, 3)))
    assert (found.first, found.sure, found.tied, found.needed) == (1, True, (), None)
    assert found.interval is not None
    assert found.interval[0] < found.estimate < found.interval[1]


def test_two_that_are_alike_are_tied() -> None:
    rng = np.random.default_rng(2)
    rows = np.array([20.0, 20.1, 2.0]) + rng.normal(size=(8, 3))
    found = of(rows)
    assert not found.sure
    assert set(found.tied) | {found.first} == {0, 1}
    assert found.ahead is not None
    assert found.ahead > 0.05


def test_copies_are_tied_even_with_no_chance_between_them() -> None:
    rows = np.repeat(10 + np.random.default_rng(3).normal(size=(8, 1)), 2, axis=1)
    assert of(rows).tied == (1,)


def test_nothing_above_zero_is_sure_in_one_of_twenty_at_most() -> None:
    """However many there are, and although the largest is looked at."""
    for n in (1, 2, 6):
        sure = [of(np.random.default_rng([seed, n]).normal(size=(8, n))).sure for seed in range(600)]
        assert np.mean(sure) <= 0.05


def test_without_chance_nothing_is_sure() -> None:
    found = standing(np.array([3.0, 1.0]), None)
    assert (found.first, found.interval, found.sure, found.needed) == (0, None, False, None)


def test_what_would_decide_it_would() -> None:
    """With so many seeds, or references, most games are decided."""
    rng = np.random.default_rng(5)
    rows = np.array([3.0, 0.0]) + 4 * rng.normal(size=(8, 2))
    found = of(rows, counts=(8, 3, 0))
    assert found.needed is not None
    assert found.needed.seeds is not None
    assert found.needed.references is None  # the references are taken as they are
    enough = found.needed.seeds
    assert enough > 8
    effect, spread = found.estimate, rows.std(axis=0, ddof=1).max()
    again = [of(np.array([effect, 0.0]) + spread * rng.normal(size=(4 * enough, 2))).sure for _ in range(100)]
    assert np.mean(again) > 0.7


def test_more_seeds_are_not_proposed_where_the_works_are_what_is_unsure() -> None:
    rng = np.random.default_rng(6)
    rows, works = 5 + 0.01 * rng.normal(size=(8, 1)), 5 + 30 * rng.normal(size=(23, 1))
    found = of(rows, works)
    assert not found.sure
    assert found.needed is not None
    assert found.needed.seeds is None


@pytest.mark.parametrize("estimate", [-3.0, 0.0])
def test_a_first_that_is_not_above_zero_is_not_sure(estimate: float) -> None:
    rows = np.full((8, 1), estimate) + 0.01 * np.random.default_rng(7).normal(size=(8, 1)) - abs(estimate) * 0.01
    found = of(rows)
    assert not found.sure
    if estimate < 0:
        assert found.above_zero == 1.0
