"""From features to results: what is computed, what is refused, what is warned about."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from copyscope_core.distances import registry as module
from copyscope_core.distances.frechet import frechet_distance
from copyscope_core.distances.kernel import kernel_distance
from copyscope_core.distances.registry import DistanceName
from copyscope_core.errors import GameError
from copyscope_core.evaluation.evaluate import Evaluation, evaluate, find_no_effect

Floats = NDArray[np.float64]
D = 24


def workflow(shifts: Mapping[str, float], n: int = 12, m: int = 9) -> tuple[dict[int, Floats], Floats]:
    """Coalitions whose images move by each present player's shift towards a reference around 0, from around 3."""
    rng = np.random.default_rng(0)
    noise, reference = rng.normal(size=(n, D)), rng.normal(size=(m, D))
    features = {
        mask: noise + 3 - sum(shift for bit, shift in enumerate(shifts.values()) if mask >> bit & 1)
        for mask in range(2 ** len(shifts))
    }
    return features, reference


def run(shifts: Mapping[str, float], n: int = 12, m: int = 9) -> Evaluation:
    features, reference = workflow(shifts, n, m)
    return evaluate(list(shifts), features, reference)


def codes(evaluation: Evaluation) -> set[str]:
    return {warning.code for warning in evaluation.warnings}


def test_distances_are_those_of_each_coalition() -> None:
    features, reference = workflow({"a": 1.0, "b": 0.5})
    result = evaluate(["a", "b"], features, reference)
    for mask, x in features.items():
        expected = frechet_distance(x, reference)
        assert result.distance[mask] == pytest.approx(expected.distance)
        assert result.mean[mask] == pytest.approx(expected.mean)
        assert result.covariance[mask] == pytest.approx(expected.covariance)
        assert result.kid[mask] == pytest.approx(kernel_distance(x, reference))
    assert result.values == pytest.approx(result.distance[0] - result.distance)
    assert result.counts == (12,) * 4
    assert result.reference_count == 9


def test_who_moves_the_images_gets_the_contribution() -> None:
    result = run({"strong": 2.0, "weak": 0.5, "away": -0.5})
    strong, weak, away = result.shapley
    assert strong > weak > 0 > away
    assert result.share is not None
    assert np.abs(result.share).sum() == pytest.approx(1)
    assert result.share[2] < 0
    assert result.kid_shapley is not None
    assert np.array_equal(np.argsort(result.kid_shapley), np.argsort(result.shapley))


def test_parts_add_up() -> None:
    result = run({"a": 1.0, "b": 0.5, "c": -0.25})
    assert result.shapley_mean + result.shapley_covariance == pytest.approx(result.shapley, abs=1e-9)
    assert result.shapley.sum() == pytest.approx(result.distance[0] - result.distance[-1])
    assert abs(result.efficiency_gap) < 1e-9
    assert result.masks == tuple(range(8))


def test_hand_made_companions() -> None:
    result = run({"a": 1.0, "b": 0.5})
    d = result.distance
    assert result.leave_one_out == pytest.approx([d[2] - d[3], d[1] - d[3]])
    assert result.single == pytest.approx([d[0] - d[1], d[0] - d[2]])
    assert result.ablation == pytest.approx([(d[0] + d[2]) / 2, (d[0] + d[1]) / 2])


def test_a_player_without_effect_gets_exactly_zero() -> None:
    features, reference = workflow({"a": 1.0, "idle": 0.0})
    hashes = {mask: [f"{float(row.sum()):.9f}" for row in x] for mask, x in features.items()}
    result = evaluate(["a", "idle"], features, reference, hashes)
    assert result.no_effect == (False, True)
    assert result.shapley[1] == 0.0
    assert "no_effect" in codes(result)
    assert evaluate(["a", "idle"], features, reference).no_effect is None


def test_no_effect_needs_every_coalition_to_agree() -> None:
    hashes = {0: ["x"], 1: ["y"], 2: ["x"], 3: ["z"]}
    assert find_no_effect(["a", "b"], hashes) == (False, False)
    with pytest.raises(GameError, match=r"\{a\}"):
        find_no_effect(["a", "b"], {0: ["x"], 2: ["x"], 3: ["x"]})


