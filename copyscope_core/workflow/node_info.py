"""Node classes and the types of their inputs and outputs, from a server's ``/object_info`` or the bundled snapshot.

The snapshot (``object_info.json``, made by ``tools/make_node_snapshot.py``) holds the types of ComfyUI's own nodes, so
that API-format workflows can be planned with no server. It knows no custom nodes and no file names.
"""

from __future__ import annotations

import functools
import json
import re
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

MODEL_EXTENSIONS = (
    ".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".gguf", ".onnx", ".engine", ".torchscript",
)  # fmt: skip
IMAGE_EXTENSIONS = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif",
    ".heic", ".heif", ".ico", ".jp2", ".jxl", ".pbm", ".pgm", ".ppm", ".pnm", ".psd", ".svg", ".tga", ".exr", ".hdr",
)  # fmt: skip
MEDIA_EXTENSIONS = (
    ".mp4", ".m4v", ".webm", ".mkv", ".mov", ".avi", ".latent", ".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a",
)  # fmt: skip
_MOST_LEVELS = 8  # of dynamic combos within each other
_PLACE = re.compile(r" \[(input|output|temp)\]$")
EMBEDDING = re.compile(r"embedding:([^\s,:()\[\]]+)")
"""A textual inversion in a prompt, by the name of its file."""

EMBEDDING_SUFFIXES = ("", ".safetensors", ".pt", ".bin")
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
"""The type of a list whose options are objects: each has a key, and inputs of its own that it adds when chosen."""

WIDGET_TYPES = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", DYNAMIC_COMBO})
PIPES = ("PIPE_LINE", "BASIC_PIPE", "DETAILER_PIPE", "SDXL_TUPLE")
"""Types of links that carry a model together with all else that a sampler needs."""


@dataclass(frozen=True)
class InputInfo:
    """One input: its type (``COMBO`` for lists), and the list's options if the server gave them.

    ``added`` are the inputs that each option of a dynamic combo adds; their names begin with the combo's and a dot.
    """

    name: str
    type: str
    optional: bool
    options: tuple[str, ...] | None = None
    image_upload: bool = False
    added: Mapping[str, tuple[InputInfo, ...]] = field(default_factory=dict)

    @property
    def socket(self) -> bool:
        """Whether the input is a socket rather than a widget."""
        return WIDGET_TYPES.isdisjoint(self.type.split(","))

    def lacks(self, value: Any) -> bool:
        """Whether the server would refuse a value of the list.

        A list without options takes anything but a model file: the front end fills it, or the server has no model.
        """
        if self.options is None or self.image_upload or not isinstance(value, str) or value in self.offered:
            return False
        return bool(self.options) or is_model_file(value)

    @functools.cached_property
    def offered(self) -> frozenset[str]:
        """The options as a set; empty if the server gave none."""
        return frozenset(self.options or ())

    def spelling(self, value: Any) -> Any:
        """A value as the server's list has it, which sets off a file's folders with the slashes of its own system.

        What is in the list with neither slash stays as it is.
        """
        if not isinstance(value, str) or value in self.offered or self.image_upload:
            return value
        return self._by_slashes.get(_slashes(value), value)

    @functools.cached_property
    def _by_slashes(self) -> dict[str, str]:
        return {_slashes(option): option for option in reversed(self.options or ())}  # the first of several


@dataclass(frozen=True)
class NodeInfo:
    """One node class: inputs in ``/object_info`` order, output types and names."""

    class_type: str
    inputs: tuple[InputInfo, ...]
    outputs: tuple[str, ...]
    output_node: bool = False
    paid: bool = False
    display_name: str = ""

    def input(self, name: str) -> InputInfo | None:
        """The input of this name, those that options of dynamic combos add included, or None."""
        return self._by_name.get(name)

    def inputs_with(self, values: Mapping[str, Any]) -> Iterator[InputInfo]:
        """The inputs of a node with these values: all of the class, and what the chosen options add."""
        waiting = list(reversed(self.inputs))
        while waiting:
            item = waiting.pop()
            yield item
            if item.added and isinstance(key := values.get(item.name), str):
                waiting.extend(reversed(item.added.get(key, ())))

    @property
    def samples(self) -> bool:
        """Whether the class makes latents or images with a model."""
        return self.has_output("LATENT", "IMAGE") and self.has_input("MODEL", "GUIDER", *PIPES)

    def input_type(self, name: str) -> str | None:
        """The type of the input of this name, or None."""
        item = self.input(name)
        return item.type if item else None

    def output_type(self, slot: int) -> str | None:
        """The type of an output, or None if there is no such output."""
        return self.outputs[slot] if 0 <= slot < len(self.outputs) else None

    def has_input(self, *types: str) -> bool:
        """Whether an input takes one of these types."""
        return not self._accepted.isdisjoint(types)

    def has_output(self, *types: str) -> bool:
        """Whether an output is of one of these types."""
        return any(output in types for output in self.outputs)

    def bypass_input(self, slot: int) -> InputInfo | None:
        """The input that output ``slot`` takes when the node is bypassed.

        The input in socket ``slot`` if its type matches, else the first input of the same type, as ComfyUI's front
        end does; None where no type matches.
        """
        wanted = self.output_type(slot)
        if wanted is None:
            return None
        sockets = [item for item in self.inputs if item.socket]
        if slot < len(sockets) and type_matches(sockets[slot].type, wanted):
            return sockets[slot]
        return next((item for item in sockets if type_matches(item.type, wanted)), None)

    @functools.cached_property
    def _by_name(self) -> dict[str, InputInfo]:
        found: dict[str, InputInfo] = {}
        waiting = list(reversed(self.inputs))
        while waiting:
            item = waiting.pop()
            found.setdefault(item.name, item)  # the first of several with one name
            waiting.extend(one for added in item.added.values() for one in added)
        return found

    @functools.cached_property
    def _accepted(self) -> frozenset[str]:
        return frozenset(kind for item in self.inputs for kind in (item.type, *item.type.split(",")))


