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
        first = await reader.read(1 << 16)
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        back.write(first)
        pumps = [asyncio.create_task(_pump(reader, back)), asyncio.create_task(_pump(there, writer))]
        if b" /ws" in first.split(b"\r\n", 1)[0]:
            await asyncio.wait(pumps, timeout=CUT_AFTER)
            self.cut += 1
        else:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0.05)
        for task in pumps:
            task.cancel()
        for stream in (writer, back):
            stream.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
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
