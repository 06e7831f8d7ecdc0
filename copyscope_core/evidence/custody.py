"""Who made a report, when, where and with what, and the log of it: ``events.jsonl`` in the run folder.

The log is appended to as things happen, so it also tells of what was interrupted. What it says is this machine's word;
a signature (``signature.py``) and a time stamp (``time_stamp.py``) are those of others.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import re
import shlex
import sys
import time
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__
from ..features.extractor import INCEPTION_CONTENT_ID
from ..files.atomic import disk_errors, open_log, read_plain
from ..files.hashes import file_sha256
from ..report.schema import CustodyRecord
from ..store.runs import EVENTS_FILE
from .manifest import check_unsealed

PACKAGE = Path(__file__).parents[1]
WEIGHTS = "weights"

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_MAX_GIT_BYTES = 1 << 16
_LONGEST = 500
"""Characters of an error that are kept."""


class Custody:
    """One session in a run folder, from its beginning to its report.

    Attributes:
        made, reused: how many times images were made anew, and taken from what was stored.

    Raises:
        StoreError: the folder is signed or time stamped; nothing is written there then.
    """

    def __init__(self, folder: Path, command: str | None = None) -> None:
        check_unsealed(folder)
        self._folder = folder
        self._command = command
        self._started = _now()
        self._monotonic = time.monotonic()
        self._reported = False
        self.made = 0
        self.reused = 0
        self.event("begun", command=command, host=host_name(), copyscope=__version__, **tool())

    def event(self, what: str, **more: Any) -> None:
        """Append a line to the log.

        Raises:
            StoreError: it cannot be written.
        """
        path = self._folder / EVENTS_FILE
        line = json.dumps({"time": now_text(), "event": what, **more}, ensure_ascii=True, default=str)
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_log(path) as log:
                log.write(line.encode("ascii") + b"\n")

    def images_made(self, **more: Any) -> None:
        """Note that a combination's images were made."""
        self.made += 1
        self.event("made", **more)

    def images_reused(self, **more: Any) -> None:
        """Note that a combination's images were there already."""
        self.reused += 1
        self.event("reused", **more)

    def stopped(self, error: BaseException) -> None:
        """Note what ended the session; after its report the log is closed."""
        if not self._reported:
            self.event("stopped", why=f"{type(error).__name__}: {error}"[:_LONGEST])

    def record(self, preprocessing: str, examiner: str | None, case: str | None) -> CustodyRecord:
        """What the report says of the session, which is over."""
        self._reported = True
        now, elapsed = _now(), time.monotonic() - self._monotonic
        clock = time.get_clock_info("time").implementation
        return CustodyRecord(
            started=_text(self._started),
            finished=_text(now),
            clock_moved=round((now - self._started).total_seconds() - elapsed, 3) + 0.0,  # no −0
            host=host_name(),
            clock=f"{clock}, UTC{now.astimezone():%z}",
            command=self._command,
            examiner=examiner,
            case=case,
            made=self.made,
            reused=self.reused,
            weights_sha256=weights_sha256() if preprocessing.startswith(INCEPTION_CONTENT_ID) else None,
            **tool(),
        )


def now_text() -> str:
    """The time in UTC, ISO 8601 with milliseconds."""
    return _text(_now())


def command_line() -> str:
    """The command that runs, without the names and passwords in addresses."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return _CREDENTIALS.sub("", shlex.join(words))


def host_name() -> str:
    """What this machine calls itself."""
    return platform.node() or "unknown"


def tool() -> dict[str, str | None]:
    """Which CopyScope this is: its ``commit``, where that is known, and its ``tree_sha256``."""
    return {"commit": _checked_out() or _installed_commit(), "tree_sha256": tree_sha256()}


@functools.cache
def tree_sha256() -> str:
    """SHA-256 of CopyScope's own files but for the weights: of a line for each, ``<SHA-256>  <path>``, sorted by path.

    Raises:
        StoreError: a file cannot be read.
    """
    files = {
        path.relative_to(PACKAGE).as_posix(): path
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.parent.name != WEIGHTS
    }
    lines = "".join(f"{file_sha256(path)}  {name}\n" for name, path in sorted(files.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


@functools.cache
def weights_sha256() -> str:
    """SHA-256 of the weights of FID's Inception.

    Raises:
        StoreError: they cannot be read.
    """
    (file,) = (PACKAGE / WEIGHTS).glob("*.safetensors")
    return file_sha256(file)


def _checked_out() -> str | None:
    """The commit of the working copy that this package lies in; None where it is in none, or it cannot be read."""
    try:
        place = PACKAGE.parent / ".git"
        if place.is_file():  # a linked working copy
            place = PACKAGE.parent / _small(place).removeprefix("gitdir:").strip()
        head = _small(place / "HEAD")
        if not head.startswith("ref:"):
            return head if _COMMIT.fullmatch(head) else None
        shared = place / _small(place / "commondir") if (place / "commondir").is_file() else place
        name = head.removeprefix("ref:").strip()
        if (shared / name).is_file():
            found = _small(shared / name)
        else:
            lines = (shared / "packed-refs").read_text("utf-8").splitlines()
            found = next((line.partition(" ")[0] for line in lines if line.endswith(f" {name}")), "")
    except (OSError, ValueError):
        return None
    return found if _COMMIT.fullmatch(found) else None


def _small(path: Path) -> str:
    """Raises OSError, ValueError."""
    return read_plain(path, _MAX_GIT_BYTES).decode("utf-8").strip()


def _installed_commit() -> str | None:
    """The commit that pip installed from a repository; None where it did not."""
    try:
        said = json.loads(metadata.distribution("copyscope").read_text("direct_url.json") or "{}")
        commit = said["vcs_info"]["commit_id"]
    except (metadata.PackageNotFoundError, ValueError, KeyError, TypeError):
        return None
    return str(commit)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
