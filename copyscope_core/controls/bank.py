"""The control bank: freely licensed works of several kinds that ship with CopyScope.

They stand in where a user has no control images of their own. ``works.json`` says of each who made it, its
kind, its package and its licence; ``tools/make_control_bank.py`` makes the pictures from those packages.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import CopyScopeError, describe
from ..files.images import ImageOnDisk

TABLE_FILE = Path(__file__).resolve().parent / "works.json"
PICTURES = TABLE_FILE.parent / "pictures"
NO_ARTIST = ("not named by the package", "unknown")
"""What the table says where nobody is known to have made a work."""


class BankWork(BaseModel):
    """One work of the bank; the table has more about where it comes from."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    file: str
    kind: str
    title: str
    artist: str
    licence: str
    sha256: str

    @property
    def hand(self) -> str | None:
        """Who made it; None where nobody is known."""
        return None if self.artist in NO_ARTIST else self.artist


class _Table(BaseModel):
    works: tuple[BankWork, ...]


@dataclass(frozen=True, eq=False)
class ControlBank:
    """The works of a bank and their pictures, in the order of the table.

    Attributes:
        version: SHA-256 of the table, which holds the hash of every picture.
        images: decoded when they are used.
    """

    version: str
    works: tuple[BankWork, ...]
    images: tuple[ImageOnDisk, ...]


@functools.cache
def load_bank() -> ControlBank:
    """The bank that ships with CopyScope.

    Raises:
        CopyScopeError: its table cannot be read.
    """
    try:
        text = TABLE_FILE.read_bytes()
        table = _Table.model_validate_json(text)
    except (OSError, ValidationError) as error:
        why = describe(error) if isinstance(error, ValidationError) else error.strerror
        raise CopyScopeError(f"The control bank cannot be read ({why}); install CopyScope again.") from error
    images = tuple(ImageOnDisk(PICTURES / work.file) for work in table.works)
    return ControlBank(hashlib.sha256(text.replace(b"\r\n", b"\n")).hexdigest(), table.works, images)
