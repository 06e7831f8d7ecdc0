"""Ctrl-C that asks for the report of what is known, in the place of ending the audit."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType, TracebackType
from typing import Any


class Interrupt:
    """While it listens, the first Ctrl-C asks the audit to stop; the second does what it did before.

    Only a program's main thread hears of Ctrl-C; elsewhere, and where a program ignores it, nobody ever asks.

    Args:
        told: called when somebody asks.
    """

    def __init__(self, told: Callable[[], None]) -> None:
        self._told = told
        self._asked = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._before: Any = None
        self._listening = False

    def __enter__(self) -> Interrupt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deaf()

    def listen(self) -> None:
        """Begin to listen."""
        heard = threading.current_thread() is threading.main_thread() and callable(signal.getsignal(signal.SIGINT))
        if heard and not self._listening and not self._asked.is_set():
            self._before = signal.signal(signal.SIGINT, self._hear)
            self._listening = True

    async def unless(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do some work; False where somebody asked before its end, and it was cancelled."""
        task, asked = asyncio.ensure_future(work), asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        if task.cancelled():
            return False
        task.result()
        return True

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._deaf()
        self._loop.call_soon_threadsafe(self._ask)

    def _ask(self) -> None:
        self._told()
        self._asked.set()

    def _deaf(self) -> None:
        if self._listening:
            signal.signal(signal.SIGINT, self._before)
            self._listening = False
