"""Starting and stopping a ComfyUI: stand-ins for what goes wrong, and a real one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
from hostutil import REPOSITORY, require_host

from copyscope_core.comfyui.host import ManagedHost, comfyui_version, find_python
from copyscope_core.errors import HostError

SERVER = """
import http.server, json, subprocess, sys
port = int(sys.argv[sys.argv.index("--port") + 1])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, "argv", json.dumps(sys.argv), flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"system": {"comfyui_version": "0.8.0"}}')
    def log_message(self, *args):
        pass
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def fake(folder: Path, main: str, version: str = "0.8.0") -> Path:
    """A folder that looks like a ComfyUI and runs ``main``."""
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").write_text(textwrap.dedent(main), encoding="utf-8")
    (folder / "comfyui_version.py").write_text(f'__version__ = "{version}"\n', encoding="utf-8")
    return folder


def gone(pid: int, seconds: float = 10) -> bool:
    """Whether a process ends (or is a zombie of somebody else's) within the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_a_server_that_cannot_start_shows_its_last_lines(tmp_path: Path) -> None:
    comfyui = fake(tmp_path / "Comfy UI", "print('first\\n' * 50)\nraise SystemExit('no such module: 模型')")
    with pytest.raises(HostError, match=r"ended with code 1 while it started(?s:.*)模型") as caught:
        ManagedHost(comfyui, ["--cpu"]).start()
    assert str(caught.value).count("\n") <= 13


def test_a_server_that_never_answers_is_timed_out_and_stopped(tmp_path: Path) -> None:
    comfyui = fake(tmp_path / "c", "import os, time\nprint('pid', os.getpid(), flush=True)\ntime.sleep(600)")
    log = tmp_path / "log" / "comfyui.log"
    with pytest.raises(HostError, match="did not answer within 1 s"):
        ManagedHost(comfyui, ["--cpu"], log, start_timeout=1).start()
    assert gone(int(log.read_text(encoding="utf-8").split()[1]))


def test_stop_ends_the_children_too_and_start_works_again(tmp_path: Path) -> None:
    comfyui = fake(tmp_path / "c", SERVER)
    log = tmp_path / "comfyui.log"
    host = ManagedHost(comfyui, ["--cpu", "--deterministic"], log, tmp_path / "base dir")
    with host:
        first = host.url
        words = log.read_text(encoding="utf-8").split(maxsplit=3)
        argv = json.loads(words[3])
        assert argv[0] == str(comfyui / "main.py")
        assert argv[argv.index("--base-directory") + 1] == str(tmp_path / "base dir")
        assert argv[-2:] == ["--cpu", "--deterministic"]
        assert Path(argv[argv.index("--temp-directory") + 1]).is_dir()
        host.start()
        assert host.alive
        assert host.url == first
        pid = host.pid
    assert not host.alive
    assert pid is not None
    assert gone(pid)
    assert gone(int(words[1]))
    assert not Path(argv[argv.index("--temp-directory") + 1]).exists()


def test_the_server_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    comfyui = fake(tmp_path / "c", SERVER)
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from copyscope_core.comfyui.host import ManagedHost\n"
        "host = ManagedHost(Path(sys.argv[2]), ['--cpu']); host.start()\n"
        "print(host.pid, flush=True); time.sleep(600)"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", script, str(REPOSITORY), str(comfyui)], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    server = int(starter.stdout.readline())
    children = psutil.Process(server).children()
    assert psutil.pid_exists(server)
    starter.kill()
    starter.wait()
    starter.stdout.close()
    assert gone(server)
    for child in children if os.name == "posix" else []:
        assert gone(child.pid)


def test_cpu_is_added_where_torch_has_no_accelerator(tmp_path: Path) -> None:
    comfyui = fake(tmp_path / "c", SERVER)
    torch = tmp_path / "c" / "torch"  # -c puts the working directory first on the path
    torch.mkdir()
    text = "class {0}:\n    @staticmethod\n    def is_available(): return {1}\n"
    for cuda, expected in ((False, True), (True, False)):
        backends = "class backends:\n    class mps:\n        @staticmethod\n        def is_available(): return False\n"
        (torch / "__init__.py").write_text(text.format("cuda", cuda) + backends, encoding="utf-8")
        host = ManagedHost(comfyui, [], tmp_path / f"{cuda}.log")
        with host:
            assert ('"--cpu"' in host.log_tail()) is expected
    (torch / "__init__.py").write_text("raise ImportError('broken torch')", encoding="utf-8")
    with pytest.raises(HostError, match=r"cannot import torch .*broken torch"):
        ManagedHost(comfyui, []).start()


@pytest.mark.parametrize(
    ("version", "message"),
    [("0.3.63", "0.3.63, which is too old"), ("0.1", "too old"), ("soon", "does not say which ComfyUI")],
)
def test_an_old_or_unknown_version_is_refused(tmp_path: Path, version: str, message: str) -> None:
    with pytest.raises(HostError, match=message):
        ManagedHost(fake(tmp_path / "c", SERVER, version)).start()


def test_a_folder_that_is_no_comfyui(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="not a ComfyUI folder"):
        comfyui_version(tmp_path)
    with pytest.raises(HostError, match="not a ComfyUI folder"):
        comfyui_version(tmp_path / "none")
    with pytest.raises(HostError, match="cannot be started"):
        ManagedHost(fake(tmp_path / "c", SERVER), ["--cpu"], python=tmp_path / "no-python").start()


def test_the_hosts_own_python_is_preferred(tmp_path: Path) -> None:
    comfyui = tmp_path / "portable" / "ComfyUI"
    assert find_python(comfyui) == Path(sys.executable)
    for place in ("../python_embeded/python.exe", "venv/Scripts/python.exe", "venv/bin/python", ".venv/bin/python"):
        python = (comfyui / place).absolute()
        python = Path(os.path.normpath(python))
        python.parent.mkdir(parents=True)
        python.touch()
        assert find_python(comfyui) == python


@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
def test_a_real_comfyui_starts_answers_and_stops(tmp_path: Path) -> None:
    comfyui = require_host()
    host = ManagedHost(comfyui, log_path=tmp_path / "comfyui.log", base_directory=tmp_path / "base")
    with host:
        with urllib.request.urlopen(f"{host.url}/system_stats", timeout=10) as answer:
            stats = json.load(answer)
        assert stats["system"]["comfyui_version"] == comfyui_version(comfyui)
        assert host.pid is not None
        os.kill(host.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while host.alive:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "Starting server" in host.log_tail(40)
