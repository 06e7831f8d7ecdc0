"""What the command line shows: progress and notes on stderr, results on stdout."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import typer
from tqdm import tqdm

from ..report.text import clip, columns, printable

_TEXT_WIDTH = 48
NARROW = 60
"""Columns of a terminal below which a bar says nothing."""
SECONDS_BETWEEN = 10.0
"""Between two lines of progress in a log."""
INTERRUPTED = 130
"""Exit code after Ctrl-C."""


class ProgressLines:
    """Lines for a log: the time, how many of a stage's steps are done, and when it is expected to end.

    Args:
        write: takes a line.
        clock: gives the time.
        every: seconds that pass between two lines at least.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        clock: Callable[[], datetime] = lambda: datetime.now().astimezone(),
        every: float = SECONDS_BETWEEN,
    ) -> None:
        self._write, self._clock, self._every = write, clock, timedelta(seconds=every)
        self._name, self._total = "", 0
        self._begun: tuple[int, datetime] | None = None
        self._said: datetime | None = None

    def stage(self, name: str, total: int) -> None:
        """A stage begins."""
        self._name, self._total, self._begun = name, total, None
        if total:
            self._say(0)

    def step(self, done: int) -> None:
        """So many of its steps are done; those that were at the first call took no time."""
        if self._begun is None:
            self._begun = (done, self._clock())
        if self._total:
            self._say(done)

    def _say(self, done: int) -> None:
        now = self._clock()
        if self._said is not None and now - self._said < self._every:
            return
        self._said = now
        self._write(f"{now:%Y-%m-%d %H:%M:%S}  {self._name}: {done:,} of {self._total:,}{self._end(done, now)}")

    def _end(self, done: int, now: datetime) -> str:
        first, begun = self._begun or (done, now)
        if done <= first or done >= self._total:
            return ""
        left = (now - begun) * ((self._total - done) / (done - first))
        end = now + left
        return f", expected to end at {end:{'%H:%M' if end.date() == now.date() else '%Y-%m-%d %H:%M'}}"


class TerminalObserver:
    """A progress bar on a terminal, lines in a log or where a bar has no room; both on stderr."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._lines = None if _has_room(sys.stderr) else ProgressLines(self.note)

    def stage(self, name: str, total: int) -> None:
        """Close the last stage's bar and open one of ``total`` steps."""
        self.close()
        if self._lines is not None:
            self._lines.stage(name, total)
        elif total:
            self._bar = tqdm(total=total, desc=name, file=sys.stderr, dynamic_ncols=True, leave=True)

    def step(self, done: int, text: str = "") -> None:
        """Move the bar to ``done`` and say what is being done."""
        if self._lines is not None:
            self._lines.step(done)
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


def _has_room(stream: TextIO) -> bool:
    """Whether a stream is a terminal that is wide enough for a bar."""
    try:
        return stream.isatty() and os.get_terminal_size(stream.fileno()).columns >= NARROW
    except (OSError, ValueError):
        return False


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


def time_text(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def size_text(count: int) -> str:
    """A number of bytes as people read it."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


@contextlib.contextmanager
def interruptible(out: Path) -> Iterator[None]:
    """Ctrl-C says how to go on, and is exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        complain(f"Interrupted. What is finished is kept in {out}; run the same command again to go on.")
        raise typer.Exit(INTERRUPTED) from None
