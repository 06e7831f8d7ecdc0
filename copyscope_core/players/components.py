"""Components: the nodes that load a model or apply one, and the rule of each.

Recognised by what their classes take and give (``node_info``), not by a list of class names, so that loaders and
patches of families and packs that are not known here are found too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from ..errors import PlayerError, WorkflowError
from ..settings import AuditSettings
from ..workflow.graph import Graph, Link
from ..workflow.node_info import NodeCatalog, NodeInfo, is_model_file
from ..workflow.noise import constant
from . import absence as rules
from .absence import Absence
from .prompts import PositivePrompt
from .stacks import stack_entries

CARRIERS = ("MODEL", "CLIP", "VAE", "CONDITIONING", "HOOKS")
"""What samplers use, and so what a component's absence must restore."""

AUXILIARIES = (
    "CONTROL_NET", "STYLE_MODEL", "CLIP_VISION_OUTPUT", "GLIGEN", "MODEL_PATCH", "LORA_MODEL", "PHOTOMAKER",
    "IPADAPTER", "INSTANTID", "PULID", "PULIDFLUX", "LORA_STACK",
)  # fmt: skip
"""What a component brings to the node that applies it; its loader goes with it."""

KINDS_BY_NAME = (
    ("lora", "lora"), ("hypernetwork", "hypernetwork"), ("controlnet", "controlnet"), ("control_net", "controlnet"),
    ("ipadapter", "ip_adapter"), ("unclip", "unclip"), ("style", "style"), ("gligen", "gligen"),
)  # fmt: skip


@dataclass(frozen=True)
class Component:
    """A component that was found upstream; a player if it has an absence rule, else locked.

    Attributes:
        name: unique, as shown to the user.
        kind: checkpoint, unet, clip, vae, lora, controlnet, prompt, image, model_patch, …
        node: the id of its (first) node.
        nodes: all of its nodes.
        files: the model files it names.
        absence: its rule, or None where it is locked.
        reason: why it is locked and what to do to measure it; empty for a player.
    """

    name: str
    kind: str
    node: str
    nodes: tuple[str, ...]
    files: tuple[str, ...]
    absence: Absence | None
    reason: str = ""


def source_kind(graph: Graph, node_id: str, info: NodeInfo) -> str | None:
    """What a node loads, if it is a loader that depends on no other model."""
    if not _files(graph, node_id, info) or info.has_input("MODEL", "CLIP", "VAE", "CONDITIONING"):
        return None
    if info.has_output("MODEL"):
        return "checkpoint" if info.has_output("CLIP", "VAE", "CLIP_VISION") else "unet"
    return "clip" if info.has_output("CLIP") else "vae" if info.has_output("VAE") else None


def is_patch(graph: Graph, node_id: str, info: NodeInfo) -> bool:
    """Whether a node applies a component to what samplers use; not if it applies a stack that is players already."""
    if not info.has_output(*CARRIERS):
        return False
    if _files(graph, node_id, info):
        return True
    brought = [link for name, link in graph[node_id].links() if info.input_type(name) in AUXILIARIES]
    return any(stack_entries(graph[link.node]) is None for link in brought)


def _files(graph: Graph, node_id: str, info: NodeInfo) -> dict[str, str]:
    """The inputs of a node that name model files, directly or through a primitive."""
    values = {name: constant(graph, value) for name, value in graph[node_id].inputs.items()}
    named = {name: value for name, value in values.items() if is_model_file(value)}
    if not named and info.class_type in ("VAELoader", "DiffusersLoader"):  # built-in names, folders
        named = {name: value for name, value in values.items() if isinstance(value, str)}
    return named


def patch(graph: Graph, positive: PositivePrompt, catalog: NodeCatalog, node_id: str, info: NodeInfo) -> Component:
    files = list(_files(graph, node_id, info).values())
    for name, link in graph[node_id].links():
        if info.input_type(name) in AUXILIARIES:
            files.extend(_upstream_files(graph, catalog, link))
    lowered = info.class_type.lower()
    kind = next((kind for part, kind in KINDS_BY_NAME if part in lowered), None)
    if kind is None:
        kind = "controlnet" if info.has_input("CONTROL_NET") else "model_patch"
    name = stem(files[0]) if files else info.display_name
    absence = Absence("")
    for key in (node_id, *(copy for copy, origin in positive.copies.items() if origin == node_id)):
        rule = rules.bypass(positive.graph, catalog, key, info)
        if isinstance(rule, str):
            return Component(name, kind, node_id, (node_id,), tuple(files), None, rule)
        absence = replace(rule, redirects={**absence.redirects, **rule.redirects})
    return Component(name, kind, node_id, (node_id,), tuple(files), absence)


