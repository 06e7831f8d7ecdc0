"""Plans, audits and queues of audits, from the files that the user gave to the result."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..comfyui.host import ManagedHost
from ..errors import HostError, WorkflowError
from ..evaluation.measure import Works
from ..evidence.publish import ReportOptions
from ..features.extractor import FeatureExtractor, InceptionExtractor
from ..observer import Observer, Quiet
from ..planning.own_nodes import embedded_settings
from ..planning.plan import Plan, make_plan
from ..planning.twin_players import lora_files, with_twins
from ..settings import AuditSettings
from ..store.storage import ImageStorage
from ..twins.twins import Fingerprint
from ..workflow.graph import Graph, parse_graph
from ..workflow.node_info import NodeCatalog, bundled_catalog
from ..workflow.read import read_held_workflow
from ..workflow.ui.convert import convert, differing, is_ui_format
from .audit import Audit, AuditResult
from .batch import Batch, QueuedAudit
from .duration import probe_duration, stored_duration
from .machine import Machine
from .servers import ServerChoice, connected, started_host
from .shared_style import SharedStyle, allowed_style, with_shared_style


@contextlib.asynccontextmanager
async def machines(choice: ServerChoice, host: ManagedHost | None, observer: Observer) -> AsyncIterator[list[Machine]]:
    """The chosen servers, or those of the chosen cluster.

    Raises:
        HostError: one of them cannot be reached, or is too old; none of the cluster's can be started.
    """
    async with contextlib.AsyncExitStack() as stack:
        if choice.ray is None:
            yield [*await stack.enter_async_context(connected(choice, host, observer))]
        else:
            from .ray_fleet import ray_machines

            yield [*await stack.enter_async_context(ray_machines(choice.ray, choice, observer))]


async def read_for(workflow: Path, machine: Machine | None) -> tuple[Graph, NodeCatalog, list[dict[str, str]]]:
    """A workflow as API-format graph, what is known of its node classes, and records of what its conversion left out.

    Raises:
        WorkflowError: the file cannot be read or converted.
        HostError: the server cannot be reached.
    """
    held = read_held_workflow(workflow)
    data = held.data
    info: Mapping[str, Any] | None = None if machine is None else await machine.object_info()
    notes: tuple[str, ...] = ()
    packs: Mapping[str, str] = {}
    if is_ui_format(data):
        if info is None:
            raise WorkflowError(
                f"The workflow {workflow} is in UI format, and only a server can tell how to convert it: give --server "
                "or --comfyui, or export it from ComfyUI with Workflow → Export (API)."
            )
        conversion = convert(data, info)
        data, notes, packs = conversion.graph, conversion.notes, conversion.packs
    catalog = bundled_catalog() if info is None else NodeCatalog(info, live=True, packs=packs)
    graph = parse_graph(data)
    records = [{"code": "conversion", "message": f"In converting the workflow: {note}."} for note in notes]
    if info is not None and is_ui_format(held.other) and (where := differing(graph, held.other, info)):
        message = (
            f"The file holds the workflow in two forms that differ (nodes {', '.join(where)}); the one that made the "
            "image (prompt) is audited, not the one that ComfyUI shows (workflow)."
        )
        records.append({"code": "two_forms", "message": message})
    return graph, catalog, records


async def plan_workflow(
    workflow: Path, settings: AuditSettings, machine: Machine | None, observer: Observer
) -> tuple[Plan, list[dict[str, str]]]:
    """Read, convert and plan a workflow; also what its conversion left out, as records for the report.

    Settings that CopyScope's nodes in the workflow hold count where the command line gives none.

    Raises:
        WorkflowError: the file cannot be read or converted, or cannot be audited.
        PlayerError, TooManyCoalitionsError: see ``make_plan``.
        HostError: the server cannot be reached.
    """
    graph, catalog, records = await read_for(workflow, machine)
    plan = make_plan(graph, catalog, settings.over(embedded_settings(graph)))
    files = sorted(set(lora_files(plan).values()))
    known: dict[str, Fingerprint] = {}
    if machine is not None and files:
        observer.stage("Looking for copies of LoRAs", len(files))
        for done, file in enumerate(files, start=1):
            known |= await machine.fingerprints([file])
            observer.step(done)
    plan = with_twins(plan, known, lambda chosen: make_plan(graph, catalog, chosen))
    return plan, records


def run_plan(
    workflow: Path,
    settings: AuditSettings,
    choice: ServerChoice,
    observer: Observer | None = None,
    probe: bool = False,
) -> Plan:
    """Plan the audit of a workflow file; what its conversion left out is among the plan's warnings.

    Args:
        choice: none given: the bundled list of node classes is used.
        probe: run one coalition to tell how long the audit may take; else what is stored tells, where it does.

    Raises:
        CopyScopeError: see :func:`plan_workflow`; a probe without a server.
    """
    observer = observer or Quiet()
    if probe and (not choice.given or choice.ray is not None):
        raise HostError("--probe runs one combination on a ComfyUI: give --server or --comfyui (and no --ray).")
    shared_by = max(1, len(choice.servers))

    async def work(host: ManagedHost | None) -> Plan:
        if not choice.given:
            plan, notes = await plan_workflow(workflow, settings, None, observer)
        else:
            async with machines(choice, host, observer) as servers:
                plan, notes = await plan_workflow(workflow, settings, servers[0], observer)
                if probe:
                    plan = replace(plan, duration=await probe_duration(plan, servers[0], shared_by, observer))
        plan = plan if probe else replace(plan, duration=stored_duration(plan, shared_by))
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
    style: SharedStyle | None = None,
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
        style: a checkpoint of the first server, where the style of every image is seen, those of the works included;
            None: nothing is sent.

    Raises:
        CopyScopeError: see :func:`allowed_style`, :func:`with_shared_style`, :meth:`Audit.run` and
            :func:`plan_workflow`.
    """
    observer = observer or Quiet()
    checkpoint = allowed_style(style or SharedStyle(), settings.baseline_checkpoint)

    async def work(host: ManagedHost | None) -> AuditResult:
        async with machines(choice, host, observer) as servers:
            plan, notes = await plan_workflow(workflow, settings, servers[0], observer)
            measured_by = extractor
            if checkpoint is not None:
                content = extractor or InceptionExtractor()
                measured_by = await with_shared_style(servers[0], checkpoint, content)
            audit = Audit(
                plan, servers, out, works, measured_by, observer, options or ReportOptions(), notes, storage=storage
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
                plan, notes = await plan_workflow(item.workflow, item.settings, servers[0], observer)
                return Audit(plan, servers, folder, works, extractor, observer, options, notes)

            batch = Batch(queue, out, prepare, made_with, observer)
            await batch.run()
            return batch

    with started_host(choice, out, observer) as host:
        return asyncio.run(work(host))
