"""Finds all that shapes an image: components, input images, and models that cannot be measured.

``components`` says what a component is; ``selection`` divides components into players and locked ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import PlayerError
from ..settings import AuditSettings
from ..workflow.graph import Graph, Link, Node, topological_order
from ..workflow.node_info import EMBEDDING, NodeCatalog, is_image_file, is_model_file
from . import absence as rules
from .absence import Absence, AbsenceRules
from .components import Component, ComponentFinder, stem
from .prompts import PositivePrompt, has_phrase, is_encoder, positive_prompt
from .stacks import stack_entries


@dataclass(frozen=True)
class Unmeasured:
    """Something upstream that shapes the images but is no component, so that its contribution is not measured."""

    node: str
    class_type: str
    what: str
    reason: str


@dataclass(frozen=True)
class InputImage:
    """An image file upstream: an init image, a hint, a mask."""

    node: str
    class_type: str
    file: str


@dataclass(frozen=True)
class Discovery:
    """What ``discover`` found.

    Attributes:
        graph: the workflow with the nodes that the absence rules need.
        components: with unique names; those without an absence rule cannot be players.
        images: image and media files upstream.
        copies: copied node → its original, for nodes that were copied for the positive prompt.
    """

    graph: Graph
    components: tuple[Component, ...]
    images: tuple[InputImage, ...]
    copies: Mapping[str, str]


def discover(graph: Graph, target: Link, catalog: NodeCatalog, settings: AuditSettings) -> Discovery:
    """Find every component upstream of ``target`` and its absence rule.

    Args:
        graph: the workflow upstream of ``target``, output nodes already bypassed.

    Raises:
        PlayerError: a key prompt is in no positive text, an image player is no image, or a baseline is for an unknown
            node.
    """
    positive = positive_prompt(graph, catalog)
    finder = ComponentFinder(graph, target, positive, catalog, settings)
    finder.check_baselines()
    order = topological_order(graph, [target.node])
    found: list[Component] = []
    loaders: dict[str, list[str]] = {}
    for node_id in order:
        info = catalog.get(graph[node_id].class_type)
        entries = stack_entries(graph[node_id])
        if entries is not None:
            found.extend(
                Component(
                    stem(entry.file),
                    "lora",
                    node_id,
                    (node_id,),
                    (entry.file,),
                    Absence(
                        f"entry {entry.label} of the stack is switched off",
                        edits=tuple((node_id, name, value) for name, value in entry.off),
                    ),
                )
                for entry in entries
            )
        elif info is not None and (kind := finder.source_kind(node_id, info)):
            loaders.setdefault(f"{kind} {graph[node_id].class_type} {dict(graph[node_id].inputs)}", []).append(node_id)
        elif info is not None and finder.is_patch(node_id, info):
            found.append(finder.patch(node_id, info))
    places = {node_id: place for place, node_id in enumerate(graph)}
    in_file_order = sorted(loaders.values(), key=lambda nodes: places[nodes[0]])
    sources = [finder.loader(tuple(nodes)) for nodes in in_file_order]
    prompts = _prompts(positive, settings)
    images = tuple(_images(graph, catalog, order))
    base, image_players = _image_players(positive.graph, graph, catalog, images, settings)
    models = [
        *(c for c in sources if c.kind in ("checkpoint", "unet")),
        *(c for c in sources if c.kind == "clip"),
        *found,
        *(c for c in sources if c.kind == "vae"),
    ]
    return Discovery(base, tuple(_unique([*models, *prompts, *image_players])), images, positive.copies)


def unmeasured(
    empty: Iterable[tuple[str, Node]], components: Sequence[Component], images: Sequence[InputImage]
) -> list[Unmeasured]:
    """What is present in every coalition but is no component: models in other nodes, images, embeddings.

    Args:
        empty: the nodes of the empty coalition, each with the id of its original in the workflow.
    """
    known = {node for component in components for node in component.nodes if component.files}
    files = {file for component in components for file in component.files}
    image_players = {component.node for component in components if component.kind == "image"}
    result = []
    for node_id, node in empty:
        for name, value in node.inputs.items():
            if is_model_file(value) and node_id not in known and value not in files:
                reason = "a model in a node with no absence rule"
                result.append(Unmeasured(node_id, node.class_type, f"{name}: {value}", reason))
            elif isinstance(value, str):
                reason = "a textual inversion in a text that stays"
                for embedding in EMBEDDING.findall(value):
                    result.append(Unmeasured(node_id, node.class_type, f"embedding: {embedding}", reason))
    for image in images:
        if image.node not in image_players:
            result.append(
                Unmeasured(
                    image.node,
                    image.class_type,
                    f"image: {image.file}",
                    "an input image; make it a player to measure it",
                )
            )
    return result


def _prompts(positive: PositivePrompt, settings: AuditSettings) -> list[Component]:
    texts = positive.texts
    origin = {text.node: positive.copies.get(text.node, text.node) for text in texts}
    if not settings.key_prompts:
        if not texts:
            return []
        nodes = tuple(dict.fromkeys(origin[text.node] for text in texts))
        if all(text.text == settings.neutral_prompt for text in texts):
            reason = "the positive text is the neutral text already"
            return [Component("prompt", "prompt", nodes[0], nodes, (), None, reason)]
        rule = rules.prompt(texts, None, settings.neutral_prompt)
        return [Component("prompt", "prompt", nodes[0], nodes, (), rule)]
    result = []
    for phrase in settings.key_prompts:
        holders = tuple(text for text in texts if text.text is not None and has_phrase(text.text, phrase))
        if not holders:
            computed = sorted({origin[text.node] for text in texts if text.text is None})
            extra = (
                f" (the text of node {', '.join(computed)} is computed by other nodes and cannot be searched)"
                if computed
                else ""
            )
            shown = " | ".join(text.text for text in texts if text.text)[:200]
            raise PlayerError(
                f"The key prompt {phrase!r} stands in no positive text of the workflow{extra}; the text is: {shown!r}."
            )
        nodes = tuple(dict.fromkeys(origin[text.node] for text in holders))
        rule = rules.prompt(holders, phrase, settings.neutral_prompt)
        result.append(Component(f"prompt: {phrase}", "prompt", nodes[0], nodes, (), rule))
    return result


def _images(graph: Graph, catalog: NodeCatalog, order: Sequence[str]) -> list[InputImage]:
    """The files of image, mask, video and latent loaders; a prompt that looks like a file name is none."""
    loaded = [
        (node_id, value)
        for node_id in order
        for value in graph[node_id].inputs.values()
        if is_image_file(value) and not ((info := catalog.get(graph[node_id].class_type)) and is_encoder(info))
    ]
    return [InputImage(node_id, graph[node_id].class_type, value) for node_id, value in loaded]


def _image_players(
    base: Graph, graph: Graph, catalog: NodeCatalog, images: Sequence[InputImage], settings: AuditSettings
) -> tuple[Graph, list[Component]]:
    result = []
    by_node = {image.node: image for image in images}
    absence_rules = AbsenceRules(base, catalog)
    base = dict(base)
    for node_id in dict.fromkeys(settings.image_players):
        if node_id not in by_node:
            raise PlayerError(
                f"Node {node_id!r} loads no image upstream of the audited output; "
                f"image loaders there: {', '.join(by_node) or 'none'}."
            )
        info = catalog.get(graph[node_id].class_type)
        if info is None or info.output_type(0) != "IMAGE":
            raise PlayerError(f"Node {node_id!r} ({graph[node_id].class_type}) gives no image that could turn grey.")
        added, rule = absence_rules.grey_image(node_id)
        base.update(added)
        result.append(Component(f"image: {by_node[node_id].file}", "image", node_id, (node_id,), (), rule))
    return base, result


def _unique(components: list[Component]) -> list[Component]:
    """The components with unique names: equal ones get the node's id, and within a node a number."""
    counts: dict[str, int] = {}
    for component in components:
        counts[component.name] = counts.get(component.name, 0) + 1
    result, used = [], set()
    serials: dict[tuple[str, str], int] = {}  # the next number to try, where a name was taken
    for component in components:
        name = component.name if counts[component.name] == 1 else f"{component.name} (node {component.node})"
        if name in used:
            serial = serials.get((component.name, component.node), 2)
            while (name := f"{component.name} (node {component.node}, {serial})") in used:
                serial += 1
            serials[component.name, component.node] = serial + 1
        used.add(name)
        result.append(replace(component, name=name))
    return result
