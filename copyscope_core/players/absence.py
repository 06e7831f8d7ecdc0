"""Absence rules: what a workflow becomes when a component is absent.

A rule is data: outputs that are replaced by other outputs (``redirects``), inputs that get another value (``edits``)
and phrases that are removed from prompts. ``rewrite`` applies the rules of all absent players at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..workflow.graph import Graph, Link, Node, uses_by_node
from ..workflow.node_info import NodeCatalog, NodeInfo
from .prompts import TextUse

GREY = 0x808080


class Edit(NamedTuple):
    """Another value for an input, or for a part of it.

    Attributes:
        value: the value; it may be a ``Link``.
        path: keys and places that lead to the part; empty for the whole input.
    """

    node: str
    input: str
    value: Any
    path: tuple[str | int, ...] = ()


@dataclass(frozen=True)
class Absence:
    """How the workflow changes if a player is absent.

    Attributes:
        rule: the rule as a sentence, for plans and reports.
        redirects: output → the output used in its place; None if inputs linked to it are left out.
        edits: inputs that get another value.
        texts: the text inputs that change.
        phrase: what is removed from the texts; None if the whole text is.
        neutral: the text that takes the place of what is removed.
        tag: the LoRA whose tags are removed from the texts, instead of a phrase; None for a prompt.
    """

    rule: str
    redirects: Mapping[Link, Link | None] = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    texts: tuple[TextUse, ...] = ()
    phrase: str | None = None
    neutral: str = ""
    tag: str | None = None


def baseline(edits: tuple[Edit, ...]) -> Absence:
    """The loader loads other files of the same family; the edits put their names into its inputs."""
    return Absence("replaced by the baseline " + ", ".join(sorted({edit.value for edit in edits})), edits=edits)


def tag(name: str, texts: tuple[TextUse, ...]) -> Absence:
    """The tags of a LoRA are removed from the texts that load it."""
    return Absence("its tag is removed from the text", texts=texts, tag=name)


def checkpoint_vae(outputs: tuple[Link, ...], source: Link) -> Absence:
    """The checkpoint's own VAE, at output ``source``, replaces that of VAE loaders, at ``outputs``."""
    redirects: dict[Link, Link | None] = dict.fromkeys(outputs, source)
    return Absence(
        f"replaced by the VAE of the checkpoint in node {source.node}, the baseline's where that is absent too",
        redirects,
    )


def prompt(texts: tuple[TextUse, ...], phrase: str | None, neutral: str) -> Absence:
    """A phrase, or the whole positive text if ``phrase`` is None, is removed or replaced by ``neutral``."""
    what = "the positive text" if phrase is None else f"the phrase “{phrase}”"
    becomes = f"becomes “{neutral}”" if neutral else ("is empty" if phrase is None else "is removed")
    return Absence(f"{what} {becomes}", texts=texts, phrase=phrase, neutral=neutral)


class AbsenceRules:
    """The absence rules that depend on how a graph's nodes are linked."""

    def __init__(self, graph: Graph, catalog: NodeCatalog) -> None:
        self._graph = graph
        self._catalog = catalog
        self._uses = uses_by_node(graph)
        self._dispensable: dict[tuple[str, str], bool] = {}

    def bypass(self, node_id: str, info: NodeInfo, types: tuple[str, ...] = ()) -> Absence | str:
        """The node is bypassed: each output in use is replaced by what is linked to the input of its slot or type.

        Args:
            types: the outputs that are replaced, by their types; none given: all.

        Returns:
            The rule, or a sentence that says why the node cannot be bypassed.
        """
        redirects: dict[Link, Link | None] = {}
        for link, uses in self._uses.get(node_id, {}).items():
            if types and info.output_type(link.slot) not in types:
                continue
            item = info.bypass_input(link.slot)
            source = self._graph[node_id].inputs.get(item.name) if item else None
            if isinstance(source, Link):
                redirects[link] = source
            elif item is not None and item.optional and all(self._is_dispensable(use) for use in uses):
                redirects[link] = None
            else:
                kind = info.output_type(link.slot) or "unknown type"
                return f"it cannot be bypassed: no input can stand in for its output {link.slot} ({kind})"
        return Absence("bypassed: each output takes the input of its type", redirects)

    def merge_bypass(self, nodes: tuple[str, ...]) -> Absence | None:
        """The merges that use a loader's model are bypassed; None if it has other uses, or is a merge's first model."""
        redirects: dict[Link, Link | None] = {}
        own = set(nodes)
        for consumer, name in (use for node in nodes for uses in self._uses.get(node, {}).values() for use in uses):
            info = self._catalog.get(self._graph[consumer].class_type)
            kind = info.class_type.lower() if info else ""
            if info is None or "merge" not in kind or "subtract" in kind or len(info.outputs) != 1:
                return None
            first = info.bypass_input(0)
            kept = self._graph[consumer].inputs.get(first.name) if first else None
            if first is None or first.name == name or not isinstance(kept, Link) or kept.node in own:
                return None
            redirects[Link(consumer, 0)] = kept
        return Absence("its merge is bypassed: the merge's other model stands alone", redirects) if redirects else None

    def users(self, node_id: str, types: tuple[str, ...]) -> set[str]:
        """The nodes that use a node's outputs of these types."""
        info = self._catalog.get(self._graph[node_id].class_type)
        return {
            consumer
            for link, uses in self._uses.get(node_id, {}).items()
            if info is not None and info.output_type(link.slot) in types
            for consumer, _ in uses
        }

    def grey_image(self, node_id: str) -> tuple[dict[str, Node], Absence]:
        """An input image is replaced by a neutral grey image of its size.

        Returns:
            The nodes to add to the graph, and the rule.
        """
        size, grey = f"{node_id}+size", f"{node_id}+grey"
        added = {
            size: Node("GetImageSize", {"image": Link(node_id, 0)}),
            grey: Node(
                "EmptyImage",
                {"width": Link(size, 0), "height": Link(size, 1), "batch_size": Link(size, 2), "color": GREY},
            ),
        }
        uses = self._uses.get(node_id, {}).get(Link(node_id, 0), [])
        edits = tuple(Edit(consumer, name, Link(grey, 0)) for consumer, name in uses)
        return added, Absence("replaced by a neutral grey image of the same size", edits=edits)

    def _is_dispensable(self, use: tuple[str, str]) -> bool:
        """Whether a node runs without an input, and the nodes that it passes the input on to do as well; iterative."""
        stack = [use]
        while stack:
            current = stack[-1]
            if current in self._dispensable:
                stack.pop()
                continue
            passed_on = self._passed_on(*current)
            waiting = [other for other in passed_on or () if other not in self._dispensable]
            if waiting:
                stack.extend(waiting)
                continue
            self._dispensable[current] = passed_on is not None and all(map(self._dispensable.__getitem__, passed_on))
        return self._dispensable[use]

    def _passed_on(self, consumer: str, name: str) -> list[tuple[str, str]] | None:
        """The inputs of other nodes that get a node's optional input if it is bypassed; None if it is required."""
        info = self._catalog.get(self._graph[consumer].class_type)
        item = info.input(name) if info else None
        if info is None or item is None or not item.optional:
            return None
        return [
            use
            for link, uses in self._uses.get(consumer, {}).items()
            if (passed := info.bypass_input(link.slot)) and passed.name == name
            for use in uses
        ]
