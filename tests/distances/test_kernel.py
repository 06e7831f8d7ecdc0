"""Kernel distance: its definition, what cancels in v(S), and torch-fidelity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copyscope_core.distances import kernel
from copyscope_core.distances.kernel import kernel_distance, kernel_value, polynomial_kernel
from copyscope_core.errors import GameError


def features(seed: int, n: int, d: int, shift: float = 0.0) -> np.ndarray:
    return np.abs(np.random.default_rng(seed).normal(size=(n, d)) + shift)


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    within = [np.mean([k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]) for z in (x, y)]
    return float(within[0] + within[1] - 2 * np.mean([k(a, b) for a in x for b in y]))


@given(st.integers(0, 10_000), st.integers(2, 7), st.integers(2, 7), st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_equals_its_definition_and_is_symmetric(seed: int, n1: int, n2: int, d: int) -> None:
    x, y = features(seed, n1, d), features(seed + 1, n2, d, shift=0.5)
    assert kernel_distance(x, y) == pytest.approx(by_definition(x, y), abs=1e-10)
    assert kernel_distance(y, x) == pytest.approx(by_definition(x, y), abs=1e-10)


def test_rows_in_blocks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = features(1, 11, 5), features(2, 9, 5)
    whole = kernel_distance(x, y)
    monkeypatch.setattr(kernel, "_ROWS", 4)
    assert kernel_distance(x, y) == pytest.approx(whole, rel=1e-12)


def test_agrees_with_torch_fidelity_on_the_full_sample() -> None:
    """One subset as large as the sample is the full-sample statistic."""
    torch = pytest.importorskip("torch")
    metric = pytest.importorskip("torch_fidelity.metric_kid", reason="torch-fidelity is not installed")
    x, y = features(3, 40, 2048), features(4, 40, 2048, shift=0.3)
    theirs = metric.kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=1, kid_subset_size=40, verbose=False
    )[metric.KEY_METRIC_KID_MEAN]
    assert kernel_distance(x, y) == pytest.approx(theirs, rel=1e-10)


def test_two_samples_of_one_distribution_are_at_zero_on_average_and_sometimes_below() -> None:
    values = [kernel_distance(features(seed, 10, 6), features(seed + 500, 14, 6)) for seed in range(400)]
    assert min(values) < 0 < max(values)
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))


def test_value_differs_from_distance_by_the_references_own_term() -> None:
    y = features(5, 6, 8)
    sets = [features(seed, 5, 8, shift=seed / 10) for seed in range(3)]
    gaps = [kernel_distance(x, y) - kernel_value(x, y) for x in sets]
    assert gaps == pytest.approx([gaps[0]] * 3, rel=1e-12)


def test_one_image_on_a_side() -> None:
    x, one = features(6, 5, 8), features(7, 1, 8)
    assert kernel_distance(x, one) is None
    assert kernel_distance(one, x) is None
    assert kernel_value(one, x) is None
    pairs = polynomial_kernel(x, x)
    expected = (pairs.sum() - np.trace(pairs)) / 20 - 2 * polynomial_kernel(x, one).mean()
    assert kernel_value(x, one) == pytest.approx(expected)


def test_frames_of_one_clip_are_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = features(8, 9, 8), features(9, 5, 8)
    clips = np.array([0, 0, 1, 1, 1, 2, 2, 0, 3])
    pairs = polynomial_kernel(x, x)[clips[:, None] != clips]
    expected = pairs.mean() - 2 * polynomial_kernel(x, y).mean()
    assert kernel_value(x, y, clips=clips) == pytest.approx(expected, rel=1e-12)
    assert kernel_distance(x, y, clips=np.arange(9)) == kernel_distance(x, y)
    monkeypatch.setattr(kernel, "_ROWS", 4)
    assert kernel_value(x, y, clips=clips) == pytest.approx(expected, rel=1e-12)
    assert kernel_value(x, y, clips=np.zeros(9, dtype=np.intp)) is None
    assert kernel_distance(x, y, clips=np.zeros(9, dtype=np.intp)) is None


@pytest.mark.parametrize("function", [kernel_distance, kernel_value])
def test_bad_features_are_refused(function: object) -> None:
    for bad in (np.full((2, 3), np.nan), np.empty((0, 3)), np.zeros(3), np.zeros((2, 4))):
        with pytest.raises(GameError):
            function(bad, np.zeros((2, 3)))  # type: ignore[operator]
