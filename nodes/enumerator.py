"""CopyScope Coalition Enumerator: the coalitions of any workflow that makes images."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import GraphBuilder

from ..copyscope_core.errors import HostError, WorkflowError
from ..copyscope_core.graph import Link, as_link, parse_graph, to_json
from ..copyscope_core.keys import RunContext
from ..copyscope_core.plan import Plan, make_plan
from ..copyscope_core.settings import MAX_COALITIONS, AuditSettings
from ..copyscope_core.store import RunStore
from . import comfy_host
from .expansion import expand
from .graph_run import RERUN, GraphRun, Step
from .types import Coalitions, PlayerChoice

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
        cls, image: Any, seeds: int, max_coalitions: int, players: dict[str, Any] | None = None
    ) -> io.NodeOutput:
        target = as_link(image)
        if target is None:
            raise WorkflowError("Wire the image output of a workflow into CopyScope Coalition Enumerator.")
        dynprompt = cls.hidden.dynprompt
        graph = {node_id: _plain(dynprompt.get_node(node_id)) for node_id in _ancestry(dynprompt, target.node)}
        settings = AuditSettings(**{**(players or {}), "seeds": seeds, "max_coalitions": max_coalitions})
        return start_run(graph, target, settings, set(graph), cls.hidden)


def start_run(
    graph: dict[str, Any], target: Link, settings: AuditSettings, originals: set[str], hidden: Any
) -> io.NodeOutput:
    """Plan a workflow and expand to the coalitions that are not stored yet.

    Args:
        graph: API-format nodes.
        originals: ids of the nodes that are in the prompt already and may be linked.
        hidden: the enumerator's hidden inputs.
    """
    display_id = hidden.dynprompt.get_display_node_id(hidden.unique_id)
    plan = make_plan(parse_graph(graph), comfy_host.catalog(), settings, target)
    if restless := comfy_host.restless_nodes(plan.graph):
        note = f"Nodes that run anew at every prompt, so that images may not repeat: {', '.join(restless)}."
        plan = replace(plan, warnings=(*plan.warnings, note))
    for mask in range(plan.full + 1):
        plan.rewriter.target(mask)  # the pool then holds what any coalition needs
    context = comfy_host.run_context(plan.rewriter.pool.values(), display_id)
    steps = _steps(plan, context)
    store = RunStore(comfy_host.runs_folder() / _run_name(plan))
    missing = tuple(step for step in {step.key: step for step in steps}.values() if store.read(step.key) is None)
    _refuse_too_large(plan, len(missing))
    store.write_run(
        {"plan": plan.summary(), "workflow": to_json(plan.graph), "settings": settings.model_dump(mode="json")}
    )
    run = GraphRun(plan, store, context, steps, missing, display_id)
    nodes, link = expand(run, originals, GraphBuilder.alloc_prefix())
    stored = len({step.key for step in steps}) - run.total
    run.say(
        f"{1 << len(plan.players)} coalitions of {len(plan.players)} players: {run.total} runs to do, {stored} stored"
    )
    return io.NodeOutput(link, expand=nodes)


def _steps(plan: Plan, context: RunContext) -> tuple[Step, ...]:
    """Every coalition and seed in order; the full coalition's first seed is run twice."""
    steps = []
    wanted = [(mask, offset, False) for mask, offset in plan.steps()]
    if plan.noise:
        wanted.insert(1, (plan.full, 0, True))
    for mask, offset, again in wanted:
        nonce = RERUN if again else None
        target = plan.rewriter.target(mask, offset, nonce)
        key = context.key(target, plan.rewriter.graph(mask, offset, nonce)[0])
        steps.append(Step(mask, offset, key, target, again))
    return tuple(steps)


def _run_name(plan: Plan) -> str:
    """The run folder of a workflow and its choice of players; more seeds go into the same folder."""
    settings = plan.settings.model_dump(mode="json", exclude={"seeds", "max_coalitions"})
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
