"""CopyScope Coalition Enumerator: the coalitions of any workflow that makes images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import GraphBuilder

from ..copyscope_core.canaries import CANARY, choose_canaries, fresh_nonce
from ..copyscope_core.design import Design
from ..copyscope_core.errors import HostError, WorkflowError
from ..copyscope_core.graph import Link, as_link, parse_graph, to_json
from ..copyscope_core.keys import RunContext
from ..copyscope_core.plan import Plan, make_plan
from ..copyscope_core.settings import MAX_COALITIONS, AuditSettings
from ..copyscope_core.store import RunStore
from . import comfy_host
from .expansion import expand
from .graph_run import RERUN, GraphRun, Step
from .types import Coalitions, PlayerChoice, SettingsChoice

BYTES_PER_PIXEL = 3 * 4
UNKNOWN_SIZE = 1024


class CoalitionEnumerator(io.ComfyNode):
    """Takes the link to an image, walks upstream, and expands to all coalitions."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CopyScopeCoalitionEnumerator",
            display_name="CopyScope Coalition Enumerator",
            category="CopyScope",
            description=(
                "Wire the image output of any workflow in. Finds the checkpoint, LoRAs, VAE, ControlNets and prompt "
                "upstream and runs the workflow with every combination of them present and absent."
            ),
            inputs=[
                io.Image.Input(
                    "image",
                    lazy=True,
                    extra_dict={"rawLink": True},
                    tooltip="The image whose workflow is audited.",
                ),
                io.Int.Input("seeds", default=8, min=1, max=4096,
                             tooltip="Seeds per coalition: the workflow's own and the ones after it."),
                io.Int.Input("max_coalitions", default=MAX_COALITIONS, min=2, max=2**16,
                             tooltip="Larger games are refused before anything is sampled."),
                PlayerChoice.Input("players", optional=True,
                                   tooltip="From CopyScope Players: baselines, key prompts, locks."),
                SettingsChoice.Input("settings", optional=True,
                                     tooltip="From CopyScope Settings: a sample of the combinations, groups."),
            ],
            outputs=[Coalitions.Output("coalitions", tooltip="Every coalition's images, stored.")],
            hidden=[io.Hidden.dynprompt, io.Hidden.unique_id],
            enable_expand=True,
        )  # fmt: skip

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> float:
        return float("nan")  # always look at the run folder: what is stored there may have been removed

    @classmethod
    def check_lazy_status(cls, **inputs: Any) -> list[str]:
        return []

    @classmethod
    def execute(
        cls,
        image: Any,
        seeds: int,
        max_coalitions: int,
        players: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        target = as_link(image)
        if target is None:
            raise WorkflowError("Wire the image output of a workflow into CopyScope Coalition Enumerator.")
        dynprompt = cls.hidden.dynprompt
        graph = {node_id: _plain(dynprompt.get_node(node_id)) for node_id in _ancestry(dynprompt, target.node)}
        chosen = {**(players or {}), **(settings or {}), "seeds": seeds, "max_coalitions": max_coalitions}
        return start_run(graph, target, AuditSettings(**chosen), set(graph), cls.hidden)


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
    comfy_host.check_expansion()
    display_id = hidden.dynprompt.get_display_node_id(hidden.unique_id)
    plan = make_plan(parse_graph(graph), comfy_host.catalog(), settings, target)
    if restless := comfy_host.restless_nodes(plan.graph):
        note = f"Nodes that run anew at every prompt, so that images may not repeat: {', '.join(restless)}."
        plan = replace(plan, warnings=(*plan.warnings, note))
    for mask in plan.design.masks:
        plan.rewriter.target(mask)  # the pool then holds every file that any coalition needs
    context = comfy_host.run_context(plan.rewriter.pool.values(), display_id)
    closed = plan.design.complete or not plan.noise
    steps = _steps(plan, context, closed)
    store = RunStore(comfy_host.runs_folder() / _run_name(plan))
    missing = _missing(steps, store)
    _refuse_too_large(plan, len(missing))
    store.write_run(
        {"plan": plan.summary(), "workflow": to_json(plan.graph), "settings": settings.model_dump(mode="json")}
    )
    run = GraphRun(plan, store, context, steps, missing, display_id, GraphBuilder.alloc_prefix(), closed=closed)
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
    steps, begun = _steps(plan, run.context, design is None), run.begun + run.total
    following = GraphRun(
        plan, run.store, run.context, steps, _missing(steps, run.store, begun > 0), run.display_id, run.prefix,
        run.part + 1, begun, design is None, run.seen,
    )  # fmt: skip
    _refuse_too_large(plan, following.total)
    _say_what_is_to_do(following)
    return expand(following, present)


def _say_what_is_to_do(run: GraphRun) -> None:
    stored = len({step.key for step in run.steps}) - run.total
    count = len(run.plan.design.masks)
    run.say(f"{count} coalitions of {len(run.plan.players)} players: {run.total} runs to do, {stored} stored")


def _steps(plan: Plan, context: RunContext, closed: bool) -> tuple[Step, ...]:
    """Every coalition and seed in order; the full coalition's first seed is run twice, canaries again at the end.

    Args:
        closed: whether this is the end.
    """
    steps = []
    wanted: list[tuple[int, int, str | None]] = [(mask, offset, None) for mask, offset in plan.steps()]
    if plan.noise:
        wanted.insert(1, (plan.full, 0, RERUN))
    if plan.noise and closed:
        wanted += [(mask, 0, CANARY) for mask in choose_canaries(plan.design.masks, plan.full)]
    for mask, offset, kind in wanted:
        key = context.key(plan.rewriter.target(mask, offset, kind), plan.rewriter.graph(mask, offset, kind)[0])
        nonce = fresh_nonce() if kind == CANARY else kind
        steps.append(Step(mask, offset, key, plan.rewriter.target(mask, offset, nonce), kind, nonce))
    return tuple(steps)


def _missing(steps: tuple[Step, ...], store: RunStore, began: bool = False) -> tuple[Step, ...]:
    """The steps that are not stored; where any is to be run, the canaries are run again after it.

    Args:
        began: whether earlier parts of a sample have run some.
    """
    distinct = {step.key: step for step in steps}.values()
    missing = [step for step in distinct if step.kind != CANARY and store.read(step.key) is None]
    canaries = [step for step in distinct if step.kind == CANARY]
    for step in canaries if missing or began else ():
        store.remove(step.key)
    return (*missing, *(step for step in canaries if store.read(step.key) is None))


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
    free = comfy_host.free_memory_bytes()
    if need > 0.8 * free:
        raise HostError(
            f"{len(plan.coalitions)} coalitions × {plan.seeds} seeds, of which {runs} runs are to do, would keep about "
            f"{need / 2**30:.1f} GiB of images in memory, where {free / 2**30:.1f} GiB are free; lock players, use "
            "fewer seeds, or run copyscope audit, whose memory does not grow."
        )


def _ancestry(dynprompt: Any, root: str) -> list[str]:
    """The ids upstream of a node, itself included; iterative."""
    seen: dict[str, None] = {}
    stack = [root]
    while stack:
        node_id = stack.pop()
        if node_id in seen:
            continue
        seen[node_id] = None
        for value in dynprompt.get_node(node_id)["inputs"].values():
            if (link := as_link(value)) is not None:
                stack.append(link.node)
    return list(seen)


def _plain(node: dict[str, Any]) -> dict[str, Any]:
    return {"class_type": node["class_type"], "inputs": node["inputs"], "_meta": node.get("_meta", {})}
