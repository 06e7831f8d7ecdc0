"""Jackknife intervals: against SciPy, closed forms, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from copyscope_core.game.statistics import (
    Source,
    deletions,
    difference_intervals,
    intervals,
    joint_variance,
    probability_largest,
    share_intervals,
    student_quantile,
)


def source(deviations: object) -> Source:
    return Source(np.asarray(deviations, dtype=np.float64))


def noise(variances: list[float], df: int = 40, seed: int = 0) -> Source:
    """A source whose deviations give exactly these variances and no covariance."""
    rng = np.random.default_rng(seed)
    raw, _ = np.linalg.qr(rng.normal(size=(df + 1, len(variances))))
    return source(raw * np.sqrt(variances))


def test_student_quantile_of_tables_and_closed_forms() -> None:
    """df 1 is Cauchy's distribution, df 2 has a closed form, and large df are close to the normal distribution."""
    assert student_quantile(0.975, 1) == pytest.approx(np.tan(0.475 * np.pi), rel=1e-9)
    assert student_quantile(0.975, 2) == pytest.approx(0.95 * np.sqrt(2 / (1 - 0.95**2)), rel=1e-9)
    assert student_quantile(0.975, [4, 7.5, 30]) == pytest.approx(
        [2.7764451051978, 2.3330396268667, 2.0422724563012], rel=1e-9
    )
    assert student_quantile(0.975, 1e9) == pytest.approx(stats.norm.ppf(0.975), rel=1e-8)
    assert student_quantile(0.5, [1, 3.3]) == pytest.approx([0, 0], abs=1e-12)


def test_the_interval_of_a_mean_is_students() -> None:
    x = np.random.default_rng(1).normal(size=9)
    parts = deletions(range(9))
    assert parts is not None
    without = np.array([x[weights > 0].mean() for weights in parts.weights])
    low, high = intervals(x.mean(), [parts.source(without)])
    half = stats.t.ppf(0.975, 8) * x.std(ddof=1) / 3
    assert (low, high) == pytest.approx((x.mean() - half, x.mean() + half))


def test_two_sources_are_welchs_interval() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=6), 3 * rng.normal(size=11)
    parts = [deletions(range(len(z))) for z in (x, y)]
    assert parts[0] is not None
    assert parts[1] is not None
    sources = [
        parts[0].source(np.array([x[w > 0].mean() for w in parts[0].weights])),
        parts[1].source(-np.array([y[w > 0].mean() for w in parts[1].weights])),
    ]
    low, high = intervals(x.mean() - y.mean(), sources)
    expected = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("rows", "columns"), [(6, 9), (6, 18)])
def test_what_two_sources_do_together_is_counted_once(rows: int, columns: int) -> None:
    """The mean of a table of independent numbers: each jackknife sees their whole variance, and so does the joint one.

    With more than 9 columns groups of two are left out.
    """
    tables = np.random.default_rng(3).normal(size=(4_000, rows, columns))
    first, second = deletions(range(rows)), deletions(range(columns), 9)
    assert first is not None
    assert second is not None

    def mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("tnm,gn,hm->ght", tables, a, b) / np.outer(a.sum(axis=1), b.sum(axis=1))[..., None])

    ones = (np.ones((1, rows)), np.ones((1, columns)))
    seeds = first.source(mean(first.weights, ones[1])[:, 0])
    images = second.source(mean(ones[0], second.weights)[0])
    joint = joint_variance(first, second, mean(first.weights, second.weights))
    variances = [float((part.deviations**2).sum(axis=0).mean()) for part in (seeds, images, images.without(joint))]
    assert [*variances[:2], float(joint.mean())] == pytest.approx([1 / (rows * columns)] * 3, rel=0.06)
    assert variances[2] < 0.03 / (rows * columns)


def test_a_source_without_itself_is_none() -> None:
    some = noise([4.0, 1.0])
    assert (some.without(np.array([1.0, 0.25])).deviations ** 2).sum(axis=0) == pytest.approx([3.0, 0.75])
    assert not some.without(np.array([9.0, 9.0])).deviations.any()
    assert not source(np.zeros((3, 2))).without(np.zeros(2)).deviations.any()


def test_images_of_one_seed_are_left_out_together() -> None:
    parts = deletions([3, 3, 5, 5, 9, 9])
    assert parts is not None
    assert parts.weights.tolist() == [[0, 0, 1, 1, 1, 1], [1, 1, 0, 0, 1, 1], [1, 1, 1, 1, 0, 0]]
    assert deletions([7, 7, 7]) is None


@pytest.mark.parametrize(("n", "most", "groups", "size"), [(10, 64, 10, 1), (65, 64, 32, 2), (100, 10, 10, 10)])
def test_many_units_are_left_out_in_equal_groups(n: int, most: int, groups: int, size: int) -> None:
    parts = deletions(range(n), most)
    assert parts is not None
    assert parts.weights.shape == (groups, n)
    assert set((n - parts.weights.sum(axis=1)).tolist()) == {size}
    assert (1 - parts.weights).sum(axis=0).max() == 1
    assert np.array_equal(parts.weights, deletions(range(n), most).weights)  # type: ignore[union-attr]


def test_groups_give_the_variance_of_a_mean() -> None:
    rng = np.random.default_rng(3)
    parts = deletions(range(65), 20)
    assert parts is not None
    x = rng.normal(size=(4000, 65))
    without = (x @ parts.weights.T / parts.weights.sum(axis=1)).T
    estimated = (parts.source(without).deviations ** 2).sum(axis=0).mean()
    assert estimated == pytest.approx(1 / 65, rel=0.03)


