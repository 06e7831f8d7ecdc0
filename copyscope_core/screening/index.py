"""An index: a panel in a file, so that models can be screened where the artists' works are not.

It holds features, never pictures, and no file names unless they were asked for. The file is a plain ``.npz`` without
compression and without pickles, bound to one extractor and one size of image, and only its owner may read it.
"""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import __version__
from ..errors import CopyScopeError, describe
from ..files.atomic import check_plain, disk_errors, write_bytes_atomic
from .panel import LONGEST_NAME, MOST_ARTISTS, MOST_NEGATIVE, Panel, check_artists

VERSION = 1
MAX_BYTES = 8 << 30
MOST_WORKS = 1_000_000
MOST_NUMBERS = 1 << 16
"""Of one feature vector."""
_MEMBERS = ("about", "features", "reference", "control")
_MAX_ABOUT = 256 << 20


class _About(BaseModel):
    model_config = ConfigDict(extra="ignore")

    copyscope_index: int
    extractor: str = Field(min_length=1, max_length=300)
    size: tuple[int, int]
    artists: list[str] = Field(max_length=MOST_ARTISTS + MOST_NEGATIVE)
    named: int = Field(ge=1)


def save_index(panel: Panel, path: Path, files: Sequence[Sequence[str]] | None = None) -> None:
    """Write a panel.

    Args:
        files: names of each named artist's works, to be kept too; None: none are.

    Raises:
        StoreError: the disk is full, or the file cannot be written.
    """
    about = {
        "copyscope_index": VERSION,
        "copyscope": __version__,
        "extractor": panel.extractor,
        "size": list(panel.size),
        "artists": list(panel.artists),
        "named": panel.named,
        **({} if files is None else {"files": [list(names) for names in files]}),
    }
    stream = io.BytesIO()
    np.savez(
        stream,
        about=np.frombuffer(json.dumps(about).encode("ascii"), dtype=np.uint8),
        features=panel.features.astype("<f4"),
        reference=panel.reference,
        control=panel.control,
    )
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
    write_bytes_atomic(path, stream.getvalue())
    with disk_errors(path):
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)


def load_index(path: Path) -> Panel:
    """Read a panel. Nothing is unpickled or unpacked, and sizes are checked before anything is read.

    Raises:
        CopyScopeError: the file cannot be read, is no index, is damaged, too large, or of another version.
    """
    try:
        check_plain(path, MAX_BYTES)
        with zipfile.ZipFile(path) as held:
            members = {item.filename: item for item in held.infolist()}
            if set(members) != {f"{name}.npy" for name in _MEMBERS} or len(held.infolist()) != len(_MEMBERS):
                raise ValueError("it holds other things than an index")
            if any(item.compress_type != zipfile.ZIP_STORED for item in members.values()):
                raise ValueError("it is compressed, which no index is")
            if members["about.npy"].file_size > _MAX_ABOUT:
                raise ValueError("its description is too long")
        with np.load(path, allow_pickle=False) as arrays:
            about = _About.model_validate(json.loads(bytes(_plain(arrays["about"], np.uint8, 1))))
            if about.copyscope_index != VERSION:
                raise ValueError(f"it is of version {about.copyscope_index}, and this CopyScope reads {VERSION}")
            features = _plain(arrays["features"], np.float32, 2)
            reference, control = (_plain(arrays[name], np.bool_, 2) for name in ("reference", "control"))
    except OSError as error:
        raise CopyScopeError(f"The index {path} cannot be read ({error.strerror or error}); check its name.") from error
    except ValidationError as error:
        raise CopyScopeError(f"The file {path} is no index: {describe(error)}.") from error
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile, RecursionError, EOFError) as error:
        raise CopyScopeError(
            f"The file {path} is no index that can be used: {str(error)[:200]}; make it with 'copyscope index'."
        ) from error
    panel = Panel(tuple(about.artists), about.named, features, reference, control, about.extractor, about.size)
    if (flaw := _flaw(panel)) is not None:
        raise CopyScopeError(f"The index {path} is damaged: {flaw}; make it again with 'copyscope index'.")
    return panel


def check_extractor(panel: Panel, extractor: str, path: Path) -> None:
    """Refuse an index of other features.

    Args:
        extractor: id of the one in use.

    Raises:
        CopyScopeError: they differ.
    """
    if panel.extractor != extractor:
        raise CopyScopeError(
            f"The index {path} holds features of {panel.extractor}, and {extractor} is in use; choose the same with "
            "--features, or make the index again."
        )


def _plain(array: NDArray[Any], kind: type, dimensions: int) -> NDArray[Any]:
    if array.dtype != kind or array.ndim != dimensions:
        raise ValueError(f"a table of it is of {array.dtype} with {array.ndim} dimensions")
    return array


def _flaw(panel: Panel) -> str | None:
    """What is wrong with a panel from elsewhere; None: nothing."""
    works, width = panel.features.shape
    shape = (works, len(panel.artists))
    if panel.reference.shape != shape or panel.control.shape != shape or panel.named > len(panel.artists):
        return "its tables do not fit each other"
    if not 0 < works <= MOST_WORKS or not 0 < width <= MOST_NUMBERS:
        return f"it has {works:,} works of {width:,} numbers"
    if not all(0 < side <= 1 << 16 for side in panel.size):
        return "its size of images is none"
    if not np.isfinite(panel.features).all():
        return "it has numbers that are not finite"
    if (panel.reference.sum(axis=0) < 1).any() or (panel.control.sum(axis=0) < 2).any():
        return "an artist has no works, or fewer than two to be compared with"
    try:
        check_artists(panel.artists[: panel.named])
        check_artists([name[:LONGEST_NAME] for name in panel.artists])
    except CopyScopeError as error:
        return str(error)
    return None
