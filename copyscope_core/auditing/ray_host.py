"""The actor on a node of a Ray cluster: a ComfyUI of its own, and the features of its images."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from ..comfyui.errors import HostDiedError, ServerLostError
from ..errors import CopyScopeError, StoreError
from ..features.extractor import FeatureCache, FeatureExtractor, Features
from ..files.images import image_of
from ..observer import Quiet
from ..planning.plan import Plan
from ..planning.steps import Step
from ..store.entry import Entry, make_entry
from ..store.run_store import RunStore
from ..store.storage import ImageStorage
from ..twins.twins import Fingerprint
from .context import ServerContext
from .runner import CoalitionRunner, Server
from .servers import ServerChoice, connected, started_host

P = ParamSpec("P")


T = TypeVar("T")


def _answering(method: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T | CopyScopeError]]:
    """Give an error of CopyScope's back as the answer, for Ray wraps what is raised into errors of its own."""

    @functools.wraps(method)
    async def answer(*args: P.args, **kwargs: P.kwargs) -> T | CopyScopeError:
        try:
            return await method(*args, **kwargs)
        except CopyScopeError as error:
            return error

    return answer


class _Notes(Quiet):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class NodeHost:
    """The actor: a ComfyUI of its own, and the features of its images.

    Args:
        choice: the ComfyUI's folder and flags, as they are on the node.
    """

    def __init__(self, choice: ServerChoice) -> None:
        # Ray gives an actor one thread. Without this the images would differ from those of a ComfyUI started by hand.
        os.environ.pop("OMP_NUM_THREADS", None)
        self._choice = choice
        self._stack = contextlib.AsyncExitStack()
        self._notes = _Notes()
        self._extracting = asyncio.Lock()
        self._features: dict[str, asyncio.Task[dict[str, Features]]] = {}
        self._server: Server
        self._runner: CoalitionRunner
        self._store: RunStore
        self._extractor: FeatureExtractor

    @_answering
    async def start(self) -> None:
        """Start the ComfyUI and wait until it answers."""
        starting = started_host(self._choice, None, Quiet())
        host = await asyncio.to_thread(starting.__enter__)
        self._stack.push_async_callback(asyncio.to_thread, starting.__exit__, None, None, None)
        (self._server,) = await self._stack.enter_async_context(connected(self._choice, host, Quiet()))

    async def stop(self) -> None:
        """Stop the ComfyUI."""
        await self._stack.aclose()

    @_answering
    async def object_info(self) -> dict[str, Any]:
        """The ComfyUI's node classes."""
        return await self._server.object_info()

    @_answering
    async def fingerprints(self, names: list[str]) -> dict[str, Fingerprint]:
        """What is known of model files here."""
        return await self._server.fingerprints(names)

    @_answering
    async def context(self, plan: Plan) -> ServerContext:
        """What the images of a plan depend on here."""
        return await self._server.context(plan, Quiet())

    @_answering
    async def prepare(
        self, plan: Plan, extractor: FeatureExtractor | None, folder: Path, storage: ImageStorage | None, probe: Path
    ) -> None:
        """Take over an audit.

        Args:
            extractor: None: that of the audit before.
            folder: the run folder as the driver names it.
            storage: where images go instead.
            probe: a file that the driver has put into the run folder.
        """
        if storage is None and not probe.exists():
            raise StoreError(
                f"The run folder {folder} is not on a file system that all nodes of the cluster share; choose another "
                "--out, or say with --storage URL where images go."
            )
        self._runner = CoalitionRunner(plan, self._server, self._notes)
        self._store = RunStore(folder, storage)
        self._extractor = extractor or self._extractor

    @_answering
    async def make(
        self, step: Step, key: str, meta: Mapping[str, Any], following: Step | None = None
    ) -> tuple[Entry, list[str]]:
        """Run a step and store its images; their features are computed meanwhile. Also gives notes for the user.

        Args:
            following: the step after it, which the ComfyUI is given meanwhile.
        """
        self._runner.expect(following)
        started = time.monotonic()
        try:
            made = await self._runner.images(step)
        except HostDiedError as error:  # one of many: the others go on
            raise ServerLostError(str(error)) from error
        meta = {**meta, **made.meta, "seconds": round(time.monotonic() - started, 3)}
        entry = await asyncio.to_thread(self._write, key, made.images, meta)
        self._features[key] = asyncio.create_task(self._compute(entry, made.images))
        notes, self._notes.notes = self._notes.notes, []
        return entry, notes

    async def drop(self) -> None:
        """Take back the step that the ComfyUI was given and nobody waits for."""
        await self._runner.stop()

    def _write(self, key: str, images: Sequence[bytes], meta: Mapping[str, Any]) -> Entry:
        if self._store.storage is None:
            return self._store.write(key, images, meta)
        entry = make_entry(key, images, meta)
        self._store.storage.put(key, {stored.name: data for stored, data in zip(entry.images, images, strict=True)})
        return entry

    async def _compute(self, entry: Entry, images: Sequence[bytes]) -> dict[str, Features]:
        def rows() -> dict[str, Features]:
            read = [image_of(data, Path(stored.name)) for stored, data in zip(entry.images, images, strict=True)]
            found = FeatureCache(None, self._extractor).features(read)
            return {image.pixel_sha256: row for image, row in zip(read, found, strict=True)}

        async with self._extracting:
            return await asyncio.to_thread(rows)

    @_answering
    async def features(self, key: str) -> dict[str, Features]:
        """The features of a step's images, by pixel hash; they are given once, and none for images not made here."""
        task = self._features.pop(key, None)
        return {} if task is None else await task
