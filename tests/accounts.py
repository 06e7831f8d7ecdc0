"""What a plan must name, found from ``/object_info`` and the workflow alone: independent of how players are found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from copyscope_core.planning.plan import Plan

MODEL = re.compile(r"\.(safetensors|sft|ckpt|pt|pt2|pth|bin|pkl|gguf|onnx|engine|torchscript)$", re.IGNORECASE)
IMAGE = re.compile(r"\.(png|jpe?g|webp|gif|bmp|tiff?|mp4|webm|mov|latent)( \[\w+\])?$", re.IGNORECASE)
TAG = re.compile(r"<lora:([^:<>]+)")
OFF = {"None", "Baked VAE", "none", ""}

Graph = Mapping[str, Mapping[str, Any]]


def upstream(graph: Graph, target: str) -> list[str]:
    """The nodes that run for ``target``. Of a switch whose value is written in the workflow, one branch does."""
    found, waiting = [], [target]
    while waiting:
        node_id = waiting.pop()
        if node_id in found:
            continue
        found.append(node_id)
        inputs = graph[node_id]["inputs"]
        links = {name: value for name, value in inputs.items() if is_link(value, graph)}
        if graph[node_id]["class_type"] == "ComfySwitchNode":
            switch = constant(graph, inputs.get("switch"))
            if isinstance(switch, bool):
                links.pop("on_false" if switch else "on_true", None)
        waiting.extend(value[0] for value in links.values())
    return found


def is_link(value: Any, graph: Graph) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in graph


def constant(graph: Graph, value: Any) -> Any:
    """The value of an input, through primitives."""
    while is_link(value, graph):
        node = graph[value[0]]
        value = node["inputs"].get("value") if node["class_type"].startswith("Primitive") else None
    return value


def expected(graph: Graph, info: Mapping[str, Any], target: str) -> Iterator[tuple[str, str, str]]:
    """What a plan must name: (kind, node, name), kind being file, image, tag or source."""
    for node_id in upstream(graph, target):
        node = graph[node_id]
        schema = info.get(node["class_type"], {})
        strengths = [value for name, value in node["inputs"].items() if name.startswith("strength")]
        if strengths and not any(strengths):
            continue  # it changes nothing
        for name, value in node["inputs"].items():
            for text in texts(value):
                if MODEL.search(text) and "\n" not in text:
                    yield "file", node_id, text
                elif IMAGE.search(text) and "\n" not in text and "CLIP" not in str(schema.get("input")):
                    yield "image", node_id, text
                for tag in TAG.findall(text):
                    yield "tag", node_id, tag
            if "vae_name" in name and isinstance(value, str) and value not in OFF:
                yield "file", node_id, value
        takes = {str(spec[0]) for group in schema.get("input", {}).values() for spec in group.values() if spec}
        if "MODEL" in schema.get("output", ()) and "MODEL" not in takes:
            yield "source", node_id, node["class_type"]


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def missed(plan: Plan, graph: Graph, info: Mapping[str, Any], off: frozenset[str] = frozenset()) -> list[Any]:
    """What a plan must name and does not. ``off`` are names that the workflow itself switches off."""
    components = [*plan.players, *plan.locked]
    files = {file.replace("\\", "/") for one in components for file in one.files}
    names = {one.name for one in components}
    nodes = {node for one in components for node in one.nodes} | {one.node for one in plan.unmeasured}
    rest = [(one.node, one.what) for one in plan.unmeasured]
    found = []
    for kind, node, name in expected(graph, info, plan.target.node):
        short = name.replace("\\", "/")
        if kind == "source":
            owned = [text for value in graph[node]["inputs"].values() for text in texts(value) if text in files]
            good = node in nodes or bool(owned)
        else:
            by_stem = any(short == file or file.rpartition("/")[2].rpartition(".")[0] == short for file in files)
            good = name in off or by_stem or short in names or any(name in what for _, what in rest)
        if not good:
            found.append((kind, node, name))
    return found
