"""Starts a ComfyUI server for an audit, and stops it whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from ..errors import HostError
from ..files.atomic import open_log
from .versions import check_version

_LOG_LINES = 12
_STOP_SECONDS = 10.0
_PROBE_SECONDS = 120.0
_STATS_BYTES_MAX = 1 << 20
_TAIL_BYTES = 20_000

# Runs main.py, and ends it when the process that started it has ended, even if that was killed.
_LAUNCHER = """
import os, runpy, sys, threading, time
parent = int(sys.argv[1])
if os.name == "nt":
    import ctypes
    handle = ctypes.windll.kernel32.OpenProcess(0x00100000, False, parent)
    def gone():
        return handle and ctypes.windll.kernel32.WaitForSingleObject(handle, 1000) == 0
else:
    def gone():
        time.sleep(1)
        return os.getppid() != parent
def watch():
    while not gone():
        pass
    if os.name != "nt" and os.getpgid(0) == os.getpid():
        os.killpg(0, 9)
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
sys.argv = sys.argv[2:]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""

_PROBE = """
import torch
kinds = [torch.cuda.is_available(), torch.backends.mps.is_available()]
for name in ("xpu", "npu", "mlu"):
    kinds.append(hasattr(torch, name) and getattr(torch, name).is_available())
print("accelerator" if any(kinds) else "cpu")
"""


def find_python(comfyui: Path) -> Path:
    """The Python that a ComfyUI folder runs with: its own environment, the portable build's, else this one."""
    folders = [comfyui / ".venv", comfyui / "venv", comfyui / "env", comfyui.parent / ".venv", comfyui.parent / "venv"]
    candidates = [folder / tail for folder in folders for tail in ("bin/python", "Scripts/python.exe")]
    candidates.append(comfyui.parent / "python_embeded" / "python.exe")
    candidates += [comfyui / "env" / "python.exe", comfyui / ".conda" / "bin" / "python"]
    return next((path for path in candidates if path.is_file()), Path(sys.executable))


def comfyui_version(comfyui: Path) -> str:
    """The version that a ComfyUI folder states.

    Raises:
        HostError: the folder is no ComfyUI, or one that is too old.
    """
    if not (comfyui / "main.py").is_file() or not (comfyui / "comfy").is_dir():
        raise HostError(f"{comfyui} is not a ComfyUI folder (no main.py with a comfy folder); check the path.")
    try:
        text = (comfyui / "comfyui_version.py").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    found = re.search(r"__version__\s*=\s*[\"']([^\"']+)[\"']", text)
    version = found.group(1) if found else None
    check_version(version, str(comfyui))
    return str(version)


