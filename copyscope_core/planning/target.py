"""Finds the image output to audit, and leaves out the output nodes on its way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..errors import WorkflowError
from ..players.packs import COMPARES
from ..players.parts import AUXILIARIES
from ..workflow.graph import Graph, Link, Node, topological_order, upstream, uses_by_node
from ..workflow.node_info import NodeCatalog, NodeInfo, type_matches
from ..workflow.noise import SEED_INPUTS
from .own_nodes import ENUMERATOR, LOADER
from .video import VIDEO_OUTPUTS, video_frames

MOST_LISTED = 12
"""Outputs that an error message names; of more, the first."""

MOST_COMPARED = 32
"""Above this number of outputs it is not looked for hints among them."""

CONDITIONS = frozenset({"MODEL", "CONDITIONING", "GUIDER", "HOOKS", *AUXILIARIES})
"""Input types through which one image conditions how another is made, rather than becoming it."""

WORKING_INPUTS = ("MODEL", "CLIP", "VAE", "CONDITIONING", "GUIDER", "UPSCALE_MODEL", "CONTROL_NET", "LATENT")
"""Input types of nodes that do more than pass an image on."""


def find_target(graph: Graph, catalog: NodeCatalog, output: str | None) -> Link:
    """The image output to audit: what is linked to a CopyScope enumerator, else what the workflow saves or shows.

    An output counts if a sampler lies upstream. One that is saved counts before one that is only shown; what is shown
    beside other images (a comparison), or is a hint for another output, does not count.

    Args:
        graph: the workflow as its branches are taken (``players.routes``).
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
    enumerators = [node_id for node_id, node in graph.items() if node.class_type == ENUMERATOR]
    wired = {node_id: link for node_id in enumerators if isinstance(link := graph[node_id].inputs.get("image"), Link)}
    return _only_one(graph, wired or _generated(graph, catalog))


def _only_one(graph: Graph, found: Mapping[str, Link]) -> Link:
    if len(links := set(found.values())) == 1:
        return links.pop()
    listed = ", ".join(f"{node_id} ({graph[node_id].class_type})" for node_id in list(found)[:MOST_LISTED])
    more = f" and {len(found) - MOST_LISTED:,} more" * (len(found) > MOST_LISTED)
    raise WorkflowError(
        f"The workflow makes images in several places, nodes {listed}{more}; say which one to audit (--output "
        f"{next(iter(found))})."
    )


def _generated(graph: Graph, catalog: NodeCatalog) -> dict[str, Link]:
    """The generated images that a workflow gives as its results, by output nodes.

    Raises:
        WorkflowError: there are none.
    """
    outputs = {node_id: link for node_id in graph if (link := _output_image(graph, catalog, node_id)) is not None}
    outputs = outputs or _taken_by_unknown_nodes(graph, catalog)
    if not outputs and any(node.class_type == LOADER for node in graph.values()):
        raise WorkflowError(
            "The workflow is an audit already: its Loader Coalitions node makes the images, when it is run in ComfyUI. "
            "Run it there, or give a workflow that saves an image."
        )
    if not outputs:
        raise WorkflowError("The workflow has no node that saves or previews images; add a Save Image node.")
    sampled = _sampled(graph, catalog)
    made = {node_id: link for node_id, link in outputs.items() if link.node in sampled}
    if not made:
        listed = ", ".join(f"{node_id} ({graph[node_id].class_type})" for node_id in list(outputs)[:MOST_LISTED])
        raise WorkflowError(
            f"No image that the workflow saves or shows is made by a sampler (nodes {listed}), so there is nothing to "
            "audit; wire the output of a generating workflow."
        )
    saved = {node_id: link for node_id, link in made.items() if _is_saved(graph[node_id], catalog)}
    kept = saved or made
    if len(kept) > MOST_COMPARED:
        return kept
    return {node_id: link for node_id, link in kept.items() if not _is_hint(graph, catalog, node_id, kept)}


def _sampled(graph: Graph, catalog: NodeCatalog) -> set[str]:
    """The nodes that have a sampler upstream, or are one. Nodes of unknown classes and paid services may be one."""
    found: set[str] = set()
    for node_id in topological_order(graph, graph):
        info = catalog.get(graph[node_id].class_type)
        makes = info is None or info.samples or info.paid or _is_seeded(graph[node_id], info)
        if makes or any(link.node in found for _, link in graph[node_id].links()):
            found.add(node_id)
    return found


def _taken_by_unknown_nodes(graph: Graph, catalog: NodeCatalog) -> dict[str, Link]:
    """The images that nodes of unknown classes are given, where nobody uses what they give: most likely they save."""
    used = {link.node for node in graph.values() for _, link in node.links()}
    ends = (node_id for node_id, node in graph.items() if node_id not in used and node.class_type not in catalog)
    return {node_id: link for node_id in ends if (link := _image_input(graph, catalog, node_id)) is not None}


def _is_seeded(node: Node, info: NodeInfo) -> bool:
    """Whether a node makes images by itself from a seed, as a pack's whole pipeline does."""
    return info.has_output("IMAGE", "LATENT") and any(name in node.inputs for name in SEED_INPUTS)


def _is_saved(node: Node, catalog: NodeCatalog) -> bool:
    info = catalog.get(node.class_type)
    name = f"{node.class_type} {info.display_name if info else ''}".lower()
    return "save" in name or str(node.inputs.get("image_output")).lower() == "save"


def _is_hint(graph: Graph, catalog: NodeCatalog, node_id: str, outputs: Mapping[str, Link]) -> bool:
    """Whether an output's image only conditions another output's, as the hint of a ControlNet does."""
    image = outputs[node_id].node
    others = [link.node for other, link in outputs.items() if other != node_id and link.node != image]
    return image in topological_order(graph, others) and image not in _behind(graph, catalog, others)


def _behind(graph: Graph, catalog: NodeCatalog, roots: Iterable[str]) -> set[str]:
    """The nodes upstream of some, but not through what conditions or changes a model."""
    found = set(roots)
    waiting = list(found)
    while waiting:
        node = graph[waiting.pop()]
        info = catalog.get(node.class_type)
        for name, link in node.links():
            if link.node not in found and (info is None or info.input_type(name) not in CONDITIONS):
                found.add(link.node)
                waiting.append(link.node)
    return found


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
    if node.class_type in VIDEO_OUTPUTS:
        return video_frames(graph, catalog, node_id)
    info = catalog.get(node.class_type)
    for name, link in node.links():
        kind = info.input_type(name) if info else None
        if kind is not None and type_matches(kind, "IMAGE"):
            return link
        if info is None and name in ("images", "image"):
            return link
    return None


def _output_image(graph: Graph, catalog: NodeCatalog, node_id: str) -> Link | None:
    """The image that an output node saves or shows: the one it is given, or else the one that it makes itself."""
    node = graph[node_id]
    info = catalog.get(node.class_type)
    if node.class_type in COMPARES:
        return None
    if info is None:
        saves = node.class_type.startswith(("SaveImage", "PreviewImage", *VIDEO_OUTPUTS))
        return _image_input(graph, catalog, node_id) if saves else None
    if not info.output_node:
        return None
    if info.samples:
        return Link(node_id, info.outputs.index("IMAGE")) if info.has_output("IMAGE") else None
    return _image_input(graph, catalog, node_id)
