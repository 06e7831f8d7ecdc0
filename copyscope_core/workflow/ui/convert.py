"""Converts UI-format workflows (what ComfyUI saves) to API format (what ComfyUI runs).

The conversion repeats what ComfyUI's front end does when the user presses Run: subgraphs are flattened to ids such as
``12:5``; muted nodes are left out; links through bypassed nodes, reroutes and Get/Set pairs are followed to their
source; primitive nodes and promoted widgets become values. A ``WorkflowError`` names what cannot be converted, and
``Conversion.notes`` what is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import WorkflowError
from ..graph import Graph, Link, is_nested_deeper, parse_graph
from .links import PASSING, Links
from .promoted import PromotedWidgets, Value
from .scopes import UiNode, UiScope, UiWorkflow, type_of

ApiWorkflow = dict[str, dict[str, Any]]
"""A workflow in API format, as JSON."""

NOTES = frozenset({"Note", "MarkdownNote"})
VIRTUAL = NOTES | PASSING
"""Node types that live in the front end only and never reach the server."""
GROUP_PREFIXES = ("workflow>", "workflow/")
LINKS_AT_RUN_TIME = ("Anything Everywhere", "Prompts Everywhere", "Seed Everywhere")
"""Node types whose links the front end makes when it queues a prompt, so that no UI file holds them."""
EXPORT = "open it in ComfyUI and export it with “Export (API)”"

MOST_LISTED = 5
"""Values that an error message names."""

_PACK = re.compile(r"[\w.-]{1,100}(?:/[\w.-]{1,100})?", re.ASCII)

MAX_LEVELS = 256
"""Most levels of lists and objects within each other in a UI file."""


@dataclass(frozen=True)
class Conversion:
    """A workflow in API format.

    Attributes:
        notes: a sentence for each thing that was left out or chosen in the conversion.
        packs: for each class that the server lacks, what to install. Its nodes are in the graph with their links
            alone: they may be of no account to the image.
    """

    graph: ApiWorkflow
    notes: tuple[str, ...] = ()
    packs: Mapping[str, str] = field(default_factory=dict)


def is_ui_format(data: object) -> bool:
    """Whether ``data`` is a workflow as ComfyUI saves it, with lists of nodes and links."""
    return isinstance(data, Mapping) and isinstance(data.get("nodes"), list)


def to_api(data: Mapping[str, Any], object_info: Mapping[str, Any]) -> ApiWorkflow:
    """The workflow in API format; ``object_info`` is the server's ``/object_info``."""
    return convert(data, object_info).graph


def convert(data: Mapping[str, Any], object_info: Mapping[str, Any]) -> Conversion:
    """Like ``to_api``, with the notes beside the workflow.

    Raises:
        WorkflowError: the file is damaged or too large, or holds what cannot be converted; the node is named.
    """
    if not is_ui_format(data):
        raise WorkflowError("the workflow is not in ComfyUI's UI format: it has no list of nodes")
    if is_nested_deeper(data, MAX_LEVELS):
        raise WorkflowError(
            f"the workflow file has more than {MAX_LEVELS} lists and objects within each other, which ComfyUI never "
            "writes; save it again there"
        )
    try:
        return _Converter(data, object_info).run()
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise WorkflowError(
            f"the workflow file is damaged: a node, link or subgraph has not the form that ComfyUI writes ({error!r})"
        ) from error


def differing(graph: Graph, ui: Mapping[str, Any], object_info: Mapping[str, Any]) -> list[str]:
    """The first nodes that a workflow in API format and one in UI format do not have alike, by their ids.

    None if they are alike, or if the UI format cannot be converted.
    """
    try:
        other = parse_graph(convert(ui, object_info).graph)
    except WorkflowError:
        return []
    names = dict.fromkeys([*graph, *other])
    return [name for name in names if graph.get(name) != other.get(name)][:MOST_LISTED]


