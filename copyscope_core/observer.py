"""Progress of long work: shown on a terminal, passed to a program, or ignored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

BANK_STAGE = "Looking at the control bank (once for each size of image)"


class Observer(Protocol):
    """Is notified of stages of work. Any method may raise to stop the work."""

    def stage(self, name: str, total: int) -> None:
        """A stage of ``total`` steps begins; the one before it is over."""

    def step(self, done: int, text: str = "") -> None:
        """``done`` steps of the stage are finished; ``text`` says what is being done."""

    def note(self, text: str) -> None:
        """One sentence the user should see."""


def stage_of(observer: Observer, name: str) -> Callable[[int, int], None]:
    """A function of steps done and steps in all that begins a stage when it is first called."""
    begun: list[int] = []

    def progress(done: int, total: int) -> None:
        if not begun:
            begun.append(total)
            observer.stage(name, total)
        observer.step(done)

    return progress


class Quiet:
    """An observer that says nothing."""

    def stage(self, name: str, total: int) -> None:
        """Say nothing."""

    def step(self, done: int, text: str = "") -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""
