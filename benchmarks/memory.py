"""Memory of an audit with 256 coalitions on one ComfyUI, and how many images are held at once.

    python -m benchmarks.memory [--players 8] [--comfyui ~/comfy/ComfyUI]

Miniature models, images of 64×64, one seed, Inception features. Prints the resident memory of the client and of the
server, the most there was since the line before, after 16, 64 and all coalitions. Needs the extra ``dev``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import psutil

from benchmarks.audit import PLAIN, node, prepare_base
from benchmarks.timing import heading
from copyscope_core.auditing.audit import Audit
from copyscope_core.auditing.runner import Server
from copyscope_core.comfyui.client import ComfyClient
from copyscope_core.comfyui.host import ManagedHost
from copyscope_core.comfyui.model_files import LocalModels
from copyscope_core.demo.demo import REFERENCE
from copyscope_core.demo.models import make_model, make_model_folder
from copyscope_core.evaluation.measure import Works
from copyscope_core.features.extractor import InceptionExtractor
from copyscope_core.files.folders import read_folder
from copyscope_core.files.hashes import HashCache
from copyscope_core.files.images import ImageFile
from copyscope_core.observer import Quiet
from copyscope_core.planning.plan import make_plan
from copyscope_core.settings import AuditSettings
from copyscope_core.workflow.graph import parse_graph
from copyscope_core.workflow.node_info import NodeCatalog

CHECKPOINT, BASELINE = "copyscope-mini-sd15.safetensors", "copyscope-mini-sd15-baseline.safetensors"
IMAGE = "decode"
MARKS = (16, 64)
PAUSE = 0.2


def workflow(loras: int, steps: int = 2) -> dict[str, Any]:
    """A checkpoint, LoRAs, a prompt, a few steps at 64×64."""
    graph = {"checkpoint": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)}
    last = "checkpoint"
    for index in range(loras):
        graph[f"lora-{index}"] = node(
            "LoraLoader", model=[last, 0], clip=[last, 1], lora_name=f"{index}.safetensors", strength_model=0.5,
            strength_clip=0.5,
        )  # fmt: skip
        last = f"lora-{index}"
    return {
        **graph,
        "positive": node("CLIPTextEncode", text="a wave", clip=[last, 1]),
        "negative": node("CLIPTextEncode", text="", clip=["checkpoint", 1]),
        "latent": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "sampler": node(
            "KSampler", model=[last, 0], positive=["positive", 0], negative=["negative", 0],
            latent_image=["latent", 0], seed=5, steps=steps, cfg=1.0, sampler_name="euler", scheduler="normal",
            denoise=1.0,
        ),
        IMAGE: node("VAEDecode", samples=["sampler", 0], vae=["checkpoint", 2]),
        "save": node("SaveImage", images=[IMAGE, 0], filename_prefix="own"),
    }  # fmt: skip


def make_models(models: Path, loras: int) -> None:
    """The miniature SD 1.5 and so many LoRAs."""
    make_model_folder(models, ["sd15"])
    for index in range(loras):
        make_model("sd15-lora", models / "loras" / f"{index}.safetensors", seed=50 + index, strength=0.3)


class Watch(Quiet):
    """Looks at the memory of this process and of the server all the time, and prints the most of it at marks."""

    def __init__(self, server: int) -> None:
        self._processes = psutil.Process(os.getpid()), psutil.Process(server)
        self._running = False
        self._ended = threading.Event()
        self._most = [0, 0, 0]
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()

    def stage(self, name: str, total: int) -> None:
        self.mark(f"before: {name.lower()}")
        self._running = name == "Running coalitions"

    def step(self, done: int, text: str = "") -> None:
        if self._running and done in MARKS:
            self.mark(f"{done} coalitions")

    def mark(self, what: str) -> None:
        """Print the most since the last mark."""
        self._look()
        client, server, images = self._most
        self._most = [0, 0, 0]
        print(f"  {what:32s} client {client / 2**20:7.1f} MiB, server {server / 2**20:7.1f} MiB, {images} images held")

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._ended.wait(PAUSE):
            self._look()

    def _look(self) -> None:
        images = sum(type(item) is ImageFile for item in gc.get_objects())
        now = [*(process.memory_info().rss for process in self._processes), images]
        self._most = [max(pair) for pair in zip(self._most, now, strict=True)]


async def audit(host: ManagedHost, watch: Watch, graph: dict[str, Any], settings: AuditSettings, folder: Path) -> None:
    """``copyscope audit``."""
    assert host.base_directory is not None
    local = LocalModels(host.comfyui, host.base_directory, HashCache(folder / "hashes.json"), PLAIN)
    async with ComfyClient(host.url) as client:
        plan = make_plan(parse_graph(graph), NodeCatalog(await client.object_info(), live=True), settings)
        reference = read_folder(REFERENCE)
        servers = [Server(client, host, local)]
        result = await Audit(
            plan, servers, folder / "run", Works(reference), InceptionExtractor(), observer=watch
        ).run()
    assert len(result.report.coalitions) == 2 ** len(plan.players) == settings.max_coalitions
    watch.mark("report written")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--players", type=int, default=8)
    options = parser.parse_args()
    heading("psutil")
    loras = options.players - 2
    settings = AuditSettings(seeds=1, baseline_checkpoint=BASELINE, max_coalitions=2**options.players)
    with tempfile.TemporaryDirectory(prefix="copyscope-bench-") as name:
        folder = Path(name)
        base = prepare_base(folder / "base", folder / "models", pack=False)
        make_models(folder / "models", loras)
        with ManagedHost(options.comfyui, PLAIN, base / "comfyui.log", base) as host:
            assert host.pid is not None
            watch = Watch(host.pid)
            asyncio.run(audit(host, watch, workflow(loras), settings, folder))
            watch.end()


if __name__ == "__main__":
    main()
