"""Sets of images as a program gives them: a folder, a list of images or files, or an array."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import ImageError
from .decode import rgb_pixels
from .folders import read_folder
from .images import ImageFile, in_threads, read_image
from .pixels import Pixels, as_rgb, pixel_hash

ImageItem: TypeAlias = Image.Image | str | os.PathLike[str] | npt.NDArray[np.uint8]
"""One image: of Pillow, a file, or an array of uint8, (H, W, 3)."""
ImageSet: TypeAlias = str | os.PathLike[str] | npt.NDArray[np.uint8] | Iterable[ImageItem]
"""A folder of images, a list of images, or an array of uint8, (N, H, W, 3)."""
ImageFiles: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
"""A folder of images, or a list of image files."""

_WANTED = "give a folder, a list of images (of Pillow, or files), or an array of uint8, (N, H, W, 3)"


def read_image_set(source: ImageSet) -> list[tuple[Pixels, str]]:
    """The images of a set as 8-bit RGB, each with its ``pixel_hash``, in their order (a folder's by name).

    An image of Pillow, a file and a folder's file give the same pixels: see :func:`read_image`.

    Raises:
        ImageError: there are no images, one cannot be read (named), or the source is of another kind.
    """
    if isinstance(source, str | os.PathLike):
        return [(image.pixels, image.pixel_sha256) for image in read_folder(Path(source))]
    items = list(enumerate(_items(source)))
    if not items:
        raise ImageError(f"A set has no images; {_WANTED}.")
    return in_threads(_read_item, items)


def read_image_files(source: ImageFiles) -> list[ImageFile]:
    """The images of a folder by name, or those of a list of files in its order.

    Raises:
        ImageError: there are no images, or one cannot be read (named).
    """
    if isinstance(source, str | os.PathLike):
        return read_folder(Path(source))
    if not isinstance(source, Iterable):
        raise ImageError(
            f"An object of type {type(source).__name__} is no set of images; give a folder or a list of image files."
        )
    paths: list[Any] = list(source)
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            raise ImageError(
                f"An object of type {type(path).__name__} is no image file; give a folder or a list of image files, "
                "for what an audit compares with must lie on the disk."
            )
    if not paths:
        raise ImageError("A list of image files is empty; give a folder or a list of image files.")
    return in_threads(read_image, [Path(path) for path in paths])


def _items(source: Any) -> Iterable[Any]:
    if isinstance(source, np.ndarray):
        if source.ndim != 4:
            raise ImageError(
                f"An array of shape {source.shape} is no set of images; (N, H, W, 3) is expected, "
                "and a single image is a list of one."
            )
        return source
    if isinstance(source, bytes | Image.Image) or not isinstance(source, Iterable):
        raise ImageError(f"An object of type {type(source).__name__} is no set of images; {_WANTED}.")
    return source


def _read_item(numbered: tuple[int, Any]) -> tuple[Pixels, str]:
    place, item = numbered
    if isinstance(item, str | os.PathLike):
        image = read_image(Path(item))
        return image.pixels, image.pixel_sha256
    if isinstance(item, Image.Image):
        pixels = rgb_pixels(item, f"images[{place}]")
    elif isinstance(item, np.ndarray):
        if item.dtype != np.uint8:
            raise ImageError(
                f"The array images[{place}] holds {item.dtype}, not uint8, so its range is not known; "
                "bring it to 0…255 and convert it."
            )
        pixels = as_rgb(item)
    else:
        raise ImageError(f"images[{place}] is of type {type(item).__name__} and no image; {_WANTED}.")
    return pixels, pixel_hash(pixels)
