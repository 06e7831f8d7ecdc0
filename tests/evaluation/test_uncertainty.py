"""Intervals of a game: pairing, exactness, what they cover, and when there are none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from copyscope_core.evaluation.evaluate import DistanceName, Evaluation, evaluate
from copyscope_core.evaluation.uncertainty import NoIntervalError, same_seeds

Floats = NDArray[np.float64]
D = 24


def images(seed: int, n: int, shifts: tuple[float, ...], own: float = 0.3) -> dict[int, Floats]:
    """Coalitions whose images share the noise of their seeds, and have some of their own."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, D))
    return {
        mask: common + own * rng.normal(size=(n, D)) + 2 - sum(s for i, s in enumerate(shifts) if mask >> i & 1)
        for mask in range(2 ** len(shifts))
    }


def run(
    n: int = 10, m: int = 9, shifts: tuple[float, ...] = (1.0, 0.5), seed: int = 0, name: DistanceName = "fid"
) -> Evaluation:
    reference = np.random.default_rng(1000 + seed).normal(size=(m, D))
    features = images(seed, n, shifts)
    return evaluate(
        [f"p{i}" for i in range(len(shifts))],
        features,
        reference,
        seeds={mask: list(range(n)) for mask in features},
        distance=name,
    )


def test_shapes_and_that_estimates_lie_within() -> None:
    result = run(shifts=(1.0, 0.5, 0.0))
    found = result.uncertainty
    assert found is not None
    assert result.no_interval == ""
    assert result.share is not None
    assert found.share is not None
    assert found.kid_shapley is not None
    assert result.kid_shapley is not None
    assert found.pairs is not None
    assert result.pairs is not None
    for estimate, ends in (
        (result.shapley, found.shapley),
        (result.share, found.share),
        (result.distance, found.fid),
        (result.kid_shapley, found.kid_shapley),
        (result.pairs, found.pairs),
        (result.shapley[:, None] - result.shapley[None, :], result.functions[0].difference),
    ):
        assert ends is not None
        assert ends.shape == (*estimate.shape, 2)
        assert np.all(ends[..., 0] <= estimate)
        assert np.all(estimate <= ends[..., 1])
    assert result.functions[0].probability_largest is not None
    assert result.functions[0].probability_largest.sum() == pytest.approx(1)
    assert (found.seeds, found.groups, found.reference_groups) == (10, 10, 9)
    assert np.allclose(np.diagonal(found.pairs).T, found.shapley)


def test_a_clear_game_is_clear_and_a_noisy_one_is_not() -> None:
    clear, noisy = run(shifts=(1.0, 0.2)).functions[0], run(n=3, shifts=(0.02, 0.01)).functions[0]
    assert clear.difference is not None
    assert clear.probability_largest is not None
    assert noisy.difference is not None
    assert clear.difference[0, 1, 0] > 0
    assert clear.probability_largest[0] > 0.99
    assert noisy.difference[0, 1, 0] < 0 < noisy.difference[0, 1, 1]


def test_the_same_seeds_make_narrow_intervals() -> None:
    """What the coalitions share cancels in φ: the same images in another order per coalition would be wide."""
    n, reference = 12, np.random.default_rng(5).normal(size=(4, D))
    features = images(1, n, (0.5,), own=0.0)
    seeds = {mask: list(range(n)) for mask in features}
    paired = evaluate(["a"], features, reference, seeds=seeds).uncertainty
    features[1] = np.roll(features[1], 1, axis=0)
    mixed = evaluate(["a"], features, reference, seeds=seeds).uncertainty
    assert paired is not None
    assert mixed is not None
    assert np.diff(paired.shapley[0]) < 0.6 * np.diff(mixed.shapley[0])


def test_a_player_without_effect_keeps_zero_and_an_interval_of_no_width() -> None:
    half = images(2, 8, (1.0,))
    features = {0: half[0], 1: half[1], 2: half[0].copy(), 3: half[1].copy()}
    reference = np.random.default_rng(6).normal(size=(9, D))
    result = evaluate(["a", "idle"], features, reference, seeds={mask: list(range(8)) for mask in features})
    found = result.uncertainty
    assert found is not None
    assert found.share is not None
    assert found.pairs is not None
    assert result.shapley[1] == 0
    assert found.shapley[1].tolist() == found.share[1].tolist() == found.pairs[0, 1].tolist() == [0, 0]
    assert result.functions[0].probability_largest is not None
    assert result.functions[0].probability_largest[1] == 0


def test_few_references_are_taken_as_they_are() -> None:
    few, many = run(m=7).uncertainty, run(m=8).uncertainty
    assert few is not None
    assert many is not None
    assert (few.reference_groups, many.reference_groups) == (0, 8)


def test_the_result_is_the_same_every_time() -> None:
    first, second = run().functions[0], run().functions[0]
    for one, other in (
        (first.shapley_interval, second.shapley_interval),
        (first.probability_largest, second.probability_largest),
    ):
        assert one is not None
        assert other is not None
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", ["fid", "kid", "mmd"])
def test_every_distance_has_intervals(name: DistanceName) -> None:
    result = run(name=name)
    assert result.uncertainty is not None
    assert result.uncertainty.shapley[0, 0] > 0
    if name == "kid":
        assert result.uncertainty.kid_shapley == pytest.approx(result.uncertainty.shapley)