def test_no_spread_gives_an_interval_of_no_width() -> None:
    assert intervals(np.zeros(2), [source(np.zeros((5, 2)))]).tolist() == [[0, 0], [0, 0]]


def test_differences_use_what_the_players_share() -> None:
    """Two players that move together are told apart, though each alone is uncertain."""
    together = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    phi = np.array([5.0, 4.0])
    sources = [source(np.stack([together, together], axis=1))]
    assert intervals(phi, sources)[0][0] < 0
    difference = difference_intervals(phi, sources)
    assert difference[0, 1] == pytest.approx([1, 1])
    assert difference[1, 0] == pytest.approx([-1, -1])
    assert difference[0, 0].tolist() == [0, 0]


def test_share_intervals_lie_within_bounds_and_hold_the_share() -> None:
    phi = np.array([6.0, -3.0, 1.0])
    for variance in (1e-8, 1.0, 1e4):
        ends = share_intervals(phi, [noise([variance] * 3)])
        assert ends.min() >= -1
        assert ends.max() <= 1
        assert np.all(ends[:, 0] <= phi / 10 + 1e-9)
        assert np.all(phi / 10 <= ends[:, 1] + 1e-9)
    assert share_intervals(phi, [noise([1e4] * 3)]).tolist() == [[-1, 1]] * 3
    narrow = share_intervals(phi, [noise([1e-8] * 3)])
    assert narrow == pytest.approx(np.stack([phi / 10, phi / 10], axis=1), abs=1e-3)


def test_share_interval_of_a_small_error_is_the_delta_methods() -> None:
    phi, variance = np.array([6.0, 3.0]), 1e-4
    ends = share_intervals(phi, [noise([variance, variance], df=100)])
    gradient = np.array([3.0, -6.0]) / 81
    half = stats.t.ppf(0.975, 100) * np.sqrt(variance * gradient @ gradient)
    assert ends[0] == pytest.approx([6 / 9 - half, 6 / 9 + half], rel=1e-4)


def test_share_of_a_player_without_effect_is_exactly_zero() -> None:
    phi = np.array([1.0, 0.0])
    deviations = np.array([[5.0, 0.0], [-5.0, 0.0], [0.0, 0.0]])
    ends = share_intervals(phi, [source(deviations)])
    assert ends[1].tolist() == [0, 0]
    assert share_intervals(np.zeros(2), [source(np.zeros((3, 2)))]).tolist() == [[0, 0], [0, 0]]


def test_share_of_a_single_player_is_as_sure_as_its_sign() -> None:
    sources = [source([[3.0], [-3.0]]), noise([1.0], df=8)]
    low, high = intervals([20.0], sources)[0]
    assert low < 0 < high
    assert share_intervals([20.0], sources).tolist() == [[-1, 1]]
    assert share_intervals([90.0], sources) == pytest.approx(np.array([[1, 1]]))
    assert share_intervals([-90.0], sources) == pytest.approx(np.array([[-1, -1]]))


def test_probability_largest() -> None:
    assert probability_largest([5.0, 5.0], [noise([1.0, 1.0])]) == pytest.approx([0.5, 0.5], abs=0.02)
    assert probability_largest([9.0, 0.0], [noise([1.0, 1.0])]) == pytest.approx([1, 0], abs=1e-3)
    assert probability_largest([0.0, 0.0, 0.0], [source(np.zeros((3, 3)))]) == pytest.approx([1 / 3] * 3)
    one_apart = probability_largest([1.0, 0.0], [noise([0.5, 0.5], df=1000)])
    assert one_apart[0] == pytest.approx(stats.norm.cdf(1), abs=0.015)
    few = probability_largest([1.0, 0.0], [noise([0.5, 0.5], df=3)])
    assert few[0] == pytest.approx(stats.t.cdf(1, 3), abs=0.015)
    assert np.array_equal(few, probability_largest([1.0, 0.0], [noise([0.5, 0.5], df=3)]))


def test_intervals_hold_the_truth_in_95_of_100() -> None:
    """A non-linear result of two samples: the product of means."""
    rng = np.random.default_rng(4)
    rows, columns = deletions(range(8)), deletions(range(10))
    assert rows is not None
    assert columns is not None
    held = 0
    for _ in range(400):
        x, y = 3 + rng.normal(size=8), 2 + rng.normal(size=10)
        without_x = np.array([x[w > 0].mean() for w in rows.weights]) * y.mean()
        without_y = np.array([y[w > 0].mean() for w in columns.weights]) * x.mean()
        low, high = intervals(x.mean() * y.mean(), [rows.source(without_x), columns.source(without_y)])
        held += low <= 6 <= high
    assert 0.925 <= held / 400 <= 0.98


def test_a_share_stays_within_its_range() -> None:
    """The second player may well take away from the first, whose share of Σφ would then exceed 1."""
    sources = [Source(np.array([[0.0, 0.6], [0.0, -0.6], [0.0, 0.0]]))]
    (low, high), (least, most) = share_intervals([10.0, 0.1], sources)
    assert 0.7 < low < 0.99
    assert high == 1
    assert -1 <= least < 0 < most < 0.3
    assert (share_intervals([-10.0, -0.1], sources)[0] == [-1, -low]).all()
