"""An asynchronous client of one ComfyUI server. Nothing but the server that the user named is ever contacted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import aiohttp

from ..errors import HostError
from ..workflow.node_info import mapping
from .errors import (
    PromptRefusedError,
    ServerHangError,
    ServerLostError,
    ServerUnreachableError,
    failed,
    one_line,
    refused,
)
from .http import TRIES, ComfyHttp

Event = Callable[[str, Mapping[str, Any]], None]
"""Called with a websocket message's type and data, for messages about one's own prompt."""

_EVENT_BYTES_MAX = 1 << 26  # of a websocket message, previews included; after a larger one the websocket is opened anew
_SILENCE = 60.0  # seconds; then the websocket is opened anew: the server may have confused two of one client id
_FINISHED = {"execution_success", "execution_error", "execution_interrupted"}
_LOG = logging.getLogger(__name__)


@dataclass
class _Waiter:
    """A prompt that was submitted and has not finished."""

    on_event: Event | None
    news: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    progress_at: float = field(default_factory=time.monotonic)


class ComfyClient(ComfyHttp):
    """One ComfyUI server; use as ``async with ComfyClient(url) as client``.

    Args:
        url: the server's address, such as ``http://127.0.0.1:8188``.
        no_progress_timeout: seconds without any news of a running prompt after which the server counts as hung.
        poll_seconds: how often ``/history`` is asked while the websocket is silent.
        request_timeout: seconds for one HTTP answer.
        dead_after: seconds of refused connections after which the server counts as dead.

    Raises:
        HostError: ``url`` is no HTTP address.
    """

    def __init__(
        self,
        url: str,
        *,
        no_progress_timeout: float = 900.0,
        poll_seconds: float = 2.0,
        request_timeout: float = 60.0,
        dead_after: float = 5.0,
    ) -> None:
        super().__init__(url, request_timeout)
        self.client_id = uuid.uuid4().hex
        self.no_progress_timeout = no_progress_timeout
        self.poll_seconds = poll_seconds
        self.dead_after = dead_after
        self._listener: asyncio.Task[None] | None = None
        self._waiters: dict[str, _Waiter] = {}
        self._abandoned: set[str] = set()
        self._tried = asyncio.Event()

    async def __aenter__(self) -> ComfyClient:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop_listening()
        await self.close()

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener
            self._listener = None
        self._tried.clear()

    async def submit(
        self, prompt: Mapping[str, Any], prompt_id: str | None = None, extra_data: Mapping[str, Any] | None = None
    ) -> str:
        """Queue an API-format prompt and return its id. An answer that got lost does not queue it twice.

        Raises:
            PromptRefusedError: the server's validation refused any part of it.
            HostError: the server cannot be reached.
        """
        prompt_id = prompt_id or str(uuid.uuid4())
        body = {"prompt": prompt, "client_id": self.client_id, "prompt_id": prompt_id}
        if extra_data is not None:
            body["extra_data"] = dict(extra_data)
        for attempt in range(TRIES):
            try:
                status, answer = await self.request("POST", "prompt", body)
                break
            except (ServerUnreachableError, ServerHangError):
                if attempt == TRIES - 1:
                    raise
                await asyncio.sleep(0.2 * (attempt + 1))
                if await self._where(prompt_id) is not None:
                    return prompt_id
        if not isinstance(answer, dict) or status not in (200, 400):
            raise HostError(f"{self.url} answered {status} to a prompt: {one_line(answer, 200)}")
        if status == 400 or answer.get("node_errors"):
            if status == 200:
                await self.cancel(str(answer.get("prompt_id", prompt_id)))
            raise await self._refused(answer)
        return str(answer.get("prompt_id", prompt_id))

    async def run(
        self,
        prompt: Mapping[str, Any],
        on_event: Event | None = None,
        extra_data: Mapping[str, Any] | None = None,
        forget: bool = False,
        on_queued: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """Queue a prompt, wait until it is done and return its ``/history`` entry.

        News comes by websocket; ``/history`` is polled too, so a cut websocket loses nothing. When the task is
        cancelled (Ctrl-C), the prompt is taken off the queue, or interrupted if it runs.

        Args:
            forget: remove the prompt from the history, however it ends.
            on_queued: called when the server has the prompt.

        Raises:
            PromptRefusedError, PromptFailedError, PromptInterruptedError: what the server said of the prompt.
            ServerLostError: the server died or forgot the prompt.
            ServerHangError: no news of the running prompt for ``no_progress_timeout`` seconds.
            ServerUnreachableError: the server could not be reached in the first place.
        """
        await self._listen()
        prompt_id = str(uuid.uuid4())
        waiter = _Waiter(on_event)
        self._waiters[prompt_id] = waiter
        try:
            await self.submit(prompt, prompt_id, extra_data)
            waiter.progress_at = time.monotonic()
            if on_queued is not None:
                on_queued()
            return await self._wait(prompt_id, waiter)
        except asyncio.CancelledError:
            with contextlib.suppress(HostError, asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(self.cancel(prompt_id)), 10)
            raise
        finally:
            self._waiters.pop(prompt_id, None)
            if forget:
                with contextlib.suppress(HostError):
                    await self.forget(prompt_id)

    async def cancel(self, prompt_id: str) -> None:
        """Take one prompt off the queue, or interrupt it if it is the one that runs. Others' prompts go on.

        Raises:
            HostError: the server cannot be reached.
        """
        await self.request("POST", "queue", {"delete": [prompt_id]})
        if await self._place(prompt_id) == "running":
            await self.request("POST", "interrupt", {"prompt_id": prompt_id})

    async def interrupt(self) -> None:
        """Cancel every prompt of this client that has not finished.

        Raises:
            HostError: the server cannot be reached.
        """
        for prompt_id in list(self._waiters):
            await self.cancel(prompt_id)

    async def move(self, url: str) -> None:
        """Go on with a server at another address (the same one, started again).

        Raises:
            HostError: ``url`` is no HTTP address.
        """
        self.set_url(url)
        self._object_info = None
        await self._stop_listening()

    async def forget(self, prompt_id: str) -> None:
        """Remove a prompt from the server's history, which would otherwise grow with every coalition.

        Raises:
            HostError: the server cannot be reached.
        """
        await self.request("POST", "history", {"delete": [prompt_id]})

    async def _wait(self, prompt_id: str, waiter: _Waiter) -> dict[str, Any]:
        refused_since: float | None = None
        pause = 0.02
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(waiter.news.wait(), pause if waiter.ended else self.poll_seconds)
            if waiter.news.is_set() and not waiter.ended:
                waiter.news.clear()
                continue
            waiter.news.clear()
            if waiter.ended:
                pause = min(pause * 1.5, self.poll_seconds)
            try:
                entry = await self._where(prompt_id)
                refused_since = None
            except ServerHangError:
                entry = "running"
            except ServerUnreachableError as error:
                refused_since = refused_since or time.monotonic()
                if time.monotonic() - refused_since > self.dead_after:
                    raise ServerLostError(
                        f"The ComfyUI server at {self.url} died while it ran prompt {prompt_id}; see its log, start it "
                        "again and run the same command: what is finished is kept."
                    ) from error
                await asyncio.sleep(min(0.5, self.poll_seconds))
                continue
            if isinstance(entry, dict):
                return self._checked(entry)
            if entry is None:
                raise ServerLostError(
                    f"The ComfyUI server at {self.url} no longer knows prompt {prompt_id}: it was restarted, or its "
                    "queue was cleared; run the same command again: what is finished is kept."
                )
            if entry == "pending":
                waiter.progress_at = time.monotonic()
            silent = time.monotonic() - waiter.progress_at
            if silent > self.no_progress_timeout:
                await self._give_up(prompt_id)
                raise ServerHangError(
                    f"The ComfyUI server at {self.url} gave no sign of progress on prompt {prompt_id} "
                    f"for {silent:.0f} s; restart it, or allow more time, and run the same command again: "
                    "what is finished is kept."
                )

    async def _give_up(self, prompt_id: str) -> None:
        self._abandoned.add(prompt_id)
        with contextlib.suppress(HostError, asyncio.TimeoutError):
            await asyncio.wait_for(self.cancel(prompt_id), 10)

    def _checked(self, entry: dict[str, Any]) -> dict[str, Any]:
        status = mapping(entry.get("status"))
        messages = status.get("messages")
        listed = messages if isinstance(messages, list) else []
        kinds = {str(message[0]) for message in listed if isinstance(message, list) and message}
        if "execution_success" in kinds or (not kinds & _FINISHED and status.get("status_str") == "success"):
            return entry
        raise failed(messages, self.url)

    async def _where(self, prompt_id: str) -> dict[str, Any] | str | None:
        """The history entry of a prompt; "running" or "pending" where it is queued; None where nobody knows it."""
        for _ in range(2):
            answer = await self.get_json(f"history/{prompt_id}")
            entry = answer.get(prompt_id) if isinstance(answer, dict) else None
            if isinstance(entry, dict):
                return entry
            place = await self._place(prompt_id)
            if place is not None:
                return place
        return None

    async def _place(self, prompt_id: str) -> str | None:
        """Where in the queue a prompt is. One that waits behind a prompt we gave up on counts as running."""
        queue = await self.get_json("queue")
        ids = {}
        for name in ("queue_running", "queue_pending"):
            items = mapping(queue).get(name)
            listed = items if isinstance(items, list) else []
            ids[name] = {str(item[1]) for item in listed if isinstance(item, list) and len(item) > 1}
        if prompt_id in ids["queue_running"]:
            return "running"
        if prompt_id in ids["queue_pending"]:
            return "stuck" if ids["queue_running"] & self._abandoned else "pending"
        return None

    async def _listen(self) -> None:
        """Start the websocket listener, and let it connect (or fail) once so that no event is missed."""
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen_forever())
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._tried.wait(), 5)

    async def _listen_forever(self) -> None:
        pause = 0.2
        while True:
            try:
                address = (self.base / "ws").with_query(clientId=self.client_id)
                async with self.session.ws_connect(address, max_msg_size=_EVENT_BYTES_MAX, heartbeat=30) as socket:
                    self._tried.set()
                    pause = 0.2
                    while not socket.closed:
                        self._hear(await socket.receive(timeout=_SILENCE))
            except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
                _LOG.debug("websocket to %s: %s", self.url, error)
            self._tried.set()
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    def _hear(self, message: aiohttp.WSMessage) -> None:
        if message.type == aiohttp.WSMsgType.BINARY:  # a preview: progress of whatever runs
            for waiter in self._waiters.values():
                waiter.progress_at = time.monotonic()
        if message.type != aiohttp.WSMsgType.TEXT:
            return
        try:
            event = json.loads(message.data)
            kind, data = event["type"], event["data"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        if not isinstance(data, dict):
            return
        mine = self._waiters.get(str(data.get("prompt_id")))
        if mine is None:
            return
        mine.progress_at = time.monotonic()
        if kind in _FINISHED or (kind == "executing" and data.get("node") is None):
            mine.ended = True
        mine.news.set()
        if mine.on_event is not None:
            mine.on_event(str(kind), data)

    async def _refused(self, answer: Mapping[str, Any]) -> PromptRefusedError:
        try:
            info = await self.object_info()
        except HostError:
            info = {}
        return refused(answer, info.get)
