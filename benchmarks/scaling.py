"""How an audit grows with GPUs: what CopyScope adds to an image, measured, and audits on a clock that jumps.

    python -m benchmarks.scaling [--comfyui ~/comfy/ComfyUI]
    python -m benchmarks.scaling --driver 0.02 --node 0.1 --start 20 --end 5     # only the simulation

First on this machine: a prompt that only makes an image (client and server), storing it, its features, a task of Ray's,
the start of an actor with its ComfyUI, and the driver's own work, in an audit whose images cost nothing. Then an
audit of 8 players and 8 seeds (2,048 images), and a batch of such audits, on 1 to 1,000 GPUs, with the scheduler that
audits use. What is simulated: a sampler's seconds an image, the loading of models where a GPU begins another coalition,
the node's own work, the driver's, which is serial, and GPUs that die and do not come back. Needs the extra ``dev``.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import itertools
import random
import selectors
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.timing import heading
from copyscope_core.auditing.audit import Audit
from copyscope_core.auditing.context import ServerContext
from copyscope_core.auditing.fleet import distribute
from copyscope_core.comfyui.client import ComfyClient
from copyscope_core.comfyui.errors import ServerLostError
from copyscope_core.comfyui.host import ManagedHost
from copyscope_core.evaluation.measure import Works
from copyscope_core.features.extractor import FeatureExtractor, Features, InceptionExtractor
from copyscope_core.files.images import image_of
from copyscope_core.game.coalitions import execution_order
from copyscope_core.observer import Observer, Quiet
from copyscope_core.planning.plan import Plan, make_plan
from copyscope_core.planning.steps import Step
from copyscope_core.settings import AuditSettings
from copyscope_core.store.entry import Entry, StoredImage
from copyscope_core.store.keys import RunContext
from copyscope_core.store.run_store import RunStore
from copyscope_core.store.storage import ImageStorage
from copyscope_core.workflow.graph import parse_graph
from copyscope_core.workflow.node_info import bundled_catalog

PLAYERS, SEEDS, SIDE = 8, 8, 1024
ROUNDS = 10
MACHINES = 32
KEYS = (f"{number:064x}" for number in itertools.count(1))


@dataclass(frozen=True)
class Costs:
    """Seconds.

    Attributes:
        driver: of the driver's serial work, a coalition and seed.
        node: of what a node adds to the sampler, a coalition and seed.
        start: of an actor and its ComfyUI.
        end: of the numbers and the report at an audit's end, while no GPU has anything to do.
    """

    driver: float
    node: float
    start: float
    end: float


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    words.add_argument("--driver", type=float)
    words.add_argument("--node", type=float)
    words.add_argument("--start", type=float)
    words.add_argument("--end", type=float)
    words.add_argument("--load", type=float, default=5.0, help="seconds in which another coalition's models are loaded")
    words.add_argument("--life", type=float, default=1000.0, help="mean hours after which a GPU dies")
    words.add_argument("--audits", type=int, default=3, help="in a batch")
    given = words.parse_args()
    heading()
    known = (given.driver, given.node, given.start, given.end)
    costs = measure(given.comfyui.expanduser()) if None in known else Costs(*known)
    for seconds in (2.0, 20.0):
        simulate(costs, seconds, given.load, given.life, given.audits)


def measure(comfyui: Path) -> Costs:
    """Time every part on this machine."""
    with tempfile.TemporaryDirectory(prefix="copyscope-bench-") as name:
        folder = Path(name)
        png = noise_png()
        started = time.perf_counter()
        with ManagedHost(comfyui, ["--cpu", "--disable-all-custom-nodes"], base_directory=folder / "base") as host:
            comfy = time.perf_counter() - started
            client, prompt = asyncio.run(client_cost(host.url))
        store = RunStore(folder / "run")
        storing = timed(lambda: store.write(next(KEYS), [png], {}))
        image = image_of(png, folder / "image.png")
        extractor = InceptionExtractor()
        extractor([image.pixels])
        extracting = timed(lambda: extractor([image.pixels]))
        driver, end = driver_cost(folder / "driver", png, extractor)
        task, actor = ray_cost()
    for what, seconds in (
        (f"a prompt of one empty {SIDE}x{SIDE} image: the server's own time", prompt),
        ("… and what the client adds: queueing, the news of its end, the image", client),
        (f"storing a {len(png) / 1e6:.1f} MB PNG: decoded, hashed, flushed to the disk", storing),
        ("its features, Inception on the CPU", extracting),
        ("start of a ComfyUI", comfy),
        ("start of a Ray actor", actor),
        ("a task of it, which brings features back", task),
        ("the driver, a coalition and seed: whose turn, entry and features kept", driver),
        (f"the driver at the end: numbers and report of 2^{PLAYERS} coalitions", end),
    ):
        print(f"{what:72} {1000 * seconds:10,.1f} ms")
    return Costs(driver + task, client + storing, actor + comfy, end)


def timed(work: Callable[[], Any]) -> float:
    """Median seconds."""
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def noise_png(side: int = SIDE) -> bytes:
    """A PNG that is as large as a photograph's: noise of 4 bits a channel."""
    pixels = np.random.default_rng(1).integers(0, 16, (side, side, 3), dtype=np.uint8) * 16
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


