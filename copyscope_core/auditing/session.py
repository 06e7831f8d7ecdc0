"""Plans, audits and queues of audits, from the files that the user gave to the result."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..comfyui.host import ManagedHost
from ..errors import WorkflowError
from ..evaluation.measure import Works
from ..evidence.publish import ReportOptions
from ..features.extractor import FeatureExtractor
from ..observer import Observer, Quiet
from ..planning.own_nodes import embedded_settings
from ..planning.plan import Plan, make_plan
from ..settings import AuditSettings
from ..store.storage import ImageStorage
from ..workflow.graph import parse_graph
from ..workflow.node_info import NodeCatalog, bundled_catalog
from ..workflow.read import read_workflow
from ..workflow.ui.convert import convert, is_ui_format
from .audit import Audit, AuditResult
from .batch import Batch, QueuedAudit
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
    workflow: Path, settings: AuditSettings, machine: Machine | None
) -> tuple[Plan, list[dict[str, str]]]:
    """Read, convert and plan a workflow; also what its conversion left out, as records for the report.

    Settings that CopyScope's nodes in the workflow hold count where the command line gives none.

    Raises:
        WorkflowError: the file cannot be read or converted, or cannot be audited.
        PlayerError, TooManyCoalitionsError: see ``make_plan``.
        HostError: the server cannot be reached.
    """
    data = read_workflow(workflow)
    info: Mapping[str, Any] | None = None if machine is None else await machine.object_info()
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


def run_plan(workflow: Path, settings: AuditSettings, choice: ServerChoice, observer: Observer | None = None) -> Plan:
    """Plan the audit of a workflow file; what its conversion left out is among the plan's warnings.

    Args:
        choice: none given: the bundled list of node classes is used.

    Raises:
        CopyScopeError: see :func:`plan_workflow`.
    """
    observer = observer or Quiet()

    async def work(host: ManagedHost | None) -> Plan:
        if not choice.given:
            plan, notes = await plan_workflow(workflow, settings, None)
        else:
            async with machines(choice, host, observer) as servers:
                plan, notes = await plan_workflow(workflow, settings, servers[0])
        return replace(plan, warnings=(*plan.warnings, *(note["message"] for note in notes)))

    with started_host(choice, None, observer) as host:
        return asyncio.run(work(host))


def run_audit(
    workflow: Path,
    works: Works,
    out: Path,
    settings: AuditSettings,
    choice: ServerChoice,
    *,
    extractor: FeatureExtractor | None = None,
    options: ReportOptions | None = None,
    storage: ImageStorage | None = None,
    observer: Observer | None = None,
) -> AuditResult:
    """Audit a workflow file: what ``copyscope audit`` does.

    Args:
        workflow: in API or UI format.
        works: what its images are compared with.
        out: the run folder.
        choice: the ComfyUI that runs it.
        extractor: of features; None: the bundled Inception on the CPU.
        options: what the report shows.
        storage: where images go instead of the run folder.

    Raises:
        CopyScopeError: see :meth:`Audit.run` and :func:`plan_workflow`.
    """
    observer = observer or Quiet()

    async def work(host: ManagedHost | None) -> AuditResult:
        async with machines(choice, host, observer) as servers:
            plan, notes = await plan_workflow(workflow, settings, servers[0])
            audit = Audit(
                plan, servers, out, works, extractor, observer, options or ReportOptions(), notes, storage=storage
            )
            return await audit.run()

    with started_host(choice, out, observer) as host:
        return asyncio.run(work(host))


def run_batch(
    queue: list[QueuedAudit],
    out: Path,
    choice: ServerChoice,
    *,
    extractor: FeatureExtractor,
    options: ReportOptions | None = None,
    observer: Observer | None = None,
) -> Batch:
    """Audit a queue: what ``copyscope batch`` does. Raises CopyScopeError."""
    observer, options = observer or Quiet(), options or ReportOptions()
    made_with = {"features": extractor.id, **asdict(options)}

    async def work(host: ManagedHost | None) -> Batch:
        async with machines(choice, host, observer) as servers:

            async def prepare(item: QueuedAudit, works: Works, folder: Path) -> Audit:
                plan, notes = await plan_workflow(item.workflow, item.settings, servers[0])
                return Audit(plan, servers, folder, works, extractor, observer, options, notes)

            batch = Batch(queue, out, prepare, made_with, observer)
            await batch.run()
            return batch

    with started_host(choice, out, observer) as host:
        return asyncio.run(work(host))
