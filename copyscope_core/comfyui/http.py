"""Plain HTTP requests to one ComfyUI server. Nothing but the server that the user named is ever contacted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from ..errors import HostError
from ..metadata.header import Metadata, as_metadata
from ..twins.sketch import SKETCH_ID
from ..twins.twins import Fingerprint, as_sketch
from .errors import ImageMissingError, ServerHangError, ServerUnreachableError, one_line
from .versions import check_version

IMAGE_BYTES_MAX = 1 << 30
JSON_BYTES_MAX = 1 << 28
"""The ``/object_info`` of a server with many packs is about a hundredth of this."""

TRIES = 3
HASH_TIMEOUT = 3600.0
_GATEWAY_ERRORS = (502, 503, 504)


class HashedFile(NamedTuple):
    """What is told of a model file: SHA-256 of its bytes, and what it says of itself; None: not told."""

    sha256: str | None = None
    metadata: Metadata | None = None


class ComfyHttp:
    """The requests that need no websocket.

    Raises:
        HostError: ``url`` is no HTTP address.
    """

    def __init__(self, url: str, request_timeout: float = 60.0) -> None:
        self.set_url(url)
        self.request_timeout = request_timeout
        self._session: aiohttp.ClientSession | None = None
        self._object_info: dict[str, Any] | None = None

    def set_url(self, url: str) -> None:
        """Take an address; user name and password in it are used, and never shown.

        Raises:
            HostError: ``url`` is no HTTP address.
        """
        self.base = _parse(url)
        self.url = str(self.base.with_user(None)).rstrip("/")

    async def open(self) -> None:
        """Open the HTTP session. Proxies named in the environment are not used."""
        timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=self.request_timeout)
        self._session = aiohttp.ClientSession(timeout=timeout)

    async def close(self) -> None:
        """Close the HTTP session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open session.

        Raises:
            HostError: the client is not open.
        """
        if self._session is None:
            raise HostError("The client is closed; use it inside 'async with'.")
        return self._session

    async def system_stats(self) -> dict[str, Any]:
        """The server's ``/system_stats``, after a check of its version.

        Raises:
            HostError: the server cannot be reached, is no ComfyUI, or is too old.
        """
        stats = await self.get_json("system_stats")
        system = stats.get("system") if isinstance(stats, dict) else None
        if not isinstance(system, dict):
            raise HostError(f"{self.url} is not a ComfyUI server; check the address.")
        check_version(system.get("comfyui_version"), self.url)
        return dict(stats)

    async def object_info(self) -> dict[str, Any]:
        """The server's ``/object_info``, asked once.

        Raises:
            HostError: the server cannot be reached or its answer is not what ComfyUI gives.
        """
        if self._object_info is None:
            info = await self.get_json("object_info")
            if not isinstance(info, dict) or not info:
                raise HostError(f"{self.url} gives no list of nodes; check that it is a ComfyUI server.")
            self._object_info = info
        return self._object_info

    async def fetch_image(self, filename: str, subfolder: str = "", type: str = "output") -> bytes:
        """The bytes of an image that a node saved or previewed, as the server has them.

        Raises:
            ImageMissingError: the server does not have it.
            HostError: the server cannot be reached, or sends more than 1 GiB.
        """
        query = {"filename": filename, "subfolder": subfolder, "type": type}
        for attempt in range(TRIES):
            try:
                status, data = await self._fetch(query)
                break
            except (ServerUnreachableError, ServerHangError):
                if attempt == TRIES - 1:
                    raise
                await asyncio.sleep(0.2 * (attempt + 1))
        if status != 200:
            raise ImageMissingError(
                f"{self.url} no longer has the image {one_line(filename, 120)} (status {status}); run again."
            )
        return data

    async def pack_hash(self, name: str) -> HashedFile | None:
        """What the server's CopyScope pack tells of a model file; None: it has no such pack.

        Raises:
            HostError: the server cannot be reached.
        """
        timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=HASH_TIMEOUT)
        status, answer = await self.request("POST", "copyscope/hashes", {"files": [name], "metadata": True}, timeout)
        if status != 200 or not isinstance(answer, dict):
            return None
        files = answer.get("files")
        found = files.get(name) if isinstance(files, dict) else None
        if not isinstance(found, dict):
            return HashedFile()
        digest = found.get("sha256")
        known = digest if isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) else None
        return HashedFile(known, as_metadata(found.get("metadata")))

    async def pack_fingerprint(self, name: str) -> Fingerprint | None:
        """What the server's CopyScope pack knows of a model file; None: it has no such pack.

        Raises:
            HostError: the server cannot be reached.
        """
        timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=HASH_TIMEOUT)
        status, answer = await self.request("POST", "copyscope/sketches", {"files": [name]}, timeout)
        if status != 200 or not isinstance(answer, dict):
            return None
        files = answer.get("files")
        found = files.get(name) if isinstance(files, dict) else None
        if not isinstance(found, dict):
            return Fingerprint()
        digest = found.get("sha256")
        known = digest if isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) else None
        return Fingerprint(known, as_sketch(found.get("sketch")) if found.get("id") == SKETCH_ID else None)

    async def _fetch(self, query: Mapping[str, str]) -> tuple[int, bytes]:
        with self._http_errors():
            async with self.session.get(self.base / "view", params=query, allow_redirects=False) as answer:
                data = await self._body(answer, IMAGE_BYTES_MAX, "an image")
        self._check_gateway(answer.status)
        return answer.status, data

    async def _body(self, answer: aiohttp.ClientResponse, most: int, what: str) -> bytes:
        """An answer's body, of at most ``most`` bytes, however it is compressed.

        Raises:
            HostError: it is larger.
        """
        pieces, size = [], 0
        async for piece in answer.content.iter_chunked(1 << 20):
            size += len(piece)
            if size > most:
                raise HostError(
                    f"{self.url} sent {what} of more than {most >> 20:,} MiB, which is refused; check the server."
                )
            pieces.append(piece)
        return b"".join(pieces)

    def _check_gateway(self, status: int) -> None:
        if status in _GATEWAY_ERRORS:
            raise ServerUnreachableError(f"The proxy before {self.url} answers {status}: ComfyUI is not running there.")

    async def get_json(self, path: str) -> Any:
        """The JSON at a path.

        Raises:
            HostError: the server cannot be reached, answers with another status than 200, not with JSON, or with more
                than 256 MiB.
        """
        status, answer = await self.request("GET", path)
        if status != 200:
            raise HostError(f"{self.url}/{path} answered with status {status}; check that it is a ComfyUI server.")
        return answer

    async def request(
        self, method: str, path: str, body: object = None, timeout: aiohttp.ClientTimeout | None = None
    ) -> tuple[int, Any]:
        """One request with a JSON body; the status, and the answer's JSON or (where it is none) its text.

        Raises:
            ServerHangError: no answer in time.
            ServerUnreachableError: no connection, or none from a proxy to the server.
            HostError: a GET was answered with something else than JSON, or the answer is larger than 256 MiB.
        """
        with self._http_errors():
            address = self.base / path
            async with self.session.request(
                method, address, json=body, allow_redirects=False, timeout=timeout or self.session.timeout
            ) as answer:
                data = await self._body(answer, JSON_BYTES_MAX, f"an answer to /{path}")
        self._check_gateway(answer.status)
        try:
            return answer.status, json.loads(data) if data else None
        except (ValueError, RecursionError):
            if answer.status == 200 and method == "GET":
                raise HostError(
                    f"{self.url}/{path} did not answer with JSON; check that it is a ComfyUI server."
                ) from None
            return answer.status, data[:400].decode("utf-8", "replace")

    @contextlib.contextmanager
    def _http_errors(self) -> Iterator[None]:
        try:
            yield
        except asyncio.TimeoutError as error:
            raise ServerHangError(f"The ComfyUI server at {self.url} does not answer; see its log.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ServerUnreachableError(
                f"No ComfyUI server can be reached at {self.url} ({one_line(error, 160)}); "
                "start it, or check the address."
            ) from error


def _parse(url: str) -> URL:
    text = url.strip()
    try:
        address = URL(text if "://" in text else f"http://{text}")
        port = address.port
    except ValueError as error:
        raise HostError(
            f"{one_line(url, 120)!r} is no server address; give one such as http://127.0.0.1:8188."
        ) from error
    host = address.host
    if address.scheme not in ("http", "https") or not host or any(map(str.isspace, host)) or port is None:
        raise HostError(f"{one_line(url, 120)!r} is no server address; give one such as http://127.0.0.1:8188.")
    return address.with_query(None).with_fragment(None)
