"""The positive prompt of a workflow: where it is encoded, and its text without a phrase.

Positive is found by walking from the samplers and guiders, never by a node's title. An encoder that serves the
negative too is duplicated for the positive use only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..workflow.graph import Graph, Link, Node, consumers
from ..workflow.node_info import NodeCatalog, NodeInfo, type_matches
from ..workflow.noise import constant

NEGATIVE_INPUTS = ("neg", "uncond", "empty", "cond2")
"""How inputs for what the images should not be begin; DualCFGGuider's ``cond2`` is one, as ComfyUI marks it."""


SEPARATORS = ",;、，"


@dataclass(frozen=True)
class TextUse:
    """A text input of an encoder of the positive prompt; ``text`` is None where other nodes compute it."""

    node: str
    input: str
    text: str | None


def is_encoder(info: NodeInfo) -> bool:
    """Whether a node class turns text into conditioning."""
    return info.has_output("CONDITIONING") and info.has_input("CLIP") and any(i.type == "STRING" for i in info.inputs)


@dataclass(frozen=True)
class PositivePrompt:
    """The positive prompt of a workflow.

    Attributes:
        graph: the workflow, in which the nodes between the samplers and encoders that serve both prompts have been
            copied for the positive use; copies with no edit are merged again when the graph is rewritten.
        texts: every text input of every positive encoder.
        copies: copied node → the node it is a copy of.
    """

    graph: Graph
    texts: tuple[TextUse, ...]
    copies: Mapping[str, str]


def positive_prompt(graph: Graph, catalog: NodeCatalog) -> PositivePrompt:
    """Find the texts of the positive prompt."""
    positive: dict[str, None] = {}
    negative: dict[str, None] = {}
    uses: list[tuple[str, str, Link]] = []
    used = set(consumers(graph))
    for node_id, node in graph.items():
        info = catalog.get(node.class_type)
        if info is None or any(Link(node_id, slot) in used for slot in _conditioning_outputs(info)):
            continue
        for name, link in node.links():
            if info.input_type(name) != "CONDITIONING":
                continue
            if name.lower().startswith(NEGATIVE_INPUTS):
                _collect(graph, catalog, link, negative)
            else:
                _collect(graph, catalog, link, positive)
                uses.append((node_id, name, link))
    shared = set(positive) & set(negative)
    copies: dict[str, str] = {}
    if shared:
        graph = dict(graph)
        clones: dict[Link, Link] = {}
        for node_id, name, link in uses:
            clone = _clone(graph, catalog, link, shared, clones, copies)
            graph[node_id] = _with_input(graph[node_id], name, clone)
        positive = {}
        for node_id, name, _ in uses:
            _collect(graph, catalog, graph[node_id].inputs[name], positive)
    texts = []
    for node_id in positive:
        info = catalog.get(graph[node_id].class_type)
        for item in info.inputs if info else ():
            if item.type == "STRING" and item.name in graph[node_id].inputs:
                value = constant(graph, graph[node_id].inputs[item.name])
                texts.append(TextUse(node_id, item.name, value if isinstance(value, str) else None))
    return PositivePrompt(graph, tuple(texts), copies)


def has_phrase(text: str, phrase: str) -> bool:
    """Whether the phrase stands in the text as whole words, whatever its case."""
    return _pattern(phrase).search(text) is not None


def without_phrase(text: str, phrase: str, neutral: str = "") -> str:
    """The text without the phrase, its weight brackets and its separators; or with ``neutral`` in its place.

    >>> without_phrase("portrait, (mona_lisa:1.2), oil", "mona_lisa")
    'portrait, oil'
    """
    core = _pattern(phrase).pattern
    if neutral:
        return re.sub(core, lambda _: neutral, text, flags=re.IGNORECASE)
    mark = "\0"
    text = re.sub(core, mark, text.replace(mark, ""), flags=re.IGNORECASE)
    bracketed = re.compile(rf"\\?[(\[]\s*{mark}\s*(?::\s*[-+]?[\d.]+\s*)?\\?[)\]]")
    while bracketed.search(text):
        text = bracketed.sub(mark, text)
    text = re.sub(rf"\s*[{SEPARATORS}]\s*{mark}\s*(?=[{SEPARATORS}]|$|[)\]:])", "", text)
    text = re.sub(rf"(^|[(\[])\s*{mark}\s*[{SEPARATORS}]\s*", r"\1", text)
    text = re.sub(rf"\s+{mark}(?=[\s)\]{SEPARATORS}]|$)|{mark}\s*", "", text)
    return text.strip(" ") if text.strip() else ""


def _pattern(phrase: str) -> re.Pattern[str]:
    words = r"\s+".join(re.escape(word) for word in phrase.split())
    return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)


def _sources(graph: Mapping[str, Node], catalog: NodeCatalog, link: Link) -> list[tuple[str, Link]]:
    """The inputs through which the conditioning at ``link`` came: those of its own side, where a node has two."""
    node = graph[link.node]
    info = catalog.get(node.class_type)
    if info is None:
        return list(node.links())
    inputs = [
        (name, source)
        for name, source in node.links()
        if (kind := info.input_type(name)) is None
        or type_matches(kind, "CONDITIONING")
        or kind == "*"
        or kind.startswith("COMFY_")
    ]
    sides = _conditioning_outputs(info)
    if len(sides) < 2:
        return inputs
    side = "positive" if link.slot == sides[0] else "negative"
    named = [(name, source) for name, source in inputs if name.lower().startswith(side)]
    if named:
        return named
    bypass = info.bypass_input(link.slot)
    return [(name, source) for name, source in inputs if bypass is not None and name == bypass.name]


def _collect(graph: Mapping[str, Node], catalog: NodeCatalog, link: Link, found: dict[str, None]) -> None:
    """Add the ids of the encoders behind ``link`` to ``found``, nearest first."""
    seen: set[Link] = set()
    stack = [link]
    while stack:
        current = stack.pop()
        if current in seen:
            continue
        seen.add(current)
        info = catalog.get(graph[current.node].class_type)
        if info is not None and is_encoder(info):
            found.setdefault(current.node)
        stack.extend(source for _, source in reversed(_sources(graph, catalog, current)))


def _clone(
    graph: Graph,
    catalog: NodeCatalog,
    link: Link,
    shared: set[str],
    clones: dict[Link, Link],
    copies: dict[str, str],
) -> Link:
    """Copy the nodes between ``link`` and the shared encoders, for the positive use; iterative, sources first."""
    stack = [link]
    while stack:
        current = stack[-1]
        sources = _sources(graph, catalog, current)
        waiting = [source for _, source in sources if source not in clones and source != current]
        if current not in clones and waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        if current in clones:
            continue
        changed = {name: clones[source] for name, source in sources if clones[source] != source}
        if not changed and current.node not in shared:
            clones[current] = current
            continue
        copy = f"{current.node}+positive{current.slot or ''}"
        while copy in graph:
            copy += "'"
        copies[copy] = current.node
        graph[copy] = replace(graph[current.node], inputs={**graph[current.node].inputs, **changed})
        clones[current] = Link(copy, current.slot)
    return clones[link]


def _conditioning_outputs(info: NodeInfo) -> list[int]:
    return [slot for slot, kind in enumerate(info.outputs) if kind == "CONDITIONING"]


def _with_input(node: Node, name: str, link: Link) -> Node:
    return replace(node, inputs={**node.inputs, name: link})
