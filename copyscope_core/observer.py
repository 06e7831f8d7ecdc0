"""Progress of long work: shown on a terminal, passed to a program, or ignored."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Is notified of stages of work. Any method may raise to stop the work."""

    def stage(self, name: str, total: int) -> None:
        """A stage of ``total`` steps begins; the one before it is over."""

    def step(self, done: int, text: str = "") -> None:
        """``done`` steps of the stage are finished; ``text`` says what is being done."""

    def note(self, text: str) -> None:
        """One sentence the user should see."""


class Quiet:
    """An observer that says nothing."""

    def stage(self, name: str, total: int) -> None:
        """Say nothing."""

    def step(self, done: int, text: str = "") -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""
