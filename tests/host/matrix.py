"""The host tests on any number of ComfyUI folders, one after another.

    python -m tests.host.matrix ~/comfy/ComfyUI-0.3.64 ~/comfy/ComfyUI

A host that is too old, or is none, says so. The exit code is 0 if the tests passed on every host.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from copyscope_core.comfyui.host import comfyui_version
from copyscope_core.errors import HostError

TESTS = Path(__file__).resolve().parent


def run_host(comfyui: Path, arguments: Sequence[str] = ()) -> tuple[bool, str]:
    """Whether the tests passed on a host, and a sentence on it."""
    try:
        version = comfyui_version(comfyui)
    except HostError as error:
        return False, str(error)
    environment = {**os.environ, "COMFYUI_PATH": str(comfyui)}
    command = [sys.executable, "-m", "pytest", "-q", str(TESTS), *arguments]
    code = subprocess.run(command, env=environment, cwd=TESTS.parents[1], check=False).returncode
    return (
        code == 0,
        f"ComfyUI {version} in {comfyui}: {'passed' if code == 0 else f'FAILED (pytest ended with {code})'}",
    )


def main(words: Sequence[str]) -> int:
    """Run the tests on each host and print a line for each."""
    hosts = [Path(word).expanduser().resolve() for word in words if not word.startswith("-")]
    if not hosts:
        print(__doc__)
        return 2
    results = [run_host(host, [word for word in words if word.startswith("-")]) for host in hosts]
    print("\n" + "\n".join(sentence for _, sentence in results))
    return 0 if all(passed for passed, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
