"""What ComfyUI needs to take up and walk through the expanded graph of an audit in a graph, as a share of that audit.

    pip install py-spy
    python -m benchmarks.expansion [--players 8] [--steps 20] [--comfyui ~/comfy/ComfyUI]

Miniature models, images of 64×64, one seed: sampling is far cheaper than with real models, so a real audit's share is
smaller still. py-spy looks at the server's prompt thread 20 times a second of the clock. Needs the extra ``dev``.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.audit import copyscope_nodes, prepare_base
from benchmarks.memory import BASELINE, IMAGE, make_models, workflow
from benchmarks.timing import heading
from copyscope_core.comfyui.client import ComfyClient
from copyscope_core.comfyui.host import ManagedHost
from copyscope_core.settings import AuditSettings

RATE = 20
NODE, WALK, EXPAND = "nodes", "ComfyUI's walk through the graph", "CopyScope's plan and expansion"


def kind_of(stack: str) -> str:
    """What the prompt thread is at, by its frames, outermost first: ``Class.function (file:line);…``."""
    if "nodes/enumerator.py" in stack:
        return EXPAND
    nodes = ("process_inputs (execution.py", "async_wrapper (execution.py", " (selectors.py")  # at, or waiting for, one
    return NODE if any(frame in stack for frame in nodes) else WALK


def count_samples(file: Path) -> Counter[str]:
    """Samples of the prompt thread by kind, from py-spy's raw output."""
    found: Counter[str] = Counter()
    for line in file.read_text(encoding="utf-8").splitlines():
        stack, _, number = line.rpartition(" ")
        if "PromptExecutor.execute " in stack:
            found[kind_of(stack)] += int(number)
    return found


async def run(host: ManagedHost, players: int, steps: int) -> float:
    """The audit as one prompt; its seconds on the clock."""
    settings = AuditSettings(seeds=1, baseline_checkpoint=BASELINE, max_coalitions=2**players)
    graph = {name: item for name, item in workflow(players - 2, steps).items() if name != "save"}
    async with ComfyClient(host.url) as client:
        start = time.perf_counter()
        await client.run({**graph, **copyscope_nodes(IMAGE, settings)})
        return time.perf_counter() - start


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--players", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    heading("py-spy")
    with tempfile.TemporaryDirectory(prefix="copyscope-bench-") as name:
        folder = Path(name)
        base = prepare_base(folder / "base", folder / "models", pack=True)
        make_models(folder / "models", options.players - 2)
        with ManagedHost(options.comfyui, (), base / "comfyui.log", base) as host:
            words = ["py-spy", "record", "--pid", str(host.pid), "--format", "raw", "--rate", str(RATE), "--idle"]
            with subprocess.Popen([*words, "--function", "--output", str(folder / "stacks")]) as spy:
                seconds = asyncio.run(run(host, options.players, options.steps))
                spy.send_signal(signal.SIGINT)
        found = count_samples(folder / "stacks")
    print(f"{2**options.players} coalitions, {options.steps} steps an image, {seconds:.0f} s, {found.total()} samples")
    for kind in (NODE, WALK, EXPAND):
        print(f"  {kind:36s} {100 * found[kind] / found.total():5.1f}%, {seconds * found[kind] / found.total():.1f} s")


if __name__ == "__main__":
    main()
