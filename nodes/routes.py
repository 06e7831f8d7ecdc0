"""CopyScope's HTTP routes: hashes of model files that the host lists, and the files of its own run folders."""

from __future__ import annotations

import asyncio
import re

from aiohttp import web
from server import PromptServer

from ..copyscope_core import __version__
from ..copyscope_core.files.hashes import autov2
from .host import comfyui

_RUN = re.compile(r"[0-9a-f]{16}\Z")
_FILES = {"report.html": "text/html", "report.json": "application/json"}
_MOST_NAMES = 1000


def add_routes() -> None:
    """Add the routes to ComfyUI's server, whose own origin check guards them too."""
    server = PromptServer.instance
    if server is None:
        return
    server.routes.post("/copyscope/hashes")(hashes)
    server.routes.get("/copyscope/runs/{run}/{file}")(run_file)


async def hashes(request: web.Request) -> web.Response:
    """SHA-256 and AutoV2 of model files: ``{"files": [name, …]}`` → ``{"files": {name: {…} | null}}``.

    A name counts only if one of ComfyUI's own model lists has it.
    """
    try:
        names = (await request.json())["files"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return web.json_response({"error": 'The body must be JSON: {"files": [name, …]}.'}, status=400)
    if not isinstance(names, list) or len(names) > _MOST_NAMES or not all(isinstance(name, str) for name in names):
        return web.json_response({"error": f"files must be a list of at most {_MOST_NAMES} names."}, status=400)
    result = {name: await asyncio.to_thread(_hash, name) for name in names}
    return web.json_response({"copyscope": __version__, "files": result})


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


def _hash(name: str) -> dict[str, str] | None:
    digests = {comfyui.hash_cache().sha256(path) for path in comfyui.model_paths(name)}
    if len(digests) != 1:
        return None
    digest = digests.pop()
    return {"sha256": digest, "autov2": autov2(digest)}
