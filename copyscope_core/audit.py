"""A whole audit over a server: every coalition is run or taken from the run folder, measured, and reported."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .client import ComfyClient
from .conclude import StoredAudit, measure_audit, report_audit, write_audit
from .distances import DistanceName
from .errors import ImageError
from .features import FeatureCache, FeatureExtractor, InceptionExtractor
from .graph import to_json
from .host import ManagedHost
from .images import ImageFile, read_image
from .measure import check_images
from .model_files import LocalModels
from .observer import Observer, Quiet
from .plan import Plan
from .report import plain
from .report_schema import Report
from .runner import CoalitionRunner, Step
from .runs import register_run
from .server_context import ServerContext, server_context
from .store import Entry, RunStore


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
        client: the server, open.
        out: the run folder.
        reference: the rights holder's images; they stay on this machine.
        extractor: of features; None: the bundled Inception on the CPU.
        host: the server's process where it is ours.
        local: the server's model files where they are on this machine.
        show_reference: whether the HTML report embeds reference images.
        warnings: records with ``code`` and ``message`` for the report.
        control: unrelated images of the same kind; empty: none.
        distance: what v(S) is made of.
    """

    plan: Plan
    client: ComfyClient
    out: Path
    reference: Sequence[ImageFile]
    extractor: FeatureExtractor | None = None
    host: ManagedHost | None = None
    local: LocalModels | None = None
    observer: Observer = field(default_factory=Quiet)
    show_reference: bool = True
    warnings: Sequence[Mapping[str, str]] = ()
    control: Sequence[ImageFile] = ()
    distance: DistanceName = "fid"
    sampled: int = 0
    reused: int = 0

    async def run(self) -> AuditResult:
        """Run what is not stored yet, measure, and write ``report.json`` and ``report.html``.

        Interrupted at any moment, the same call goes on with what is stored.

        Raises:
            GameError: the distance needs more images a coalition than the plan makes; nothing is run then.
            HostError: a coalition cannot be run; it is named.
            StoreError: the run folder cannot be used.
            ImageError: images are of unequal sizes, or cannot be measured.
        """
        seeds, batch = self.plan.seeds, self.plan.batch
        check_images(self.distance, seeds * batch, f"seeds × batch = {seeds:,} × {batch:,} = {seeds * batch:,}")
        store = RunStore(self.out)
        with store.lock():
            context = await server_context(self.client, self.plan, self.local, self.observer)
            if context.unhashed:
                self.observer.note(_unhashed_note(context.unhashed))
            self._write_run(store, context)
            register_run(self.out)
            entries = await self._make(store, context)
            return await asyncio.to_thread(self._finish, store, context, entries)

    async def _make(self, store: RunStore, context: ServerContext) -> dict[Step, Entry]:
        """Run or read every coalition; features are computed while the server works on the next one."""
        runner = CoalitionRunner(self.plan, self.client, self.observer, self.host)
        steps = [Step(mask, offset) for mask, offset in self.plan.steps()]
        repeat = [Step(self.plan.full, 0, "again")] if self.plan.noise else []
        self.observer.stage("Running coalitions", len(steps) + len(repeat))
        entries: dict[Step, Entry] = {}
        features: asyncio.Task[None] | None = None
        try:
            for number, step in enumerate([steps[0], *repeat, *steps[1:]]):
                self.observer.step(number, self.plan.label(step.mask))
                entry = entries[step] = await self._entry(store, context, runner, step)
                if features is not None:
                    await features
                features = asyncio.create_task(asyncio.to_thread(self._features, store, entry))
            if features is not None:
                await features
        finally:
            if features is not None and not features.done():
                await asyncio.wait([features])
        self.observer.step(len(steps) + len(repeat))
        return entries

    def _cache(self, store: RunStore) -> FeatureCache:
        if self.extractor is None:
            self.extractor = InceptionExtractor()
        return FeatureCache(store.features_folder, self.extractor)

    def _features(self, store: RunStore, entry: Entry) -> None:
        self._cache(store).features(store.images(entry))

    async def _entry(self, store: RunStore, context: ServerContext, runner: CoalitionRunner, step: Step) -> Entry:
        target = self.plan.rewriter.target(step.mask, step.offset, step.nonce)
        graph, _ = self.plan.rewriter.graph(step.mask, step.offset, step.nonce)
        key = context.run.key(target, graph)
        entry = await asyncio.to_thread(store.read, key)
        if entry is not None:
            self.reused += 1
            return entry
        started = time.monotonic()
        images = await runner.images(step)
        meta = {
            "members": list(self.plan.members(step.mask)),
            "offset": step.offset,
            "repeat": step.nonce is not None,
            "seconds": round(time.monotonic() - started, 3),
            "session": context.run.token if context.unhashed else None,
            "comfyui": context.environment["comfyui"],
        }
        entry = await asyncio.to_thread(store.write, key, images, meta)
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
                }
            )
        )

    def _finish(self, store: RunStore, context: ServerContext, entries: Mapping[Step, Entry]) -> AuditResult:
        self.observer.stage("Measuring", self.plan.full + 1)
        stored = StoredAudit(
            self.plan,
            store,
            {(step.mask, step.offset): entry for step, entry in entries.items() if step.nonce is None},
            next((entry for step, entry in entries.items() if step.nonce is not None), None),
        )
        inputs = {image.node: decoded for image in self.plan.images if (decoded := _decoded(context, image.file))}
        measured = measure_audit(
            stored,
            self.reference,
            self._cache(store),
            inputs,
            lambda done, _: self.observer.step(done, "coalitions"),
            control=self.control,
            distance=self.distance,
        )
        environment = {**context.environment, "not_hashed": list(context.unhashed)}
        report = report_audit(measured, context.models, environment, self.warnings)
        json_path, html_path = write_audit(measured, report, self.show_reference)
        _drop_stale(store, {entry.key for entry in entries.values()})
        return AuditResult(report, json_path, html_path, self.sampled, self.reused)


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
