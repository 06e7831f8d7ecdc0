"""A whole audit beside queueing its rewritten prompts one by one on a ComfyUI without CopyScope.

    python -m benchmarks.audit [--comfyui ~/comfy/ComfyUI] [--steps 10] [--size 64] [--seeds 8] [--batch 1] [--only …]

Four players (checkpoint, two LoRAs, prompt) on the miniature zoo: a prompt of ``batch`` images for each of the 16
coalitions and each seed. Each way has a server of its own, all start with the same files: the prompts with the default
cache in the order of the bitmasks and in the audit's own order, with ``--cache-none``, ``copyscope audit``, and the
audit in a graph. Checks that all give the same pixels, then prints seconds, processor time, what was executed how
often, and CopyScope's own share. Needs the extra ``dev``.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks.timing import heading
from copyscope_core.auditing.audit import Audit
from copyscope_core.auditing.runner import Server
from copyscope_core.comfyui.client import ComfyClient, Event
from copyscope_core.comfyui.host import ManagedHost
from copyscope_core.comfyui.model_files import LocalModels
from copyscope_core.demo.demo import REFERENCE
from copyscope_core.demo.models import make_model_folder
from copyscope_core.evaluation.measure import Works
from copyscope_core.features.extractor import InceptionExtractor
from copyscope_core.files.folders import read_folder
from copyscope_core.files.hashes import HashCache
from copyscope_core.files.pixels import pixel_hash
from copyscope_core.planning.plan import Plan, make_plan
from copyscope_core.players.rewrite import RERUN_INPUT, digests
from copyscope_core.report.report import Report
from copyscope_core.settings import AuditSettings
from copyscope_core.workflow.graph import parse_graph, to_json
from copyscope_core.workflow.node_info import NodeCatalog, bundled_catalog
from tests.hostutil import link_pack

BASELINE = "copyscope-zoo-renoir.safetensors"
PLAIN = ("--disable-all-custom-nodes",)
DIGITS = 16
"""Of a digest; as many as the ids of expanded nodes have."""
MODEL_NODES = {"KSampler", "CLIPTextEncode", "CheckpointLoaderSimple", "LoraLoader", "VAEDecode", "EmptyLatentImage"}
IMAGE, PLAYERS, ENUMERATOR, FID, REPORT = "decode", "20", "21", "22", "23"
Workflow = dict[str, dict[str, Any]]


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def workflow(steps: int, size: int, batch: int) -> Workflow:
    """A user's workflow: checkpoint, two LoRAs, prompt, KSampler."""

    def lora(name: str, source: str) -> dict[str, Any]:
        file = f"copyscope-zoo-{name}.safetensors"
        return node(
            "LoraLoader", model=[source, 0], clip=[source, 1], lora_name=file, strength_model=0.7, strength_clip=0.7
        )

    return {
        "checkpoint": node("CheckpointLoaderSimple", ckpt_name="copyscope-zoo.safetensors"),
        "hokusai": lora("hokusai", "checkpoint"),
        "van-gogh": lora("van-gogh", "hokusai"),
        "positive": node("CLIPTextEncode", text="a puppy in a street", clip=["van-gogh", 1]),
        "negative": node("CLIPTextEncode", text="", clip=["van-gogh", 1]),
        "latent": node("EmptyLatentImage", width=size, height=size, batch_size=batch),
        "sampler": node(
            "KSampler", model=["van-gogh", 0], positive=["positive", 0], negative=["negative", 0],
            latent_image=["latent", 0], seed=1831, steps=steps, cfg=4.0, sampler_name="euler", scheduler="normal",
            denoise=1.0,
        ),
        IMAGE: node("VAEDecode", samples=["sampler", 0], vae=["checkpoint", 2]),
        "save": node("SaveImage", images=[IMAGE, 0], filename_prefix="own"),
    }  # fmt: skip


