"""The free text in a safetensors file's header: what its maker wrote about it. No tensor is read.

It is anybody's text, so that everything is bounded: the header, the number of fields, each field and all of them.
"""

from __future__ import annotations

import itertools
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

MAX_HEADER = 32 << 20
MAX_FIELDS = 1000
MAX_NAME = 200
MAX_VALUE = 4 << 20
MAX_ALL = 8 << 20
"""Bytes of a header; fields; characters of a field's name, of its text, and of the texts together."""

TOLD_FIRST = (
    "ss_tag_frequency", "ss_dataset_dirs", "ss_datasets", "ss_output_name", "ss_sd_model_name",
    "ss_base_model_version", "ss_training_started_at", "ss_training_finished_at", "ss_training_comment",
)  # fmt: skip
"""Fields that are kept where there is not room for all; those of ``modelspec.`` come next."""

_PICTURE = "data:"
"""How the text of an embedded picture begins, such as ``modelspec.thumbnail``."""


class Metadata(NamedTuple):
    """What a file says of itself.

    Attributes:
        fields: name → text, as it is written there.
        cut: whether some of it was too long to be kept.
    """

    fields: Mapping[str, str]
    cut: bool = False

    def as_json(self) -> dict[str, Any]:
        """The same for another process; :func:`as_metadata` reads it."""
        return {"fields": dict(self.fields), "cut": self.cut}


def read_metadata(path: Path) -> Metadata | None:
    """The metadata in a safetensors file's header; None where it is no such file, is damaged, or has too long a one."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with path.open("rb") as stream:
            length = stream.read(8)
        if len(length) < 8 or not 0 < int.from_bytes(length, "little") <= MAX_HEADER:
            return None
        with safe_open(path, framework="numpy") as file:
            return _bounded(file.metadata() or {})
    except (OSError, SafetensorError, RuntimeError, ValueError):
        return None


def common_metadata(paths: Iterable[Path]) -> Metadata | None:
    """The metadata of a model file that may be in several places; None where they differ."""
    found = [read_metadata(path) for path in paths]
    return found[0] if found and all(other == found[0] for other in found) else None


def as_metadata(data: object) -> Metadata | None:
    """Metadata as it came from elsewhere, within the same bounds; None where it is none."""
    if not isinstance(data, Mapping) or not isinstance(data.get("fields"), Mapping):
        return None
    found = _bounded(data["fields"])
    return found._replace(cut=found.cut or data.get("cut") is True)


def _bounded(fields: Mapping[Any, Any]) -> Metadata:
    """The fields that are text, as far as there is room, without embedded pictures."""
    named = {name: text for name, text in fields.items() if isinstance(name, str) and isinstance(text, str)}
    named = {name: text for name, text in named.items() if not text.startswith(_PICTURE)}
    kept: dict[str, str] = {}
    room = MAX_ALL
    for name in itertools.islice(sorted(named, key=_turn), MAX_FIELDS):
        text = named[name][: min(MAX_VALUE, room)]
        room -= len(text)
        if len(name) <= MAX_NAME:
            kept[name] = text
    return Metadata(kept, any(kept.get(name) != text for name, text in named.items()))


def _turn(name: str) -> tuple[int, str]:
    if name in TOLD_FIRST:
        return TOLD_FIRST.index(name), name
    return len(TOLD_FIRST) + (not name.startswith("modelspec.")), name
