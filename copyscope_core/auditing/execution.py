"""Runs the steps of an audit on its servers, or takes them from the run folder; features are computed meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from ..evidence.custody import Custody, now_text
from ..features.extractor import FeatureCache, Features
from ..observer import Observer
from ..planning.plan import Plan
from ..planning.steps import Step, StepKeys
from ..store.entry import Entry
from ..store.run_store import RunStore
from .context import ServerContext
from .feature_queue import FeatureQueue
from .fleet import distribute
from .machine import Runner


class Execution:
    """The steps of one audit and what came of them.

    Attributes:
        entries: each finished step's images in the run folder.
        sampled: how many steps were run.
        reused: how many were in the run folder, or in the pool, already.

    Args:
        plan: of the audit; it may grow (:meth:`run`), as a sample of coalitions does.
        context: what the servers have in common.
        runners: one for each server; those that die are left out of what follows.
        cache: features, by pixel hash; None: they are computed later, when all coalitions are there.
        pool: finished coalitions that several audits share; None: there is none.
        custody: is told of every step; None: nobody is.
    """

    def __init__(
        self,
        plan: Plan,
        store: RunStore,
        context: ServerContext,
        runners: Sequence[Runner],
        cache: FeatureCache | None,
        observer: Observer,
        pool: RunStore | None = None,
        custody: Custody | None = None,
    ) -> None:
        self._plan = plan
        self._store = store
        self._context = context
        self._runners = list(runners)
        self._cache = cache
        self._observer = observer
        self._pool = pool
        self._custody = custody
        self._keys = StepKeys(plan.rewriter, context.run, plan.frames)
        self.entries: dict[Step, Entry] = {}
        self.sampled = 0
        self.reused = 0

    async def run(self, plan: Plan, also: Sequence[Step] = ()) -> None:
        """Run or read every step of the plan, and others, that has no entry yet, and compute its features.

        With several servers the full coalition's first images are made on two of them.

        Raises:
            HostError: a coalition cannot be run; it is named.
            StoreError: the run folder cannot be used.
        """
        self._plan = plan
        steps = [step for step in (*plan.steps(), *also) if step not in self.entries]
        if len(self._runners) > 1:
            steps.sort(key=lambda step: (step.mask != plan.full, -plan.weight(step.mask)))
        found = await self._stored(steps)
        self.reused += len(found)
        maker = found.get(Step(plan.full))
        elsewhere = {plan.repeat: self._runners[0].name if maker is None else str(maker.meta.get("server"))}
        self._observer.stage("Running coalitions", len(steps))
        await self._run(steps, found, elsewhere)

    async def run_canaries(self, plan: Plan) -> None:
        """Run some of a plan's coalitions once again, past the servers' caches, and elsewhere than before if possible.

        Where nothing was run, what is stored will do.

        Raises:
            HostError, StoreError: see :meth:`run`.
        """
        steps = plan.canaries()
        self._observer.stage("Running canaries", len(steps))
        found: dict[Step, Entry] = {}
        if self.sampled:
            for step in steps:
                await asyncio.to_thread(self._store.remove, self._keys[step])
        else:
            found = await self._stored(steps)
        elsewhere = {step: str(self.entries[Step(step.mask)].meta.get("server")) for step in steps}
        await self._run(steps, found, elsewhere)

    async def _stored(self, steps: Sequence[Step]) -> dict[Step, Entry]:
        """The entries of those steps that are in the run folder, or in the pool, whole."""
        found = {}
        for step in steps:
            if (entry := await asyncio.to_thread(self._read, self._keys[step])) is not None:
                found[step] = entry
                if self._custody is not None:
                    self._custody.images_reused(key=entry.key, **entry.meta)
        return found

    def _read(self, key: str) -> Entry | None:
        entry = self._store.read(key)
        return self._store.adopt(key, self._pool) if entry is None and self._pool is not None else entry

    async def _run(self, steps: Sequence[Step], found: dict[Step, Entry], elsewhere: Mapping[Step, str]) -> None:
        """Run the steps that are not found, and compute the features of all, while the servers work on the next ones.

        Args:
            elsewhere: step → name of a server that leaves it to another one, where there is another.
        """
        in_turn = str(self._context.environment["device"]).startswith("cpu")
        features = FeatureQueue(self._compute_features, in_turn)
        done = len(found)
        runners = self._runners

        def expect(runner: Runner, step: Step | None) -> None:
            runner.expect(step if features.leaves_server_free(self._plan.batch) else None)

        async def work(runner: Runner, step: Step) -> None:
            nonlocal done
            self._observer.step(done, self._plan.label(step.mask))
            entry = self.entries[step] = await self._sample(runner, step)
            done += 1
            await features.add(entry, runner)

        try:
            for step, entry in found.items():
                self.entries[step] = entry
                await features.add(entry)
            if missing := [step for step in steps if step not in found]:
                self._runners = await distribute(missing, runners, work, self._observer, elsewhere, expect)
            await features.finish()
        finally:
            await asyncio.gather(*(runner.stop() for runner in runners))
            await features.stop()
        self._observer.step(len(steps))

    async def _sample(self, runner: Runner, step: Step) -> Entry:
        """Run a step on a server and store its images."""
        meta = {
            "members": list(self._plan.members(step.mask)),
            "offset": step.offset,
            "purpose": step.purpose,
            "session": self._context.run.token if self._context.unhashed else None,
            "comfyui": self._context.environment["comfyui"],
            "server": runner.name,
            "begun": now_text(),
        }
        entry = await runner.make(self._store, step, self._keys[step], meta)
        if self._pool is not None and not self._context.unhashed:
            await asyncio.to_thread(self._pool.adopt, entry.key, self._store)
        if self._custody is not None:
            self._custody.images_made(key=entry.key, **entry.meta)
        self.sampled += step.purpose != "canary"
        return entry

    def _compute_features(self, entries: Sequence[Entry], made: Mapping[str, Features]) -> None:
        """Keep the features that were made elsewhere; compute those that are not stored."""
        cache = self._cache
        if cache is None:
            return
        cache.keep(made)
        missing = [
            entry for entry in entries if any(cache.stored(image.pixel_sha256) is None for image in entry.images)
        ]
        cache.features([image for entry in missing for image in self._store.images(entry)])
