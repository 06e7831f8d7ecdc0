"""What every fuzz test demands of the code under test, and how many examples it gets.

``make test`` runs a few examples of each test, the same ones every time. ``make fuzz`` runs the campaign:
``COPYSCOPE_FUZZ_EXAMPLES`` new examples of each.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, settings

from copyscope_core.errors import CopyScopeError
from copyscope_core.store.runs import STATE_VARIABLE

from .limits import SECONDS, time_limit

EXAMPLES = int(os.environ.get("COPYSCOPE_FUZZ_EXAMPLES", "0"))
QUICK_EXAMPLES = 25
MEMORY = 1 << 31
"""Bytes by which one example may raise the most memory that the process ever used."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.truncate",
            "shutil.rmtree", "shutil.move", "shutil.copyfile"}  # fmt: skip
_MADE = {"shutil.copyfile": 1, "os.symlink": 1, "os.link": 1}
"""Which argument of an event is what is made, where it is not the first."""

_NEVER = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "socket.sendto",
          "socket.getaddrinfo", "pickle.find_class", "marshal.loads", "urllib.Request"}  # fmt: skip


class _Guard:
    """Watches, by Python's own audit events, what one example does."""

    def __init__(self) -> None:
        self.root: Path | None = None
        self.offences: list[str] = []

    def hook(self, name: str, values: tuple[Any, ...]) -> None:
        if self.root is None:
            return
        if name == "open":
            path, _, flags = values
            if isinstance(flags, int) and flags & _WRITING:
                self._check(name, [path])
        elif name in _CHANGES:
            if name in ("os.remove", "os.rmdir") and values[1] != -1:
                return  # of an open folder, in the course of shutil.rmtree, whose own event has the path
            first = _MADE.get(name, 0)
            self._check(name, values[first : first + (2 if name in ("os.rename", "shutil.move") else 1)])
        elif name in _NEVER and not (name == "marshal.loads" and _importing()):
            self.offences.append(f"{name} {values!r:.200}")

    def _check(self, name: str, paths: Any) -> None:
        root, self.root = self.root, None  # resolving raises events of its own
        try:
            for path in paths:
                if isinstance(path, (str, bytes, os.PathLike)):
                    place = Path(os.fsdecode(path))
                    if root is not None and not _inside(place, root):
                        self.offences.append(f"{name} {place}")
        finally:
            self.root = root


def _inside(path: Path, root: Path) -> bool:
    if "__pycache__" in path.parts or str(path) == os.devnull or path == root:
        return True
    return path.parent.resolve().is_relative_to(root)


def _importing() -> bool:
    frame = sys._getframe(1)
    while frame is not None:
        if "importlib" in frame.f_code.co_filename:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


_GUARD = _Guard()
sys.addaudithook(_GUARD.hook)


def fuzzed(share: float = 1.0) -> Callable[[Any], Any]:
    """How often a test is run: ``share`` of the examples that were asked for."""
    campaign = EXAMPLES > 0
    return settings(
        max_examples=max(1, round((EXAMPLES or QUICK_EXAMPLES) * share)),
        deadline=None,
        database=None,
        derandomize=not campaign,
        phases=[Phase.generate, Phase.shrink] if campaign else [Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


@contextlib.contextmanager
def guarded(seconds: float = SECONDS) -> Iterator[Path]:
    """A fresh folder for one example, which may write there and nowhere else.

    Any exception but a CopyScopeError fails the test, and so do another process, a connection, an unpickled class, a
    write elsewhere, more processor time than ``seconds``, and much memory.
    """
    before = _peak_memory()
    with tempfile.TemporaryDirectory(prefix="copyscope-fuzz-") as folder, pytest.MonkeyPatch.context() as patch:
        root = Path(folder).resolve()
        patch.setenv(STATE_VARIABLE, str(root / "state"))
        _GUARD.offences.clear()
        with time_limit(seconds):
            _GUARD.root = root
            try:
                yield root
                event("accepted")
            except CopyScopeError as error:
                _check_sentence(error)
                event(f"refused: {type(error).__name__}")
            finally:
                _GUARD.root = None
    assert not _GUARD.offences, _GUARD.offences
    assert _peak_memory() - before < MEMORY, "much memory was used"


def _check_sentence(error: CopyScopeError) -> None:
    text = str(error)
    assert text.strip(), "an error without a word"
    assert "\0" not in text, "an error with a NUL"
    assert "Traceback" not in text


def _peak_memory() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
