"""Ctrl-C that asks for the report: what is heard, and by whom."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from copyscope_core.auditing.interrupt import Interrupt

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")


@pytest.fixture(autouse=True)
def handler() -> Iterator[list[int]]:
    """What a program hears of Ctrl-C otherwise."""
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    yield heard
    signal.signal(signal.SIGINT, before)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


async def long() -> None:
    await asyncio.sleep(30)


async def short() -> None:
    await asyncio.sleep(0)


def test_the_first_stops_the_work_and_the_second_does_what_it_did_before(handler: list[int]) -> None:
    told: list[str] = []

    async def main() -> None:
        with Interrupt(lambda: told.append("stop")) as interrupt:
            interrupt.listen()
            assert await interrupt.unless(short())
            asyncio.get_running_loop().call_later(0.05, press)
            assert not await interrupt.unless(long())
            assert (told, handler) == (["stop"], [])
            assert not await interrupt.unless(long()), "whoever asked once has asked"
            interrupt.listen()
            press()
            await asyncio.sleep(0.01)

    asyncio.run(main())
    assert (told, handler) == (["stop"], [signal.SIGINT])


def test_it_hears_nothing_before_it_listens_and_after(handler: list[int]) -> None:
    async def main() -> None:
        with Interrupt(lambda: None) as interrupt:
            press()
            await asyncio.sleep(0.01)
            assert handler == [signal.SIGINT]
            interrupt.listen()
        press()
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert handler == [signal.SIGINT] * 2


def test_errors_of_the_work_pass_and_a_cancelled_audit_cancels_it() -> None:
    ended: list[Any] = []

    async def fails() -> None:
        raise ValueError("no")

    async def notes() -> None:
        try:
            await long()
        finally:
            ended.append("work")

    async def main() -> None:
        with Interrupt(lambda: None) as interrupt:
            with pytest.raises(ValueError, match="no"):
                await interrupt.unless(fails())
            task = asyncio.ensure_future(interrupt.unless(notes()))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert ended == ["work"]


def test_another_thread_and_a_program_that_ignores_it_are_left_alone(handler: list[int]) -> None:
    async def listens() -> None:
        before = signal.getsignal(signal.SIGINT)
        with Interrupt(lambda: None) as interrupt:
            interrupt.listen()
            assert signal.getsignal(signal.SIGINT) is before

    thread = threading.Thread(target=lambda: asyncio.run(listens()))
    thread.start()
    thread.join()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(listens())
