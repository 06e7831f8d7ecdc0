"""Errors that reach the user. Each message is one sentence: what is wrong, where, and what to do."""

from __future__ import annotations

import re
import unicodedata

from pydantic import ValidationError

_HARMFUL = ("Cc", "Cf", "Cs", "Zl", "Zp")


class CopyScopeError(Exception):
    """Base of every error that CopyScope raises on purpose; the command line exits with code 2 on it.

    A message may quote a file or a server: what could drive a terminal or turn text around is replaced.
    """

    def __init__(self, message: str) -> None:
        super().__init__(
            "".join("�" if unicodedata.category(c) in _HARMFUL and c not in "\n\t" else c for c in message)
        )

    @property
    def code(self) -> str:
        """A stable name for programs, from that of the class: ``server_unreachable``, ``image``; ``general``."""
        name = type(self).__name__.removesuffix("Error")
        return "general" if name == "CopyScope" else re.sub(r"(?<!\A)(?=[A-Z])", "_", name).lower()


class WorkflowError(CopyScopeError):
    """The workflow cannot be read, checked, converted or rewritten."""


class PlayerError(CopyScopeError):
    """No players were found, or a named player, lock or phrase does not exist."""


class TooManyCoalitionsError(CopyScopeError):
    """The game is larger than ``max_coalitions``; refused before anything is sampled."""


class ImageError(CopyScopeError):
    """An image or a folder of images cannot be used."""


class GameError(CopyScopeError):
    """A table of coalition values is incomplete or inconsistent."""


class StoreError(CopyScopeError):
    """A run folder cannot be read or written."""


class HostError(CopyScopeError):
    """A ComfyUI server cannot be reached, refused a prompt, or failed while running one."""


def describe(error: ValidationError) -> str:
    """The first problems of a pydantic error as ``field: message`` pairs, in one line."""
    parts = []
    for item in error.errors()[:5]:
        where = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        parts.append(f"{where}: {message}" if where else message)
    return "; ".join(parts)
