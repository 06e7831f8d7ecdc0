"""One finished coalition on disk: its images, and what must be true of them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..files.atomic import (
    read_plain,
    sync_folder,
    write_synced,
)
from ..files.images import MAX_FILE_BYTES, image_of
from ..files.pixels import describe_defects
from .storage import IMAGE_NAME, ImageStorage

ENTRY_FILE = "entry.json"


VERSION = 1


@dataclass(frozen=True)
class StoredImage:
    """One image of an entry: its file's name, what must be true of it, and what looks broken (None: not looked at)."""

    name: str
    file_sha256: str
    pixel_sha256: str
    width: int
    height: int
    defects: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Entry:
    """One finished coalition at one seed offset."""

    key: str
    images: tuple[StoredImage, ...]
    meta: dict[str, Any]

    @property
    def frames(self) -> list[int | None]:
        """For each image its place in its clip, from 0; None: it is an image of its own."""
        places = self._clip.get("frames")
        if isinstance(places, list) and len(places) == len(self.images) and all(type(place) is int for place in places):
            return [*places]
        return [None] * len(self.images)

    @property
    def clip_length(self) -> int | None:
        """How many frames its clip has, of which some are stored; None: its images are no frames."""
        length = self._clip.get("length")
        return length if type(length) is int and None not in self.frames else None

    @property
    def _clip(self) -> dict[str, Any]:
        clip = self.meta.get("clip")
        return clip if isinstance(clip, dict) else {}


def clip_meta(places: Sequence[int], length: int) -> dict[str, Any]:
    """What an entry's ``meta`` says of frames: their places in their clip, from 0, and how many it has."""
    return {"clip": {"frames": list(places), "length": length}}


class DamagedEntry(Exception):
    """An entry is not what was written; the message says how."""


def make_entry(key: str, images: Sequence[bytes], meta: Mapping[str, Any]) -> Entry:
    """The entry of one coalition's images (PNG files' bytes, in batch order), which are stored nowhere yet.

    Raises:
        StoreError: there is no image.
        ImageError: an image cannot be read.
    """
    if not images:
        raise StoreError(f"The coalition {key[:12]} has no image to store; its workflow gave none.")
    stored = []
    for index, data in enumerate(images):
        image = image_of(data, Path(key) / f"{index:04d}.png")
        height, width = image.pixels.shape[:2]
        defects = tuple(describe_defects(image.pixels))
        stored.append(StoredImage(image.name, image.file_sha256, image.pixel_sha256, int(width), int(height), defects))
    return Entry(key, tuple(stored), json.loads(json.dumps(dict(meta), allow_nan=False)))


def write_entry(folder: Path, entry: Entry, files: Mapping[str, bytes]) -> Entry:
    """Write the images, by their names, and then ``entry.json`` into a fresh folder. Raises OSError."""
    for name, data in files.items():
        write_synced(folder / name, data)
    images = [asdict(item) for item in entry.images]
    body = {"version": VERSION, "key": entry.key, "images": images, "meta": entry.meta}
    text = json.dumps({**body, "sha256": _checksum(body)}, ensure_ascii=True, indent=1, allow_nan=False)
    write_synced(folder / ENTRY_FILE, text.encode("ascii"))
    sync_folder(folder)
    return entry


def load_entry(folder: Path, key: str, storage: ImageStorage | None) -> Entry | None:
    """Read and check one entry; None where its folder is absent. Raises DamagedEntry and StoreError."""
    try:
        mode = folder.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISDIR(mode):
        raise DamagedEntry("it is not a folder")
    try:
        data = json.loads(_regular(folder / ENTRY_FILE))
    except (ValueError, RecursionError) as error:
        raise DamagedEntry(f"{ENTRY_FILE} is not whole") from error
    if not isinstance(data, dict) or data.pop("sha256", None) != _checksum(data):
        raise DamagedEntry(f"{ENTRY_FILE} does not agree with its checksum")
    if data.get("version") != VERSION or data.get("key") != key:
        raise DamagedEntry(f"{ENTRY_FILE} belongs to another coalition or version")
    try:
        images = tuple(_stored_image(item) for item in data["images"])
        meta = data["meta"]
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedEntry(f"{ENTRY_FILE} lacks a field") from error
    if not isinstance(meta, dict):
        raise DamagedEntry(f"{ENTRY_FILE} lacks a field")
    if not images:
        raise DamagedEntry("it has no image")
    for image in images:
        if not IMAGE_NAME.match(image.name):
            raise DamagedEntry(f"{image.name!r} is no image of CopyScope's")
    away = set() if storage is None else {image.name for image in images if not os.path.lexists(folder / image.name)}
    if storage is not None and away and not away <= storage.names(key):
        raise DamagedEntry(f"{storage.url} lacks some of its images")
    for image in images:
        if image.name in away:
            continue
        if hashlib.sha256(_regular(folder / image.name)).hexdigest() != image.file_sha256:
            raise DamagedEntry(f"{image.name} does not agree with its checksum")
    return Entry(key, images, meta)


def _stored_image(item: Any) -> StoredImage:
    """Raises KeyError, TypeError or ValueError where a field is missing or of the wrong kind."""
    image = StoredImage(**item)
    if isinstance(image.defects, list):
        image = replace(image, defects=tuple(image.defects))
    texts = (image.name, image.file_sha256, image.pixel_sha256, *(image.defects or ()))
    if (
        not all(isinstance(text, str) for text in texts)
        or type(image.width) is not int
        or type(image.height) is not int
        or not isinstance(image.defects, tuple | None)
    ):
        raise TypeError("a field of an image is of the wrong kind")
    return image


def _regular(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        DamagedEntry: it is missing, no file, or absurdly large.
        StoreError: it cannot be read.
    """
    try:
        return read_plain(path, MAX_FILE_BYTES)
    except FileNotFoundError as error:
        raise DamagedEntry(f"{path.name} is missing") from error
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EFBIG):
            raise DamagedEntry(f"{path.name}: {error.strerror}") from error
        raise StoreError(f"{path} cannot be read ({error.strerror or error}); check the folder's rights.") from error


def _checksum(body: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(body, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    except RecursionError:
        return ""
    return hashlib.sha256(text.encode("ascii")).hexdigest()