class ManagedHost:
    """A ComfyUI server on a free loopback port, as a context manager; ``url`` is its address while it runs.

    Args:
        comfyui: the ComfyUI folder.
        extra_args: more arguments for its ``main.py``.
        log_path: file that its output is appended to.
        base_directory: its ``--base-directory`` (models, input, output, custom nodes); None: the ComfyUI folder itself.
        python: the Python to run it with; None: :func:`find_python`.
        start_timeout: seconds within which it must answer.

    ``--cpu`` is added where its torch has no accelerator. Its temporary files go to a folder of their own, because a
    ComfyUI that starts empties its temp folder, which may be in use by another one of the same installation. It ends
    when this process ends, even if that is killed.
    """

    def __init__(
        self,
        comfyui: Path,
        extra_args: Sequence[str] = (),
        log_path: Path | None = None,
        base_directory: Path | None = None,
        *,
        python: Path | None = None,
        start_timeout: float = 300.0,
    ) -> None:
        self.comfyui = Path(comfyui).expanduser().absolute()
        self.extra_args = tuple(extra_args)
        self.base_directory = None if base_directory is None else Path(base_directory).absolute()
        self.python = python or find_python(self.comfyui)
        self.start_timeout = start_timeout
        self.log_path = log_path
        self.url = ""
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> ManagedHost:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        """Whether the server's process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The server's process id while there is one."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the server and wait until it answers; start it again (on the same port) if it was stopped or died.

        Raises:
            HostError: the folder is no ComfyUI or too old, or the server ended or did not answer in time.
        """
        comfyui_version(self.comfyui)
        self.stop()
        self._scratch = tempfile.TemporaryDirectory(prefix="copyscope-host-", ignore_cleanup_errors=True)
        if self.log_path is None:
            self.log_path = Path(self._scratch.name) / "comfyui.log"
        try:
            self._port = _free_port(self._port)
            self._spawn(self._arguments(self._port))
            self._wait_until_up()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server and everything it started; do nothing where it does not run."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
        if self._scratch is not None:
            self._scratch.cleanup()
            if self.log_path is not None and self.log_path.parent == Path(self._scratch.name):
                self.log_path = None
            self._scratch = None

    def log_tail(self, lines: int = _LOG_LINES) -> str:
        """The last lines that the server printed."""
        try:
            data = b"" if self.log_path is None else _tail(self.log_path)
        except OSError:
            return ""
        kept = [line.rstrip() for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
        return "\n".join(kept[-lines:])

    def _arguments(self, port: int) -> list[str]:
        scratch = Path(self._scratch.name) if self._scratch is not None else Path()
        arguments = ["--listen", "127.0.0.1", "--port", str(port), "--disable-auto-launch"]
        if self.base_directory is not None:
            for name in ("models", "custom_nodes", "input", "output", "user"):
                (self.base_directory / name).mkdir(parents=True, exist_ok=True)
            arguments += ["--base-directory", str(self.base_directory)]
        if "--temp-directory" not in self.extra_args:
            arguments += ["--temp-directory", str(scratch)]
        if "--database-url" not in self.extra_args:
            arguments += ["--database-url", f"sqlite:///{(scratch / 'comfyui.db').as_posix()}"]
        if "--cpu" not in self.extra_args and "--directml" not in self.extra_args and not self._has_accelerator():
            arguments.append("--cpu")
        return [*arguments, *self.extra_args]

    def _has_accelerator(self) -> bool:
        try:
            answer = subprocess.run(  # noqa: S603 - the host's own Python, with a fixed script
                [str(self.python), "-c", _PROBE],
                cwd=self.comfyui,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PROBE_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HostError(f"The Python of ComfyUI, {self.python}, cannot be run ({error}); check it.") from error
        if answer.returncode != 0:
            last = (answer.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"])[-1]
            raise HostError(f"The Python of ComfyUI, {self.python}, cannot import torch ({last}); check its packages.")
        return b"accelerator" in answer.stdout

    def _spawn(self, arguments: list[str]) -> None:
        log_path = self.log_path
        if log_path is None:
            raise HostError("The server's log has no place; give log_path.")
        command = [str(self.python), "-c", _LAUNCHER, str(os.getpid()), str(self.comfyui / "main.py"), *arguments]
        try:
            log_path.parent.mkdir(parents=True, exist_ok=True)
            with open_log(log_path) as sink:
                self._process = subprocess.Popen(  # noqa: S603 - the ComfyUI that the user named
                    command,
                    cwd=self.comfyui,
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    start_new_session=os.name == "posix",
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )
        except OSError as error:
            raise HostError(f"ComfyUI at {self.comfyui} cannot be started ({error}); check its Python.") from error
        self.url = f"http://127.0.0.1:{self._port}"

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + self.start_timeout
        while True:
            if not self.alive:
                code = self._process.returncode if self._process is not None else "?"
                raise HostError(
                    f"ComfyUI at {self.comfyui} ended with code {code} while it started; its last lines:\n"
                    f"{self.log_tail()}"
                )
            if _answers(self.url):
                return
            if time.monotonic() > deadline:
                raise HostError(
                    f"ComfyUI at {self.comfyui} did not answer within {self.start_timeout:.0f} s; its last lines:\n"
                    f"{self.log_tail()}"
                )
            time.sleep(0.1)


def _tail(path: Path) -> bytes:
    """The last bytes of a file. Raises OSError."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return stream.read(_TAIL_BYTES)


def _environment() -> dict[str, str]:
    """This process's environment without the variables that would make another Python load this one's packages."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
    return {
        **{key: value for key, value in os.environ.items() if key not in hidden},
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
    }


def _free_port(wanted: int = 0) -> int:
    """A free port, ``wanted`` if it is free."""
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return _free_port()
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/system_stats", timeout=5) as answer:
            return "system" in json.loads(answer.read(_STATS_BYTES_MAX))
    except (OSError, ValueError, urllib.error.URLError):
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end, then make it, with all that it started."""
    if os.name == "posix":
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
        return
    if process.poll() is None:
        taskkill = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "taskkill.exe"
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(  # noqa: S603 - ends the server that this object started, and its children
                [str(taskkill), "/PID", str(process.pid), "/T", "/F"],
                capture_output=True,
                timeout=_STOP_SECONDS,
                check=False,
            )
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
