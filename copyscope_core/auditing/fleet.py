"""Several servers at once: which runs which coalition, and what becomes of a dead one's work."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from ..comfyui.errors import ServerHangError, ServerLostError, ServerUnreachableError
from ..errors import HostError
from ..observer import Observer
from ..planning.steps import Step

MOST_LOST = 3
"""A step that has ended this many workers is given up, so that it does not end them all."""


class Worker(Protocol):
    """What runs one step at a time."""

    @property
    def name(self) -> str:
        """What it is called in messages and in the run folder."""


W = TypeVar("W", bound=Worker)


async def distribute(
    steps: Sequence[Step],
    workers: Sequence[W],
    work: Callable[[W, Step], Awaitable[None]],
    observer: Observer,
    elsewhere: Mapping[Step, str] | None = None,
) -> list[W]:
    """Run every step on one of the workers and return those that are still of use.

    A worker takes the first step in the order given, but goes on with a coalition that it has begun (its models are
    loaded), and leaves those that others have begun to them while there is something else. The steps of a worker that
    dies or hangs go to the others.

    Args:
        work: runs a step to its end. After a ``ServerLostError``, ``ServerHangError`` or ``ServerUnreachableError`` the
            worker is of no more use; after any other error the step cannot be run anywhere.
        elsewhere: step → name of a worker that leaves it to another one, where there is another.

    Raises:
        HostError: a step cannot be run or has ended too many workers, or none is left; the other steps in flight are
            cancelled.
    """
    queue = _Queue(steps, elsewhere or {}, list(workers))

    async def serve(worker: W) -> None:
        while (step := await queue.take(worker)) is not None:
            try:
                await work(worker, step)
            except (ServerLostError, ServerHangError, ServerUnreachableError) as error:
                await queue.leave(worker, step)
                if not queue.workers:
                    raise
                if queue.losses[step] == MOST_LOST:
                    raise HostError(
                        f"{error} One and the same coalition has ended {MOST_LOST} servers, so it is tried on no other."
                    ) from error
                observer.note(f"{error} Its work goes to the other servers.")
                return
            await queue.finish(step)

    tasks = [asyncio.create_task(serve(worker)) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return queue.workers


class _Queue(Generic[W]):
    """The steps that wait, and who has begun which coalition."""

    def __init__(self, steps: Sequence[Step], elsewhere: Mapping[Step, str], workers: list[W]) -> None:
        self.workers = workers
        self._waiting = list(steps)
        self._elsewhere = elsewhere
        self._begun: dict[str, int] = {}
        self._running: set[Step] = set()
        self._changed = asyncio.Condition()
        self.losses: Counter[Step] = Counter()

    async def take(self, worker: W) -> Step | None:
        """The worker's next step; None when all are finished."""
        async with self._changed:
            while self._waiting or self._running:
                allowed = [
                    step for step in self._waiting if len(self.workers) == 1 or self._elsewhere.get(step) != worker.name
                ]
                if allowed:
                    begun = set(self._begun.values())
                    mine = self._begun.get(worker.name)
                    step = min(allowed, key=lambda step: (step.mask != mine, step.mask in begun))
                    self._waiting.remove(step)
                    self._running.add(step)
                    self._begun[worker.name] = step.mask
                    return step
                await self._changed.wait()
            return None

    async def finish(self, step: Step) -> None:
        async with self._changed:
            self._running.remove(step)
            self._changed.notify_all()

    async def leave(self, worker: W, step: Step) -> None:
        """The worker is gone, and its step waits again, unless it has ended too many."""
        async with self._changed:
            self.workers.remove(worker)
            self._begun.pop(worker.name, None)
            self._running.remove(step)
            self.losses[step] += 1
            if self.losses[step] < MOST_LOST:
                self._waiting.insert(0, step)
            self._changed.notify_all()
