"""The features of coalitions that have their images: computed a batch at a time, while the servers work on the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from ..features.extractor import BATCH_SIZE, Features
from ..store.entry import Entry
from .machine import Runner

Compute: TypeAlias = Callable[[Sequence[Entry], Mapping[str, Features]], None]
"""Computes the features of entries, but for those given by pixel hash; called in a thread, never twice at once."""


class FeatureQueue:
    """Entries that wait for their features.

    Args:
        compute: called with as many entries as make a batch of images, or one that has more.
        in_turn: the servers sample on a CPU. On shared cores both at once take longer than one after the other, so a
            server's next prompt waits: until a batch is full nothing is computed, and then until it is done.
    """

    def __init__(self, compute: Compute, in_turn: bool) -> None:
        self._compute = compute
        self._in_turn = in_turn
        self._waiting: list[tuple[Entry, asyncio.Task[dict[str, Features]] | None]] = []
        self._task: asyncio.Task[None] | None = None

    def leaves_server_free(self, images: int) -> bool:
        """Whether a server may have its next prompt before the one that makes so many images is added."""
        return not self._in_turn or self._images + images < BATCH_SIZE

    async def add(self, entry: Entry, runner: Runner | None = None) -> None:
        """Have an entry's features computed; in turn, return when the server may go on.

        Args:
            runner: what made the entry, which may have its features.

        Raises:
            CopyScopeError: features cannot be computed or stored.
        """
        made = None if runner is None else asyncio.create_task(runner.features(entry))
        self._waiting.append((entry, made))
        if self._in_turn:
            if made is not None:
                await asyncio.wait([made])
            if self._images >= BATCH_SIZE:
                await self._started(BATCH_SIZE)
        elif self._task is None or self._task.done():
            if self._task is not None:
                self._task.result()
            self._task = asyncio.create_task(self._work(1))

    async def finish(self) -> None:
        """Compute what still waits."""
        await self._started(1)

    async def stop(self) -> None:
        """Wait for the batch that is in a thread, and begin no other."""
        dropped = [made for _, made in self._waiting if made is not None]
        self._waiting.clear()
        for made in dropped:
            made.cancel()
        await asyncio.gather(*dropped, *([] if self._task is None else [self._task]), return_exceptions=True)

    @property
    def _images(self) -> int:
        return sum(len(entry.images) for entry, _ in self._waiting)

    async def _started(self, least: int) -> None:
        """Wait for what is being computed, then compute while ``least`` images wait. Cancelled, the batch goes on."""
        if self._task is not None:
            await asyncio.shield(self._task)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(least))
        await asyncio.shield(self._task)

    async def _work(self, least: int) -> None:
        while self._waiting and self._images >= least:
            batch = [self._waiting.pop(0)]
            images = len(batch[0][0].images)
            while self._waiting and (images := images + len(self._waiting[0][0].images)) <= BATCH_SIZE:
                batch.append(self._waiting.pop(0))
            made = [await task for _, task in batch if task is not None]
            given = {key: row for rows in made for key, row in rows.items()}
            await asyncio.to_thread(self._compute, [entry for entry, _ in batch], given)
