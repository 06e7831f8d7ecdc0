"""The positive prompt of a workflow: where it is encoded, and its text without a phrase.

The positive prompt is what samplers and guiders take as such, whatever the nodes' titles say. If an encoder serves the
negative prompt as well, it is copied, so that only the positive one changes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from ..workflow.graph import Graph, Link, Node, consumers
from ..workflow.lora_tags import TAG, only_tags
from ..workflow.node_info import NodeCatalog, NodeInfo, type_matches
from ..workflow.noise import Constants
from .packs import RULES, NodeRule

_NO_RULE = NodeRule()

NEGATIVE_INPUTS = ("neg", "uncond", "empty", "cond2")
"""Beginnings of the names of negative inputs; ``cond2`` is DualCFGGuider's."""

SEPARATORS = ",;、，"

MARK, HELD = "\0", "\1"
"""Mark where a phrase was, while brackets and separators around it are removed, and where a LoRA tag is kept."""

# A match of spaces must begin at the first of them. Otherwise it is tried from each, in quadratic time.
_SPACES = r"(?<!\s)\s+"
_CLOSING = re.compile(r"\s*(?::\s*[-+]?[\d.]+\s*)?\\?[)\]]")
_AFTER_SEPARATOR = re.compile(rf"(?:{_SPACES}|)[{SEPARATORS}]\s*{MARK}\s*(?=[{SEPARATORS}]|$|[)\]:])")
_BEFORE_SEPARATOR = re.compile(rf"(^|[(\[])\s*{MARK}\s*[{SEPARATORS}]\s*")
_BETWEEN_SPACES = re.compile(rf"{_SPACES}{MARK}(?=[\s)\]{SEPARATORS}]|$)|{MARK}\s*")


@dataclass(frozen=True)
class TextUse:
    """A text input that belongs to the positive prompt, or that loads LoRAs by tags.

    Attributes:
        text: None if other nodes compute it.
        loads_tags: whether its node loads the LoRAs that tags in it name.
    """

    node: str
    input: str
    text: str | None
    loads_tags: bool = False


def is_encoder(info: NodeInfo) -> bool:
    """Whether a node class turns text into conditioning."""
    return info.has_output("CONDITIONING") and info.has_input("CLIP") and info.has_input("STRING")


@dataclass(frozen=True)
class PositivePrompt:
    """The positive prompt of a workflow.

    Attributes:
        graph: the workflow, in which encoders that serve both prompts, and the nodes from there to the samplers, are
            copied for the positive prompt. Rewriting merges copies again that do not differ from their originals.
        texts: all text inputs of all positive encoders.
        copies: copy → its original.
    """

    graph: Graph
    texts: tuple[TextUse, ...]
    copies: Mapping[str, str]


def positive_prompt(graph: Graph, catalog: NodeCatalog, main: Collection[str] | None = None) -> PositivePrompt:
    """Find the texts of the positive prompt.

    Args:
        main: the nodes on the way to the image: a hint that another model makes has a prompt of its own. None: all.
    """
    main = graph.keys() if main is None else main
    walk = _Walk(graph, catalog)
    positive, negative = _Encoders(walk), _Encoders(walk)
    uses: list[tuple[str, str, Link]] = []
    used = set(consumers(graph))
    for node_id, node in graph.items():
        info = catalog.get(node.class_type)
        if node_id not in main or info is None:
            continue
        if any(Link(node_id, slot) in used for slot in _conditioning_outputs(info)):
            continue
        for name, link in node.links():
            if info.input_type(name) != "CONDITIONING":
                continue
            if name.lower().startswith(NEGATIVE_INPUTS):
                negative.add_behind(link)
            else:
                positive.add_behind(link)
                uses.append((node_id, name, link))
    copies: dict[str, str] = {}
    if shared := set(positive.nodes) & set(negative.nodes):
        graph = dict(graph)
        clones: dict[Link, Link] = {}
        walk = _Walk(graph, catalog)
        for node_id, name, link in uses:
            clone = _clone(walk, link, shared, clones, copies)
            graph[node_id] = _with_input(graph[node_id], name, clone)
            walk.forget(node_id)
        positive = _Encoders(walk)
        for node_id, name, _ in uses:
            positive.add_behind(graph[node_id].inputs[name])
    inputs = [(node_id, item) for node_id in positive.nodes for item in _text_inputs(graph[node_id], catalog)]
    own = [(node_id, item) for node_id in graph if node_id in main for item in _rule(graph[node_id]).positive]
    texts = []
    constants = Constants(graph)
    for node_id, name in [*inputs, *own]:
        if name in graph[node_id].inputs:
            value = constants.of(graph[node_id].inputs[name])
            text = value if isinstance(value, str) else None
            texts.append(TextUse(node_id, name, text, name in _rule(graph[node_id]).tags))
    return PositivePrompt(graph, tuple(texts), copies)


