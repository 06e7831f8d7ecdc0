"""The queue of features: batches, turns, errors and interruption."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from copyscope_core.auditing.feature_queue import FeatureQueue
from copyscope_core.errors import StoreError
from copyscope_core.features.extractor import BATCH_SIZE, Features
from copyscope_core.store.entry import Entry, StoredImage


def entry(number: int, images: int = 1) -> Entry:
    files = tuple(
        StoredImage(f"{place}.png", "0" * 64, f"{number:063x}{place % 16:x}", 64, 64) for place in range(images)
    )
    return Entry(f"{number:064x}", files, {})


class Computes:
    """Notes what it is asked for; optionally waits for ``gate``, or fails at its nth call."""

    def __init__(self, gate: threading.Event | None = None, fails_at: int | None = None) -> None:
        self.batches: list[list[str]] = []
        self.given: list[set[str]] = []
        self.gate, self.fails_at = gate, fails_at

    def __call__(self, entries: Sequence[Entry], made: Mapping[str, Features]) -> None:
        if self.gate is not None:
            assert self.gate.wait(10)
        self.batches.append([item.key for item in entries])
        self.given.append(set(made))
        if len(self.batches) == self.fails_at:
            raise StoreError("the disk is full")


class Gives:
    """A runner that has the features of what it made."""

    name = "elsewhere"

    async def make(self, *_: Any) -> Entry:
        raise NotImplementedError

    async def features(self, made: Entry) -> dict[str, Features]:
        return {image.pixel_sha256: np.zeros(3, np.float32) for image in made.images}


def keys(entries: Sequence[Entry]) -> list[str]:
    return [item.key for item in entries]


@pytest.mark.parametrize("in_turn", [False, True])
def test_every_entry_is_computed_once_and_no_batch_is_larger_than_it_need_be(in_turn: bool) -> None:
    entries = [entry(number, 1 + number % 3) for number in range(20)] + [entry(20, BATCH_SIZE + 5)]
    computes = Computes()

    async def main() -> None:
        queue = FeatureQueue(computes, in_turn)
        for item in entries:
            await queue.add(item)
        await queue.finish()
        await queue.stop()

    asyncio.run(main())
    assert [key for batch in computes.batches for key in batch] == keys(entries)
    sizes = {item.key: len(item.images) for item in entries}
    for batch in computes.batches:
        assert len(batch) == 1 or sum(sizes[key] for key in batch) <= BATCH_SIZE


def test_in_turn_a_full_batch_is_waited_for_and_less_is_not_begun() -> None:
    computes = Computes()

    async def main() -> None:
        queue = FeatureQueue(computes, in_turn=True)
        for number in range(BATCH_SIZE - 1):
            await queue.add(entry(number))
        await asyncio.sleep(0.05)
        assert computes.batches == []
        await queue.add(entry(BATCH_SIZE - 1))
        assert [len(batch) for batch in computes.batches] == [BATCH_SIZE]
        await queue.add(entry(BATCH_SIZE))
        await queue.finish()
        assert [len(batch) for batch in computes.batches] == [BATCH_SIZE, 1]

    asyncio.run(main())


def test_beside_a_gpu_nothing_is_waited_for_and_what_has_gathered_is_one_batch() -> None:
    gate = threading.Event()
    computes = Computes(gate)

    async def main() -> None:
        queue = FeatureQueue(computes, in_turn=False)
        await queue.add(entry(0))
        await asyncio.sleep(0.05)
        for number in range(1, 5):
            await queue.add(entry(number))
        assert computes.batches == []
        gate.set()
        await queue.finish()

    asyncio.run(main())
    assert [len(batch) for batch in computes.batches] == [1, 4]


@pytest.mark.parametrize("in_turn", [False, True])
def test_features_that_the_runner_has_are_passed_on(in_turn: bool) -> None:
    computes, item = Computes(), entry(1, 2)

    async def main() -> None:
        queue = FeatureQueue(computes, in_turn)
        await queue.add(item, Gives())
        await queue.finish()

    asyncio.run(main())
    assert computes.given == [{image.pixel_sha256 for image in item.images}]


@pytest.mark.parametrize("in_turn", [False, True])
def test_an_error_reaches_who_adds_the_next_or_finishes(in_turn: bool) -> None:
    computes = Computes(fails_at=1)

    async def main() -> None:
        queue = FeatureQueue(computes, in_turn)
        try:
            with pytest.raises(StoreError, match="full"):
                for number in range(3 * BATCH_SIZE):
                    await queue.add(entry(number))
                    await asyncio.sleep(0.02)
        finally:
            await queue.stop()

    asyncio.run(main())
    assert len(computes.batches) == 1


@pytest.mark.parametrize("in_turn", [False, True])
def test_interrupted_the_batch_in_hand_is_finished_and_no_other_begun(in_turn: bool) -> None:
    gate = threading.Event()
    computes = Computes(gate)

    async def main() -> None:
        queue = FeatureQueue(computes, in_turn)

        async def adds() -> None:
            for number in range(2 * BATCH_SIZE):
                await queue.add(entry(number))
            await queue.finish()

        adding = asyncio.create_task(adds())
        await asyncio.sleep(0.1)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        asyncio.get_running_loop().call_later(0.1, gate.set)
        await queue.stop()

    asyncio.run(main())
    assert len(computes.batches) == 1
