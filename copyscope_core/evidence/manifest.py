"""The manifest of a run folder: what every file, image, workflow and model was when the report was written.

``manifest.json`` holds the SHA-256 of every file that CopyScope keeps in the folder, of the pixels of every generated
and reference image, and of the workflow as it is and as rewritten for each coalition, beside versions, seeds and model
hashes.
It is no signature: who can write the folder can write a new one. Its own SHA-256, noted elsewhere, signed or time
stamped, is what proves it. The page shows that SHA-256, which the page's own hash cannot depend on: in the manifest it
is the hash of the page with 64 zeros in that place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from ..errors import StoreError, describe
from ..files.atomic import disk_errors, write_bytes_atomic, write_json_atomic
from ..report.html.paper import NO_DIGEST, resealed
from ..report.report import MAX_REPORT_BYTES, Report
from ..report.schema import ImageRecord, ModelFile, Record
from ..store.runs import MANIFEST_FILE, REPORT_FILE, SEAL_FILES
from ..store.storage import COALITIONS, key_and_name
from .run_files import FolderFiles, RunFiles

PAGE_FILE = "report.html"
MAX_MANIFEST_BYTES = 1 << 30
MAX_PAGE_BYTES = 1 << 30


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
    files = FolderFiles(folder)
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
        files={name: FileRecord(sha256=files.sha256(name), bytes=size) for name, size in files.kept().items()},
        others=[name_sha256(name) for name in files.strangers()],
    )


def check_unsealed(folder: Path) -> None:
    """Refuse to write another report where one is signed or time stamped.

    Raises:
        StoreError: it is.
    """
    found = [name for name in SEAL_FILES if (folder / name).exists()]
    if found:
        raise StoreError(
            f"{folder} is signed or time stamped, which a new report would make void: choose another output folder, or "
            f"delete {', '.join(found)} there first."
        )


def write_manifest(manifest: Manifest, folder: Path) -> str:
    """Write ``manifest.json``, put its SHA-256 into the page, and return it.

    Raises:
        StoreError: the disk is full, or the folder cannot be written.
    """
    path, page = folder / MANIFEST_FILE, folder / PAGE_FILE
    write_json_atomic(path, manifest.model_dump(mode="json"))
    digest = FolderFiles(folder).sha256(MANIFEST_FILE)
    with disk_errors(page):
        unsealed = page.read_bytes()
    write_bytes_atomic(page, resealed(unsealed, NO_DIGEST, digest))
    return digest


def page_sha256(page: bytes, digest: str) -> str:
    """SHA-256 of a page as a manifest has it; ``digest`` is that of the manifest, which the page shows."""
    return hashlib.sha256(resealed(page, digest, NO_DIGEST)).hexdigest()


def stored_elsewhere(manifest: Manifest) -> dict[str, str | None]:
    """The generated images that are not among a run's files, as ``coalitions/KEY/NAME`` → SHA-256 of the file.

    Those of an audit with ``--storage`` are in object storage; a bundle may hold them. A score has none.
    """
    images = (image for item in manifest.coalitions for image in item.images if key_and_name(image.file))
    named = {f"{COALITIONS}/{image.file}": image.sha256 for image in images}
    return {name: sha256 for name, sha256 in named.items() if name not in manifest.files}


def read_report(files: RunFiles) -> Report:
    """The report of a run folder, or of a bundle.

    Raises:
        StoreError: it is missing, or no plain file.
        CopyScopeError: it is no report.
    """
    try:
        return Report.parse(files.read(REPORT_FILE, MAX_REPORT_BYTES), REPORT_FILE)
    except OSError as error:
        raise StoreError(f"{files.path} has no {REPORT_FILE} that can be read ({error.strerror or error}).") from error


def read_manifest(files: RunFiles) -> tuple[Manifest, str]:
    """The manifest of a run folder, and its SHA-256.

    Raises:
        StoreError: it is missing, no plain file, or no manifest.
    """
    try:
        data = files.read(MANIFEST_FILE, MAX_MANIFEST_BYTES)
        return Manifest.model_validate_json(data), hashlib.sha256(data).hexdigest()
    except FileNotFoundError as error:
        raise StoreError(
            f"{files.path} has no {MANIFEST_FILE}, so there is nothing to compare its files with."
        ) from error
    except NotADirectoryError as error:
        raise StoreError(f"{files.path} is no run folder: sign and time stamp the folder, then bundle it.") from error
    except OSError as error:
        raise StoreError(
            f"{MANIFEST_FILE} of {files.path} cannot be read ({error.strerror or error}); check its rights."
        ) from error
    except ValidationError as error:
        raise StoreError(f"{MANIFEST_FILE} of {files.path} is no manifest of CopyScope: {describe(error)}.") from error


def name_sha256(name: str) -> str:
    """SHA-256 of a file's name, whatever its bytes."""
    return hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()


def workflow_sha256(workflow: Any) -> str:
    """SHA-256 of a workflow, whatever the order of its keys."""
    text = json.dumps(workflow, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()
