"""CopyScope Load Reference: the rights holder's images from a folder in ComfyUI's input folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

from ..copyscope_core.errors import CopyScopeError
from ..copyscope_core.files.folders import list_folder
from ..copyscope_core.files.hashes import file_sha256
from ..copyscope_core.files.images import ImageFile
from ..copyscope_core.files.pixels import as_rgb, pixel_hash, quantise
from ..copyscope_core.workflow.graph import as_link
from .host import comfyui
from .types import Reference

NODE = "CopyScopeLoadReference"

IMAGES = 1
"""The slot of the output with the images themselves."""


class LoadReference(io.ComfyNode):
    """Loads a folder of reference images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=NODE,
            display_name="CopyScope Load Reference",
            category="CopyScope",
            description="Loads the rights holder's images from a subfolder of ComfyUI's input folder.",
            inputs=[
                io.Combo.Input("folder", options=comfyui.input_subfolders(),
                               tooltip="A subfolder of ComfyUI's input folder."),
            ],
            outputs=[
                Reference.Output("reference"),
                io.Image.Output("images", is_output_list=True,
                                tooltip="The images, for a preview. All are in memory at once where this is wired."),
            ],
            hidden=[io.Hidden.dynprompt],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, folder: str) -> bool | str:
        return check_folder(folder)

    @classmethod
    def fingerprint_inputs(cls, folder: str) -> Any:
        prompt = comfyui.running_prompt()
        return float("nan") if prompt is None else f"{fingerprint(folder)} {_wants_images(prompt, folder)}"

    @classmethod
    def execute(cls, folder: str) -> io.NodeOutput:
        images = list_folder(comfyui.input_folder(folder))
        dynprompt = cls.hidden.dynprompt
        nodes = {node_id: dynprompt.get_node(node_id) for node_id in dynprompt.all_node_ids()}
        shown = images if _wants_images(nodes, folder) else []
        tensors = [torch.from_numpy(image.pixels.astype(np.float32) / 255.0)[None] for image in shown]
        return io.NodeOutput(images, tensors)


def _wants_images(prompt: Mapping[str, Any], folder: str) -> bool:
    """Whether a prompt takes the images themselves from a node for this folder; a linked folder may be this one."""
    mine = [
        [node_id, IMAGES]
        for node_id, node in prompt.items()
        if node["class_type"] == NODE
        and (node["inputs"].get("folder") == folder or as_link(node["inputs"].get("folder")) is not None)
    ]
    return any(value in mine for node in prompt.values() for value in node["inputs"].values())


def check_folder(folder: str) -> bool | str:
    """True, or a sentence that says what is wrong with a folder of images; none is decoded."""
    try:
        list_folder(comfyui.input_folder(folder))
    except CopyScopeError as error:
        return str(error)
    return True


def fingerprint(folder: str) -> str:
    """A text that changes when a name or the content of a file in the folder does."""
    path = comfyui.input_folder(folder)
    files = sorted((item.name, file_sha256(item)) for item in path.iterdir() if item.is_file())
    return hashlib.sha256(repr(files).encode("utf-8", "surrogatepass")).hexdigest()


def from_tensors(tensors: Sequence[Any]) -> list[ImageFile]:
    """The images of an IMAGE socket (batches or lists) as reference images; they have pixels but no file."""
    images = []
    for batch in tensors:
        for image in batch:
            pixels = as_rgb(quantise(image))
            digest = pixel_hash(pixels)
            images.append(ImageFile(f"image {len(images) + 1}", Path(), pixels, digest, ""))
    return images
