"""CopyScope Load Reference: the rights holder's images from a folder in ComfyUI's input folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

from ..copyscope_core.errors import CopyScopeError
from ..copyscope_core.files.hashes import file_sha256
from ..copyscope_core.files.images import ImageFile, as_rgb, pixel_hash, quantise, read_folder
from .host import comfyui
from .types import Reference


class LoadReference(io.ComfyNode):
    """Loads a folder of reference images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CopyScopeLoadReference",
            display_name="CopyScope Load Reference",
            category="CopyScope",
            description="Loads the rights holder's images from a subfolder of ComfyUI's input folder.",
            inputs=[
                io.Combo.Input("folder", options=comfyui.input_subfolders(),
                               tooltip="A subfolder of ComfyUI's input folder."),
            ],
            outputs=[
                Reference.Output("reference"),
                io.Image.Output("images", is_output_list=True, tooltip="The images, for a preview."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, folder: str) -> bool | str:
        return check_folder(folder)

    @classmethod
    def fingerprint_inputs(cls, folder: str) -> str:
        return fingerprint(folder)

    @classmethod
    def execute(cls, folder: str) -> io.NodeOutput:
        images = read_folder(comfyui.input_folder(folder))
        tensors = [torch.from_numpy(image.pixels.astype(np.float32) / 255.0)[None] for image in images]
        return io.NodeOutput(images, tensors)


def check_folder(folder: str) -> bool | str:
    """True, or the sentence that is wrong with a reference folder."""
    try:
        read_folder(comfyui.input_folder(folder))
    except CopyScopeError as error:
        return str(error)
    return True


def fingerprint(folder: str) -> str:
    """Changes when a file of the folder does: names and contents."""
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
