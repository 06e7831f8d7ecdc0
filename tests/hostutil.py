"""Finds a real ComfyUI and starts it for tests.

Shared by the node, server and browser tests. Nothing here imports ComfyUI or CopyScope.

    host = require_host()                      # skips the test, loudly, where no ComfyUI is found
    with start_server(tmp_path) as server:
        requests.get(server.url + "/system_stats")
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
ARTIFACTS = REPOSITORY / "test-artifacts"
BASE_FOLDERS = ("models", "custom_nodes", "input", "output", "temp", "user")
NO_HOST = (
    "NO COMFYUI FOUND: set COMFYUI_PATH to a ComfyUI folder (tried COMFYUI_PATH, ~/comfy/ComfyUI and the ComfyUI "
    "whose custom_nodes holds this repository); this test did NOT run"
)


def _is_comfyui(path: Path) -> bool:
    return (path / "main.py").is_file() and (path / "comfy").is_dir() and (path / "nodes.py").is_file()


def find_comfyui() -> Path | None:
    """The ComfyUI folder: COMFYUI_PATH, else ~/comfy/ComfyUI, else the one whose custom_nodes holds the repository.

    A COMFYUI_PATH that is set but is no ComfyUI folder gives None: a wrong path must not be papered over.
    """
    named = os.environ.get("COMFYUI_PATH")
    if named:
        path = Path(named).expanduser()
        return path.resolve() if _is_comfyui(path) else None
    candidates = [Path.home() / "comfy" / "ComfyUI"]
    if REPOSITORY.parent.name == "custom_nodes":
        candidates.append(REPOSITORY.parent.parent)
    return next((path.resolve() for path in candidates if _is_comfyui(path)), None)


def host_python(path: Path) -> Path:
    """The Python that runs the ComfyUI at ``path``: its own virtual environment, else this one.

    The path is not resolved: a virtual environment's Python is a link, and following it would leave the environment.
    """
    for folder in (".venv", "venv"):
        for tail in ("bin/python", "Scripts/python.exe"):
            python = path / folder / tail
            if python.exists():
                return python
    portable = path.parent / "python_embeded" / "python.exe"
    return portable if portable.exists() else Path(sys.executable)


def front_end_args() -> list[str]:
    """What makes the host serve the front end that COMFYUI_FRONT_END names; nothing where it is not set.

    The folder is an unpacked ``comfyui_frontend_package``, the package in it, or its ``static`` folder.
    """
    named = os.environ.get("COMFYUI_FRONT_END")
    if not named:
        return []
    folder = Path(named).expanduser().resolve()
    for tail in ("comfyui_frontend_package/static", "static", "."):
        if (folder / tail / "index.html").is_file():
            return ["--front-end-root", str(folder / tail)]
    raise RuntimeError(f"COMFYUI_FRONT_END: no index.html in {folder}; unpack comfyui_frontend_package there")


def cache_args(given: Sequence[str]) -> list[str]:
    """The cache mode that COPYSCOPE_HOST_ARGS names, such as ``--cache-lru 100``, unless the test asks for its own."""
    own = any(word.startswith("--cache") for word in given)
    return [] if own else os.environ.get("COPYSCOPE_HOST_ARGS", "").split()


def require_host() -> Path:
    """The ComfyUI folder; skips the calling test, saying why, where there is none."""
    path = find_comfyui()
    if path is None:
        pytest.skip(NO_HOST)
    return path


def free_port() -> int:
    """A port of the loopback interface that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Server:
    """A running ComfyUI: where it is, what it was started with, and its log."""

    url: str
    port: int
    base_dir: Path
    log: Path
    process: subprocess.Popen[bytes]

    def log_text(self) -> str:
        """What the server has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def get(self, path: str, timeout: float = 60) -> Any:
        """The JSON at ``path`` (say, ``/object_info``)."""
        with urllib.request.urlopen(self.url + path, timeout=timeout) as answer:
            return json.load(answer)

    def post(self, path: str, data: Any, timeout: float = 60) -> tuple[int, Any]:
        """Posts JSON; gives the status and the answer's JSON (None where it is empty), for refusals (400) too."""
        request = urllib.request.Request(
            self.url + path, json.dumps(data).encode("utf-8"), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                body = answer.read()
                return answer.status, json.loads(body) if body else None
        except urllib.error.HTTPError as error:
            body = error.read()
            try:
                return error.code, json.loads(body)
            except ValueError:
                return error.code, body.decode("utf-8", errors="replace")

    def run(self, prompt: dict[str, Any], timeout: float = 300, **extra: Any) -> dict[str, Any]:
        """Queues an API-format workflow, waits until it ends, and gives its entry in ``/history``."""
        status, answer = self.post("/prompt", {"prompt": prompt, **extra})
        if status != 200:
            raise AssertionError(f"/prompt answered {status}: {json.dumps(answer)[:4000]}")
        prompt_id = answer["prompt_id"]
        limit = time.monotonic() + timeout
        while time.monotonic() < limit:
            entry = self.get(f"/history/{prompt_id}").get(prompt_id)
            if entry is not None:
                return dict(entry)
            if self.process.poll() is not None:
                raise AssertionError(f"ComfyUI ended in mid-run:\n{self.log_text()[-4000:]}")
            time.sleep(0.1)
        raise AssertionError(f"prompt {prompt_id} did not end in {timeout} s:\n{self.log_text()[-4000:]}")


def link_pack(base_dir: Path) -> None:
    """Puts this repository into ``base_dir/custom_nodes/copyscope`` as a link."""
    link = base_dir / "custom_nodes" / "copyscope"
    if link.is_symlink() or link.exists():
        return
    try:
        link.symlink_to(REPOSITORY, target_is_directory=True)
    except OSError:  # Windows without the right to make symlinks: a junction needs none
        if sys.platform != "win32":
            raise
        import _winapi

        _winapi.CreateJunction(str(REPOSITORY), str(link))


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    posix = os.name == "posix"
    for name, patience in (("SIGTERM", 10), ("SIGKILL", 10)):
        try:
            if posix:
                os.killpg(process.pid, getattr(signal, name))
            elif name == "SIGTERM":
                process.terminate()
            else:
                process.kill()
            process.wait(patience)
            return
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            break
    process.wait(10)


@contextlib.contextmanager
def start_server(
    base_dir: Path,
    extra_args: Sequence[str] = (),
    pack: bool = True,
    *,
    comfyui: Path | None = None,
    timeout: float = 180,
) -> Iterator[Server]:
    """Starts ComfyUI on the CPU and a free port with ``base_dir`` as its base directory; always stops it.

    ``base_dir`` gets the folders that ComfyUI expects and, with ``pack``, this repository among its custom nodes.
    The database goes there too, so that servers side by side do not wait for each other. The log is
    ``base_dir/comfyui.log``. Skips the test where no ComfyUI is found.
    """
    path = comfyui or require_host()
    base_dir = base_dir.resolve()
    for name in BASE_FOLDERS:
        (base_dir / name).mkdir(parents=True, exist_ok=True)
    if pack:
        link_pack(base_dir)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = base_dir / "comfyui.log"
    command = [
        str(host_python(path)),
        str(path / "main.py"),
        *("--cpu", "--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(base_dir)),
        *("--database-url", f"sqlite:///{(base_dir / 'user' / 'comfyui.db').as_posix()}"),
        *("--disable-auto-launch", *front_end_args(), *cache_args(extra_args), *extra_args),
    ]
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    env["PYTHONUNBUFFERED"] = "1"
    env["PYTHONUTF8"] = "1"
    with log.open("ab") as sink:
        process = subprocess.Popen(
            command, cwd=path, env=env, stdout=sink, stderr=subprocess.STDOUT, start_new_session=os.name == "posix"
        )
    server = Server(url, port, base_dir, log, process)
    try:
        limit = time.monotonic() + timeout
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"ComfyUI ended with code {process.returncode}:\n{server.log_text()[-4000:]}")
            with contextlib.suppress(OSError, ValueError):
                server.get("/system_stats", timeout=5)
                break
            if time.monotonic() > limit:
                raise RuntimeError(f"ComfyUI did not answer in {timeout} s:\n{server.log_text()[-4000:]}")
            time.sleep(0.25)
        yield server
    finally:
        _stop(process)
