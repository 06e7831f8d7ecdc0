"""What a verification has found so far: what was changed, what could not be checked, and how much was checked."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple


class Finding(NamedTuple):
    """Something that differs from what the report or the manifest says, or that could not be checked.

    Attributes:
        what: the file or number.
        message: what is wrong with it, or why it was not checked, as a clause.
    """

    what: str
    message: str


class Findings:
    """Collects findings; of each file or number only the first is kept.

    Attributes:
        notes: how far the checks went, and what vouches for the manifest, as sentences.
        checked: how many ``files``, ``images``, ``features`` and ``numbers`` were.
    """

    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}
        self._unchecked: dict[str, Finding] = {}
        self.notes: list[str] = []
        self.checked: Counter[str] = Counter()

    def add(self, what: str, message: str) -> None:
        """Keep a finding, unless there is one of the same thing."""
        self._found.setdefault(what, Finding(what, message))

    def not_checked(self, what: str, message: str) -> None:
        """Keep that something could not be checked, since it was moved or left out."""
        self._unchecked.setdefault(what, Finding(what, message))

    def all(self) -> tuple[Finding, ...]:
        """What was changed or added, in the order in which it was found."""
        return tuple(self._found.values())

    def unchecked(self) -> tuple[Finding, ...]:
        """What could not be checked, unless it is also known to be changed."""
        return tuple(item for what, item in self._unchecked.items() if what not in self._found)
