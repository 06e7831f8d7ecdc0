"""SHA-256 and AutoV2 hashes of model files. Files are read as plain bytes: nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

from ..errors import StoreError
from .atomic import read_plain, write_json_atomic

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all); may raise to stop the hashing."""

CHUNK = 4 << 20
MAX_CACHE_BYTES = 1 << 28
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_LOG = logging.getLogger(__name__)


def file_sha256(path: Path, progress: Progress | None = None) -> str:
    """SHA-256 of a file's bytes as 64 lower-case hex digits, read in pieces of 4 MiB.

    Raises:
        StoreError: the file cannot be read.
    """
    return _hash_file(path, progress)[0]


def autov2(sha256: str) -> str:
    """The AutoV2 hash that Civitai and A1111 show: the first 10 hex digits of the SHA-256, in capitals.

    Raises:
        ValueError: ``sha256`` is not 64 hex digits.
    """
    if not _SHA256.match(sha256.lower()):
        raise ValueError(f"not a SHA-256 in hex digits: {sha256!r}")
    return sha256[:10].upper()


class HashCache:
    """Remembers the SHA-256 of files in a JSON file, by absolute path, size and modification time.

    A damaged cache file counts as empty. Several threads and processes may share one cache file: a lost update costs
    no more than hashing a file once again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def get(self, path: Path) -> str | None:
        """The remembered SHA-256, or None where the file is new or was changed."""
        try:
            real = path.resolve(strict=True)
            status = real.stat()
        except OSError:
            return None
        return self._lookup(self._load(), str(real), status.st_size, status.st_mtime_ns)

    def sha256(self, path: Path, progress: Progress | None = None) -> str:
        """The file's SHA-256, from the cache or by reading it.

        Raises:
            StoreError: the file cannot be read, or it changed while it was read.
        """
        known = self.get(path)
        if known is not None:
            return known
        digest, size, mtime_ns = _hash_file(path, progress)
        with self._lock:
            entries = self._load()
            entries[str(path.resolve())] = {"size": size, "mtime_ns": mtime_ns, "sha256": digest}
            try:
                write_json_atomic(self.path, {"version": 1, "files": entries})
            except StoreError as error:
                _LOG.warning("The hash cache was not saved, so the file will be hashed again next time: %s", error)
        return digest

    def _load(self) -> dict[str, object]:
        try:
            data = json.loads(read_plain(self.path, MAX_CACHE_BYTES))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError):
            _LOG.warning("The hash cache %s is damaged and is started anew.", self.path)
            return {}
        files = data.get("files") if isinstance(data, dict) and data.get("version") == 1 else None
        return files if isinstance(files, dict) else {}

    @staticmethod
    def _lookup(entries: dict[str, object], name: str, size: int, mtime_ns: int) -> str | None:
        entry = entries.get(name)
        if not isinstance(entry, dict) or entry.get("size") != size or entry.get("mtime_ns") != mtime_ns:
            return None
        digest = entry.get("sha256")
        return digest if isinstance(digest, str) and _SHA256.match(digest) else None


def _hash_file(path: Path, progress: Progress | None) -> tuple[str, int, int]:
    """SHA-256, size and modification time of one and the same state of a file."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            before = os.fstat(stream.fileno())
            done = 0
            if progress is not None:
                progress(0, before.st_size)
            while piece := stream.read(CHUNK):
                digest.update(piece)
                done += len(piece)
                if progress is not None:
                    progress(done, max(done, before.st_size))
            after = os.fstat(stream.fileno())
    except OSError as error:
        raise StoreError(f"{path} cannot be read for hashing ({error.strerror or error}); check the file.") from error
    if done != after.st_size or before.st_mtime_ns != after.st_mtime_ns:
        raise StoreError(f"{path} was changed while it was being hashed; run the command again once it is complete.")
    return digest.hexdigest(), after.st_size, after.st_mtime_ns
