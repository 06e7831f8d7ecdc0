"""The run folder: finished coalitions on disk, each whole or absent.

An entry is written to a temporary sibling folder, flushed, and renamed into place, with ``entry.json`` written last and
the SHA-256 of every image in it. A damaged entry is named in the log, removed, and counts as absent, so that the same
command makes it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..files.atomic import (
    TEMPORARY_SUFFIX,
    disk_errors,
    link_or_copy,
    read_plain,
    sync_folder,
    write_bytes_atomic,
    write_json_atomic,
)
from ..files.images import ImageFile, read_image
from .entry import ENTRY_FILE, VERSION, DamagedEntry, Entry, load_entry, make_entry, write_entry
from .lock import locked
from .storage import COALITIONS, KEY, ImageStorage

RUN_FILE = "run.json"
RUN_MARK = "copyscope_run"
FEATURES = "features"
COPIES = "copies"
"""Copies of images that lay elsewhere: ``reference``, ``control``, and ``images/<mask>`` of a score."""
STALE_SECONDS = 600.0
MAX_JSON_BYTES = 1 << 28
"""No file of CopyScope's own that holds JSON comes near this."""

_RENAME_TRIES = 5
_LOG = logging.getLogger(__name__)


class RunStore:
    """The finished coalitions of one run folder. Nothing is created before the first write.

    Args:
        storage: where their images go instead; those that are looked at are fetched into the folder.
    """

    def __init__(self, folder: Path, storage: ImageStorage | None = None) -> None:
        self.folder = Path(folder)
        self.storage = storage

    @property
    def coalitions_folder(self) -> Path:
        """Where the entries are."""
        return self.folder / COALITIONS

    @property
    def features_folder(self) -> Path:
        """Where the feature cache is."""
        return self.folder / FEATURES

    def entry_folder(self, key: str) -> Path:
        """The folder of an entry.

        Raises:
            StoreError: ``key`` is not 64 lower-case hex digits.
        """
        if not KEY.match(key):
            raise StoreError(f"A stored coalition's key must be 64 hex digits, not {key[:80]!r}.")
        return self.coalitions_folder / key

    def has(self, key: str) -> bool:
        """Whether an entry is there, without checking its files; :meth:`read` checks.

        Raises:
            StoreError: ``key`` is not 64 lower-case hex digits.
        """
        return (self.entry_folder(key) / ENTRY_FILE).is_file()

    def keys(self) -> list[str]:
        """The keys of all entries that are there, sorted, without checking their files."""
        try:
            names = [item.name for item in self.coalitions_folder.iterdir()]
        except OSError:
            return []
        return sorted(name for name in names if KEY.match(name) and self.has(name))

    def read(self, key: str) -> Entry | None:
        """The entry, with every file checked against its SHA-256; None where it is absent or was damaged.

        Of images in the storage only the presence is checked; :meth:`images` checks the rest. A damaged entry is named
        in the log and removed.

        Raises:
            StoreError: ``key`` is no key, or the folder cannot be read or cleared.
        """
        folder = self.entry_folder(key)
        try:
            return load_entry(folder, key, self.storage)
        except DamagedEntry as damage:
            _LOG.warning("The stored coalition %s is damaged (%s); it is removed and made again.", folder, damage)
            self._discard(folder)
            return None

    def write(self, key: str, images: Sequence[bytes], meta: Mapping[str, Any]) -> Entry:
        """Store one coalition's images (PNG files' bytes, in batch order) and return its entry.

        Where a whole entry of this key is already there (another process was faster), that one is kept and returned.

        Raises:
            StoreError: ``key`` is no key, there is no image, the disk is full or the folder cannot be written.
            ImageError: an image cannot be read.
        """
        entry = make_entry(key, images, meta)
        files = {stored.name: data for stored, data in zip(entry.images, images, strict=True)}
        if self.storage is None:
            return self._put(key, lambda folder: write_entry(folder, entry, files))
        if (existing := self.read(key)) is not None:
            return existing
        self.storage.put(key, files)
        return self.keep(entry)

    def keep(self, entry: Entry) -> Entry:
        """Store an entry whose images are in the storage, and return it or the one that is there already.

        Raises:
            StoreError: its key is no key, the disk is full or the folder cannot be written.
        """
        return self._put(entry.key, lambda folder: write_entry(folder, entry, {}))

    def adopt(self, key: str, other: RunStore) -> Entry | None:
        """Take over another run folder's entry, by hard links where the file system has them; None where it has none.

        Raises:
            StoreError: ``key`` is no key, the disk is full or a folder cannot be read or written.
        """
        entry = other.read(key)
        if entry is None:
            return None
        source = other.entry_folder(key)

        def link(folder: Path) -> Entry:
            for name in (*(image.name for image in entry.images), ENTRY_FILE):
                link_or_copy(source / name, folder / name)
            sync_folder(folder)
            return entry

        return self._put(key, link)

    def _put(self, key: str, fill: Callable[[Path], Entry]) -> Entry:
        """Fill a temporary folder and rename it into the entry's place, unless a whole one is there already."""
        target = self.entry_folder(key)
        temporary = self.coalitions_folder / f".{key}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
        try:
            with disk_errors(target):
                temporary.mkdir(parents=True)
                entry = fill(temporary)
                for _ in range(_RENAME_TRIES):
                    try:
                        temporary.rename(target)
                    except OSError:
                        if not os.path.lexists(target):
                            raise
                        existing = self.read(key)
                        if existing is not None:
                            return existing
                    else:
                        sync_folder(self.coalitions_folder)
                        return entry
            raise StoreError(f"{target} could not be put in its place; check that no other program holds it open.")
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def remove(self, key: str) -> None:
        """Remove an entry, and what the storage has of it, if it is there.

        Raises:
            StoreError: ``key`` is no key, or the entry cannot be removed.
        """
        self._discard(self.entry_folder(key))
        if self.storage is not None:
            self.storage.remove(key)

    def images(self, entry: Entry) -> list[ImageFile]:
        """The entry's images, decoded, in batch order.

        Raises:
            StoreError: an image's pixels are not those that were stored, or the storage does not give it.
            ImageError: an image cannot be read.
        """
        files = []
        for stored in entry.images:
            path = self.image(entry.key, stored.name, stored.file_sha256)
            image = read_image(path)
            if image.pixel_sha256 != stored.pixel_sha256:
                raise StoreError(f"{path} was changed after it was stored; run the same command again.")
            files.append(image)
        return files

    def image(self, key: str, name: str, file_sha256: str) -> Path:
        """The path of an entry's image, which is fetched from the storage where it is not in the folder.

        Raises:
            StoreError: ``key`` or ``name`` is of no entry, or the storage has no such image, or another one.
        """
        path = self.entry_folder(key) / name
        if self.storage is not None and not os.path.lexists(path):
            data = self.storage.get(key, name)
            if hashlib.sha256(data).hexdigest() != file_sha256:
                self._discard(path.parent)
                where = f"{self.storage.url}/{COALITIONS}/{key}/{name}"
                raise StoreError(f"{where} was changed after it was stored; run the same command again.")
            write_bytes_atomic(path, data)
        return path

    def write_run(self, data: Mapping[str, Any]) -> None:
        """Write ``run.json`` with CopyScope's mark; the time of the first writing is kept. The storage becomes its own.

        Raises:
            StoreError: the disk is full or the folder cannot be written, or the storage is another folder's.
        """
        earlier = self.read_run() or {}
        created = earlier.get("created") or datetime.now(timezone.utc).isoformat(timespec="seconds")
        identity = str(earlier.get("id") or secrets.token_hex(16))
        if self.storage is not None:
            self.storage.claim(identity)
        write_json_atomic(self.folder / RUN_FILE, {RUN_MARK: VERSION, "created": created, "id": identity, **data})

    def read_run(self) -> dict[str, Any] | None:
        """What ``run.json`` holds; None where it is absent, damaged (which is logged) or not CopyScope's."""
        return read_run_file(self.folder)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run folder for one audit. The system frees the lock of a process that died.

        Raises:
            StoreError: another audit holds the folder, it cannot be written, or a part of it is a link.
        """
        with locked(self.folder):
            for folder in (self.coalitions_folder, self.features_folder, self.folder / COPIES):
                if folder.is_symlink():
                    raise StoreError(f"{folder} is a link; put a folder in its place, or choose another output folder.")
            self._sweep()
            yield

    def _sweep(self) -> None:
        """Remove what writers that were killed left half-written."""
        with contextlib.suppress(OSError):
            for item in list(self.coalitions_folder.iterdir()):
                if item.name.endswith(TEMPORARY_SUFFIX) and time.time() - item.lstat().st_mtime > STALE_SECONDS:
                    if stat.S_ISDIR(item.lstat().st_mode):
                        shutil.rmtree(item, ignore_errors=True)
                    else:
                        item.unlink()

    def _discard(self, folder: Path) -> None:
        aside = self.coalitions_folder / f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
        with disk_errors(folder):
            try:
                folder.rename(aside)
            except FileNotFoundError:
                return
            if stat.S_ISDIR(aside.lstat().st_mode):
                shutil.rmtree(aside)
            else:
                aside.unlink()


def read_run_file(folder: Path) -> dict[str, Any] | None:
    """What a folder's ``run.json`` holds; None where it is absent, damaged or a link (logged), or not CopyScope's."""
    path = folder / RUN_FILE
    try:
        data = read_plain(path, MAX_JSON_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        _LOG.warning("%s is damaged (%s) and counts as absent.", path, error)
        return None
    return parse_run(data)


def parse_run(data: bytes) -> dict[str, Any] | None:
    """What the bytes of a ``run.json`` hold; None where they are damaged (logged), or not CopyScope's."""
    try:
        run = json.loads(data)
    except (ValueError, RecursionError) as error:
        _LOG.warning("%s is damaged (%s) and counts as absent.", RUN_FILE, error)
        return None
    return run if isinstance(run, dict) and run.get(RUN_MARK) == VERSION else None
