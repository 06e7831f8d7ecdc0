"""The client against a stand-in server that misbehaves on demand, and against a real ComfyUI."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from hostutil import require_host

from copyscope_core.comfyui.client import ComfyClient
from copyscope_core.comfyui.errors import (
    PromptFailedError,
    PromptInterruptedError,
    PromptRefusedError,
    ServerHangError,
    ServerLostError,
    ServerUnreachableError,
    options_of,
    shown_names,
)
from copyscope_core.comfyui.host import ManagedHost
from copyscope_core.comfyui.versions import check_version
from copyscope_core.errors import HostError

PROMPT = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 2, "color": 255}},
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}
SUCCESS = {"status_str": "success", "completed": True, "messages": [["execution_success", {}]]}


class StandIn:
    """As much of ComfyUI's server as the client uses, with faults."""

    def __init__(self) -> None:
        self.history: dict[str, Any] = {}
        self.running: list[str] = []
        self.pending: list[str] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.interrupted: list[object] = []
        self.posts = 0
        self.lose_answers = 0
        self.refuse_sockets = False
        self.mute = asyncio.Event()
        self.on_prompt: Callable[[str], Awaitable[None]] = self.finish
        self.tasks: list[asyncio.Task[None]] = []
        self.runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> str:
        app = web.Application()
        app.add_routes(
            [
                web.get("/ws", self._ws),
                web.post("/prompt", self._prompt),
                web.get("/history/{id}", self._history),
                web.get("/queue", self._queue),
                web.post("/queue", self._delete),
                web.post("/interrupt", self._interrupt),
                web.get("/object_info", self._page),
                web.get("/system_stats", self._old),
                web.get("/view", self._elsewhere),
            ]
        )
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await self.cut()
        if self.runner is not None:
            await self.runner.cleanup()

    async def cut(self) -> None:
        for socket in self.sockets:
            await socket.close()
        self.sockets.clear()

    async def say(self, kind: str, **data: Any) -> None:
        for socket in list(self.sockets):
            with contextlib.suppress(ConnectionError):
                await socket.send_json({"type": kind, "data": data})

    async def finish(self, prompt_id: str) -> None:
        self.history[prompt_id] = {"outputs": {"2": {"images": []}}, "status": SUCCESS}
        self.running = [item for item in self.running if item != prompt_id]
        await self.say("executing", node=None, prompt_id=prompt_id)

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text="<html>")

    async def _old(self, request: web.Request) -> web.Response:
        return web.json_response({"system": {"comfyui_version": "0.3.63"}})

    async def _elsewhere(self, request: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.0.0.1:9/elsewhere")

    async def _ws(self, request: web.Request) -> web.StreamResponse:
        if self.refuse_sockets:
            return web.Response(status=403)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            if message.type == WSMsgType.ERROR:
                break
        return socket

    async def _prompt(self, request: web.Request) -> web.Response:
        data = await request.json()
        self.posts += 1
        self.running.append(data["prompt_id"])
        self.tasks.append(asyncio.create_task(self.on_prompt(data["prompt_id"])))
        if self.lose_answers:
            self.lose_answers -= 1
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"prompt_id": data["prompt_id"], "number": 1, "node_errors": {}})

    async def _history(self, request: web.Request) -> web.Response:
        if self.mute.is_set():
            await asyncio.sleep(3600)
        found = self.history.get(request.match_info["id"])
        return web.json_response({request.match_info["id"]: found} if found else {})

    async def _queue(self, request: web.Request) -> web.Response:
        items = {"queue_running": self.running, "queue_pending": self.pending}
        return web.json_response({name: [[1, item, {}, {}, []] for item in ids] for name, ids in items.items()})

    async def _delete(self, request: web.Request) -> web.Response:
        for item in (await request.json())["delete"]:
            if item in self.pending:
                self.pending.remove(item)
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        self.interrupted.append((await request.json()).get("prompt_id"))
        return web.Response()


@contextlib.asynccontextmanager
async def stand_in(**options: float) -> AsyncIterator[tuple[StandIn, ComfyClient]]:
    server = StandIn()
    url = await server.start()
    settings: dict[str, float] = {"poll_seconds": 0.1, "dead_after": 0.4, "request_timeout": 5, **options}
    try:
        async with ComfyClient(url, **settings) as client:
            yield server, client
    finally:
        await server.stop()


