"""How long a server has nothing to do in an audit: with the next prompt queued while one runs, and without.

    python -m benchmarks.idle [--seconds 0.05] [--size 512] [--seeds 16] [--rounds 3] [--network]

A stand-in for a ComfyUI on a GPU, in a process of its own, "samples" for so many seconds and gives PNG files of that
size. The audit is the whole one, to the report: two players, four coalitions. Idle is the time from the first prompt to
the end of the last in which no prompt runs. Features are mean colours, which cost nothing, or, with ``--network``,
those of Inception on this machine's CPU. Checks that both ways make the same images. Needs the extra ``dev``.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import multiprocessing
import statistics
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

import numpy as np

from benchmarks.timing import alternate, heading
from copyscope_core.auditing.audit import Audit
from copyscope_core.auditing.feature_queue import FeatureQueue
from copyscope_core.auditing.runner import Server
from copyscope_core.comfyui.client import ComfyClient
from copyscope_core.demo.demo import REFERENCE
from copyscope_core.evaluation.measure import Works
from copyscope_core.features.extractor import FeatureExtractor, InceptionExtractor
from copyscope_core.files.folders import read_folder
from copyscope_core.planning.plan import make_plan
from copyscope_core.settings import AuditSettings
from copyscope_core.workflow.node_info import NodeCatalog
from tests.example_workflows import HASHES, with_lora
from tests.fakecomfy import fake_comfy
from tests.images_on_disk import MeanColours

Pixels = np.ndarray


def serve(pipe: Connection, seconds: float, size: int) -> None:
    """The stand-in, in its process: sends its address, then for every message when it was busy since the last."""
    with fake_comfy() as server:
        server.hashes = dict(HASHES)
        server.device, server.seconds = "cuda", seconds
        server.paint = functools.cache(lambda digest, number: picture(digest, size))
        pipe.send(server.url)
        while pipe.recv():
            pipe.send(list(server.busy))
            server.busy.clear()


def picture(digest: str, size: int) -> Pixels:
    """A smooth picture that depends on the digest alone."""
    rng = np.random.default_rng(int(digest[:8], 16))
    waves = np.sin(np.outer(rng.random(size), np.linspace(0, 9, size)))[..., None] * rng.random(3)
    return np.asarray(127 + 100 * waves, dtype=np.uint8)


def idle_share(busy: Sequence[tuple[float, float]]) -> float:
    """Of the time from the first begin to the last end."""
    spans = sorted(busy)
    return 1 - sum(end - begin for begin, end in spans) / (spans[-1][1] - spans[0][0])


async def audit(url: str, folder: Path, seeds: int, extractor: FeatureExtractor) -> dict[int, list[str]]:
    """A whole audit; mask → pixel hashes."""
    async with ComfyClient(url) as client:
        catalog = NodeCatalog(await client.object_info(), live=True)
        plan = make_plan(with_lora(), catalog, AuditSettings(seeds=seeds))
        run = Audit(plan, [Server(client)], folder, Works(read_folder(REFERENCE)), extractor, canaries=False)
        report = (await run.run()).report
    return {item.mask: [image.pixel_sha256 for image in item.image_files] for item in report.coalitions}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", action="store_true")
    options = parser.parse_args()
    heading("aiohttp")
    extractor = InceptionExtractor() if options.network else MeanColours()
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(target=serve, args=(other, options.seconds, options.size), daemon=True)
    process.start()
    url = pipe.recv()
    shares: dict[bool, list[float]] = {False: [], True: []}

    def run(ahead: bool) -> dict[int, list[str]]:
        always = FeatureQueue.leaves_server_free
        allowed = always if ahead else lambda *_: False
        with tempfile.TemporaryDirectory() as name, mock.patch.object(FeatureQueue, "leaves_server_free", allowed):
            images = asyncio.run(audit(url, Path(name), options.seeds, extractor))
        pipe.send(True)
        shares[ahead].append(idle_share(pipe.recv()))
        return images

    run(ahead=True)  # paints the pictures, loads the network
    shares[True].clear()
    ways = {"one prompt at a time": False, "the next one queued": True}
    timed = alternate({name: functools.partial(run, ahead) for name, ahead in ways.items()}, options.rounds)
    pipe.send(False)
    process.join()
    assert len({str(value.result) for value in timed.values()}) == 1, "the images differ"
    print(
        f"{4 * options.seeds + 1} prompts of {options.seconds * 1000:.0f} ms, images of {options.size}×{options.size}"
    )
    for name, ahead in ways.items():
        print(f"  {name:22s} {statistics.median(shares[ahead]):6.1%} idle, {timed[name].seconds:6.2f} s in all")


if __name__ == "__main__":
    main()
