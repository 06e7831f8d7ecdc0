"""The nodes and links of a UI-format workflow and of its subgraphs.

A subgraph is defined once in the file and may be used many times, also inside other subgraphs. Each use has a
``UiScope`` of its own. They share the subgraph's ``UiContents``, which are read once.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...errors import WorkflowError
from ..graph import MAX_NODES

UiNode = Mapping[str, Any]
"""A node as the file holds it."""

UiInput = Mapping[str, Any]
"""An entry of a node's list of inputs."""

MUTED, BYPASSED = 2, 4
SUBGRAPH_INPUT, SUBGRAPH_OUTPUT = "-10", "-20"
"""Ids of the two boxes inside a subgraph that stand for its own inputs and outputs."""
SET_NODE = "SetNode"

MAX_NESTED = 100
"""Most levels of subgraphs within subgraphs. A node's id in API format has a part for each."""
MAX_ID = 64
"""Most characters of a node's id; ComfyUI writes numbers, and some tools UUIDs."""


class UiLink(NamedTuple):
    """A link from one node's output slot to another's input slot."""

    origin: str
    origin_slot: int
    target: str
    target_slot: int


@dataclass(eq=False)
class UiContents:
    """The nodes and links of the top level, or of a subgraph's definition."""

    nodes: dict[str, UiNode]
    links: dict[str, UiLink]
    definition: Mapping[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def declared(self) -> list[UiInput]:
        """A subgraph's own inputs."""
        return list(self.definition.get("inputs") or ())

    @functools.cached_property
    def places(self) -> dict[Any, int]:
        """The index in ``declared`` of each name; of several inputs with one name, the first."""
        return {one.get("name"): place for place, one in reversed(list(enumerate(self.declared)))}

    @functools.cached_property
    def outputs(self) -> dict[int, UiLink]:
        """For each of a subgraph's own outputs, the link to it."""
        found: dict[int, UiLink] = {}
        for link in self.links.values():
            if link.target == SUBGRAPH_OUTPUT and (link.origin == SUBGRAPH_INPUT or link.origin in self.nodes):
                found.setdefault(link.target_slot, link)
        return found

    @functools.cached_property
    def fed(self) -> dict[int, list[tuple[UiNode, UiInput]]]:
        """For each of a subgraph's own inputs, the nodes and their inputs that are linked to it."""
        by_link: dict[tuple[str, str], list[UiInput]] = {}
        for name in {link.target for link in self.links.values() if link.origin == SUBGRAPH_INPUT} & set(self.nodes):
            for one in self.nodes[name].get("inputs") or ():
                by_link.setdefault((name, str(one.get("link"))), []).append(one)
        found: dict[int, list[tuple[UiNode, UiInput]]] = {}
        for number, link in self.links.items():
            if link.origin == SUBGRAPH_INPUT:
                for one in by_link.get((link.target, number), ()):
                    found.setdefault(link.origin_slot, []).append((self.nodes[link.target], one))
        return found

    @functools.cached_property
    def setters(self) -> dict[Any, UiNode]:
        """The Set nodes by name; of several with one name, the first."""
        found: dict[Any, UiNode] = {}
        for node in self.nodes.values():
            values = node.get("widgets_values")
            if node.get("type") == SET_NODE and isinstance(values, list) and values and is_name(values[0]):
                found.setdefault(values[0], node)
        return found


@dataclass(eq=False)
class UiScope:
    """The top level of a workflow, or the inside of one subgraph node.

    Attributes:
        contents: its nodes and links.
        prefix: the beginning of its nodes' ids in API format, such as ``12:``.
        parent: the scope around it; None at the top level.
        instance: its subgraph node in the parent scope.
        inner: the scopes of its own subgraph nodes, by their ids.
    """

    contents: UiContents
    prefix: str = ""
    parent: UiScope | None = None
    instance: UiNode = field(default_factory=dict)
    inner: dict[str, UiScope] = field(default_factory=dict)

    def id_of(self, node: UiNode) -> str:
        """A node's id in API format."""
        return f"{self.prefix}{node.get('id')}"


class UiWorkflow:
    """A UI-format workflow and the subgraphs that it defines."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data
        self.definitions = _read_definitions(data)
        self._contents: dict[str, UiContents] = {}

    @functools.cached_property
    def front_end(self) -> tuple[int, int]:
        """Major and minor version of the front end that saved the file; zeros where the file does not tell."""
        extra = self._data.get("extra")
        version = extra.get("frontendVersion") if isinstance(extra, Mapping) else None
        found = re.match(r"(\d{1,4})\.(\d{1,4})\.", version) if isinstance(version, str) else None
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def contents(self, kind: str) -> UiContents:
        """The contents of the subgraph with this id, which is also the type of its nodes."""
        if kind not in self._contents:
            self._contents[kind] = _read_contents(self.definitions[kind], self.definitions[kind])
        return self._contents[kind]

    def is_active_subgraph(self, node: UiNode) -> bool:
        """Whether a node is a subgraph whose inside runs."""
        return type_of(node) in self.definitions and mode_of(node) not in (MUTED, BYPASSED)

    def active_nodes(self) -> list[tuple[UiScope, UiNode]]:
        """All nodes that are neither muted nor bypassed, with the insides of subgraphs in place of subgraph nodes.

        Raises:
            WorkflowError: a subgraph contains itself, or there are too many nodes or levels.
        """
        top = UiScope(_read_contents(self._data, {}))
        found: list[tuple[UiScope, UiNode]] = []
        inside: list[tuple[str, UiScope, Iterator[UiNode]]] = [("", top, iter(top.contents.nodes.values()))]
        open_kinds: set[str] = set()
        count = _counted(0, top.contents.nodes, "the workflow")
        while inside:
            kind, scope, nodes = inside[-1]
            entered = self._first_subgraph(scope, nodes, found)
            if entered is None:
                inside.pop()
                open_kinds.discard(kind)
                continue
            kind = type_of(entered)
            title = f"subgraph “{self.definitions[kind].get('name', kind)}”"
            if kind in open_kinds:
                raise WorkflowError(f"{title} contains itself")
            if len(inside) > MAX_NESTED:
                raise WorkflowError(f"{title} lies more than {MAX_NESTED} subgraphs deep; unpack some of them")
            contents = self.contents(kind)
            count = _counted(count, contents.nodes, title)
            name = str(entered["id"])
            scope.inner[name] = UiScope(contents, f"{scope.prefix}{name}:", scope, entered)
            inside.append((kind, scope.inner[name], iter(contents.nodes.values())))
            open_kinds.add(kind)
        return found

    def _first_subgraph(
        self, scope: UiScope, nodes: Iterator[UiNode], found: list[tuple[UiScope, UiNode]]
    ) -> UiNode | None:
        """The next active subgraph node; active nodes before it are added to ``found``."""
        for node in nodes:
            if mode_of(node) in (MUTED, BYPASSED):
                continue
            if type_of(node) in self.definitions:
                return node
            found.append((scope, node))
        return None


def _counted(count: int, nodes: Mapping[str, UiNode], where: str) -> int:
    """The number of nodes so far with these added; refuses too many."""
    if count + len(nodes) > MAX_NODES:
        raise WorkflowError(
            f"the workflow has more than {MAX_NODES:,} nodes when every use of a subgraph is counted (reached in "
            f"{where}), which is more than are supported; use fewer or smaller subgraphs"
        )
    return count + len(nodes)


def _read_contents(raw: Mapping[str, Any], definition: Mapping[str, Any]) -> UiContents:
    nodes = {str(node["id"]): node for node in raw.get("nodes") or () if isinstance(node, Mapping) and "id" in node}
    for name in nodes:
        if len(name) > MAX_ID:
            raise WorkflowError(
                f"the id of node {name[:MAX_ID]}… is longer than {MAX_ID} characters; ComfyUI writes none"
            )
    links: dict[str, UiLink] = {}
    for link in raw.get("links") or ():
        if isinstance(link, Mapping):
            fields = [link.get(key) for key in ("id", "origin_id", "origin_slot", "target_id", "target_slot")]
        elif isinstance(link, (list, tuple)) and len(link) >= 5:
            fields = list(link[:5])
        else:
            continue
        number, origin, origin_slot, target, target_slot = fields
        try:
            links[str(number)] = UiLink(str(origin), int(origin_slot or 0), str(target), int(target_slot or 0))
        except (TypeError, ValueError, OverflowError):
            raise WorkflowError(f"link {number!r} of the workflow has a slot that is no number") from None
    return UiContents(nodes, links, definition)


def _read_definitions(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The subgraphs that a workflow defines, those inside other definitions included, by id."""
    found: dict[str, Mapping[str, Any]] = {}
    waiting = [iter(_subgraphs(data))]
    while waiting:
        one = next(waiting[-1], None)
        if one is None:
            waiting.pop()
        elif isinstance(one.get("id"), str):
            found[one["id"]] = one
            waiting.append(iter(_subgraphs(one)))
    return found


def _subgraphs(data: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return [one for one in (data.get("definitions") or {}).get("subgraphs") or () if isinstance(one, Mapping)]


def type_of(node: UiNode) -> str:
    """The node's type: its class on the server, or the id of its subgraph."""
    return str(node.get("type"))


def mode_of(node: UiNode) -> int:
    """The node's mode, such as ``MUTED``; 0 for a node that runs."""
    mode = node.get("mode", 0)
    return mode if isinstance(mode, int) else 0


def is_name(value: Any) -> bool:
    """Whether a widget value may be the name of a Get or Set node."""
    return value is None or isinstance(value, (str, int, float))


def fits(one: str, other: str) -> bool:
    """Whether an output of one type may be linked to an input of the other, as the front end decides it."""
    if {one, other} & {"", "*", "0"} or one == other:
        return True
    offered = {kind.strip() for kind in one.lower().split(",")}
    return bool(offered & {"", "*"}) or not offered.isdisjoint(kind.strip() for kind in other.lower().split(","))
