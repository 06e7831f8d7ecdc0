"""The settings that CopyScope's own nodes in a workflow hold."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from ..errors import CopyScopeError
from ..settings import lines, parse_groups, words_of
from ..workflow.graph import Graph, Link
from ..workflow.noise import Constants

NOTHING = "(none)"
"""The entry for “none of these” in the choice lists of CopyScope's nodes."""


def from_players_node(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the inputs of a *CopyScope Players* node give; an input that is missing gives none.

    Args:
        inputs: ``baseline_checkpoint``, ``baseline_vae`` (a name or ``(none)``), ``key_prompts``, ``only``, ``lock``,
            ``image_players`` (one a line), ``baseline_models`` (``node = file``, one a line), ``neutral_prompt``.
    """
    settings: dict[str, Any] = {}
    for name in ("baseline_checkpoint", "baseline_vae"):
        if name in inputs:
            settings[name] = None if inputs[name] == NOTHING else inputs[name]
    for name, setting in (("key_prompts", "key_prompts"), ("only", "players"), ("lock", "lock"),
                          ("image_players", "image_players")):  # fmt: skip
        if name in inputs:
            settings[setting] = lines(inputs[name])
    if "neutral_prompt" in inputs:
        settings["neutral_prompt"] = str(inputs["neutral_prompt"]).strip()
    if "baseline_models" in inputs:
        pairs = [line.partition("=") for line in lines(inputs["baseline_models"])]
        if not all(node.strip() and file.strip() for node, _, file in pairs):
            raise CopyScopeError("A line of baseline_models must be node = file, such as 12 = flux1-dev.safetensors.")
        settings["baseline_models"] = {node.strip(): file.strip() for node, _, file in pairs}
    return settings


def from_settings_node(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the inputs of a *CopyScope Settings* node give; an input that is missing gives none.

    Args:
        inputs: ``budget``, ``target_width`` (0: none), ``estimator``, ``groups`` (one a line: ``name = player, …``),
            ``frames``, ``until_sure``, and with it ``error`` and ``max_runs`` (0: none).
    """
    settings: dict[str, Any] = {}
    for name in ("budget", "target_width"):
        if inputs.get(name):
            settings[name] = inputs[name]
    for name in ("estimator", "frames"):
        if name in inputs:
            settings[name] = inputs[name]
    if "groups" in inputs:
        settings["groups"] = parse_groups(lines(inputs["groups"]))
    if inputs.get("until_sure"):
        settings["until_sure"] = True
        settings.update({name: inputs[name] for name in ("error", "max_runs") if inputs.get(name)})
    return settings


ENUMERATOR, PLAYERS, SETTINGS = "CopyScopeCoalitionEnumerator", "CopyScopePlayers", "CopyScopeSettings"
LOADER = "CopyScopeLoaderCoalitions"
FID, REPORT = "CopyScopeFID", "CopyScopeShapleyReport"


def embedded_settings(graph: Graph) -> dict[str, Any]:
    """The settings that a workflow's enumerator, the nodes linked to it, its FID and its report node hold."""
    settings: dict[str, Any] = {}
    constants = Constants(graph)

    @functools.cache
    def linked_settings(node_id: str) -> dict[str, Any]:
        """The settings of a Players or Settings node that is linked to an enumerator."""
        read = {PLAYERS: from_players_node, SETTINGS: from_settings_node}[graph[node_id].class_type]
        known = {name: constants.of(value) for name, value in graph[node_id].inputs.items()}
        return read({name: value for name, value in known.items() if value is not None})

    for node in graph.values():
        if node.class_type == FID and isinstance(distance := node.inputs.get("distance"), str):
            settings["distance"] = distance
        if node.class_type == REPORT and (artists := words_of(constants.of(node.inputs.get("artist")) or "")):
            settings["artists"] = artists
        if node.class_type != ENUMERATOR:
            continue
        for name in ("seeds", "max_coalitions"):
            value = constants.of(node.inputs.get(name))
            if isinstance(value, int):
                settings[name] = value
        for name, kind in (("players", PLAYERS), ("settings", SETTINGS)):
            link = node.inputs.get(name)
            if isinstance(link, Link) and graph[link.node].class_type == kind:
                settings.update(linked_settings(link.node))
    return settings
