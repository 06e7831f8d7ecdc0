"""Rewriting: the graphs of coalitions, in which equal nodes are one node.

A node's structural digest is the SHA-256 of its class and inputs, in which a link counts as the digest of its node.
So nodes of equal digests compute the same, in whatever coalition. All coalitions' nodes are kept in one pool by their
digests, and the digest of a coalition's target tells what its images depend on.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import itertools
import json
import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..workflow.graph import Graph, Link, Node, topological_order
from ..workflow.lora_tags import only_tags, without_tags
from ..workflow.noise import NoiseInput
from .absence import Absence, Edit
from .prompts import TextUse, without_phrase

RERUN_INPUT = "copyscope_rerun"
"""An input that no node class has. ComfyUI ignores it, but because of it the node is no cached one and runs again."""


class Rewriter:
    """Builds the graphs of one workflow's coalitions.

    Args:
        original: the workflow upstream of the target, as the user made it.
        base: the same with the nodes that absence rules need (copied encoders, grey images).
        target: the output whose images are audited.
        absences: the absence rule of every player, in bitmask order.
        noise: the active noise inputs.
    """

    def __init__(
        self, original: Graph, base: Graph, target: Link, absences: Sequence[Absence], noise: Sequence[NoiseInput]
    ) -> None:
        self.pool: dict[str, Node] = {}
        self.origin: dict[str, str] = {}
        self._base = base
        self._target = target
        self._redirects: dict[Link, list[tuple[int, Link | None]]] = {}
        self._edits: dict[tuple[str, str], list[tuple[int, Edit]]] = {}
        self._texts: dict[tuple[str, str], tuple[TextUse, list[tuple[int, Absence]]]] = {}
        for index, absence in enumerate(absences):
            for link, other in absence.redirects.items():
                self._redirects.setdefault(link, []).append((index, other))
            for edit in absence.edits:
                self._edits.setdefault((edit.node, edit.input), []).append((index, edit))
            for text in absence.texts:
                self._texts.setdefault((text.node, text.input), (text, []))[1].append((index, absence))
        self._noise: dict[str, list[NoiseInput]] = {}
        for item in noise:
            self._noise.setdefault(item.node, []).append(item)
        self._relevant: dict[str, int] = {}
        self._relevant_links: dict[Link, int] = {}
        self._noisy: dict[str, bool] = {}
        self._analyse()
        self._resolved: dict[tuple[Link, int], Link | None] = {}
        self._memo: dict[tuple[str, int, int, str | None], str] = {}
        self._ids: dict[str, str] = {}
        for node_id, digest in digests(original, target.node).items():
            self._ids.setdefault(digest, node_id)

    def target(self, mask: int, offset: int = 0, nonce: str | None = None) -> Link:
        """The coalition's image output in the pool; its node is a digest.

        Args:
            mask: the coalition.
            offset: added to every active seed.
            nonce: a word that makes all that depends on noise run again, although nothing has changed.
        """
        target = self._resolve(self._target, mask)
        if target is None:
            raise ValueError("the audited output was left out")  # no rule leaves out a required output
        return Link(self._build(target.node, mask, offset, nonce), target.slot)

    def graph(self, mask: int, offset: int = 0, nonce: str | None = None) -> tuple[Graph, Link]:
        """The coalition's own graph and target. Nodes that are the user's own keep their ids."""
        target = self.target(mask, offset, nonce)
        order = topological_order(self.pool, [target.node])
        graph = {self.node_id(digest): self._named(self.pool[digest]) for digest in order}
        return graph, Link(self.node_id(target.node), target.slot)

    def node_id(self, digest: str) -> str:
        """The id of a pool node: the original one of a user's own node, else the original id and part of the digest."""
        return self._ids.get(digest) or f"{self.origin[digest]}_{digest[:10]}"

    def is_original(self, digest: str) -> bool:
        """Whether the node is one of the user's own, unchanged."""
        return digest in self._ids

    def seed_input(self, digest: str) -> str | None:
        """The active seed input of a pool node; None if it has none."""
        return next((item.input for item in self._noise.get(self.origin[digest], ())), None)

    def nodes(self, mask: int) -> list[tuple[str, Node]]:
        """The pool nodes of a coalition, each with the id of the base node it comes from."""
        order = topological_order(self.pool, [self.target(mask).node])
        return [(self.origin[digest], self.pool[digest]) for digest in order]

    def variants(self, node_id: str, masks: Iterable[int]) -> dict[str, Node]:
        """The different nodes that a node of the base graph becomes in some coalitions, by digest; none if unused."""
        relevant = self._relevant.get(node_id)
        if relevant is None:
            return {}
        distinct = {mask & relevant for mask in masks} if relevant else {0 for _ in itertools.islice(masks, 1)}
        found = {self._build(node_id, mask, 0, None) for mask in distinct}
        return {digest: self.pool[digest] for digest in found}

    def most_nodes(self, coalitions: int) -> int:
        """An upper bound of the number of different nodes in so many coalitions."""
        return sum(min(coalitions, 1 << relevant.bit_count()) for relevant in self._relevant.values())

    def _named(self, node: Node) -> Node:
        inputs = {
            name: Link(self.node_id(value.node), value.slot) if isinstance(value, Link) else value
            for name, value in node.inputs.items()
        }
        return replace(node, inputs=inputs)

    def _resolve(self, link: Link, mask: int) -> Link | None:
        """The output that takes the place of a linked one if players are absent; None if the input is left out."""
        row: list[tuple[Link, int]] = []
        current: Link | None = link
        while current is not None and current in self._redirects:
            key = current, mask & self._relevant_links[current]
            if key in self._resolved:
                current = self._resolved[key]
                break
            row.append(key)
            following = next((other for i, other in self._redirects[current] if not mask >> i & 1), current)
            if following == current:
                break
            current = following
        self._resolved.update(dict.fromkeys(row, current))
        return current

    def _inputs(self, node_id: str, mask: int, offset: int, nonce: str | None) -> dict[str, Any]:
        """The node's inputs in a coalition; links still name nodes of the base graph."""
        inputs: dict[str, Any] = {}
        for name, value in self._base[node_id].inputs.items():
            if (node_id, name) in self._edits:
                value = _edited(value, [edit for i, edit in self._edits[node_id, name] if not mask >> i & 1])
            if (node_id, name) in self._texts:
                value = self._text(node_id, name, value, mask)
            if isinstance(value, Link):
                value = self._resolve(value, mask)
                if value is None:
                    continue
            inputs[name] = value
        for item in self._noise.get(node_id, ()):
            if offset:
                inputs[item.input] = item.shifted(offset)
            if nonce is not None:
                inputs[RERUN_INPUT] = nonce
        return inputs

    def _text(self, node_id: str, name: str, value: Any, mask: int) -> Any:
        use, rules = self._texts[node_id, name]
        absent = [rule for index, rule in rules if not mask >> index & 1]
        if not absent:
            return value
        text = use.text or ""
        prompts = [rule for rule in absent if rule.tag is None]
        whole = next((rule for rule in prompts if rule.phrase is None), None)
        if whole is not None:
            kept = only_tags(text) if use.loads_tags else []
            text = " ".join([whole.neutral, *kept] if whole.neutral else kept)
        else:
            for rule in sorted(prompts, key=lambda rule: -len(rule.phrase or "")):  # a phrase may contain another
                text = without_phrase(text, str(rule.phrase), rule.neutral)
        for rule in absent:
            if rule.tag is not None:
                text = without_tags(text, rule.tag)
        return text

    def _build(self, root: str, mask: int, offset: int, nonce: str | None) -> str:
        """The digest of a node in a coalition; iterative, sources first."""
        stack: list[tuple[str, dict[str, Any] | None]] = [(root, None)]
        while stack:
            node_id, inputs = stack.pop()
            key = self._key(node_id, mask, offset, nonce)
            if key in self._memo:
                continue
            if inputs is None:
                inputs = self._inputs(node_id, mask, offset, nonce)
                waiting = [
                    value.node
                    for value in inputs.values()
                    if isinstance(value, Link) and self._key(value.node, mask, offset, nonce) not in self._memo
                ]
                if waiting:
                    stack.append((node_id, inputs))
                    stack.extend((child, None) for child in waiting)
                    continue
            for name, value in inputs.items():
                if isinstance(value, Link):
                    inputs[name] = Link(self._memo[self._key(value.node, mask, offset, nonce)], value.slot)
            own = self._base[node_id]
            node = Node(own.class_type, inputs, own.title)
            digest = self._memo[key] = structural_digest(node)
            self.pool.setdefault(digest, node)
            self.origin.setdefault(digest, node_id)
        return self._memo[self._key(root, mask, offset, nonce)]

    def _key(self, node_id: str, mask: int, offset: int, nonce: str | None) -> tuple[str, int, int, str | None]:
        noisy = self._noisy[node_id]
        return node_id, mask & self._relevant[node_id], offset if noisy else 0, nonce if noisy else None

    def _analyse(self) -> None:
        """Find the players that change each node or anything upstream of it, and whether noise is upstream.

        Each output that absence rules redirect is walked as if it were a node, linked to all outputs that may take its
        place.
        """
        names: dict[Link, str] = {}
        for link in self._redirects:
            names[link] = f"output {link.slot} of {link.node}"
            while names[link] in self._base:  # a node's own id
                names[link] += "'"
        children: dict[str, Node] = {}
        own: dict[str, int] = {}

        def add(name: str, relevant: int, links: Iterable[Link], *always: Link) -> None:
            leads_to = [*always, *(Link(names[link], 0) if link in names else link for link in links)]
            children[name] = Node("", {str(place): link for place, link in enumerate(leads_to)})
            own[name] = relevant

        for link, ways in self._redirects.items():
            others = [other for _, other in ways if other is not None and other != link]
            add(names[link], _bits(index for index, _ in ways), others, link)
        for node_id, node in self._base.items():
            links: list[Link] = []
            players: list[int] = []
            for name, value in node.inputs.items():
                edits = self._edits.get((node_id, name), [])
                players += [index for index, _ in edits]
                if (node_id, name) in self._texts:
                    players += [index for index, _ in self._texts[node_id, name][1]]
                links += [item for item in (value, *(edit.value for _, edit in edits)) if isinstance(item, Link)]
            add(node_id, _bits(players), links)
        kept = (other.node for ways in self._redirects.values() for _, other in ways if other is not None)
        reach: dict[str, int] = {}
        for name in topological_order(children, [self._target.node, *names.values(), *kept]):
            below = [link.node for _, link in children[name].links()]
            reach[name] = functools.reduce(operator.or_, (reach[child] for child in below), own[name])
            self._noisy[name] = name in self._noise or any(self._noisy[child] for child in below)
        self._relevant_links = {link: reach.pop(name) for link, name in names.items()}
        self._relevant = reach


