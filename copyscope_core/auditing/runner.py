"""Runs one coalition at one seed offset on a server and brings its images back, through faults that pass."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..comfyui.client import ComfyClient, Event
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
from ..store.entry import Entry
from ..store.run_store import RunStore
from ..workflow.graph import to_json
from ..workflow.node_info import mapping
from .context import ServerContext, server_context

OUTPUT_NODE = "copyscope_output"
_RESTARTS = 2


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

    async def context(self, plan: Plan, observer: Observer) -> ServerContext:
        return await server_context(self.client, plan, self.local, observer)

    def runner(self, plan: Plan, extractor: FeatureExtractor, observer: Observer) -> CoalitionRunner:
        return CoalitionRunner(plan, self, observer)


class CoalitionRunner:
    """Runs coalitions of a plan on one server."""

    def __init__(self, plan: Plan, server: Server, observer: Observer) -> None:
        self.plan = plan
        self.client = server.client
        self.host = server.host
        self.observer = observer

    @property
    def name(self) -> str:
        """The server's address."""
        return self.client.url

    async def make(self, store: RunStore, step: Step, key: str, meta: Mapping[str, Any]) -> Entry:
        """See :class:`Runner`."""
        started = time.monotonic()
        images = await self.images(step)
        seconds = round(time.monotonic() - started, 3)
        return await asyncio.to_thread(store.write, key, images, {**meta, "seconds": seconds})

    async def features(self, entry: Entry) -> dict[str, Features]:
        """None: the caller computes them."""
        return {}

    async def images(self, step: Step, on_event: Event | None = None) -> list[bytes]:
        """The coalition's images, as the PNG files that the server's preview node wrote.

        A server of our own that dies or hangs is restarted; a hang or a lack of memory on another's is tried once
        again.

        Raises:
            HostError: the coalition cannot be run; it and, where a component is to blame, that are named.
        """
        graph, target = self.plan.rewriter.graph(step.mask, step.offset, run_nonce(step))
        prompt = to_json(graph)
        prompt[OUTPUT_NODE] = {"class_type": "PreviewImage", "inputs": {"images": [target.node, target.slot]}}
        try:
            return await self._run(prompt, on_event)
        except (PromptFailedError, PromptRefusedError) as error:
            raise type(error)(f"{self._name(step)} cannot be run{self._blame(error)}: {error}") from error
        except (ServerLostError, ServerHangError) as error:
            raise type(error)(f"{self._name(step)} was not finished: {error}") from error

    async def _run(self, prompt: Mapping[str, Any], on_event: Event | None) -> list[bytes]:
        retried = False
        restarts = 0
        while True:
            try:
                entry = await self.client.run(prompt, on_event)
                return await self._fetch(entry)
            except PromptFailedError as error:
                if retried or not error.out_of_memory:
                    raise
                retried = True
                self.observer.note("The server ran out of memory; its models are unloaded and the coalition run again.")
                with contextlib.suppress(ServerHangError, ServerUnreachableError):  # the next try meets a dead server
                    await self.client.request("POST", "free", {"unload_models": True, "free_memory": True})
            except (ServerLostError, ServerHangError, ServerUnreachableError) as error:
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

    async def _fetch(self, entry: Mapping[str, Any]) -> list[bytes]:
        listed = mapping(mapping(entry.get("outputs")).get(OUTPUT_NODE)).get("images")
        if not isinstance(listed, list) or not listed:
            raise PromptFailedError("the workflow ended without an image; a node may have blocked it")
        images = []
        for item in listed:
            names = [str(mapping(item).get(key, "")) for key in ("filename", "subfolder", "type")]
            images.append(await self.client.fetch_image(*names))
        prompt = entry.get("prompt")
        if isinstance(prompt, list) and len(prompt) > 1:
            with contextlib.suppress(HostError):
                await self.client.forget(str(prompt[1]))
        return images

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
