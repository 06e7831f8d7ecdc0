"""A whole audit over a server: every coalition is run or taken from the run folder, measured, and reported."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..comfyui.errors import ServerHangError, ServerLostError, ServerUnreachableError
from ..errors import ImageError
from ..evaluation.measure import ImageSummary, Works, check_images
from ..evaluation.sampling import next_design
from ..evidence.publish import ReportOptions
from ..features.extractor import FeatureCache, FeatureExtractor, InceptionExtractor
from ..files.images import ImageFile, read_image
from ..observer import Observer, Quiet
from ..planning.plan import Plan
from ..report.build import plain
from ..report.report import Report
from ..store.run_store import RunStore
from ..store.runs import register_run
from ..store.storage import ImageStorage
from ..workflow.graph import to_json
from .context import ServerContext, common_context
from .execution import Execution
from .machine import Machine
from .reporting import MeasuredAudit, StoredAudit, measure_audit, publish_audit, report_audit


@dataclass(frozen=True)
class AuditResult:
    """What an audit gives: the report, where it was written, and how many coalitions' images were made anew."""

    report: Report
    json_path: Path
    html_path: Path
    sampled: int
    reused: int


@dataclass
class Audit:
    """One audit, ready to run.

    Attributes:
        plan: of the workflow, made with the server's own node list.
        servers: those that share the work, alike in all that shapes images; this process's, or a cluster's.
        out: the run folder.
        works: what the coalitions are compared with; they stay on this machine.
        extractor: of features; None: the bundled Inception on the CPU.
        options: what the report shows.
        warnings: records with ``code`` and ``message`` for the report.
        canaries: run some coalitions once again at the end.
        storage: where the images go instead of the run folder.
        pool: features, and finished coalitions of hashed models, that several audits share.
    """

    plan: Plan
    servers: Sequence[Machine]
    out: Path
    works: Works
    extractor: FeatureExtractor | None = None
    observer: Observer = field(default_factory=Quiet)
    options: ReportOptions = field(default_factory=ReportOptions)
    warnings: Sequence[Mapping[str, str]] = ()
    canaries: bool = True
    storage: ImageStorage | None = None
    pool: RunStore | None = None

    async def run(self) -> AuditResult:
        """Run what is not stored yet, measure, and write ``report.json`` and ``report.html``.

        A sample of coalitions is measured and grown until it suffices. Interrupted at any moment, the same call goes on
        with what is stored.

        Raises:
            GameError: the distance needs more images a coalition than the plan makes; nothing is run then.
            HostError: a coalition cannot be run; it is named.
            StoreError: the run folder cannot be used.
            ImageError: images are of unequal sizes, or cannot be measured.
        """
        seeds, batch = self.plan.seeds, self.plan.batch
        check_images(
            self.plan.settings.distance, seeds * batch, f"seeds × batch = {seeds:,} × {batch:,} = {seeds * batch:,}"
        )
        store = RunStore(self.out, self.storage)
        with store.lock():
            context = await self._context()
            if context.unhashed:
                self.observer.note(_unhashed_note(context.unhashed))
            register_run(self.out)
            cache = self._cache(store)
            runners = [server.runner(self.plan, cache.extractor, self.observer) for server in self.servers]
            execution = Execution(self.plan, store, context, runners, cache, self.observer, self.pool)
            summaries: dict[int, ImageSummary] = {}
            while True:
                self._write_run(store, context)
                await execution.run(self.plan)
                stored = StoredAudit(self.plan, store, dict(execution.entries), summaries)
                measured = await asyncio.to_thread(self._measure, stored, cache, context)
                design = next_design(measured.measurement.evaluation, self.plan.settings)
                if design is None:
                    break
                self.plan = replace(self.plan, design=design)
            if self.canaries:
                await execution.run_canaries()
            measured = replace(measured, audit=replace(measured.audit, entries=execution.entries))
            finishing = asyncio.create_task(asyncio.to_thread(self._finish, context, execution, measured))
            try:
                return await asyncio.shield(finishing)
            finally:  # Ctrl-C waits for the report: the folder stays locked until it is written
                await asyncio.wait([finishing])

    async def _context(self) -> ServerContext:
        """What the servers have in common; those that no longer answer are left out while there are others."""
        observers = [self.observer, *(Quiet() for _ in self.servers[1:])]
        asked = [server.context(self.plan, observer) for server, observer in zip(self.servers, observers, strict=True)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        contexts: dict[str, ServerContext] = {}
        left: list[Machine] = []
        for server, answer in zip(self.servers, answers, strict=True):
            if isinstance(answer, BaseException):
                lost = isinstance(answer, ServerLostError | ServerUnreachableError | ServerHangError)
                if not lost or (not left and server is self.servers[-1]):
                    raise answer
                self.observer.note(f"{answer} The audit goes on without it.")
            else:
                contexts[server.name] = answer
                left.append(server)
        self.servers = left
        return common_context(contexts)

    def _cache(self, store: RunStore) -> FeatureCache:
        pool = None if self.pool is None else self.pool.features_folder
        return FeatureCache(store.features_folder, self.extractor or InceptionExtractor(), pool=pool)

    def _write_run(self, store: RunStore, context: ServerContext) -> None:
        summary = self.plan.summary()
        store.write_run(
            plain(
                {
                    "workflow": to_json(self.plan.graph),
                    "settings": self.plan.settings,
                    "players": summary["players"],
                    "locked": summary["locked"],
                    "seeds": self.plan.seeds,
                    "coalitions": [
                        {"mask": mask, "members": list(self.plan.members(mask))} for mask in self.plan.coalitions
                    ],
                    "environment": context.environment,
                    "models": context.models,
                    "storage": None if store.storage is None else store.storage.url,
                }
            )
        )

    def _measure(self, stored: StoredAudit, cache: FeatureCache, context: ServerContext) -> MeasuredAudit:
        self.observer.stage("Measuring", len(stored.plan.design.masks))
        images = stored.plan.images
        inputs = {image.node: decoded for image in images if (decoded := _decoded(context, image.file))}
        return measure_audit(stored, self.works, cache, inputs, lambda done, _: self.observer.step(done, "coalitions"))

    def _finish(self, context: ServerContext, execution: Execution, measured: MeasuredAudit) -> AuditResult:
        environment = {**context.environment, "not_hashed": list(context.unhashed)}
        report = report_audit(measured, context.models, environment, self.warnings)
        _drop_stale(measured.audit.store, {entry.key for entry in execution.entries.values()})
        published = publish_audit(measured, report, self.options)
        return AuditResult(
            published.report, published.json_path, published.html_path, execution.sampled, execution.reused
        )


def _decoded(context: ServerContext, name: str) -> ImageFile | None:
    """An input image; None where the server does not have it, or it is no image that can be decoded."""
    data = context.images.get(name)
    if data is None:
        return None
    with tempfile.TemporaryDirectory(prefix="copyscope-") as folder:
        path = Path(folder) / "image"
        path.write_bytes(data)
        try:
            return replace(read_image(path), name=name)
        except ImageError:
            return None


def _drop_stale(store: RunStore, current: set[str]) -> None:
    """Remove what earlier runs stored and no run will ever reuse, because a model file was not hashed."""
    for key in set(store.keys()) - current:
        entry = store.read(key)
        if entry is not None and entry.meta.get("session"):
            store.remove(key)


def _unhashed_note(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return (
        f"Not hashed, so nothing from this server can be reused by a later run: {shown}. "
        "Give the ComfyUI folder with --comfyui, or install the CopyScope pack on the server."
    )
