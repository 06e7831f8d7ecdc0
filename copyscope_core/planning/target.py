"""Finds the image output to audit, and leaves out the output nodes on its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..errors import WorkflowError
from ..workflow.graph import Graph, Link, Node, consumers, upstream, uses_by_node
from ..workflow.node_info import NodeCatalog, type_matches
from .own_nodes import ENUMERATOR

WORKING_INPUTS = ("MODEL", "CLIP", "VAE", "CONDITIONING", "GUIDER", "UPSCALE_MODEL", "CONTROL_NET", "LATENT")
"""Input types of nodes that do more than pass an image on."""


def find_target(graph: Graph, catalog: NodeCatalog, output: str | None) -> Link:
    """The image output to audit: what is linked to a CopyScope enumerator, else to the workflow's only output node.

    Args:
        output: id of the output node, if the settings name one.

    Raises:
        WorkflowError: there is none, or there are several and ``output`` names none of them.
    """
    if output is not None:
        if output not in graph:
            raise WorkflowError(f"The output node {output!r} is not in the workflow.")
        link = _image_input(graph, catalog, output)
        info = catalog.get(graph[output].class_type)
        if link is None and info is not None and info.has_output("IMAGE"):
            link = Link(output, info.outputs.index("IMAGE"))
        if link is None:
            raise WorkflowError(f"Node {output!r} ({graph[output].class_type}) neither gives nor takes an image.")
        return link
    enumerators = [node for node in graph.values() if node.class_type == ENUMERATOR]
    links = {link for node in enumerators if isinstance(link := node.inputs.get("image"), Link)}
    if not links:
        used = {link.node for link in consumers(graph)}
        links = {link for node_id in graph if node_id not in used and (link := _image_output(graph, catalog, node_id))}
    if not links:
        raise WorkflowError("The workflow has no node that saves or previews an image; add a Save Image node.")
    if len(links) > 1:
        listed = ", ".join(f"{link.node} ({graph[link.node].class_type})" for link in sorted(links))
        raise WorkflowError(f"The workflow makes images in several places, nodes {listed}; say which one to audit.")
    return links.pop()


def bypass_outputs(graph: Graph, target: Link, catalog: NodeCatalog) -> tuple[Graph, Link, list[str]]:
    """Leave out the output nodes (save, preview) that the image passes through on its way.

    Nodes that work with models are kept, although packs mark some samplers as output nodes.

    Returns:
        The graph, the target in it, and what was left out.
    """
    left_out = []
    while _passes_on(graph[target.node], catalog) and (source := _bypass_source(graph, target, catalog)):
        left_out.append(f"{target.node} ({graph[target.node].class_type})")
        target = source
    uses = uses_by_node(graph)
    instead: dict[Link, Link] = {}
    for node_id, node in graph.items():
        used = uses.get(node_id)
        if not used or node_id == target.node or not _passes_on(node, catalog):
            continue
        sources = {link: source for link in used if (source := _bypass_source(graph, link, catalog))}
        if len(sources) == len(used):
            instead.update(sources)
            left_out.append(f"{node_id} ({node.class_type})")
    if instead:
        ends = _ends(instead)
        graph = {node_id: _relinked(node, ends) for node_id, node in graph.items()}
    return upstream(graph, target.node), target, left_out


def _ends(instead: Mapping[Link, Link]) -> dict[Link, Link]:
    """For each output that is left out, the output that takes its place in the end."""
    ends: dict[Link, Link] = {}
    for link in instead:
        row = []
        while link in instead and link not in ends:
            row.append(link)
            link = instead[link]
        ends.update(dict.fromkeys(row, ends.get(link, link)))
    return ends


def _relinked(node: Node, ends: Mapping[Link, Link]) -> Node:
    """The node with new links in place of those to outputs that are left out."""
    return replace(node, inputs={**node.inputs, **{name: ends.get(link, link) for name, link in node.links()}})


def _passes_on(node: Node, catalog: NodeCatalog) -> bool:
    """Whether a node is an output node that computes nothing of its own."""
    info = catalog.get(node.class_type)
    return info is not None and info.output_node and not info.has_input(*WORKING_INPUTS)


def _bypass_source(graph: Graph, link: Link, catalog: NodeCatalog) -> Link | None:
    info = catalog.get(graph[link.node].class_type)
    item = info.bypass_input(link.slot) if info else None
    source = graph[link.node].inputs.get(item.name) if item else None
    return source if isinstance(source, Link) else None


def _image_input(graph: Graph, catalog: NodeCatalog, node_id: str) -> Link | None:
    node = graph[node_id]
    info = catalog.get(node.class_type)
    for name, link in node.links():
        kind = info.input_type(name) if info else None
        if kind is not None and type_matches(kind, "IMAGE"):
            return link
        if kind is None and name == "images":
            return link
    return None


def _image_output(graph: Graph, catalog: NodeCatalog, node_id: str) -> Link | None:
    info = catalog.get(graph[node_id].class_type)
    if info is not None and not info.output_node:
        return None
    if info is None and not graph[node_id].class_type.startswith(("SaveImage", "PreviewImage")):
        return None
    return _image_input(graph, catalog, node_id)
