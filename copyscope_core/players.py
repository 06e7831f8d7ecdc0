"""Players: the components upstream of an image whose contribution is measured, and those that cannot be.

Components are recognised by what their classes take and give (``node_info``), not by a list of class names, so that
loaders and patches of families and packs that are not known here are found too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from . import absence as rules
from .absence import Absence
from .errors import PlayerError, WorkflowError
from .graph import Graph, Link, Node, topological_order
from .node_info import NodeCatalog, NodeInfo, is_image_file, is_model_file
from .prompts import has_phrase, positive_texts
from .settings import AuditSettings
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


@dataclass(frozen=True)
class Unmeasured:
    """Something upstream that shapes the images and is no component."""

    node: str
    class_type: str
    what: str
    reason: str


@dataclass(frozen=True)
class InputImage:
    """An image file upstream: an init image, a hint, a mask."""

    node: str
    class_type: str
    file: str


@dataclass(frozen=True)
class Discovery:
    """What ``discover`` found. ``graph`` is the workflow with the nodes that the absence rules need."""

    graph: Graph
    components: tuple[Component, ...]
    images: tuple[InputImage, ...]


def discover(graph: Graph, target: Link, catalog: NodeCatalog, settings: AuditSettings) -> Discovery:
    """Find every component upstream of ``target`` and its absence rule.

    Args:
        graph: the workflow upstream of ``target``, output nodes already bypassed.

    Raises:
        PlayerError: a key prompt that stands in no positive text, an image player that is no image, a baseline for
            an unknown node.
    """
    _check_baselines(graph, settings)
    order = topological_order(graph, [target.node])
    found: list[Component] = []
    loaders: dict[str, list[str]] = {}
    for node_id in order:
        info = catalog.get(graph[node_id].class_type)
        entries = stack_entries(graph[node_id])
        if entries is not None:
            found.extend(
                Component(
                    _stem(entry.file),
                    "lora",
                    node_id,
                    (node_id,),
                    (entry.file,),
                    Absence(
                        f"entry {entry.label} of the stack is switched off",
                        edits=tuple((node_id, name, value) for name, value in entry.off),
                    ),
                )
                for entry in entries
            )
        elif info is not None and (kind := _source_kind(graph[node_id], info)):
            loaders.setdefault(f"{kind} {graph[node_id].class_type} {dict(graph[node_id].inputs)}", []).append(node_id)
        elif info is not None and _is_patch(graph[node_id], info):
            found.append(_patch(graph, catalog, node_id, info))
    in_file_order = sorted(loaders.values(), key=lambda nodes: list(graph).index(nodes[0]))
    sources = [_loader(graph, catalog, tuple(nodes), settings, target) for nodes in in_file_order]
    base, prompts = _prompts(graph, catalog, settings)
    images = tuple(_images(graph, order))
    base, image_players = _image_players(base, graph, images, settings)
    models = [
        *(c for c in sources if c.kind in ("checkpoint", "unet")),
        *(c for c in sources if c.kind == "clip"),
        *found,
        *(c for c in sources if c.kind == "vae"),
    ]
    return Discovery(base, tuple(_unique([*models, *prompts, *image_players])), images)


def unmeasured(
    empty: Iterable[tuple[str, Node]], components: Sequence[Component], images: Sequence[InputImage]
) -> list[Unmeasured]:
    """What is present in every coalition and is no component: models in other nodes, images, embeddings.

    Args:
        empty: the nodes of the empty coalition, each with the id of the workflow's node it comes from.
    """
    known = {node for component in components for node in component.nodes if component.files}
    image_players = {component.node for component in components if component.kind == "image"}
    result = []
    for node_id, node in empty:
        for name, value in node.inputs.items():
            if is_model_file(value) and node_id not in known:
                reason = "a model in a node with no absence rule"
                result.append(Unmeasured(node_id, node.class_type, f"{name}: {value}", reason))
            elif isinstance(value, str):
                reason = "a textual inversion in a text that stays"
                for embedding in re.findall(r"embedding:([^\s,()\[\]:]+)", value):
                    result.append(Unmeasured(node_id, node.class_type, f"embedding: {embedding}", reason))
    for image in images:
        if image.node not in image_players:
            result.append(
                Unmeasured(
                    image.node,
                    image.class_type,
                    f"image: {image.file}",
                    "an input image; make it a player to measure it",
                )
            )
    return result


def select(components: Sequence[Component], settings: AuditSettings) -> tuple[list[Component], list[Component]]:
    """Divide components into players and locked ones by the settings' ``players`` and ``lock``.

    A selector is a component's name, node id, kind or file name, whatever its case.

    Raises:
        PlayerError: a selector fits nothing, or asks for a component that has no absence rule.
    """
    wanted = {c.name for s in settings.players for c in _matching(components, s)} if settings.players else None
    locked_names = {c.name for s in settings.lock for c in _matching(components, s)}
    for selector in settings.players:
        if all(c.absence is None for c in _matching(components, selector)):
            first = _matching(components, selector)[0]
            raise PlayerError(f"{selector!r} cannot be a player: {first.reason}.")
    players, locked = [], []
    for component in components:
        if component.absence is None:
            locked.append(component)
        elif component.name in locked_names or (wanted is not None and component.name not in wanted):
            reason = "locked by the user" if component.name in locked_names else "not among the chosen players"
            locked.append(replace(component, absence=None, reason=reason))
        else:
            players.append(component)
    return players, locked


def _matching(components: Sequence[Component], selector: str) -> list[Component]:
    wanted = selector.strip().casefold()
    result = [
        component for component in components
        if wanted in {
            component.name.casefold(), component.kind, *component.nodes,
            *(file.casefold() for file in component.files), *(_stem(file).casefold() for file in component.files),
        }
    ]  # fmt: skip
    if not result:
        names = ", ".join(f"{c.name!r} ({c.kind}, node {c.node})" for c in components) or "none"
        raise PlayerError(f"No component is called {selector!r}; the workflow has: {names}.")
    return result


def _source_kind(node: Node, info: NodeInfo) -> str | None:
    """What a node loads, if it is a loader that depends on no other model."""
    if not _files(node, info) or info.has_input("MODEL", "CLIP", "VAE", "CONDITIONING"):
        return None
    if info.has_output("MODEL"):
        return "checkpoint" if info.has_output("CLIP", "VAE", "CLIP_VISION") else "unet"
    return "clip" if info.has_output("CLIP") else "vae" if info.has_output("VAE") else None


def _is_patch(node: Node, info: NodeInfo) -> bool:
    """Whether a node applies a component to what samplers use."""
    if not info.has_output(*CARRIERS):
        return False
    linked = [kind for name, _ in node.links() if (kind := info.input_type(name))]
    return bool(_files(node, info)) or any(kind in AUXILIARIES for kind in linked)


def _files(node: Node, info: NodeInfo) -> dict[str, str]:
    """The inputs of a node that name model files."""
    named = {name: value for name, value in node.inputs.items() if is_model_file(value)}
    if not named and info.class_type in ("VAELoader", "DiffusersLoader"):  # built-in names, folders
        named = {name: value for name, value in node.inputs.items() if isinstance(value, str)}
    return named


def _patch(graph: Graph, catalog: NodeCatalog, node_id: str, info: NodeInfo) -> Component:
    node = graph[node_id]
    files = list(_files(node, info).values())
    for name, link in node.links():
        if info.input_type(name) in AUXILIARIES:
            files.extend(_upstream_files(graph, link))
    lowered = info.class_type.lower()
    kind = next((kind for part, kind in KINDS_BY_NAME if part in lowered), None)
    if kind is None:
        kind = "controlnet" if info.has_input("CONTROL_NET") else "model_patch"
    rule = rules.bypass(graph, catalog, node_id, info)
    name = _stem(files[0]) if files else info.display_name
    if isinstance(rule, str):
        return Component(name, kind, node_id, (node_id,), tuple(files), None, rule)
    return Component(name, kind, node_id, (node_id,), tuple(files), rule)


def _loader(
    graph: Graph, catalog: NodeCatalog, nodes: tuple[str, ...], settings: AuditSettings, target: Link
) -> Component:
    node = graph[nodes[0]]
    info = catalog.get(node.class_type)
    if info is None:
        raise WorkflowError(f"The node class {node.class_type!r} (node {nodes[0]!r}) is unknown.")
    files = _files(node, info)
    kind = str(_source_kind(node, info))
    values = {
        name: value for name in files for key in (*nodes, *(f"{node_id}.{name}" for node_id in nodes))
        if (value := settings.baseline_models.get(key))
    }  # fmt: skip
    general = {"checkpoint": settings.baseline_checkpoint, "vae": settings.baseline_vae}.get(kind)
    if not values and general and len(files) == 1:
        values = {next(iter(files)): general}
    name, absence, reason = _stem(next(iter(files.values()))), None, ""
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
        if info is not None and _source_kind(graph[node_id], info) == "checkpoint" and info.has_output("VAE"):
            return Link(node_id, info.outputs.index("VAE"))
        for _, link in graph[node_id].links():
            if link.node not in seen:
                seen.add(link.node)
                queue.append(link.node)
    return None


def _prompts(graph: Graph, catalog: NodeCatalog, settings: AuditSettings) -> tuple[Graph, list[Component]]:
    base, texts = positive_texts(graph, catalog)
    origin = {text.node: text.node.split("+positive")[0] for text in texts}
    if not settings.key_prompts:
        if not texts:
            return graph, []
        nodes = tuple(dict.fromkeys(origin[text.node] for text in texts))
        if all(text.text == settings.neutral_prompt for text in texts):
            reason = "the positive text is the neutral text already"
            return graph, [Component("prompt", "prompt", nodes[0], nodes, (), None, reason)]
        rule = rules.prompt(tuple(texts), None, settings.neutral_prompt)
        return base, [Component("prompt", "prompt", nodes[0], nodes, (), rule)]
    result = []
    for phrase in settings.key_prompts:
        holders = tuple(text for text in texts if text.text is not None and has_phrase(text.text, phrase))
        if not holders:
            computed = sorted({origin[text.node] for text in texts if text.text is None})
            extra = (
                f" (the text of node {', '.join(computed)} is computed by other nodes and cannot be searched)"
                if computed
                else ""
            )
            shown = " | ".join(text.text for text in texts if text.text)[:200]
            raise PlayerError(
                f"The key prompt {phrase!r} stands in no positive text of the workflow{extra}; the text is: {shown!r}."
            )
        nodes = tuple(dict.fromkeys(origin[text.node] for text in holders))
        rule = rules.prompt(holders, phrase, settings.neutral_prompt)
        result.append(Component(f"prompt: {phrase}", "prompt", nodes[0], nodes, (), rule))
    return base, result


def _images(graph: Graph, order: Sequence[str]) -> list[InputImage]:
    return [
        InputImage(node_id, graph[node_id].class_type, value)
        for node_id in order
        for value in graph[node_id].inputs.values()
        if is_image_file(value)
    ]


def _image_players(
    base: Graph, graph: Graph, images: Sequence[InputImage], settings: AuditSettings
) -> tuple[Graph, list[Component]]:
    result = []
    by_node = {image.node: image for image in images}
    base = dict(base) if settings.image_players else base
    for node_id in settings.image_players:
        if node_id not in by_node:
            raise PlayerError(
                f"Node {node_id!r} loads no image upstream of the audited output; "
                f"image loaders there: {', '.join(by_node) or 'none'}."
            )
        added, rule = rules.grey_image(graph, node_id)
        base.update(added)
        result.append(Component(f"image: {by_node[node_id].file}", "image", node_id, (node_id,), (), rule))
    return base, result


def _upstream_files(graph: Graph, link: Link) -> list[str]:
    """The model files that a component's auxiliary input brings along, its own loader's first."""
    files: list[str] = []
    for node_id in reversed(topological_order(graph, [link.node])):
        files.extend(value for value in graph[node_id].inputs.values() if is_model_file(value))
        if files:
            break
    return files


def _check_baselines(graph: Graph, settings: AuditSettings) -> None:
    for key in settings.baseline_models:
        if key not in graph and key.rpartition(".")[0] not in graph:
            raise PlayerError(f"The baseline for node {key!r} fits no node upstream of the audited output.")


def _unique(components: list[Component]) -> list[Component]:
    counts: dict[str, int] = {}
    for component in components:
        counts[component.name] = counts.get(component.name, 0) + 1
    result, used = [], set()
    for component in components:
        name = component.name if counts[component.name] == 1 else f"{component.name} (node {component.node})"
        serial = 2
        while name in used:
            name, serial = f"{component.name} (node {component.node}, {serial})", serial + 1
        used.add(name)
        result.append(replace(component, name=name))
    return result


def _stem(file: Any) -> str:
    """A model file's name without folders and extension."""
    path = PurePosixPath(str(file).replace("\\", "/"))
    return path.stem if is_model_file(path.name) else path.name
