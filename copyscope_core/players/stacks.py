"""LoRA stack nodes of well-known packs. One node applies several LoRAs; each is a player."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..workflow.graph import Node
from ..workflow.node_info import is_model_file


@dataclass(frozen=True)
class StackEntry:
    """One LoRA of a stack, and the values of inputs that switch it off."""

    label: str
    file: str
    off: tuple[tuple[str, Any], ...]


POWER_LOADER = "Power Lora Loader (rgthree)"
"""A stack whose inputs hold a file name and a switch each."""

NAMED_SLOTS = {
    "Lora Loader Stack (rgthree)": re.compile(r"lora_(\d{1,9})"),
    "LoRA Stacker": re.compile(r"lora_name_(\d{1,9})"),
    "CR LoRA Stack": re.compile(r"lora_name_(\d{1,9})"),
}
"""Stacks whose inputs hold a file name each, or ``None``."""


def is_stack(node: Node) -> bool:
    """Whether a node is a known stack."""
    return node.class_type == POWER_LOADER or node.class_type in NAMED_SLOTS


def stack_entries(node: Node) -> list[StackEntry] | None:
    """The entries of a known stack node that are switched on; None if the node is no known stack."""
    if node.class_type == POWER_LOADER:
        return [
            StackEntry(name.rpartition("_")[2], value["lora"], ((name, {**value, "on": False}),))
            for name, value in node.inputs.items()
            if isinstance(value, Mapping) and value.get("on") and is_model_file(value.get("lora"))
        ]
    pattern = NAMED_SLOTS.get(node.class_type)
    if pattern is None:
        return None
    return [
        StackEntry(match.group(1), value, ((name, "None"),))
        for name, value in node.inputs.items()
        if (match := pattern.fullmatch(name)) and is_model_file(value) and _switched_on(node, match.group(1))
    ]


def _switched_on(node: Node, slot: str) -> bool:
    count = node.inputs.get("lora_count")
    if isinstance(count, int) and int(slot) > count:
        return False
    return str(node.inputs.get(f"switch_{slot}", "On")) == "On"