def copyscope_nodes(image: str, settings: AuditSettings) -> Workflow:
    """CopyScope's nodes, wired to the node that gives the image."""
    choice = {"baseline_checkpoint": settings.baseline_checkpoint, "baseline_vae": "(none)", "key_prompts": "",
              "neutral_prompt": "", "only": "", "lock": ""}  # fmt: skip
    return {
        PLAYERS: node("CopyScopePlayers", **choice),
        ENUMERATOR: node(
            "CopyScopeCoalitionEnumerator", image=[image, 0], seeds=settings.seeds,
            max_coalitions=settings.max_coalitions, players=[PLAYERS, 0],
        ),
        FID: node("CopyScopeFID", coalitions=[ENUMERATOR, 0], reference_folder="reference"),
        REPORT: node("CopyScopeShapleyReport", game=[FID, 0], show_reference=True),
    }  # fmt: skip


def prepare_base(base: Path, models: Path, pack: bool) -> Path:
    """A base directory for a server: shared models, the demo's reference images, with or without the pack."""
    base.mkdir()
    (base / "models").symlink_to(models, target_is_directory=True)
    shutil.copytree(REFERENCE, base / "input" / "reference")
    if pack:
        (base / "custom_nodes").mkdir()
        link_pack(base)
    return base


@dataclass
class Way:
    """One way to make the images, and what it took.

    Attributes:
        pixels: mask → pixel hashes.
        executed: how often each node, by its structural digest, was executed.
        model_seconds: on the clock, in samplers, encoders, loaders and decoders.
        again_seconds: of the prompts that only repeat a coalition, to see whether it comes out the same.
        report: of an audit over the server.
    """

    name: str
    seconds: float = 0.0
    server_processor: float = 0.0
    own_processor: float = 0.0
    pixels: dict[int, list[str]] = field(default_factory=dict)
    executed: Counter[str] = field(default_factory=Counter)
    model_seconds: float = 0.0
    again_seconds: float = 0.0
    report: Report | None = None

    def line(self) -> str:
        """What is printed of it."""
        again = f", {self.again_seconds:.1f} s of it repetitions" if self.again_seconds else ""
        return (
            f"  {self.name}: {self.seconds:.1f} s{again}; processor {self.server_processor:.1f} s in the server, "
            f"{self.own_processor:.1f} s here; {sum(self.executed.values())} nodes executed, "
            f"{len(self.executed)} of them distinct"
        )


class Listener(ComfyClient):
    """A client that notes each prompt's graph, the nodes executed in it, and how long each ran."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.ran: list[tuple[Mapping[str, Any], list[str], list[float]]] = []

    async def run(
        self,
        prompt: Mapping[str, Any],
        on_event: Event | None = None,
        extra_data: Mapping[str, Any] | None = None,
        forget: bool = False,
        on_queued: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        begun: list[tuple[str | None, float]] = []

        def note(kind: str, data: Mapping[str, Any]) -> None:
            if kind in ("executing", "execution_success"):
                begun.append((data.get("node"), time.perf_counter()))

        entry = await super().run(prompt, note, extra_data, forget, on_queued)
        begun.append((None, time.perf_counter()))
        nodes = [name for name, _ in begun if name is not None]
        ends = [moment for _, moment in begun[1:]]
        lasted = [end - start for (name, start), end in zip(begun, ends, strict=False) if name is not None]
        self.ran.append((prompt, nodes, lasted))
        return entry


def prompts_of(plan: Plan, masks: Iterable[int]) -> dict[tuple[int, int], Workflow]:
    """Each coalition's rewritten prompts, by mask and seed, with a node that writes the images."""
    result = {}
    for mask, offset in itertools.product(masks, range(plan.seeds)):
        graph, target = plan.rewriter.graph(mask, offset)
        result[mask, offset] = {**to_json(graph), "preview": node("PreviewImage", images=[target.node, target.slot])}
    return result


def digests_of(prompt: Mapping[str, Any]) -> dict[str, str]:
    """Node id → digest of class and resolved inputs, for all nodes of a prompt but those that write images."""
    graph = parse_graph(prompt)
    (target,) = [
        item.inputs["images"].node for item in graph.values() if item.class_type in ("PreviewImage", "SaveImage")
    ]
    return {name: digest[:DIGITS] for name, digest in digests(graph, target).items()}


