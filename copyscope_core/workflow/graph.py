"""API-format workflow graphs: parse, check, walk upstream.

A graph is ``{node id: Node}``; a link is ``[node id, output slot]``, as in ComfyUI's ``POST /prompt``. This module
knows nothing of node classes (``node_info``) or of players (``players``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..errors import WorkflowError

MAX_NODES = 10_000
MAX_DEPTH = 64


class Link(NamedTuple):
    """Output ``slot`` of the node ``node``."""

    node: str
    slot: int


@dataclass(frozen=True)
class Node:
    """One node: its class and its inputs (a ``Link`` or a JSON constant each)."""

    class_type: str
    inputs: Mapping[str, Any]
    title: str | None = field(default=None, compare=False)

    def links(self) -> Iterator[tuple[str, Link]]:
        """The linked inputs, in the node's own order."""
        for name, value in self.inputs.items():
            if isinstance(value, Link):
                yield name, value


Graph = dict[str, Node]


def as_link(value: Any) -> Link | None:
    """The link that a JSON value stands for, by ComfyUI's own rule (``is_link``), else None."""
    if (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], (int, float))
        and not isinstance(value[1], bool)
        and abs(value[1]) <= MAX_NODES  # also refuses NaN, infinity and slots that no node has
    ):
        return Link(value[0], int(value[1]))
    return None


def unwrapped(data: Any) -> Any:
    """The workflow in the body of ``POST /prompt`` or in an entry of ``/history``; anything else as it is.

    Raises:
        WorkflowError: the history holds several runs.
    """
    if not isinstance(data, Mapping) or "class_type" in data:
        return data
    if isinstance(data.get("prompt"), Mapping):
        return data["prompt"]
    if (graph := _graph_of_run(data)) is not None:
        return graph
    runs = [_graph_of_run(entry) for entry in data.values()]
    if not runs or None in runs:
        return data
    if len(runs) > 1:
        raise WorkflowError(f"The history holds {len(runs):,} runs where one is needed; keep the entry of one.")
    return runs[0]


def parse_graph(data: Any) -> Graph:
    """Check an API-format workflow and read it.

    Args:
        data: the parsed JSON: ``{id: {"class_type": …, "inputs": {…}}}``, or what ``unwrapped`` takes off.

    Raises:
        WorkflowError: not an API-format workflow, a link to nowhere, or a cycle; the node is named.
    """
    data = unwrapped(data)
    if not isinstance(data, Mapping) or not data:
        raise WorkflowError("The workflow is not a JSON object of nodes; export it with Workflow → Export (API).")
    if isinstance(data.get("nodes"), list):
        raise WorkflowError("The workflow is in UI format where API format is needed; export it with Export (API).")
    if len(data) > MAX_NODES:
        raise WorkflowError(f"The workflow has {len(data)} nodes; at most {MAX_NODES} are supported.")
    graph: Graph = {}
    for node_id, raw in data.items():
        if not isinstance(raw, Mapping) or not isinstance(raw.get("class_type"), str):
            raise WorkflowError(f"Node {node_id!r} of the workflow has no class_type; export it with Export (API).")
        inputs = raw.get("inputs", {})
        if is_nested_deeper(inputs, MAX_DEPTH):
            raise WorkflowError(f"An input of node {node_id!r} ({raw['class_type']}) is nested too deeply.")
        if not isinstance(inputs, Mapping):
            raise WorkflowError(f"The inputs of node {node_id!r} ({raw['class_type']}) are not a JSON object.")
        meta = raw.get("_meta")
        title = meta.get("title") if isinstance(meta, Mapping) else None
        graph[str(node_id)] = Node(
            raw["class_type"],
            {str(name): as_link(value) or value for name, value in inputs.items()},
            title if isinstance(title, str) else None,
        )
    for node_id, node in graph.items():
        for name, link in node.links():
            if link.node not in graph:
                raise WorkflowError(
                    f"Input {name!r} of node {node_id!r} ({node.class_type}) links to node {link.node!r}, "
                    "which is not in the workflow; reconnect it and export again."
                )
    topological_order(graph, graph)
    return graph


def to_json(graph: Mapping[str, Node]) -> dict[str, Any]:
    """The API-format JSON of a graph."""
    result: dict[str, Any] = {}
    for node_id, node in graph.items():
        inputs = {name: list(value) if isinstance(value, Link) else value for name, value in node.inputs.items()}
        result[node_id] = {"class_type": node.class_type, "inputs": inputs}
        if node.title is not None:
            result[node_id]["_meta"] = {"title": node.title}
    return result


def topological_order(graph: Mapping[str, Node], roots: Iterable[str]) -> list[str]:
    """The ids upstream of ``roots`` (roots included), every node after the nodes it links to.

    Iterative, so that a chain of any length is walked.

    Raises:
        WorkflowError: a cycle, named by one of its nodes.
    """
    order: list[str] = []
    state: dict[str, bool] = {}  # False: its sources are being visited; True: done
    for root in roots:
        stack: list[tuple[str, Iterator[tuple[str, Link]]]] = []
        if root not in state:
            state[root] = False
            stack.append((root, graph[root].links()))
        while stack:
            node_id, links = stack[-1]
            for _, link in links:
                if link.node not in state:
                    state[link.node] = False
                    stack.append((link.node, graph[link.node].links()))
                    break
                if not state[link.node]:
                    raise WorkflowError(
                        f"The workflow has a cycle through node {link.node!r} ({graph[link.node].class_type}); "
                        "remove one of its links."
                    )
            else:
                state[node_id] = True
                order.append(node_id)
                stack.pop()
    return order


def upstream(graph: Mapping[str, Node], root: str) -> Graph:
    """The sub-graph of ``root`` and everything it depends on, in the graph's own order."""
    wanted = set(topological_order(graph, [root]))
    return {node_id: node for node_id, node in graph.items() if node_id in wanted}


def consumers(graph: Mapping[str, Node]) -> dict[Link, list[tuple[str, str]]]:
    """For every linked output, the ``(node id, input name)`` pairs that use it."""
    uses: dict[Link, list[tuple[str, str]]] = {}
    for node_id, node in graph.items():
        for name, link in node.links():
            uses.setdefault(link, []).append((node_id, name))
    return uses


def is_nested_deeper(value: Any, depth: int) -> bool:
    """Whether a JSON value has more than ``depth`` levels of lists, objects and the values in them; iterative."""
    level = [value]
    for _ in range(depth):
        level = [
            child
            for item in level
            if isinstance(item, (Mapping, list, tuple))
            for child in (item.values() if isinstance(item, Mapping) else item)
        ]
        if not level:
            return False
    return True


def uses_by_node(graph: Mapping[str, Node]) -> dict[str, dict[Link, list[tuple[str, str]]]]:
    """``consumers``, grouped by the nodes whose outputs are used."""
    found: dict[str, dict[Link, list[tuple[str, str]]]] = {}
    for link, uses in consumers(graph).items():
        found.setdefault(link.node, {})[link] = uses
    return found


def _graph_of_run(entry: Any) -> Mapping[str, Any] | None:
    """The workflow of one run in ``/history``, whose prompt is number, id, workflow and more; None if it is no run."""
    prompt = entry.get("prompt") if isinstance(entry, Mapping) else None
    return prompt[2] if isinstance(prompt, list) and len(prompt) > 2 and isinstance(prompt[2], Mapping) else None
