"""The manifest of a run folder: what every file, image, workflow and model was when the report was written.

``manifest.json`` holds the SHA-256 of every file that CopyScope keeps in the folder, of the pixels of every generated
and reference image, and of the workflow as it is and as rewritten for each coalition, beside versions, seeds and model
hashes.
It is no signature: who can write the folder can write a new one. Its own SHA-256, noted elsewhere, is what proves it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from ..errors import StoreError, describe
from ..files.atomic import TEMPORARY_SUFFIX, read_plain, write_json_atomic
from ..files.hashes import file_sha256
from ..files.inside import is_link
from ..report.report import Report
from ..report.schema import ImageRecord, ModelFile, Record
from ..store.lock import LOCK_FILE
from ..store.run_store import FEATURES
from ..store.runs import LOG_FILE, MANIFEST_FILE, own_files
from ..store.storage import COALITIONS

_MAX_BYTES = 1 << 30
_UNKEPT = (MANIFEST_FILE, LOG_FILE, LOCK_FILE, ".DS_Store", "Thumbs.db", "desktop.ini")


class FileRecord(Record):
    """A file of the run folder."""

    sha256: str = Field(description="SHA-256 of its bytes, hex.")
    bytes: int = Field(description="Its size.")


class CoalitionRecord(Record):
    """A coalition's images and workflow."""

    mask: int = Field(description="Bitmask over the report's players.")
    workflow_sha256: str | None = Field(default=None, description="SHA-256 of its rewritten workflow; null: unknown.")
    images: list[ImageRecord]


class Manifest(Record):
    """``manifest.json``. Paths are relative to the folder, with forward slashes."""

    copyscope_manifest: Literal[1] = 1
    created: str = Field(description="When the report was made, UTC, ISO 8601.")
    preprocessing: str
    seeds: list[int]
    environment: dict[str, Any] = Field(description="Versions and device, as in the report.")
    models: list[ModelFile]
    reference: list[ImageRecord]
    control: list[ImageRecord]
    workflow_sha256: str | None = Field(description="SHA-256 of the audited workflow; null: unknown.")
    coalitions: list[CoalitionRecord]
    files: dict[str, FileRecord]
    others: list[str] = Field(
        default_factory=list,
        description="SHA-256 of the names of what else lay in the folder, which is not CopyScope's and not checked.",
    )


def make_manifest(report: Report, folder: Path, workflows: Mapping[int, Any], workflow: Any = None) -> Manifest:
    """Hash what is in the folder.

    Args:
        workflows: mask → the coalition's rewritten graph, API format; those that are missing are recorded as unknown.
        workflow: the audited graph; None: unknown.

    Raises:
        StoreError: a file cannot be read.
    """
    return Manifest(
        created=report.created,
        preprocessing=report.preprocessing,
        seeds=report.seeds,
        environment=report.environment,
        models=report.models,
        reference=report.reference.images,
        control=[] if report.control is None else report.control.images,
        workflow_sha256=None if workflow is None else workflow_sha256(workflow),
        coalitions=[
            CoalitionRecord(
                mask=item.mask,
                workflow_sha256=workflow_sha256(workflows[item.mask]) if item.mask in workflows else None,
                images=item.image_files,
            )
            for item in report.coalitions
        ],
        files={name: FileRecord(sha256=file_sha256(path), bytes=path.stat().st_size) for name, path in kept(folder)},
        others=[name_sha256(name) for name in strangers(folder)],
    )


def write_manifest(manifest: Manifest, folder: Path) -> Path:
    """Write ``manifest.json``, atomically, and return its path.

    Raises:
        StoreError: the disk is full, or the folder cannot be written.
    """
    path = folder / MANIFEST_FILE
    write_json_atomic(path, manifest.model_dump(mode="json"))
    return path


def read_manifest(folder: Path) -> Manifest:
    """Read a folder's manifest.

    Raises:
        StoreError: it is missing, no plain file, or no manifest.
    """
    path = folder / MANIFEST_FILE
    try:
        return Manifest.model_validate_json(read_plain(path, _MAX_BYTES))
    except FileNotFoundError as error:
        raise StoreError(f"{folder} has no {MANIFEST_FILE}, so there is nothing to compare its files with.") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror or error}); check its rights.") from error
    except ValidationError as error:
        raise StoreError(f"{path} is no manifest of CopyScope: {describe(error)}.") from error


def kept(folder: Path) -> list[tuple[str, Path]]:
    """The files that a manifest is about: those that CopyScope writes, but for itself, logs and half-written files."""
    return [
        (path.relative_to(folder).as_posix(), path)
        for path in own_files(folder)
        if path.name not in _UNKEPT and not path.name.endswith(TEMPORARY_SUFFIX)
    ]


def strangers(folder: Path) -> list[str]:
    """What in a folder is not CopyScope's: names at its top, paths inside the folders of images and features."""
    own = {path for _, path in kept(folder)}
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name in (COALITIONS, FEATURES) and not is_link(path) and path.is_dir():
            found += sorted(item for item in path.rglob("*") if is_link(item) or not item.is_dir())
        else:
            found.append(path)
    return [
        path.relative_to(folder).as_posix()
        for path in found
        if path not in own and path.name not in _UNKEPT and not path.name.endswith(TEMPORARY_SUFFIX)
    ]


def name_sha256(name: str) -> str:
    """SHA-256 of a file's name, whatever its bytes."""
    return hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()


def workflow_sha256(workflow: Any) -> str:
    """SHA-256 of a workflow, whatever the order of its keys."""
    text = json.dumps(workflow, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()
