"""The graph that an enumerator expands to: every coalition that is not stored yet, one after another."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...copyscope_core.workflow.graph import Link, Node
from ...copyscope_core.workflow.node_info import NodeCatalog, type_matches
from ..host import comfyui
from .graph_run import GraphRun

IMAGES, COLLECT, TURN = "CopyScopeCoalitionImages", "CopyScopeCollectCoalitions", "CopyScopeTurn"
SAMPLER_INPUTS, SAMPLER_OUTPUTS = ("NOISE", "GUIDER", "MODEL"), ("LATENT", "IMAGE")


def expand(run: GraphRun, present: Collection[str]) -> tuple[dict[str, Any], list[Any]]:
    """The graph that makes every coalition that is not stored yet.

    Nodes that are the same as in the user's graph, or that an earlier part of a sample has made, are linked, not
    cloned; of the rest there is one for each distinct class and inputs. A coalition's new samplers wait for its turn;
    where it has none, its last node does. The node that collects waits for all without being linked to them, for what
    is linked to a step that was left out is never run.

    Args:
        present: ids of the nodes that are in the prompt already and may be linked.

    Returns:
        The nodes, and the link to the collected coalitions.
    """
    rewriter = run.plan.rewriter
    catalog = comfyui.catalog()
    prefix = run.prefix
    made: dict[str, Any] = {}

    def node_id(digest: str) -> str:
        own = rewriter.node_id(digest)
        return own if rewriter.is_original(digest) and own in present else f"{prefix}{digest[:16]}"

    def wait(node: str, name: str, index: int) -> None:
        inputs, turn = made[node]["inputs"], f"{node}.turn"
        made[turn] = {"class_type": TURN, "inputs": {"token": run.token, "step": index, "value": inputs[name]}}
        inputs[name] = [turn, 0]

    for index, step in enumerate(run.missing):
        target = run.target(step)
        last = node_id(target.node)
        waiting = last in made or last in present
        stack = [target.node]
        while stack:
            digest = stack.pop()
            if node_id(digest) in made or node_id(digest) in present:
                continue
            node = rewriter.pool[digest]
            inputs = {
                name: [node_id(value.node), value.slot] if isinstance(value, Link) else value
                for name, value in node.inputs.items()
            }
            made[node_id(digest)] = {"class_type": node.class_type, "inputs": inputs}
            if (name := waiting_input(node, rewriter.seed_input(digest), catalog)) is not None:
                wait(node_id(digest), name, index)
                waiting = True
            stack.extend(link.node for _, link in node.links())
        if not waiting and (link := next(rewriter.pool[target.node].links(), None)) is not None:
            wait(last, link[0], index)
        sink = f"{prefix}images.{run.begun + index}"
        made[sink] = {
            "class_type": IMAGES,
            "inputs": {
                "images": [last, target.slot],
                "token": run.token,
                "step": index,
                "key": run.keys[step],
            },
        }
    made[f"{prefix}{run.part}.collect"] = {"class_type": COLLECT, "inputs": {"token": run.token}}
    return made, [f"{prefix}{run.part}.collect", 0]


def waiting_input(node: Node, seed: str | None, catalog: NodeCatalog) -> str | None:
    """The input at which a node waits for its coalition's turn; None where the node does not sample.

    Several coalitions share a noise node, so a sampler that is given its noise has to wait itself. So does a second
    stage whose first stage is shared.

    Args:
        seed: the node's active seed, if it has one.
    """
    if seed in node.inputs:
        return seed
    info = catalog.get(node.class_type)
    if info is None or not info.has_output(*SAMPLER_OUTPUTS):
        return None
    types = {name: info.input_type(name) or "" for name, _ in node.links()}
    return next((name for kind in SAMPLER_INPUTS for name in types if type_matches(types[name], kind)), None)
