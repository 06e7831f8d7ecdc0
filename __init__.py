"""CopyScope's entry for ComfyUI: registers the nodes, the routes and the web folder."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

WEB_DIRECTORY = "./web"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
IMPORT_NAMES = {"pillow": "PIL"}
"""Of requirements whose module is called otherwise."""


def check_requirements(path: Path = REQUIREMENTS) -> None:
    """Say at the start what is not installed, not when everything has been sampled.

    Raises:
        ImportError: it names the packages and the command that installs them.
    """
    names = [found[0] for line in path.read_text(encoding="utf-8").splitlines() if (found := re.match(r"[\w-]+", line))]
    missing = [name for name in names if find_spec(IMPORT_NAMES.get(name, name)) is None]
    if missing:
        raise ImportError(
            f"CopyScope needs {', '.join(missing)}, which the Python that runs ComfyUI does not have. "
            f'Install what it needs and start ComfyUI again: "{sys.executable}" -m pip install -r "{path}"'
        )


def tell_browser(sentence: str) -> None:
    """Let the front end say what the log says: where the pack has no nodes, ``web/copyscope.js`` asks for it."""
    from aiohttp import web  # ComfyUI's own server is made of it
    from server import PromptServer

    async def missing(request: web.Request) -> web.Response:
        return web.json_response({"message": sentence})

    PromptServer.instance.routes.get("/copyscope/missing")(missing)


if __package__:  # loaded by ComfyUI from custom_nodes, not by a test runner that walks the repository

    async def comfy_entrypoint():
        try:
            check_requirements()
        except ImportError as error:
            tell_browser(str(error))
            raise
        from .nodes import CopyScopeExtension, add_routes
        from .nodes.host.comfyui import say_if_newer

        say_if_newer()
        add_routes()
        return CopyScopeExtension()
