"""Finds the sources of inputs in a UI-format workflow.

Between an input and its source there may be reroutes, Get and Set nodes, primitives, bypassed nodes and the borders of
subgraphs. A step leads from an input to the output linked to it, or from an output to the input that it passes on.
Steps are taken in a loop, not by recursion, so that a row of such nodes may have any length.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...errors import WorkflowError
from ..graph import MAX_NODES, Link
from .promoted import PromotedWidgets, Value
from .scopes import (
    BYPASSED,
    MUTED,
    SET_NODE,
    SUBGRAPH_INPUT,
    UiInput,
    UiNode,
    UiScope,
    UiWorkflow,
    fits,
    is_name,
    mode_of,
    type_of,
)
from .widgets import declared_inputs

PRIMITIVE, GET_NODE = "PrimitiveNode", "GetNode"
REROUTES = frozenset({"Reroute", "Reroute (rgthree)"})
PASSING = REROUTES | {PRIMITIVE, SET_NODE, GET_NODE}
"""Node types of the front end that pass a value on and never reach the server."""

LOSES_PRIMITIVES = (1, 46)
"""Front ends from this version on do not send a primitive node's value into a subgraph."""

MAX_STEPS = 50 * MAX_NODES
"""Most steps for all links of a workflow together; ordinary ones take some ten steps per node."""

Source = Link | Value | None
"""An output of a node that runs, a constant, or nothing."""


class _Input(NamedTuple):
    """A node's input. ``wanted`` is the type that its source must have, or None if the input's own type is."""

    scope: UiScope
    node: UiNode
    one: UiInput
    wanted: str | None = None

    def __str__(self) -> str:
        return f"input {self.one.get('name')} of node {self.scope.id_of(self.node)} ({type_of(self.node)})"


class _Output(NamedTuple):
    """Output ``slot`` of a node, which must have the type ``wanted``. ``asked`` is the input, for error messages."""

    scope: UiScope
    node: UiNode
    slot: int
    wanted: str
    asked: _Input


