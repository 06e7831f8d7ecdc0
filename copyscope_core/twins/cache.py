"""Fingerprints of model files, remembered by what is in the files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path

from ..errors import StoreError
from ..files.atomic import read_plain, write_json_atomic
from ..files.hashes import HashCache, Progress
from .sketch import SKETCH_ID, Floats, SketchError, lora_sketch
from .twins import Fingerprint, as_sketch

_FOLDER = "sketches"
_MAX_BYTES = 1 << 16


class SketchCache:
    """Remembers the sketch of each file by its SHA-256, in a folder beside the hashes."""

    def __init__(self, hashes: HashCache) -> None:
        self.hashes = hashes
        self.folder = hashes.path.parent / _FOLDER / SKETCH_ID

    def fingerprint(self, paths: Iterable[Path], progress: Progress | None = None) -> Fingerprint:
        """Of a model file, which may be in several places; nothing is known of it where they differ.

        Raises:
            StoreError: a file cannot be read.
        """
        found = {self.hashes.sha256(path, progress): path for path in paths}
        if len(found) != 1:
            return Fingerprint()
        (digest, path), *_ = found.items()
        return Fingerprint(digest, self._sketch(digest, path))

    def _sketch(self, digest: str, path: Path) -> Floats | None:
        stored = self.folder / f"{digest}.json"
        try:
            known = as_sketch(json.loads(read_plain(stored, _MAX_BYTES)))
        except (OSError, ValueError, RecursionError):
            known = None
        if known is not None:
            return known
        try:
            sketch = lora_sketch(path)
        except SketchError:
            return None
        with contextlib.suppress(StoreError):  # it is made again next time
            write_json_atomic(stored, sketch.tolist())
        return sketch
