"""The style of one image, for a ``copyscope audit`` that has it seen by a diffusion model on this ComfyUI."""

from __future__ import annotations

import base64
import binascii
import math
import time
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..copyscope_core.comfyui.style_prompt import MOST_CHARACTERS, STYLE_NODE, STYLE_OUTPUT
from ..copyscope_core.errors import ImageError
from ..copyscope_core.files.decode import decode_pixels
from .host.diffusion_style import DiffusionStyle
from .internal import CATEGORY, HIDDEN


class StyleOfImage(io.ComfyNode):
    """Gives the style vector of an image that came with the prompt. Nothing is written to disk."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=STYLE_NODE,
            display_name="CopyScope Style of Image (internal)",
            category=CATEGORY,
            **HIDDEN,
            description="Made by the copyscope command; the style of one image as a diffusion model sees it.",
            inputs=[io.Model.Input("model"), io.Vae.Input("vae"), io.String.Input("image")],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> float:
        return time.monotonic()  # ComfyUI leaves a cached node's output out of the history

    @classmethod
    def execute(cls, model: Any, vae: Any, image: str) -> io.NodeOutput:
        style = DiffusionStyle(model, vae)
        row = [float(number) for number in style([_pixels(image)])[0]]
        if not all(map(math.isfinite, row)):
            raise ImageError("The style model gave NaN or infinite numbers; start ComfyUI with --fp32-unet --fp32-vae.")
        return io.NodeOutput(ui={STYLE_OUTPUT: [{"id": style.id, "style": row}]})


def _pixels(text: str) -> Any:
    """The pixels of an image file in base64.

    Raises:
        ImageError: it is too long, no base64, or no image.
    """
    if len(text) > MOST_CHARACTERS:
        raise ImageError(f"The image is longer than {MOST_CHARACTERS >> 20} MiB of base64; send a smaller one.")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError("The image is no base64 of an image file; the copyscope command sends it so.") from error
    return decode_pixels(data, Path("sent.png"))
