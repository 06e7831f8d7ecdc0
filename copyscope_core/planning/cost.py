"""The cost of measuring a game: its coalitions, images and sampler runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import WorkflowError
from ..game.choose import choose_design, exact_count, smallest_sample
from ..game.design import Design
from ..players.rewrite import Rewriter
from ..settings import AuditSettings
from ..workflow.graph import Graph, Node
from ..workflow.node_info import NodeCatalog
from ..workflow.noise import Constants

COUNTED = 4096
"""Above this number of coalitions, distinct sampler runs are bounded from above instead of counted."""

COUNTED_NODES = 500_000
"""The same holds above this number of different nodes in the graphs of all coalitions."""

MOST_IMAGES = 1 << 31
"""Most images per prompt; a workflow whose batch sizes multiply to more is refused."""


@dataclass(frozen=True)
class Cost:
    """What one way of measuring the game would run.

    Attributes:
        mode: ``exact``, ``grouped`` (the Owen value) or ``sampled``.
        coalitions: how many, at most.
        images: how many, over all coalitions and seeds.
        sampler_runs: how many distinct sampler executions, or an upper bound.
        chosen: whether the settings ask for this mode.
    """

    mode: str
    coalitions: int
    images: int
    sampler_runs: int
    chosen: bool


@dataclass(frozen=True)
class Duration:
    """How long an audit may take, without the measuring of its images.

    Attributes:
        seconds: in all.
        prompts: how many are sent, at most.
        each: seconds of one prompt.
        source: ``stored``: such prompts of a run folder; ``probe``: some that were run to find out.
        measured: how many prompts that were.
        where: the run folder, or the server.
    """

    seconds: float
    prompts: int
    each: float
    source: Literal["stored", "probe"]
    measured: int
    where: str


def costs_of_modes(
    rewriter: Rewriter,
    samplers: Sequence[str],
    groups: Sequence[Sequence[int]],
    design: Design,
    settings: AuditSettings,
    seeds: int,
    batch: int,
) -> tuple[Cost, ...]:
    """What each way of measuring the game would run: exact, with the groups, and sampled.

    Args:
        samplers: ids of the sampling nodes.
        groups: for each group the indices of its players; empty if no players are grouped.
        design: the design that the settings ask for.
    """

    def runs(masks: Sequence[int], more: int) -> int:
        known = len(masks) * len(samplers)
        if rewriter.most_nodes(len(masks)) <= COUNTED_NODES:
            known = sum(len(rewriter.variants(node_id, masks)) for node_id in samplers)
        return (known + more * len(samplers)) * seeds

    def cost(mode: str, count: int, sample: Design, chosen: bool) -> Cost:
        masks = sample.masks
        return Cost(mode, count, count * seeds * batch, runs(masks, count - len(masks)), chosen)

    result = []
    smallest = smallest_sample(design.n, groups, settings.estimator)
    for mode, parts in [("exact", ()), *([("grouped", groups)] if groups else [])]:
        count = exact_count(design.n, parts)
        whole = choose_design(design.n, parts) if count <= COUNTED else smallest
        result.append(cost(mode, count, whole, design.complete and design.groups == tuple(parts)))
    if not design.complete:
        result.append(cost("sampled", settings.budget or 0, design, True))
    elif len(smallest.masks) < result[-1].coalitions:
        result.append(cost("sampled", len(smallest.masks), smallest, False))
    return tuple(result)


def is_sampler(node: Node, catalog: NodeCatalog) -> bool:
    """Whether a node makes latents or images with a model."""
    info = catalog.get(node.class_type)
    return info is not None and info.samples


def batch_size(graph: Graph, catalog: NodeCatalog) -> int:
    """Images per prompt: the product of the workflow's own batch sizes.

    Raises:
        WorkflowError: more than ``MOST_IMAGES``.
    """
    batch = 1
    constants = Constants(graph)
    for node_id, node in graph.items():
        info = catalog.get(node.class_type)
        if info is None or not info.has_output("LATENT"):
            continue
        for name in ("batch_size", "amount"):
            value = constants.of(node.inputs.get(name))
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 4096:
                batch *= value
            if batch > MOST_IMAGES:
                raise WorkflowError(
                    f"The workflow's batch sizes multiply to more than {MOST_IMAGES:,} images a prompt (up to node "
                    f"{node_id!r}, {node.class_type}); make them smaller."
                )
    return batch
