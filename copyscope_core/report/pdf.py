"""The report as a PDF, printed by a Chromium on this machine without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import CopyScopeError
from ..files.atomic import write_bytes_atomic

CHROMIUM_VARIABLE = "CHROMIUM_PATH"
SECONDS = 180

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge", "msedge")
FLAGS = (
    "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND", "--no-pdf-header-footer",
)  # fmt: skip


def find_chromium() -> Path:
    """The browser: that of ``CHROMIUM_PATH``, else a Chromium, Chrome or Edge in the usual places.

    Raises:
        CopyScopeError: there is none.
    """
    named = os.environ.get(CHROMIUM_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise CopyScopeError(f"{CHROMIUM_VARIABLE} names {named}, which is no file; let it name a Chromium.")
        return Path(named)
    found = next(_usual_places(), None)
    if found is None:
        raise CopyScopeError(
            "A PDF needs Chromium, Chrome or Edge, and none was found: install one, or let the environment variable "
            f"{CHROMIUM_VARIABLE} name it. The report itself, report.html, needs none and can be printed by hand."
        )
    return found


class PdfFile:
    """A PDF that a report is to be printed to. Made before an audit, so that what is missing is known at once.

    Args:
        path: the file; written over.
        out: the run folder, where it cannot lie.

    Raises:
        CopyScopeError: there is no Chromium, or the file cannot be written there.
    """

    def __init__(self, path: Path, out: Path) -> None:
        self.path = path.absolute()
        if self.path.resolve().is_relative_to(out.resolve()):
            raise CopyScopeError(
                f"--pdf {path} lies in the run folder {out}, whose manifest lists every file; name a place outside it."
            )
        if self.path.is_dir() or not self.path.parent.is_dir():
            raise CopyScopeError(f"--pdf {path} cannot be written: name a file in a folder that exists.")
        self._chromium = find_chromium()

    def write(self, html_path: Path) -> Path:
        """Print a report; the foot of each page has the SHA-256 of the manifest, as the report does.

        Raises:
            CopyScopeError: Chromium fails, or the file cannot be written.
        """
        with tempfile.TemporaryDirectory(prefix="copyscope-pdf-", ignore_cleanup_errors=True) as scratch:
            folder = Path(scratch)
            made = folder / "report.pdf"
            sandbox = ["--no-sandbox"] if sys.platform == "linux" and os.geteuid() == 0 else []  # root has none
            command = [
                str(self._chromium), *FLAGS, *sandbox, f"--user-data-dir={folder / 'profile'}",
                f"--print-to-pdf={made}", html_path.absolute().as_uri(),
            ]  # fmt: skip
            try:
                subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)  # noqa: S603 - our own words
            except (OSError, subprocess.TimeoutExpired) as error:
                raise self._failed(f"it did not run to its end within {SECONDS} seconds") from error
            if not made.is_file() or not made.read_bytes().startswith(b"%PDF"):
                raise self._failed("it gave no PDF")
            write_bytes_atomic(self.path, made.read_bytes())
        return self.path

    def _failed(self, how: str) -> CopyScopeError:
        return CopyScopeError(
            f"{self._chromium} could not print the report: {how}. The report itself is written; "
            f"let {CHROMIUM_VARIABLE} name another Chromium, or print report.html by hand."
        )


def _usual_places() -> Iterator[Path]:
    yield from (Path(found) for found in map(shutil.which, NAMES) if found)
    applications = ("Chromium", "Google Chrome", "Microsoft Edge")
    fixed = [Path(f"/Applications/{name}.app/Contents/MacOS/{name}") for name in applications]
    for variable in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA"):
        if folder := os.environ.get(variable):
            fixed += [
                Path(folder, "Google", "Chrome", "Application", "chrome.exe"),
                Path(folder, "Microsoft", "Edge", "Application", "msedge.exe"),
            ]
    yield from (path for path in fixed if path.is_file())
