"""A stand-in for a ComfyUI server: takes prompts, makes an image from what they say, and misbehaves on demand.

As a ComfyUI it runs one prompt after the other. It runs in a thread of its own, so that commands under test can run
their own event loop. Images depend on everything in the prompt except node ids and ``copyscope_rerun``, as a
deterministic ComfyUI's would.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web
from PIL import Image

from copyscope_core.comfyui.style_prompt import STYLE_NODE, STYLE_OUTPUT
from copyscope_core.players.rewrite import RERUN_INPUT, digests
from copyscope_core.workflow.graph import parse_graph

OBJECT_INFO = Path(__file__).parents[1] / "copyscope_core" / "workflow" / "object_info.json"


class FakeComfy:
    """The server; attributes may be changed while it runs.

    Attributes:
        prompts: every prompt that was queued.
        fail: gives the error of a prompt (a message), or None.
        before: called before each prompt runs, in the server's thread.
        paint: makes the pixels of a prompt from its digest and how many ran before.
        hashes: model file name → SHA-256 that the pack's route gives; None: there is no pack.
        metadata: model file name → what the pack's route gives of its header.
        sketches: model file name → what the pack's route for sketches gives of it.
        inputs: image file name → bytes in the input folder.
        length: how many images a prompt makes.
        style: what the pack's style node says of an image in base64.
        seconds: how long a prompt takes.
        gateway: whether a path is answered by a proxy that finds no server, with 502.
        busy: when each prompt began to run and when it ended.
    """

    def __init__(self) -> None:
        self.prompts: list[dict[str, Any]] = []
        self.fail: Callable[[dict[str, Any]], str | None] = lambda prompt: None
        self.before: Callable[[int], None] = lambda number: None
        self.length: Callable[[dict[str, Any]], int] = batch_size
        self.paint: Callable[[str, int], np.ndarray[Any, Any]] = noise
        self.style: Callable[[str], dict[str, Any]] = lambda image: {}
        self.hashes: dict[str, str] | None = None
        self.metadata: dict[str, Any] = {}
        self.sketches: dict[str, Any] = {}
        self.inputs: dict[str, bytes] = {}
        self.seconds = 0.0
        self.gateway: Callable[[str], bool] = lambda path: False
        self.version = "0.8.0"
        self.argv = ["main.py", "--cpu"]
        self.device = "cpu"
        self.info: dict[str, Any] = json.loads(OBJECT_INFO.read_text(encoding="utf-8"))
        self.interrupted: list[str] = []
        self.deleted: list[str] = []
        self.forgotten: list[str] = []
        self.url = ""
        self._history: dict[str, Any] = {}
        self._files: dict[str, bytes] = {}
        self.busy: list[tuple[float, float]] = []
        self._running: list[str] = []
        self._pending: dict[str, asyncio.Task[None]] = {}
        self._stop_running = asyncio.Event()
        self._turn = asyncio.Lock()
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        """Listen on a free port."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    def stop(self) -> None:
        """Close every connection and the port, as a server that dies."""
        if not self._thread.is_alive():
            return
        with contextlib.suppress(RuntimeError):
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def die(self) -> None:
        """Stop in mid run, when what was made before has been fetched; to be called by ``before``."""
        time.sleep(0.3)
        self.stop()

    async def _start(self) -> None:
        app = web.Application(client_max_size=1 << 26, middlewares=[self._proxy])
        app.add_routes(
            [
                web.get("/ws", self._ws),
                web.get("/system_stats", self._stats),
                web.get("/object_info", self._object_info),
                web.post("/prompt", self._prompt),
                web.get("/history/{id}", self._get_history),
                web.post("/history", self._forget),
                web.get("/queue", self._queue),
                web.post("/queue", self._delete),
                web.post("/interrupt", self._interrupt),
                web.post("/free", self._ok),
                web.get("/view", self._view),
                web.post("/copyscope/hashes", self._hashes),
                web.post("/copyscope/sketches", self._sketches),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for socket in list(self._sockets.values()):
            await socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _proxy(self, request: web.Request, handler: Any) -> web.StreamResponse:
        return web.Response(status=502) if self.gateway(request.path) else await handler(request)

    async def _ok(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _forget(self, request: web.Request) -> web.Response:
        for prompt_id in (await request.json())["delete"]:
            self.forgotten.append(prompt_id)
            self._history.pop(prompt_id, None)
        return web.Response()

    async def _stats(self, request: web.Request) -> web.Response:
        system = {"comfyui_version": self.version, "pytorch_version": "2.9", "os": "linux", "argv": self.argv}
        return web.json_response({"system": system, "devices": [{"name": self.device, "type": self.device}]})

    async def _object_info(self, request: web.Request) -> web.Response:
        return web.json_response(self.info)

    async def _ws(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets[request.query["clientId"]] = socket
        async for _ in socket:
            pass
        return socket

    async def _prompt(self, request: web.Request) -> web.Response:
        data = await request.json()
        prompt_id = data["prompt_id"]
        self.prompts.append(data["prompt"])
        task = asyncio.create_task(self._execute(prompt_id, data["prompt"], data["client_id"], len(self.prompts)))
        self._tasks.add(task)
        self._pending[prompt_id] = task
        return web.json_response({"prompt_id": prompt_id, "number": 1, "node_errors": {}})

    async def _execute(self, prompt_id: str, prompt: dict[str, Any], client_id: str, number: int) -> None:
        async with self._turn:
            del self._pending[prompt_id]
            self._running.append(prompt_id)
            self._stop_running.clear()
            begun = time.monotonic()
            self._history[prompt_id] = await self._run(prompt_id, prompt, number)
            self._running.remove(prompt_id)
            self.busy.append((begun, time.monotonic()))
        socket = self._sockets.get(client_id)
        if socket is not None and not socket.closed:
            await socket.send_json({"type": "executing", "data": {"node": None, "prompt_id": prompt_id}})

    async def _run(self, prompt_id: str, prompt: dict[str, Any], number: int) -> dict[str, Any]:
        """A prompt's entry in the history."""
        await asyncio.to_thread(self.before, number)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stop_running.wait(), self.seconds)
        error = self.fail(prompt)
        if self._stop_running.is_set():
            stopped = {"node_id": next(iter(prompt)), "node_type": "?"}
            outputs: dict[str, Any] = {}
            status = {"status_str": "error", "completed": False, "messages": [["execution_interrupted", stopped]]}
        elif error is None:
            outputs = {node_id: self._preview(prompt, node_id, number) for node_id in previews(prompt)}
            outputs |= {node_id: {"text": [str(self.length(prompt))]} for node_id in texts(prompt)}
            outputs |= {
                node_id: {STYLE_OUTPUT: [self.style(node["inputs"]["image"])]}
                for node_id, node in prompt.items()
                if node["class_type"] == STYLE_NODE
            }
            status = {"status_str": "success", "completed": True, "messages": [["execution_success", {}]]}
        else:
            node_id = next(iter(prompt))
            message = {"node_id": node_id, "node_type": prompt[node_id]["class_type"], "exception_message": error}
            message["exception_type"] = "RuntimeError"
            outputs = {}
            status = {"status_str": "error", "completed": False, "messages": [["execution_error", message]]}
        return {"prompt": [1, prompt_id, prompt, {}, []], "outputs": outputs, "status": status}

    def _preview(self, prompt: dict[str, Any], node_id: str, number: int) -> dict[str, Any]:
        graph = parse_graph(prompt)
        for node in graph.values():
            dict.pop(node.inputs, RERUN_INPUT, None)  # type: ignore[arg-type]
        link = graph[node_id].inputs["images"]
        places: Iterable[int] = range(self.length(prompt))
        if graph[link.node].class_type == "ImageFromBatch":
            places, link = [graph[link.node].inputs["batch_index"]], graph[link.node].inputs["image"]
        digest = digests(graph, link.node)[link.node]
        names = []
        for index in places:
            buffer = io.BytesIO()
            Image.fromarray(self.paint(f"{digest}{index}", number)).save(buffer, "PNG", compress_level=1)
            names.append(f"{number}_{node_id}_{index}.png")
            self._files[names[-1]] = buffer.getvalue()
        return {"images": [{"filename": name, "subfolder": "", "type": "temp"} for name in names]}

    async def _get_history(self, request: web.Request) -> web.Response:
        found = self._history.get(request.match_info["id"])
        return web.json_response({request.match_info["id"]: found} if found else {})

    async def _queue(self, request: web.Request) -> web.Response:
        places = {"queue_running": self._running, "queue_pending": list(self._pending)}
        return web.json_response({name: [[1, i, {}, {}, []] for i in ids] for name, ids in places.items()})

    async def _delete(self, request: web.Request) -> web.Response:
        for prompt_id in (await request.json())["delete"]:
            if (task := self._pending.pop(prompt_id, None)) is not None:
                task.cancel()
                self.deleted.append(prompt_id)
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        self.interrupted.append((await request.json())["prompt_id"])
        if self.interrupted[-1] in self._running:
            self._stop_running.set()
        return web.Response()

    async def _view(self, request: web.Request) -> web.Response:
        place = self.inputs if request.query.get("type") == "input" else self._files
        data = place.get(request.query["filename"])
        return web.Response(status=404) if data is None else web.Response(body=data)

    async def _hashes(self, request: web.Request) -> web.Response:
        if self.hashes is None:
            return web.Response(status=404)
        asked = await request.json()
        found: dict[str, Any] = dict.fromkeys(asked["files"])
        for name in found.keys() & self.hashes.keys():
            found[name] = {"sha256": self.hashes[name]}
            if asked.get("metadata"):
                found[name]["metadata"] = self.metadata.get(name)
        return web.json_response({"copyscope": "0", "files": found})

    async def _sketches(self, request: web.Request) -> web.Response:
        if self.hashes is None:
            return web.Response(status=404)
        names = (await request.json())["files"]
        return web.json_response({"copyscope": "0", "files": {name: self.sketches.get(name) for name in names}})


def noise(digest: str, number: int) -> np.ndarray[Any, Any]:
    """Pixels that depend on the digest alone."""
    seed = int.from_bytes(hashlib.sha256(digest.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def previews(prompt: dict[str, Any]) -> list[str]:
    """The nodes that show images."""
    return [node_id for node_id, node in prompt.items() if node["class_type"] == "PreviewImage"]


def texts(prompt: dict[str, Any]) -> list[str]:
    """The nodes that show a number."""
    return [node_id for node_id, node in prompt.items() if node["class_type"] == "PreviewAny"]


def batch_size(prompt: dict[str, Any]) -> int:
    """Images a prompt makes."""
    return next((int(n["inputs"]["batch_size"]) for n in prompt.values() if "batch_size" in n["inputs"]), 1)


@contextlib.contextmanager
def fake_comfy() -> Iterator[FakeComfy]:
    """A stand-in that listens, and is stopped at the end."""
    server = FakeComfy()
    server.start()
    try:
        yield server
    finally:
        server.stop()
