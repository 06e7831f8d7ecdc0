"""The list of run folders on this machine, and their removal."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from ..errors import StoreError
from ..features.extractor import SUFFIX as FEATURE_SUFFIX
from ..files.atomic import TEMPORARY_SUFFIX, disk_errors, read_plain, write_json_atomic
from .entry import ENTRY_FILE
from .lock import LOCK_FILE
from .run_store import COPIES, FEATURES, MAX_JSON_BYTES, RUN_FILE, RunStore, read_run_file
from .storage import COALITIONS

STATE_VARIABLE = "COPYSCOPE_STATE_DIR"
LOG_FILE = "comfyui.log"
MANIFEST_FILE = "manifest.json"
WORKFLOWS_FILE = "workflows.json"
EVENTS_FILE = "events.jsonl"
REPORT_FILE = "report.json"
REPORT_FILES = (REPORT_FILE, "report.html", "chart.svg", "chart.png", WORKFLOWS_FILE, MANIFEST_FILE)
SIGNATURE_FILE, SIGNER_FILE, STAMP_FILE = "manifest.sig", "manifest.pub", "manifest.tsr"
SCREEN_FILES = ("screen.parquet", "screen.csv", "screen.html")
SEAL_FILES = (SIGNATURE_FILE, SIGNER_FILE, STAMP_FILE)
"""What is made from the manifest, after it."""
COPY_NAME = re.compile(COPIES + r"/(?:reference|control|images/[0-9]{1,6})/[0-9]{4,9}(?:\.[a-z0-9]{1,5})?\Z")
_HEX64 = r"[0-9a-f]{64}"
_ENTRY_DIR = re.compile(_HEX64 + r"\Z")
_ENTRY_FILES = re.compile(r"(?:[0-9]{4,9}\.png|" + re.escape(ENTRY_FILE) + r")\Z")
_FEATURE_FILES = re.compile(_HEX64 + re.escape(FEATURE_SUFFIX) + r"\Z")
_TOP_FILES = frozenset({RUN_FILE, LOG_FILE, EVENTS_FILE, *REPORT_FILES, *SCREEN_FILES, *SEAL_FILES})
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunInfo:
    """What ``runs list`` shows of one run folder."""

    folder: Path
    created: str
    bytes: int
    coalitions: int
    finished: bool


def state_folder() -> Path:
    """Where CopyScope keeps its own state: ``COPYSCOPE_STATE_DIR``, else the user's state folder."""
    named = os.environ.get(STATE_VARIABLE)
    return Path(named) if named else Path(platformdirs.user_state_dir("copyscope", appauthor=False))


def register_run(folder: Path) -> None:
    """Remember a run folder. A list that cannot be written is logged and does not stop an audit."""
    try:
        with _list_lock():
            known = _read_list()
            name = str(folder.absolute())
            if name not in known:
                _write_list([*known, name])
    except StoreError as error:
        _LOG.warning("The run folder was not put on the list of runs: %s", error)


def list_runs() -> list[RunInfo]:
    """The remembered run folders that are still there, oldest first."""
    runs = []
    for name in _read_list():
        data = read_run_file(Path(name))
        if data is not None:
            runs.append(describe_run(Path(name), str(data.get("created", ""))))
    return sorted(runs, key=lambda run: (run.created, str(run.folder)))


def describe_run(folder: Path, created: str) -> RunInfo:
    """Count what a run folder holds."""
    size = sum(path.lstat().st_size for path in own_files(folder))
    return RunInfo(folder, created, size, len(RunStore(folder).keys()), (folder / REPORT_FILE).is_file())


