"""Decoding image files to 8-bit RGB, from the formats that are known, without trusting what is in them."""

from __future__ import annotations

import contextlib
import io
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms, ImageOps

from ..errors import ImageError

if TYPE_CHECKING:
    pass
from .pixels import Pixels, on_white

log = logging.getLogger(__name__)

MAX_IMAGE_PIXELS = 100_000_000


FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA")
"""Formats that are tried. Others that Pillow knows are left out on purpose: EPS starts Ghostscript, for one."""


# What Pillow raises on files that are damaged or no images, found by feeding it damaged files.
DECODE_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    zlib.error,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    Image.DecompressionBombError,
)


class _Silence:
    """While any thread is in it, Pillow's warnings on size and metadata are not shown; the size is checked here.

    ``warnings.catch_warnings`` alone is not for threads: they share one list of filters, and each would put back what
    it found.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.close()


SILENCE = _Silence()


def known_formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def not_an_image(name: str) -> ImageError:
    return ImageError(f"{name} is not an image that can be read (PNG, JPEG, WebP, GIF, TIFF, BMP …).")


def decode_pixels(data: bytes, path: Path) -> Pixels:
    with _decode_errors(str(path)), SILENCE, Image.open(io.BytesIO(data), formats=known_formats()) as image:
        return _pixels(image)


def rgb_pixels(image: Image.Image, name: str) -> Pixels:
    """An image that Pillow has opened, as :func:`read_image` gives its file.

    Args:
        name: what messages call it.

    Raises:
        ImageError: it cannot be decoded, is too large, or has pixels whose range is not known.
    """
    with _decode_errors(name), SILENCE:
        return _pixels(image)


def _pixels(image: Image.Image) -> Pixels:
    if image.width * image.height > MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError
    return np.array(_to_rgb(ImageOps.exif_transpose(image)))


@contextlib.contextmanager
def _decode_errors(name: str) -> Iterator[None]:
    """Say in a sentence, with the image's name, why the block cannot decode it."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"The image {name} {error}.") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"The image {name} has more than {MAX_IMAGE_PIXELS:,} pixels; make it smaller before it is compared."
        ) from error
    except DECODE_ERRORS as error:
        raise not_an_image(name) from error


def starts_as(name: str, start: bytes) -> bool:
    """Whether a file that starts so has the signature of a format."""
    accept = Image.OPEN[name][1]
    try:
        return accept is not None and accept(start) is True
    except (SyntaxError, IndexError, TypeError, struct.error):  # as Pillow itself takes them
        return False


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ImageError("has floating-point pixels, whose range is not known; save it with 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.mode == "CMYK":
        return _from_cmyk(image)
    if image.has_transparency_data:
        return on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError("has 32-bit pixels outside 0…65535; save it with 8 or 16 bits")
    grey = ((values * 255 + 32767) // 65535).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _from_cmyk(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile:
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
        except (ImageCms.PyCMSError, OSError) as error:
            log.warning("A CMYK image's colour profile is not usable (%s); it is converted without.", error)
        else:
            if converted is not None:
                return converted
    return image.convert("RGB")
