"""Many audits from one queue: what they have in common is computed once, and the results are one table.

OUT/audits/<id>/      a run folder each
OUT/shared/           coalitions and features of all of them, by what they depend on
OUT/finished/         what each finished audit was made from
OUT/results.parquet   a row for each player of each audit
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import __version__
from ..comfyui.errors import ServerHangError, ServerLostError, ServerUnreachableError
from ..controls.bank import load_bank
from ..errors import CopyScopeError, StoreError, describe
from ..evaluation.measure import Works
from ..files.atomic import read_plain, write_json_atomic
from ..files.folders import check_folder
from ..files.hashes import file_sha256
from ..observer import Observer, Quiet
from ..report.report import Report
from ..settings import AuditSettings
from ..store.run_store import MAX_JSON_BYTES, RunStore
from ..store.runs import MANIFEST_FILE, REPORT_FILE
from ..workflow.read import read_workflow
from .audit import Audit
from .batch_table import Row, require_pyarrow, rows_of_failure, rows_of_report, write_table

RESULTS_FILE = "results.parquet"
_FOLDERS_KEPT = 2
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\Z")


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str | None = None
    workflow: str = Field(min_length=1)
    reference: str = Field(min_length=1)
    control: str | Literal[False] | None = None
    settings: dict[str, Any] = {}


@dataclass(frozen=True)
class QueuedAudit:
    """One audit of a queue.

    Attributes:
        id: names its run folder.
        workflow: file of the workflow.
        reference: folder of the rights holder's images.
        control: folder of unrelated images; None: from CopyScope's control bank; False: none.
        settings: of the line over those of the batch.
        line: its line of the queue, as it stands there.
    """

    id: str
    workflow: Path
    reference: Path
    control: Path | Literal[False] | None
    settings: AuditSettings
    line: dict[str, Any]


def read_queue(path: Path, settings: AuditSettings) -> list[QueuedAudit]:
    """Read a queue of JSON lines: ``workflow``, ``reference``; if need be ``id``, ``control``, ``settings``.

    Paths are relative to the queue's folder.

    Args:
        settings: what holds where a line says nothing.

    Raises:
        CopyScopeError: the queue cannot be read, a line does not fit (named), or an id is there twice.
    """
    try:
        lines = read_plain(path, MAX_JSON_BYTES).decode("utf-8").splitlines()
    except OSError as error:
        raise CopyScopeError(f"The queue {path} cannot be read ({error.strerror or error}); check its name.") from error
    except UnicodeDecodeError as error:
        raise CopyScopeError(f"The queue {path} is not UTF-8 text; save it as UTF-8.") from error
    found: dict[str, QueuedAudit] = {}
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            line = _Line.model_validate_json(text)
            chosen = AuditSettings.model_validate({**settings.model_dump(exclude_unset=True), **line.settings})
        except ValidationError as error:
            raise CopyScopeError(f"Line {number} of {path} does not fit: {describe(error)}.") from error
        name = line.id or f"{number:06}"
        if not _ID.match(name):
            raise CopyScopeError(
                f"Line {number} of {path}: the id {name[:100]!r} is to name a folder; use letters, digits, '.', '_' "
                "and '-', at most 100 of them."
            )
        if name.lower() in found:
            raise CopyScopeError(f"Line {number} of {path}: the id {name!r} is there twice; give each audit its own.")
        control = path.parent / line.control if isinstance(line.control, str) else line.control
        found[name.lower()] = QueuedAudit(
            name, path.parent / line.workflow, path.parent / line.reference, control, chosen, json.loads(text)
        )
    if not found:
        raise CopyScopeError(f"The queue {path} has no lines; write one JSON object a line, an audit each.")
    return list(found.values())


@dataclass
class Batch:
    """The audits of a queue, one after the other, each over all servers.

    Attributes:
        queue: what to audit.
        out: holds everything that is written.
        prepare: makes the audit of a queued one and its images, to be run into a folder.
        made_with: what else results depend on (features, options of the report), for knowing finished audits again.
    """

    queue: list[QueuedAudit]
    out: Path
    prepare: Callable[[QueuedAudit, Works, Path], Awaitable[Audit]]
    made_with: dict[str, Any] = field(default_factory=dict)
    observer: Observer = field(default_factory=Quiet)
    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    sampled: int = 0
    reused: int = 0

    def __post_init__(self) -> None:
        self._images = functools.lru_cache(maxsize=_FOLDERS_KEPT)(check_folder)

    async def run(self) -> Path:
        """Run what is not finished, and write the table, also where the batch is interrupted.

        An audit that cannot be made (its workflow, its images) is noted in the table, and the others go on.

        Returns:
            The table's path.

        Raises:
            HostError: no server is left.
            StoreError: the folder cannot be written, or another batch is running in it.
            CopyScopeError: pyarrow is not installed.
        """
        require_pyarrow()
        pool = RunStore(self.out / "shared")
        with pool.lock():
            try:
                for number, item in enumerate(self.queue, start=1):
                    self.observer.note(f"Audit {number:,} of {len(self.queue):,}: {item.id}")
                    await self._one(item, pool)
            finally:
                path = write_table(self.out / RESULTS_FILE, self._rows())
        return path

    async def _one(self, item: QueuedAudit, pool: RunStore) -> None:
        try:
            works = self._works(item)
            inputs = self._inputs(item, works)
            if self._finished(item, inputs):
                self.skipped.append(item.id)
                return
            audit = await self.prepare(item, works, self._folder(item))
            audit.pool = pool
            result = await audit.run()
        except (ServerLostError, ServerHangError, ServerUnreachableError, StoreError):
            raise
        except CopyScopeError as error:
            self.failed[item.id] = str(error)
            self.observer.note(f"{item.id} failed: {error}")
            return
        self.sampled += result.sampled
        self.reused += result.reused
        write_json_atomic(self._record(item), {"asked": self._asked(item), "inputs": inputs})
        self.done.append(item.id)

    def _works(self, item: QueuedAudit) -> Works:
        images = self._images(item.reference)
        if item.control is None:
            return Works(images, bank=load_bank())
        return Works(images, () if item.control is False else self._images(item.control))

    def _folder(self, item: QueuedAudit) -> Path:
        return self.out / "audits" / item.id

    def _record(self, item: QueuedAudit) -> Path:
        return self.out / "finished" / f"{item.id}.json"

    def _inputs(self, item: QueuedAudit, works: Works) -> str:
        """A hash of all that the audit is made from, but for the servers and their models."""
        files = [[(image.name, image.file_sha256) for image in images] for images in (works.reference, works.control)]
        bank = None if works.bank is None else works.bank.version
        return _digest([__version__, self.made_with, _chosen(item), read_workflow(item.workflow), files, bank])

    def _asked(self, item: QueuedAudit) -> str:
        """A hash of what was asked for, without a look at the files."""
        return _digest([self.made_with, _chosen(item), item.line])

    def _known(self, item: QueuedAudit) -> dict[str, Any]:
        """The record of an audit that was finished; an empty one where there is none."""
        try:
            known = json.loads(read_plain(self._record(item), MAX_JSON_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}
        return known if isinstance(known, dict) else {}

    def _finished(self, item: QueuedAudit, inputs: str) -> bool:
        known = self._known(item)
        if known.get("inputs") != inputs or self._report(item) is None:
            return False
        if known.get("asked") != self._asked(item):  # another line, the same files and settings
            write_json_atomic(self._record(item), {"asked": self._asked(item), "inputs": inputs})
        return True

    def _report(self, item: QueuedAudit) -> Report | None:
        """What an audit ended with; None where it, or its manifest, is not there."""
        folder = self._folder(item)
        try:
            return Report.load(folder / REPORT_FILE) if (folder / MANIFEST_FILE).is_file() else None
        except CopyScopeError:
            return None

    def _rows(self) -> Iterator[Row]:
        """Of every audit that failed, or is finished as it was asked for."""
        for item in self.queue:
            if item.id in self.failed:
                yield from rows_of_failure(item.id, item.line, self.failed[item.id])
            elif self._known(item).get("asked") == self._asked(item) and (report := self._report(item)) is not None:
                digest = file_sha256(self._folder(item) / MANIFEST_FILE)
                yield from rows_of_report(item.id, item.line, report, digest)


def _chosen(item: QueuedAudit) -> dict[str, Any]:
    """The settings that were given; a workflow's own fill in the others."""
    return item.settings.model_dump(mode="json", exclude_unset=True)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("ascii")).hexdigest()