async def client_cost(url: str) -> tuple[float, float]:
    """Median seconds that the client adds to a prompt, and that the server says the prompt took."""
    client_seconds, prompt_seconds = [], []
    async with ComfyClient(url) as client:
        for number in range(ROUNDS + 1):
            size = {"width": SIDE, "height": SIDE, "batch_size": 1, "color": number}
            prompt = {
                "1": {"class_type": "EmptyImage", "inputs": size},
                "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
            }
            at: dict[str, float] = {}
            started = time.perf_counter()
            done = await client.run(prompt, lambda kind, _, at=at: at.setdefault(kind, time.perf_counter()))
            at.setdefault("execution_success", time.perf_counter())
            image = done["outputs"]["2"]["images"][0]
            await client.fetch_image(image["filename"], image["subfolder"], image["type"])
            ended = time.perf_counter()
            server = at["execution_success"] - at.get("execution_start", started)
            if number:  # the first one opens the connection
                prompt_seconds.append(server)
                client_seconds.append(ended - started - server)
    return statistics.median(client_seconds), statistics.median(prompt_seconds)


class _Actor:
    async def answer(self, meta: dict[str, Any]) -> np.ndarray[Any, Any]:
        return np.zeros(2048, dtype=np.float32)


def ray_cost() -> tuple[float, float]:
    """Seconds of a task that brings features back, and of an actor's start."""
    import ray

    ray.init(address="local", include_dashboard=False, num_cpus=1, object_store_memory=100_000_000, log_to_driver=False)
    try:
        started = time.perf_counter()
        actor = ray.remote(_Actor).remote()
        ray.get(actor.answer.remote({}))
        start = time.perf_counter() - started
        meta = {"members": ["player"] * PLAYERS, "offset": 0}
        return timed(lambda: ray.get(actor.answer.remote(meta))), start
    finally:
        ray.shutdown()


class _Everywhere(ImageStorage):
    """A storage that has one image for every name."""

    png = b""

    def put(self, key: str, images: Mapping[str, bytes]) -> None:
        """Nothing: it is there."""

    def get(self, key: str, name: str) -> bytes:
        return self.png

    def names(self, key: str) -> set[str]:
        return {"0000.png"}

    def remove(self, key: str) -> None:
        """Nothing: it stays."""


