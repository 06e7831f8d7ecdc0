"""Which of a workflow's branches are run: switches, bundles of values, and nodes that are switched off.

A node behind a switch is not run if the switch passes another branch on, and a LoRA of strength 0 changes nothing.
``taken`` links every input to where its value really comes from. What it leaves out of the graph has no part in the
images, and so is no player.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..workflow.graph import MAX_NODES, Graph, Link, Node, topological_order
from ..workflow.node_info import NodeCatalog, NodeInfo
from ..workflow.noise import Constants
from .packs import BUNDLES, CHOICES, CONTEXTS, FIRST_OF, OFF, RULES, Choice

NOTHING = object()
"""The value of an output that gives none, such as a value that no one has put into a bundle."""


def taken(graph: Graph, catalog: NodeCatalog) -> tuple[Graph, Routes]:
    """The graph with every input linked past switches, bundles and nodes that are off, and what finds the way."""
    routes = Routes(graph, catalog)
    found = {node_id: routes.relinked(graph[node_id]) for node_id in topological_order(graph, graph)}
    return {node_id: found[node_id] for node_id in graph}, routes


class Routes:
    """Follows outputs of switches, bundles and nodes that are off to where their values come from.

    ``relinked`` must be called for a node's sources before it is called for the node.
    """

    def __init__(self, graph: Mapping[str, Node], catalog: NodeCatalog) -> None:
        self._graph = graph
        self._catalog = catalog
        self._constants = Constants(graph)
        self._known: dict[Link, Any] = {}

    def relinked(self, node: Node) -> Node:
        """The node with its inputs as they are taken; it is the same object if none changes."""
        changed = {name: self.source(link) for name, link in node.links()}
        changed = {name: value for name, value in changed.items() if value != node.inputs[name]}
        if not changed:
            return node
        inputs = {name: changed.get(name, value) for name, value in node.inputs.items()}
        return replace(node, inputs={name: value for name, value in inputs.items() if value is not NOTHING})

    def source(self, link: Link) -> Any:
        """The link or constant that a linked value comes from; ``NOTHING`` if it comes from nothing."""
        passed: list[Link] = []
        found: Any = link  # the last place that stands for the value asked for, and not for the bundle that holds it
        place, part = found, ""
        while isinstance(place, Link):
            if not part:
                if place in self._known:
                    found = self._known[place]
                    break
                passed.append(place)
            following = self._step(place, part)
            if following is None:
                break
            place, part = following
            if not part:
                found = place
        self._known.update(dict.fromkeys(passed, found))
        return found

    def _step(self, link: Link, part: str) -> tuple[Any, str] | None:
        """What an output passes on, and the part of that bundle that is meant; None if it makes its value itself."""
        node = self._graph[link.node]
        names = CONTEXTS.get(node.class_type)
        if names is not None:
            return self._from_bundle(node, part or (names[link.slot] if 0 <= link.slot < len(names) else ""))
        if link.slot == 0 and (choice := CHOICES.get(node.class_type)) is not None:
            name = self._chosen(choice, node)
            return (node.inputs[name], part) if name in node.inputs else None
        if link.slot == 0 and (pattern := FIRST_OF.get(node.class_type)) is not None:
            first = self._first(node, pattern)
            return (NOTHING, "") if first is None else (first, part)
        return self._past_what_is_off(link, part)

    def _chosen(self, choice: Choice, node: Node) -> str:
        value = self._constants.of(node.inputs.get(choice.by))
        if not isinstance(value, int):
            return ""
        if isinstance(choice.inputs, str):
            return choice.inputs.replace("{n}", str(value)) if 0 <= value < MAX_NODES else ""
        return choice.inputs[bool(value)]

    def _first(self, node: Node, pattern: str) -> Any:
        """The first of numbered inputs that holds anything; None if none does."""
        numbered = re.compile(pattern.replace("{n}", r"\d{1,9}"))
        for name in sorted(name for name in node.inputs if numbered.fullmatch(name)):
            value = node.inputs[name]
            if not isinstance(value, Link) or self.source(value) is not NOTHING:
                return value
        return None

    def _from_bundle(self, node: Node, part: str) -> tuple[Any, str] | None:
        if part in BUNDLES or not part:
            return None
        if part in node.inputs:
            return node.inputs[part], ""
        bundle = next((node.inputs[name] for name in BUNDLES if name in node.inputs), self._first(node, "ctx_{n}"))
        if bundle is None:
            return NOTHING, ""
        if isinstance(bundle, Link) and self._graph[bundle.node].class_type in CONTEXTS:
            return bundle, part
        return None

    def _past_what_is_off(self, link: Link, part: str) -> tuple[Any, str] | None:
        node = self._graph[link.node]
        info = self._catalog.get(node.class_type)
        if not any(self._has(node, values) for values in OFF.get(node.class_type, ())) and not (
            info is not None and self._is_zeroed(node, info)
        ):
            return None
        item = info.bypass_input(link.slot) if info else None
        return (node.inputs[item.name], part) if item is not None and item.name in node.inputs else None

    def _has(self, node: Node, values: Mapping[str, Any]) -> bool:
        return all(self._constants.of(node.inputs.get(name)) == value for name, value in values.items())

    def _is_zeroed(self, node: Node, info: NodeInfo) -> bool:
        """Whether all strengths of a LoRA loader that the table does not know are 0."""
        if "lora" not in info.class_type.lower() or node.class_type in RULES or not info.has_input("MODEL", "CLIP"):
            return False
        strengths = [item.name for item in info.inputs if item.type == "FLOAT" and "strength" in item.name]
        return bool(strengths) and all(self._constants.of(node.inputs.get(name)) == 0 for name in strengths)
