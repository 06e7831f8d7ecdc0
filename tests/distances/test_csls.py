"""CSLS: against the formula pair by pair, hubs, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from copyscope_core.distances.csls import csls
from copyscope_core.errors import GameError


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_is_the_formula_pair_by_pair() -> None:
    rng = np.random.default_rng(0)
    x, y, control = rng.normal(size=(3, 8)), rng.normal(size=(4, 8)), rng.normal(size=(20, 8))

    def nearness(row: np.ndarray) -> float:
        return sum(sorted((cosine(row, other) for other in control), reverse=True)[:5]) / 5

    expected = [[2 * cosine(a, b) - nearness(a) - nearness(b) for b in y] for a in x]
    assert csls(x, y, control, neighbours=5) == pytest.approx(np.array(expected))
    assert csls(7 * x, y, 0.1 * control, neighbours=5) == pytest.approx(np.array(expected))


def test_a_hub_loses_what_it_has_with_everything() -> None:
    """The hub has the higher cosine with the reference, but it has as much with the control."""
    reference = np.array([[1.0, 0, 0.2]])
    images = np.array([[1.0, 0.1, 0], [0.8, 0, 0.7]])
    control = np.array([[1.0, 0.1, 0], [1.0, 0.2, -0.1]])
    assert cosine(images[0], reference[0]) > cosine(images[1], reference[0])
    hub, other = csls(images, reference, control)[:, 0]
    assert other > hub


def test_a_small_control_counts_whole_and_zeros_are_like_nothing() -> None:
    control = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = csls(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 0.0]]), control, neighbours=10)
    assert found[:, 0] == pytest.approx([2 - 0.5 - 0.5, 0 - 0 - 0.5])


def test_what_does_not_fit_is_refused() -> None:
    one = np.ones((1, 3))
    with pytest.raises(GameError, match="at least 1 neighbour"):
        csls(one, one, one, neighbours=0)
    with pytest.raises(GameError, match="different dimensions"):
        csls(one, one, np.ones((2, 4)))
    with pytest.raises(GameError, match="not empty"):
        csls(one, one, np.ones((0, 3)))


def test_a_contrast_by_csls_is_twice_the_contrast_by_the_cosine() -> None:
    rng = np.random.default_rng(5)
    before, after, reference, control = (rng.normal(size=(n, 6)) for n in (7, 9, 3, 20))

    def contrast(images: np.ndarray, likeness: Any) -> float:
        return float(likeness(images, reference).mean() - likeness(images, control).mean())

    def cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x / np.linalg.norm(x, axis=1)[:, None]) @ (y / np.linalg.norm(y, axis=1)[:, None]).T

    by_csls, by_cosine = (
        contrast(after, likeness) - contrast(before, likeness)
        for likeness in (lambda x, y: csls(x, y, control), cosine)
    )
    assert by_csls == pytest.approx(2 * by_cosine)
