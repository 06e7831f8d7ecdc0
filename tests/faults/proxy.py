"""A TCP proxy before a ComfyUI that cuts every websocket a moment after it is opened; other requests pass."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

CUT_AFTER = 0.3


class CuttingProxy:
    """Counts the websockets that it cut."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.url = ""
        self.cut = 0
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        upgraded = asyncio.Event()
        pumps = [asyncio.create_task(_pump(reader, back, upgraded)), asyncio.create_task(_pump(there, writer))]
        cut = asyncio.create_task(self._cut(upgraded))
        await asyncio.wait([*pumps, cut], return_when=asyncio.FIRST_COMPLETED)
        for task in (*pumps, cut):
            task.cancel()
        for stream in (writer, back):
            stream.close()

    async def _cut(self, upgraded: asyncio.Event) -> None:
        await upgraded.wait()
        await asyncio.sleep(CUT_AFTER)
        self.cut += 1


async def _pump(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, upgraded: asyncio.Event | None = None
) -> None:
    """Pass bytes on; a connection that was used for other requests may become a websocket at any of them."""
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            if upgraded is not None and data.startswith(b"GET /ws"):
                upgraded.set()
            sink.write(data)
            await sink.drain()


@contextlib.contextmanager
def cutting_proxy(port: int) -> Iterator[CuttingProxy]:
    """A running proxy before a port of this machine."""
    proxy = CuttingProxy(port)
    thread = threading.Thread(target=proxy._loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(proxy._start(), proxy._loop).result(10)
    try:
        yield proxy
    finally:
        proxy._loop.call_soon_threadsafe(proxy._loop.stop)
        thread.join(10)
