"""Finds all that shapes an image and can be a player: components and input images.

``components`` says what a component is, ``selection`` divides components into players and locked ones, and
``unmeasured`` finds the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import PlayerError
from ..settings import AuditSettings
from ..workflow.graph import Graph, Link, Node, topological_order
from ..workflow.lora_tags import tags
from ..workflow.node_info import NodeCatalog, is_image_file, is_model_file
from . import absence as rules
from .absence import AbsenceRules
from .components import Component, ComponentFinder
from .entries import tag_texts
from .parts import Parts
from .prompts import PositivePrompt, has_phrase, is_encoder, positive_prompt


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
        parts: what is on the way to the image, and what goes with a component.
        names: the files that the workflow names without their extension, such as LoRAs in tags, by these names.
    """

    graph: Graph
    components: tuple[Component, ...]
    images: tuple[InputImage, ...]
    copies: Mapping[str, str]
    parts: Parts
    names: Mapping[str, str]


def discover(graph: Graph, target: Link, catalog: NodeCatalog, settings: AuditSettings) -> Discovery:
    """Find every component upstream of ``target`` and its absence rule.

    Args:
        graph: the workflow upstream of ``target``, output nodes already bypassed.

    Raises:
        PlayerError: a key prompt is in no positive text, an image player is no image, or a baseline is for an unknown
            node.
    """
    parts = Parts(graph, target, catalog)
    positive = positive_prompt(graph, catalog, parts.main)
    finder = ComponentFinder(parts, positive, settings)
    finder.check_baselines()
    found: list[Component] = []
    loaders: dict[str, tuple[str, list[str], dict[str, str]]] = {}
    tagged: dict[tuple[str, str], list[tuple[str, str]]] = {}
    names: dict[str, str] = {}

    def add_loader(node_id: str, kind: str, files: dict[str, str]) -> None:
        key = f"{kind} {graph[node_id].class_type} {list(files)} {dict(graph[node_id].inputs)}"
        loaders.setdefault(key, (kind, [], files))[1].append(node_id)

    for node_id in parts.order:
        info = catalog.get(graph[node_id].class_type)
        for entry in parts.entries(node_id):
            if entry.on and entry.file and not is_model_file(entry.file) and entry.kind != "vae":
                names[entry.file] = parts.listed_file([node_id], entry.file)
            if entry.on and entry.edits:
                found.append(finder.entry(node_id, entry))
            elif entry.on and entry.file is not None:
                add_loader(node_id, entry.kind, {entry.input: entry.file})
        for name, text in tag_texts(graph[node_id], parts.constants).items():
            source = graph[node_id].inputs[name]
            place = f"{source}" if isinstance(source, Link) else node_id
            for tag in tags(text):
                names[tag] = parts.listed_file([node_id], tag)
                tagged.setdefault((place, tag), []).append((node_id, name))
        if info is None:
            continue
        if kind := parts.source_kind(node_id, info):
            add_loader(node_id, kind, parts.files(node_id))
        elif parts.is_patch(node_id, info):
            found.append(finder.patch(node_id, info))
        elif parts.is_shared_loader(node_id, info):
            found.append(finder.shared_loader(node_id, info))
    found += [finder.tag(uses, name) for (_, name), uses in tagged.items()]
    places = {node_id: place for place, node_id in enumerate(graph)}
    in_file_order = sorted(loaders.values(), key=lambda item: places[item[1][0]])
    sources = [finder.loader(tuple(nodes), kind, files) for kind, nodes, files in in_file_order]
    prompts = _prompts(positive, settings)
    images = tuple(_images(graph, catalog, topological_order(graph, [target.node])))
    base, image_players = _image_players(positive.graph, graph, catalog, images, settings)
    models = [
        *(c for c in sources if c.kind in ("checkpoint", "unet")),
        *(c for c in sources if c.kind == "clip"),
        *found,
        *(c for c in sources if c.kind == "vae"),
    ]
    components = tuple(_unique([*models, *prompts, *image_players]))
    return Discovery(base, components, images, positive.copies, parts, names)


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
        if not gives_image(graph[node_id], catalog):
            raise PlayerError(f"Node {node_id!r} ({graph[node_id].class_type}) gives no image that could turn grey.")
        added, rule = absence_rules.grey_image(node_id)
        base.update(added)
        result.append(Component(f"image: {by_node[node_id].file}", "image", node_id, (node_id,), (), rule))
    return base, result


def gives_image(node: Node, catalog: NodeCatalog) -> bool:
    """Whether a node's first output is an image, which can turn grey."""
    info = catalog.get(node.class_type)
    return info is not None and info.output_type(0) == "IMAGE"


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
