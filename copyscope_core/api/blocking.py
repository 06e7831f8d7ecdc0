"""Work that runs an event loop of its own, called from anywhere: also where a loop is running, as in a notebook."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from ..errors import CopyScopeError
from ..observer import Observer, Quiet

_Result = TypeVar("_Result")
_INTERRUPTIBLE = 0.5
"""Seconds: on Windows an interrupt is noticed only between two waits."""


class _Stopped(CopyScopeError):
    """Ends work in another thread; never seen by a user."""


class _Watch:
    """An observer that stops the work, at its next step, once it has been told to."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.stop = threading.Event()

    def stage(self, name: str, total: int) -> None:
        """Go on, or stop."""
        self._go_on()
        self._observer.stage(name, total)

    def step(self, done: int, text: str = "") -> None:
        """Go on, or stop."""
        self._go_on()
        self._observer.step(done, text)

    def note(self, text: str) -> None:
        """Go on, or stop."""
        self._go_on()
        self._observer.note(text)

    def _go_on(self) -> None:
        if self.stop.is_set():
            raise _Stopped("The work was interrupted.")


def blocking(work: Callable[[Observer], _Result], observer: Observer | None) -> _Result:
    """Do work that runs an event loop of its own: here, or in a thread where a loop is running here already.

    Interrupted, it waits until the thread has stopped.
    """
    shown = observer or Quiet()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work(shown)
    watch = _Watch(shown)
    with ThreadPoolExecutor(1, thread_name_prefix="copyscope") as pool:
        future = pool.submit(contextvars.copy_context().run, work, watch)
        try:
            while not wait((future,), _INTERRUPTIBLE).done:
                pass
            return future.result()
        except KeyboardInterrupt:
            watch.stop.set()
            raise
