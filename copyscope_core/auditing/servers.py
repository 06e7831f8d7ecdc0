"""The ComfyUI servers that the user chose: running ones, or one that is started."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..comfyui.client import ComfyClient
from ..comfyui.host import ManagedHost
from ..comfyui.model_files import LocalModels
from ..comfyui.versions import newer_than_tried
from ..errors import CopyScopeError, HostError
from ..files.hashes import HashCache
from ..observer import Observer
from ..store.runs import LOG_FILE, state_folder
from .runner import Server

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class ServerChoice:
    """Which ComfyUI the user wants: some that run, one to start, or (``plan`` only) none.

    Attributes:
        servers: addresses of those that run.
        comfyui: folder of one to start; with ``servers``, where their files are.
        base_directory: its base directory.
        arguments: launch flags for it.
        timeout: seconds without progress after which it counts as hung.
        ray: address of a Ray cluster on whose nodes ``comfyui`` is started.
    """

    servers: tuple[str, ...] = ()
    comfyui: Path | None = None
    base_directory: Path | None = None
    arguments: tuple[str, ...] = ()
    timeout: float = 900.0
    ray: str | None = None

    def __post_init__(self) -> None:
        if self.ray is not None and (self.servers or self.comfyui is None):
            raise CopyScopeError("--ray starts ComfyUI on the cluster's nodes: give --comfyui, and no --server.")

    @property
    def given(self) -> bool:
        """Whether the user named one."""
        return bool(self.servers) or self.comfyui is not None


@contextlib.contextmanager
def started_host(choice: ServerChoice, log_folder: Path | None, observer: Observer) -> Iterator[ManagedHost | None]:
    """The ComfyUI that is ours to start; None where one is running.

    Raises:
        HostError: it cannot be started.
    """
    if choice.comfyui is None or choice.servers or choice.ray:
        yield None
        return
    log_path = None if log_folder is None else log_folder / LOG_FILE
    host = ManagedHost(choice.comfyui, choice.arguments, log_path, choice.base_directory)
    observer.note(f"Starting ComfyUI in {host.comfyui} …")
    with host:
        yield host


@contextlib.asynccontextmanager
async def connected(choice: ServerChoice, host: ManagedHost | None, observer: Observer) -> AsyncIterator[list[Server]]:
    """Clients of the chosen servers. Versions that are newer than those tried are noted, each once.

    Raises:
        HostError: one of them cannot be reached, is too old, or is given twice.
    """
    urls = [host.url] if host is not None else server_addresses(choice.servers)
    async with contextlib.AsyncExitStack() as stack:
        servers: list[Server] = []
        noted: set[str] = set()
        for url in urls:
            client = await stack.enter_async_context(ComfyClient(url, no_progress_timeout=choice.timeout))
            if client.url in [server.name for server in servers]:
                raise HostError(f"The server {client.url} is given twice; name each one once.")
            stats = await client.system_stats()
            if (note := newer_than_tried(stats["system"].get("comfyui_version"))) and note not in noted:
                noted.add(note)
                observer.note(note)
            servers.append(Server(client, host, local_models(choice, stats)))
        yield servers


def local_models(choice: ServerChoice, stats: Mapping[str, Any]) -> LocalModels | None:
    """Where the server's files are, if its folder was named. The server's own flags say which base directory it has."""
    if choice.comfyui is None:
        return None
    argv = [str(word) for word in stats["system"].get("argv") or []]
    comfyui = choice.comfyui.expanduser().absolute()
    base = choice.base_directory or comfyui
    for number, word in enumerate(argv):
        if word == "--base-directory" and number + 1 < len(argv):
            base = Path(argv[number + 1])
        elif word.startswith("--base-directory="):
            base = Path(word.partition("=")[2])
    return LocalModels(comfyui, base.absolute(), HashCache(state_folder() / "hashes.json"), argv)


DEFAULT_SERVER = "http://127.0.0.1:8188"


SERVER_VARIABLE = "COPYSCOPE_SERVER"


def server_addresses(servers: Sequence[str]) -> list[str]:
    """The addresses to use: as given, else from the environment (by spaces), else ComfyUI's own default."""
    return [*servers] or os.environ.get(SERVER_VARIABLE, "").split() or [DEFAULT_SERVER]