def _edited(value: Any, edits: Sequence[Edit]) -> Any:
    """A value after the edits: of those of the whole value the first counts, then those of its parts."""
    value = next((edit.value for edit in edits if not edit.path), value)
    parts = [edit for edit in edits if edit.path]
    if not parts:
        return value
    value = copy.deepcopy(value)
    for edit in parts:
        holder = value
        for key in edit.path[:-1]:
            holder = holder[key]
        holder[edit.path[-1]] = edit.value
    return value


def _bits(places: Iterable[int]) -> int:
    return functools.reduce(operator.or_, (1 << place for place in places), 0)


def digests(graph: Graph, root: str) -> dict[str, str]:
    """The structural digest of ``root`` and of every node upstream of it, by node id."""
    result: dict[str, str] = {}
    for node_id in topological_order(graph, [root]):
        inputs = {
            name: Link(result[value.node], value.slot) if isinstance(value, Link) else value
            for name, value in graph[node_id].inputs.items()
        }
        result[node_id] = structural_digest(replace(graph[node_id], inputs=inputs))
    return result


def structural_digest(node: Node) -> str:
    """SHA-256 of a node's class and inputs; links count by what they lead to, not by ids."""
    parts = [node.class_type]
    for name in sorted(node.inputs):
        value = node.inputs[name]
        if isinstance(value, Link):
            parts.append(f"{_canonical(name)} link {value.node} {value.slot}")
        else:
            parts.append(f"{_canonical(name)} value {_canonical(value)}")
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)


def _canonical(value: Any) -> str:
    """One JSON text for equal values, without line feeds."""
    if isinstance(value, str):
        return _canonical_string(value)
    return _ENCODER.encode(value)


@functools.lru_cache(maxsize=4096)
def _canonical_string(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
