"""A screen: every model in the one slot of a workflow against its absence, measured against all artists.

Models are run in waves, each by what runs an audit (``auditing.execution``), so several servers and Ray share them, all
images are kept under the keys that audits use, and the same command goes on after any stop with what is there. Of a
wave only numbers stay in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..auditing.audit import unhashed_note
from ..auditing.context import ServerContext
from ..auditing.execution import Execution
from ..auditing.machine import Machine, Runner, shared_context
from ..comfyui.errors import PromptFailedError, PromptRefusedError
from ..errors import ImageError
from ..features.extractor import FeatureCache, FeatureExtractor, Features
from ..features.views import views_of
from ..observer import Observer, Quiet
from ..planning.steps import Step
from ..store.entry import Entry
from ..store.run_store import RunStore
from ..store.runs import register_run
from ..twins.twins import Fingerprint, find_copies
from ..workflow.graph import to_json
from .measure import Meter
from .panel import Panel
from .results import Collector, Screened, ScreenedModel, told_by
from .slot import Slot, Wave

WAVE = 32
"""Models that are planned, run and measured together."""
SHOWN = 4
"""Images of each model that can be shown."""

PanelMaker = Callable[[tuple[int, int], FeatureCache], Panel]
"""Gives the panel for images of a size (width, height)."""


@dataclass
class Screen:
    """One screen, ready to run.

    Attributes:
        slot: where models are put.
        models: names that the server has, each once.
        panel: gives the artists, once the size of the images is known.
        artists: names to look for in what files say of themselves.
        servers: those that share the work.
        out: the run folder.
        extractor: of features.
    """

    slot: Slot
    models: Sequence[str]
    panel: PanelMaker
    artists: Sequence[str]
    servers: Sequence[Machine]
    out: Path
    extractor: FeatureExtractor
    observer: Observer = field(default_factory=Quiet)
    sampled: int = field(default=0, init=False)
    reused: int = field(default=0, init=False)
    steady: bool = field(default=True, init=False)
    """Whether the images without a model came out alike each time that they were made."""
    without: tuple[tuple[str, str], ...] = field(default=(), init=False)
    """Entry and name of the first images without a model in the run folder."""

    async def run(self) -> Screened:
        """Run what is not stored yet, and measure everything.

        Raises:
            HostError: no server is left, servers differ, or the workflow cannot be run without the model.
            StoreError: the run folder cannot be used.
            ImageError: images are of several sizes, or cannot be read.
            CopyScopeError: the panel cannot be made, or does not fit the images.
        """
        store = RunStore(self.out)
        with store.lock():
            register_run(self.out)
            cache = FeatureCache(store.features_folder, self.extractor)
            copies = find_copies(await self._fingerprints())
            collector: Collector | None = None
            meter: Meter | None = None
            found: list[ScreenedModel] = []
            places = {name: place for place, name in enumerate(self.models)}
            for start in range(0, len(self.models), WAVE):
                names = list(self.models[start : start + WAVE])
                self.observer.note(f"Models {start + 1:,} to {start + len(names):,} of {len(self.models):,}")
                context, self.servers = await shared_context(self.servers, self.slot.wave(names), self.observer)
                if context.unhashed and not start:
                    self.observer.note(unhashed_note(context.unhashed))
                self._write_run(store, context)
                run = await self._run_wave([name for name in names if name not in copies], store, cache, context)
                if meter is None or collector is None:
                    size = _size(run.without)
                    panel = await asyncio.to_thread(self.panel, size, cache)
                    meter = Meter(panel, dict(views_of(self.extractor)))
                    collector = Collector(panel.artists, panel.named, panel.counts, meter.names, len(self.models))
                self.without = _shown(run.without)
                measured = await asyncio.to_thread(self._measure, run, meter, store, cache)
                for name in names:
                    source, cosine = copies.get(name, (name, None))
                    says, mentions = told_by(context.metadata.get(name), self.artists)
                    other = found[places[source]] if source != name else None
                    if other is None and name not in run.errors:
                        collector.add(places[name], measured[name])
                    elif other is not None and other.error is None:
                        collector.copy(places[name], places[source])
                    entries = run.entries.get(name, ())
                    found.append(
                        ScreenedModel(
                            name,
                            context.models.get(name),
                            None if other is None else source,
                            cosine,
                            says,
                            mentions,
                            other.no_effect if other else _pixels(entries) == _pixels(run.without) and bool(entries),
                            other.error if other else run.errors.get(name),
                            other.images if other else _shown(entries),
                        )
                    )
            if collector is None:
                raise ImageError("There is no model to screen.")
            return collector.finish(found)

    async def _fingerprints(self) -> dict[str, Fingerprint]:
        """What is known of the models' files, by the first server."""
        self.observer.stage("Looking for copies of models", len(self.models))
        known: dict[str, Fingerprint] = {}
        for done, name in enumerate(self.models, start=1):
            known |= await self.servers[0].fingerprints([name])
            self.observer.step(done, name)
        return known

    async def _run_wave(self, names: list[str], store: RunStore, cache: FeatureCache, context: ServerContext) -> _Wave:
        """Run some models; those that cannot be run are left out and told.

        Raises:
            HostError: see :meth:`run`.
        """
        errors: dict[str, str] = {}
        while True:
            wave = self.slot.wave(names)
            failed: dict[int, str] = {}
            runners = [_Watched(server.runner(wave, self.extractor, self.observer), failed) for server in self.servers]
            execution = Execution(wave, store, context, runners, cache, self.observer)
            try:
                await execution.run(wave)
                await execution.run_canaries(wave)
            except (PromptFailedError, PromptRefusedError):
                if not failed or 0 in failed:
                    raise
                for mask, sentence in failed.items():
                    (name,) = wave.members(mask)
                    errors[name] = sentence
                    self.observer.note(f"{name} is left out. {sentence}")
                names = [name for name in names if name not in errors]
                continue
            finally:
                self.sampled += execution.sampled
            self.reused += execution.reused
            return self._taken(wave, execution, errors)

    def _taken(self, wave: Wave, execution: Execution, errors: dict[str, str]) -> _Wave:
        def of(mask: int) -> list[Entry]:
            return [execution.entries[Step(mask, offset)] for offset in range(wave.seeds)]

        again = [execution.entries[step] for step in (wave.repeat, *wave.canaries()) if step in execution.entries]
        without = of(0)
        self.steady = self.steady and all(_pixels([entry]) == _pixels(without[:1]) for entry in again)
        return _Wave(without, {name: of(1 << place) for place, name in enumerate(wave.names)}, errors)

    def _measure(self, run: _Wave, meter: Meter, store: RunStore, cache: FeatureCache) -> dict[str, Any]:
        self.observer.stage("Measuring", len(run.entries))
        if (size := _size(run.without)) != meter.panel.size:
            raise ImageError(
                f"The workflow's images are {size[0]}×{size[1]}, and the artists' works were measured at "
                f"{meter.panel.size[0]}×{meter.panel.size[1]}; make the index with --size {size[0]}x{size[1]}."
            )
        seeds = len(run.without)
        without = meter.places(_features(run.without, store, cache), seeds)
        found = {}
        for done, (name, entries) in enumerate(run.entries.items(), start=1):
            if _size(entries) != size or len(_pixels(entries)) != len(_pixels(run.without)):
                raise ImageError(
                    f"The images with {name} differ in size or number from those without it; a slot for models of one "
                    "family is needed."
                )
            found[name] = meter.measure(_features(entries, store, cache), without)
            self.observer.step(done, name)
        return found

    def _write_run(self, store: RunStore, context: ServerContext) -> None:
        store.write_run(
            {
                "workflow": to_json(self.slot.graph),
                "screen": {"slot": self.slot.node, "input": self.slot.input, "models": len(self.models)},
                "seeds": self.slot.seeds,
                "environment": context.environment,
            }
        )


