"""Checks a workflow's values against the lists of files that the server has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import WorkflowError
from ..players.rewrite import Rewriter
from ..workflow.graph import Graph, Node
from ..workflow.node_info import NodeCatalog, is_model_file


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
            if item.options is None or item.image_upload or not isinstance(value, str) or value in item.options:
                continue
            has = ", ".join(item.options[:20]) + (" …" if len(item.options) > 20 else "")
            raise WorkflowError(
                f"The server lacks {value!r} for input {item.name!r} of node {node_id!r} ({node.class_type}); "
                f"it has: {has or 'nothing'}."
            )


def _check_baseline_files(rewriter: Rewriter, graph: Graph, masks: Sequence[int], catalog: NodeCatalog) -> None:
    for node_id, node in graph.items():
        if any(is_model_file(value) for value in node.inputs.values()):
            for variant in rewriter.variants(node_id, masks).values():
                check_files({node_id: variant}, catalog)
