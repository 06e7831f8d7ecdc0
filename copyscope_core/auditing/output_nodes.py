"""The nodes that a server gets behind a coalition's graph, ComfyUI's own, and what is read out of their answer.

Images are shown by a preview, whose files are fetched. Of a clip the chosen frames alone are: each is taken out of the
batch before it is saved, so that neither the server's disk nor the network carries the others. Which frames those are
depends on the length of the clip, so that is asked for, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..comfyui.errors import PromptFailedError
from ..planning.video import chosen_frames
from ..workflow.graph import Link
from ..workflow.node_info import mapping

OUTPUT = "copyscope_output"
SIZE, LENGTH, FRAME = "copyscope_size", "copyscope_length", "copyscope_frame"

MOST_FRAMES = 4096
"""Frames after these cannot be taken: ComfyUI's node takes no later place."""

Nodes = dict[str, dict[str, Any]]


def image_nodes(target: Link) -> Nodes:
    """What shows all images of an output."""
    return {OUTPUT: _node("PreviewImage", images=list(target))}


def frame_nodes(target: Link, count: int, length: int | None) -> Nodes:
    """What tells the length of a clip and shows frames of it.

    Args:
        count: how many.
        length: frames of the clip as far as is known; None: it is not, and none are shown.

    Raises:
        PromptFailedError: the clip has more frames than can be told apart.
    """
    nodes = {
        SIZE: _node("GetImageSize", image=list(target)),
        LENGTH: _node("PreviewAny", source=[SIZE, 2]),
    }
    for number, place in enumerate(() if length is None else chosen_frames(length, count)):
        if place >= MOST_FRAMES:
            raise PromptFailedError(
                f"the clip has {length:,} frames, of which ComfyUI gives single ones up to the {MOST_FRAMES:,}th only; "
                "make it shorter, or measure all of its frames (--frames 0)"
            )
        nodes[f"{FRAME}_{number}"] = _node("ImageFromBatch", image=list(target), batch_index=place, length=1)
        nodes[f"{OUTPUT}_{number}"] = _node("PreviewImage", images=[f"{FRAME}_{number}", 0])
    return nodes


def shown_images(entry: Mapping[str, Any], nodes: Nodes) -> Iterator[tuple[str, str, str]]:
    """The name, subfolder and kind of every image that the output nodes show, in order.

    Raises:
        PromptFailedError: one of them shows none.
    """
    outputs = mapping(entry.get("outputs"))
    for node_id in (node_id for node_id in nodes if node_id.startswith(OUTPUT)):
        listed = mapping(outputs.get(node_id)).get("images")
        if not isinstance(listed, list) or not listed:
            raise PromptFailedError("the workflow ended without an image; a node may have blocked it")
        for item in map(mapping, listed):
            yield str(item.get("filename", "")), str(item.get("subfolder", "")), str(item.get("type", ""))


def told_length(entry: Mapping[str, Any]) -> int:
    """The length of the clip.

    Raises:
        PromptFailedError: it was not told.
    """
    told = mapping(mapping(entry.get("outputs")).get(LENGTH)).get("text")
    text = str(told[0]) if isinstance(told, list) and told else ""
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise PromptFailedError("the workflow ended without a clip; a node may have blocked it")
    return int(text)


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}
