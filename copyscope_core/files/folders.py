"""The images of a folder."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image

from ..errors import ImageError
from .decode import known_formats
from .images import ImageFile, ImageOnDisk, check_kind, in_threads, read_image

log = logging.getLogger(__name__)

_Image = TypeVar("_Image", bound="ImageFile")


_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini"})
_OTHER_IMAGES = frozenset({
    ".avif", ".webp", ".dib", ".heic", ".heif", ".ico", ".jp2", ".jxl", ".psd", ".svg", ".exr", ".hdr",
    ".dng", ".cr2", ".nef", ".arw",
})  # fmt: skip


_MOST_NAMED = 5


def read_folder(folder: Path) -> list[ImageFile]:
    """All images of a folder, decoded, sorted by name (by code point, so alike on every system).

    Hidden and system files are left out. So are, with a warning, subfolders and what is no image by its name nor by its
    first bytes (notes, tables).

    Raises:
        ImageError: the folder is missing or unreadable or has no images, a link leaves it, or images in it are damaged
            (named).
    """
    return _of_each(folder, read_image)


def list_folder(folder: Path) -> list[ImageOnDisk]:
    """The images that :func:`read_folder` reads, not decoded: of each file only the size and the first bytes are read.

    Raises:
        ImageError: as :func:`read_folder`, but for files that are damaged behind their first bytes.
    """
    return _of_each(folder, check_kind)


def check_folder(folder: Path) -> list[ImageOnDisk]:
    """The images that :func:`read_folder` reads, each decoded once to see that it is whole, and not kept in memory.

    Raises:
        ImageError: as :func:`read_folder`.
    """

    def check(path: Path) -> ImageOnDisk:
        image = check_kind(path)
        image.decoded()
        return image

    return _of_each(folder, check)


def _of_each(folder: Path, look: Callable[[Path], _Image]) -> list[_Image]:
    """What ``look`` makes of each file of a folder, as :func:`read_folder` says."""
    folder = Path(folder)
    try:
        if not folder.exists():
            raise ImageError(f"The image folder {folder} does not exist; check its name.")
        if not folder.is_dir():
            raise ImageError(f"{folder} is not a folder; name the folder that holds the images.")
        root = folder.resolve()
        entries = sorted((path for path in folder.iterdir() if not _is_hidden(path)), key=lambda path: path.name)
        _refuse_links_out(entries, folder, root)
        folders = [path.name for path in entries if path.is_dir()]
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, up to Python 3.12
        raise ImageError(f"The image folder {folder} cannot be read ({error}); check its rights.") from error

    strays = [path.name for path in entries if path.name not in folders and _is_stray(path)]
    paths = [path for path in entries if path.name not in {*folders, *strays}]

    def look_or_error(path: Path) -> _Image | ImageError:
        try:
            return look(path)
        except ImageError as error:
            return error

    found = in_threads(look_or_error, paths)
    images = [image for image in found if not isinstance(image, ImageError)]
    failures = {path.name: error for path, error in zip(paths, found, strict=True) if isinstance(error, ImageError)}
    if failures:
        first = next(iter(failures.values()))
        if len(failures) == 1:
            raise first
        raise ImageError(
            f"The image folder {folder} has files that are not images or cannot be read: {_some(list(failures))}; "
            "remove them."
        ) from first
    if not images:
        hints = [f"its subfolders are not searched: {_some(folders)}"] * bool(folders)
        hints += [f"what is there is none: {_some(strays)}"] * bool(strays)
        hint = f" ({'; '.join(hints)})" if hints else ""
        raise ImageError(f"The image folder {folder} has no images{hint}; put PNG, JPEG or WebP files there.")
    if folders:
        log.warning("Subfolders of %s are not searched: %s.", folder, _some(folders))
    if strays:
        log.warning("Files of %s that are no images are passed over: %s.", folder, _some(strays))
    return images


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in _SYSTEM_FILES


def _is_stray(path: Path) -> bool:
    """Whether a file is no image, and its name does not say that it is one."""
    if path.suffix.lower() in _image_suffixes():
        return False
    try:
        check_kind(path)
    except ImageError:
        return True
    return False


@functools.cache
def _image_suffixes() -> frozenset[str]:
    """Of the formats that are known, and of others in which pictures are kept: they are named, not passed over."""
    formats = known_formats()
    return _OTHER_IMAGES | {suffix for suffix, name in Image.registered_extensions().items() if name in formats}


def _refuse_links_out(entries: Sequence[Path], folder: Path, root: Path) -> None:
    outside = [path.name for path in entries if not path.resolve().is_relative_to(root)]
    if outside:
        raise ImageError(
            f"The image folder {folder} has links that lead out of it: {_some(outside)}; "
            "put the files themselves there."
        )


def _some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
