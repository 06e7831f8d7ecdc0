"""The graphs inside a UI-format workflow: its nodes and links, and those of its subgraphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import WorkflowError

Node = Mapping[str, Any]

MUTED, BYPASSED = 2, 4
SUBGRAPH_INPUT, SUBGRAPH_OUTPUT = "-10", "-20"
"""Ids of the two boxes inside a subgraph that stand for its own inputs and outputs."""


@dataclass
class Scope:
    """A graph of the file: the top level, or one instance of a subgraph."""

    path: tuple[str, ...]
    nodes: dict[str, Node]
    links: dict[str, tuple[str, int, str, int]]
    definition: Mapping[str, Any] = field(default_factory=dict)
    parent: Scope | None = None

    def id_of(self, node: Node) -> str:
        return ":".join((*self.path, str(node.get("id"))))

    @property
    def instance(self) -> Node:
        """The subgraph node, in the parent scope, that this scope is the inside of."""
        assert self.parent is not None  # only called below the top level
        return self.parent.nodes[self.path[-1]]


def read_scope(
    graph: Mapping[str, Any], path: tuple[str, ...], definition: Mapping[str, Any], parent: Scope | None
) -> Scope:
    nodes = {str(node["id"]): node for node in graph.get("nodes") or () if isinstance(node, Mapping) and "id" in node}
    links: dict[str, tuple[str, int, str, int]] = {}
    for link in graph.get("links") or ():
        if isinstance(link, Mapping):
            fields = [link.get(key) for key in ("id", "origin_id", "origin_slot", "target_id", "target_slot")]
        elif isinstance(link, (list, tuple)) and len(link) >= 5:
            fields = list(link[:5])
        else:
            continue
        number, origin, origin_slot, target, target_slot = fields
        try:
            links[str(number)] = (str(origin), int(origin_slot or 0), str(target), int(target_slot or 0))
        except (TypeError, ValueError):
            raise WorkflowError(f"link {number!r} of the workflow has a slot that is no number") from None
    return Scope(path, nodes, links, definition, parent)


def read_definitions(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for one in (data.get("definitions") or {}).get("subgraphs") or ():
        if isinstance(one, Mapping) and isinstance(one.get("id"), str):
            found[one["id"]] = one
            found.update(read_definitions(one))
    return found


def mode_of(node: Node) -> int:
    mode = node.get("mode", 0)
    return mode if isinstance(mode, int) else 0


def fits(one: str, other: str) -> bool:
    """True if an output of one type may be linked to an input of the other, as the front end decides it."""
    if {one, other} & {"", "*", "0"} or one == other:
        return True
    first, second = one.lower().split(","), other.lower().split(",")
    return any(a.strip() in ("", "*") or a.strip() == b.strip() for a in first for b in second)