@dataclass(frozen=True)
class _Wave:
    """What a wave gave: the entries without a model and with each, seed by seed, and why others could not be run."""

    without: list[Entry]
    entries: dict[str, list[Entry]]
    errors: Mapping[str, str]


class _Watched:
    """A runner that remembers which coalition failed, and why."""

    def __init__(self, runner: Runner, failed: dict[int, str]) -> None:
        self._runner = runner
        self._failed = failed

    @property
    def name(self) -> str:
        return self._runner.name

    def expect(self, step: Step | None) -> None:
        self._runner.expect(step)

    async def make(self, store: RunStore, step: Step, key: str, meta: Mapping[str, Any]) -> Entry:
        try:
            return await self._runner.make(store, step, key, meta)
        except (PromptFailedError, PromptRefusedError) as error:
            self._failed[step.mask] = str(error)
            raise

    async def features(self, entry: Entry) -> dict[str, Features]:
        return await self._runner.features(entry)

    async def stop(self) -> None:
        await self._runner.stop()


def _features(entries: Sequence[Entry], store: RunStore, cache: FeatureCache) -> NDArray[np.float32]:
    """Features of all images, in order; those that are not stored are computed."""
    rows = []
    for entry in entries:
        known = [cache.stored(image.pixel_sha256) for image in entry.images]
        if any(row is None for row in known):
            rows.append(cache.features(store.images(entry)))
        else:
            rows.append(np.stack([row for row in known if row is not None]))
    return np.concatenate(rows)


def _shown(entries: Sequence[Entry]) -> tuple[tuple[str, str], ...]:
    return tuple((entry.key, entry.images[0].name) for entry in entries[:SHOWN])


def _pixels(entries: Sequence[Entry]) -> list[str]:
    return [image.pixel_sha256 for entry in entries for image in entry.images]


def _size(entries: Sequence[Entry]) -> tuple[int, int]:
    """(width, height) of all images. Raises ImageError where they differ."""
    sizes = {(image.width, image.height) for entry in entries for image in entry.images}
    if len(sizes) != 1:
        listed = ", ".join(f"{width}×{height}" for width, height in sorted(sizes))
        raise ImageError(f"The workflow's images are of several sizes ({listed}); all images of a screen have one.")
    return sizes.pop()
