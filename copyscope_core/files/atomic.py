"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import StoreError

TEMPORARY_SUFFIX = ".copyscope-tmp"
_REPLACE_TRIES = 20


def check_plain(path: Path, most: int) -> None:
    """Refuse what is not a regular file of at most ``most`` bytes, before it is opened.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it is a link, a pipe, a folder or a device, or it is too large.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a plain file", str(path))
    if status.st_size > most:
        raise OSError(errno.EFBIG, f"it is larger than {most:,} bytes", str(path))


def read_plain(path: Path, most: int) -> bytes:
    """The bytes of a regular file. Links, pipes and files of more than ``most`` bytes are not opened.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it is not a regular file, is too large, or cannot be read.
    """
    check_plain(path, most)
    with path.open("rb") as stream:
        return stream.read(most)


def open_log(path: Path) -> BinaryIO:
    """Open a file to append to; a link or a pipe in its place is removed first. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            path.unlink()
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "ab")


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` to a temporary sibling of ``path``, flush it to the disk and rename it into place.

    Raises:
        StoreError: the disk is full, or the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    with disk_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_synced(temporary, data)
            replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextlib.contextmanager
def written_atomic(path: Path) -> Iterator[Path]:
    """A temporary sibling of ``path`` to write to in the block, which then takes its place; on an error it goes.

    Raises:
        StoreError: the disk is full, or the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_json_atomic(path: Path, data: Any) -> None:
    """Write ``data`` as indented JSON text (UTF-8, no NaN), atomically.

    Raises:
        StoreError: as :func:`write_bytes_atomic`.
    """
    text = json.dumps(data, ensure_ascii=False, indent=1, allow_nan=False)
    write_bytes_atomic(path, (text + "\n").encode("utf-8", "surrogatepass"))


def write_synced(path: Path, data: bytes) -> None:
    """Create ``path`` (which must not exist) with ``data`` and flush it to the disk. Raises OSError."""
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target``, which must not exist, the same file as ``source``, else a copy of it. Raises OSError."""
    try:
        target.hardlink_to(source)
    except OSError:
        if target.exists():
            raise
        write_synced(target, source.read_bytes())


def replace(source: Path, target: Path) -> None:
    """``os.replace`` that waits out a reader on Windows, where an open file cannot be replaced. Raises OSError."""
    for attempt in range(_REPLACE_TRIES):
        try:
            source.replace(target)
            return
        except PermissionError:
            if os.name != "nt" or attempt == _REPLACE_TRIES - 1:
                raise
            time.sleep(0.05)


def sync_folder(folder: Path) -> None:
    """Flush a folder's own entries to the disk, where the system can."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a StoreError that names ``path``.

    Raises:
        StoreError: the block raised OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.ENOSPC):
            raise StoreError(
                f"The disk is full: {path} could not be written; what was finished before is kept, "
                "so free some space and run the same command again."
            ) from error
        raise StoreError(f"{path} cannot be written ({error.strerror or error}); check the folder's rights.") from error
