"""The slot: the one loader of a workflow into which every model is put, and the graphs of many models at once.

A wave is a plan in which some models are alternatives at the slot: coalition {i} loads the i-th of them, ∅ is the
workflow without the slot (a LoRA's loader is bypassed; a checkpoint's loads the workflow's own). Each alternative is a
loader of its own, and an absent one is replaced by the next, the last by what ∅ has. So a wave is run by all that runs
audits, and its coalitions have the keys that an audit of the workflow with that one model gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import WorkflowError
from ..game.design import Exact
from ..planning.cost import batch_size
from ..planning.plan import Plan
from ..planning.steps import Step
from ..planning.survey import survey
from ..planning.video import Clip, clip_length
from ..players.absence import Absence
from ..players.components import Component
from ..players.rewrite import Rewriter
from ..settings import AuditSettings
from ..workflow.graph import Graph, Link, Node
from ..workflow.node_info import NodeCatalog, is_model_file
from ..workflow.noise import NoiseInput, noise_inputs

SLOT_KINDS = ("lora", "checkpoint", "unet")
"""What can be a slot, the first kind that the workflow has where none is named."""

LEAST_SEEDS = 2


@dataclass(frozen=True)
class _Alternatives(Exact):
    """∅ and every model alone."""

    @property
    def masks(self) -> tuple[int, ...]:  # type: ignore[override]
        return (0, *(1 << place for place in range(self.n)))


class Wave(Plan):
    """A plan whose players are alternatives: only ∅ and single ones are run, ∅ first and its first seed twice."""

    @property
    def coalitions(self) -> list[int]:
        """∅, then the models in order."""
        return list(self.design.masks)

    @property
    def full(self) -> int:
        """What is run first and repeated: ∅, which all models are compared with."""
        return 0

    def canaries(self) -> list[Step]:
        """∅ once again at the end: a model that stayed applied would show."""
        return [Step(0, 0, "canary")]

    def label(self, mask: int) -> str:
        """The model's name in messages."""
        return ", ".join(self.members(mask)) or "(without the model)"


@dataclass(frozen=True)
class Slot:
    """Where models are put.

    Attributes:
        node: id of the loader.
        input: that names its file.
        kind: ``lora``, ``checkpoint`` or ``unet``.
        own: the file that the workflow has there.
        names: the files that the server has for it.
        without: output of the loader → what takes its place in ∅.
        seeds: how many seeds each model gets.
    """

    node: str
    input: str
    kind: str
    own: str
    names: tuple[str, ...]
    without: Mapping[Link, Link]
    graph: Graph
    target: Link
    noise: tuple[NoiseInput, ...]
    batch: int
    clip: Clip | None
    settings: AuditSettings

    @property
    def seeds(self) -> int:
        return self.settings.seeds

    def workflow(self, model: str) -> Graph:
        """The workflow with a model in the slot."""
        node = self.graph[self.node]
        return {**self.graph, self.node: replace(node, inputs={**node.inputs, self.input: model})}

    def wave(self, models: Sequence[str]) -> Wave:
        """The plan of some models. A workflow without noise gives the same image at every seed: see :func:`find_slot`.

        Args:
            models: names of files, each once; none: ∅ alone.
        """
        mark = f"{self.node}+"
        while any(node_id.startswith(mark) for node_id in self.graph):
            mark += "+"
        ids = [f"{mark}{place}" for place in range(len(models))]

        def moved(value: Any) -> Any:
            if not isinstance(value, Link) or value not in self.without:
                return value
            return Link(ids[0], value.slot) if ids else self.without[value]

        base: Graph = {
            node_id: replace(node, inputs={name: moved(value) for name, value in node.inputs.items()})
            for node_id, node in self.graph.items()
        }
        loader = self.graph[self.node]
        players, rules = [], []
        for place, (own, model) in enumerate(zip(ids, models, strict=True)):
            base[own] = Node(loader.class_type, {**loader.inputs, self.input: model}, loader.title)
            following = ids[place + 1] if place + 1 < len(ids) else None
            redirects: dict[Link, Link | None] = {
                Link(own, link.slot): other if following is None else Link(following, link.slot)
                for link, other in self.without.items()
            }
            rule = Absence("the next model, or none, stands in its place", redirects)
            rules.append(rule)
            players.append(Component(model, self.kind, own, (own,), (model,), rule))
        return Wave(
            self.graph, self.target, tuple(players), (), (), (), self.noise, self.seeds, self.batch, self.clip,
            self.settings, (), Rewriter(self.graph, base, self.target, rules, self.noise),
            _Alternatives(len(models)), (), (),
        )  # fmt: skip