@dataclass(frozen=True)
class _Instant:
    """A machine, and what runs on it, that has every image and its features at once."""

    name: str
    png_sha256: str

    async def object_info(self) -> dict[str, Any]:
        return {}

    async def context(self, plan: Plan, observer: Observer) -> ServerContext:
        words = ("comfyui", "comfyui_pytorch", "comfyui_os", "device")
        environment = {**dict.fromkeys(words, "none"), "launch_flags": [], "node_packs": {}, "embeddings": {}}
        return ServerContext(RunContext(environment, {}, "token"), environment, {}, {})

    def runner(self, plan: Plan, extractor: FeatureExtractor, observer: Observer) -> _Instant:
        return self

    def expect(self, step: Step | None) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def make(self, store: RunStore, step: Step, key: str, meta: Mapping[str, Any]) -> Entry:
        pixels = hashlib.sha256(f"{step.mask} {step.offset}".encode()).hexdigest()
        image = StoredImage("0000.png", self.png_sha256, pixels, SIDE, SIDE, ())
        return await asyncio.to_thread(store.keep, Entry(key, (image,), {**meta, "seconds": 0.0}))

    async def features(self, entry: Entry) -> dict[str, Features]:
        digest = entry.images[0].pixel_sha256
        return {digest: np.random.default_rng(int(digest[:8], 16)).random(2048, dtype=np.float32)}