def test_equal_features_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counting(x: Floats, y: Floats) -> object:
        calls.append(1)
        return frechet_distance(x, y)

    monkeypatch.setattr(module, "frechet_distance", counting)
    features, reference = workflow({"a": 1.0, "idle": 0.0})
    features[2] = features[0].copy()
    evaluate(["a", "idle"], features, reference)
    assert len(calls) == 2


def test_one_reference_image_is_a_point() -> None:
    result = run({"a": 1.0}, m=1)
    assert result.kid == (None, None)
    assert result.kid_shapley is not None
    assert "one_reference" in codes(result)


def test_one_image_a_coalition() -> None:
    result = run({"a": 1.0}, n=1)
    assert result.kid == (None, None)
    assert result.kid_shapley is None
    assert result.shapley[0] > 0
    assert "one_image" in codes(result)


def test_many_images_are_not_warned_about() -> None:
    assert codes(run({"a": 1.0}, n=60, m=60)) == set()
    assert "few_images" in codes(run({"a": 1.0}, n=60, m=20))
    assert "few_images" in codes(run({"a": 1.0}, n=20, m=60))


def test_few_images_are_no_bias_where_the_distance_has_none() -> None:
    names: tuple[DistanceName, ...] = ("fid", "kid", "mmd")
    said = {
        name: next(item.message for item in evaluate(["a"], *workflow({"a": 1.0}), distance=name).warnings)
        for name in names
    }
    assert "FID is biased upwards" in said["fid"]
    assert "KID is unbiased, but noisy" in said["kid"]
    assert "MMD is unbiased, but noisy" in said["mmd"]


def test_a_contribution_from_spread_is_warned_about() -> None:
    """A player that only makes the images more alike lowers tr Σ and so gains."""
    rng = np.random.default_rng(1)
    noise, reference = rng.normal(size=(60, D)), rng.normal(size=(60, D))
    centred = noise - noise.mean(axis=0)
    result = evaluate(["narrow"], {0: 3 * centred, 1: centred}, reference)
    assert result.shapley[0] > 0
    assert result.shapley_covariance[0] == pytest.approx(result.shapley[0])
    assert "mostly_covariance" in codes(result)


def test_nothing_changes() -> None:
    result = run({"a": 0.0, "b": 0.0})
    assert result.share is None
    assert result.shapley.tolist() == [0.0, 0.0]
    assert "no_change" in codes(result)


def test_unequal_counts_are_warned_about() -> None:
    features, reference = workflow({"a": 1.0})
    features[1] = features[1][:7]
    assert "unequal_counts" in codes(evaluate(["a"], features, reference))


def test_what_is_refused() -> None:
    features, reference = workflow({"a": 1.0, "b": 0.5})
    with pytest.raises(GameError, match=r"lacks 1 of 4 coalitions: \{b\}"):
        evaluate(["a", "b"], {mask: x for mask, x in features.items() if mask != 2}, reference)
    with pytest.raises(GameError, match="beyond the 2 of this game"):
        evaluate(["a", "b"], features | {4: features[0]}, reference)
    with pytest.raises(GameError, match="the reference images"):
        evaluate(["a", "b"], features, reference[:0])
    with pytest.raises(GameError, match=r"\{a\} have 5 numbers an image, those of the reference 24"):
        evaluate(["a", "b"], features | {1: np.zeros((3, 5))}, reference)
    broken = features[3].copy()
    broken[4, 2] = np.nan
    with pytest.raises(GameError, match=r"1 of 12 images of the coalition \{a, b\}"):
        evaluate(["a", "b"], features | {3: broken}, reference)


def test_value_follows_the_distance_in_use() -> None:
    features, reference = workflow({"a": 1.0, "b": 0.5})
    fid, kid = (evaluate(["a", "b"], features, reference, distance=name) for name in ("fid", "kid"))
    assert kid.distance == pytest.approx(fid.distance)
    assert kid.chosen == pytest.approx(kid.kid)
    assert kid.values == pytest.approx(kid.chosen[0] - kid.chosen)
    assert kid.shapley == pytest.approx(fid.kid_shapley)
    assert kid.ablation[0] == pytest.approx((kid.chosen[0] + kid.chosen[2]) / 2)
    assert kid.shapley_mean is None
    assert fid.chosen == pytest.approx(fid.distance)
    mmd = evaluate(["a", "b"], features, reference, distance="mmd")
    assert mmd.shapley[0] > mmd.shapley[1] > 0


