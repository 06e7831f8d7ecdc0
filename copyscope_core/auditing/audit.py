"""A whole audit over a server: every coalition is run or taken from the run folder, measured, and reported."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import ImageError
from ..evaluation.measure import ImageSummary, Works, check_images
from ..evidence.custody import Custody, command_line
from ..evidence.publish import ReportOptions
from ..features.extractor import FeatureCache, FeatureExtractor, InceptionExtractor
from ..files.images import ImageFile, read_image
from ..observer import BANK_STAGE, Observer, Quiet, stage_of
from ..planning.plan import Plan
from ..planning.rounds import next_plan, put_back, stopped
from ..report.build import plain
from ..report.report import Report
from ..report.until_sure import race_text
from ..store.run_store import RunStore
from ..store.runs import register_run
from ..store.storage import ImageStorage
from ..workflow.graph import to_json
from .context import ServerContext
from .execution import Execution
from .interrupt import Interrupt
from .machine import Machine, shared_context
from .reporting import MeasuredAudit, StoredAudit, measure_audit, publish_audit, report_audit
from .shared_style import ServerStyleExtractor

STOPPING = "Stopping: what is known is reported, after a last check. Ctrl-C again ends the audit without a report."


@dataclass(frozen=True)
class AuditResult:
    """What an audit gives: the report, where it was written, and how many coalitions' images were made anew."""

    report: Report
    json_path: Path
    html_path: Path
    manifest_sha256: str
    sampled: int
    reused: int


@dataclass
class Audit:
    """One audit, ready to run.

    Attributes:
        plan: of the workflow, made with the server's own node list.
        servers: those that share the work, alike in all that shapes images; this process's, or a cluster's.
        out: the run folder.
        works: what the coalitions are compared with; they stay on this machine, unless the extractor is one that sends
            them to the server (``with_shared_style``).
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

        A sample of coalitions is measured and grown until it suffices, an audit until it is sure until its verdict is
        decided. Interrupted at any moment, the same call goes on with what is stored; an audit until it is sure that
        was measured once ends with what is known at the first Ctrl-C.

        Raises:
            GameError: the distance needs more images a coalition than the plan makes; nothing is run then.
            HostError: a coalition cannot be run; it is named.
            StoreError: the run folder cannot be used.
            ImageError: images are of unequal sizes, or cannot be measured.
        """
        seeds, batch = self.plan.seeds, self.plan.batch
        which = f"seeds × batch = {seeds:,} × {batch:,} = {seeds * batch:,}"
        if self.plan.clip is not None:
            which = f"there are {seeds:,}, one a seed"
        check_images(self.plan.settings.distance, seeds * batch, which, None if self.plan.clip is None else seeds)
        store = RunStore(self.out, self.storage)
        with store.lock():
            custody = Custody(self.out, command_line())
            try:
                return await self._run(store, custody)
            except BaseException as error:
                custody.stopped(error)
                raise

    async def _run(self, store: RunStore, custody: Custody) -> AuditResult:
        context = await self._context()
        for server in self.servers:
            custody.event("server", server=server.name, **context.environment)
        if context.unhashed:
            self.observer.note(unhashed_note(context.unhashed))
        register_run(self.out)
        cache = self._cache(store)
        runners = [server.runner(self.plan, cache.extractor, self.observer) for server in self.servers]
        at_once = None if isinstance(cache.extractor, ServerStyleExtractor) else cache
        execution = Execution(self.plan, store, context, runners, at_once, self.observer, self.pool, custody)
        measured = await self._rounds(execution, store, cache, context)
        if self.canaries:
            await execution.run_canaries(self.plan)
        entries = self.plan.filled(execution.entries)
        measured = replace(measured, audit=replace(measured.audit, plan=self.plan, entries=entries))
        finishing = asyncio.create_task(asyncio.to_thread(self._finish, context, execution, measured, custody))
        try:
            return await asyncio.shield(finishing)
        finally:  # Ctrl-C waits for the report: the folder stays locked until it is written
            await asyncio.wait([finishing])

    async def _rounds(
        self, execution: Execution, store: RunStore, cache: FeatureCache, context: ServerContext
    ) -> MeasuredAudit:
        """Run and measure, more of it each time, until nothing more is to be run."""

        async def measured_now(summaries: dict[int, ImageSummary]) -> MeasuredAudit:
            stored = StoredAudit(self.plan, store, self.plan.filled(execution.entries), summaries)
            return await asyncio.to_thread(self._measure, stored, cache, context)

        self.plan = self.plan.begun()
        self._write_run(store, context)
        await execution.run(self.plan)
        measured = await measured_now({})
        with Interrupt(lambda: self.observer.note(STOPPING)) as interrupt:
            while True:
                self.plan, more = next_plan(self.plan, measured.measurement.evaluation)
                if self.plan.race is not None:
                    self.observer.note(race_text(self.plan.race, self.plan.group_names or self.plan.names))
                    interrupt.listen()
                if more:
                    self._write_run(store, context)
                    if await interrupt.unless(execution.run(self.plan)):
                        # Seeds that are added make other summaries; of a sample that grows, the coalitions' own stay.
                        measured = await measured_now(measured.audit.summaries if self.plan.race is None else {})
                        continue
                    self.plan = stopped(self.plan)
                if (plan := await self._tried(execution)) is None:
                    return measured
                self.plan = plan
                await execution.run(self.plan)
                measured = await measured_now({})

    async def _tried(self, execution: Execution) -> Plan | None:
        """The plan with players that were set aside and had an effect after all; None: there are none."""
        trials = self.plan.trials()
        if not trials:
            return None
        await execution.run(self.plan, trials)
        plan = put_back(self.plan, execution.entries)
        if plan is not None:
            self.observer.note("A component that was set aside changed pixels at a later seed, so it is run after all.")
        return plan

    async def _context(self) -> ServerContext:
        """What the servers have in common; those that no longer answer are left out while there are others."""
        context, self.servers = await shared_context(self.servers, self.plan, self.observer)
        return context

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
        bank = stage_of(self.observer, BANK_STAGE)
        return measure_audit(
            stored, self.works, cache, inputs, lambda done, _: self.observer.step(done, "coalitions"), bank
        )

    def _finish(
        self, context: ServerContext, execution: Execution, measured: MeasuredAudit, custody: Custody
    ) -> AuditResult:
        environment = {**context.environment, "not_hashed": list(context.unhashed)}
        report = report_audit(measured, context.models, environment, context.metadata, self.warnings)
        _drop_stale(measured.audit.store, {entry.key for entry in execution.entries.values()})
        published = publish_audit(measured, report, self.options, custody)
        return AuditResult(
            published.report,
            published.json_path,
            published.html_path,
            published.manifest_sha256,
            execution.sampled,
            execution.reused,
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


def unhashed_note(names: Sequence[str]) -> str:
    """Which files could not be hashed, and what to do."""
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return (
        f"Not hashed, so nothing from this server can be reused by a later run: {shown}. "
        "Give the ComfyUI folder with --comfyui, or install the CopyScope pack on the server."
    )