class Links:
    """Follows the links of a workflow.

    Args:
        workflow: the workflow; its ``active_nodes`` have been read.
        object_info: the server's ``/object_info``.
        promoted: the workflow's widget values.
        notes: gets a sentence for each input without a source because a bypassed node passes nothing on.
    """

    def __init__(
        self, workflow: UiWorkflow, object_info: Mapping[str, Any], promoted: PromotedWidgets, notes: list[str]
    ) -> None:
        self._notes = notes
        self._workflow = workflow
        self._info = object_info
        self._promoted = promoted
        self._steps = 0
        self._known: dict[tuple[int, int, int, str], Source] = {}
        self._slots: dict[int, list[UiInput]] = {}
        self._types: dict[int, dict[Any, str]] = {}

    def source(self, scope: UiScope, node: UiNode, one: UiInput) -> Source:
        """The source of a node's input; None if it has none.

        Raises:
            WorkflowError: a link leads nowhere or in a circle, or following the links takes too many steps.
        """
        place: _Input | _Output | Source = _Input(scope, node, one)
        seen: set[tuple[int, str, str]] = set()
        passed: list[tuple[int, int, int, str]] = []
        noted = len(self._notes)
        while isinstance(place, (_Input, _Output)):
            self._count(1)
            if isinstance(place, _Output):
                output = (id(place.scope), id(place.node), place.slot, place.wanted)
                if output in self._known:
                    place = self._known[output]
                    break
                passed.append(output)
                place = self._behind(place)
                continue
            key = (id(place.scope), str(place.node.get("id")), str(place.one.get("name")))
            if key in seen:
                raise WorkflowError(f"{place} is linked to itself in a circle")
            seen.add(key)
            place = self._linked(place)
        if noted == len(self._notes):  # a note names the input, so another input must get its own
            self._known.update(dict.fromkeys(passed, place))
        return place

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise WorkflowError(
                f"following the workflow's links through reroutes, bypassed nodes and subgraphs takes more than "
                f"{MAX_STEPS:,} steps, which is more than are supported; link the nodes more directly"
            )

    # From an input -------------------------------------------------------------------------------------------------

    def _linked(self, asked: _Input) -> _Input | _Output | Source:
        """The step from an input to what is linked to it."""
        scope, node, one, wanted = asked
        if one.get("link") is None:
            return None
        link = scope.contents.links.get(str(one["link"]))
        if link is None:
            raise WorkflowError(f"{asked} is linked by link {one['link']}, which the workflow does not hold")
        if link.origin == SUBGRAPH_INPUT and scope.parent is not None:
            return self._outside(scope, scope.parent, link.origin_slot, asked)
        if link.origin not in scope.contents.nodes:
            raise WorkflowError(f"{asked} is linked to node {link.origin}, which the workflow does not hold")
        wanted = wanted or self._type(node, one)
        return _Output(scope, scope.contents.nodes[link.origin], link.origin_slot, wanted, asked)

    def _outside(self, scope: UiScope, parent: UiScope, slot: int, asked: _Input) -> _Input | Source:
        """The step out of a subgraph, to input ``slot`` of the subgraph node, or to the widget value there."""
        if not 0 <= slot < len(scope.contents.declared):
            raise WorkflowError(f"{asked} is linked to input {slot} of its subgraph, which has no such input")
        outer = self._inputs(scope.instance)[slot]
        if outer.get("link") is None:
            return self._promoted.shown(scope.instance)[slot]
        primitive = self._primitive(parent, outer)
        if primitive is not None and _primitive_value(primitive) is None:
            return self._promoted.shown(scope.instance)[slot]
        if primitive is not None and self._workflow.front_end >= LOSES_PRIMITIVES:
            self._notes.append(
                f"{asked} keeps its own value: the front end that saved the workflow shows the value of primitive node "
                f"{parent.id_of(primitive)} on the subgraph, but does not send it"
            )
            return None
        return _Input(parent, scope.instance, outer)

    @staticmethod
    def _primitive(scope: UiScope, one: UiInput) -> UiNode | None:
        """The primitive node that is linked to an input."""
        link = scope.contents.links.get(str(one.get("link")))
        node = scope.contents.nodes.get(link.origin) if link is not None else None
        return node if node is not None and type_of(node) == PRIMITIVE else None

    # From an output ------------------------------------------------------------------------------------------------

    def _behind(self, place: _Output) -> _Input | _Output | Source:
        """The step from an output to what it passes on; a ``Link`` if the node runs."""
        scope, node, slot, wanted, asked = place
        kind = type_of(node)
        if kind in REROUTES or kind == SET_NODE:
            inputs = node.get("inputs") or ()
            return _Input(scope, node, inputs[0], wanted) if inputs else None
        if kind == GET_NODE:
            return self._setter(place)
        if kind == PRIMITIVE:
            return _primitive_value(node)
        if mode_of(node) == BYPASSED:
            one = self._bypass(node, slot, wanted)
            if one is None or one.get("link") is None:
                self._notes.append(
                    f"{asked} comes from bypassed node {scope.id_of(node)} ({kind}), which passes nothing on"
                )
                return None
            return _Input(scope, node, one)
        if kind in self._workflow.definitions and mode_of(node) != MUTED:
            return self._inside(place)
        return Link(scope.id_of(node), slot)

    def _inside(self, place: _Output) -> _Input | _Output | Source:
        """The step from a subgraph node's output into the subgraph."""
        inner = place.scope.inner[str(place.node["id"])]
        link = inner.contents.outputs.get(place.slot)
        if link is None:
            raise WorkflowError(
                f"{place.asked} is linked to output {place.slot} of subgraph {place.scope.id_of(place.node)}, which is "
                "fed by nothing"
            )
        if link.origin == SUBGRAPH_INPUT:
            return self._outside(inner, place.scope, link.origin_slot, place.asked)
        return _Output(inner, inner.contents.nodes[link.origin], link.origin_slot, place.wanted, place.asked)

    def _setter(self, place: _Output) -> _Output:
        """The step from a Get node to the Set node of its name, in the same scope or one around it."""
        name = next(iter(place.node.get("widgets_values") or ()), None)
        level: UiScope | None = place.scope
        while level is not None and is_name(name):
            self._count(1)
            if name in level.contents.setters:
                return _Output(level, level.contents.setters[name], 0, place.wanted, place.asked)
            level = level.parent
        get_node = place.scope.id_of(place.node)
        raise WorkflowError(f"{place.asked} comes from Get node {get_node}, but no Set node is named {name!r}")

    def _bypass(self, node: UiNode, slot: int, wanted: str) -> UiInput | None:
        """The input that a bypassed node passes on at output ``slot``; None if none fits."""
        inputs = self._inputs(node)
        self._count(len(inputs))
        outputs = node.get("outputs") or ()
        given = str(outputs[slot].get("type", "*")) if slot < len(outputs) else "*"
        if wanted in ("*", ""):
            return inputs[slot if slot < len(inputs) else 0] if inputs else None
        fitting = [one for one in inputs if fits(str(one.get("type")), given) and fits(str(one.get("type")), wanted)]
        if slot < len(inputs) and inputs[slot] in fitting:
            return inputs[slot]
        same = (one for one in inputs if one.get("type") == wanted)
        return next(same, fitting[0] if fitting else None)

    # A node's inputs -----------------------------------------------------------------------------------------------

    def _inputs(self, node: UiNode) -> list[UiInput]:
        """A node's inputs in the front end's order: declared sockets, declared widgets, then others of the file."""
        if id(node) not in self._slots:
            self._slots[id(node)] = self._read_inputs(node)
        return self._slots[id(node)]

    def _read_inputs(self, node: UiNode) -> list[UiInput]:
        saved = {one.get("name"): one for one in node.get("inputs") or ()}
        kind = type_of(node)
        if kind in self._workflow.definitions:
            first = {one.get("name"): one for one in reversed(node.get("inputs") or ())}
            return [
                {"link": None, **first.get(one.get("name"), {}), "name": one.get("name"), "type": one.get("type", "*")}
                for one in self._workflow.contents(kind).declared
            ]
        declared = [one for one in declared_inputs(self._info.get(kind, {})) if not one.is_autogrow]
        types = self._promoted.link_types
        ordered = sorted(declared, key=lambda one: one.is_widget(saved, types))
        known = {one.name for one in ordered}
        return [{**saved.get(one.name, {}), "name": one.name, "type": one.link_type} for one in ordered] + [
            one for name, one in saved.items() if name not in known
        ]

    def _type(self, node: UiNode, one: UiInput) -> str:
        if id(node) not in self._types:
            inputs = reversed(self._inputs(node))
            self._types[id(node)] = {slot.get("name"): str(slot.get("type", "*")) for slot in inputs}
        return self._types[id(node)].get(one.get("name"), str(one.get("type", "*")))


def _primitive_value(node: UiNode) -> Value | None:
    values = node.get("widgets_values")
    return Value(values[0]) if isinstance(values, list) and values else None
