"""Where each caution begins: at which counts, shares and parts."""

from __future__ import annotations

import numpy as np
import pytest

from copyscope_core.evaluation.cautions import (
    FEW_IMAGES,
    FEW_SEEDS,
    NEGLIGIBLE_SHARE,
    Caution,
    count_cautions,
    covariance_cautions,
    effect_cautions,
    extractor_cautions,
    interval_cautions,
)
from copyscope_core.evaluation.uncertainty import NoIntervalError, Uncertainty
from copyscope_core.features.extractor import INCEPTION_ID


def codes(found: list[Caution]) -> set[str]:
    return {item.code for item in found}


@pytest.mark.parametrize(
    ("counts", "reference", "expected"),
    [
        ([FEW_IMAGES, FEW_IMAGES], FEW_IMAGES, set()),
        ([FEW_IMAGES - 1] * 2, FEW_IMAGES, {"few_images"}),
        ([FEW_IMAGES] * 2, FEW_IMAGES - 1, {"few_images"}),
        ([FEW_IMAGES] * 2, 2, {"few_images"}),
        ([FEW_IMAGES] * 2, 1, {"one_reference"}),
        ([1, 1], FEW_IMAGES, {"one_image"}),
        ([FEW_IMAGES, FEW_IMAGES + 1], FEW_IMAGES, {"unequal_counts"}),
        ([1, 2], 1, {"unequal_counts", "one_image", "one_reference"}),
    ],
)
def test_counts(counts: list[int], reference: int, expected: set[str]) -> None:
    assert codes(count_cautions(counts, reference)) == expected


def test_few_images_are_counted_and_read_by_the_distance() -> None:
    (fid,) = count_cautions([7, 7], 9)
    assert "7 images a combination and 9 reference images" in fid.message
    assert "biased upwards" in fid.message
    (kid,) = count_cautions([7, 7], FEW_IMAGES, "kid")
    assert "7 images a combination." in kid.message
    assert "unbiased" in kid.message


@pytest.mark.parametrize(("seeds", "warned"), [(2, True), (FEW_SEEDS - 1, True), (FEW_SEEDS, False), (9, False)])
def test_seeds(seeds: int, warned: bool) -> None:
    uncertainty = Uncertainty.__new__(Uncertainty)
    object.__setattr__(uncertainty, "seeds", seeds)
    assert codes(interval_cautions(uncertainty, None)) == ({"few_seeds"} if warned else set())


def test_why_there_is_no_interval() -> None:
    assert interval_cautions(None, None) == []
    assert interval_cautions(None, NoIntervalError("One seed.", "one_seed")) == [Caution("one_seed", "One seed.")]


@pytest.mark.parametrize(
    ("share", "mean", "covariance", "warned"),
    [
        (0.5, 1.0, 2.0, True),
        (0.5, 2.0, 1.0, False),
        (0.5, 1.0, 1.0, False),
        (-0.5, -1.0, -2.0, True),
        (-0.5, 1.0, -2.0, True),
        (0.5, -2.0, 1.0, False),
        (NEGLIGIBLE_SHARE, 1.0, 2.0, True),
        (-NEGLIGIBLE_SHARE, 1.0, 2.0, True),
        (0.9 * NEGLIGIBLE_SHARE, 1.0, 2.0, False),
        (-0.9 * NEGLIGIBLE_SHARE, 1.0, 2.0, False),
    ],
)
def test_contributions_of_spread(share: float, mean: float, covariance: float, warned: bool) -> None:
    found = covariance_cautions(["one", "two"], *(np.array([value, 0.0]) for value in (share, mean, covariance)))
    assert codes(found) == ({"mostly_covariance"} if warned else set())
    assert all("one" in item.message and "two" not in item.message for item in found)


def test_no_parts_no_caution() -> None:
    assert covariance_cautions(["one"], None, np.ones(1), np.ones(1)) == []
    assert covariance_cautions(["one"], np.ones(1), None, None) == []


def test_effects() -> None:
    assert effect_cautions(["a", "b"], np.ones(2), [False, False]) == []
    assert effect_cautions(["a", "b"], np.ones(2), None) == []
    assert codes(effect_cautions(["a", "b"], None, None)) == {"no_change"}
    (idle,) = effect_cautions(["a", "b", "c"], np.ones(3), [True, False, True])
    assert "a, c." in idle.message


def test_other_features_are_named() -> None:
    assert extractor_cautions(INCEPTION_ID) == []
    (found,) = extractor_cautions("clip")
    assert found.code == "other_features"
    assert "clip" in found.message
