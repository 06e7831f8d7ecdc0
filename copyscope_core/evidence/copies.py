"""Copies of the images that lie outside a run folder, so that it stands alone: the reference, the control, and of a
score the coalitions' images. They are numbered: their names are in the report, unless it is private."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from ..errors import StoreError
from ..files.atomic import disk_errors, read_plain, write_bytes_atomic
from ..files.images import MAX_FILE_BYTES, ImageFile
from ..store.run_store import COPIES
from ..store.runs import copied_files

REFERENCE, CONTROL = "reference", "control"
_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}\Z")


def images_of(mask: int) -> str:
    """The folder, within that of the copies, of a coalition's images."""
    return f"images/{mask}"


def write_copies(folder: Path, images: Mapping[str, Sequence[ImageFile]]) -> None:
    """Copy images into a run folder and remove earlier copies that are of no use any more.

    Args:
        images: folder within that of the copies → its images.

    Raises:
        StoreError: an image was changed since it was measured, or cannot be read; the disk is full.
    """
    written = set()
    for place, files in images.items():
        for number, image in enumerate(files):
            suffix = image.path.suffix.lower() if image.path.name else ".png"
            path = folder / COPIES / place / f"{number:04d}{suffix if _SUFFIX.match(suffix) else ''}"
            write_bytes_atomic(path, _content(image))
            written.add(path)
    for path in copied_files(folder):
        if path not in written:
            with disk_errors(path):
                path.unlink()


def _content(image: ImageFile) -> bytes:
    """The bytes of an image's file; of one that has none, a PNG of its pixels.

    Raises:
        StoreError: it was changed since it was measured, or cannot be read.
    """
    if not image.path.name:
        buffer = io.BytesIO()
        Image.fromarray(image.pixels).save(buffer, "PNG")
        return buffer.getvalue()
    try:
        data = read_plain(image.path.resolve(), MAX_FILE_BYTES)
    except OSError as error:
        raise StoreError(f"{image.path} cannot be copied ({error.strerror or error}); check the file.") from error
    if hashlib.sha256(data).hexdigest() != image.file_sha256:
        raise StoreError(f"{image.path} was changed while it was in use; run the same command again.")
    return data
