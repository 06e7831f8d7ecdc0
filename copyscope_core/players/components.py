"""Components: the nodes that load a model or apply one, each with its absence rule.

They are recognised by the input and output types of their classes (``node_info``), so that loaders and patches of
unknown model families and node packs are found, too. Classes that types say too little of are in a table (``packs``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from ..errors import PlayerError
from ..settings import AuditSettings
from ..workflow.graph import Graph, Link
from ..workflow.node_info import NodeCatalog, NodeInfo, is_model_file
from . import absence as rules
from .absence import Absence, AbsenceRules, Edit
from .entries import Entry, renamed
from .parts import CARRIERS, Parts
from .prompts import PositivePrompt, TextUse

KINDS_BY_NAME = (
    ("lora", "lora"), ("hypernetwork", "hypernetwork"), ("controlnet", "controlnet"), ("control_net", "controlnet"),
    ("ipadapter", "ip_adapter"), ("instantid", "instantid"), ("pulid", "pulid"), ("photomaker", "photomaker"),
    ("unclip", "unclip"), ("style", "style"), ("gligen", "gligen"),
)  # fmt: skip


@dataclass(frozen=True)
class Component:
    """A part of the workflow that may be a player: a model, a prompt or an image. Without an absence rule it is locked.

    Attributes:
        name: unique, as shown to the user.
        kind: checkpoint, unet, clip, vae, lora, controlnet, prompt, image, model_patch, …
        node: the id of its node, or of the first of its nodes.
        nodes: the ids of all its nodes.
        files: its model files; those that other models need that go with it come last.
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
    """Makes the components of a graph's nodes, with their absence rules.

    Args:
        parts: the workflow, divided into what is on the way to the image and what goes with a component.
        positive: its positive prompt, and the nodes that were copied for it.
    """

    def __init__(self, parts: Parts, positive: PositivePrompt, settings: AuditSettings) -> None:
        self._parts = parts
        self._graph: Graph = parts.graph
        self._catalog: NodeCatalog = parts.catalog
        self._settings = settings
        self._rules = AbsenceRules(parts.graph, parts.catalog)
        self._positive_rules = AbsenceRules(positive.graph, parts.catalog)
        self._copies: dict[str, list[str]] = {}
        for copy, origin in positive.copies.items():
            self._copies.setdefault(origin, []).append(copy)

    def patch(self, node_id: str, info: NodeInfo) -> Component:
        """The component that a node applies. If it is absent, the node is bypassed, and what loads its model too."""
        kind = _kind_by_name(info.class_type)
        if kind is None:
            kind = "controlnet" if info.has_input("CONTROL_NET") else "model_patch"
        found = [self._positive_rules.bypass(key, info) for key in (node_id, *self._copies.get(node_id, ()))]
        for loader in self._parts.loaders_on_the_way(node_id):
            found.append(self._loader_on_the_way(loader))
        return self._bypassed(node_id, info, kind, found)

    def shared_loader(self, node_id: str, info: NodeInfo) -> Component:
        """The component of a loader on the way that several others use: what it does to the model that it passes on."""
        kind = _kind_by_name(info.class_type) or "model_patch"
        return self._bypassed(node_id, info, kind, [self._loader_on_the_way(node_id)])

    def _loader_on_the_way(self, node_id: str) -> Absence | str:
        info = self._catalog.get(self._graph[node_id].class_type)
        return "" if info is None else self._positive_rules.bypass(node_id, info, CARRIERS)

    def _bypassed(self, node_id: str, info: NodeInfo, kind: str, found: list[Absence | str]) -> Component:
        files, names = self._parts.files_with(node_id)
        name = stem(files[0]) if files else names[0] if names else info.display_name
        reason = next((rule for rule in found if isinstance(rule, str)), "")
        bypasses = [rule for rule in found if isinstance(rule, Absence)]
        redirects = {link: other for rule in bypasses for link, other in rule.redirects.items()}
        absence = None if reason else replace(bypasses[0], redirects=redirects)
        return Component(name, kind, node_id, (node_id,), tuple(files), absence, reason)

    def entry(self, node_id: str, entry: Entry) -> Component:
        """The component of an entry that the table says how to switch off."""
        if entry.file is None:
            files, names = self._parts.files_with(node_id, entry.input)
        else:
            names = []
            files = [self._parts.listed_file([node_id], entry.file), *self._parts.files_behind(node_id, entry.hint)]
        name = stem(files[0]) if files else names[0] if names else entry.label
        edits = self._also_copies(entry.edits)
        rule = Absence(f"entry {entry.label} of its node is switched off", edits=edits)
        if entry.kind == "vae" and (value := self._baseline(node_id, entry.input, entry.kind)):
            rule = rules.baseline(self._also_copies((self._named_edit(node_id, entry.input, value),)))
        if entry.text:
            rule = replace(rule, texts=self._texts(node_id, entry.text), tag=str(entry.file))
        return Component(name, entry.kind, node_id, (node_id,), tuple(files), rule)

    def tag(self, uses: Iterable[tuple[str, str]], name: str) -> Component:
        """The component of a LoRA that tags in texts load; ``uses`` are the nodes and inputs of the texts."""
        texts = tuple(text for node_id, item in uses for text in self._texts(node_id, item))
        nodes = tuple(dict.fromkeys(text.node for text in texts if text.node in self._graph))
        file = self._parts.listed_file(nodes, name)
        return Component(stem(name), "lora", nodes[0], nodes, (file,), rules.tag(name, texts))

    def loader(self, nodes: tuple[str, ...], kind: str, files: Mapping[str, str]) -> Component:
        """The component of several loaders with the same inputs; ``files`` are its model files by input."""
        values = {
            name: value for name in files for key in (*nodes, *(f"{node_id}.{name}" for node_id in nodes))
            if (value := self._settings.baseline_models.get(key)) and self._fits(nodes[0], key, name)
        }  # fmt: skip
        if not values and len(files) == 1 and (general := self._baseline("", "", kind)):
            values = {next(iter(files)): general}
        info = self._catalog.get(self._graph[nodes[0]].class_type)
        items = {name: info.input(name) if info else None for name in values}
        values = {name: item.spelling(value) if (item := items[name]) else value for name, value in values.items()}
        name = stem(next(iter(files.values())))
        absence: Absence | None
        if values and all(files[key] == value for key, value in values.items()):
            absence = None
            reason = "the baseline is this very file, so its absence would change nothing; name another baseline"
        elif values:
            edits = tuple(self._named_edit(node, key, value) for node in nodes for key, value in values.items())
            absence, reason = rules.baseline(self._also_copies(edits)), ""
        elif kind == "vae":
            slot = info.outputs.index("VAE") if info and info.has_output("VAE") else 0
            outputs = tuple(Link(node, slot) for node in nodes)
            own = self._parts.checkpoint_vae(nodes)
            absence = rules.checkpoint_vae(outputs, own) if own else None
            reason = (
                "the workflow has no checkpoint whose own VAE could stand in, so its share was not measured; name a "
                "baseline VAE to measure it"
            )
        else:
            absence = self._rules.merge_bypass(nodes)
            what = {"checkpoint": "baseline checkpoint (a plain model of the same family)"}.get(
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
            files = self._parts.loaded(node_id) if node_id in self._graph else {}
            if not files:
                raise PlayerError(f"The baseline for node {key!r} fits no model loader upstream of the audited output.")
            inputs = ", ".join(files)
            if name and name not in files:
                raise PlayerError(f"The loader in node {node_id!r} has no file input {name!r}; it has: {inputs}.")
            if not name and len(files) > 1:
                raise PlayerError(f"The loader in node {key!r} has several files; name one as {key}.INPUT ({inputs}).")

    def _fits(self, node_id: str, key: str, name: str) -> bool:
        """Whether a baseline's key means an input: of a loader with several files it must name one."""
        return key.endswith(f".{name}") or len(self._parts.loaded(node_id)) == 1

    def _baseline(self, node_id: str, name: str, kind: str) -> str | None:
        """The baseline that the settings name for an input, or else for all loaders of its kind."""
        models = self._settings.baseline_models
        own = models.get(f"{node_id}.{name}") or models.get(node_id)
        general = {"checkpoint": self._settings.baseline_checkpoint, "vae": self._settings.baseline_vae}
        return own or general.get(kind)

    def _named_edit(self, node_id: str, name: str, value: str) -> Edit:
        return renamed(node_id, name, self._graph[node_id].inputs.get(name), value)

    def _also_copies(self, edits: tuple[Edit, ...]) -> tuple[Edit, ...]:
        """The edits, and the same of the copies that were made of their nodes for the positive prompt."""
        more = (edit._replace(node=copy) for edit in edits for copy in self._copies.get(edit.node, ()))
        return (*edits, *more)

    def _texts(self, node_id: str, name: str) -> tuple[TextUse, ...]:
        text = self._parts.constants.of(self._graph[node_id].inputs.get(name))
        if not isinstance(text, str):
            return ()
        return tuple(TextUse(key, name, text, True) for key in (node_id, *self._copies.get(node_id, ())))


def stem(file: Any) -> str:
    """A model file's name without folders and extension."""
    path = PurePosixPath(str(file).replace("\\", "/"))
    return path.stem if is_model_file(path.name) else path.name


def _kind_by_name(class_type: str) -> str | None:
    lowered = class_type.lower()
    return next((kind for part, kind in KINDS_BY_NAME if part in lowered), None)
