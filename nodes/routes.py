"""CopyScope's HTTP routes: what is known of model files that the host lists, players, reports, help pages."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from server import PromptServer

from ..copyscope_core import __version__
from ..copyscope_core.errors import CopyScopeError
from ..copyscope_core.files.hashes import autov2
from ..copyscope_core.planning.finding import find_players
from ..copyscope_core.twins.sketch import SKETCH_ID
from .host import comfyui
from .run.graph_run import stop_run

_RUN = re.compile(r"[0-9a-f]{16}\Z")
_FILES = {"report.html": "text/html", "report.json": "application/json"}
_MOST_NAMES, _MOST_TOLD = 1000, 16
_MOST_BYTES = 16 * 2**20
"""Of a workflow whose players are looked for."""
_one_at_a_time = asyncio.Lock()
_PACK = Path(__file__).parents[1]


def add_routes() -> None:
    """Add the routes to ComfyUI's server, whose own origin check guards them too."""
    server = PromptServer.instance
    if server is None:
        return
    server.routes.post("/copyscope/hashes")(hashes)
    server.routes.post("/copyscope/sketches")(sketches)
    server.routes.post("/copyscope/players")(players)
    server.routes.post("/copyscope/stop")(stop)
    server.routes.get("/copyscope/runs/{run}/{file}")(run_file)
    # The pack's name stands in the path: a route that is longer than that of the web folder comes before it.
    docs = f"/extensions/{re.sub('[{}]', '', _PACK.name)}/docs"
    server.routes.get(docs + r"/{node:CopyScope\w+}/{locale:[\w-]+}.md")(help_page)


async def hashes(request: web.Request) -> web.Response:
    """SHA-256 and AutoV2 of model files: ``{"files": [name, …]}`` → ``{"files": {name: {…} | null}}``.

    A name counts only if one of ComfyUI's own model lists has it. With ``"metadata": true`` also what a safetensors
    file says of itself in its header; then at most 16 names.
    """
    return await _of_files(request, _hash, _hash_and_metadata)


async def sketches(request: web.Request) -> web.Response:
    """What tells copies of LoRAs: ``{"files": [name, …]}`` → ``{"files": {name: {"sha256", "id", "sketch"} | null}}``.

    A name counts as for the hashes. Of a file 256 numbers are told, from which it cannot be made; null: no LoRA.
    """
    async with _one_at_a_time:
        return await _of_files(request, _fingerprint)


async def _of_files(
    request: web.Request,
    look: Callable[[str], dict[str, Any] | None],
    with_metadata: Callable[[str], dict[str, Any] | None] | None = None,
) -> web.Response:
    """What is known of each file that a request names."""
    try:
        body = await request.json()
        names, told = body["files"], with_metadata is not None and body.get("metadata") is True
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return _refusal('The body must be JSON: {"files": [name, …]}.', 400)
    most = _MOST_TOLD if told else _MOST_NAMES
    if not isinstance(names, list) or len(names) > most or not all(isinstance(name, str) for name in names):
        return _refusal(f"files must be a list of at most {most} names.", 400)
    look = with_metadata if told and with_metadata is not None else look
    result = {name: await asyncio.to_thread(look, name) for name in names}
    return web.json_response({"copyscope": __version__, "files": result})


async def players(request: web.Request) -> web.Response:
    """What can be measured in a workflow: ``{"prompt": API format, "node": id of CopyScope Players}`` → its players.

    Nothing of the workflow is run. The answer is what ``find_players`` gives, or ``{"error": sentence}``.
    """
    if request.content_length is None or request.content_length > _MOST_BYTES:
        return _refusal(f"The workflow is larger than {_MOST_BYTES >> 20} MiB; its players are not listed.", 413)
    body = await request.read()
    async with _one_at_a_time:
        try:
            return web.json_response(await asyncio.to_thread(_find_players, body))
        except CopyScopeError as error:
            return _refusal(str(error), 400)


async def stop(request: web.Request) -> web.Response:
    """Ends an audit that runs until it is sure, with the report of what is known: ``{"node": id of its enumerator}``.

    409 where none runs there that has been looked at. The run under way is finished and stored; then come the checks
    at the end and the report.
    """
    try:
        node = (await request.json())["node"]
    except (ValueError, KeyError, TypeError, RecursionError):
        node = None
    if not isinstance(node, str):
        return _refusal('The body must be JSON: {"node": id of the enumerator}.', 400)
    if not stop_run(node):
        return _refusal("No audit runs there that can end with a report: that takes until_sure, and a first look.", 409)
    return web.json_response({"stopping": True})


async def help_page(request: web.Request) -> web.StreamResponse:
    """A node's help page, whatever the language: there is one in English."""
    path = _PACK / "web" / "docs" / f"{request.match_info['node']}.md"
    if not path.is_file():
        raise web.HTTPNotFound
    return web.FileResponse(path, headers={"Content-Type": "text/markdown; charset=utf-8"})


async def run_file(request: web.Request) -> web.StreamResponse:
    """A report of a run folder, shown in the browser without any rights of ComfyUI's page."""
    run, file = request.match_info["run"], request.match_info["file"]
    if not _RUN.match(run) or file not in _FILES:
        raise web.HTTPNotFound
    root = comfyui.runs_folder().resolve()
    path = root / run / file
    if not path.is_file() or not path.resolve().is_relative_to(root):
        raise web.HTTPNotFound
    return web.FileResponse(
        path,
        headers={
            "Content-Type": f"{_FILES[file]}; charset=utf-8",
            "Content-Security-Policy": "sandbox allow-popups allow-scripts",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        },
    )


def _find_players(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
        workflow, node = asked["prompt"], asked["node"]
    except (ValueError, KeyError, TypeError, RecursionError):
        workflow = node = None
    if not isinstance(node, str):
        raise CopyScopeError('The body must be JSON: {"prompt": workflow in API format, "node": id}.')
    return find_players(workflow, comfyui.catalog(), node)


def _refusal(sentence: str, status: int) -> web.Response:
    return web.json_response({"error": sentence}, status=status)


def _fingerprint(name: str) -> dict[str, Any] | None:
    found = comfyui.fingerprint(name)
    if found.sha256 is None:
        return None
    sketch = None if found.sketch is None else found.sketch.tolist()
    return {"sha256": found.sha256, "id": SKETCH_ID, "sketch": sketch}


def _hash(name: str) -> dict[str, Any] | None:
    digests = {comfyui.hash_cache().sha256(path) for path in comfyui.model_paths(name)}
    if len(digests) != 1:
        return None
    digest = digests.pop()
    return {"sha256": digest, "autov2": autov2(digest)}


def _hash_and_metadata(name: str) -> dict[str, Any] | None:
    found = _hash(name)
    if found is None:
        return None
    metadata = comfyui.file_metadata(name)
    return {**found, "metadata": None if metadata is None else metadata.as_json()}
