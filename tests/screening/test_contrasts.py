"""The contrasts of a screen are those of an audit, for every artist at once."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from copyscope_core.distances.kernel import Kernel, linear_kernel, polynomial_kernel
from copyscope_core.distances.registry import Coalitions
from copyscope_core.evaluation.contrast import contrast
from copyscope_core.game.design import Exact
from copyscope_core.game.statistics import intervals, two_sided
from copyscope_core.screening.contrasts import Sides

Floats = NDArray[np.float64]


def game(works: int, dimension: int, seeds: int, batch: int, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Images with and without a model, and works."""
    rng = np.random.default_rng(seed)
    without = rng.normal(size=(seeds * batch, dimension)) + 3
    return without + 0.3 * rng.normal(size=without.shape) + 0.2, without, rng.normal(size=(works, dimension)) + 2


@pytest.mark.parametrize("kernel", [linear_kernel, polynomial_kernel])
@pytest.mark.parametrize("batch", [1, 3])
def test_every_artist_gets_what_an_audit_of_one_player_would_say(kernel: Kernel, batch: int) -> None:
    seeds = 5
    having, without, works = game(60, 12, seeds, batch)
    sizes = (1, 2, 7, 8, 15)  # below and above the number from which works count apart
    reference, control = (np.zeros((60, len(sizes)), dtype=bool) for _ in range(2))
    for column, size in enumerate(sizes):
        reference[:size, column] = True
        control[20 + column : (27 if size == 15 else 50), column] = True
    sides = Sides(works, reference, control, kernel)
    found = sides.effects(2 * (sides.places(having, seeds) - sides.places(without, seeds)))
    for column in range(len(sizes)):
        one = contrast(
            Coalitions.of([without, having]), works[reference[:, column]], works[control[:, column]], kernel, Exact(1),
            [seed for seed in range(seeds) for _ in range(batch)],
        )  # fmt: skip
        assert one.chance is not None
        ends = intervals(one.estimate, one.chance.all)[0]
        p = two_sided(one.estimate, one.chance.all)[0]
        one_sided = p / 2 if one.estimate[0] > 0 else 1 - p / 2
        got = (found.effect[column], found.low[column], found.high[column], found.p[column])
        assert got == pytest.approx((one.estimate[0], *ends, one_sided), rel=1e-9)


def test_a_model_that_moves_nothing_is_as_far_from_being_found_as_can_be() -> None:
    having, without, works = game(30, 6, 4, 1)
    reference, control = np.zeros((30, 1), dtype=bool), np.zeros((30, 1), dtype=bool)
    reference[:10], control[10:] = True, True
    sides = Sides(works, reference, control, linear_kernel)
    found = sides.effects(np.zeros((4, 30)))
    assert (found.effect[0], found.low[0], found.high[0], found.p[0]) == (0, 0, 0, 1)
    assert not np.array_equal(having, without)


def test_p_is_uniform_where_reference_and_control_are_drawn_alike() -> None:
    rng = np.random.default_rng(3)
    seeds, artists = 8, 40
    reference, control = np.zeros((1000, artists), dtype=bool), np.zeros((1000, artists), dtype=bool)
    for column in range(artists):
        reference[column * 25 : column * 25 + 5, column] = True
        control[column * 25 + 5 : column * 25 + 25, column] = True
    found = []
    for _ in range(60):
        sides = Sides(rng.normal(size=(1000, 20)), reference, control, linear_kernel)
        moved = rng.normal(size=(seeds, 20)) * 0.3 + rng.normal(size=20)
        found.append(sides.effects(2 * sides.places(moved, seeds)).p)
    p = np.concatenate(found)
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.015)
    assert np.mean(p <= 0.01) == pytest.approx(0.01, abs=0.006)
