"""The files of a run folder, or of a bundle of one (``copyscope bundle``), which is read without being unpacked."""

from __future__ import annotations

import contextlib
import hashlib
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ..errors import StoreError
from ..files.atomic import TEMPORARY_SUFFIX, read_plain
from ..files.hashes import CHUNK, file_sha256
from ..files.inside import is_link, named_inside, plain_inside
from ..store.lock import LOCK_FILE
from ..store.run_store import COPIES, FEATURES
from ..store.runs import LOG_FILE, MANIFEST_FILE, SEAL_FILES, own_files, own_name
from ..store.storage import COALITIONS

MAX_MEMBERS = 1 << 20
MAX_GROWTH = 100
"""How many times as large as its zip file a bundle may become: images do not shrink, and text shrinks to a tenth."""
SPARE_BYTES = 64 << 20

_UNKEPT = (MANIFEST_FILE, *SEAL_FILES, LOG_FILE, LOCK_FILE, ".DS_Store", "Thumbs.db", "desktop.ini")
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


class RunFiles(Protocol):
    """What a run folder holds, each file by its path from there with forward slashes."""

    path: Path

    def kept(self) -> dict[str, int]:
        """The files that a manifest is about → bytes: those of CopyScope, but for the manifest, seals and logs."""

    def strangers(self) -> list[str]:
        """What is not CopyScope's: names at the top, paths inside the folders of images and features."""

    def read(self, name: str, most: int) -> bytes:
        """A file's bytes.

        Raises:
            FileNotFoundError: there is none.
            OSError: it is no plain file, or larger than ``most`` bytes.
            StoreError: its name leads out, or it is damaged.
        """

    def sha256(self, name: str) -> str:
        """SHA-256 of a file, hex.

        Raises:
            StoreError: it cannot be read.
        """


class FolderFiles:
    """The files of a folder. Links are not followed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder

    def kept(self) -> dict[str, int]:
        return {name: path.stat().st_size for name, path in self._kept()}

    def strangers(self) -> list[str]:
        own = {path for _, path in self._kept()}
        found: list[Path] = []
        for path in sorted(self.path.iterdir()):
            if path.name in (COALITIONS, FEATURES, COPIES) and not is_link(path) and path.is_dir():
                found += sorted(item for item in path.rglob("*") if is_link(item) or not item.is_dir())
            else:
                found.append(path)
        return [
            path.relative_to(self.path).as_posix()
            for path in found
            if path not in own and path.name not in _UNKEPT and not path.name.endswith(TEMPORARY_SUFFIX)
        ]

    def read(self, name: str, most: int) -> bytes:
        return read_plain(plain_inside(self.path, name), most)

    def sha256(self, name: str) -> str:
        return file_sha256(self.path / name)

    def _kept(self) -> list[tuple[str, Path]]:
        return [
            (path.relative_to(self.path).as_posix(), path)
            for path in own_files(self.path)
            if path.name not in _UNKEPT and not path.name.endswith(TEMPORARY_SUFFIX)
        ]


class ZipFiles:
    """The files of a zip file. Nothing is written anywhere, and no more of a file is in memory than is asked for.

    Raises:
        StoreError: it cannot be read, or is no bundle: names that lead out, stand twice or are links, encryption, or
            more content than its size can hold.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
            size = path.stat().st_size
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror or error}); check its name.") from error
        except (*_DAMAGED, ValueError) as error:
            raise StoreError(f"{path} is no zip file that can be read ({error}).") from error
        members = self._zip.infolist()
        self._members = {member.filename: member for member in members}
        if len(members) > MAX_MEMBERS or len(self._members) < len(members):
            raise StoreError(f"{path} holds files of the same name, or too many; it is no bundle of CopyScope.")
        for member in members:
            self._check(member)
        packed, unpacked = sum(item.compress_size for item in members), sum(item.file_size for item in members)
        if packed > size or unpacked > MAX_GROWTH * size + SPARE_BYTES:
            raise StoreError(
                f"{path} would unpack from {size:,} to {unpacked:,} bytes, which no bundle of CopyScope does; it is "
                "not read."
            )

    def kept(self) -> dict[str, int]:
        return {
            name: member.file_size for name, member in self._members.items() if own_name(name) and name not in _UNKEPT
        }

    def strangers(self) -> list[str]:
        return sorted(name for name in self._members if not own_name(name) and name not in _UNKEPT)

    def read(self, name: str, most: int) -> bytes:
        member = self._members.get(name)
        if member is None:
            raise FileNotFoundError(2, "it is not there", name)
        if member.file_size > most:
            raise OSError(27, f"it is larger than {most:,} bytes", name)
        with self._whole(name):
            return self._zip.read(member)

    def sha256(self, name: str) -> str:
        digest = hashlib.sha256()
        with self._whole(name), self._zip.open(self._members[name]) as stream:
            while piece := stream.read(CHUNK):
                digest.update(piece)
        return digest.hexdigest()

    def _check(self, member: zipfile.ZipInfo) -> None:
        name = member.filename
        named_inside(self.path, name)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if "\\" in name or member.is_dir() or kind not in (0, stat.S_IFREG) or member.flag_bits & 1:
            raise StoreError(f"{self.path} holds {name[:200]!r}, which is no plain file; it is no bundle of CopyScope.")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise StoreError(f"{self.path} holds {name[:200]!r} packed in a way that CopyScope does not use.")

    @contextlib.contextmanager
    def _whole(self, name: str) -> Iterator[None]:
        try:
            yield
        except _DAMAGED as error:
            raise StoreError(f"{name} is damaged in {self.path} ({error}).") from error


def open_run(path: Path) -> RunFiles:
    """The files of a run folder, or of a bundle.

    Raises:
        StoreError: it is a file but no bundle.
    """
    return ZipFiles(path) if path.is_file() else FolderFiles(path)
