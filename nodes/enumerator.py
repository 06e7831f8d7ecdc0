"""CopyScope Coalition Enumerator: the coalitions of any workflow that makes images."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..copyscope_core.errors import WorkflowError
from ..copyscope_core.settings import MAX_COALITIONS, AuditSettings
from ..copyscope_core.workflow.graph import Node, as_link
from .run.start import start_run
from .types import Coalitions, PlayerChoice, SettingsChoice


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
        whole = {node_id: _node(dynprompt.get_node(node_id)) for node_id in dynprompt.all_node_ids()}
        return start_run(graph, target, AuditSettings.of(chosen), set(graph), cls.hidden, whole)


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


def _node(node: dict[str, Any]) -> Node:
    return Node(node["class_type"], {name: as_link(value) or value for name, value in node["inputs"].items()})


def _plain(node: dict[str, Any]) -> dict[str, Any]:
    return {"class_type": node["class_type"], "inputs": node["inputs"], "_meta": node.get("_meta", {})}
