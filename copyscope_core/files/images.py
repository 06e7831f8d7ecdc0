"""Reading, quantising, hashing and resizing images.

Pixels are 8-bit RGB everywhere: what ComfyUI's SaveImage would write, so that the graph, ``audit`` and ``score`` agree.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from PIL import Image

from ..errors import ImageError
from .decode import DECODE_ERRORS, SILENCE, decode_pixels, known_formats, not_an_image, starts_as
from .pixels import Pixels, pixel_hash

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)


MAX_FILE_BYTES = 1 << 30

_MOST_THREADS = 16
_PREFIX_BYTES = 16
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ImageFile:
    """An image with its pixels; two are equal if their names, paths and hashes are."""

    name: str
    path: Path
    pixels: Pixels = field(compare=False, repr=False)
    pixel_sha256: str
    file_sha256: str

    def decoded(self) -> ImageFile:
        """The image with its pixels in memory.

        Raises:
            ImageError: see :meth:`ImageOnDisk.decoded`.
        """
        return self


class ImageOnDisk(ImageFile):
    """An image that is decoded each time its pixels are asked for, so that a large folder takes no memory.

    Its hashes are remembered once it has been decoded. Whoever needs pixels and hashes calls :meth:`decoded` once.
    """

    def __init__(self, path: Path) -> None:
        object.__setattr__(self, "name", path.name)
        object.__setattr__(self, "path", path)

    def __repr__(self) -> str:
        return f"ImageOnDisk({str(self.path)!r})"

    def decoded(self) -> ImageFile:
        """The image with its pixels in memory.

        Raises:
            ImageError: the file is missing, is not an image, or was changed since it was decoded before.
        """
        image = read_image(self.path)
        if self.__dict__.setdefault("_hashes", (image.pixel_sha256, image.file_sha256)) != (
            image.pixel_sha256,
            image.file_sha256,
        ):
            raise ImageError(f"The image {self.path} was changed while it was in use; run again.")
        return image

    @property
    def pixels(self) -> Pixels:  # type: ignore[override]
        """The decoded pixels; nothing keeps them. Raises ImageError, as `decoded`."""
        return self.decoded().pixels

    @property
    def pixel_sha256(self) -> str:  # type: ignore[override]
        """SHA-256 of the pixels. Raises ImageError, as `decoded`."""
        return self._known()[0]

    @property
    def file_sha256(self) -> str:  # type: ignore[override]
        """SHA-256 of the file. Raises ImageError, as `decoded`."""
        return self._known()[1]

    def _known(self) -> tuple[str, str]:
        if "_hashes" not in self.__dict__:
            self.decoded()
        hashes: tuple[str, str] = self.__dict__["_hashes"]
        return hashes


def in_threads(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """The function of each item, in order, on all cores: Pillow and hashlib let other threads work meanwhile.

    Raises:
        BaseException: what the function raised for the first item that failed, or what interrupted it; items that were
            not begun by then are skipped.
    """
    threads = min(len(items), os.cpu_count() or 1, _MOST_THREADS)
    if threads < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads, thread_name_prefix="copyscope-images") as pool:
        return list(pool.map(function, items))


def read_image(path: Path) -> ImageFile:
    """Read one image as 8-bit RGB: the first frame, turned as its EXIF says, alpha on white.

    16-bit grey is rounded to 8 bits, CMYK goes through its colour profile if it has one, else through Pillow's plain
    formula; other colour profiles are ignored, as ComfyUI's LoadImage and the FID packages do.

    Raises:
        ImageError: the file is missing, unreadable, too large, or not an image.
    """
    path = Path(path)
    with _reading(path):
        _check_size(path)
        data = path.read_bytes()
    return image_of(data, path)


def _check_size(path: Path) -> None:
    """Raises ImageError where a path is no file or too large a one, OSError where it cannot be looked at."""
    if path.exists() and not path.is_file():
        raise ImageError(f"{path} is not a file.")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ImageError(f"The image {path} is larger than {MAX_FILE_BYTES >> 20} MiB; make it smaller.")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into an ImageError."""
    try:
        yield
    except OSError as error:
        raise ImageError(f"The image {path} cannot be read ({error.strerror}); check its name and rights.") from error


def image_of(data: bytes, path: Path) -> ImageFile:
    """The image that a file's bytes are, as :func:`read_image` reads them.

    Raises:
        ImageError: they are not an image, or too large a one.
    """
    pixels = decode_pixels(data, path)
    return ImageFile(
        name=path.name,
        path=path,
        pixels=pixels,
        pixel_sha256=pixel_hash(pixels),
        file_sha256=hashlib.sha256(data).hexdigest(),
    )


def check_kind(path: Path) -> ImageOnDisk:
    """An image whose file is one by its first bytes, of which no more is read.

    Raises:
        ImageError: it is missing, too large, or of no format that is known.
    """
    with _reading(path):
        _check_size(path)
        with path.open("rb") as stream:
            start = stream.read(_PREFIX_BYTES)
    if not any(starts_as(name, start) for name in known_formats()):
        try:
            # formats without a signature: their header is read
            with SILENCE, Image.open(path, formats=known_formats()):
                pass
        except DECODE_ERRORS as error:
            raise not_an_image(str(path)) from error
    return ImageOnDisk(path)
