"""Components: the nodes that load a model or apply one, each with its absence rule.

They are recognised by the input and output types of their classes (``node_info``), not by class names, so that loaders
and patches of unknown model families and node packs are found, too.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from ..errors import PlayerError, WorkflowError
from ..settings import AuditSettings
from ..workflow.graph import Graph, Link, topological_order
from ..workflow.node_info import NodeCatalog, NodeInfo, is_model_file
from ..workflow.noise import Constants
from . import absence as rules
from .absence import Absence, AbsenceRules
from .prompts import PositivePrompt
from .stacks import is_stack

CARRIERS = ("MODEL", "CLIP", "VAE", "CONDITIONING", "HOOKS")
"""Types that samplers use. A component is what changes one of them; its absence undoes that."""

AUXILIARIES = (
    "CONTROL_NET", "STYLE_MODEL", "CLIP_VISION_OUTPUT", "GLIGEN", "MODEL_PATCH", "LORA_MODEL", "PHOTOMAKER",
    "IPADAPTER", "INSTANTID", "PULID", "PULIDFLUX", "LORA_STACK",
)  # fmt: skip
"""Types of models that other nodes apply. Such a model and its loader count as part of the node that applies it."""

KINDS_BY_NAME = (
    ("lora", "lora"), ("hypernetwork", "hypernetwork"), ("controlnet", "controlnet"), ("control_net", "controlnet"),
    ("ipadapter", "ip_adapter"), ("unclip", "unclip"), ("style", "style"), ("gligen", "gligen"),
)  # fmt: skip


@dataclass(frozen=True)
class Component:
    """A part of the workflow that may be a player: a model, a prompt or an image. Without an absence rule it is locked.

    Attributes:
        name: unique, as shown to the user.
        kind: checkpoint, unet, clip, vae, lora, controlnet, prompt, image, model_patch, …
        node: the id of its node, or of the first of its nodes.
        nodes: the ids of all its nodes.
        files: its model files.
        absence: its absence rule; None if it is locked.
        reason: why it is locked, and what to do to measure it; empty for a player.
    """

    name: str
    kind: str
    node: str
    nodes: tuple[str, ...]
    files: tuple[str, ...]
    absence: Absence | None
    reason: str = ""


class ComponentFinder:
    """Finds the components among a graph's nodes, and their absence rules.

    Args:
        graph: the workflow upstream of ``target``.
        positive: its positive prompt, and the nodes that were copied for it.
    """

    def __init__(
        self, graph: Graph, target: Link, positive: PositivePrompt, catalog: NodeCatalog, settings: AuditSettings
    ) -> None:
        self._graph = graph
        self._target = target
        self._catalog = catalog
        self._settings = settings
        self._constants = Constants(graph)
        self._named: dict[str, dict[str, str]] = {}
        self._rules = AbsenceRules(graph, catalog)
        self._positive_rules = AbsenceRules(positive.graph, catalog)
        self._copies: dict[str, list[str]] = {}
        for copy, origin in positive.copies.items():
            self._copies.setdefault(origin, []).append(copy)

    def source_kind(self, node_id: str, info: NodeInfo) -> str | None:
        """The kind of model that a node loads; None if it loads none, or applies it to another model."""
        if not self._files(node_id, info) or info.has_input("MODEL", "CLIP", "VAE", "CONDITIONING"):
            return None
        if info.has_output("MODEL"):
            return "checkpoint" if info.has_output("CLIP", "VAE", "CLIP_VISION") else "unet"
        return "clip" if info.has_output("CLIP") else "vae" if info.has_output("VAE") else None

    def is_patch(self, node_id: str, info: NodeInfo) -> bool:
        """Whether a node changes what samplers use; not if it applies a known stack, whose entries are components."""
        if not info.has_output(*CARRIERS):
            return False
        return bool(self._files(node_id, info)) or any(
            info.input_type(name) in AUXILIARIES and not is_stack(self._graph[link.node])
            for name, link in self._graph[node_id].links()
        )

    def patch(self, node_id: str, info: NodeInfo) -> Component:
        """The component that a node applies. If it is absent, the node is bypassed."""
        files = list(self._files(node_id, info).values())
        for name, link in self._graph[node_id].links():
            if info.input_type(name) in AUXILIARIES:
                files.extend(self._brought_files[link.node][1])
        lowered = info.class_type.lower()
        kind = next((kind for part, kind in KINDS_BY_NAME if part in lowered), None)
        if kind is None:
            kind = "controlnet" if info.has_input("CONTROL_NET") else "model_patch"
        name = stem(files[0]) if files else info.display_name
        found = [self._positive_rules.bypass(key, info) for key in (node_id, *self._copies.get(node_id, ()))]
        reason = next((rule for rule in found if isinstance(rule, str)), "")
        bypasses = [rule for rule in found if isinstance(rule, Absence)]
        redirects = {link: other for rule in bypasses for link, other in rule.redirects.items()}
        absence = None if reason else replace(bypasses[-1], redirects=redirects)
        return Component(name, kind, node_id, (node_id,), tuple(files), absence, reason)

    def loader(self, nodes: tuple[str, ...]) -> Component:
        """The component of several loaders with the same inputs."""
        node = self._graph[nodes[0]]
        info = self._catalog.get(node.class_type)
        if info is None:
            raise WorkflowError(f"The node class {node.class_type!r} (node {nodes[0]!r}) is unknown.")
        files = self._files(nodes[0], info)
        kind = str(self.source_kind(nodes[0], info))
        values = {
            name: value for name in files for key in (*nodes, *(f"{node_id}.{name}" for node_id in nodes))
            if (value := self._settings.baseline_models.get(key))
        }  # fmt: skip
        general = {"checkpoint": self._settings.baseline_checkpoint, "vae": self._settings.baseline_vae}.get(kind)
        if not values and general and len(files) == 1:
            values = {next(iter(files)): general}
        values = {name: item.spelling(value) if (item := info.input(name)) else value for name, value in values.items()}
        name = stem(next(iter(files.values())))
        absence: Absence | None
        if values and all(files[key] == value for key, value in values.items()):
            absence = None
            reason = "the baseline is this very file, so its absence would change nothing; name another baseline"
        elif values:
            absence, reason = rules.baseline(nodes, values), ""
        elif kind == "vae":
            absence = rules.checkpoint_vae(nodes, self._nearest_vae) if self._nearest_vae else None
            reason = (
                "the workflow has no checkpoint whose own VAE could stand in, so its share was not measured; name a "
                "baseline VAE to measure it"
            )
        else:
            absence = self._rules.merge_bypass(nodes)
            what = {"checkpoint": "baseline checkpoint (say, plain SD 1.5)"}.get(
                kind, f"baseline of the same family for node {nodes[0]}"
            )
            reason = f"no baseline was named, so its own share was not measured; name a {what} to measure it"
        files_named = tuple(files.values())
        return Component(name, kind, nodes[0], nodes, files_named, absence, "" if absence else reason)

    def check_baselines(self) -> None:
        """Refuse baselines that fit no loader.

        Raises:
            PlayerError: a baseline names no loader upstream, or no file input of its loader, or several.
        """
        for key in self._settings.baseline_models:
            node_id, _, name = (key, "", "") if key in self._graph else key.rpartition(".")
            info = self._catalog.get(self._graph[node_id].class_type) if node_id in self._graph else None
            if info is None or not self.source_kind(node_id, info):
                raise PlayerError(f"The baseline for node {key!r} fits no model loader upstream of the audited output.")
            inputs = ", ".join(files := self._files(node_id, info))
            if name and name not in files:
                raise PlayerError(f"The loader in node {node_id!r} has no file input {name!r}; it has: {inputs}.")
            if not name and len(files) > 1:
                raise PlayerError(f"The loader in node {key!r} has several files; name one as {key}.INPUT ({inputs}).")

    def _files(self, node_id: str, info: NodeInfo) -> dict[str, str]:
        """A node's model files by input, whether typed there or linked from a primitive."""
        if node_id not in self._named:
            values = {name: self._constants.of(value) for name, value in self._graph[node_id].inputs.items()}
            named = {name: value for name, value in values.items() if is_model_file(value)}
            if not named and info.class_type in ("VAELoader", "DiffusersLoader"):  # names without extension
                named = {name: value for name, value in values.items() if isinstance(value, str)}
            self._named[node_id] = named
        return self._named[node_id]

    @functools.cached_property
    def _nearest_vae(self) -> Link | None:
        """The VAE output of the checkpoint nearest upstream of the target."""
        queue, seen = deque([self._target.node]), {self._target.node}
        while queue:
            node_id = queue.popleft()
            info = self._catalog.get(self._graph[node_id].class_type)
            if info is not None and info.has_output("VAE") and self.source_kind(node_id, info) == "checkpoint":
                return Link(node_id, info.outputs.index("VAE"))
            for _, link in self._graph[node_id].links():
                if link.node not in seen:
                    seen.add(link.node)
                    queue.append(link.node)
        return None

    @functools.cached_property
    def _brought_files(self) -> dict[str, tuple[float, list[str]]]:
        """For each node its nearest model files, with their distance in links.

        These are its own files, else those of the nearest node upstream that has some. Links that carry what samplers
        use are not followed: they lead to other components.
        """
        found: dict[str, tuple[float, list[str]]] = {}
        for node_id in topological_order(self._graph, self._graph):
            node = self._graph[node_id]
            info = self._catalog.get(node.class_type)
            nearest: tuple[float, list[str]] = (math.inf, [])
            if own := [value for value in node.inputs.values() if is_model_file(value)]:
                nearest = (0, own)
            else:
                for name, source in node.links():
                    if info is None or info.input_type(name) not in CARRIERS:
                        distance, files = found[source.node]
                        if distance + 1 < nearest[0]:
                            nearest = (distance + 1, files)
            found[node_id] = nearest
        return found


def stem(file: Any) -> str:
    """A model file's name without folders and extension."""
    path = PurePosixPath(str(file).replace("\\", "/"))
    return path.stem if is_model_file(path.name) else path.name