def test_kernel_game_with_one_reference() -> None:
    features, reference = workflow({"a": 1.0, "b": 0.5}, m=1)
    result = evaluate(["a", "b"], features, reference, distance="kid")
    assert np.isnan(result.chosen).all()
    assert result.shapley[0] > result.shapley[1] > 0
    assert result.ablation[0] > result.ablation[1]


def test_distances_that_cannot_be_used_are_refused() -> None:
    features, reference = workflow({"a": 1.0}, n=1)
    with pytest.raises(GameError, match="kid needs at least two images a combination"):
        evaluate(["a"], features, reference, distance="kid")
    with pytest.raises(GameError, match="at least 5,000 images"):
        evaluate(["a"], features, reference, distance="fid_infinity")
    with pytest.raises(GameError, match="There is no distance “cosine”; choose one of fid, kid"):
        evaluate(["a"], features, reference, distance="cosine")  # type: ignore[arg-type]
    with pytest.raises(GameError, match="the control images have 3 numbers"):
        evaluate(["a"], features, reference, control=np.zeros((2, 3)))


def test_interactions_of_the_game() -> None:
    result = run({"a": 1.0, "b": 0.5, "c": -0.25})
    assert result.pairs is not None
    assert np.diag(result.pairs) == pytest.approx(result.shapley)
    assert sum(result.n_shapley.values()) == pytest.approx(result.values[-1])
    assert set(map(len, result.n_shapley)) == {1, 2, 3}


def test_a_clip_of_equal_frames_counts_as_one_image() -> None:
    features, reference = workflow({"a": 1.0, "b": 0.5}, n=6)
    seeds = {mask: list(range(6)) for mask in features}
    single = evaluate(["a", "b"], features, reference, seeds=seeds, distance="kid")
    frames = {mask: np.repeat(x, 4, axis=0) for mask, x in features.items()}
    of_frames = {mask: np.repeat(np.arange(6), 4).tolist() for mask in features}
    clips = evaluate(["a", "b"], frames, reference, seeds=of_frames, distance="kid", clips=True)
    assert clips.kid == pytest.approx(single.kid, rel=1e-9)
    assert clips.shapley == pytest.approx(single.shapley, rel=1e-9)
    assert clips.uncertainty is not None
    assert single.uncertainty is not None
    assert clips.uncertainty.seeds == 6
    assert clips.uncertainty.shapley == pytest.approx(single.uncertainty.shapley, rel=1e-9)
    as_images = evaluate(["a", "b"], frames, reference, seeds=of_frames, distance="kid")
    assert as_images.kid[0] != pytest.approx(single.kid[0], rel=1e-3)  # what frames as images of their own would give


def test_cautions_count_clips() -> None:
    features, reference = workflow({"a": 1.0}, n=64, m=60)
    seeds = {mask: np.repeat(np.arange(4), 16).tolist() for mask in features}
    few = next(
        w for w in evaluate(["a"], features, reference, seeds=seeds, clips=True).warnings if w.code == "few_images"
    )
    assert "only 4 clips a combination" in few.message
    assert "few_images" not in codes(evaluate(["a"], features, reference, seeds=seeds))
    one = evaluate(["a"], features, reference, seeds={mask: [0] * 64 for mask in features}, clips=True)
    assert {"one_image", "one_seed"} <= codes(one)
    assert one.kid == (None, None)
    assert one.kid_shapley is None
    with pytest.raises(GameError, match="at least two"):
        evaluate(["a"], features, reference, seeds={m: [0] * 64 for m in features}, distance="kid", clips=True)


@pytest.mark.parametrize("seeds", [None, {0: [0, 0, 1], 1: [0, 1, 1]}, {0: [0, 0, None], 1: [0, 0, None]}])
def test_clips_need_the_same_seeds_everywhere(seeds: Mapping[int, list[int | None]] | None) -> None:
    features, reference = workflow({"a": 1.0}, n=3)
    with pytest.raises(GameError, match="Frames of clips need their seeds"):
        evaluate(["a"], features, reference, seeds=seeds, clips=True)
