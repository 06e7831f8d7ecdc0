"""Promoted widgets: widgets inside a subgraph that are shown on the subgraph's node.

If an input of a subgraph is linked to a widget inside, every node of that subgraph shows the widget and has a value of
its own for it. The subgraph around may promote it again. A subgraph is read once, however often it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .scopes import UiContents, UiNode, UiWorkflow, type_of
from .widgets import Widgets, link_types, read_widgets


@dataclass(frozen=True)
class Value:
    """A constant as the source of an input."""

    value: Any


class PromotedWidgets:
    """The widget values of nodes, those of promoted widgets included.

    Args:
        workflow: the UI-format workflow.
        object_info: the server's ``/object_info``.
    """

    def __init__(self, workflow: UiWorkflow, object_info: Mapping[str, Any]) -> None:
        self._workflow = workflow
        self._info = object_info
        self.link_types = link_types(object_info)
        self._widgets: dict[int, Widgets] = {}
        self._inner: dict[str, list[Value | None]] = {}
        self._shown: dict[int, list[Value | None]] = {}

    def widgets(self, node: UiNode) -> Widgets:
        """A node's widget values."""
        if id(node) not in self._widgets:
            self._widgets[id(node)] = read_widgets(node, self._info.get(type_of(node), {}), self.link_types)
        return self._widgets[id(node)]

    def shown(self, instance: UiNode) -> list[Value | None]:
        """For each input of a subgraph node the value of its promoted widget; None if it is none."""
        if id(instance) not in self._shown:
            self._shown[id(instance)] = self._read_shown(instance)
        return self._shown[id(instance)]

    def _read_shown(self, instance: UiNode) -> list[Value | None]:
        inner = self._inner_values(type_of(instance))
        saved = instance.get("widgets_values")
        if not isinstance(saved, list):
            return inner
        declared = [str(one.get("name")) for one in self._workflow.contents(type_of(instance)).declared]
        proxies = (instance.get("properties") or {}).get("proxyWidgets")
        names: list[str | None]
        if proxies:
            names = [str(proxy[1]) if str(proxy[0]) == "-1" else None for proxy in proxies]
        else:
            names = [name for name, value in zip(declared, inner, strict=True) if value is not None]
        by_name = dict(reversed(list(zip(names, saved, strict=False))))
        return [
            Value(by_name[name]) if value is not None and by_name.get(name) is not None else value
            for name, value in zip(declared, inner, strict=True)
        ]

    def _inner_values(self, kind: str) -> list[Value | None]:
        """For each input of a subgraph the value that the widget has inside; iterative, inner subgraphs first."""
        waiting = [kind]
        while waiting:
            if waiting[-1] in self._inner:
                waiting.pop()
                continue
            contents = self._workflow.contents(waiting[-1])
            nested = {type_of(node) for node in contents.nodes.values() if self._workflow.is_active_subgraph(node)}
            if missing := nested - set(self._inner):
                waiting.extend(missing)
            else:
                values = [self._first_value(contents, slot) for slot in range(len(contents.declared))]
                self._inner[waiting.pop()] = values
        return self._inner[kind]

    def _first_value(self, contents: UiContents, slot: int) -> Value | None:
        """The value of the first widget linked to input ``slot`` of a subgraph; None if there is no widget."""
        for node, one in contents.fed.get(slot, ()):
            name = one.get("name")
            if self._workflow.is_active_subgraph(node):
                place = self._workflow.contents(type_of(node)).places.get(name)
                if place is not None and (found := self.shown(node)[place]) is not None:
                    return found
            elif name in (widgets := self.widgets(node)).names and name in widgets.values:
                return Value(widgets.values[name])
        return None
