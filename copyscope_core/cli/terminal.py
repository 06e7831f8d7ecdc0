"""What the command line shows: progress and notes on stderr, results on stdout."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from ..report.text import clip, columns, printable

_TEXT_WIDTH = 48


class TerminalObserver:
    """Progress bars on a terminal, one line per stage elsewhere; both on stderr."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._live = sys.stderr.isatty()

    def stage(self, name: str, total: int) -> None:
        """Close the last stage's bar and open one of ``total`` steps."""
        self.close()
        if not total:
            return
        if self._live:
            self._bar = tqdm(total=total, desc=name, file=sys.stderr, dynamic_ncols=True, leave=True)
        else:
            self.note(f"{name}: {total}")

    def step(self, done: int, text: str = "") -> None:
        """Move the bar to ``done`` and say what is being done."""
        if self._bar is None:
            return
        self._bar.set_postfix_str(clip(printable(text), _TEXT_WIDTH), refresh=False)
        self._bar.update(done - self._bar.n)
        self._bar.refresh()

    def note(self, text: str) -> None:
        """Write one sentence above the bar."""
        tqdm.write(text, file=sys.stderr)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _NoteHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(f"{record.levelname.capitalize()}: {record.getMessage()}", file=sys.stderr)


@contextlib.contextmanager
def observer() -> Iterator[TerminalObserver]:
    """An observer whose bar is closed at the end."""
    shown = TerminalObserver()
    try:
        yield shown
    finally:
        shown.close()


def prepare_streams() -> None:
    """Make stdout and stderr take any character, and send warnings of the package to stderr."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    package = logging.getLogger(__package__.rpartition(".")[0])  # the core: its rooms' loggers are below it
    if not any(isinstance(handler, _NoteHandler) for handler in package.handlers):
        package.addHandler(_NoteHandler(logging.WARNING))
        package.propagate = False


def say(text: str = "") -> None:
    """Write a line to stdout."""
    sys.stdout.write(text + "\n")


def complain(text: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def print_json(data: Mapping[str, Any]) -> None:
    """Write one JSON object to stdout, in ASCII, so that every terminal and pipe can carry it."""
    say(json.dumps(data, ensure_ascii=True, allow_nan=False))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows under a header, in columns of equal width; control characters are made harmless."""
    cells = [[printable(str(cell)) for cell in row] for row in [header, *rows]]
    widths = [max(columns(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        padded = (text + " " * (width - columns(text)) for text, width in zip(row, widths, strict=True))
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def size_text(count: int) -> str:
    """A number of bytes as people read it."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