async def queue_all(client: ComfyClient, prompts: Mapping[Any, Workflow]) -> list[dict[str, Any]]:
    """Queue all prompts, as fast as the server takes them, and wait for the last; their history entries in order."""
    ids = [await client.submit(prompt) for prompt in prompts.values()]
    entries = []
    for prompt_id in ids:
        while not (entry := (await client.get_json(f"history/{prompt_id}")).get(prompt_id)):
            await asyncio.sleep(0.05)
        assert entry["status"]["status_str"] == "success", entry["status"]
        entries.append(entry)
    return entries


async def queued(
    way: Way, client: ComfyClient, host: ManagedHost, prompts: Mapping[tuple[int, int], Workflow]
) -> Callable[[], Any]:
    """The peer: no CopyScope, nothing is measured of the images."""
    entries = await queue_all(client, prompts)

    async def look() -> None:
        for ((mask, _), prompt), entry in zip(prompts.items(), entries, strict=True):
            messages = dict(entry["status"]["messages"])
            cached = set(messages["execution_cached"]["nodes"])
            way.executed.update(digest for name, digest in digests_of(prompt).items() if name not in cached)
            files = entry["outputs"]["preview"]["images"]
            images = [await client.fetch_image(item["filename"], item["subfolder"], item["type"]) for item in files]
            pixels = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in images]
            way.pixels.setdefault(mask, []).extend(map(pixel_hash, pixels))

    return look


async def audited(
    way: Way, client: Listener, host: ManagedHost, graph: Workflow, settings: AuditSettings, out: Path, device: str
) -> Callable[[], Any]:
    """``copyscope audit``: what the command does once the server is up."""
    assert host.base_directory is not None
    local = LocalModels(host.comfyui, host.base_directory, HashCache(out / "hashes.json"), PLAIN)
    plan = make_plan(parse_graph(graph), NodeCatalog(await client.object_info(), live=True), settings)
    extractor, works = InceptionExtractor(device), Works(read_folder(REFERENCE))
    result = await Audit(plan, [Server(client, host, local)], out / "run", works, extractor).run()
    way.report = result.report

    async def look() -> None:
        take_pixels(way, result.report.model_dump(mode="json"), plan)
        for prompt, nodes, lasted in client.ran:
            known = digests_of(prompt)
            way.executed.update(known[name] for name in nodes if name in known)
            for name, seconds in zip(nodes, lasted, strict=True):
                way.model_seconds += seconds * (prompt[name]["class_type"] in MODEL_NODES)
            if any(RERUN_INPUT in item["inputs"] for item in prompt.values()):
                way.again_seconds += sum(lasted)

    return look


async def in_graph(
    way: Way, client: Listener, host: ManagedHost, graph: Workflow, settings: AuditSettings, plan: Plan
) -> Callable[[], Any]:
    """The same audit as one prompt with CopyScope's nodes."""
    full = {**{name: item for name, item in graph.items() if name != "save"}, **copyscope_nodes(IMAGE, settings)}
    entry = await client.run(full)

    async def look() -> None:
        take_pixels(way, entry["outputs"][REPORT]["copyscope_report"][0], plan)
        ((_, nodes, lasted),) = client.ran
        own = digests_of(graph)
        expanded = re.compile(rf"{ENUMERATOR}\.\d+\.\d+\.([0-9a-f]{{{DIGITS}}})")
        for name, seconds in zip(nodes, lasted, strict=True):
            found = expanded.fullmatch(name)
            if found or name in own:
                way.executed[found[1] if found else own[name]] += 1
                way.model_seconds += seconds

    return look


def take_pixels(way: Way, report: Mapping[str, Any], plan: Plan) -> None:
    """The pixel hashes that a report states."""
    bits = {name: 1 << index for index, name in enumerate(plan.names)}
    for coalition in report["coalitions"]:
        mask = sum(bits[name] for name in coalition["members"])
        way.pixels[mask] = [image["pixel_sha256"] for image in coalition["image_files"]]


