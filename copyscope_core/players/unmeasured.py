"""What shapes the images and is no component: nothing upstream is passed over in silence."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..workflow.graph import Link, Node
from ..workflow.lora_tags import tags
from ..workflow.node_info import EMBEDDING, NodeInfo, is_model_file
from ..workflow.noise import is_primitive
from .components import Component
from .discover import Discovery
from .parts import AUXILIARIES

MODEL_TYPES = frozenset({"MODEL", "CLIP", "VAE", "CLIP_VISION", "UPSCALE_MODEL", *AUXILIARIES})
"""Types of links that a model comes through."""

_PLAIN = frozenset({"LORA_STACK", "CONTROL_NET_STACK", "CLIP_VISION_OUTPUT"})  # made without a model of their own
_MOST_VALUES = 3


@dataclass(frozen=True)
class Unmeasured:
    """Something upstream that shapes the images but is no component, so that its contribution is not measured."""

    node: str
    class_type: str
    what: str
    reason: str


def unmeasured(
    found: Discovery, components: Sequence[Component], empty: Iterable[tuple[str, Node]]
) -> list[Unmeasured]:
    """What no component accounts for: model files, LoRA tags and loaders upstream, embeddings, input images.

    Args:
        components: all, with the absence rules also of those that are locked by the user.
        empty: the nodes of the empty coalition, each with the id of its original in the workflow.
    """
    files = {file for component in components for file in component.files}
    nodes = {node for component in components for node in component.nodes}
    nodes |= {name for node in nodes for name in found.parts.loaders_on_the_way(node)}
    loaded = {
        (text.node, text.input, component.absence.tag)
        for component in components if component.absence for text in component.absence.texts
    }  # fmt: skip
    result: list[Unmeasured] = []
    for node_id, node in found.parts.graph.items():
        info = found.parts.catalog.get(node.class_type)
        named = [*_model_files(found, node_id, files), *_left_tags(found, node_id, loaded)]
        result += [Unmeasured(node_id, node.class_type, what, reason) for what, reason in named]
        if info is not None and node_id not in nodes and not found.parts.files(node_id) and _is_loader(info):
            values = [value for value in node.inputs.values() if isinstance(value, str) and value][:_MOST_VALUES]
            what = f"model of {info.display_name}" + (f": {', '.join(values)}" if values else "")
            result.append(Unmeasured(node_id, node.class_type, what, "a loader that names no model file"))
    result += _embeddings(empty)
    image_players = {component.node for component in components if component.kind == "image"}
    for image in found.images:
        if image.node not in image_players:
            reason = "an input image; make it a player to measure it"
            result.append(Unmeasured(image.node, image.class_type, f"image: {image.file}", reason))
    return result


def _model_files(found: Discovery, node_id: str, files: set[str]) -> Iterator[tuple[str, str]]:
    """The model files that a node names, in texts and in lists and objects, but for those that are switched off."""
    parts = found.parts
    off = {entry.file for entry in parts.entries(node_id) if not entry.on}
    for name, value in parts.graph[node_id].inputs.items():
        for text in _texts(parts.constants.of(value)):
            if is_model_file(text) and text not in files and text not in off and "\n" not in text:
                yield f"{name}: {text}", "a model in a node with no absence rule"


def _left_tags(
    found: Discovery, node_id: str, loaded: Container[tuple[str, str, str | None]]
) -> Iterator[tuple[str, str]]:
    """The LoRA tags in a node's texts that no component takes out. A primitive's are those of the nodes that use it."""
    parts = found.parts
    node = parts.graph[node_id]
    if is_primitive(node):
        return
    off = {entry.file for entry in parts.entries(node_id) if not entry.on}
    for name, value in node.inputs.items():
        text = parts.constants.of(value)
        for tag in tags(text) if isinstance(text, str) else ():
            if (node_id, name, tag) not in loaded and tag not in off:
                yield f"LoRA tag in {name}: {tag}", "a tag in a text of a node with no rule for tags"


def _embeddings(empty: Iterable[tuple[str, Node]]) -> Iterator[Unmeasured]:
    for node_id, node in empty:
        for text in (value for value in node.inputs.values() if isinstance(value, str) and not is_model_file(value)):
            for name in EMBEDDING.findall(text):
                reason = "a textual inversion in a text that stays"
                yield Unmeasured(node_id, node.class_type, f"embedding: {name}", reason)


def _is_loader(info: NodeInfo) -> bool:
    """Whether a class makes models from nothing that it is given."""
    made = {kind for kind in info.outputs if kind in MODEL_TYPES or "MODEL" in kind} - _PLAIN
    return bool(made) and not any(info.has_input(kind) for kind in made)


def _texts(value: Any) -> Iterator[str]:
    """The texts in a JSON value. Its depth is limited (``parse_graph``)."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            waiting.extend(item.values())
        elif isinstance(item, (list, tuple)) and not isinstance(item, Link):
            waiting.extend(item)
