"""The models that one node holds by the table of ``packs``: entries of stacks, fields of loaders, tags in texts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..workflow.graph import Link, Node
from ..workflow.noise import Constants
from .absence import Edit
from .packs import RULES, Rows, Slot

WRAPPED = "__value__"
"""The key under which the front end sends a list that is a value, which would else be taken for a link."""

_NONE = ("none", "")


@dataclass(frozen=True)
class Entry:
    """A model that a node names.

    Attributes:
        input: the input that holds its name.
        file: the name; None where a link brings the model.
        kind: the kind of model.
        label: what tells it from the node's others, for sentences.
        on: whether it is loaded.
        edits: the changes of inputs with which it is not loaded; none for a loader.
        text: a text input whose tags of this name go with it.
        hint: the input of its image; empty if it has none.
    """

    input: str
    file: str | None
    kind: str
    label: str
    on: bool
    edits: tuple[Edit, ...]
    text: str = ""
    hint: str = ""


def is_listed(node: Node) -> bool:
    """Whether the table says which models a node holds."""
    rule = RULES.get(node.class_type)
    return rule is not None and bool(rule.slots or rule.rows)


def entries(node_id: str, node: Node, constants: Constants) -> list[Entry]:
    """The models that a node holds by the table, also those that are switched off."""
    rule = RULES.get(node.class_type)
    if rule is None:
        return []
    found = [entry for slot in rule.slots for entry in _slots(node_id, node, slot, constants)]
    return [*found, *_rows(node_id, node, rule.rows)] if rule.rows else found


def tag_texts(node: Node, constants: Constants) -> dict[str, str]:
    """The texts of a node whose LoRA tags it loads, by input; those that other nodes compute are left out."""
    rule = RULES.get(node.class_type)
    texts = {name: constants.of(node.inputs.get(name)) for name in (rule.tags if rule else ())}
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def named(value: Any) -> str | None:
    """The name in a constant: the text itself, or what an object has as ``content`` (with a picture beside it)."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else None


def renamed(node_id: str, name: str, value: Any, other: str) -> Edit:
    """The edit that puts another name in the place of one."""
    return Edit(node_id, name, other, ("content",) if isinstance(value, Mapping) else ())


def is_zero(value: Any) -> bool:
    """Whether a constant is the number 0."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == 0


def _slots(node_id: str, node: Node, slot: Slot, constants: Constants) -> Iterator[Entry]:
    pattern = re.compile(re.escape(slot.input).replace(r"\{n\}", r"(\d{1,9})"))
    for name in node.inputs:
        match = pattern.fullmatch(name)
        if match is None:
            continue
        number = match.group(1) if match.groups() else ""

        def at(template: str, number: str = number) -> str:
            return template.replace("{n}", number)

        value = constants.of(node.inputs[name])
        file = named(value)
        if file is None and not isinstance(node.inputs[name], Link):
            continue
        off = {at(key): absent for key, absent in slot.off.items()}
        on = {at(key): present for key, present in slot.on.items()}
        strengths = [constants.of(node.inputs.get(at(key))) for key in slot.strengths]
        count = constants.of(node.inputs.get(slot.count)) if slot.count else None
        loaded = not (
            (file is not None and (file.lower() in _NONE or file == off.get(name)))
            or any(constants.of(node.inputs.get(key, present)) != present for key, present in on.items())
            or (isinstance(count, int) and number != "" and int(number) > count)
            or (bool(strengths) and all(is_zero(strength) for strength in strengths))
            or (slot.hint != "" and at(slot.hint) not in node.inputs)
        )
        edits = tuple(
            renamed(node_id, key, node.inputs.get(key), absent) if key == name else Edit(node_id, key, absent)
            for key, absent in off.items()
        )
        yield Entry(name, file, slot.kind, number or name, loaded, edits, hint=at(slot.hint))


def _rows(node_id: str, node: Node, rows: Rows) -> Iterator[Entry]:
    pattern = re.compile(re.escape(rows.input).replace(r"\{n\}", r"(\d{1,9})"))
    for name, value in node.inputs.items():
        if (match := pattern.fullmatch(name)) is None:
            continue
        wrapped = isinstance(value, Mapping) and WRAPPED in value
        listed = value[WRAPPED] if wrapped else value
        path: tuple[str | int, ...] = (WRAPPED,) if wrapped else ()
        many = isinstance(listed, (list, tuple))
        for place, row in enumerate(listed if many else [listed]):
            if not isinstance(row, Mapping) or not isinstance(file := row.get(rows.name), str):
                continue
            here = (*path, place) if many else path
            edit = Edit(node_id, name, False, (*here, rows.on))
            label = str(place + 1) if many else match.group(1)
            on = bool(row.get(rows.on)) and file.lower() not in _NONE and not is_zero(row.get("strength"))
            yield Entry(name, file, "lora", label, on, (edit,), rows.text)
