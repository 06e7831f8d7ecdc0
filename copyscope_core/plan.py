"""The plan of an audit: players, what is locked and unmeasured, and the graph of every coalition. Runs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .coalitions import execution_order, label, members
from .components import Component
from .design import Design, choose_design, exact_count, smallest_sample
from .errors import PlayerError, TooManyCoalitionsError, WorkflowError
from .graph import Graph, Link, Node, consumers, parse_graph, upstream
from .node_info import NodeCatalog, is_model_file, type_matches
from .noise import NoiseInput, constant, noise_inputs, untouched_seeds
from .players import InputImage, Unmeasured, discover, grouping, select, unmeasured
from .rewrite import Rewriter
from .settings import AuditSettings, from_players_node, from_settings_node

ENUMERATOR = "CopyScopeCoalitionEnumerator"
PLAYERS = "CopyScopePlayers"
SETTINGS = "CopyScopeSettings"
FID = "CopyScopeFID"
WORKING_INPUTS = ("MODEL", "CLIP", "VAE", "CONDITIONING", "GUIDER", "UPSCALE_MODEL", "CONTROL_NET", "LATENT")
"""Inputs of nodes that do more than pass an image on."""
COST_ORDER = ("checkpoint", "unet", "clip", "controlnet", "lora", "prompt", "image", "vae")
"""Kinds by how dear a change between neighbouring coalitions is, dearest first."""
COUNTED = 4096
"""Of more coalitions than this the distinct sampler runs are not counted, but bounded from above."""


@dataclass(frozen=True)
class Cost:
    """What a way of measuring the game would run.

    Attributes:
        mode: ``exact``, ``grouped`` (the Owen value) or ``sampled``.
        coalitions: at most so many.
        images: of all coalitions and seeds.
        sampler_runs: distinct sampler executions, or an upper bound.
        chosen: whether the settings ask for it.
    """

    mode: str
    coalitions: int
    images: int
    sampler_runs: int
    chosen: bool


@dataclass(frozen=True)
class Plan:
    """One workflow, ready to be run for any coalition and seed offset.

    Attributes:
        graph: the workflow upstream of ``target``; output nodes are bypassed.
        target: the output whose images are audited.
        players: in bitmask order.
        locked: components that are present in every coalition, each with its reason.
        unmeasured: what else shapes the images.
        images: image files upstream.
        noise: the active noise inputs; offset *k* is added to each.
        seeds: seed offsets per coalition (1 where the workflow has no active noise).
        batch: images per prompt, as far as the workflow tells.
        warnings: sentences for the user.
        rewriter: gives the graph of any coalition.
        design: which coalitions are run; a sample is its smallest, and grows (``sampling.next_design``).
        group_names: of the design's groups, in their order.
        costs: what each way of measuring the game would run.
    """

    graph: Graph
    target: Link
    players: tuple[Component, ...]
    locked: tuple[Component, ...]
    unmeasured: tuple[Unmeasured, ...]
    images: tuple[InputImage, ...]
    noise: tuple[NoiseInput, ...]
    seeds: int
    batch: int
    settings: AuditSettings
    warnings: tuple[str, ...]
    rewriter: Rewriter = field(repr=False)
    design: Design
    group_names: tuple[str, ...]
    costs: tuple[Cost, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(player.name for player in self.players)

    @property
    def coalitions(self) -> list[int]:
        """The design's masks in execution order, the full coalition first."""
        costs = sorted(range(len(self.players)), key=lambda i: COST_ORDER.index(_cost_kind(self.players[i].kind)))
        return execution_order(self.design.masks, len(self.players), costs)

    @property
    def cost(self) -> Cost:
        """Of what the settings ask for."""
        return next(cost for cost in self.costs if cost.chosen)

    @property
    def sampler_runs(self) -> int:
        """Distinct sampler executions over all coalitions and seeds, or an upper bound."""
        return self.cost.sampler_runs

    @property
    def full(self) -> int:
        return (1 << len(self.players)) - 1

    def steps(self) -> Iterator[tuple[int, int]]:
        """``(mask, offset)`` of every prompt, coalition by coalition."""
        for mask in self.coalitions:
            for offset in range(self.seeds):
                yield mask, offset

    def weight(self, mask: int) -> int:
        """How much work a coalition is, roughly: the nodes of its graph."""
        return len(self.rewriter.nodes(mask))

    def label(self, mask: int) -> str:
        """How a coalition is called in messages."""
        return label(mask, self.names)

    def members(self, mask: int) -> tuple[str, ...]:
        return members(mask, self.names)

    def summary(self) -> dict[str, Any]:
        """What ``copyscope plan --json`` prints."""
        return {
            "players": [
                {"name": p.name, "kind": p.kind, "node": p.node, "files": list(p.files), "absence": p.absence.rule}
                for p in self.players
                if p.absence
            ],
            "locked": [
                {"name": c.name, "kind": c.kind, "node": c.node, "files": list(c.files), "reason": c.reason}
                for c in self.locked
            ],
            "unmeasured": [
                {"node": u.node, "class_type": u.class_type, "what": u.what, "reason": u.reason}
                for u in self.unmeasured
            ],
            "output": {"node": self.target.node, "slot": self.target.slot},
            "seeds": self.seeds,
            "batch": self.batch,
            "groups": {
                name: [self.names[i] for i in group]
                for name, group in zip(self.group_names, self.design.groups, strict=False)
            },
            "mode": self.cost.mode,
            "coalitions": self.cost.coalitions,
            "images": self.cost.images,
            "sampler_runs": self.cost.sampler_runs,
            "modes": [asdict(cost) for cost in self.costs],
            "determinism_runs": 1 if self.noise else 0,
            "warnings": list(self.warnings),
        }