class NodeCatalog:
    """Node classes by name.

    Args:
        live: a server answered, so that lists of file names can be checked.
        packs: for classes that the server lacks, what to install.
    """

    def __init__(self, object_info: Mapping[str, Any], live: bool, packs: Mapping[str, str] | None = None) -> None:
        self._raw = object_info
        self.packs = packs or {}
        self._parsed: dict[str, NodeInfo] = {}
        self.live = live

    def __contains__(self, class_type: str) -> bool:
        return class_type in self._raw

    def get(self, class_type: str) -> NodeInfo | None:
        """The class's description, or None if it is unknown."""
        if class_type not in self._parsed:
            raw = self._raw.get(class_type)
            if not isinstance(raw, Mapping):
                return None
            self._parsed[class_type] = _parse(class_type, raw)
        return self._parsed[class_type]


@functools.lru_cache(maxsize=1)
def bundled_catalog() -> NodeCatalog:
    """The snapshot of ComfyUI's own node classes."""
    text = resources.files(__package__).joinpath("object_info.json").read_text(encoding="utf-8")
    return NodeCatalog(json.loads(text), live=False)


def type_matches(offered: str, wanted: str) -> bool:
    """Whether an input type accepts an output type; multi-types are comma-separated, as ComfyUI writes them."""
    return offered == wanted or wanted in offered.split(",")


def is_model_file(value: Any) -> bool:
    """Whether a constant input names a model file."""
    return isinstance(value, str) and value.lower().endswith(MODEL_EXTENSIONS)


def is_image_file(value: Any) -> bool:
    """Whether a constant input names an image or media file (ComfyUI may add `` [input]`` and the like).

    A short prompt that ends like a file name counts as one. The opposite error would be worse: a file that is taken for
    a prompt is not hashed, and its content could change unnoticed.
    """
    return (
        isinstance(value, str)
        and len(value) <= 255
        and "\n" not in value
        and _PLACE.sub("", value).lower().endswith(IMAGE_EXTENSIONS + MEDIA_EXTENSIONS)
    )


def _slashes(name: str) -> str:
    return name.replace("\\", "/")


def _parse(class_type: str, raw: Mapping[str, Any]) -> NodeInfo:
    inputs: list[InputInfo] = []
    groups, order = mapping(raw.get("input")), mapping(raw.get("input_order"))
    outputs = raw.get("output")
    for group in ("required", "optional"):
        specs = mapping(groups.get(group))
        listed = order.get(group)
        names = (
            [n for n in listed if isinstance(n, str) and n in specs]
            if isinstance(listed, (list, tuple))
            else list(specs)
        )
        known = set(names)
        for name in [*names, *(name for name in specs if name not in known)]:
            inputs.append(_parse_input(name, specs[name], group == "optional"))
    return NodeInfo(
        class_type,
        tuple(inputs),
        tuple(
            type_name(item) if not isinstance(item, list) else "COMBO"
            for item in (outputs if isinstance(outputs, (list, tuple)) else ())
        ),
        output_node=bool(raw.get("output_node")),
        paid=bool(raw.get("api_node")),
        display_name=str(raw.get("display_name") or class_type),
    )


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a JSON object, else an empty one: a server may send anything."""
    return value if isinstance(value, Mapping) else {}


def type_name(value: Any) -> str:
    """A type or option as text. A server may send anything, so long or nested values are cut short."""
    return value if isinstance(value, str) else reprlib.repr(value)


def _parse_input(name: str, spec: Any, optional: bool, depth: int = 0) -> InputInfo:
    kind = spec[0] if isinstance(spec, (list, tuple)) and spec else spec
    extra = spec[1] if isinstance(spec, (list, tuple)) and len(spec) > 1 and isinstance(spec[1], Mapping) else {}
    options: tuple[str, ...] | None = None
    added: dict[str, tuple[InputInfo, ...]] = {}
    listed = kind if isinstance(kind, (list, tuple)) else extra.get("options")
    if isinstance(listed, (list, tuple)):
        options = tuple(type_name(item["key"] if _is_option(item) else item) for item in listed)
        for item in listed:
            if _is_option(item) and depth < _MOST_LEVELS:
                groups = mapping(item.get("inputs"))
                added[type_name(item["key"])] = tuple(
                    _parse_input(f"{name}.{key}", one, group == "optional", depth + 1)
                    for group in ("required", "optional")
                    for key, one in mapping(groups.get(group)).items()
                )
    type_of_input = "COMBO" if isinstance(kind, (list, tuple)) else type_name(kind)
    return InputInfo(name, type_of_input, optional, options, bool(extra.get("image_upload")), added)


def _is_option(item: Any) -> bool:
    """Whether an option of a list is that of a dynamic combo."""
    return isinstance(item, Mapping) and "key" in item
