"""Plans, audits and queues of audits, from the files that the user gave to the result."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..comfyui.client import ComfyClient
from ..comfyui.host import ManagedHost
from ..errors import WorkflowError
from ..features.extractor import FeatureExtractor
from ..files.images import ImageFile
from ..observer import Observer
from ..plan.own_nodes import embedded_settings
from ..plan.plan import Plan, make_plan
from ..settings import AuditSettings
from ..store.storage import ImageStorage
from ..workflow.graph import parse_graph, read_json
from ..workflow.node_info import NodeCatalog, bundled_catalog
from ..workflow.ui.convert import convert, is_ui_format
from .audit import Audit, AuditResult
from .batch import Batch, Images, QueuedAudit
from .machine import Machine
from .servers import ServerChoice, connected, started_host


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
