"""Common random numbers: the active noise inputs of a workflow and their seeds.

Every coalition is sampled with the same seeds: offset k = 0, 1, 2 … is added, modulo 2⁶⁴, to every active noise input.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import WorkflowError
from .graph import Link, Node
from .node_info import NodeCatalog

SEED_INPUTS = ("seed", "noise_seed")
SEED_MODULUS = 2**64
PRIMITIVE = re.compile(
    r"primitive|constant|literal|integer|seed|reroute|^(string|text|int|float)(multiline)?$", re.IGNORECASE
)
NOISY_OUTPUTS = ("LATENT", "NOISE", "IMAGE")


@dataclass(frozen=True)
class NoiseInput:
    """A seed input that is in use, with the seed that the workflow gives it."""

    node: str
    input: str
    seed: int

    def shifted(self, offset: int) -> int:
        """The seed at offset ``offset``."""
        return (self.seed + offset) % SEED_MODULUS


def noise_inputs(graph: Mapping[str, Node], catalog: NodeCatalog) -> list[NoiseInput]:
    """The active noise inputs of a graph.

    A seed counts where its node makes latents, noise or images, unless its ``add_noise`` is disabled. A linked seed
    is followed to its constant.

    Raises:
        WorkflowError: a seed is computed by other nodes; both nodes are named.
    """
    found = []
    for node_id, node in graph.items():
        info = catalog.get(node.class_type)
        if info is not None and not info.has_output(*NOISY_OUTPUTS):
            continue
        if constant(graph, node.inputs.get("add_noise")) in ("disable", False):
            continue
        for name in SEED_INPUTS:
            if name not in node.inputs:
                continue
            if info is not None and info.input_type(name) not in ("INT", None):
                continue
            seed = constant(graph, node.inputs[name])
            if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
                link = node.inputs[name]
                origin = (
                    f"node {link.node!r} ({graph[link.node].class_type})" if isinstance(link, Link) else f"{seed!r}"
                )
                raise WorkflowError(
                    f"Input {name!r} of node {node_id!r} ({node.class_type}) takes its seed from {origin}, which is no "
                    "fixed number; type a seed of 0 or more into the sampler."
                )
            found.append(NoiseInput(node_id, name, seed % SEED_MODULUS))
    return found


def untouched_seeds(graph: Mapping[str, Node], noise: list[NoiseInput]) -> list[str]:
    """Nodes that hold a seed which is not shifted although it may make noise: it reaches samplers through a pipe."""
    known = {item.node for item in noise}
    return [
        f"{node_id} ({node.class_type})"
        for node_id, node in graph.items()
        if node_id not in known
        and not PRIMITIVE.search(node.class_type)
        and constant(graph, node.inputs.get("add_noise")) not in ("disable", False)
        and any(isinstance(node.inputs.get(name), int) for name in SEED_INPUTS)
    ]


def constant(graph: Mapping[str, Node], value: Any) -> Any:
    """A constant, or the constant that a link resolves to through primitive nodes; None where it is computed.

    A primitive is a node that says so by its name (Primitive, Constant, Literal, Seed, …) and has exactly one input
    that is no front-end setting.
    """
    for _ in range(len(graph) + 1):
        if not isinstance(value, Link):
            return value
        if not PRIMITIVE.search(graph[value.node].class_type):
            return None
        inputs = {
            name: item
            for name, item in graph[value.node].inputs.items()
            if name != "control_after_generate" and item is not None
        }
        if len(inputs) != 1 or value.slot != 0:
            return None
        value = next(iter(inputs.values()))
    return None