async def timed(way: Way, host: ManagedHost, listener: bool, work: Callable[[Any], Any]) -> None:
    """Run one way on its server; what is looked at afterwards is not timed."""
    async with (Listener if listener else ComfyClient)(host.url) as client:
        await client.object_info()
        process = psutil.Process(host.pid)
        before, own, start = process.cpu_times(), time.process_time(), time.perf_counter()
        look = await work(client)
        way.seconds, way.own_processor = time.perf_counter() - start, time.process_time() - own
        after = process.cpu_times()
        way.server_processor = after.user + after.system - before.user - before.system
        await look()


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; None: of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--models", type=Path, help="a models folder with the same file names; else the miniature zoo")
    parser.add_argument("--only", default="cache,order,none,audit,graph", help="some of the ways")
    parser.add_argument("--device", default="cpu", help="of the audit's features; ComfyUI chooses its own")
    parser.add_argument("--comfyui-arg", action="append", default=[], help="launch flag for ComfyUI, such as --cpu")
    return parser.parse_args(words)


def run(options: argparse.Namespace) -> dict[str, Way]:
    """Run every way, check that the images are the same, and print."""
    graph = workflow(options.steps, options.size, options.batch)
    settings = AuditSettings(seeds=options.seeds, baseline_checkpoint=BASELINE)
    plan = make_plan(parse_graph(graph), bundled_catalog(), settings)
    assert len(plan.players) == 4
    print(f"players: {', '.join(plan.names)}; {options.steps} steps, {options.seeds} prompts of {options.batch} images")

    with tempfile.TemporaryDirectory(prefix="copyscope-bench-") as name:
        folder = Path(name)
        models = options.models or folder / "models"
        if options.models is None:
            make_model_folder(models, ["zoo"])

        def on_server(title: str, flags: tuple[str, ...], listener: bool, work: Callable[..., Any]) -> Way:
            base = prepare_base(folder / re.sub(r"\W+", "-", title), models, pack=not flags)
            host = ManagedHost(options.comfyui, (*flags, *options.comfyui_arg), base / "comfyui.log", base)
            way = Way(title)
            with host:
                asyncio.run(timed(way, host, listener, lambda client: work(way, client, host=host)))
            print(way.line(), flush=True)
            return way

        masks = range(2 ** len(plan.players))
        queue, in_order = partial(queued, prompts=prompts_of(plan, masks)), prompts_of(plan, plan.coalitions)
        settled = {"graph": graph, "settings": settings}
        kinds: dict[str, tuple[str, tuple[str, ...], bool, Callable[..., Any]]] = {
            "cache": ("queued, default cache", PLAIN, False, queue),
            "order": ("queued in the audit's order, default cache", PLAIN, False, partial(queued, prompts=in_order)),
            "none": ("queued, --cache-none", (*PLAIN, "--cache-none"), False, queue),
            "audit": ("copyscope audit", PLAIN, True, partial(audited, **settled, out=folder, device=options.device)),
            "graph": ("audit in a graph", (), True, partial(in_graph, **settled, plan=plan)),
        }
        ways = {name: on_server(*kinds[name]) for name in dict.fromkeys(options.only.split(","))}
    first, *others = ways.values()
    assert all(way.pixels == first.pixels for way in others), "the images differ"
    print(f"  the {len(masks) * options.seeds * options.batch} images have the same pixels in all {len(ways)} ways")
    for name, way in ways.items():
        if name not in ("audit", "graph"):
            continue
        print(f"  {way.name}: {1 - way.model_seconds / way.seconds:.1%} of the time no node of the workflow ran")
        for peer in (ways[name] for name in ("cache", "order", "none") if name in ways):
            print(f"    {way.seconds / peer.seconds:.2f} × {peer.name}")
    return ways


def main() -> None:
    """Run and print."""
    options = parse()
    heading("psutil")
    run(options)


if __name__ == "__main__":
    main()
