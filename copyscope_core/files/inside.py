"""Names from files of others, as paths that stay inside a folder."""

from __future__ import annotations

import stat
from pathlib import Path, PurePath, PureWindowsPath

from ..errors import StoreError

_JUNCTION = 0xA0000003
"""Windows' reparse tag of a folder that leads elsewhere without being a symbolic link."""


def named_inside(root: Path, name: str) -> Path:
    """The path of a relative name below a folder. Nothing on the disk is looked at.

    Raises:
        StoreError: on some system the name is absolute, names a drive or a server, or leads upwards.
    """
    foreign = PureWindowsPath(name)
    if not foreign.parts or foreign.anchor or foreign.drive or ".." in foreign.parts or "\0" in name:
        raise StoreError(f"{name[:200]!r} does not name anything inside {root}.")
    return root / name


def plain_inside(root: Path, name: str) -> Path:
    """The same, where no part of the name is a link. What a link leads to is not looked at.

    Raises:
        StoreError: the name leads out of the folder, or a part of it is a link.
        OSError: a part of it cannot be looked at.
    """
    named_inside(root, name)
    path = root
    for part in PurePath(name).parts:
        path = path / part
        if is_link(path):
            raise StoreError(f"{path} is a link, which is not followed.")
    return path


def is_link(path: Path) -> bool:
    """Whether a path is a symbolic link or a junction; False where there is nothing. Raises OSError."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISLNK(status.st_mode) or getattr(status, "st_reparse_tag", 0) == _JUNCTION
