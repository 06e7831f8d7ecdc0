"""``copyscope plan`` and ``copyscope audit``: what needs a workflow and a ComfyUI."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .audit import Audit, AuditResult
from .batch import Batch, Images, QueuedAudit
from .cli_options import server_addresses
from .client import ComfyClient
from .convert import convert, is_ui_format
from .errors import CopyScopeError, HostError, WorkflowError
from .features import FeatureExtractor
from .graph import parse_graph, read_json
from .hashes import HashCache
from .host import ManagedHost
from .images import ImageFile
from .model_files import LocalModels
from .node_info import NodeCatalog, bundled_catalog
from .observer import Observer
from .plan import Plan, embedded_settings, make_plan
from .runner import Machine, Server
from .runs import LOG_FILE, state_folder
from .settings import AuditSettings
from .storage import ImageStorage
from .terminal import say, table


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
async def machines(choice: ServerChoice, host: ManagedHost | None, observer: Observer) -> AsyncIterator[list[Machine]]:
    """The chosen servers, or those of the chosen cluster.

    Raises:
        HostError: one of them cannot be reached, or is too old; none of the cluster's can be started.
    """
    async with contextlib.AsyncExitStack() as stack:
        if choice.ray is None:
            yield [*await stack.enter_async_context(connected(choice, host))]
        else:
            from .ray_fleet import ray_machines

            yield [*await stack.enter_async_context(ray_machines(choice.ray, choice, observer))]


@contextlib.asynccontextmanager
async def connected(choice: ServerChoice, host: ManagedHost | None) -> AsyncIterator[list[Server]]:
    """Clients of the chosen servers.

    Raises:
        HostError: one of them cannot be reached, is too old, or is given twice.
    """
    urls = [host.url] if host is not None else server_addresses(choice.servers)
    async with contextlib.AsyncExitStack() as stack:
        servers: list[Server] = []
        for url in urls:
            client = await stack.enter_async_context(ComfyClient(url, no_progress_timeout=choice.timeout))
            if client.url in [server.name for server in servers]:
                raise HostError(f"The server {client.url} is given twice; name each one once.")
            stats = await client.system_stats()
            servers.append(Server(client, host, _local_models(choice, stats)))
        yield servers


async def plan_workflow(
    workflow: Path, settings: AuditSettings, client: Machine | ComfyClient | None
) -> tuple[Plan, list[dict[str, str]]]:
    """Read, convert and plan a workflow; also what its conversion left out, as records for the report.

    Settings that CopyScope's nodes in the workflow hold count where the command line gives none.

    Raises:
        WorkflowError: the file cannot be read or converted, or cannot be audited.
        PlayerError, TooManyCoalitionsError: see ``make_plan``.
        HostError: the server cannot be reached.
    """
    data = read_json(workflow)
    info: Mapping[str, Any] | None = None if client is None else await client.object_info()
    notes: tuple[str, ...] = ()
    if is_ui_format(data):
        if info is None:
            raise WorkflowError(
                f"The workflow {workflow} is in UI format, and only a server can tell how to convert it: give --server "
                "or --comfyui, or export it from ComfyUI with Workflow → Export (API)."
            )
        conversion = convert(data, info)
        data, notes = conversion.graph, conversion.notes
    catalog = bundled_catalog() if info is None else NodeCatalog(info, live=True)
    graph = parse_graph(data)
    plan = make_plan(graph, catalog, settings.over(embedded_settings(graph)))
    return plan, [{"code": "conversion", "message": f"In converting the workflow: {note}."} for note in notes]


def run_plan(workflow: Path, settings: AuditSettings, choice: ServerChoice, observer: Observer) -> dict[str, Any]:
    """What ``copyscope plan`` prints. Raises CopyScopeError."""

    async def work(host: ManagedHost | None) -> dict[str, Any]:
        if not choice.given:
            plan, notes = await plan_workflow(workflow, settings, None)
        else:
            async with connected(choice, host) as servers:
                plan, notes = await plan_workflow(workflow, settings, servers[0].client)
        summary = plan.summary()
        return {**summary, "warnings": [*summary["warnings"], *(note["message"] for note in notes)]}

    with started_host(choice, None, observer) as host:
        return asyncio.run(work(host))


def run_audit(
    workflow: Path,
    reference: list[ImageFile],
    out: Path,
    settings: AuditSettings,
    choice: ServerChoice,
    observer: Observer,
    extractor: FeatureExtractor,
    show_reference: bool = True,
    control: Sequence[ImageFile] = (),
    private: bool = False,
    storage: ImageStorage | None = None,
) -> AuditResult:
    """What ``copyscope audit`` does. Raises CopyScopeError."""

    async def work(host: ManagedHost | None) -> AuditResult:
        async with machines(choice, host, observer) as servers:
            plan, notes = await plan_workflow(workflow, settings, servers[0])
            audit = Audit(
                plan, servers, out, reference, extractor, observer, show_reference, notes, control, private=private
            )
            audit.storage = storage
            return await audit.run()

    with started_host(choice, out, observer) as host:
        return asyncio.run(work(host))


def run_batch(
    queue: list[QueuedAudit],
    out: Path,
    choice: ServerChoice,
    observer: Observer,
    extractor: FeatureExtractor,
    show_reference: bool = True,
    private: bool = False,
) -> Batch:
    """What ``copyscope batch`` does. Raises CopyScopeError."""
    made_with = {"features": extractor.id, "show_reference": show_reference, "private": private}

    async def work(host: ManagedHost | None) -> Batch:
        async with machines(choice, host, observer) as servers:

            async def prepare(item: QueuedAudit, reference: Images, control: Images, folder: Path) -> Audit:
                plan, notes = await plan_workflow(item.workflow, item.settings, servers[0])
                return Audit(
                    plan, servers, folder, reference, extractor, observer, show_reference, notes, control,
                    private=private,
                )  # fmt: skip

            batch = Batch(queue, out, prepare, made_with, observer)
            await batch.run()
            return batch

    with started_host(choice, out, observer) as host:
        return asyncio.run(work(host))


def print_plan(summary: Mapping[str, Any]) -> None:
    """Print a plan for a reader."""
    say(table(("player", "kind", "node", "when absent"), _rows(summary["players"], "absence")))
    if summary["locked"]:
        say("\n" + table(("locked", "kind", "node", "why"), _rows(summary["locked"], "reason")))
    if summary["unmeasured"]:
        rows = [(item["what"], item["class_type"], item["node"], item["reason"]) for item in summary["unmeasured"]]
        say("\n" + table(("unmeasured", "class", "node", "why"), rows))
    say(
        f"\n{'At most ' if summary['mode'] == 'sampled' else ''}{summary['coalitions']:,} coalitions × "
        f"{summary['seeds']} seeds × batch {summary['batch']} = {summary['images']:,} images, from "
        f"{summary['sampler_runs']:,} distinct sampler runs."
    )
    if summary["groups"]:
        say("Groups: " + "; ".join(f"{name} ({', '.join(of)})" for name, of in summary["groups"].items()))
    rows = [
        (("→ " if cost["chosen"] else "  ") + cost["mode"], f"{cost['coalitions']:,}", f"{cost['images']:,}",
         f"{cost['sampler_runs']:,}")
        for cost in summary["modes"]
    ]  # fmt: skip
    say("\n" + table(("mode", "coalitions", "images", "sampler runs"), rows))
    for warning in summary["warnings"]:
        say(f"Warning: {warning}")


def _rows(items: list[dict[str, Any]], last: str) -> list[tuple[str, str, str, str]]:
    return [(item["name"], item["kind"], item["node"], item[last]) for item in items]


def _local_models(choice: ServerChoice, stats: Mapping[str, Any]) -> LocalModels | None:
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
