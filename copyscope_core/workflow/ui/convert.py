"""UI-format workflows (what ComfyUI saves) to API format (what ComfyUI runs).

The conversion repeats what ComfyUI's front end does when the user presses Run: subgraphs are flattened to ids such as
``12:5``, muted nodes are left out, bypassed nodes, reroutes and Get/Set pairs are followed to their source, primitive
nodes and promoted widgets become values. What cannot be converted is named in a ``WorkflowError``; what was left out
on purpose is listed in ``Conversion.notes``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import WorkflowError
from .scopes import (
    BYPASSED,
    MUTED,
    SUBGRAPH_INPUT,
    SUBGRAPH_OUTPUT,
    Node,
    Scope,
    fits,
    mode_of,
    read_definitions,
    read_scope,
)
from .widgets import Input, Widgets, declared_inputs, read_widgets

Graph = dict[str, dict[str, Any]]

PRIMITIVE, SET_NODE, GET_NODE = "PrimitiveNode", "SetNode", "GetNode"
REROUTES = frozenset({"Reroute", "Reroute (rgthree)"})
NOTES = frozenset({"Note", "MarkdownNote"})
VIRTUAL = NOTES | REROUTES | {PRIMITIVE, SET_NODE, GET_NODE}
"""Node types that live in the front end only and never reach the server."""
LINKS_AT_RUN_TIME = ("Anything Everywhere", "Prompts Everywhere", "Seed Everywhere")
"""Nodes whose links the front end makes up when it queues: they are in no UI file."""
EXPORT = "open it in ComfyUI and export it with “Export (API)”"


@dataclass(frozen=True)
class Conversion:
    """A workflow in API format, and one sentence for each thing of the UI file that was left out or decided."""

    graph: Graph
    notes: tuple[str, ...] = ()


def is_ui_format(data: object) -> bool:
    """True if ``data`` is a workflow as ComfyUI saves it, with lists of nodes and links."""
    return isinstance(data, Mapping) and isinstance(data.get("nodes"), list)


def to_api(data: Mapping[str, Any], object_info: Mapping[str, Any]) -> Graph:
    """The API-format graph of a UI-format workflow; ``object_info`` is the server's ``/object_info``."""
    return convert(data, object_info).graph


def convert(data: Mapping[str, Any], object_info: Mapping[str, Any]) -> Conversion:
    """Like ``to_api``, with the notes beside the graph."""
    if not is_ui_format(data):
        raise WorkflowError("the workflow is not in ComfyUI's UI format: it has no list of nodes")
    try:
        return _Converter(data, object_info).run()
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise WorkflowError(
            f"the workflow file is damaged: a node, link or subgraph has not the form that ComfyUI writes ({error!r})"
        ) from error


@dataclass(frozen=True)
class _Link:
    node: str
    slot: int


@dataclass(frozen=True)
class _Value:
    value: Any


_Source = _Link | _Value | None


def _wrap(value: Any) -> Any:
    """A list would read as a link, so the front end wraps it."""
    return {"__value__": value} if isinstance(value, (list, tuple)) else value


