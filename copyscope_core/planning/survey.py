"""What a workflow is made of, before any of it is chosen as a player."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import WorkflowError
from ..players.discover import Discovery, discover
from ..players.rewrite import Rewriter
from ..players.routes import taken
from ..players.unmeasured import Unmeasured, unmeasured
from ..settings import AuditSettings
from ..workflow.graph import Graph, Link, Node, parse_graph, upstream
from ..workflow.node_info import NodeCatalog
from .server_files import check_files, check_links, with_server_names
from .target import bypass_outputs, find_target
from .video import is_clip


@dataclass(frozen=True)
class Survey:
    """The part of a workflow that makes the audited images, and what was found in it.

    Attributes:
        graph: upstream of ``target``; output nodes are bypassed.
        bypassed: these output nodes.
        clips: the images are frames of a video.
    """

    graph: Graph
    target: Link
    bypassed: tuple[str, ...]
    clips: bool
    found: Discovery


def survey(
    workflow: Any,
    catalog: NodeCatalog,
    settings: AuditSettings,
    target: Link | None = None,
    whole: Graph | None = None,
) -> Survey:
    """Find the components of an API-format workflow, whether or not the settings make players of them.

    Args:
        workflow: parsed JSON, or a ``Graph``.
        catalog: what is known of node classes. If it is live, file names are brought into the spelling of the
            server's lists and checked against them.
        target: the output to audit; None to look for it (``find_target``).
        whole: what the workflow is a part of, which tells whether its images go into a video; None: it is no part.

    Raises:
        WorkflowError: the workflow is malformed, has no image output or several, holds paid nodes, or names files
            that the server lacks.
        PlayerError: as ``discover``.
    """
    graph = workflow if _is_graph(workflow) else parse_graph(workflow)
    if catalog.live:
        graph = with_server_names(graph, catalog)
    graph, routes = taken(graph, catalog)
    target = find_target(graph, catalog, settings.output) if target is None else routes.source(target)
    clips = is_clip(graph if whole is None else whole, catalog, target)
    graph, target, bypassed = bypass_outputs(upstream(graph, target.node), target, catalog)
    _refuse_paid(graph, catalog, settings)
    check_links(graph, catalog)
    if catalog.live:
        check_files(graph, catalog)
    return Survey(graph, target, tuple(bypassed), clips, discover(graph, target, catalog, settings))


def left_over(rewriter: Rewriter, found: Discovery) -> list[Unmeasured]:
    """What shapes the images of the empty coalition and is no component."""
    empty = [(found.copies.get(node_id, node_id), node) for node_id, node in rewriter.nodes(0)]
    return unmeasured(found, found.components, empty)


def _refuse_paid(graph: Graph, catalog: NodeCatalog, settings: AuditSettings) -> None:
    paid = [
        f"{node_id} ({node.class_type})"
        for node_id, node in graph.items()
        if (info := catalog.get(node.class_type)) and info.paid
    ]
    if paid and not settings.allow_paid_nodes:
        raise WorkflowError(
            f"The workflow calls paid services in node {', '.join(paid)}; allow paid nodes to run them."
        )


def _is_graph(workflow: Any) -> bool:
    return isinstance(workflow, dict) and bool(workflow) and all(isinstance(node, Node) for node in workflow.values())
