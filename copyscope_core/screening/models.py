"""Which models are screened: names that the server knows, from one of its folders or from a list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ..errors import CopyScopeError
from ..files.atomic import read_plain

MOST_MODELS = 200_000
MAX_LIST_BYTES = 64 << 20
_NAMED = 3


def models_of(given: str, names: Sequence[str]) -> list[str]:
    """The models that were asked for, as the server spells them, each once.

    Args:
        given: a text file of names, one a line; else a folder of the server's models, ``.`` for all of them. A path
            on this machine counts from its folder ``loras``, ``checkpoints`` or ``diffusion_models``.
        names: the files that the server has for the slot.

    Raises:
        CopyScopeError: the list cannot be read, the server lacks a name (named), or there are none.
    """
    path = Path(given)
    if path.is_file():
        found = [model_named(line, names) for line in _lines(path)]
    else:
        folder = _inner(given.replace("\\", "/").rstrip("/"))
        found = [name for name in names if not folder or _slashes(name).startswith(f"{folder}/")]
        if not found:
            raise CopyScopeError(
                f"The server has no models in {given!r}, and there is no list of that name; it has {len(names):,} "
                f"files for the slot, such as {', '.join(names[:_NAMED]) or 'none'}."
            )
    found = list(dict.fromkeys(found))
    if not found:
        raise CopyScopeError(f"The list {given} names no model; write one name a line.")
    if len(found) > MOST_MODELS:
        raise CopyScopeError(f"{len(found):,} models are more than {MOST_MODELS:,}; screen them in parts.")
    return found


def model_named(given: str, names: Sequence[str]) -> str:
    """The model of a name, or of a path that ends with a name, as the server spells it.

    Raises:
        CopyScopeError: the server has no such file, or the path may mean several.
    """
    wanted = _slashes(given.strip())
    by_slashes = {_slashes(name): name for name in names}
    if wanted in by_slashes:
        return by_slashes[wanted]
    if inner := by_slashes.get(_inner(wanted)):
        return inner
    ends = [name for spelt, name in by_slashes.items() if wanted.endswith(f"/{spelt}")]
    if len(ends) != 1:
        raise CopyScopeError(
            f"The server knows no model {given.strip()[:200]!r} for the slot; it knows {len(names):,}, such as "
            f"{', '.join(names[:_NAMED]) or 'none'}. Put the file into its models folder, and give the name from there."
        )
    return ends[0]


def _lines(path: Path) -> list[str]:
    try:
        text = read_plain(path, MAX_LIST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise CopyScopeError(f"The list {path} cannot be read ({error.strerror or error}); check its name.") from error
    except UnicodeDecodeError as error:
        raise CopyScopeError(f"The list {path} is not UTF-8 text; save it as UTF-8, one name a line.") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _slashes(name: str) -> str:
    return name.replace("\\", "/")


def _inner(path: str) -> str:
    """What follows the models' own folder in a path; the path itself where it does not have it."""
    parts = [part for part in PurePosixPath(path).parts if part != "."]
    for place in range(len(parts) - 1, -1, -1):
        if parts[place] in ("loras", "checkpoints", "diffusion_models"):
            return "/".join(parts[place + 1 :])
    return "/".join(parts)
