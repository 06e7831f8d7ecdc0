"""Divides a workflow: what is on the way to the image, and what only goes with one component.

A ControlNet's loader, its hint, and the models that make the hint belong to the ControlNet: without it they do not run.
So a component's node is followed only through the inputs that stand in for its outputs when it is absent.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ..workflow.graph import Graph, Link, topological_order
from ..workflow.node_info import NodeCatalog, NodeInfo, is_model_file
from ..workflow.noise import Constants
from .absence import AbsenceRules
from .entries import Entry, entries, is_listed, named
from .packs import RULES

_T = TypeVar("_T")

CARRIERS = ("MODEL", "CLIP", "VAE", "CONDITIONING", "HOOKS")
"""Types that samplers use. A component is what changes one of them; its absence undoes that."""

AUXILIARIES = (
    "CONTROL_NET", "STYLE_MODEL", "CLIP_VISION_OUTPUT", "GLIGEN", "MODEL_PATCH", "LORA_MODEL", "PHOTOMAKER",
    "IPADAPTER", "INSTANTID", "PULID", "PULIDFLUX", "LORA_STACK", "CONTROL_NET_STACK",
)  # fmt: skip
"""Types of models that other nodes apply. Such a model and its loader count as part of the node that applies it."""

_NUMBERS = ("INT", "FLOAT", "BOOLEAN")
_LOADERS = ("checkpoint", "unet", "clip", "vae")


class Parts:
    """A workflow, and what its nodes are to the image.

    Args:
        graph: the workflow upstream of ``target``.
    """

    def __init__(self, graph: Graph, target: Link, catalog: NodeCatalog) -> None:
        self.graph = graph
        self.catalog = catalog
        self.constants = Constants(graph)
        self._target = target
        self._rules = AbsenceRules(graph, catalog)
        self._named: dict[str, dict[str, str]] = {}
        self._entries: dict[str, list[Entry]] = {}
        self.main = self._main()

    def entries(self, node_id: str) -> list[Entry]:
        """The models that a node holds by the table."""
        if node_id not in self._entries:
            self._entries[node_id] = entries(node_id, self.graph[node_id], self.constants)
        return self._entries[node_id]

    def files(self, node_id: str) -> dict[str, str]:
        """A node's model files by input, whether typed there or linked from a primitive."""
        if node_id not in self._named:
            values = {key: named(self.constants.of(value)) for key, value in self.graph[node_id].inputs.items()}
            self._named[node_id] = {key: value for key, value in values.items() if value and is_model_file(value)}
        return self._named[node_id]

    def loaded(self, node_id: str) -> dict[str, str]:
        """The model files that a baseline could replace, by input; none for a node that is no loader."""
        if is_listed(self.graph[node_id]):
            kinds = ((entry.input, entry.file) for entry in self.entries(node_id) if entry.kind in _LOADERS)
            return {name: file for name, file in kinds if file is not None}
        info = self.catalog.get(self.graph[node_id].class_type)
        return self.files(node_id) if info is not None and self.source_kind(node_id, info) else {}

    def source_kind(self, node_id: str, info: NodeInfo) -> str | None:
        """The kind of model that a node loads; None if it loads none, or applies it, or if the table knows better."""
        if is_listed(self.graph[node_id]) or not self.files(node_id):
            return None
        if info.has_input("MODEL", "CLIP", "VAE", "CONDITIONING"):
            return None
        if info.has_output("MODEL"):
            return "checkpoint" if info.has_output("CLIP", "VAE", "CLIP_VISION") else "unet"
        return "clip" if info.has_output("CLIP") else "vae" if info.has_output("VAE") else None

    def checkpoint_vae(self, nodes: Iterable[str]) -> Link | None:
        """The VAE of the checkpoint nearest to where VAE loaders are used to decode, or else to the target."""
        users = {user for node_id in nodes for user in self._rules.users(node_id, ("VAE",)) if user in self.main}
        decoders = [
            user
            for user in users
            if (info := self.catalog.get(self.graph[user].class_type))
            and info.has_input("LATENT")
            and info.has_output("IMAGE")
        ]
        return min((self._own_vaes[name] for name in decoders or [self._target.node]), key=lambda item: item[0])[1]

    def _has_own_vae(self, node_id: str) -> bool:
        """Whether a node loads a checkpoint with the VAE that is in it."""
        if is_listed(self.graph[node_id]):
            on = {entry.kind for entry in self.entries(node_id) if entry.on}
            return "checkpoint" in on and "vae" not in on
        info = self.catalog.get(self.graph[node_id].class_type)
        return info is not None and self.source_kind(node_id, info) == "checkpoint"

    def is_patch(self, node_id: str, info: NodeInfo) -> bool:
        """Whether a node changes what samplers use; not if it applies a known stack, whose entries are components.

        A node that makes a latent of what it is given, such as an image-to-video node, is none.
        """
        if is_listed(self.graph[node_id]) or not info.has_output(*CARRIERS):
            return False
        if self.files(node_id):
            return not self.source_kind(node_id, info)
        return not info.has_output("LATENT") and not self.is_loader_on_the_way(info) and bool(self._applied(node_id))

    def is_loader_on_the_way(self, info: NodeInfo) -> bool:
        """Whether a node loads a model for others to apply, and passes on what they apply it to (and may change it)."""
        return info.has_output(*AUXILIARIES) and info.has_output("MODEL") and info.has_input("MODEL")

    def loaders_on_the_way(self, node_id: str) -> list[str]:
        """The loaders on the way whose model only this node applies."""
        return [link.node for link in self._applied(node_id) if self._only_user(link.node) == node_id]

    def is_shared_loader(self, node_id: str, info: NodeInfo) -> bool:
        """Whether a node is a loader on the way whose model several nodes apply."""
        return self.is_loader_on_the_way(info) and self._only_user(node_id) is None

    def followed(self, node_id: str) -> Iterator[Link]:
        """The links from a node to what is on the way to the image. A number, such as a hint's width, is not."""
        node = self.graph[node_id]
        info = self.catalog.get(node.class_type)
        patch = info is not None and self.is_patch(node_id, info)
        if patch and info is not None and not isinstance(self._rules.bypass(node_id, info), str):
            slots = [slot for slot, kind in enumerate(info.outputs) if kind in CARRIERS]
            names = {item.name for slot in slots if (item := info.bypass_input(slot))}
            yield from (link for name, link in node.links() if name in names)
            return
        hints = {entry.hint for entry in self.entries(node_id)}
        for name, link in node.links():
            kind = info.input_type(name) if info is not None else None
            if name not in hints and kind not in _NUMBERS and not (patch and kind == "IMAGE"):
                yield link

    def brought(self, node_id: str, *inputs: str) -> list[str]:
        """The nodes that only go with a component, the nearest first; of single inputs, where some are given.

        Those that several components share go with the first.
        """
        found = self._brought.get(node_id, {})
        return [name for key in (inputs or found) for name in found.get(key, ())]

    def files_behind(self, node_id: str, *inputs: str) -> list[str]:
        """The model files of the nodes that only go with a component, those of the models it applies first."""
        return [file for name in self.brought(node_id, *inputs) for file in self._named_in(name)]

    def files_with(self, node_id: str, *inputs: str) -> tuple[list[str], list[str]]:
        """The files of a component and of all that goes with it, its own first, and names where no file is named."""
        own = [] if inputs else list(self.files(node_id).values())
        applied = [link.node for link in self._applied(node_id)] if not inputs else []
        near = [file for name in applied for file in self._nearest[name][1]]
        found = dict.fromkeys([*own, *near, *self.files_behind(node_id, *inputs)])
        nodes = [node_id, *applied, *self.brought(node_id, *inputs)]
        names = [self.constants.of(self.graph[name].inputs.get(rule.named)) for name in nodes
                 if (rule := RULES.get(self.graph[name].class_type)) and rule.named]  # fmt: skip
        return list(found), [name for name in names if isinstance(name, str)]

    def listed_file(self, nodes: Iterable[str], name: str) -> str:
        """The file that a LoRA's name means: the one so called in a list of the server's, or else the name itself."""
        if is_model_file(name):
            return name
        classes = [*(self.graph[node_id].class_type for node_id in nodes), "LoraLoader"]
        infos = [info for class_type in classes if (info := self.catalog.get(class_type))]
        listed = [one for info in infos for item in info.inputs for one in item.options or () if is_model_file(one)]
        wanted = _without_extension(f"{name}.")
        by_path = {_without_extension(option): option for option in reversed(listed)}
        by_name = {path.rpartition("/")[2]: option for path, option in by_path.items()}
        return by_path.get(wanted) or by_name.get(wanted) or name

    def _named_in(self, node_id: str) -> list[str]:
        listed = [entry.file for entry in self.entries(node_id) if entry.on and entry.file is not None]
        return listed if is_listed(self.graph[node_id]) else list(self.files(node_id).values())

    @functools.cached_property
    def _own_vaes(self) -> dict[str, tuple[float, Link | None]]:
        """For each node on the way the VAE of the checkpoint nearest upstream, with its distance in links."""

        def own(node_id: str) -> Link | None:
            info = self.catalog.get(self.graph[node_id].class_type)
            if info is None or not info.has_output("VAE") or not self._has_own_vae(node_id):
                return None
            return Link(node_id, info.outputs.index("VAE"))

        return _nearest_upstream(self.order, own, self.followed, None)

    @functools.cached_property
    def _nearest(self) -> dict[str, tuple[float, list[str]]]:
        """For each node the nearest model files, its own or those of a node upstream, with their distance in links.

        Links that carry what samplers use are not followed: they lead to other components.
        """

        def others(node_id: str) -> list[Link]:
            info = self.catalog.get(self.graph[node_id].class_type)
            links = self.graph[node_id].links()
            return [link for name, link in links if info is None or info.input_type(name) not in CARRIERS]

        return _nearest_upstream(topological_order(self.graph, self.graph), self._named_in, others, [])

    @functools.cached_property
    def _brought(self) -> dict[str, dict[str, list[str]]]:
        """For each component's node, by input, the nodes behind it that are not on the way. None is visited twice."""
        found: dict[str, dict[str, list[str]]] = {}
        owned: set[str] = set()
        for node_id in self.main:
            info = self.catalog.get(self.graph[node_id].class_type)
            if not self.entries(node_id) and not (info is not None and self.is_patch(node_id, info)):
                continue
            for name, first in self.graph[node_id].links():
                queue = deque([first.node])
                while queue:
                    current = queue.popleft()
                    if current not in self.main and current not in owned:
                        owned.add(current)
                        found.setdefault(node_id, {}).setdefault(name, []).append(current)
                        queue.extend(link.node for _, link in self.graph[current].links())
        return found

    def _applied(self, node_id: str) -> list[Link]:
        """The links to models that a node applies; not to known stacks."""
        node = self.graph[node_id]
        info = self.catalog.get(node.class_type)
        return [
            link
            for name, link in node.links()
            if info is not None and info.input_type(name) in AUXILIARIES and not is_listed(self.graph[link.node])
        ]

    def _only_user(self, node_id: str) -> str | None:
        """The node that alone applies the model of a loader on the way."""
        info = self.catalog.get(self.graph[node_id].class_type)
        if info is None or not self.is_loader_on_the_way(info):
            return None
        users = self._rules.users(node_id, AUXILIARIES)
        return next(iter(users)) if len(users) == 1 else None

    def _main(self) -> dict[str, None]:
        """The nodes on the way to the image, the nearest first."""
        found: dict[str, None] = {self._target.node: None}
        queue = deque(found)
        while queue:
            for link in self.followed(queue.popleft()):
                if link.node not in found:
                    found[link.node] = None
                    queue.append(link.node)
        return found

    @functools.cached_property
    def order(self) -> list[str]:
        """The nodes on the way to the image, sources first."""
        return [node_id for node_id in topological_order(self.graph, [self._target.node]) if node_id in self.main]


def _nearest_upstream(
    order: Iterable[str], own: Callable[[str], _T], sources: Callable[[str], Iterable[Link]], nothing: _T
) -> dict[str, tuple[float, _T]]:
    """For each node what it has itself, or else the nearest node upstream has, with the distance in links.

    Args:
        order: nodes, sources first.
        own: what a node has itself; nothing where that is empty.
        sources: the links that are followed from a node.
        nothing: what a node has that finds nothing, at an infinite distance.
    """
    found: dict[str, tuple[float, _T]] = {}
    for node_id in order:
        if had := own(node_id):
            found[node_id] = (0, had)
            continue
        nearest: tuple[float, _T] = (math.inf, nothing)
        for link in sources(node_id):
            distance, what = found[link.node]
            if distance + 1 < nearest[0]:
                nearest = (distance + 1, what)
        found[node_id] = nearest
    return found


def _without_extension(path: str) -> str:
    return path.replace("\\", "/").casefold().rpartition(".")[0]
