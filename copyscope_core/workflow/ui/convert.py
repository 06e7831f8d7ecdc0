"""Converts UI-format workflows (what ComfyUI saves) to API format (what ComfyUI runs).

The conversion repeats what ComfyUI's front end does when the user presses Run: subgraphs are flattened to ids such as
``12:5``; muted nodes are left out; links through bypassed nodes, reroutes and Get/Set pairs are followed to their
source; primitive nodes and promoted widgets become values. A ``WorkflowError`` names what cannot be converted, and
``Conversion.notes`` what is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import WorkflowError
from ..graph import Link, is_nested_deeper
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

MAX_LEVELS = 256
"""Most levels of lists and objects within each other in a UI file."""


@dataclass(frozen=True)
class Conversion:
    """A workflow in API format, and a sentence for each thing that was left out or chosen in the conversion."""

    graph: ApiWorkflow
    notes: tuple[str, ...] = ()


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
        self._refuse_unknown(active)
        graph: ApiWorkflow = {}
        for scope, node in active:
            if type_of(node) in self._info and type_of(node) not in VIRTUAL:
                graph[scope.id_of(node)] = self._api_node(scope, node)
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
        return Conversion(graph, tuple(self._notes))

    def _refuse_unknown(self, active: Sequence[tuple[UiScope, UiNode]]) -> None:
        """Refuse node types that cannot be converted."""
        missing: list[str] = []
        grouped: list[str] = []
        wireless: list[str] = []
        for scope, node in active:
            kind = type_of(node)
            label = f"{scope.id_of(node)} ({kind})"
            if kind.startswith(GROUP_PREFIXES):
                grouped.append(label)
            elif kind.startswith(LINKS_AT_RUN_TIME):
                wireless.append(label)
            elif kind not in self._info and kind not in VIRTUAL:
                if _is_linked(node):
                    missing.append(label)
                else:
                    note = f"node {label} is unknown to the server and linked to nothing, so it is left out"
                    self._notes.append(note)
        if grouped:
            raise WorkflowError(
                f"the workflow uses group nodes, a format that ComfyUI has replaced by subgraphs: node "
                f"{', '.join(grouped)}; {EXPORT}"
            )
        if wireless:
            raise WorkflowError(
                f"node {', '.join(wireless)} makes links that the workflow file does not hold; {EXPORT}"
            )
        if missing:
            raise WorkflowError(
                f"the server has no such node: {', '.join(missing)}; install the node pack there, or remove, mute or "
                "bypass the node"
            )

    def _api_node(self, scope: UiScope, node: UiNode) -> dict[str, Any]:
        """A node in API format."""
        name, kind = scope.id_of(node), str(node["type"])
        widgets = self._widgets.widgets(node)
        inputs = {key: _wrap(value) for key, value in widgets.values.items()}
        for one in node.get("inputs") or ():
            if one.get("link") is None:
                continue
            source = self._links.source(scope, node, one)
            if isinstance(source, Value):
                inputs[one["name"]] = _wrap(source.value)
            elif isinstance(source, Link):
                inputs[one["name"]] = [source.node, source.slot]
        misfits = [text for text in widgets.misfits if not isinstance(inputs.get(text.split(" = ")[0]), list)]
        if misfits:
            raise WorkflowError(
                f"the saved values of node {name} ({kind}) do not fit the inputs that the server lists for it "
                f"({', '.join(misfits)}): the workflow was saved with another version of the node; {EXPORT}"
            )
        self._notes += [f"node {name} ({kind}): {note}" for note in widgets.notes]
        title = node.get("title") or self._info[kind].get("display_name") or kind
        return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}


def _is_linked(node: UiNode) -> bool:
    return any(one.get("link") is not None for one in node.get("inputs") or ()) or any(
        one.get("links") for one in node.get("outputs") or ()
    )


def _wrap(value: Any) -> Any:
    """A constant in API format, where a list would be taken for a link: the front end wraps it."""
    return {"__value__": value} if isinstance(value, (list, tuple)) else value
