"""Runs one coalition at one seed offset on a server and brings its images back, through faults that pass."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..comfyui.client import ComfyClient
from ..comfyui.errors import (
    HostDiedError,
    PromptFailedError,
    PromptRefusedError,
    ServerHangError,
    ServerLostError,
    ServerUnreachableError,
    one_line,
)
from ..comfyui.host import ManagedHost
from ..comfyui.model_files import LocalModels
from ..errors import HostError
from ..features.extractor import FeatureExtractor, Features
from ..observer import Observer
from ..planning.plan import Plan
from ..planning.steps import Step, run_nonce
from ..planning.video import chosen_frames
from ..store.entry import Entry, clip_meta
from ..store.run_store import RunStore
from ..twins.twins import Fingerprint
from ..workflow.graph import Link, to_json
from .context import ServerContext, model_fingerprints, server_context
from .output_nodes import LENGTH, Nodes, frame_nodes, image_nodes, shown_images, told_length

_RESTARTS = 2
_LENGTHS = 3  # tries to find out how long the clips are


class _Ahead(NamedTuple):
    """A prompt that the server was given while it had the one before.

    Attributes:
        prompt: the coalition's graph, whose images are at ``target``.
        sent: the same with the nodes that show the images.
        task: waits for its end.
    """

    step: Step
    prompt: dict[str, Any]
    target: Link
    sent: dict[str, Any]
    task: asyncio.Task[dict[str, Any]]


class Made(NamedTuple):
    """What a step gave.

    Attributes:
        images: PNG files, as the server's preview nodes wrote them.
        meta: which frames of their clip they are, for their entry; empty where they are no frames.
    """

    images: list[bytes]
    meta: dict[str, Any]


@dataclass(frozen=True)
class Server:
    """An open client of a ComfyUI, and the process and files behind it where they are ours to use.

    Attributes:
        client: of the server.
        host: its process where it is ours to restart.
        local: its model files where they are on this machine.
    """

    client: ComfyClient
    host: ManagedHost | None = None
    local: LocalModels | None = None

    @property
    def name(self) -> str:
        return self.client.url

    async def object_info(self) -> dict[str, Any]:
        return await self.client.object_info()

    async def fingerprints(self, names: Sequence[str]) -> dict[str, Fingerprint]:
        return await model_fingerprints(self.client, names, self.local)

    async def context(self, plan: Plan, observer: Observer) -> ServerContext:
        return await server_context(self.client, plan, self.local, observer)

    def runner(self, plan: Plan, extractor: FeatureExtractor, observer: Observer) -> CoalitionRunner:
        return CoalitionRunner(plan, self, observer)


class CoalitionRunner:
    """Runs coalitions of a plan on one server.

    The server has the next step's prompt while it runs the one before, so that it goes on at once while images are
    fetched and stored. After a fault only the step in hand is on the server.
    """

    def __init__(self, plan: Plan, server: Server, observer: Observer) -> None:
        self.plan = plan
        self.client = server.client
        self.host = server.host
        self.observer = observer
        self._length = None if plan.clip is None else plan.clip.length
        self._length_told = False
        self._following: Step | None = None
        self._ahead: _Ahead | None = None

    @property
    def name(self) -> str:
        """The server's address."""
        return self.client.url

    def expect(self, step: Step | None) -> None:
        """See :class:`Runner`."""
        self._following = step

    async def make(self, store: RunStore, step: Step, key: str, meta: Mapping[str, Any]) -> Entry:
        """See :class:`Runner`."""
        started = time.monotonic()
        made = await self.images(step)
        seconds = round(time.monotonic() - started, 3)
        return await asyncio.to_thread(store.write, key, made.images, {**meta, **made.meta, "seconds": seconds})

    async def features(self, entry: Entry) -> dict[str, Features]:
        """None: the caller computes them."""
        return {}

    async def stop(self) -> None:
        """See :class:`Runner`."""
        self._following = None
        await self._drop_ahead()

    async def _drop_ahead(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.task.cancel()
            await asyncio.gather(ahead.task, return_exceptions=True)

    async def images(self, step: Step) -> Made:
        """The coalition's images, of a clip the chosen frames.

        A server of our own that dies or hangs is restarted; a hang or a lack of memory on another's is tried once
        again.

        Raises:
            HostError: the coalition cannot be run; it and, where a component is to blame, that are named.
        """
        ahead = self._ahead
        prompt, target = self._graph(step) if ahead is None or ahead.step != step else (ahead.prompt, ahead.target)
        try:
            if self.plan.clip is None:
                images, _ = await self._run(prompt, image_nodes(target))
                return Made(images, {})
            return await self._frames(prompt, target, self.plan.clip.frames)
        except (PromptFailedError, PromptRefusedError) as error:
            raise type(error)(f"{self._name(step)} cannot be run{self._blame(error)}: {error}") from error
        except (ServerLostError, ServerHangError) as error:
            raise type(error)(f"{self._name(step)} was not finished: {error}") from error

    def _graph(self, step: Step) -> tuple[dict[str, Any], Link]:
        graph, target = self.plan.rewriter.graph(step.mask, step.offset, run_nonce(step))
        return to_json(graph), target

    def _outputs(self, target: Link) -> Nodes | None:
        """The nodes that show a coalition's images; None where it must first be found out how long its clip is."""
        if self.plan.clip is None or not self.plan.clip.frames:
            return image_nodes(target)
        if self._length is None or not self._length_told:
            return None
        return frame_nodes(target, self.plan.clip.frames, self._length)

    def _queue_ahead(self) -> None:
        """Give the server the step that follows the one it has just been given."""
        step = self._following
        if step is None:
            return
        prompt, target = self._graph(step)
        if (outputs := self._outputs(target)) is not None:
            sent = {**prompt, **outputs}
            self._following = None
            self._ahead = _Ahead(step, prompt, target, sent, asyncio.create_task(self.client.run(sent)))

    async def _entry(self, sent: dict[str, Any]) -> dict[str, Any]:
        """The history entry of a prompt, which the server may have already."""
        if self._ahead is None or self._ahead.sent != sent:
            await self._drop_ahead()
            task = asyncio.create_task(self.client.run(sent, on_queued=self._queue_ahead))
        else:
            task, self._ahead = self._ahead.task, None
            self._queue_ahead()
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await self.stop()  # the one ahead first, so that it does not begin
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise

    async def _frames(self, prompt: Mapping[str, Any], target: Link, count: int) -> Made:
        """Frames of a clip. Where it is not as long as was thought, they are asked for again: the server has it still.

        Args:
            count: how many; 0: all.
        """
        if not count:
            images, _ = await self._run(prompt, image_nodes(target))
            return Made(images, clip_meta(range(len(images)), len(images)))
        for _ in range(_LENGTHS):
            assumed = self._length
            images, length = await self._run(prompt, frame_nodes(target, count, assumed))
            self._length, self._length_told = length, True
            if length == assumed:
                return Made(images, clip_meta(chosen_frames(length, count), length))
        raise PromptFailedError("its clip has another number of frames each time it is run")

    async def _run(self, prompt: Mapping[str, Any], outputs: Nodes) -> tuple[list[bytes], int]:
        """The images that output nodes behind a graph show, and the length of its clip where they tell it (else 0)."""
        retried = False
        restarts = 0
        while True:
            try:
                entry = await self._entry({**prompt, **outputs})
                return await self._fetch(entry, outputs)
            except PromptFailedError as error:
                await self.stop()
                if retried or not error.out_of_memory:
                    raise
                retried = True
                self.observer.note("The server ran out of memory; its models are unloaded and the coalition run again.")
                with contextlib.suppress(ServerHangError, ServerUnreachableError):  # the next try meets a dead server
                    await self.client.request("POST", "free", {"unload_models": True, "free_memory": True})
            except (ServerLostError, ServerHangError, ServerUnreachableError) as error:
                await self.stop()
                if self.host is None:
                    if retried or not isinstance(error, ServerHangError):
                        raise
                    retried = True
                    self.observer.note(f"{error} It is tried once again.")
                    continue
                if restarts >= _RESTARTS:
                    raise HostDiedError(f"{error} Its last lines:\n{self.host.log_tail()}") from error
                restarts += 1
                self.observer.note("ComfyUI died or hung; it is started again and the coalition is run again.")
                try:
                    await asyncio.to_thread(self.host.start)
                except HostError as failure:
                    raise HostDiedError(str(failure)) from failure
                await self.client.move(self.host.url)

    async def _fetch(self, entry: Mapping[str, Any], outputs: Nodes) -> tuple[list[bytes], int]:
        length = told_length(entry) if LENGTH in outputs else 0
        images = [await self.client.fetch_image(*place) for place in shown_images(entry, outputs)]
        prompt = entry.get("prompt")
        if isinstance(prompt, list) and len(prompt) > 1:
            with contextlib.suppress(HostError):
                await self.client.forget(str(prompt[1]))
        return images, length

    def _name(self, step: Step) -> str:
        return f"The coalition {one_line(self.plan.label(step.mask), 200)} (seed offset {step.offset})"

    def _blame(self, error: HostError) -> str:
        """The component that the failing node belongs to, as a part of a sentence."""
        node_id = error.node_id if isinstance(error, PromptFailedError) else ""
        rewriter = self.plan.rewriter
        origin = next((origin for digest, origin in rewriter.origin.items() if rewriter.node_id(digest) == node_id), "")
        for component in (*self.plan.players, *self.plan.locked):
            if origin and origin in component.nodes:
                return f" because of {component.name} ({component.kind})"
        return ""