class _Stages(Quiet):
    """When each stage began."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    def stage(self, name: str, total: int) -> None:
        self.at[name] = time.perf_counter()


def driver_cost(folder: Path, png: bytes, extractor: InceptionExtractor) -> tuple[float, float]:
    """Seconds of a whole audit's driver where images cost nothing: for a coalition and seed, and at the end."""
    graph: dict[str, Any] = {"0": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "c.safetensors"}}}
    for number in range(1, PLAYERS):
        graph[str(number)] = {
            "class_type": "LoraLoader",
            "inputs": {"model": [str(number - 1), 0], "clip": [str(number - 1), 1], "strength_model": 1.0,
                       "strength_clip": 1.0, "lora_name": f"{number}.safetensors"},
        }  # fmt: skip
    last = str(PLAYERS - 1)
    for name, text in (("yes", "a wave, by hokusai"), ("no", "blurry")):
        graph[name] = {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": [last, 1]}}
    graph["latent"] = {"class_type": "EmptyLatentImage", "inputs": {"width": SIDE, "height": SIDE, "batch_size": 1}}
    graph["sampler"] = {
        "class_type": "KSampler",
        "inputs": {"model": [last, 0], "positive": ["yes", 0], "negative": ["no", 0], "latent_image": ["latent", 0],
                   "seed": 1, "steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0},
    }  # fmt: skip
    graph["decode"] = {"class_type": "VAEDecode", "inputs": {"samples": ["sampler", 0], "vae": ["0", 2]}}
    graph["save"] = {"class_type": "SaveImage", "inputs": {"images": ["decode", 0], "filename_prefix": "x"}}
    plan = make_plan(parse_graph(graph), bundled_catalog(), AuditSettings(seeds=SEEDS))
    assert len(plan.players) == PLAYERS
    digest = hashlib.sha256(png).hexdigest()
    reference = image_of(png, Path("reference.png"))
    stages = _Stages()
    audit = Audit(
        plan, [_Instant(f"GPU {n}", digest) for n in range(MACHINES)], folder, Works([reference]), extractor, stages
    )
    audit.storage = _Everywhere((folder / "storage").as_uri())
    audit.storage.png = png
    asyncio.run(audit.run())
    ended = time.perf_counter()
    running, measuring = stages.at["Running coalitions"], stages.at["Measuring"]
    return (measuring - running) / (SEEDS << PLAYERS), ended - measuring


class _Jump(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Waits no time: the clock jumps to the next timer."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("Everything waits, and nothing is left to happen.")
        self.now += max(timeout, 0.0)
        return list(super().select(0))


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a clock of its own."""

    def __init__(self) -> None:
        self.jump = _Jump()
        super().__init__(self.jump)

    def time(self) -> float:
        return self.jump.now


@dataclass
class Gpu:
    """A GPU that dies at a moment of the virtual clock."""

    name: str
    dies: float
    coalition: int = -1
    busy: float = 0.0


@dataclass
class Fleet:
    """Audits on simulated GPUs."""

    costs: Costs
    sampler: float
    load: float
    gpus: list[Gpu]
    driver: float = 0.0
    following: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    serial: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def audit(self) -> None:
        """All coalitions of an audit, and its end."""
        order = execution_order(range(1 << PLAYERS), PLAYERS)
        steps = [Step(mask, offset) for mask in order for offset in range(SEEDS)]
        self.gpus = await distribute(steps, self.gpus, self.work, Quiet())
        await asyncio.gather(*self.following.values())
        await asyncio.sleep(self.costs.end)

    async def work(self, gpu: Gpu, step: Step) -> None:
        """One step: the node's part, then the driver's, for which the GPU waits only when it has its next image."""
        now = asyncio.get_running_loop().time()
        needed = self.sampler + self.costs.node + (self.load if gpu.coalition != step.mask else 0.0)
        if now + needed > gpu.dies:
            await asyncio.sleep(max(gpu.dies - now, 0.0))
            raise ServerLostError(f"{gpu.name} died.")
        await asyncio.sleep(needed)
        gpu.coalition = step.mask
        gpu.busy += self.sampler
        if gpu.name in self.following:
            await self.following[gpu.name]
        self.following[gpu.name] = asyncio.create_task(self.keep())

    async def keep(self) -> None:
        """The driver's part."""
        async with self.serial:
            await asyncio.sleep(self.costs.driver)
        self.driver += self.costs.driver


def simulate(costs: Costs, sampler: float, load: float, life: float, audits: int) -> None:
    """Print a table of audits and batches by GPUs."""
    print(
        f"\n{sampler:g} s an image, {load:g} s to load models, a GPU dies after {life:g} h in the mean; an audit is "
        f"{SEEDS << PLAYERS:,} images, a batch {audits:,} audits"
    )
    print(
        f"{'GPUs':>6} {'one audit':>10} {'batch':>10} {'images/s':>9} {'GPUs used':>10} {'driver':>7} {'GPUs lost':>10}"
    )
    for count in (1, 10, 30, 100, 300, 1000):
        print(f"{count:6,} {run(costs, sampler, load, life, count, audits)}", flush=True)
    print(f"The driver alone could feed {(sampler + load / SEEDS + costs.node) / costs.driver:,.0f} GPUs.")


def run(costs: Costs, sampler: float, load: float, life: float, count: int, audits: int) -> str:
    """A row: hours of the first audit with the actors' start and of the batch, images a second, the parts of the time
    that GPUs sample and the driver works, and how many GPUs died."""
    rng = random.Random(count)
    loop = VirtualLoop()
    gpus = [Gpu(f"GPU {number}", costs.start + rng.expovariate(1 / (3600 * life))) for number in range(count)]
    fleet = Fleet(costs, sampler, load, list(gpus))
    ends = []

    async def batch() -> None:
        await asyncio.sleep(costs.start)
        for _ in range(audits):
            await fleet.audit()
            ends.append(loop.time())

    try:
        loop.run_until_complete(batch())
    except ServerLostError:
        return f"all dead after {clock(loop.time())}"
    finally:
        loop.close()
    wall = ends[-1]
    used = sum(gpu.busy for gpu in gpus) / sum(min(wall, gpu.dies) for gpu in gpus)
    rate = audits * (SEEDS << PLAYERS) / wall
    return (
        f"{clock(ends[0]):>10} {clock(wall):>10} {rate:9.2f} {used:10.0%} {fleet.driver / wall:7.0%} "
        f"{count - len(fleet.gpus):10}"
    )


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


if __name__ == "__main__":
    main()
