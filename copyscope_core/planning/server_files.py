"""Brings a workflow's values into the spelling of the server's lists of files, and checks that they are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..errors import WorkflowError
from ..players.absence import Absence
from ..workflow.graph import Graph, Node
from ..workflow.node_info import NodeCatalog, is_model_file
from ..workflow.noise import Constants


def with_server_names(graph: Graph, catalog: NodeCatalog) -> Graph:
    """The graph with file names as the server has them: a workflow that was saved on another system has other slashes.

    Names that links lead to are written at the node that uses them.
    """
    constants = Constants(graph)
    spelt: Graph = {}
    for node_id, node in graph.items():
        info = catalog.get(node.class_type)
        changed = {}
        for item in () if info is None else info.inputs:
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
                f"The server lacks the node class {node.class_type!r} (node {node_id!r}); install its pack."
            )
        for item in info.inputs:
            value = node.inputs.get(item.name)
            if item.options is None or item.image_upload or not isinstance(value, str) or value in item.offered:
                continue
            has = ", ".join(item.options[:20]) + (" …" if len(item.options) > 20 else "")
            raise WorkflowError(
                f"The server lacks {value!r} for input {item.name!r} of node {node_id!r} ({node.class_type}); "
                f"it has: {has or 'nothing'}."
            )


def check_baseline_files(graph: Graph, absences: Iterable[Absence], catalog: NodeCatalog) -> None:
    """Check the file names that absence rules put into the workflow's loaders.

    Raises:
        WorkflowError: see ``check_files``.
    """
    for node_id, name, value in (edit for absence in absences for edit in absence.edits):
        node = graph.get(node_id)
        if node is not None and any(is_model_file(item) for item in node.inputs.values()):
            check_files({node_id: Node(node.class_type, {name: value})}, catalog)
