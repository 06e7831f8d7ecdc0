"""Pictures of the HTML report: thumbnails, what changed between two images, outlines, and palettes.

Every picture is encoded anew as a small JPEG, so that nothing of its file (metadata, workflow) is embedded.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image, ImageChops, ImageFilter, ImageOps

from ...files.pixels import match_reference

THUMBNAIL = 176
"""Longest side of an embedded image, in pixels."""

CLOSE_UP = 1.5
"""A close-up is taken of images whose shorter side is longer than so many thumbnails."""

COLOURS = 6
"""Of a palette."""

Picture = Path | str | bytes | Image.Image | Callable[[], Path]
"""An image: its file, its encoded bytes, decoded, or what gives its file when it is shown."""

_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Thumbnail:
    """An embedded image.

    Attributes:
        uri: a data URI, or None where the image could not be read.
        alt: what it shows, for those who do not see it.
    """

    uri: str | None
    alt: str


def thumbnail(picture: Picture, alt: str, shape: tuple[int, int] | None = None) -> Thumbnail:
    """An image as a small JPEG; one that cannot be read is shown as missing. Arguments as for `decode`."""
    small = decode(picture, THUMBNAIL, shape)
    return Thumbnail(None, f"{alt} (could not be read)") if small is None else embed(small, alt)


def decode(picture: Picture, side: int | None = None, shape: tuple[int, int] | None = None) -> Image.Image | None:
    """An image as RGB on white; None where it cannot be read.

    Args:
        side: at most so many pixels long; None: in full size.
        shape: width and height that a reference image was measured in, and is brought to in the same way.

    Raises:
        StoreError: a storage does not give its file.
    """
    file = picture() if callable(picture) else picture
    try:
        if isinstance(file, Image.Image):
            image = file.copy()
        else:
            with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as opened:
                if side is not None and shape is None:
                    opened.draft("RGB", (2 * side, 2 * side))
                image = ImageOps.exif_transpose(opened)
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            rgba = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        image = image.convert("RGB")
        if shape is not None:
            image = Image.fromarray(match_reference(np.asarray(image), *shape))
        if side is not None:
            image.thumbnail((side, side), Image.Resampling.LANCZOS)
    except _UNREADABLE:
        return None
    return image


def embed(image: Image.Image, alt: str) -> Thumbnail:
    """A decoded image as a thumbnail."""
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    Image.frombytes("RGB", small.size, small.tobytes()).save(buffer, "JPEG", quality=85, optimize=True)
    return Thumbnail("data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii"), alt)


def difference(one: Image.Image, other: Image.Image) -> tuple[Image.Image, float, float]:
    """Where two images of one size differ: black where they are equal, white where a channel differs by 128 or more.

    Returns:
        The picture, the mean difference of a channel as a part of its range, and the part of pixels that differ at all.
    """
    apart = ImageChops.difference(one, other)
    values = np.asarray(apart)
    largest = values.max(axis=2)
    shown = Image.fromarray(np.minimum(largest.astype(np.uint16) * 2, 255).astype(np.uint8))
    return shown.convert("RGB"), float(values.mean() / 255), float((largest > 0).mean())


def outlines(image: Image.Image) -> Image.Image:
    """The edges of an image, dark on white: drawing and texture without colour."""
    edges = ImageOps.grayscale(image).filter(ImageFilter.FIND_EDGES)
    inner = edges.crop((1, 1, max(2, edges.width - 1), max(2, edges.height - 1)))
    return ImageOps.invert(ImageOps.autocontrast(inner, cutoff=(0, 1))).convert("RGB")


def close_up(image: Image.Image) -> Image.Image | None:
    """The middle of an image, pixel by pixel: brushwork and grain; None where a thumbnail shows them already."""
    if min(image.size) <= CLOSE_UP * THUMBNAIL:
        return None
    left, top = ((length - THUMBNAIL) // 2 for length in image.size)
    return image.crop((left, top, left + THUMBNAIL, top + THUMBNAIL))


def palette(images: Sequence[Image.Image]) -> Markup | None:
    """The main colours of some images as a bar, dark to light, each as wide as it is frequent."""
    if not images:
        return None
    pixels = np.concatenate([np.asarray(image).reshape(-1, 3) for image in images])
    quantised = Image.fromarray(pixels[None]).quantize(COLOURS, Image.Quantize.MEDIANCUT)
    colours = np.array(quantised.getpalette(), dtype=np.uint8).reshape(-1, 3)
    found = [(count, colours[index]) for count, index in quantised.getcolors() or () if isinstance(index, int)]
    found.sort(key=lambda item: float(item[1] @ np.array([0.299, 0.587, 0.114])))
    parts, left = [], 0.0
    for count, (red, green, blue) in found:
        width = 100 * count / len(pixels)
        parts.append(
            Markup('<rect x="{}" width="{}" height="10" fill="{}"><title>{} of the pixels</title></rect>').format(
                round(left, 2), round(width, 2), f"#{red:02x}{green:02x}{blue:02x}", f"{width:.0f}%"
            )
        )
        left += width
    return Markup(
        '<svg class="palette" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="Main colours">{}'
        "</svg>"
    ).format(Markup("").join(parts))
