"""Images of coalitions outside the run folder: in a folder or object store that fsspec reaches.

``URL/coalitions/<key>/0000.png``, as in a run folder, where ``entry.json`` stays; ``URL/copyscope-run.txt`` says whose
they are. Credentials are fsspec's own. No name
leads out of the URL, for keys and names have one form each; a reader checks what it gets against the entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..errors import StoreError

COALITIONS = "coalitions"
KEY = re.compile(r"[0-9a-f]{64}\Z")
OWNER_FILE = "copyscope-run.txt"
IMAGE_NAME = re.compile(r"[0-9]{4,9}\.png\Z")
T = TypeVar("T")


def key_and_name(file: str) -> tuple[str, str] | None:
    """A generated image's coalition and name, of ``KEY/NAME``; None where it is no image of a coalition."""
    key, _, name = file.partition("/")
    return (key, name) if KEY.match(key) and IMAGE_NAME.match(name) else None


class ImageStorage:
    """The images below one URL (``s3://bucket/prefix``, ``gs://…``, ``file:///folder``). Pickled, it is its URL.

    Raises:
        StoreError: fsspec, or its package for such a URL, is not installed, or the URL is none.
    """

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise StoreError("--storage needs fsspec; install it: pip install 'copyscope[ray]'.") from error
        if "://" not in url:
            url = str(Path(url).expanduser().absolute())  # also where the current folder is another one
        self.url = url
        local = "://" not in url or url.startswith(("file:", "local:"))
        options = {"auto_mkdir": True} if local else {"use_listings_cache": False}
        try:
            self._files, root = url_to_fs(url, **options)
        except (ImportError, ValueError, TypeError, OSError) as error:
            raise StoreError(f"The storage {url} cannot be used ({error}); check its address.") from error
        self._root = root.rstrip("/")

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageStorage, (self.url,)

    def put(self, key: str, images: Mapping[str, bytes]) -> None:
        """Store files, by their names, over those that are there.

        Raises:
            StoreError: ``key`` or a name is of no coalition, or the storage cannot be written.
        """
        for name, data in images.items():
            path = self._path(key, name)
            self._do("written", lambda path=path, data=data: self._files.pipe_file(path, data))  # type: ignore[misc]

    def claim(self, owner: str) -> None:
        """Make this the storage of one run folder: two of them would write over each other's images.

        Raises:
            StoreError: it is another one's, or it cannot be read or written.
        """
        path = f"{self._root}/{OWNER_FILE}"

        def found() -> str:
            try:
                return bytes(self._files.cat_file(path)).decode("ascii", "replace")
            except FileNotFoundError:
                return ""

        known = self._do("read", found)
        if not known:
            self._do("written", lambda: self._files.pipe_file(path, owner.encode("ascii")))
        elif known != owner:
            raise StoreError(
                f"The storage {self.url} holds the images of another run folder; give each run folder its own URL. "
                f"Where that one is gone, remove {OWNER_FILE} there."
            )

    def get(self, key: str, name: str) -> bytes:
        """A file's bytes, which are to be checked.

        Raises:
            StoreError: ``key`` or ``name`` is of no coalition, or the file is missing or cannot be read.
        """
        path = self._path(key, name)
        return self._do("read", lambda: bytes(self._files.cat_file(path)))

    def names(self, key: str) -> set[str]:
        """The names of a coalition's files; none where there is nothing.

        Raises:
            StoreError: ``key`` is of no coalition, or the storage cannot be read.
        """
        folder = self._path(key)

        def listed() -> set[str]:
            try:
                return {str(path).rpartition("/")[2] for path in self._files.ls(folder, detail=False)}
            except FileNotFoundError:
                return set()

        return self._do("read", listed)

    def remove(self, key: str) -> None:
        """Remove a coalition's files, if there are any.

        Raises:
            StoreError: ``key`` is of no coalition, or they cannot be removed.
        """
        for name in self.names(key):
            if IMAGE_NAME.match(name):
                path = self._path(key, name)
                self._do("cleared", lambda path=path: self._files.rm_file(path))  # type: ignore[misc]

    def _path(self, key: str, name: str | None = None) -> str:
        if not KEY.match(key) or (name is not None and not IMAGE_NAME.match(name)):
            raise StoreError(f"{key[:80]!r}, {name!r} is no image of a coalition.")
        return "/".join((self._root, COALITIONS, key, *([] if name is None else [name])))

    def _do(self, what: str, work: Callable[[], T]) -> T:
        try:
            return work()
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise StoreError(
                f"The storage {self.url} cannot be {what} ({reason}); check address and rights."
            ) from error
