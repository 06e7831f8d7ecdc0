"""Pixels: quantising, hashing, resizing, and bringing reference images to the size of generated ones."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import ImageError

if TYPE_CHECKING:
    import torch

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""One RGB image, uint8, (H, W, 3)."""


MATCH_METHOD = "centre-crop.clean-bicubic.u8"


def quantise(image: npt.NDArray[Any] | torch.Tensor) -> npt.NDArray[np.uint8]:
    """Round an image to 8 bits exactly as ComfyUI's SaveImage does: times 255, clipped, fraction dropped.

    Args:
        image: (…, H, W, C), floating point, 0…1; a tensor may live on any device.

    Raises:
        ImageError: a value is NaN or infinite, which SaveImage would turn into a black or white pixel.
    """
    array = image if isinstance(image, np.ndarray) else _to_numpy(image)
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(f"An image of type {array.dtype} cannot be quantised; floating-point values 0…1 are expected.")
    if not np.isfinite(array).all():
        raise ImageError(
            "An image has NaN or infinite values, as a VAE in half precision often gives; "
            "run the VAE in float32 (--fp32-vae) or in bfloat16."
        )
    pixels: npt.NDArray[np.uint8] = np.clip(255.0 * array, 0, 255).astype(np.uint8)
    return pixels


def _to_numpy(tensor: torch.Tensor) -> npt.NDArray[Any]:
    tensor = tensor.detach().cpu()
    # NumPy has no bfloat16; every bfloat16 is a float32.
    array: npt.NDArray[Any] = (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    return array


def as_rgb(array: npt.NDArray[np.uint8]) -> Pixels:
    """One 8-bit image of 1 (grey), 3 (RGB) or 4 (RGBA, put on white) channels, (H, W, C), as RGB.

    Raises:
        ImageError: the shape is another one.
    """
    if array.ndim != 3 or 0 in array.shape or array.shape[2] not in (1, 3, 4):
        raise ImageError(f"An array of shape {array.shape} is no image; (height, width, 1, 3 or 4) is expected.")
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    if array.shape[2] == 4:
        return np.array(on_white(Image.fromarray(np.ascontiguousarray(array))))
    return np.ascontiguousarray(array)


def pixel_hash(pixels: Pixels) -> str:
    """SHA-256 (hex) of an image's shape, as ``HxWxC`` and a line feed, followed by its bytes in row order."""
    digest = hashlib.sha256("x".join(str(size) for size in pixels.shape).encode() + b"\n")
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def resize_bicubic(pixels: Pixels, width: int, height: int) -> npt.NDArray[np.float32]:
    """clean-fid's resize: each channel as float, Pillow's antialiased bicubic, clipped to 0…255, not rounded.

    Returns:
        float32, (height, width, 3), 0…255.
    """
    channels = [
        np.asarray(
            Image.fromarray(pixels[:, :, channel].astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
        )
        for channel in range(3)
    ]
    return np.stack(channels, axis=2).clip(0, 255)


def match_reference(pixels: Pixels, width: int, height: int) -> Pixels:
    """Bring a reference image to the generated images' shape: centre crop to their aspect, bicubic, 8 bits.

    Without it, blur dominates the distance. An image that has the shape already is returned as it is.

    Returns:
        uint8, (height, width, 3).
    """
    have_height, have_width = pixels.shape[:2]
    if (have_width, have_height) == (width, height):
        return pixels
    crop_width = min(have_width, max(1, round(have_height * width / height)))
    crop_height = min(have_height, max(1, round(have_width * height / width)))
    left, top = (have_width - crop_width) // 2, (have_height - crop_height) // 2
    crop = pixels[top : top + crop_height, left : left + crop_width]
    return np.rint(resize_bicubic(crop, width, height)).astype(np.uint8)


def match_record(width: int, height: int) -> str:
    """What ``match_reference`` does, for the report: ``centre-crop.clean-bicubic.u8:512x768``."""
    return f"{MATCH_METHOD}:{width}x{height}"


def describe_defects(pixels: Pixels) -> list[str]:
    """What is plainly wrong with an image, as words that follow "the image …"; empty for a sound one.

    A failed decode (NaN, a VAE that overflowed) is saved as one flat colour, mostly black. NaN itself is refused by
    ``quantise``, since 8 bits cannot hold it.
    """
    low, high = pixels.min(axis=(0, 1)), pixels.max(axis=(0, 1))
    if high.max() == 0:
        return ["is entirely black"]
    if (low == high).all():
        red, green, blue = (int(value) for value in low)
        return [f"is one flat colour (red {red}, green {green}, blue {blue})"]
    return []


def on_white(image: Image.Image) -> Image.Image:
    """An RGBA image on white, as RGB."""
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")
