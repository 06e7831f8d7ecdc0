"""``copyscope bundle``: a run folder as one zip file that ``copyscope verify`` reads."""

from __future__ import annotations

import hashlib
import secrets
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import StoreError
from ..files.atomic import TEMPORARY_SUFFIX, disk_errors, replace
from ..files.hashes import CHUNK
from ..store.run_store import COPIES, RUN_FILE
from ..store.runs import EVENTS_FILE, MANIFEST_FILE, SEAL_FILES, WORKFLOWS_FILE
from ..store.storage import COALITIONS, ImageStorage
from .manifest import PAGE_FILE, page_sha256, read_manifest, read_report, stored_elsewhere
from .run_files import FolderFiles

_TELLING_FILES = (RUN_FILE, WORKFLOWS_FILE, EVENTS_FILE)
_TELLING_FOLDERS = (COALITIONS, COPIES)
"""What tells prompts, paths and pictures even beside a private report: ComfyUI writes the prompt into its images."""

_MAX_SEAL_BYTES = 1 << 20
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Bundle:
    """A zip file of a run folder.

    Attributes:
        files, bytes: how many files it holds, and its size.
        left_out: files of the manifest that are not in it.
        elsewhere: how many generated images are not in it because they are in object storage.
    """

    path: Path
    files: int
    bytes: int
    left_out: tuple[str, ...]
    elsewhere: int
    manifest_sha256: str


def bundle(folder: Path, target: Path, private: bool = False, storage: ImageStorage | None = None) -> Bundle:
    """Put a run folder into one zip file: the manifest, what it lists, its signature and its time stamp.

    Files are hashed as they are packed. Of the same folder the same file is made.

    Args:
        private: leave out prompts, paths, the log and all images; the report must be a private one.
        storage: where the generated images are that are not in the folder; they are packed too.

    Raises:
        StoreError: the folder has no manifest, or its files or images are not those of the manifest; the target is
            there already, or cannot be written; the storage cannot be read.
        CopyScopeError: there is no report, or it is not private and is to be.
    """
    run = FolderFiles(folder)
    manifest, digest = read_manifest(run)
    if private and not read_report(run).private:
        raise StoreError(
            f"The report in {folder} is not a private one; run the same command with --private first, which runs "
            "nothing again."
        )
    if target.exists():
        raise StoreError(f"{target} is there already; name another file, or remove it.")
    present = run.kept()
    chosen = {name: record for name, record in manifest.files.items() if not (private and _tells(name))}
    missing = {name for name in chosen if name not in present}
    elsewhere = {} if private else stored_elsewhere(manifest)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    with disk_errors(target):
        try:
            with zipfile.ZipFile(temporary, "x", zipfile.ZIP_DEFLATED) as packed:
                _pack(packed, folder, MANIFEST_FILE)
                for name in (name for name in SEAL_FILES if _is_seal(folder / name)):
                    _pack(packed, folder, name)
                for name in sorted(chosen.keys() - missing):
                    if _pack(packed, folder, name, digest) != chosen[name].sha256:
                        raise StoreError(f"{folder / name} is not what the manifest says; copyscope verify says more.")
                if storage is not None:
                    _pack_stored(packed, storage, elsewhere)
                count = len(packed.namelist())
            replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        size = target.stat().st_size
    left_out = (manifest.files.keys() - chosen.keys()) | missing
    return Bundle(target, count, size, tuple(sorted(left_out)), 0 if storage else len(elsewhere), digest)


def _pack_stored(packed: zipfile.ZipFile, storage: ImageStorage, images: Mapping[str, str | None]) -> None:
    """Add images by name → SHA-256. Raises StoreError: one of them is another, or cannot be read."""
    for name, sha256 in sorted(images.items()):
        _, key, file = name.split("/")
        data = storage.get(key, file)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StoreError(f"{name} in {storage.url} is not what the manifest says; copyscope verify says more.")
        packed.writestr(_member(name), data)


def _tells(name: str) -> bool:
    return name in _TELLING_FILES or name.partition("/")[0] in _TELLING_FOLDERS


def _is_seal(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size <= _MAX_SEAL_BYTES


def _pack(packed: zipfile.ZipFile, folder: Path, name: str, digest: str = "") -> str:
    """Add a file, and return its SHA-256 as the manifest has it. Raises OSError."""
    member = _member(name)
    if name == PAGE_FILE:
        page = (folder / name).read_bytes()
        packed.writestr(member, page)
        return page_sha256(page, digest)
    hashed = hashlib.sha256()
    with (folder / name).open("rb") as source, packed.open(member, "w", force_zip64=True) as into:
        while piece := source.read(CHUNK):
            hashed.update(piece)
            into.write(piece)
    return hashed.hexdigest()


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _LONG_AGO)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = (stat.S_IFREG | 0o644) << 16
    return member
