"""The lock of a run folder, held for one audit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from ..errors import StoreError
from ..files.atomic import disk_errors

LOCK_FILE = ".copyscope.lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made if need be. The system frees the lock of a process that died.

    Raises:
        StoreError: another audit holds the folder, or it cannot be written.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = _acquire(folder)
    try:
        yield
    finally:
        lock.release()


def _acquire(folder: Path) -> FileLock | SoftFileLock:
    path = folder / LOCK_FILE
    for kind in (FileLock, SoftFileLock):
        lock = kind(path)
        with disk_errors(path):
            try:
                lock.acquire(timeout=0)
            except NotImplementedError:
                continue
            except Timeout as error:
                raise StoreError(
                    f"Another audit is running in {folder}; wait until it ends, or choose another folder."
                ) from error
        return lock
    raise StoreError(f"{folder} is on a file system without locks; choose another output folder.")
