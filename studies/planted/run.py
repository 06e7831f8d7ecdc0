"""Runs planted games on a real ComfyUI, each as an audit like a user's, and keeps every report.

All audits share one run folder, so a coalition that several games have in common is sampled once.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path

from PIL import Image

from copyscope_core.auditing.audit import Audit
from copyscope_core.auditing.runner import Server
from copyscope_core.comfyui.client import ComfyClient
from copyscope_core.comfyui.host import ManagedHost
from copyscope_core.comfyui.model_files import LocalModels
from copyscope_core.demo.models import make_model, make_model_folder
from copyscope_core.evaluation.measure import Works
from copyscope_core.evidence.publish import ReportOptions
from copyscope_core.features.extractor import InceptionExtractor
from copyscope_core.files.atomic import write_json_atomic
from copyscope_core.files.hashes import HashCache
from copyscope_core.files.images import read_image
from copyscope_core.files.pixels import match_reference
from copyscope_core.planning.plan import make_plan
from copyscope_core.workflow.graph import parse_graph
from copyscope_core.workflow.node_info import NodeCatalog
from studies.planted.games import COPY, NO_EFFECT, SIZE, Game, loras_to_copy

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "reference"
FLAGS = ("--disable-all-custom-nodes",)


def sharp(work: str) -> Path:
    """The work as it is."""
    return SAMPLES / f"{work}.jpg"


def soft(folder: Path, work: str) -> Path:
    """The work as the zoo's autoencoder shows it: as sharp as the zoo's own pictures can be."""
    return folder / "soft" / f"{work.replace('/', '.')}.png"


def report_path(work: Path, game: Game) -> Path:
    """Where the game's report is kept."""
    return work / "games" / f"{game.name}.json"


def images_done(work: Path, game: Game) -> int:
    """How many images a coalition the game was run with; 0: not yet."""
    path = report_path(work, game)
    if not path.exists():
        return 0
    return int(json.loads(path.read_text(encoding="utf-8"))["seeds"])


def make_models(models: Path, games: list[Game]) -> None:
    """The zoo, a LoRA without effect, and copies of LoRAs under other names."""
    make_model_folder(models, ["zoo", "zoo-splits"])
    make_model("sd15-lora", models / "loras" / f"{NO_EFFECT}.safetensors", strength=0.0)
    for name in loras_to_copy(games):
        shutil.copyfile(models / "loras" / f"{name}.safetensors", models / "loras" / f"{COPY}{name}.safetensors")


def run_games(games: list[Game], work: Path, comfyui: Path, most: int) -> None:
    """Audit every game that has not been run with min(its images, ``most``) images a coalition yet.

    Raises:
        CopyScopeError: as an audit.
    """
    waiting = [game for game in games if images_done(work, game) < min(game.images, most)]
    if not waiting:
        return
    base = work / "comfyui"
    make_models(base / "models", games)
    host = ManagedHost(comfyui, FLAGS, work / "comfyui.log", base)
    with host:
        asyncio.run(_run_all(waiting, work, host, base, most))


async def _soften(works: set[str], work: Path, base: Path, client: ComfyClient) -> None:
    """Pass works through the zoo's autoencoder, on the server."""
    for name in sorted(works):
        target = soft(work, name)
        if target.exists():
            continue
        pixels = match_reference(read_image(sharp(name)).pixels, SIZE, SIZE)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(base / "input" / target.name)
        graph = {
            "image": {"class_type": "LoadImage", "inputs": {"image": target.name}},
            "vae": {"class_type": "VAELoader", "inputs": {"vae_name": "copyscope-zoo-vae.safetensors"}},
            "encode": {"class_type": "VAEEncode", "inputs": {"pixels": ["image", 0], "vae": ["vae", 0]}},
            "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["encode", 0], "vae": ["vae", 0]}},
            "show": {"class_type": "PreviewImage", "inputs": {"images": ["decode", 0]}},
        }
        entry = await client.run(graph)
        (shown,) = entry["outputs"]["show"]["images"]
        target.write_bytes(await client.fetch_image(shown["filename"], shown["subfolder"], shown["type"]))


async def _run_all(waiting: list[Game], work: Path, host: ManagedHost, base: Path, most: int) -> None:
    local = LocalModels(host.comfyui, base, HashCache(work / "hashes.json"), FLAGS)
    extractor = InceptionExtractor()
    started, made = time.monotonic(), 0
    async with ComfyClient(host.url) as client:
        await _soften({name for game in waiting for name in game.works}, work, base, client)
        catalog = NodeCatalog(await client.object_info(), live=True)
        for number, game in enumerate(waiting, start=1):
            reference = [read_image(soft(work, name)) for name in game.works]
            plan = make_plan(parse_graph(game.workflow()), catalog, game.settings(min(game.images, most)))
            audit = Audit(
                plan,
                [Server(client, host, local)],
                work / "run",
                Works(reference),
                extractor,
                options=ReportOptions(show_reference=False),
            )
            result = await audit.run()
            report = json.loads(result.json_path.read_text(encoding="utf-8"))
            write_json_atomic(report_path(work, game), {"seeds": plan.seeds, "report": report})
            made += result.sampled
            minutes = (time.monotonic() - started) / 60
            print(f"{number}/{len(waiting)} {game.name}: {made} images made in {minutes:.1f} min", flush=True)
