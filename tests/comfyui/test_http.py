"""What a server sends is read up to a limit, whatever it is."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from copyscope_core.comfyui import client as client_module
from copyscope_core.comfyui import http
from copyscope_core.comfyui.client import ComfyClient
from copyscope_core.comfyui.http import ComfyHttp
from copyscope_core.errors import HostError

LIMIT = 1 << 20


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JSON_BYTES_MAX", "IMAGE_BYTES_MAX"):
        monkeypatch.setattr(http, name, LIMIT)


class Endless:
    """A server whose every answer goes on for as long as the client reads."""

    def __init__(self) -> None:
        self.sent = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"system": "')
        while self.sent < 64 * LIMIT:
            await response.write(b"x" * (1 << 16))
            self.sent += 1 << 16
        return response


def serve(answer: Callable[[web.Request], Awaitable[web.StreamResponse]], work: Callable[[str], Awaitable[Any]]) -> Any:
    """What ``work`` does with the address of a server that answers everything with ``answer``."""

    async def run() -> Any:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            return await work(f"http://127.0.0.1:{runner.addresses[0][1]}")
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def opened(call: Callable[[ComfyHttp], Awaitable[Any]]) -> Callable[[str], Awaitable[Any]]:
    async def work(url: str) -> Any:
        client = ComfyHttp(url)
        await client.open()
        try:
            return await call(client)
        finally:
            await client.close()

    return work


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda client: client.system_stats(), "/system_stats"),
        (lambda client: client.object_info(), "/object_info"),
        (lambda client: client.request("POST", "prompt", {}), "/prompt"),
        (lambda client: client.pack_hash("a.safetensors"), "/copyscope/hashes"),
        (lambda client: client.fetch_image("a.png"), "an image"),
    ],
)
def test_an_answer_without_end_is_refused_at_the_limit(call: Callable[[ComfyHttp], Awaitable[Any]], what: str) -> None:
    server = Endless()
    with pytest.raises(HostError, match=rf"{what} of more than 1 MiB"):
        serve(server.answer, opened(call))
    assert server.sent < 32 * LIMIT  # what the sockets' buffers took


def test_a_small_answer_that_unpacks_to_a_large_one_is_refused() -> None:
    packed = gzip.compress(json.dumps({"system": "x" * (2 * LIMIT)}).encode())
    assert len(packed) < LIMIT // 100

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    with pytest.raises(HostError, match="more than 1 MiB"):
        serve(answer, opened(lambda client: client.get_json("system_stats")))


def test_an_answer_at_the_limit_is_read() -> None:
    text = json.dumps({"a": "x" * (LIMIT - 9)})
    assert len(text) == LIMIT

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text=text)

    assert serve(answer, opened(lambda client: client.get_json("queue"))) == json.loads(text)


def test_a_websocket_message_without_end_is_cut_off_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_EVENT_BYTES_MAX", LIMIT)
    heard: list[int] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/ws":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            heard.append(0)
            await socket.send_bytes(b"x" * (4 * LIMIT))
            await socket.receive()
            return socket
        if request.path == "/prompt":
            return web.json_response({"prompt_id": (await request.json())["prompt_id"]})
        return web.json_response({request.path.rpartition("/")[2]: {"status": {"status_str": "success"}}})

    async def work(url: str) -> Any:
        async with ComfyClient(url, poll_seconds=0.5) as client:
            entry = await client.run({"1": {}})
            await asyncio.sleep(0.5)
            return entry

    assert serve(answer, work) == {"status": {"status_str": "success"}}
    assert len(heard) >= 2  # opened anew after the message was refused