def make_plan(
    workflow: Any, catalog: NodeCatalog, settings: AuditSettings | None = None, target: Link | None = None
) -> Plan:
    """Plan the audit of an API-format workflow.

    Args:
        workflow: parsed JSON, or a ``Graph`` already.
        catalog: what is known of node classes. A live one also checks file names against the server's lists.
        target: the audited output; None finds it (``find_target``).

    Raises:
        WorkflowError: the workflow is malformed, has no image output or several, holds paid nodes, or names files
            that the server lacks.
        PlayerError: nothing to measure, or a named component does not exist.
        TooManyCoalitionsError: more than ``settings.max_coalitions``, and no budget to run a sample of them.
        GameError: the budget is too small for so many players.
    """
    settings = settings or AuditSettings()
    graph = workflow if _is_graph(workflow) else parse_graph(workflow)
    target = target or find_target(graph, catalog, settings.output)
    original, target, bypassed = bypass_outputs(upstream(graph, target.node), target, catalog)
    _refuse_paid(original, catalog, settings)
    if catalog.live:
        check_files(original, catalog)
    found = discover(original, target, catalog, settings)
    players, locked = select(found.components, settings)
    if not players:
        raise PlayerError(_no_players(target, original, locked))
    group_names, groups = grouping(players, settings.groups)
    _refuse_too_many(players, groups, settings)
    design = choose_design(len(players), groups, settings.budget, settings.estimator)
    noise = noise_inputs(original, catalog)
    seeds = settings.seeds if noise else 1
    rules = [player.absence for player in players if player.absence]
    rewriter = Rewriter(original, found.graph, target, rules, _spread(noise, found.copies))
    if catalog.live:
        _check_baseline_files(rewriter, original, design.masks, catalog)
    warnings = (
        []
        if noise
        else ["The workflow has no active noise input, so every seed gives the same images; one seed is used."]
    )
    unknown = sorted({node.class_type for node in original.values() if node.class_type not in catalog})
    if unknown:
        warnings.append(
            f"Unknown node classes are kept as they are: {', '.join(unknown)}; with a server they are looked up."
        )
    if bypassed:
        warnings.append(f"Output nodes on the image's way are bypassed: {', '.join(bypassed)}.")
    if seeds_left := untouched_seeds(original, noise):
        warnings.append(f"Seeds that are the same for every seed offset: nodes {', '.join(seeds_left)}.")
    empty = [(found.copies.get(node_id, node_id), node) for node_id, node in rewriter.nodes(0)]
    rest = unmeasured(empty, found.components, found.images)
    batch = _batch(original, catalog)
    samplers = [node_id for node_id, node in found.graph.items() if _is_sampler(node, catalog)]
    costs = _costs(rewriter, samplers, groups, design, settings, seeds, batch)
    return Plan(
        original, target, tuple(players), tuple(locked), tuple(rest), found.images, tuple(noise), seeds,
        batch, settings, tuple(warnings), rewriter, design, group_names, costs,
    )  # fmt: skip


