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
from ...copyscope_core.planning.plan import Plan, make_plan
from ...copyscope_core.planning.steps import Step, StepKeys
from ...copyscope_core.planning.twin_players import lora_files, with_twins
from ...copyscope_core.settings import AuditSettings
from ...copyscope_core.store.run_store import RunStore
from ...copyscope_core.workflow.graph import Graph, Link, parse_graph, to_json
from ..host import comfyui
from .expansion import expand
from .graph_run import GraphRun

BYTES_PER_PIXEL = 3 * 4
UNKNOWN_SIZE = 1024
LARGEST_PART = 0.8
"""Of the memory that is free."""


def start_run(
    graph: dict[str, Any],
    target: Link,
    settings: AuditSettings,
    originals: set[str],
    hidden: Any,
    whole: Graph | None = None,
) -> io.NodeOutput:
    """Plan a workflow and expand to the coalitions that are not stored yet.

    Args:
        graph: API-format nodes.
        originals: ids of the nodes that are in the prompt already and may be linked.
        hidden: the enumerator's hidden inputs.
        whole: the prompt that the nodes are a part of; None: they are no part.

    Raises:
        HostError: this ComfyUI cannot run expanded nodes.
    """
    comfyui.check_expansion()
    display_id = hidden.dynprompt.get_display_node_id(hidden.unique_id)
    plan = make_plan(parse_graph(graph), comfyui.catalog(), settings, target, whole)
    known = {file: comfyui.fingerprint(file, display_id) for file in sorted(set(lora_files(plan).values()))}
    plan = with_twins(
        plan, known, lambda chosen: make_plan(parse_graph(graph), comfyui.catalog(), chosen, target, whole)
    )
    if restless := comfyui.restless_nodes(plan.graph):
        note = f"Nodes that run anew at every prompt, so that images may not repeat: {', '.join(restless)}."
        plan = replace(plan, warnings=(*plan.warnings, note))
    for mask in plan.design.masks:
        plan.rewriter.target(mask)  # the pool then holds every file that any coalition needs
    context = comfyui.run_context(plan.rewriter.pool.values(), plan.model_names, display_id)
    plan = plan.begun()
    closed = not plan.noise or (plan.design.complete and plan.race is None)
    keys = StepKeys(plan.rewriter, context, plan.frames)
    steps = _steps(plan, closed)
    store = RunStore(comfyui.runs_folder() / _run_name(plan))
    missing = _missing(steps, keys, store)
    _refuse_too_large(plan, len(missing))
    from ...copyscope_core.evidence.custody import Custody  # when used: ComfyUI's start stays short

    custody = Custody(store.folder)
    store.write_run(
        {"plan": plan.summary(), "workflow": to_json(plan.graph), "settings": settings.model_dump(mode="json")}
    )
    for step in steps:
        if step not in missing:
            custody.images_reused(key=keys[step], members=list(plan.members(step.mask)), offset=step.offset)
    run = GraphRun(
        plan, store, context, keys, steps, missing, display_id, GraphBuilder.alloc_prefix(), custody, closed=closed
    )
    nodes, link = expand(run, originals)
    _say_what_is_to_do(run)
    return io.NodeOutput(link, expand=nodes)


def continue_run(
    run: GraphRun, plan: Plan, more: bool, present: Collection[str], growing: bool = False
) -> tuple[dict[str, Any], list[Any]]:
    """The next expansion of an audit that grows: more coalitions or seeds, or at its end the canaries.

    Args:
        plan: of what is to be there then.
        more: whether that is not the end.
        present: ids of all nodes that the prompt has.
        growing: whether it serves the next look of a race, so that who stops the audit leaves it out.

    Returns:
        The nodes, and the link to the collected coalitions.
    """
    steps, begun = _steps(plan, not more), run.begun + run.total
    # Nodes of a part that was left out have no outputs and are not linked.
    prefix = run.prefix if run.complete else GraphBuilder.alloc_prefix()
    present = present if run.complete else {node for node in present if not node.startswith(run.prefix)}
    summaries = run.summaries if plan.race is None else {}  # seeds that are added make other summaries
    following = GraphRun(
        plan, run.store, run.context, run.keys, steps, _missing(steps, run.keys, run.store, begun > 0), run.display_id,
        prefix, run.custody,
        run.part + 1, begun, not more, growing, summaries, run.asked,
    )  # fmt: skip
    _refuse_too_large(plan, following.total)
    _say_what_is_to_do(following)
    return expand(following, present)


def _say_what_is_to_do(run: GraphRun) -> None:
    stored = len({run.keys[step] for step in run.steps}) - run.total
    count = len(run.plan.design.masks)
    run.say(f"{count} coalitions of {len(run.plan.players)} players: {run.total} runs to do, {stored} stored")


def _steps(plan: Plan, closed: bool) -> tuple[Step, ...]:
    """Every step of the plan, and at the end of the audit its trials and canaries.

    Args:
        closed: whether this is the end.
    """
    return (*plan.steps(), *((*plan.trials(), *plan.canaries()) if closed else ()))


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
    left_out = {
        "seeds",
        "max_coalitions",
        "distance",
        "budget",
        "target_width",
        "estimator",
        "groups",
        "frames",
        "artists",
        "until_sure",
        "error",
        "max_runs",
    }
    settings = plan.settings.model_dump(mode="json", exclude=left_out)
    targets = plan.rewriter.target(plan.full), plan.rewriter.target(0)
    text = json.dumps([*targets, settings, plan.frames], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _refuse_too_large(plan: Plan, runs: int) -> None:
    """Refuse images that would not fit into memory: those of one run at least, of all where the cache keeps them.

    Args:
        runs: how many there are to do; what is stored takes no memory.
    """
    free = comfyui.free_memory_bytes()
    one, limit = plan.made * _pixels(plan) * BYTES_PER_PIXEL, LARGEST_PART * free
    if runs and one > limit:
        raise HostError(
            f"The images of one run take about {one / 2**30:.1f} GiB, where {free / 2**30:.1f} GiB of memory are free; "
            "use a smaller batch, a shorter clip or smaller images."
        )
    mode = comfyui.cache_mode()
    if mode in ("classic", "lru") and runs * one > limit:
        raise HostError(
            f"{len(plan.coalitions)} coalitions × {plan.seeds} seeds, of which {runs} runs are to do, would keep about "
            f"{runs * one / 2**30:.1f} GiB of images in memory, where {free / 2**30:.1f} GiB are free, since ComfyUI's "
            f"{mode} cache keeps all of them until the prompt ends; lock players, use fewer seeds, start ComfyUI with "
            "another cache, or run copyscope audit, whose memory does not grow."
        )


def _pixels(plan: Plan) -> int:
    """Pixels of an image: the most that a node which makes latents is given."""
    catalog = comfyui.catalog()
    sizes = [
        width * height
        for node in plan.graph.values()
        if (info := catalog.get(node.class_type)) is not None and info.has_output("LATENT")
        if type(width := node.inputs.get("width")) is int and type(height := node.inputs.get("height")) is int
    ]
    return max(sizes, default=UNKNOWN_SIZE * UNKNOWN_SIZE)
