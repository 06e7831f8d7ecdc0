"""A whole audit over a server: every coalition is run or taken from the run folder, measured, and reported."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from ..comfyui.errors import ServerHangError, ServerLostError, ServerUnreachableError
from ..errors import ImageError
from ..evaluation.measure import Seen, check_images
from ..evaluation.sampling import next_design
from ..features.extractor import FeatureCache, FeatureExtractor, Features, InceptionExtractor
from ..files.images import ImageFile, read_image
from ..observer import Observer, Quiet
from ..plan.plan import Plan
from ..report.build import plain
from ..report.schema import Report
from ..store.entry import Entry
from ..store.run_store import RunStore
from ..store.runs import register_run
from ..store.storage import ImageStorage
from ..workflow.graph import to_json
from .canaries import CANARY, choose_canaries, fresh_nonce
from .conclude import MeasuredAudit, StoredAudit, measure_audit, publish_audit, report_audit
from .context import ServerContext, common_context
from .feature_queue import FeatureQueue
from .fleet import spread
from .machine import Machine, Runner, Step

Crew: TypeAlias = list[Runner]
AGAIN = "again"
"""The nonce of the whole coalition's second run."""


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
        reference: the rights holder's images; they stay on this machine.
        extractor: of features; None: the bundled Inception on the CPU.
        show_reference: whether the HTML report embeds reference images.
        warnings: records with ``code`` and ``message`` for the report.
        private: leave prompts, paths and images of the reference out of the report.
        canaries: run some coalitions once again at the end.
        storage: where the images go instead of the run folder.
        pool: features, and finished coalitions of hashed models, that several audits share.
        control: unrelated images of the same kind; empty: none.
    """

    plan: Plan
    servers: Sequence[Machine]
    out: Path
    reference: Sequence[ImageFile]
    extractor: FeatureExtractor | None = None
    observer: Observer = field(default_factory=Quiet)
    show_reference: bool = True
    warnings: Sequence[Mapping[str, str]] = ()
    control: Sequence[ImageFile] = ()
    private: bool = False
    canaries: bool = True
    storage: ImageStorage | None = None
    pool: RunStore | None = None
    sampled: int = 0
    reused: int = 0

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
            extractor = self._cache(store).extractor
            crew = [server.runner(self.plan, extractor, self.observer) for server in self.servers]
            entries: dict[Step, Entry] = {}
            seen: dict[int, Seen] = {}
            while True:
                self._write_run(store, context)
                crew = await self._make(store, context, crew, entries)
                measured = await asyncio.to_thread(self._measure, store, context, entries, seen)
                design = next_design(measured.measurement.evaluation, self.plan.settings)
                if design is None:
                    break
                self.plan = replace(self.plan, design=design)
            canaries = await self._run_canaries(store, context, crew, entries)
            measured = replace(measured, audit=replace(measured.audit, canaries=canaries))
            finishing = asyncio.create_task(asyncio.to_thread(self._finish, context, entries, measured))
            try:
                return await asyncio.shield(finishing)
            finally:  # Ctrl-C waits for the report, lest another audit finds the folder unlocked
                await asyncio.wait([finishing])

    async def _context(self) -> ServerContext:
        """What the servers have in common; those that no longer answer are left out while there are others."""
        observers = [self.observer, *(Quiet() for _ in self.servers[1:])]
        asked = [server.context(self.plan, told) for server, told in zip(self.servers, observers, strict=True)]
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

    async def _make(self, store: RunStore, context: ServerContext, crew: Crew, entries: dict[Step, Entry]) -> Crew:
        """Run or read every coalition of the design that is not among the entries yet, and compute its features.

        With several servers the whole coalition's first image is made on two of them.
        """
        steps = [Step(mask, offset) for mask, offset in self.plan.steps()]
        if len(crew) > 1:
            steps.sort(key=lambda step: (step.mask != self.plan.full, -self.plan.weight(step.mask)))
        again = Step(self.plan.full, 0, AGAIN)
        if self.plan.noise:
            steps.insert(1, again)
        steps = [step for step in steps if step not in entries]
        found = await self._stored(store, context, steps)
        entries.update(found)
        maker = found.get(Step(self.plan.full, 0))
        elsewhere = {again: crew[0].name if maker is None else str(maker.meta.get("server"))}
        self.observer.stage("Running coalitions", len(steps))
        return await self._run(store, context, crew, steps, entries, elsewhere)

    async def _stored(self, store: RunStore, context: ServerContext, steps: Sequence[Step]) -> dict[Step, Entry]:
        """The entries of those steps that are in the run folder, or in the pool, whole."""
        found = {}
        for step in steps:
            if (entry := await asyncio.to_thread(self._read, store, self._key(context, step))) is not None:
                found[step] = entry
        self.reused += len(found)
        return found

    def _read(self, store: RunStore, key: str) -> Entry | None:
        entry = store.read(key)
        return store.adopt(key, self.pool) if entry is None and self.pool is not None else entry

    async def _run(
        self,
        store: RunStore,
        context: ServerContext,
        crew: Crew,
        steps: Sequence[Step],
        entries: dict[Step, Entry],
        elsewhere: Mapping[Step, str],
    ) -> Crew:
        """Run the steps that have no entry, and compute the features of all, while the servers work on the next ones.

        Returns:
            The servers that are still of use.
        """
        others = len(entries) - sum(step in entries for step in steps)
        in_turn = str(context.environment["device"]).startswith("cpu")
        features = FeatureQueue(partial(self._features, store), in_turn)

        async def work(runner: Runner, step: Step) -> None:
            self.observer.step(len(entries) - others, self.plan.label(step.mask))
            entry = entries[step] = await self._sample(store, context, runner, step)
            await features.add(entry, runner)

        try:
            waiting = [step for step in steps if step not in entries]
            for step in steps:
                if step in entries:
                    await features.add(entries[step])
            left = await spread(waiting, crew, work, self.observer, elsewhere) if waiting else crew
            await features.finish()
        finally:
            await features.stop()
        self.observer.step(len(steps))
        return left

    def _cache(self, store: RunStore) -> FeatureCache:
        if self.extractor is None:
            self.extractor = InceptionExtractor()
        pool = None if self.pool is None else self.pool.features_folder
        return FeatureCache(store.features_folder, self.extractor, pool=pool)

    def _features(self, store: RunStore, entries: Sequence[Entry], made: Mapping[str, Features]) -> None:
        """Keep the features that were made elsewhere; compute those that are not stored."""
        cache = self._cache(store)
        cache.keep(made)
        missing = [
            entry for entry in entries if any(cache.stored(image.pixel_sha256) is None for image in entry.images)
        ]
        cache.features([image for entry in missing for image in store.images(entry)])

    async def _run_canaries(
        self, store: RunStore, context: ServerContext, crew: Crew, entries: Mapping[Step, Entry]
    ) -> dict[int, Entry]:
        """Run some coalitions once again, past the servers' caches, and elsewhere than in their turn where that can be.

        Where nothing was run, what is stored will do.
        """
        if not self.plan.noise or not self.canaries:
            return {}
        masks = choose_canaries(self.plan.design.masks, self.plan.full)
        steps = [Step(mask, 0, CANARY) for mask in masks]
        self.observer.stage("Running canaries", len(masks))
        sampled, reused = self.sampled, self.reused
        found: dict[Step, Entry] = {}
        if sampled:
            for step in steps:
                await asyncio.to_thread(store.remove, self._key(context, step))
        else:
            found = await self._stored(store, context, steps)
        elsewhere = {step: str(entries[Step(step.mask, 0)].meta.get("server")) for step in steps}
        await self._run(store, context, crew, steps, found, elsewhere)
        self.sampled, self.reused = sampled, reused
        return {step.mask: found[step] for step in steps}

    def _key(self, context: ServerContext, step: Step) -> str:
        target = self.plan.rewriter.target(step.mask, step.offset, step.nonce)
        graph, _ = self.plan.rewriter.graph(step.mask, step.offset, step.nonce)
        return context.run.key(target, graph)

    async def _sample(self, store: RunStore, context: ServerContext, runner: Runner, step: Step) -> Entry:
        """Run a step on a server and store its images."""
        meta = {
            "members": list(self.plan.members(step.mask)),
            "offset": step.offset,
            "repeat": step.nonce is not None,
            "session": context.run.token if context.unhashed else None,
            "comfyui": context.environment["comfyui"],
            "server": runner.name,
        }
        fresh = replace(step, nonce=fresh_nonce()) if step.nonce == CANARY else step
        entry = await runner.make(store, fresh, self._key(context, step), meta)
        if self.pool is not None and not context.unhashed:
            await asyncio.to_thread(self.pool.adopt, entry.key, store)
        self.sampled += 1
        return entry

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

    def _measure(
        self, store: RunStore, context: ServerContext, entries: Mapping[Step, Entry], seen: dict[int, Seen]
    ) -> MeasuredAudit:
        self.observer.stage("Measuring", len(self.plan.design.masks))
        stored = StoredAudit(
            self.plan,
            store,
            {(step.mask, step.offset): entry for step, entry in entries.items() if step.nonce is None},
            next((entry for step, entry in entries.items() if step.nonce is not None), None),
            seen,
        )
        inputs = {image.node: decoded for image in self.plan.images if (decoded := _decoded(context, image.file))}
        return measure_audit(
            stored,
            self.reference,
            self._cache(store),
            inputs,
            lambda done, _: self.observer.step(done, "coalitions"),
            control=self.control,
            distance=self.plan.settings.distance,
        )

    def _finish(self, context: ServerContext, entries: Mapping[Step, Entry], measured: MeasuredAudit) -> AuditResult:
        environment = {**context.environment, "not_hashed": list(context.unhashed)}
        report = report_audit(measured, context.models, environment, self.warnings)
        kept = {entry.key for entry in (*entries.values(), *measured.audit.canaries.values())}
        _drop_stale(measured.audit.store, kept)
        published = publish_audit(measured, report, self.show_reference, self.private)
        return AuditResult(published.report, published.json_path, published.html_path, self.sampled, self.reused)


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
