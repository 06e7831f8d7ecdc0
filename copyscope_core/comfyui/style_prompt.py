"""The prompt that asks a server with the pack for an image's style, and what is read out of its answer."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import HostError
from ..workflow.node_info import mapping

STYLE_NODE = "CopyScopeStyleOfImage"
STYLE_OUTPUT = "copyscope_style"
"""Key of the node's output, a list of one record: ``id`` and ``style``."""

MOST_CHARACTERS = 96 << 20
"""Of an image in base64: ComfyUI takes requests of 100 MiB unless it is told otherwise."""

_MOST_NUMBERS = 1 << 16
_LOADER, _ANSWER = "1", "2"


class Style(NamedTuple):
    """What the server says.

    Attributes:
        id: names the model's weights, its block and the settings.
        numbers: the style vector.
    """

    id: str
    numbers: list[float]


def style_prompt(checkpoint: str, png: bytes) -> dict[str, Any]:
    """The prompt, API format.

    Raises:
        HostError: the image is too large to be sent.
    """
    text = base64.b64encode(png).decode("ascii")
    if len(text) > MOST_CHARACTERS:
        raise HostError("An image is too large to be sent to the server for its style; leave out --style-checkpoint.")
    return {
        _LOADER: {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        _ANSWER: {"class_type": STYLE_NODE, "inputs": {"model": [_LOADER, 0], "vae": [_LOADER, 2], "image": text}},
    }


def told_style(entry: Mapping[str, Any]) -> Style:
    """The style in a ``/history`` entry.

    Raises:
        HostError: it is not there, or not what the pack gives.
    """
    listed = mapping(mapping(entry.get("outputs")).get(_ANSWER)).get(STYLE_OUTPUT)
    record = mapping(listed[0]) if isinstance(listed, list) and len(listed) == 1 else {}
    name, numbers = record.get("id"), record.get("style")
    if not isinstance(name, str):
        raise HostError("The server gave no style; install the same version of the CopyScope pack there.")
    if not isinstance(numbers, list) or not 0 < len(numbers) <= _MOST_NUMBERS or not all(map(_finite, numbers)):
        raise HostError("The server gave a style that is no list of numbers; install the CopyScope pack there again.")
    return Style(name, [float(number) for number in numbers])


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
