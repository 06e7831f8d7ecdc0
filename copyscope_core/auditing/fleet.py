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
    expect: Callable[[W, Step | None], None] | None = None,
) -> list[W]:
    """Run every step on one of the workers and return those that are still of use.

    A worker takes the first step in the order given, but goes on with a coalition that it has begun (its models are
    loaded), and leaves those that others have begun to them while there is something else. The steps of a worker that
    dies or hangs go to the others.

    Args:
        work: runs a step to its end. After a ``ServerLostError``, ``ServerHangError`` or ``ServerUnreachableError`` the
            worker is of no more use; after any other error the step cannot be run anywhere.
        elsewhere: step → name of a worker that leaves it to another one, where there is another.
        expect: told, before a worker begins a step, which one it will take after it; None: that is not settled yet.

    Raises:
        HostError: a step cannot be run or has ended too many workers, or none is left; the other steps in flight are
            cancelled.
    """
    queue = _Queue(steps, elsewhere or {}, list(workers))

    async def serve(worker: W) -> None:
        step = await queue.take(worker)
        while step is not None:
            following = None
            if expect is not None:
                following = queue.reserve(worker, step)
                expect(worker, following)
            try:
                await work(worker, step)
            except (ServerLostError, ServerHangError, ServerUnreachableError) as error:
                await queue.leave(worker, step, following)
                if not queue.workers:
                    raise
                if queue.losses[step] == MOST_LOST:
                    raise HostError(
                        f"{error} One and the same coalition has ended {MOST_LOST} servers, so it is tried on no other."
                    ) from error
                observer.note(f"{error} Its work goes to the other servers.")
                return
            await queue.finish(step)
            step = following or await queue.take(worker)

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
        self._suspects: set[Step] = set()
        self.losses: Counter[Step] = Counter()

    async def take(self, worker: W) -> Step | None:
        """The worker's next step; None when all are finished."""
        async with self._changed:
            while self._waiting or self._running:
                if (step := self._next(worker, self._waiting)) is not None:
                    return step
                await self._changed.wait()
            return None

    def reserve(self, worker: W, step: Step) -> Step | None:
        """The step that a worker takes after the one it has.

        None where another worker may be done with its own first, and where one of two would be blamed for the other: a
        step that was with a worker when it was lost is the only one on the next.
        """
        if len(self._waiting) < len(self.workers) or step in self._suspects:
            return None
        return self._next(worker, [step for step in self._waiting if step not in self._suspects])

    def _next(self, worker: W, steps: Sequence[Step]) -> Step | None:
        allowed = [step for step in steps if len(self.workers) == 1 or self._elsewhere.get(step) != worker.name]
        if not allowed:
            return None
        begun = set(self._begun.values())
        mine = self._begun.get(worker.name)
        step = min(allowed, key=lambda step: (step.mask != mine, step.mask in begun))
        self._waiting.remove(step)
        self._running.add(step)
        self._begun[worker.name] = step.mask
        return step

    async def finish(self, step: Step) -> None:
        async with self._changed:
            self._running.remove(step)
            self._changed.notify_all()

    async def leave(self, worker: W, step: Step, following: Step | None) -> None:
        """The worker is gone; its step waits again, unless it has ended too many, and so does the one reserved."""
        async with self._changed:
            self.workers.remove(worker)
            self._begun.pop(worker.name, None)
            self._running.remove(step)
            if following is not None:
                self._running.remove(following)
                self._waiting.insert(0, following)
                self._suspects |= {step, following}
            self.losses[step] += 1
            if self.losses[step] < MOST_LOST:
                self._waiting.insert(0, step)
            self._changed.notify_all()
