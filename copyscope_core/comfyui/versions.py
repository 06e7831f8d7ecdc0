"""The ComfyUIs and front ends that CopyScope was tried on: the oldest that can be used, and the newest."""

from __future__ import annotations

import re

from ..errors import HostError

MINIMUM_COMFYUI = (0, 3, 64)
TRIED_COMFYUI = (0, 33, 0)
TRIED_FRONT_END = (1, 58, 1)

Version = tuple[int, int, int]


def read_version(text: object) -> Version | None:
    """``v0.33.0`` or ``0.33`` as numbers; None where it is no version."""
    found = re.match(r"v?(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?", text) if isinstance(text, str) else None
    if found is None:
        return None
    major, minor, patch = (int(part or 0) for part in found.groups())
    return major, minor, patch


def check_version(version: object, where: str) -> None:
    """Refuse a ComfyUI that is too old.

    Raises:
        HostError: ``version`` is below 0.3.64, or is no version at all.
    """
    found, needed = read_version(version), _text(MINIMUM_COMFYUI)
    if found is None:
        raise HostError(f"{where} does not say which ComfyUI it is; CopyScope needs ComfyUI {needed} or later.")
    if found < MINIMUM_COMFYUI:
        raise HostError(
            f"{where} is ComfyUI {version}, which is too old; CopyScope needs {needed} or later, so update it."
        )


def newer_than_tried(comfyui: object = None, front_end: object = None) -> str | None:
    """What to tell whoever uses a ComfyUI or a front end that is newer than those tried; None where neither is."""
    newer = [
        f"{name} {version}, newer than {_text(tried)}"
        for name, version, tried in (
            ("ComfyUI", comfyui, TRIED_COMFYUI),
            ("front end", front_end, TRIED_FRONT_END),
        )
        if (found := read_version(version)) is not None and found > tried
    ]
    if not newer:
        return None
    return (
        f"This is {' and '.join(newer)}, the newest that this version of CopyScope was tried on; if something looks "
        "wrong, look for a newer CopyScope."
    )


def _text(version: Version) -> str:
    return ".".join(map(str, version))