def clean_run(folder: Path) -> int:
    """Remove what CopyScope wrote in a run folder, and the folder itself where nothing else is in it.

    Links are never followed, and files that CopyScope did not write are left alone. Returns the bytes freed.

    Raises:
        StoreError: the folder is not a run folder, an audit is running in it, or a file cannot be removed.
    """
    folder = folder.absolute()
    if read_run_file(folder) is None or folder.is_symlink():
        raise StoreError(f"{folder} is not a run folder of CopyScope (it has no {RUN_FILE} of its own), so it is left.")
    freed = 0
    with RunStore(folder).lock(), disk_errors(folder):
        for path in sorted(own_files(folder), key=lambda path: path.name == RUN_FILE):
            size = path.lstat().st_size
            path.unlink()
            freed += size
        _remove_empty(folder)
    with disk_errors(folder):
        (folder / LOCK_FILE).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
    with contextlib.suppress(StoreError), _list_lock():
        _write_list([name for name in _read_list() if name != str(folder)])
    return freed


def own_name(name: str) -> bool:
    """Whether a finished file of a run folder, by its path from there with forward slashes, is one of CopyScope's."""
    match name.split("/"):
        case [file]:
            return file in _TOP_FILES
        case ["coalitions", key, file]:
            return bool(_ENTRY_DIR.match(key) and _ENTRY_FILES.match(file))
        case ["features", extractor, file]:
            return bool(extractor.strip(".") and _FEATURE_FILES.match(file))
    return COPY_NAME.match(name) is not None


def own_files(folder: Path) -> Iterator[Path]:
    """Every regular file in a run folder that CopyScope writes, by its place and name; links are not followed."""
    for path in _files(folder):
        if path.name in _TOP_FILES or path.name.endswith(TEMPORARY_SUFFIX):
            yield path
    for entry in _folders(folder / COALITIONS):
        if _ENTRY_DIR.match(entry.name) or entry.name.endswith(TEMPORARY_SUFFIX):
            yield from (path for path in _files(entry) if _ENTRY_FILES.match(path.name))
    for extractor in _folders(folder / FEATURES):
        for path in _files(extractor):
            if _FEATURE_FILES.match(path.name) or path.name.endswith(TEMPORARY_SUFFIX):
                yield path
    yield from copied_files(folder)


def copied_files(folder: Path) -> Iterator[Path]:
    """The copies of images in a run folder, half-written ones too."""
    for side in _folders(folder / COPIES):
        for place in (side, *_folders(side)):
            for path in _files(place):
                if COPY_NAME.match(path.relative_to(folder).as_posix()) or path.name.endswith(TEMPORARY_SUFFIX):
                    yield path


def _remove_empty(folder: Path) -> None:
    for parent in (folder / COALITIONS, folder / FEATURES, folder / COPIES / "images", folder / COPIES):
        for child in [*_folders(parent), parent]:
            if not child.is_symlink():
                with contextlib.suppress(OSError):
                    child.rmdir()


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return []
        with os.scandir(folder) as items:
            return sorted(items, key=lambda item: item.name)
    except OSError:
        return []


def _files(folder: Path) -> list[Path]:
    return [Path(item.path) for item in _scan(folder) if item.is_file(follow_symlinks=False)]


def _folders(folder: Path) -> list[Path]:
    return [Path(item.path) for item in _scan(folder) if item.is_dir(follow_symlinks=False)]


def _list_path() -> Path:
    return state_folder() / "runs.json"


def _read_list() -> list[str]:
    try:
        data = json.loads(read_plain(_list_path(), MAX_JSON_BYTES))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError):
        _LOG.warning("The list of runs %s is damaged and is started anew.", _list_path())
        return []
    folders = data.get("folders") if isinstance(data, dict) else None
    return [name for name in folders if isinstance(name, str)] if isinstance(folders, list) else []


def _write_list(folders: list[str]) -> None:
    write_json_atomic(_list_path(), {"version": 1, "folders": folders})


@contextlib.contextmanager
def _list_lock() -> Iterator[None]:
    path = state_folder() / "runs.lock"
    lock = FileLock(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=10)
        except (Timeout, NotImplementedError) as error:
            raise StoreError(f"The list of runs in {path.parent} is locked by another program; try again.") from error
    try:
        yield
    finally:
        lock.release()
