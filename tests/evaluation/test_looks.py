"""Several looks at one audit: the error that they share, and what the rest of the budget is predicted to bring."""

from __future__ import annotations

import numpy as np
import pytest

from copyscope_core.evaluation.evaluate import Evaluation, evaluate
from copyscope_core.evaluation.looks import levels_of, outlook, seed_looks


def test_looks_are_taken_at_rising_numbers_of_seeds() -> None:
    assert seed_looks(16) == (3, 4, 6, 8, 12, 16)
    assert seed_looks(10) == (3, 4, 6, 8, 10)
    assert seed_looks(40)[-3:] == (24, 32, 40)
    assert [seed_looks(count) for count in (1, 2, 3)] == [(1,), (2,), (3,)]


def test_a_single_look_has_the_whole_error() -> None:
    assert levels_of(0.05, (1.0,))[0] == pytest.approx(0.95, abs=1e-9)
    assert levels_of(0.01, (1.0,))[0] == pytest.approx(0.99, abs=1e-9)


def test_later_looks_have_more_of_it_and_the_last_nearly_all() -> None:
    times = tuple(count / 16 for count in seed_looks(16))
    left = [1 - level for level in levels_of(0.05, times)]
    assert left == sorted(left)
    assert 0.03 < left[-1] < 0.05
    assert levels_of(0.05, times[:2]) == levels_of(0.05, times)[:2], "a look does not know of later ones"
    assert sum(left) > 0.05, "bounds make use of how alike the looks are; Bonferroni's would sum to the error"


def test_linear_spending_gives_the_published_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lan and DeMets 1983, five looks of equal size, 5% two-sided: 2.58, 2.49, 2.41, 2.34, 2.28."""
    from scipy.special import ndtri

    monkeypatch.setattr("copyscope_core.evaluation.looks.RHO", 1.0)
    bounds = []
    for count in range(1, 6):
        level = levels_of.__wrapped__(0.05, tuple((k + 1) / 5 for k in range(count)))[-1]
        bounds.append(float(ndtri((1 + level) / 2)))
    assert bounds == pytest.approx([2.576, 2.492, 2.412, 2.340, 2.277], abs=2e-3)


def test_all_looks_together_make_the_error_that_was_asked_for() -> None:
    """Brownian motion without drift, looked at like an audit of 16 seeds."""
    counts = np.array(seed_looks(16))
    times = tuple(counts / 16)
    from scipy.special import ndtri

    bounds = [float(ndtri((1 + level) / 2)) for level in levels_of(0.05, times)]
    steps = np.random.default_rng(0).normal(size=(100_000, 16)).cumsum(axis=1)[:, counts - 1]
    fooled = (np.abs(steps) > np.array(bounds) * np.sqrt(counts)).any(axis=1).mean()
    assert fooled == pytest.approx(0.05, abs=0.003)


def game(lead: float, seeds: int, noise: float = 1.0) -> Evaluation:
    """Two players of whom the first moves the images by ``lead`` towards the reference."""
    rng = np.random.default_rng(3)
    own = rng.normal(size=(4, seeds, 8)) * noise
    toward = np.full(8, 1.0)
    features = {mask: 4.0 + own[mask] - lead * toward * (mask & 1) for mask in range(4)}
    names = {mask: list(range(seeds)) for mask in range(4)}
    return evaluate(["one", "two"], features, np.zeros((1, 8)), seeds=names)


def test_the_outlook_is_certain_where_the_lead_is_clear_and_hopeless_where_there_is_none() -> None:
    clear, none = outlook(game(2.0, 4), 64, 0.95), outlook(game(0.0, 32), 40, 0.95)
    assert clear.chance is not None and clear.chance > 0.95
    assert none.chance is not None and none.chance < 0.3
    assert clear.narrower is not None and none.narrower is not None
    assert clear.narrower > 0.6 > none.narrower > 0


def test_the_outlook_is_unknown_without_intervals_and_nothing_where_nothing_changes() -> None:
    assert outlook(game(1.0, 1), 8, 0.95).chance is None
    same = {mask: np.ones((3, 8)) for mask in range(4)}
    still = evaluate(["one", "two"], same, np.zeros((1, 8)), seeds={mask: [0, 1, 2] for mask in range(4)})
    assert outlook(still, 16, 0.95).chance == 0.0


def test_the_outlook_says_how_often_it_comes_true() -> None:
    """Of games whose chance is said to be between 20 and 80%, about so many are decided in the end."""
    said, came = [], []
    for number in range(60):
        rng = np.random.default_rng(number)
        lead = rng.uniform(0.0, 0.6)
        own = rng.normal(size=(4, 16, 8)) * 1.5
        features = {mask: 4.0 + own[mask] - lead * (mask & 1) for mask in range(4)}

        def audit(seeds: int, features: dict[int, np.ndarray] = features) -> Evaluation:  # type: ignore[type-arg]
            cut = {mask: rows[:seeds] for mask, rows in features.items()}
            return evaluate(["one", "two"], cut, np.zeros((1, 8)), seeds={m: list(range(seeds)) for m in range(4)})

        chance = outlook(audit(6), 16, 0.95).chance
        assert chance is not None
        said.append(chance)
        came.append(audit(16).verdict.decided)
    assert np.mean(came) == pytest.approx(float(np.mean(said)), abs=0.15)
    assert np.mean(np.array(came)[np.array(said) < 0.1]) < 0.2
