"""The distances a value function can be made of."""

from __future__ import annotations

import numpy as np
import pytest

from copyscope_core.distances import registry as distances
from copyscope_core.distances.frechet import frechet_distance
from copyscope_core.distances.kernel import gaussian_kernel, kernel_distance, kernel_value
from copyscope_core.distances.registry import Coalitions, frechet_infinity, measure_distances
from copyscope_core.errors import GameError


def sets(n: int = 12, m: int = 9, d: int = 20) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    return [x + 1, x, x + 1, x - 1], rng.normal(size=(m, d))


def test_equal_coalitions_are_kept_once() -> None:
    tables, _ = sets()
    coalitions = Coalitions.of(tables)
    assert len(coalitions.distinct) == 3
    assert coalitions.index.tolist() == [0, 1, 0, 2]


def test_each_distance_is_what_its_name_says() -> None:
    tables, y = sets()
    coalitions = Coalitions.of(tables)
    fid = measure_distances(coalitions, y, "fid")
    kid = measure_distances(coalitions, y, "kid")
    mmd = measure_distances(coalitions, y, "mmd")
    for mask, x in enumerate(tables):
        assert fid.chosen[mask] == fid.part[mask] == fid.fid[mask]
        assert fid.fid[mask] == pytest.approx(frechet_distance(x, y).distance)
        assert kid.chosen[mask] == kid.kid[mask] == pytest.approx(kernel_distance(x, y))
        assert kid.part[mask] == pytest.approx(kernel_value(x, y))
        assert mmd.chosen[mask] == pytest.approx(kernel_distance(x, y, gaussian_kernel))
    assert np.ptp(kid.chosen - kid.part) == pytest.approx(0)
    assert np.ptp(mmd.chosen - mmd.part) == pytest.approx(0)


def test_one_reference_has_a_kernel_game_but_no_kernel_distance() -> None:
    tables, y = sets(m=1)
    kid = measure_distances(Coalitions.of(tables), y, "kid")
    assert np.isnan(kid.chosen).all()
    assert np.isfinite(kid.part).all()


def test_gaussian_kernel_is_cmmds_with_features_of_length_one() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(3, 5)), rng.normal(size=(4, 5))
    kernel = gaussian_kernel(x, y)
    a, b = x[1] / np.linalg.norm(x[1]), y[2] / np.linalg.norm(y[2])
    assert kernel[1, 2] == pytest.approx(1000 * np.exp(-np.sum((a - b) ** 2) / 200))
    assert gaussian_kernel(7 * x, y) == pytest.approx(kernel)
    assert np.diag(gaussian_kernel(x, x)) == pytest.approx(1000)
    assert gaussian_kernel(np.zeros((1, 5)), y) == pytest.approx(1000 * np.exp(-1 / 200))


def test_extrapolation_needs_many_images() -> None:
    with pytest.raises(GameError, match=r"at least 5,000 images .* there are 4,999"):
        frechet_infinity(np.zeros((4_999, 2)), np.zeros((3, 2)))


def test_extrapolation_takes_away_most_of_the_bias() -> None:
    """5,000 images of a known Gaussian to one reference point: d² has the bias tr Σ/n, and no more."""
    d, n = 30, 5_000
    rng = np.random.default_rng(2)
    plain, extrapolated = [], []
    for _ in range(4):
        x = 3 * rng.normal(size=(n, d))
        y = np.vstack([np.eye(d), -np.eye(d)]) * np.sqrt(d)
        plain.append(frechet_distance(x[:400], y).distance)
        extrapolated.append(frechet_infinity(x, y).distance)
    exact = d * (3 - np.sqrt(2 * d / (2 * d - 1))) ** 2
    assert np.mean(plain) > exact + 1
    assert np.mean(extrapolated) == pytest.approx(exact, abs=3 * np.std(extrapolated) / np.sqrt(4) + 0.1)


def test_extrapolation_joins_images_in_one_order_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "INFINITY_IMAGES", 60)
    monkeypatch.setattr(distances, "INFINITY_SMALLEST", 20)
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(60, 4)), rng.normal(size=(50, 4))
    first, second = frechet_infinity(x, y), frechet_infinity(x + 5, y)
    assert first == frechet_infinity(x, y)
    assert second.covariance == pytest.approx(first.covariance)
