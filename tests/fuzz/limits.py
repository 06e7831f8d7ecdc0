"""A limit on processor time, for tests of work that must not grow out of hand."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

SECONDS = 20.0
"""Enough on any machine for what takes a second, too little for what takes the square of it."""

CLOCK = 10
"""How many times the limit of processor time the clock may show, on a machine that is busy with other things."""


class Hang(BaseException):
    """The limit was reached; no handler of the code under test catches this."""


@contextlib.contextmanager
def time_limit(seconds: float = SECONDS) -> Iterator[None]:
    """Interrupt what takes more processor time than this."""
    if not hasattr(signal, "SIGPROF"):
        yield
        return

    def ring(number: int, frame: Any) -> None:
        raise Hang

    earlier = [signal.signal(number, ring) for number in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, CLOCK * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in zip((signal.SIGPROF, signal.SIGALRM), earlier, strict=True):
            signal.signal(number, handler)
