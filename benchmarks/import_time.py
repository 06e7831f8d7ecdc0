"""What the pack adds to ComfyUI's start: processor time of its import where ComfyUI's own modules are loaded already.

    python -m benchmarks.import_time [--comfyui ~/comfy/ComfyUI] [--rounds 3]

Runs ComfyUI's own Python; first checks that the pack registers its nodes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
from pathlib import Path

from benchmarks.timing import REPOSITORY, heading
from tests.hostutil import host_python

SCRIPT = """
import asyncio, importlib.util, sys, time
sys.argv = ["main.py", "--cpu"]
sys.path.insert(0, ".")
import utils.install_util
import comfy.options
comfy.options.enable_args_parsing()
import torch, nodes, execution, server, comfy_api.latest
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
server.PromptServer(loop)
start, used = time.perf_counter(), time.process_time()
spec = importlib.util.spec_from_file_location("copyscope_pack", {init!r}, submodule_search_locations=[{folder!r}])
module = importlib.util.module_from_spec(spec)
sys.modules["copyscope_pack"] = module
spec.loader.exec_module(module)
count = len(loop.run_until_complete(loop.run_until_complete(module.comfy_entrypoint()).get_node_list()))
print("TIMES", time.perf_counter() - start, time.process_time() - used, count)
"""


def main() -> None:
    """Check, time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    heading()
    script = SCRIPT.format(init=str(REPOSITORY / "__init__.py"), folder=str(REPOSITORY))
    rows = []
    for _ in range(options.rounds):
        command = [str(host_python(options.comfyui)), "-c", script]
        done = subprocess.run(command, cwd=options.comfyui, capture_output=True, text=True, check=True)
        line = next(line for line in done.stdout.splitlines() if line.startswith("TIMES"))
        rows.append([float(word) for word in line.split()[1:]])
    clock, processor, count = (statistics.median(column) for column in zip(*rows, strict=True))
    assert count > 5
    print(f"{count:.0f} nodes registered: {clock:.2f} s, processor {processor:.2f} s")


if __name__ == "__main__":
    main()
