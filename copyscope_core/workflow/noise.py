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
from .node_info import PIPES, NodeCatalog

SEED_INPUTS = ("seed", "noise_seed")
SEED_MODULUS = 2**64
PRIMITIVE = re.compile(
    r"primitive|constant|literal|integer|seed|reroute|^(string|text|int|float)(multiline)?$", re.IGNORECASE
)
NOISY_OUTPUTS = ("LATENT", "NOISE", "IMAGE", *PIPES)


@dataclass(frozen=True)
class NoiseInput:
    """A seed input that makes noise, with its seed in the workflow."""

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
        WorkflowError: a seed is computed by other nodes (both are named), or is no number of 64 bits.
    """
    found = []
    constants = Constants(graph)
    for node_id, node in graph.items():
        info = catalog.get(node.class_type)
        if info is not None and not info.has_output(*NOISY_OUTPUTS):
            continue
        if constants.of(node.inputs.get("add_noise")) in ("disable", False):
            continue
        for name in SEED_INPUTS:
            if name not in node.inputs:
                continue
            if info is not None and info.input_type(name) not in ("INT", None):
                continue
            seed = constants.of(node.inputs[name])
            if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
                link = node.inputs[name]
                origin = (
                    f"node {link.node!r} ({graph[link.node].class_type})" if isinstance(link, Link) else f"{seed!r}"
                )
                raise WorkflowError(
                    f"Input {name!r} of node {node_id!r} ({node.class_type}) takes its seed from {origin}, which is no "
                    "fixed number; type a seed of 0 or more into the sampler."
                )
            if seed >= SEED_MODULUS:
                raise WorkflowError(
                    f"Input {name!r} of node {node_id!r} ({node.class_type}) has the seed {_short(seed)}, which no "
                    f"sampler takes; type a seed of at most {SEED_MODULUS - 1} (64 bits) there."
                )
            found.append(NoiseInput(node_id, name, seed))
    return found


def untouched_seeds(graph: Mapping[str, Node], noise: list[NoiseInput]) -> list[str]:
    """Nodes whose seed is not shifted although it may make noise, because it reaches samplers through other nodes."""
    known = {item.node for item in noise}
    constants = Constants(graph)
    return [
        f"{node_id} ({node.class_type})"
        for node_id, node in graph.items()
        if node_id not in known
        and not PRIMITIVE.search(node.class_type)
        and constants.of(node.inputs.get("add_noise")) not in ("disable", False)
        and any(isinstance(node.inputs.get(name), int) for name in SEED_INPUTS)
    ]


def _short(seed: int) -> str:
    """A seed past 64 bits: Python refuses to write thousands of digits."""
    return str(seed) if seed < 10**40 else "of more than 40 digits"


class Constants:
    """Finds the constants of a graph's inputs, also through links to primitive nodes.

    A primitive is a node whose class is named so (Primitive, Constant, Literal, Seed, …) and that has exactly one input
    besides the front end's own. No primitive is followed twice.
    """

    def __init__(self, graph: Mapping[str, Node]) -> None:
        self._graph = graph
        self._known: dict[str, Any] = {}

    def of(self, value: Any) -> Any:
        """A constant, or the constant that a link leads to; None where other nodes compute it."""
        passed: list[str] = []
        while isinstance(value, Link):
            if value.slot != 0:
                value = None
            elif value.node in self._known:
                value = self._known[value.node]
                break
            else:
                passed.append(value.node)
                self._known[value.node] = None  # stays None in a cycle
                value = self._only_input(self._graph[value.node])
        for node_id in passed:
            self._known[node_id] = value
        return value

    @staticmethod
    def _only_input(node: Node) -> Any:
        return _inputs(node)[0] if is_primitive(node) else None


def is_primitive(node: Node) -> bool:
    """Whether a node only gives the one value that it holds, or passes on."""
    return bool(PRIMITIVE.search(node.class_type)) and len(_inputs(node)) == 1


def _inputs(node: Node) -> list[Any]:
    return [item for name, item in node.inputs.items() if name != "control_after_generate" and item is not None]