class _Converter:
    """Converts one workflow, and collects the notes."""

    def __init__(self, data: Mapping[str, Any], object_info: Mapping[str, Any]) -> None:
        self._info = object_info
        self._workflow = UiWorkflow(data)
        self._widgets = PromotedWidgets(self._workflow, object_info)
        self._notes: list[str] = []
        self._links = Links(self._workflow, object_info, self._widgets, self._notes)

    def run(self) -> Conversion:
        """The converted workflow."""
        active = self._workflow.active_nodes()
        self._refuse_unreadable(active)
        graph: ApiWorkflow = {}
        packs: dict[str, str] = {}
        for scope, node in active:
            kind = type_of(node)
            if kind in VIRTUAL:
                continue
            if kind in self._info:
                graph[scope.id_of(node)] = self._api_node(scope, node)
            elif _is_linked(node):
                packs.setdefault(kind, _what_to_install(node))
                inputs = self._linked_inputs(scope, node)
                graph[scope.id_of(node)] = {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}
            else:
                note = f"node {scope.id_of(node)} ({kind}) is unknown to the server and linked to nothing"
                self._notes.append(f"{note}, so it is left out")
        for name, converted in graph.items():
            for key, value in list(converted["inputs"].items()):
                if isinstance(value, list) and value[0] not in graph:
                    del converted["inputs"][key]
                    self._notes.append(
                        f"input {key} of node {name} ({converted['class_type']}) comes from muted node {value[0]}, so "
                        "it is not linked"
                    )
        if not graph:
            raise WorkflowError("the workflow has no active node: all are muted, bypassed or notes")
        return Conversion(graph, tuple(self._notes), packs)

    def _refuse_unreadable(self, active: Sequence[tuple[UiScope, UiNode]]) -> None:
        """Refuse node types that cannot be converted, wherever they are: they may stand for any others."""
        grouped: list[str] = []
        wireless: list[str] = []
        for scope, node in active:
            kind = type_of(node)
            label = f"{scope.id_of(node)} ({kind})"
            if kind.startswith(GROUP_PREFIXES):
                grouped.append(label)
            elif kind.startswith(LINKS_AT_RUN_TIME):
                wireless.append(label)
        if grouped:
            raise WorkflowError(
                f"the workflow uses group nodes, a format that ComfyUI has replaced by subgraphs: node "
                f"{', '.join(grouped)}; {EXPORT}"
            )
        if wireless:
            raise WorkflowError(
                f"node {', '.join(wireless)} makes links that the workflow file does not hold; {EXPORT}"
            )

    def _api_node(self, scope: UiScope, node: UiNode) -> dict[str, Any]:
        """A node in API format."""
        name, kind = scope.id_of(node), str(node["type"])
        widgets = self._widgets.widgets(node)
        inputs = {key: _wrap(value) for key, value in widgets.values.items()} | self._linked_inputs(scope, node)
        if widgets.lost:
            raise WorkflowError(
                f"node {name} ({kind}) holds {', '.join(map(repr, widgets.lost[:MOST_LISTED]))} in values that the "
                f"server's /object_info does not declare, so that they would be lost; {EXPORT}"
            )
        misfits = [text for text in widgets.misfits if not isinstance(inputs.get(text.split(" = ")[0]), list)]
        if misfits:
            raise WorkflowError(
                f"the saved values of node {name} ({kind}) do not fit the inputs that the server lists for it "
                f"({', '.join(misfits)}): the workflow was saved with another version of the node; {EXPORT}"
            )
        self._notes += [f"node {name} ({kind}): {note}" for note in widgets.notes]
        title = node.get("title") or self._info[kind].get("display_name") or kind
        return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}

    def _linked_inputs(self, scope: UiScope, node: UiNode) -> dict[str, Any]:
        """The inputs of a node that are linked, in API format."""
        inputs: dict[str, Any] = {}
        for one in node.get("inputs") or ():
            source = self._links.source(scope, node, one) if one.get("link") is not None else None
            if isinstance(source, Value):
                inputs[one["name"]] = _wrap(source.value)
            elif isinstance(source, Link):
                inputs[one["name"]] = [source.node, source.slot]
        return inputs


def _what_to_install(node: UiNode) -> str:
    """What to install for a node of an unknown class, as the file says it: its pack in the registry or on GitHub."""
    properties = node.get("properties")
    named = properties if isinstance(properties, Mapping) else {}
    pack, repository = named.get("cnr_id"), named.get("aux_id")
    if pack == "comfy-core":
        return "update ComfyUI, which has it in a newer version"
    if isinstance(pack, str) and _PACK.fullmatch(pack):
        return f"install the node pack {pack!r} (with ComfyUI-Manager, or comfy node install {pack})"
    if isinstance(repository, str) and _PACK.fullmatch(repository):
        return f"install the node pack https://github.com/{repository}"
    return "install its pack"


def _is_linked(node: UiNode) -> bool:
    return any(one.get("link") is not None for one in node.get("inputs") or ()) or any(
        one.get("links") for one in node.get("outputs") or ()
    )


def _wrap(value: Any) -> Any:
    """A constant in API format, where a list would be taken for a link: the front end wraps it."""
    return {"__value__": value} if isinstance(value, (list, tuple)) else value