def test_events_arrive_and_noise_on_the_websocket_is_tolerated() -> None:
    async def main() -> None:
        async with stand_in() as (server, client):

            async def act(prompt_id: str) -> None:
                for socket in server.sockets:
                    await socket.send_bytes(b"\0\0\0\1" + bytes(6 << 20))
                    await socket.send_str("not json")
                    await socket.send_str('{"type": "status"}')
                    await socket.send_str('[["type"]]')
                await server.say("progress", value=1, max=2, prompt_id=prompt_id)
                await server.say("progress", value=1, max=2, prompt_id="somebody else's")
                await server.finish(prompt_id)

            server.on_prompt = act
            seen: list[tuple[str, Any]] = []
            entry = await client.run(PROMPT, lambda kind, data: seen.append((kind, data.get("value"))))
            assert entry["outputs"] == {"2": {"images": []}}
            assert seen == [("progress", 1), ("executing", None)]

    asyncio.run(main())


@pytest.mark.parametrize("refuse", [False, True])
def test_a_finished_prompt_is_found_without_websocket(refuse: bool) -> None:
    async def main() -> None:
        async with stand_in() as (server, client):
            server.refuse_sockets = refuse

            async def act(prompt_id: str) -> None:
                await server.cut()
                server.refuse_sockets = True
                await asyncio.sleep(0.3)
                await server.finish(prompt_id)

            server.on_prompt = act
            assert (await client.run(PROMPT))["status"] == SUCCESS

    asyncio.run(main())


def test_a_cut_websocket_is_opened_again() -> None:
    async def main() -> None:
        async with stand_in() as (server, client):

            async def act(prompt_id: str) -> None:
                await server.cut()
                await asyncio.sleep(0.5)
                await server.say("progress", value=7, prompt_id=prompt_id)
                await server.finish(prompt_id)

            server.on_prompt = act
            seen: list[object] = []
            await client.run(PROMPT, lambda kind, data: seen.append(data.get("value")))
            assert seen == [7, None]

    asyncio.run(main())


def test_a_lost_answer_does_not_queue_twice() -> None:
    async def main() -> None:
        async with stand_in() as (server, client):
            server.lose_answers = 1
            await client.run(PROMPT)
            assert server.posts == 1

    asyncio.run(main())


def test_a_server_that_dies_is_told_from_one_that_was_never_there() -> None:
    async def main() -> None:
        async with stand_in() as (server, client):

            async def die(prompt_id: str) -> None:
                await asyncio.sleep(0.1)
                server.tasks.remove(asyncio.current_task())  # type: ignore[arg-type]
                await server.stop()

            server.on_prompt = die
            with pytest.raises(ServerLostError, match="died while it ran prompt"):
                await client.run(PROMPT)
            with pytest.raises(ServerUnreachableError, match="start it, or check the address"):
                await client.run(PROMPT)

    asyncio.run(main())


def test_a_restarted_server_that_forgot_the_prompt_is_reported() -> None:
    async def main() -> None:
        async with stand_in() as (server, client):

            async def forget(prompt_id: str) -> None:
                server.running.clear()

            server.on_prompt = forget
            with pytest.raises(ServerLostError, match="no longer knows"):
                await client.run(PROMPT)

    asyncio.run(main())


def test_a_hung_server_is_given_up_and_the_prompt_behind_it_too() -> None:
    async def main() -> None:
        async with stand_in(no_progress_timeout=0.5) as (server, client):

            async def hang(prompt_id: str) -> None:
                if len(server.running) > 1:
                    server.pending.append(server.running.pop())

            server.on_prompt = hang
            with pytest.raises(ServerHangError, match="no sign of progress"):
                await client.run(PROMPT)
            assert server.interrupted == server.running
            with pytest.raises(ServerHangError, match="no sign of progress"):
                await client.run(PROMPT)
            assert server.pending == []

    asyncio.run(main())


def test_waiting_behind_others_is_no_hang_and_progress_keeps_a_prompt_alive() -> None:
    async def main() -> None:
        async with stand_in(no_progress_timeout=0.4) as (server, client):

            async def queue_then_run(prompt_id: str) -> None:
                server.pending.append(server.running.pop())
                server.running.append("somebody else's")
                await asyncio.sleep(0.9)
                server.pending.clear()
                server.running = [prompt_id]
                for value in range(4):
                    await asyncio.sleep(0.2)
                    await server.say("progress", value=value, prompt_id=prompt_id)
                await server.finish(prompt_id)

            server.on_prompt = queue_then_run
            await client.run(PROMPT)

    asyncio.run(main())