def has_phrase(text: str, phrase: str) -> bool:
    """Whether the text holds the phrase, as whole words and in any case. LoRA tags are no part of it."""
    return _pattern(phrase).search(TAG.sub(HELD, text)) is not None


def without_phrase(text: str, phrase: str, neutral: str = "") -> str:
    """The text without the phrase and the weight brackets and separators around it, or with ``neutral`` in its place.

    >>> without_phrase("portrait, (mona_lisa:1.2), oil", "mona_lisa")
    'portrait, oil'
    """
    pattern = _pattern(phrase)
    held = iter(only_tags(text))
    text = TAG.sub(HELD, text.replace(HELD, ""))
    if neutral:
        text = pattern.sub(lambda _: neutral, text)
    else:
        text = _unbracketed(pattern.sub(MARK, text.replace(MARK, "")))
        for expression, instead in ((_AFTER_SEPARATOR, ""), (_BEFORE_SEPARATOR, r"\1"), (_BETWEEN_SPACES, "")):
            text = expression.sub(instead, text)
        text = text.strip(" ") if text.strip() else ""
    return re.sub(HELD, lambda _: next(held, ""), text)


def _unbracketed(text: str) -> str:
    """The text without weight brackets that hold only a mark, at any depth."""
    kept: list[str] = []
    done = 0
    for mark in re.finditer(MARK, text):
        start, end = mark.span()
        while (opening := _opening_bracket(text, start)) is not None and (closing := _CLOSING.match(text, end)):
            start, end = opening, closing.end()
        kept += [text[done:start], MARK]
        done = end
    return "".join([*kept, text[done:]])


def _opening_bracket(text: str, end: int) -> int | None:
    """Where the opening bracket before ``end`` begins, its backslash included; None if there is none."""
    while end and text[end - 1].isspace():
        end -= 1
    if not end or text[end - 1] not in "([":
        return None
    return end - 2 if text[end - 2 : end - 1] == "\\" else end - 1


def _pattern(phrase: str) -> re.Pattern[str]:
    words = r"\s+".join(re.escape(word) for word in phrase.split())
    return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)


