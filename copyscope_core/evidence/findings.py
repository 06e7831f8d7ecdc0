"""What a verification has found so far: what differs, what was not checked, and how much was."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple


class Finding(NamedTuple):
    """Something that differs from what the report or the manifest says.

    Attributes:
        what: the file or number.
        message: what is wrong with it, as a clause.
    """

    what: str
    message: str


class Findings:
    """Collects findings; of each file or number only the first is kept.

    Attributes:
        notes: what was not checked, as sentences.
        checked: how many ``files``, ``images``, ``features`` and ``numbers`` were.
    """

    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}
        self.notes: list[str] = []
        self.checked: Counter[str] = Counter()

    def add(self, what: str, message: str) -> None:
        """Keep a finding, unless there is one of the same thing."""
        self._found.setdefault(what, Finding(what, message))

    def all(self) -> tuple[Finding, ...]:
        """The findings, in the order in which they were made."""
        return tuple(self._found.values())