def test_kid_without_one_of_two_seeds_is_not_defined() -> None:
    fid, kid = run(n=2), run(n=2, name="kid")
    assert fid.uncertainty is not None
    assert fid.uncertainty.kid_shapley is None
    assert kid.uncertainty is None
    assert "not defined without one of the two seeds" in kid.no_interval


def test_a_batch_is_one_unit() -> None:
    features = images(3, 12, (0.5,))
    reference = np.random.default_rng(7).normal(size=(3, D))
    alone = evaluate(["a"], features, reference, seeds={m: list(range(12)) for m in features})
    batches = evaluate(["a"], features, reference, seeds={m: [k // 4 for k in range(12)] for m in features})
    assert alone.uncertainty is not None
    assert batches.uncertainty is not None
    assert (alone.uncertainty.groups, batches.uncertainty.groups) == (12, 3)


@pytest.mark.parametrize(
    ("seeds", "reason"),
    [
        (None, "not known"),
        ({0: [0, 1], 1: [0, None]}, "not known"),
        ({0: [0, 1], 1: [0]}, "not known"),
        ({0: [0, 1]}, "not known"),
        ({0: [0, 1], 1: [1, 0]}, "do not have the same seeds"),
        ({0: [4, 4], 1: [4, 4]}, "One seed was run"),
    ],
)
def test_when_there_is_no_interval(seeds: dict[int, list[int | None]] | None, reason: str) -> None:
    with pytest.raises(NoIntervalError, match=reason):
        same_seeds(seeds, (0, 1), [2, 2])


def test_unequal_batches_have_no_interval() -> None:
    with pytest.raises(NoIntervalError, match="different numbers of images"):
        same_seeds({0: [0, 0, 1], 1: [0, 0, 1]}, (0, 1), [3, 3])


def test_the_reason_is_told() -> None:
    features = images(0, 4, (1.0,))
    reference = np.zeros((3, D))
    plain = evaluate(["a"], features, reference)
    assert plain.uncertainty is None
    assert "seeds of the images are not known" in plain.no_interval
    assert "no_interval" not in {caution.code for caution in plain.warnings}
    uneven = evaluate(["a"], features, reference, seeds={0: [0, 1, 2, 3], 1: [3, 2, 1, 0]})
    assert "no_interval" in {caution.code for caution in uneven.warnings}
    one = evaluate(["a"], features, reference, seeds={0: [7] * 4, 1: [7] * 4})
    assert "one_seed" in {caution.code for caution in one.warnings}
    few = evaluate(["a"], features, reference, seeds={0: [0, 0, 1, 1], 1: [0, 0, 1, 1]})
    assert "few_seeds" in {caution.code for caution in few.warnings}


@pytest.mark.parametrize("m", [3, 12])
def test_intervals_hold_the_expected_value(m: int) -> None:
    """Fewer games than studies/calibration.py, but enough to notice intervals that are off by half."""
    n, shifts, games = 6, (0.6, -0.2, 0.0), 50
    rng = np.random.default_rng(8)
    fixed = rng.normal(size=(m, D))

    def one(seed: int, intervals: bool) -> Evaluation:
        features = images(seed, n, shifts)
        reference = fixed if m < 8 else np.random.default_rng(10_000 + seed).normal(size=(m, D))
        seeds = {mask: list(range(n)) for mask in features} if intervals else None
        return evaluate(["a", "b", "c"], features, reference, seeds=seeds)

    truth = np.mean([one(seed, False).shapley for seed in range(1_000, 1_300)], axis=0)
    held = []
    for seed in range(games):
        found = one(seed, True).uncertainty
        assert found is not None
        held.append((found.shapley[:, 0] <= truth) & (truth <= found.shapley[:, 1]))
    assert 0.9 <= np.mean(held) <= 0.995


def test_control_and_contrast() -> None:
    """One player moves towards any picture of the kind, the other towards this reference alone."""
    rng = np.random.default_rng(9)
    n = 10
    artist, kind = np.zeros(D), np.zeros(D)
    kind[:12], artist[12:] = -1.0, -1.0
    common = rng.normal(size=(n, D))
    features = {
        mask: common + 0.2 * rng.normal(size=(n, D)) + (mask & 1) * kind + (mask >> 1) * artist for mask in range(4)
    }
    reference, control = rng.normal(size=(9, D)) + kind + artist, rng.normal(size=(11, D)) + kind
    result = evaluate(
        ["kind", "artist"], features, reference, seeds={mask: list(range(n)) for mask in features}, control=control
    )
    compared, found = result.control, result.functions[0]
    assert compared is not None
    assert found.contrast_interval is not None
    assert compared.count == 11
    alone = evaluate(["kind", "artist"], features, control)
    assert compared.distance == pytest.approx(alone.distance)
    assert found.contrast_interval[0, 0] < 0 < found.contrast_interval[0, 1]
    assert found.contrast_interval[1, 0] > 0
    assert result.verdict.decided
    assert result.verdict.first == 1