class _Converter:
    def __init__(self, data: Mapping[str, Any], object_info: Mapping[str, Any]) -> None:
        self.data = data
        self.info = object_info
        self.definitions = read_definitions(data)
        self.scopes: dict[tuple[str, ...], Scope] = {}
        self.widgets: dict[str, Widgets] = {}
        self.notes: list[str] = []

    def run(self) -> Conversion:
        top = read_scope(self.data, (), {}, None)
        active = list(self._active(top, ()))
        self._refuse_unknown(active)
        graph: Graph = {}
        for scope, node in active:
            kind = str(node.get("type"))
            if kind in self.info and kind not in VIRTUAL:
                graph[scope.id_of(node)] = self._api_node(scope, node)
        for name, node in graph.items():
            for key, value in list(node["inputs"].items()):
                if isinstance(value, list) and value[0] not in graph:
                    del node["inputs"][key]
                    self.notes.append(
                        f"input {key} of node {name} ({node['class_type']}) comes from muted node {value[0]}, so it is "
                        "not linked"
                    )
        if not graph:
            raise WorkflowError("the workflow has no active node: all are muted, bypassed or notes")
        return Conversion(graph, tuple(self.notes))

    def _active(self, scope: Scope, inside: tuple[str, ...]) -> Iterator[tuple[Scope, Node]]:
        """Every node that is neither muted nor bypassed, with the insides of the subgraphs in use."""
        self.scopes[scope.path] = scope
        for name, node in scope.nodes.items():
            if mode_of(node) in (MUTED, BYPASSED):
                continue
            kind = str(node.get("type"))
            definition = self.definitions.get(kind)
            if definition is None:
                yield scope, node
                continue
            if kind in inside:
                raise WorkflowError(f"subgraph “{definition.get('name', kind)}” contains itself")
            yield from self._active(read_scope(definition, (*scope.path, name), definition, scope), (*inside, kind))

    def _refuse_unknown(self, active: list[tuple[Scope, Node]]) -> None:
        missing: list[str] = []
        grouped: list[str] = []
        wireless: list[str] = []
        for scope, node in active:
            kind = str(node.get("type"))
            label = f"{scope.id_of(node)} ({kind})"
            if kind.startswith(("workflow>", "workflow/")):
                grouped.append(label)
            elif kind.startswith(LINKS_AT_RUN_TIME):
                wireless.append(label)
            elif kind not in self.info and kind not in VIRTUAL:
                if self._is_linked(node):
                    missing.append(label)
                else:
                    self.notes.append(f"node {label} is unknown to the server and linked to nothing, so it is left out")
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

    @staticmethod
    def _is_linked(node: Node) -> bool:
        return any(one.get("link") is not None for one in node.get("inputs") or ()) or any(
            one.get("links") for one in node.get("outputs") or ()
        )

    def _widgets(self, scope: Scope, node: Node) -> Widgets:
        name = scope.id_of(node)
        if name not in self.widgets:
            self.widgets[name] = read_widgets(node, self.info.get(str(node.get("type")), {}))
        return self.widgets[name]

    def _api_node(self, scope: Scope, node: Node) -> dict[str, Any]:
        name, kind = scope.id_of(node), str(node["type"])
        widgets = self._widgets(scope, node)
        inputs = {key: _wrap(value) for key, value in widgets.values.items()}
        for one in node.get("inputs") or ():
            if one.get("link") is None:
                continue
            source = self._resolve_input(scope, node, one, set())
            if isinstance(source, _Value):
                inputs[one["name"]] = _wrap(source.value)
            elif source is not None:
                inputs[one["name"]] = [source.node, source.slot]
        misfits = [text for text in widgets.misfits if not isinstance(inputs.get(text.split(" = ")[0]), list)]
        if misfits:
            raise WorkflowError(
                f"the saved values of node {name} ({kind}) do not fit the inputs that the server lists for it "
                f"({', '.join(misfits)}): the workflow was saved with another version of the node; {EXPORT}"
            )
        self.notes += [f"node {name} ({kind}): {note}" for note in widgets.notes]
        title = node.get("title") or self.info[kind].get("display_name") or kind
        return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}

    # Following links to their source -------------------------------------------------------------------------------

    def _resolve_input(
        self, scope: Scope, node: Node, one: Mapping[str, Any], seen: set[tuple[str, str]], wanted: str | None = None
    ) -> _Source:
        """Where an input's value comes from: a link to a real node, a value, or nothing."""
        where = f"input {one.get('name')} of node {scope.id_of(node)} ({node.get('type')})"
        key = (scope.id_of(node), f"in {one.get('name')}")
        if key in seen:
            raise WorkflowError(f"{where} is linked to itself in a circle")
        seen.add(key)
        if one.get("link") is None:
            return None
        link = scope.links.get(str(one["link"]))
        if link is None:
            raise WorkflowError(f"{where} is linked by link {one['link']}, which the workflow does not hold")
        origin, slot = link[:2]
        if origin == SUBGRAPH_INPUT and scope.parent is not None:
            return self._resolve_boundary(scope, slot, where, seen)
        if origin not in scope.nodes:
            raise WorkflowError(f"{where} is linked to node {origin}, which the workflow does not hold")
        wanted = wanted or self._input_type(node, one)
        return self._resolve_output(scope, scope.nodes[origin], slot, wanted, where, seen)

    def _resolve_boundary(self, scope: Scope, slot: int, where: str, seen: set[tuple[str, str]]) -> _Source:
        """An input that is fed through the subgraph's own input ``slot``."""
        parent, instance = scope.parent, scope.instance
        declared = scope.definition.get("inputs") or ()
        if parent is None or slot >= len(declared):
            raise WorkflowError(f"{where} is linked to input {slot} of its subgraph, which has no such input")
        outer = self._instance_input(instance, declared[slot])
        if outer.get("link") is not None:
            source = self._resolve_input(parent, instance, outer, seen)
            if source is not None or not self._feeds_primitive(parent, outer):
                return source
        return self._promoted_value(scope, slot)

    @staticmethod
    def _feeds_primitive(scope: Scope, one: Mapping[str, Any]) -> bool:
        link = scope.links.get(str(one.get("link")))
        return link is not None and scope.nodes.get(link[0], {}).get("type") == PRIMITIVE

    @staticmethod
    def _instance_input(instance: Node, declared: Mapping[str, Any]) -> Mapping[str, Any]:
        for one in instance.get("inputs") or ():
            if one.get("name") == declared.get("name"):
                return {**one, "type": declared.get("type", "*")}
        return {"name": declared.get("name"), "type": declared.get("type", "*"), "link": None}

    def _resolve_output(
        self, scope: Scope, node: Node, slot: int, wanted: str, where: str, seen: set[tuple[str, str]]
    ) -> _Source:
        """What output ``slot`` of ``node`` stands for, asked for by an input of type ``wanted``."""
        kind = str(node.get("type"))
        if kind in REROUTES or kind == SET_NODE:
            inputs = node.get("inputs") or ()
            return self._resolve_input(scope, node, inputs[0], seen, wanted) if inputs else None
        if kind == GET_NODE:
            return self._resolve_get(scope, node, where, wanted, seen)
        if kind == PRIMITIVE:
            values = node.get("widgets_values")
            return _Value(values[0]) if isinstance(values, list) and values else None
        if mode_of(node) == BYPASSED:
            one = self._bypass(node, slot, wanted)
            if one is None or one.get("link") is None:
                self.notes.append(
                    f"{where} comes from bypassed node {scope.id_of(node)} ({kind}), which passes nothing on"
                )
                return None
            return self._resolve_input(scope, node, one, seen)
        definition = self.definitions.get(kind)
        if definition is not None and mode_of(node) != MUTED:
            return self._resolve_subgraph_output(scope, node, slot, wanted, where, seen)
        return _Link(scope.id_of(node), slot)

    def _resolve_subgraph_output(
        self, scope: Scope, node: Node, slot: int, wanted: str, where: str, seen: set[tuple[str, str]]
    ) -> _Source:
        inner = self.scopes[(*scope.path, str(node["id"]))]
        for origin, origin_slot, target, target_slot in inner.links.values():
            if target == SUBGRAPH_OUTPUT and target_slot == slot:
                if origin == SUBGRAPH_INPUT:
                    return self._resolve_boundary(inner, origin_slot, where, seen)
                if origin in inner.nodes:
                    return self._resolve_output(inner, inner.nodes[origin], origin_slot, wanted, where, seen)
        raise WorkflowError(
            f"{where} is linked to output {slot} of subgraph {scope.id_of(node)}, which is fed by nothing"
        )

    def _resolve_get(self, scope: Scope, node: Node, where: str, wanted: str, seen: set[tuple[str, str]]) -> _Source:
        """A Get node stands for what goes into the Set node of the same name, here or in a graph around it."""
        name = next(iter(node.get("widgets_values") or ()), None)
        level: Scope | None = scope
        while level is not None:
            for other in level.nodes.values():
                values = other.get("widgets_values")
                if other.get("type") == SET_NODE and isinstance(values, list) and values[:1] == [name]:
                    return self._resolve_output(level, other, 0, wanted, where, seen)
            level = level.parent
        raise WorkflowError(f"{where} comes from Get node {scope.id_of(node)}, but no Set node is named {name!r}")

    # Types and bypass ----------------------------------------------------------------------------------------------

    def _slots(self, node: Node) -> list[Mapping[str, Any]]:
        """A node's inputs as the front end lays them out: declared sockets, declared widgets, others of the file."""
        saved = {one.get("name"): one for one in node.get("inputs") or ()}
        definition = self.definitions.get(str(node.get("type")))
        if definition is not None:
            return [self._instance_input(node, one) for one in definition.get("inputs") or ()]
        declared: list[Input] = declared_inputs(self.info.get(str(node.get("type")), {}))
        declared = [one for one in declared if not one.type.startswith("COMFY_AUTOGROW")]
        ordered = [one for one in declared if not one.is_widget] + [one for one in declared if one.is_widget]
        known = {one.name for one in ordered}
        return [{**saved.get(one.name, {}), "name": one.name, "type": self._type(one)} for one in ordered] + [
            one for name, one in saved.items() if name not in known
        ]

    @staticmethod
    def _type(one: Input) -> str:
        if one.type == "COMFY_MATCHTYPE_V3":
            return str((one.options.get("template") or {}).get("allowed_types", "*"))
        return one.type

    def _input_type(self, node: Node, one: Mapping[str, Any]) -> str:
        for slot in self._slots(node):
            if slot.get("name") == one.get("name"):
                return str(slot.get("type", "*"))
        return str(one.get("type", "*"))

    def _bypass(self, node: Node, slot: int, wanted: str) -> Mapping[str, Any] | None:
        """The input whose value a bypassed node passes on at output ``slot``."""
        inputs = self._slots(node)
        outputs = node.get("outputs") or ()
        given = str(outputs[slot].get("type", "*")) if slot < len(outputs) else "*"
        if wanted in ("*", ""):
            return inputs[slot if slot < len(inputs) else 0] if inputs else None
        fitting = [one for one in inputs if fits(str(one.get("type")), given) and fits(str(one.get("type")), wanted)]
        if slot < len(inputs) and inputs[slot] in fitting:
            return inputs[slot]
        same = (one for one in inputs if one.get("type") == wanted)
        return next(same, fitting[0] if fitting else None)

    # Promoted widgets ----------------------------------------------------------------------------------------------

    def _targets(self, scope: Scope, slot: int) -> Iterator[tuple[Node, Mapping[str, Any]]]:
        """The inputs inside a subgraph that its own input ``slot`` feeds."""
        for number, (origin, origin_slot, target, _) in scope.links.items():
            if origin == SUBGRAPH_INPUT and origin_slot == slot and target in scope.nodes:
                node = scope.nodes[target]
                for one in node.get("inputs") or ():
                    if str(one.get("link")) == number:
                        yield node, one

    def _inner_value(self, scope: Scope, slot: int) -> _Value | None:
        """The value of the first widget that a subgraph's input ``slot`` feeds; None if it feeds sockets only."""
        for node, one in self._targets(scope, slot):
            inner = self.scopes.get((*scope.path, str(node["id"])))
            if inner is not None:
                names = [declared.get("name") for declared in inner.definition.get("inputs") or ()]
                if one.get("name") in names:
                    found = self._promoted_value(inner, names.index(one.get("name")))
                    if found is not None:
                        return found
            else:
                widgets = self._widgets(scope, node)
                if one.get("name") in widgets.names and one["name"] in widgets.values:
                    return _Value(widgets.values[one["name"]])
        return None

    def _promoted_value(self, scope: Scope, slot: int) -> _Value | None:
        """What the subgraph node shows for the widget it promotes at input ``slot``."""
        inner = self._inner_value(scope, slot)
        if inner is None:
            return None
        instance = scope.instance
        declared = scope.definition.get("inputs") or ()
        saved = instance.get("widgets_values")
        if not isinstance(saved, list):
            return inner
        proxies = (instance.get("properties") or {}).get("proxyWidgets")
        if proxies:
            names = [str(proxy[1]) if str(proxy[0]) == "-1" else None for proxy in proxies]
        else:
            names = [str(one.get("name")) for i, one in enumerate(declared) if self._inner_value(scope, i) is not None]
        name = str(declared[slot].get("name"))
        if name in names and names.index(name) < len(saved) and saved[names.index(name)] is not None:
            return _Value(saved[names.index(name)])
        return inner