class _Walk:
    """Follows conditioning upstream, from an output to the inputs that it comes from.

    A node with several conditioning outputs keeps the positive and the negative prompt apart, so each output comes from
    inputs of its own. All outputs of any other node come from the same inputs, and output 0 stands for them.
    """

    def __init__(self, graph: Graph, catalog: NodeCatalog) -> None:
        self.graph = graph
        self.catalog = catalog
        self._found: dict[str, dict[int, list[tuple[str, Link]]]] = {}

    def forget(self, node_id: str) -> None:
        """Forget a node's inputs, because they have changed."""
        self._found.pop(node_id, None)

    def side(self, link: Link) -> Link:
        """The output that stands for an output: itself, or output 0."""
        info = self.catalog.get(self.graph[link.node].class_type)
        return link if info is not None and len(_conditioning_outputs(info)) > 1 else Link(link.node, 0)

    def sources(self, side: Link) -> list[tuple[str, Link]]:
        """The inputs that an output comes from; ``side`` is the output that stands for it."""
        found = self._found.setdefault(side.node, {})
        if side.slot not in found:
            found[side.slot] = self._read_sources(side)
        return found[side.slot]

    def _read_sources(self, side: Link) -> list[tuple[str, Link]]:
        node = self.graph[side.node]
        info = self.catalog.get(node.class_type)
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
        outputs = _conditioning_outputs(info)
        if len(outputs) < 2:
            return inputs
        own = "positive" if side.slot == outputs[0] else "negative"
        named = [(name, source) for name, source in inputs if name.lower().startswith(own)]
        if named:
            return named
        bypass = info.bypass_input(side.slot)
        return [(name, source) for name, source in inputs if bypass is not None and name == bypass.name]


class _Encoders:
    """The encoders upstream of some outputs, the nearest first. No output is followed twice."""

    def __init__(self, walk: _Walk) -> None:
        self.nodes: dict[str, None] = {}
        self._walk = walk
        self._seen: set[Link] = set()

    def add_behind(self, link: Link) -> None:
        """Add the encoders upstream of an output."""
        stack = [link]
        while stack:
            current = self._walk.side(stack.pop())
            if current in self._seen:
                continue
            self._seen.add(current)
            info = self._walk.catalog.get(self._walk.graph[current.node].class_type)
            if info is not None and is_encoder(info) and not _rule(self._walk.graph[current.node]).positive:
                self.nodes.setdefault(current.node)
            stack.extend(source for _, source in reversed(self._walk.sources(current)))


def _clone(walk: _Walk, link: Link, shared: set[str], clones: dict[Link, Link], copies: dict[str, str]) -> Link:
    """Copy the shared encoders upstream of ``link`` and the nodes from there to it; iterative, encoders first.

    Args:
        walk: its graph gets the copies.
        shared: encoders that serve both prompts.
        clones: gets, for each output, the output that the positive prompt uses.
        copies: gets the original of each copy.

    Returns:
        The output that the positive prompt uses instead of ``link``.
    """
    graph = walk.graph
    stack = [link]
    while stack:
        current = walk.side(stack[-1])
        if current in clones:
            stack.pop()
            continue
        sources = [(name, source, walk.side(source)) for name, source in walk.sources(current)]
        waiting = {side: source for _, source, side in sources if side not in clones and side != current}
        if waiting:
            stack.extend(waiting.values())
            continue
        slot = stack.pop().slot
        changed = {
            name: Link(clones[side].node, source.slot)
            for name, source, side in sources
            if clones[side].node != source.node
        }
        if not changed and current.node not in shared:
            clones[current] = current
            continue
        copy = f"{current.node}+positive{slot or ''}"
        while copy in graph:
            copy += "'"
        copies[copy] = current.node
        graph[copy] = replace(graph[current.node], inputs={**graph[current.node].inputs, **changed})
        clones[current] = Link(copy, current.slot)
    return Link(clones[walk.side(link)].node, link.slot)


def _text_inputs(node: Node, catalog: NodeCatalog) -> list[str]:
    """The inputs of an encoder that hold texts, but for those of the negative prompt."""
    info = catalog.get(node.class_type)
    texts = (item.name for item in (info.inputs if info else ()) if type_matches(item.type, "STRING"))
    return [name for name in texts if not name.lower().startswith("neg")]


def _rule(node: Node) -> NodeRule:
    return RULES.get(node.class_type, _NO_RULE)


def _conditioning_outputs(info: NodeInfo) -> list[int]:
    return [slot for slot, kind in enumerate(info.outputs) if kind == "CONDITIONING"]


def _with_input(node: Node, name: str, link: Link) -> Node:
    return replace(node, inputs={**node.inputs, name: link})
