"""Distances of resampled images equal those of the images written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copyscope_core.distances.frechet import frechet_distance
from copyscope_core.distances.kernel import kernel_value, polynomial_kernel
from copyscope_core.evaluation.resampling import resampled_frechet, resampled_kernel


def sample(seed: int, n: int, d: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) + seed % 3


def counts(seed: int, n: int, resamples: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)


def repeated(x: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    return x if weights is None else np.repeat(x, weights.astype(int), axis=0)


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.sampled_from("abc"))
@settings(max_examples=80, deadline=None)
def test_frechet_of_resamples(seed: int, n: int, m: int, d: int, sides: str) -> None:
    x, y = sample(seed, n, d), sample(seed + 1, m, d)
    rows = counts(seed, n) if sides in "ac" else None
    columns = counts(seed + 2, m) if sides in "bc" else None
    found = resampled_frechet(x, y, rows, columns)
    assert found.shape == (4, 2)
    scale = float(np.sum(x**2) + np.sum(y**2))
    for r in range(4):
        expected = frechet_distance(
            repeated(x, None if rows is None else rows[r]), repeated(y, None if columns is None else columns[r])
        )
        assert found[r] == pytest.approx([expected.mean, expected.covariance], abs=1e-11 * scale)


def test_without_weights_it_is_the_distance() -> None:
    x, y = sample(0, 7, 30), sample(1, 5, 30)
    expected = frechet_distance(x, y)
    assert resampled_frechet(x, y)[0] == pytest.approx([expected.mean, expected.covariance])
    assert resampled_kernel(x, y, polynomial_kernel)[0] == pytest.approx(kernel_value(x, y))


def test_many_resamples_are_worked_on_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = sample(0, 7, 30), sample(1, 5, 30)
    rows, columns = counts(0, 7, 50), counts(1, 5, 50)
    whole = [resampled_frechet(x, y, rows), resampled_frechet(x, y, rows, columns)]
    monkeypatch.setattr("copyscope_core.evaluation.resampling._NUMBERS", 70)
    assert resampled_frechet(x, y, rows) == pytest.approx(whole[0])
    assert resampled_frechet(x, y, rows, columns) == pytest.approx(whole[1])


def test_kernel_leaves_out_pairs_of_one_original() -> None:
    x, y = sample(3, 6, 9), sample(4, 5, 9)
    rows, columns = counts(5, 6), counts(6, 5)
    found = resampled_kernel(x, y, polynomial_kernel, rows, columns)
    for r in range(4):
        origin, other = np.repeat(np.arange(6), rows[r].astype(int)), np.repeat(np.arange(5), columns[r].astype(int))
        k = polynomial_kernel(x[origin], x[origin])
        different = origin[:, None] != origin[None, :]
        expected = k[different].mean() - 2 * polynomial_kernel(x[origin], y[other]).mean()
        assert found[r] == pytest.approx(expected)


def test_kernel_without_one_image_is_the_kernel_of_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = sample(3, 6, 9), sample(4, 5, 9)
    monkeypatch.setattr("copyscope_core.evaluation.resampling._ROWS", 4)
    found = resampled_kernel(x, y, polynomial_kernel, 1 - np.eye(6))
    for i in range(6):
        assert found[i] == pytest.approx(kernel_value(np.delete(x, i, axis=0), y))


def test_kernel_of_one_original_is_not_defined() -> None:
    x, y = sample(3, 2, 9), sample(4, 5, 9)
    assert np.isnan(resampled_kernel(x, y, polynomial_kernel, 1 - np.eye(2))).all()


def test_kernel_leaves_out_pairs_of_one_clip() -> None:
    x, y, clips = sample(3, 6, 9), sample(4, 5, 9), np.array([0, 0, 1, 1, 2, 2])
    without = (clips[None, :] != np.arange(3)[:, None]).astype(np.float64)  # each clip left out in turn
    found = resampled_kernel(x, y, polynomial_kernel, without, None, clips)
    for clip in range(3):
        kept = clips != clip
        assert found[clip] == pytest.approx(kernel_value(x[kept], y, clips=clips[kept]))
    assert np.isnan(resampled_kernel(x, y, polynomial_kernel, (clips == 0)[None].astype(float), None, clips)).all()
