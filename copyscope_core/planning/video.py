"""Videos: which images go into one, whether the audited images are its frames, and which frames are measured."""

from __future__ import annotations

from dataclasses import dataclass

from ..workflow.graph import Graph, Link, Node
from ..workflow.node_info import NodeCatalog, NodeInfo, type_matches
from ..workflow.noise import Constants

VIDEO_OUTPUTS = {
    "SaveVideo": ("video", "VIDEO"),
    "SaveWEBM": ("images", "IMAGE"),
    "SaveAnimatedWEBP": ("images", "IMAGE"),
    "SaveAnimatedPNG": ("images", "IMAGE"),
    "VHS_VideoCombine": ("images", "IMAGE"),
}
"""Nodes that save a video: the input that it comes from, and the input's type."""

WORKING_INPUTS = ("MODEL", "CLIP", "VAE", "CONDITIONING", "GUIDER", "CONTROL_NET", "LATENT")
"""Input types of nodes that make images rather than pass frames on."""

LENGTH_INPUTS = ("length", "num_frames", "video_frames")
"""How nodes that make latents call the number of frames."""


@dataclass(frozen=True)
class Clip:
    """A target whose images are the frames of one clip a prompt.

    Attributes:
        frames: how many of them are measured, evenly spaced; 0: all.
        length: how many it has, as far as the workflow tells; None: it does not.
    """

    frames: int
    length: int | None

    @property
    def measured(self) -> int:
        """How many frames a prompt gives, as far as the workflow tells."""
        known = [count for count in (self.frames, self.length) if count]
        return min(known, default=1)


def chosen_frames(length: int, count: int) -> list[int]:
    """The places, from 0, of evenly spaced frames of a clip: the middle one of each of ``count`` equal parts.

    So neither end counts more than the rest, and the first frame, which an image-to-video workflow is given rather
    than makes, is not among a few.

    Args:
        length: frames of the clip.
        count: how many are wanted; 0, or more than there are: all.
    """
    if not 0 < count < length:
        return list(range(length))
    return [(2 * part + 1) * length // (2 * count) for part in range(count)]


def video_frames(graph: Graph, catalog: NodeCatalog, node_id: str) -> Link | None:
    """The images that a node saves as a video; None where it saves none, or not from images."""
    name, kind = VIDEO_OUTPUTS.get(graph[node_id].class_type, ("", ""))
    link = graph[node_id].inputs.get(name)
    seen: set[str] = set()
    while kind == "VIDEO" and isinstance(link, Link) and link.node in graph and link.node not in seen:
        seen.add(link.node)
        node, info = graph[link.node], catalog.get(graph[link.node].class_type)
        images = _linked(node, info, "IMAGE")
        kind, link = ("IMAGE", images[0]) if images else ("VIDEO", next(iter(_linked(node, info, "VIDEO")), None))
    if kind != "IMAGE" or not isinstance(link, Link) or link.node not in graph:
        return None
    source = catalog.get(graph[link.node].class_type)
    return None if source is not None and source.output_type(link.slot) not in ("IMAGE", "*") else link


def is_clip(graph: Graph, catalog: NodeCatalog, target: Link) -> bool:
    """Whether images are the frames of a video that the workflow saves, as they are or scaled, blended, and so on.

    Args:
        graph: the whole workflow; links that lead nowhere are passed over.
    """
    waiting = [link for node_id in graph if (link := video_frames(graph, catalog, node_id)) is not None]
    seen: set[Link] = set()
    while waiting:
        link = waiting.pop()
        if link == target:
            return True
        if link in seen or link.node not in graph:
            continue
        seen.add(link)
        node = graph[link.node]
        info = catalog.get(node.class_type)
        if info is not None and not info.has_input(*WORKING_INPUTS):
            waiting += _linked(node, info, "IMAGE")
    return False


def clip_length(graph: Graph, catalog: NodeCatalog, batch: int) -> int | None:
    """Frames of a clip as far as the workflow tells; None where it does not.

    Args:
        graph: upstream of the frames.
        batch: the product of its batch sizes.
    """
    constants = Constants(graph)
    lengths = [
        value
        for node in graph.values()
        if (info := catalog.get(node.class_type)) is not None and info.has_output("LATENT")
        for name in LENGTH_INPUTS
        if type(value := constants.of(node.inputs.get(name))) is int and 0 < value <= 1 << 16
    ]
    return max(lengths, default=1) * batch if lengths or batch > 1 else None


def _linked(node: Node, info: NodeInfo | None, kind: str) -> list[Link]:
    """The links to inputs of a type."""
    if info is None:
        return []
    return [link for name, link in node.links() if type_matches(info.input_type(name) or "", kind)]
