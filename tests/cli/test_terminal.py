"""Progress where there is no terminal, or hardly one: lines that a log can take."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest

from copyscope_core.cli.terminal import ProgressLines

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc)
WORK = """
from copyscope_core.cli.terminal import observer
with observer() as shown:
    shown.stage("Running coalitions", 3)
    for done in range(4):
        shown.step(done, "style + prompt")
    shown.note("a note")
"""


class Log:
    """Lines of progress by a clock that is set."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.now = NOON
        self.progress = ProgressLines(self.lines.append, lambda: self.now)

    def after(self, seconds: float, done: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.progress.step(done)


def test_a_line_has_time_count_and_expected_end() -> None:
    log = Log()
    log.progress.stage("Running coalitions", 33)
    log.after(0, 3)  # stored before: no measure of the time
    log.after(60, 5)
    log.after(60, 7)
    assert log.lines == [
        "2026-03-01 12:00:00  Running coalitions: 0 of 33",
        "2026-03-01 12:01:00  Running coalitions: 5 of 33, expected to end at 12:15",
        "2026-03-01 12:02:00  Running coalitions: 7 of 33, expected to end at 12:15",
    ]
    log.after(86_400, 8)
    assert log.lines[-1].endswith("8 of 33, expected to end at 2026-03-07 12:12")


def test_at_most_one_line_in_ten_seconds() -> None:
    log = Log()
    for stage in range(5):
        log.progress.stage(f"Stage {stage}", 1000)
        for done in range(1000):
            log.after(0.01, done)
    assert len(log.lines) == 6
    times = [datetime.fromisoformat(line[:19]) for line in log.lines]
    assert all(later - earlier >= timedelta(seconds=10) for earlier, later in itertools.pairwise(times))


def test_a_log_gets_lines_without_control_characters() -> None:
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True, check=True)
    first, *rest = done.stderr.splitlines()
    assert first.endswith("  Running coalitions: 0 of 3")
    assert rest == ["a note"]
    assert "\r" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="opens a pseudo-terminal")
@pytest.mark.parametrize(("columns", "bar"), [(0, False), (20, False), (100, True)])
def test_a_narrow_terminal_gets_lines_too(columns: int, bar: bool) -> None:
    import fcntl
    import pty
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    subprocess.run([sys.executable, "-c", WORK], stderr=follower, check=True)
    os.close(follower)
    shown = b""
    while piece := _read(leader):
        shown += piece
    os.close(leader)
    assert (b"%|" in shown) == bar
    assert (b"Running coalitions: 0 of 3" in shown) != bar


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:
        return b""