def embedded_settings(graph: Graph) -> dict[str, Any]:
    """The settings that CopyScope's own nodes in a workflow hold: the enumerator's, those wired into it, and FID's."""
    settings: dict[str, Any] = {}
    for node in graph.values():
        if node.class_type == FID and isinstance(distance := node.inputs.get("distance"), str):
            settings["distance"] = distance
        if node.class_type != ENUMERATOR:
            continue
        for name in ("seeds", "max_coalitions"):
            value = constant(graph, node.inputs.get(name))
            if isinstance(value, int):
                settings[name] = value
        link = node.inputs.get("players")
        if isinstance(link, Link) and graph[link.node].class_type == PLAYERS:
            chosen = graph[link.node].inputs
            settings.update(from_players_node({name: constant(graph, value) or "" for name, value in chosen.items()}))
        link = node.inputs.get("settings")
        if isinstance(link, Link) and graph[link.node].class_type == SETTINGS:
            chosen = graph[link.node].inputs
            settings.update(from_settings_node({name: constant(graph, value) or "" for name, value in chosen.items()}))
    return settings


def find_target(graph: Graph, catalog: NodeCatalog, output: str | None) -> Link:
    """The image output to audit.

    The link into a CopyScope enumerator, else the image that the workflow's one output node takes.

    Raises:
        WorkflowError: there is none, or there are several and ``output`` names none of them.
    """
    if output is not None:
        if output not in graph:
            raise WorkflowError(f"The output node {output!r} is not in the workflow.")
        link = _image_input(graph, catalog, output)
        info = catalog.get(graph[output].class_type)
        if link is None and info is not None and info.has_output("IMAGE"):
            link = Link(output, info.outputs.index("IMAGE"))
        if link is None:
            raise WorkflowError(f"Node {output!r} ({graph[output].class_type}) neither gives nor takes an image.")
        return link
    enumerators = [node for node in graph.values() if node.class_type == ENUMERATOR]
    links = {link for node in enumerators if isinstance(link := node.inputs.get("image"), Link)}
    if not links:
        used = {link.node for link in consumers(graph)}
        links = {link for node_id in graph if node_id not in used and (link := _image_output(graph, catalog, node_id))}
    if not links:
        raise WorkflowError("The workflow has no node that saves or previews an image; add a Save Image node.")
    if len(links) > 1:
        listed = ", ".join(f"{link.node} ({graph[link.node].class_type})" for link in sorted(links))
        raise WorkflowError(f"The workflow makes images in several places, nodes {listed}; say which one to audit.")
    return links.pop()


def bypass_outputs(graph: Graph, target: Link, catalog: NodeCatalog) -> tuple[Graph, Link, list[str]]:
    """Leave out the output nodes (save, preview) that the image passes through on its way.

    Nodes that work with models are kept, although packs mark some samplers as output nodes.

    Returns:
        The graph, the target in it, and what was left out.
    """
    graph = dict(graph)
    left_out = []
    while _passes_on(graph[target.node], catalog) and (source := _bypass_source(graph, target, catalog)):
        left_out.append(f"{target.node} ({graph[target.node].class_type})")
        target = source
    for node_id in list(graph):
        info = catalog.get(graph[node_id].class_type)
        if info is None or not _passes_on(graph[node_id], catalog) or node_id == target.node:
            continue
        uses = {link: use for link, use in consumers(graph).items() if link.node == node_id}
        sources = {
            link: graph[node_id].inputs.get(item.name) for link in uses if (item := info.bypass_input(link.slot))
        }
        if len(sources) < len(uses) or not all(isinstance(source, Link) for source in sources.values()):
            continue
        for link, use in uses.items():
            for consumer, name in use:
                node = graph[consumer]
                graph[consumer] = Node(node.class_type, {**node.inputs, name: sources[link]}, node.title)
        if uses:
            left_out.append(f"{node_id} ({info.class_type})")
    return upstream(graph, target.node), target, left_out


def _passes_on(node: Node, catalog: NodeCatalog) -> bool:
    """Whether a node is an output node that computes nothing of its own."""
    info = catalog.get(node.class_type)
    return info is not None and info.output_node and not info.has_input(*WORKING_INPUTS)


def _bypass_source(graph: Graph, link: Link, catalog: NodeCatalog) -> Link | None:
    info = catalog.get(graph[link.node].class_type)
    item = info.bypass_input(link.slot) if info else None
    source = graph[link.node].inputs.get(item.name) if item else None
    return source if isinstance(source, Link) else None


def check_files(graph: Mapping[str, Node], catalog: NodeCatalog) -> None:
    """Check every list input against the server's own lists.

    Raises:
        WorkflowError: the first value that the server lacks, with the values it has.
    """
    for node_id, node in graph.items():
        info = catalog.get(node.class_type)
        if info is None:
            raise WorkflowError(
                f"The server lacks the node class {node.class_type!r} (node {node_id!r}); install its pack."
            )
        for item in info.inputs:
            value = node.inputs.get(item.name)
            if item.options is None or item.image_upload or not isinstance(value, str) or value in item.options:
                continue
            has = ", ".join(item.options[:20]) + (" …" if len(item.options) > 20 else "")
            raise WorkflowError(
                f"The server lacks {value!r} for input {item.name!r} of node {node_id!r} ({node.class_type}); "
                f"it has: {has or 'nothing'}."
            )