def loader(
    graph: Graph, catalog: NodeCatalog, nodes: tuple[str, ...], settings: AuditSettings, target: Link
) -> Component:
    node = graph[nodes[0]]
    info = catalog.get(node.class_type)
    if info is None:
        raise WorkflowError(f"The node class {node.class_type!r} (node {nodes[0]!r}) is unknown.")
    files = _files(graph, nodes[0], info)
    kind = str(source_kind(graph, nodes[0], info))
    values = {
        name: value for name in files for key in (*nodes, *(f"{node_id}.{name}" for node_id in nodes))
        if (value := settings.baseline_models.get(key))
    }  # fmt: skip
    general = {"checkpoint": settings.baseline_checkpoint, "vae": settings.baseline_vae}.get(kind)
    if not values and general and len(files) == 1:
        values = {next(iter(files)): general}
    name, absence, reason = stem(next(iter(files.values()))), None, ""
    if values and all(files[key] == value for key, value in values.items()):
        reason = "the baseline is this very file, so its absence would change nothing; name another baseline"
    elif values:
        absence = rules.baseline(graph, nodes, values)
    elif kind == "vae":
        source = _nearest_checkpoint_vae(graph, catalog, target)
        absence = rules.checkpoint_vae(graph, nodes, source) if source else None
        reason = (
            ""
            if source
            else (
                "the workflow has no checkpoint whose own VAE could stand in, so its share was not measured; "
                "name a baseline VAE to measure it"
            )
        )
    else:
        absence = rules.merge_bypass(graph, catalog, nodes)
        what = {"checkpoint": "baseline checkpoint (say, plain SD 1.5)"}.get(
            kind, f"baseline of the same family for node {nodes[0]}"
        )
        reason = (
            "" if absence else f"no baseline was named, so its own share was not measured; name a {what} to measure it"
        )
    return Component(name, kind, nodes[0], nodes, tuple(files.values()), absence, reason)


def _nearest_checkpoint_vae(graph: Graph, catalog: NodeCatalog, target: Link) -> Link | None:
    """The VAE output of the checkpoint nearest upstream of the target."""
    queue, seen = [target.node], {target.node}
    while queue:
        node_id = queue.pop(0)
        info = catalog.get(graph[node_id].class_type)
        if info is not None and source_kind(graph, node_id, info) == "checkpoint" and info.has_output("VAE"):
            return Link(node_id, info.outputs.index("VAE"))
        for _, link in graph[node_id].links():
            if link.node not in seen:
                seen.add(link.node)
                queue.append(link.node)
    return None


def _upstream_files(graph: Graph, catalog: NodeCatalog, link: Link) -> list[str]:
    """The model files that a component's auxiliary input brings along; those of the workflow's own models are not."""
    queue, seen = [link.node], {link.node}
    while queue:
        node_id = queue.pop(0)
        info = catalog.get(graph[node_id].class_type)
        files = [value for value in graph[node_id].inputs.values() if is_model_file(value)]
        if files:
            return files
        for name, source in graph[node_id].links():
            if source.node not in seen and (info is None or info.input_type(name) not in CARRIERS):
                seen.add(source.node)
                queue.append(source.node)
    return []


def check_baselines(graph: Graph, catalog: NodeCatalog, settings: AuditSettings) -> None:
    for key in settings.baseline_models:
        node_id, name = (key, "") if key in graph else (key.rpartition(".")[0], key.rpartition(".")[2])
        info = catalog.get(graph[node_id].class_type) if node_id in graph else None
        if info is None or not source_kind(graph, node_id, info):
            raise PlayerError(f"The baseline for node {key!r} fits no model loader upstream of the audited output.")
        inputs = ", ".join(files := _files(graph, node_id, info))
        if name and name not in files:
            raise PlayerError(f"The loader in node {node_id!r} has no file input {name!r}; it has: {inputs}.")
        if not name and len(files) > 1:
            raise PlayerError(f"The loader in node {key!r} has several files; name one as {key}.INPUT ({inputs}).")


def stem(file: Any) -> str:
    """A model file's name without folders and extension."""
    path = PurePosixPath(str(file).replace("\\", "/"))
    return path.stem if is_model_file(path.name) else path.name
