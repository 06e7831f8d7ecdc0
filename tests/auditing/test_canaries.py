"""Canaries: how far a coalition that is run again is from what it gave in its turn."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from copyscope_core.auditing.canaries import Canary, canary_cautions, judge_canaries, largest_difference
from copyscope_core.store.entry import Entry
from copyscope_core.store.run_store import RunStore


def entry(store: RunStore, key: str, *levels: int, size: tuple[int, int] = (3, 4)) -> Entry:
    """A stored coalition with a grey image of each level."""
    images = []
    for level in levels:
        buffer = io.BytesIO()
        Image.fromarray(np.full((*size, 3), level, dtype=np.uint8)).save(buffer, "PNG")
        images.append(buffer.getvalue())
    return store.write(key * 32, images, {})


@pytest.mark.parametrize(("one", "other"), [(0, 255), (255, 0), (10, 11), (11, 10), (200, 3), (3, 200), (7, 7)])
def test_the_difference_is_the_same_both_ways_and_does_not_wrap(tmp_path: Path, one: int, other: int) -> None:
    store = RunStore(tmp_path)
    found = largest_difference(store, entry(store, "aa", one), entry(store, "bb", other))
    assert found == abs(one - other)


def test_the_largest_of_several_images_counts(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    assert largest_difference(store, entry(store, "aa", 50, 90, 50), entry(store, "bb", 50, 60, 52)) == 30


def test_other_shapes_or_counts_are_as_far_as_can_be(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    first = entry(store, "aa", 9)
    assert largest_difference(store, first, entry(store, "bb", 9, size=(4, 3))) == 255
    assert largest_difference(store, first, entry(store, "cc", 9, 9)) == 255


def test_a_difference_up_to_the_tolerance_holds(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    canary = Canary(0b10, entry(store, "aa", 100), entry(store, "bb", 98))
    for tolerance, holds in ((1, False), (2, True), (3, True)):
        result = judge_canaries([canary], ["checkpoint", "style"], store, tolerance)
        assert (result[0].difference, result[0].holds, result[0].members) == (2, holds, ["style"])
        warned = canary_cautions(result, ["checkpoint", "style"])
        assert [item.code for item in warned] == ([] if holds else ["canary_mismatch"])
        assert holds or "style gave other pixels" in warned[0].message
