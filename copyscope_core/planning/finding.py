"""The components of a workflow as a list to choose players from, for *CopyScope Players*. Runs nothing."""

from __future__ import annotations

from typing import Any

from ..errors import PlayerError, WorkflowError
from ..players.components import Component
from ..players.discover import gives_image
from ..players.rewrite import Rewriter
from ..players.selection import grouping, plain_selectors, select
from ..settings import AuditSettings
from ..workflow.graph import Graph, Link, parse_graph
from ..workflow.node_info import NodeCatalog
from ..workflow.noise import Constants
from .own_nodes import ENUMERATOR, PLAYERS, embedded_settings
from .survey import Survey, left_over, survey

MODEL_LOADERS = ("unet", "clip")
"""Kinds whose baselines are named by node; checkpoint and VAE have an input of their own."""


def find_players(workflow: Any, catalog: NodeCatalog, players_node: str) -> dict[str, Any]:
    """What the audit that a *CopyScope Players* node belongs to can measure, and what the node says now.

    Args:
        workflow: parsed JSON in API format.
        players_node: the node's id.

    Returns:
        JSON: ``components``, a list of ``name``, ``kind``, ``node``, ``selector`` (what to write on a line to mean this
        component alone, or null), ``measurable``, ``measured``, ``reason`` (why it is not measured), ``group`` (or
        null) and ``baselines``: ``key`` (to be set in ``baseline_models``), ``file`` (the workflow's own), ``chosen``
        (or null) and ``list``, a name in ``files``; ``files``: the server's lists of files; ``unmeasured``: ``node``,
        ``what`` and ``reason``; ``problem``: why the node's present choice cannot be run, or null.

    Raises:
        WorkflowError: the node is not there or no enumerator with an image has it; or as ``survey``.
        PlayerError: as ``survey``.
        CopyScopeError: a setting does not fit.
    """
    graph = parse_graph(workflow)
    enumerator = _enumerator_of(graph, players_node)
    target = graph[enumerator].inputs.get("image")
    if not isinstance(target, Link):
        raise WorkflowError("Wire an image into CopyScope Coalition Enumerator first; its workflow is searched.")
    others = {node_id for node_id, node in graph.items() if node.class_type == ENUMERATOR} - {enumerator}
    mine = {node_id: node for node_id, node in graph.items() if node_id not in others}
    settings = AuditSettings.of(embedded_settings(mine))
    seen = survey(graph, catalog, settings, target)
    components = seen.found.components
    measured: dict[str, str | None] = {component.name: None for component in components if component.absence}
    reasons = {component.name: component.reason for component in components}
    problem = None
    try:
        players, locked = select(components, settings)
        reasons.update((component.name, component.reason) for component in locked)
        measured = {player.name: None for player in players}
        for name, places in zip(*grouping(players, settings.groups), strict=True):
            measured.update((players[place].name, name) for place in places if name in settings.groups)
    except PlayerError as error:
        problem = str(error)
    files = _Files(seen.graph, catalog, settings)
    rows = [
        {
            "name": component.name,
            "kind": component.kind,
            "node": component.node,
            "selector": selector,
            "measurable": component.absence is not None,
            "measured": component.name in measured,
            "reason": "" if component.name in measured else reasons[component.name],
            "group": measured.get(component.name),
            "baselines": files.baselines(component),
        }
        for component, selector in zip(components, plain_selectors(components), strict=True)
    ]
    return {
        "components": [*rows, *_images(seen, catalog)],
        "files": files.lists,
        "unmeasured": _unmeasured(seen),
        "problem": problem,
    }


def _enumerator_of(graph: Graph, players_node: str) -> str:
    node = graph.get(players_node)
    if node is None or node.class_type != PLAYERS:
        raise WorkflowError("This CopyScope Players node is not part of what would run; unmute it or wire it in.")
    for node_id, other in graph.items():
        link = other.inputs.get("players")
        if other.class_type == ENUMERATOR and isinstance(link, Link) and link.node == players_node:
            return node_id
    raise WorkflowError("Wire this node into the players input of a CopyScope Coalition Enumerator first.")


class _Files:
    """The model files that may stand in for those of a loader."""

    def __init__(self, graph: Graph, catalog: NodeCatalog, settings: AuditSettings) -> None:
        self._graph = graph
        self._catalog = catalog
        self._chosen = settings.baseline_models
        self._constants = Constants(graph)
        self.lists: dict[str, tuple[str, ...]] = {}

    def baselines(self, component: Component) -> list[dict[str, Any]]:
        """The baselines that can be chosen for a component."""
        node = self._graph.get(component.node)
        info = self._catalog.get(node.class_type) if node else None
        if node is None or info is None or component.kind not in MODEL_LOADERS:
            return []
        values = {name: self._constants.of(value) for name, value in node.inputs.items()}
        named = {name: value for name, value in values.items() if value in component.files}
        result = []
        for name, value in named.items():
            item = info.input(name)
            listed = f"{info.class_type}.{name}"
            self.lists[listed] = (item.options if item else None) or ()
            long = f"{component.node}.{name}"
            key = long if len(named) > 1 or long in self._chosen else component.node
            result.append({"key": key, "file": value, "chosen": self._chosen.get(key), "list": listed})
        return result


def _images(seen: Survey, catalog: NodeCatalog) -> list[dict[str, Any]]:
    """The images upstream that are no players yet, as rows; ``image_players`` names them by node."""
    players = {component.node for component in seen.found.components if component.kind == "image"}
    return [
        {
            "name": f"image: {image.file}",
            "kind": "image",
            "node": image.node,
            "selector": image.node,
            "measurable": (fits := gives_image(seen.graph[image.node], catalog)),
            "measured": False,
            "reason": "an input image" if fits else "it gives no image that could turn grey",
            "group": None,
            "baselines": [],
        }
        for image in seen.found.images
        if image.node not in players
    ]


def _unmeasured(seen: Survey) -> list[dict[str, str]]:
    """What else shapes the images, apart from input images."""
    rules = [component.absence for component in seen.found.components if component.absence]
    rewriter = Rewriter(seen.graph, seen.found.graph, seen.target, rules, ())
    images = {image.node for image in seen.found.images}
    return [
        {"node": item.node, "what": item.what, "reason": item.reason}
        for item in left_over(rewriter, seen.found)
        if not (item.node in images and item.what.startswith("image: "))
    ]