def test_a_server_that_stops_answering_http_is_a_hang() -> None:
    async def main() -> None:
        async with stand_in(no_progress_timeout=0.6, request_timeout=0.2) as (server, client):

            async def mute(prompt_id: str) -> None:
                server.mute.set()

            server.on_prompt = mute
            with pytest.raises(ServerHangError):
                await client.run(PROMPT)

    asyncio.run(main())


def test_cancelling_takes_a_pending_prompt_off_the_queue_and_spares_others() -> None:
    async def main() -> None:
        async with stand_in() as (server, client):

            async def wait(prompt_id: str) -> None:
                server.pending.append(server.running.pop())
                server.running.append("somebody else's")

            server.on_prompt = wait
            task = asyncio.create_task(client.run(PROMPT))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert server.pending == []
            assert server.interrupted == []

    asyncio.run(main())


@pytest.mark.parametrize(
    "url", ["", "ftp://x", "http://", "http://h:99999", "http://[::1", "file:///etc/passwd", "a b", "http://u:p@"]
)
def test_a_bad_address_is_a_sentence(url: str) -> None:
    with pytest.raises(HostError, match="no server address"):
        ComfyClient(url)


def test_addresses_are_completed_and_passwords_hidden() -> None:
    assert ComfyClient("127.0.0.1:8188").url == "http://127.0.0.1:8188"
    assert ComfyClient("https://me:secret@host/comfy/?a=1#b").url == "https://host/comfy"


def test_an_old_server_a_page_that_is_none_and_a_redirect() -> None:
    async def main() -> None:
        async with stand_in() as (_, client):
            with pytest.raises(HostError, match=r"ComfyUI 0\.3\.63, which is too old"):
                await client.system_stats()
            with pytest.raises(HostError, match="did not answer with JSON"):
                await client.object_info()
            with pytest.raises(HostError, match="no longer has the image"):
                await client.fetch_image("a.png")

    asyncio.run(main())


@pytest.mark.parametrize("version", [None, 3, "", "nightly", "0.3.63", "0.2", "v0.1.0"])
def test_versions_that_are_refused(version: object) -> None:
    with pytest.raises(HostError, match=r"0\.3\.64 or later"):
        check_version(version, "it")


@pytest.mark.parametrize("version", ["0.3.64", "0.4", "0.8.0", "v1.0.0-rc1", "0.3.100+local"])
def test_versions_that_are_accepted(version: str) -> None:
    check_version(version, "it")


def test_names_are_capped_and_the_near_ones_come_first() -> None:
    names = [f"model{i:02d}.safetensors" for i in range(30)] + ["dreamshaper.safetensors"]
    text = shown_names(names, "dreamshapr.safetensors")
    assert text.startswith("dreamshaper.safetensors, ")
    assert text.endswith("and 21 more")
    assert shown_names([]) == "none"
    assert options_of({"input": {"required": {"a": ["COMBO", {"options": ["x"]}]}}}, "a") == ["x"]
    assert options_of({"input": {"optional": {"a": [["x"], {}]}}}, "a") == ["x"]
    assert options_of({"input": {"required": {"a": ["INT", {}]}}}, "a") is None


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagedHost]:
    comfyui = require_host()
    base = tmp_path_factory.mktemp("client host")
    (base / "custom_nodes").mkdir()
    shutil.copy(Path(__file__).with_name("faulty_node.py"), base / "custom_nodes" / "faulty_node.py")
    with ManagedHost(comfyui, ["--cpu"], base / "comfyui.log", base) as managed:
        yield managed


def fault(action: str, seconds: float = 1.0) -> dict[str, Any]:
    return {
        "7": {"class_type": "CopyScopeTestFault", "inputs": {"action": action, "seconds": seconds}},
        "8": {"class_type": "PreviewImage", "inputs": {"images": ["7", 0]}},
    }


def on_host(host: ManagedHost, act: Callable[[ComfyClient], Awaitable[None]], **options: float) -> None:
    async def main() -> None:
        async with ComfyClient(host.url, **options) as client:
            await act(client)

    asyncio.run(main())


def test_real_images_come_back_and_a_repeat_gives_them_again(host: ManagedHost) -> None:
    async def act(client: ComfyClient) -> None:
        assert (await client.system_stats())["devices"][0]["type"] == "cpu"
        assert "PreviewImage" in await client.object_info()
        for _ in range(2):
            entry = await client.run(PROMPT)
            images = entry["outputs"]["2"]["images"]
            assert len(images) == 2
            for image in images:
                data = await client.fetch_image(image["filename"], image["subfolder"], image["type"])
                assert data.startswith(b"\x89PNG")
                assert b'"EmptyImage"' in data
            await client.forget(entry["prompt"][1])
            assert await client.get_json(f"history/{entry['prompt'][1]}") == {}

    on_host(host, act)


