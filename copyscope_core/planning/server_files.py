"""Brings a workflow's values into the spelling of the server's lists of files, and checks that nothing is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..errors import WorkflowError
from ..players.absence import Absence
from ..workflow.graph import Graph, Node
from ..workflow.node_info import NodeCatalog
from ..workflow.noise import Constants

NEEDED = frozenset({"MODEL", "CLIP", "VAE", "CONDITIONING", "LATENT", "GUIDER"})
"""Types of inputs that a node cannot run without."""


def with_server_names(graph: Graph, catalog: NodeCatalog) -> Graph:
    """The graph with file names as the server has them: a workflow that was saved on another system has other slashes.

    Names that links lead to are written at the node that uses them.
    """
    constants = Constants(graph)
    spelt: Graph = {}
    for node_id, node in graph.items():
        info = catalog.get(node.class_type)
        changed = {}
        for item in () if info is None else info.inputs_with(node.inputs):
            value = constants.of(node.inputs.get(item.name))
            if (name := item.spelling(value)) is not value:
                changed[item.name] = name
        spelt[node_id] = replace(node, inputs={**node.inputs, **changed}) if changed else node
    return spelt


def check_files(graph: Mapping[str, Node], catalog: NodeCatalog) -> None:
    """Check every list input against the server's own lists.

    Raises:
        WorkflowError: the first value that the server lacks, with the values it has.
    """
    for node_id, node in graph.items():
        info = catalog.get(node.class_type)
        if info is None:
            raise WorkflowError(
                f"The server lacks the node class {node.class_type!r} (node {node_id!r}); "
                f"{catalog.packs.get(node.class_type, 'install its pack')}."
            )
        for item in info.inputs_with(node.inputs):
            value = node.inputs.get(item.name)
            if not item.lacks(value):
                continue
            options = item.options or ()
            has = ", ".join(options[:20]) + (" …" if len(options) > 20 else "")
            raise WorkflowError(
                f"The server lacks {value!r} for input {item.name!r} of node {node_id!r} ({node.class_type}); "
                f"it has: {has or 'nothing'}."
            )


def check_links(graph: Mapping[str, Node], catalog: NodeCatalog) -> None:
    """Check that every node has the models, conditionings and latents that it cannot run without.

    Raises:
        WorkflowError: the first input that lacks one: a node that is muted, or deleted, gives none.
    """
    for node_id, node in graph.items():
        info = catalog.get(node.class_type)
        for item in info.inputs if info else ():
            if item.type in NEEDED and not item.optional and item.name not in node.inputs:
                raise WorkflowError(
                    f"Input {item.name!r} of node {node_id!r} ({node.class_type}) is linked to nothing, so the "
                    "workflow cannot run; link it, or bypass the node before it instead of muting it."
                )


def check_baseline_files(graph: Graph, absences: Iterable[Absence], catalog: NodeCatalog) -> None:
    """Check the file names that absence rules put into the workflow's loaders.

    Raises:
        WorkflowError: see ``check_files``.
    """
    for edit in (edit for absence in absences for edit in absence.edits):
        node = graph.get(edit.node)
        if node is not None and isinstance(edit.value, str):
            check_files({edit.node: Node(node.class_type, {edit.input: edit.value})}, catalog)
