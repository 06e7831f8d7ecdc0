"""Features under ComfyUI's model management where its device has little memory left: nothing is lost."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from hostutil import REPOSITORY, host_python, require_host


def test_a_full_device_takes_smaller_batches_and_at_last_the_cpu_computes() -> None:
    """ComfyUI's own patcher and loading; the device is pretended to be full."""
    host = require_host()
    script = Path(__file__).parent / "memory_in_process.py"
    words = [str(host_python(host)), str(script), str(host), str(REPOSITORY)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.strip().rpartition("\n")[2])
    assert {most: calls for most, (calls, _) in found.items()} == {"8": [5], "2": [5, 2, 2, 1], "0": [5, 2, 1]}
    assert all(difference < 1e-4 for _, difference in found.values())
    assert "the CPU takes over" in done.stderr