def find_slot(workflow: Any, catalog: NodeCatalog, settings: AuditSettings, node: str | None = None) -> Slot:
    """The slot of an API-format workflow.

    Args:
        workflow: parsed JSON, or a ``Graph``.
        catalog: of the server, whose lists of files tell what can be put there.
        settings: ``seeds`` and ``output`` count.
        node: id of the loader; None: the one LoRA loader, or where there is none the one checkpoint loader.

    Raises:
        WorkflowError: there is no such loader, there are several, it cannot be left out, it loads several files or its
            file comes from another node, or nothing in the workflow is random.
        CopyScopeError: as ``planning.survey.survey``.
    """
    seen = survey(workflow, catalog, settings)
    component = _chosen(seen.found.components, node)
    loader = seen.graph[component.node]
    info = catalog.get(loader.class_type)
    named = [
        item
        for item in (info.inputs_with(loader.inputs) if info else ())
        if isinstance(value := loader.inputs.get(item.name), str) and is_model_file(value) and item.options
    ]
    if len(named) != 1:
        raise WorkflowError(
            f"The loader in node {component.node!r} ({loader.class_type}) has {len(named) or 'no'} files of its own to "
            "exchange; choose a loader of one file, chosen in the node itself, with --slot."
        )
    if component.kind == "lora":
        if component.absence is None or not component.absence.redirects:
            raise WorkflowError(
                f"The LoRA in node {component.node!r} cannot be left out of the workflow"
                f"{': ' + component.reason if component.reason else ''}; load it with a LoRA loader of its own."
            )
        without = {link: other for link, other in component.absence.redirects.items() if other is not None}
    else:
        links = {link for item in seen.graph.values() for _, link in item.links() if link.node == component.node}
        without = {link: link for link in sorted(links)}
    noise = tuple(noise_inputs(seen.graph, catalog))
    if not noise:
        raise WorkflowError("Nothing in the workflow is random, so chance cannot be told; give the sampler a seed.")
    if settings.seeds < LEAST_SEEDS:
        raise WorkflowError(f"A screen needs at least {LEAST_SEEDS} seeds, to tell chance; 8 is the usual number.")
    batch = batch_size(seen.graph, catalog)
    clip = Clip(settings.frames, clip_length(seen.graph, catalog, batch)) if seen.clips else None
    return Slot(
        component.node, named[0].name, component.kind, str(loader.inputs[named[0].name]), named[0].options or (),
        without, seen.graph, seen.target, noise, batch if clip is None else clip.measured, clip, settings,
    )  # fmt: skip


def _chosen(components: Sequence[Component], node: str | None) -> Component:
    """The component of the slot."""
    fitting = [item for item in components if item.kind in SLOT_KINDS and len(item.nodes) == 1]
    listed = ", ".join(f"{item.node} ({item.name}, {item.kind})" for item in fitting) or "none"
    if node is not None:
        found = [item for item in fitting if item.node == node]
        if not found:
            raise WorkflowError(f"There is no slot {node!r}: no LoRA or checkpoint loader; the workflow has: {listed}.")
        return found[0]
    for kind in SLOT_KINDS:
        found = [item for item in fitting if item.kind == kind]
        if len(found) > 1:
            raise WorkflowError(f"The workflow has several slots for a {kind}: {listed}; choose one with --slot NODE.")
        if found:
            return found[0]
    raise WorkflowError("The workflow has no slot: no LoRA loader and no checkpoint loader on the way to the image.")