def _check_baseline_files(rewriter: Rewriter, graph: Graph, masks: Sequence[int], catalog: NodeCatalog) -> None:
    for node_id, node in graph.items():
        if any(is_model_file(value) for value in node.inputs.values()):
            for variant in rewriter.variants(node_id, masks).values():
                check_files({node_id: variant}, catalog)


def _image_input(graph: Graph, catalog: NodeCatalog, node_id: str) -> Link | None:
    node = graph[node_id]
    info = catalog.get(node.class_type)
    for name, link in node.links():
        kind = info.input_type(name) if info else None
        if kind is not None and type_matches(kind, "IMAGE"):
            return link
        if kind is None and name == "images":
            return link
    return None


def _image_output(graph: Graph, catalog: NodeCatalog, node_id: str) -> Link | None:
    info = catalog.get(graph[node_id].class_type)
    if info is not None and not info.output_node:
        return None
    if info is None and not graph[node_id].class_type.startswith(("SaveImage", "PreviewImage")):
        return None
    return _image_input(graph, catalog, node_id)


def _refuse_paid(graph: Graph, catalog: NodeCatalog, settings: AuditSettings) -> None:
    paid = [
        f"{node_id} ({node.class_type})"
        for node_id, node in graph.items()
        if (info := catalog.get(node.class_type)) and info.paid
    ]
    if paid and not settings.allow_paid_nodes:
        raise WorkflowError(
            f"The workflow calls paid services in node {', '.join(paid)}; allow paid nodes to run them."
        )


def _no_players(target: Link, graph: Graph, locked: list[Component]) -> str:
    if not locked:
        return (
            f"No players were found upstream of node {target.node!r} ({graph[target.node].class_type}): it has no "
            "checkpoint, LoRA, VAE, ControlNet or prompt; wire the output of a generating workflow."
        )
    listed = "; ".join(f"{component.name} ({component.kind}): {component.reason}" for component in locked)
    return f"No players were found upstream of node {target.node!r}; all components are locked: {listed}."


def _spread(noise: list[NoiseInput], copies: Mapping[str, str]) -> list[NoiseInput]:
    """Noise inputs also of the nodes that were copied for the positive prompt."""
    extra = [replace(item, node=copy) for copy, origin in copies.items() for item in noise if item.node == origin]
    return [*noise, *extra]


def _refuse_too_many(players: Sequence[Component], groups: Sequence[Sequence[int]], settings: AuditSettings) -> None:
    count = exact_count(len(players), groups)
    if settings.budget is not None or count <= settings.max_coalitions:
        return
    names = ", ".join(player.name for player in players)
    least = len(smallest_sample(len(players), groups, settings.estimator).masks)
    raise TooManyCoalitionsError(
        f"{len(players)} players make {count:,} coalitions, more than max_coalitions = {settings.max_coalitions}; "
        f"lock some of them (players: {names}), run a sample with a budget of {least:,} coalitions or more, "
        "or raise max_coalitions."
    )


def _costs(
    rewriter: Rewriter,
    samplers: Sequence[str],
    groups: Sequence[Sequence[int]],
    design: Design,
    settings: AuditSettings,
    seeds: int,
    batch: int,
) -> tuple[Cost, ...]:
    """What each way of measuring the game would run: exact, with the groups, and sampled."""

    def runs(masks: Sequence[int], more: int) -> int:
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


def _is_sampler(node: Node, catalog: NodeCatalog) -> bool:
    info = catalog.get(node.class_type)
    return info is not None and info.has_output("LATENT", "IMAGE") and info.has_input("MODEL", "GUIDER")


def _batch(graph: Graph, catalog: NodeCatalog) -> int:
    """Images per prompt by the workflow's own batch sizes."""
    batch = 1
    for node in graph.values():
        info = catalog.get(node.class_type)
        if info is None or not info.has_output("LATENT"):
            continue
        for name in ("batch_size", "amount"):
            value = constant(graph, node.inputs.get(name))
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 4096:
                batch *= value
    return batch


def _cost_kind(kind: str) -> str:
    return kind if kind in COST_ORDER else "lora"


def _is_graph(workflow: Any) -> bool:
    return isinstance(workflow, dict) and bool(workflow) and all(isinstance(node, Node) for node in workflow.values())