def test_real_refusals_name_node_class_and_reason(host: ManagedHost) -> None:
    async def act(client: ComfyClient) -> None:
        bad = {**PROMPT, "9": {"class_type": "PreviewImage", "inputs": {}}}
        with pytest.raises(PromptRefusedError, match=r"node 9 \(PreviewImage\): Required input is missing: images"):
            await client.run(bad)
        sampler = {"class_type": "SamplerCustom", "inputs": {"sampler": ["6", 0]}}
        names = {
            "5": sampler,
            "6": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "eulr"}},
            "8": {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}},
            "4": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["3", 0]}},
            "3": {"class_type": "VAELoader", "inputs": {"vae_name": "none.safetensors"}},
        }
        with pytest.raises(PromptRefusedError) as caught:
            await client.run(names)
        text = str(caught.value)
        assert "node 6 (KSamplerSelect): sampler_name is 'eulr', which the server does not have; it has euler" in text
        assert "more" in text
        assert "node 3 (VAELoader): vae_name is 'none.safetensors'" in text
        with pytest.raises(PromptRefusedError, match=r"node Nope does not exist|Node 'Nope' not found.*'#1'"):
            await client.run({"1": {"class_type": "Nope", "inputs": {}}})
        with pytest.raises(PromptRefusedError, match="no outputs"):
            await client.run({})

    on_host(host, act)


def test_a_real_failure_names_the_node(host: ManagedHost) -> None:
    async def act(client: ComfyClient) -> None:
        with pytest.raises(
            PromptFailedError, match=r"node 7 \(CopyScopeTestFault\): RuntimeError: the <b>node"
        ) as caught:
            await client.run(fault("raise"))
        assert (caught.value.node_id, caught.value.out_of_memory) == ("7", False)
        assert "\n" not in str(caught.value)
        assert (await client.run(PROMPT))["outputs"]

    on_host(host, act)


def test_a_real_interrupt_by_the_user(host: ManagedHost) -> None:
    async def act(client: ComfyClient) -> None:
        task = asyncio.create_task(client.run(fault("sleep", 60)))
        await asyncio.sleep(0.5)
        await client.request("POST", "interrupt", {})
        with pytest.raises(PromptInterruptedError, match="node 7"):
            await task

    on_host(host, act)


def test_ctrl_c_interrupts_what_runs_and_dequeues_what_waits(host: ManagedHost) -> None:
    async def act(client: ComfyClient) -> None:
        running = asyncio.create_task(client.run(fault("sleep", 60)))
        await asyncio.sleep(0.4)
        waiting = asyncio.create_task(client.run(fault("sleep", 60)))
        await asyncio.sleep(0.3)
        for task in (waiting, running):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        deadline = time.monotonic() + 10
        while (queue := await client.get_json("queue")) != {"queue_running": [], "queue_pending": []}:
            assert time.monotonic() < deadline, json.dumps(queue)[:400]
            await asyncio.sleep(0.05)

    on_host(host, act)


def test_a_real_hang_is_timed_out_and_the_server_is_usable_again(host: ManagedHost) -> None:
    async def act(client: ComfyClient) -> None:
        with pytest.raises(ServerHangError, match="no sign of progress"):
            await client.run(fault("deaf", 3))
        with pytest.raises(ServerHangError, match="no sign of progress"):
            await client.run(PROMPT)

    async def later(client: ComfyClient) -> None:
        assert (await client.run(PROMPT))["outputs"]

    on_host(host, act, no_progress_timeout=0.8, poll_seconds=0.2)
    on_host(host, later)


def test_the_real_server_dies_in_mid_run_and_starts_again(host: ManagedHost) -> None:
    async def act(client: ComfyClient) -> None:
        with pytest.raises(ServerLostError, match="died while it ran prompt"):
            await client.run(fault("exit", 0.3))

    on_host(host, act, dead_after=0.5, poll_seconds=0.2)
    deadline = time.monotonic() + 5
    while host.alive and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not host.alive
    host.start()
    assert host.alive

    async def again(client: ComfyClient) -> None:
        assert (await client.run(PROMPT))["outputs"]

    on_host(host, again)
