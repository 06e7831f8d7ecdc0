"""Starts an audit in a graph: plans the workflow and expands to what is not stored yet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import GraphBuilder

from ...copyscope_core.errors import HostError
from ...copyscope_core.game.design import Design
from ...copyscope_core.planning.plan import Plan, make_plan
from ...copyscope_core.planning.steps import Step, StepKeys
from ...copyscope_core.settings import AuditSettings
from ...copyscope_core.store.run_store import RunStore
from ...copyscope_core.workflow.graph import Link, parse_graph, to_json
from ..host import comfyui
from .expansion import expand
from .graph_run import GraphRun

BYTES_PER_PIXEL = 3 * 4
UNKNOWN_SIZE = 1024


def start_run(
    graph: dict[str, Any], target: Link, settings: AuditSettings, originals: set[str], hidden: Any
) -> io.NodeOutput:
    """Plan a workflow and expand to the coalitions that are not stored yet.

    Args:
        graph: API-format nodes.
        originals: ids of the nodes that are in the prompt already and may be linked.
        hidden: the enumerator's hidden inputs.

    Raises:
        HostError: this ComfyUI cannot run expanded nodes.
    """
    comfyui.check_expansion()
    display_id = hidden.dynprompt.get_display_node_id(hidden.unique_id)
    plan = make_plan(parse_graph(graph), comfyui.catalog(), settings, target)
    if restless := comfyui.restless_nodes(plan.graph):
        note = f"Nodes that run anew at every prompt, so that images may not repeat: {', '.join(restless)}."
        plan = replace(plan, warnings=(*plan.warnings, note))
    for mask in plan.design.masks:
        plan.rewriter.target(mask)  # the pool then holds every file that any coalition needs
    context = comfyui.run_context(plan.rewriter.pool.values(), display_id)
    closed = plan.design.complete or not plan.noise
    keys = StepKeys(plan.rewriter, context)
    steps = _steps(plan, closed)
    store = RunStore(comfyui.runs_folder() / _run_name(plan))
    missing = _missing(steps, keys, store)
    _refuse_too_large(plan, len(missing))
    store.write_run(
        {"plan": plan.summary(), "workflow": to_json(plan.graph), "settings": settings.model_dump(mode="json")}
    )
    run = GraphRun(plan, store, context, keys, steps, missing, display_id, GraphBuilder.alloc_prefix(), closed=closed)
    nodes, link = expand(run, originals)
    _say_what_is_to_do(run)
    return io.NodeOutput(link, expand=nodes)


def continue_run(run: GraphRun, design: Design | None, present: Collection[str]) -> tuple[dict[str, Any], list[Any]]:
    """The next expansion of a sample: more coalitions, or at its end the canaries.

    Args:
        design: holds the run's own and more; None: the sample is large enough.
        present: ids of all nodes that the prompt has.

    Returns:
        The nodes, and the link to the collected coalitions.
    """
    plan = run.plan if design is None else replace(run.plan, design=design)
    steps, begun = _steps(plan, design is None), run.begun + run.total
    following = GraphRun(
        plan, run.store, run.context, run.keys, steps, _missing(steps, run.keys, run.store, begun > 0), run.display_id,
        run.prefix,
        run.part + 1, begun, design is None, run.summaries,
    )  # fmt: skip
    _refuse_too_large(plan, following.total)
    _say_what_is_to_do(following)
    return expand(following, present)


def _say_what_is_to_do(run: GraphRun) -> None:
    stored = len({run.keys[step] for step in run.steps}) - run.total
    count = len(run.plan.design.masks)
    run.say(f"{count} coalitions of {len(run.plan.players)} players: {run.total} runs to do, {stored} stored")


def _steps(plan: Plan, closed: bool) -> tuple[Step, ...]:
    """Every step of the plan, and at the end of the audit its canaries.

    Args:
        closed: whether this is the end.
    """
    return (*plan.steps(), *(plan.canaries() if closed else ()))


def _missing(steps: tuple[Step, ...], keys: StepKeys, store: RunStore, began: bool = False) -> tuple[Step, ...]:
    """The steps that are not stored; where any is to be run, the canaries are run again after it.

    Args:
        began: whether earlier parts of a sample have run some.
    """
    distinct = {keys[step]: step for step in steps}.values()
    canaries = [step for step in distinct if step.purpose == "canary"]
    missing = [step for step in distinct if step not in canaries and store.read(keys[step]) is None]
    for step in canaries if missing or began else ():
        store.remove(keys[step])
    return (*missing, *(step for step in canaries if store.read(keys[step]) is None))


def _run_name(plan: Plan) -> str:
    """The run folder of a workflow and its choice of players; more seeds and coalitions go into the same folder."""
    settings = plan.settings.model_dump(
        mode="json", exclude={"seeds", "max_coalitions", "distance", "budget", "target_width", "estimator", "groups"}
    )
    text = json.dumps([plan.rewriter.target(plan.full), plan.rewriter.target(0), settings], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _refuse_too_large(plan: Plan, runs: int) -> None:
    """ComfyUI keeps every node's output until the prompt ends: refuse what would not fit into memory.

    Args:
        runs: how many there are to do; what is stored takes no memory.
    """
    pixels = UNKNOWN_SIZE * UNKNOWN_SIZE
    for node in plan.graph.values():
        width, height = node.inputs.get("width"), node.inputs.get("height")
        if isinstance(width, int) and isinstance(height, int) and node.class_type.startswith("Empty"):
            pixels = width * height
            break
    need = runs * plan.batch * pixels * BYTES_PER_PIXEL
    free = comfyui.free_memory_bytes()
    if need > 0.8 * free:
        raise HostError(
            f"{len(plan.coalitions)} coalitions × {plan.seeds} seeds, of which {runs} runs are to do, would keep about "
            f"{need / 2**30:.1f} GiB of images in memory, where {free / 2**30:.1f} GiB are free; lock players, use "
            "fewer seeds, or run copyscope audit, whose memory does not grow."
        )
