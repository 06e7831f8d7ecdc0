"""Runs each cast as one audit on a real ComfyUI, as ``copyscope audit`` runs it, and keeps which image is whose.

All audits share one run folder: coalitions that casts have in common are sampled once, and a stop loses nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from copyscope_core.auditing.audit import Audit
from copyscope_core.auditing.runner import Server
from copyscope_core.comfyui.client import ComfyClient
from copyscope_core.comfyui.host import ManagedHost
from copyscope_core.comfyui.model_files import LocalModels
from copyscope_core.evaluation.measure import Works
from copyscope_core.evidence.publish import ReportOptions
from copyscope_core.features.extractor import InceptionExtractor
from copyscope_core.files.atomic import write_json_atomic
from copyscope_core.files.hashes import HashCache
from copyscope_core.files.images import read_image
from copyscope_core.planning.plan import make_plan
from copyscope_core.workflow.graph import parse_graph
from copyscope_core.workflow.node_info import NodeCatalog
from studies.trained.games import SIZE, Cast, games
from tools.style_zoo.export import export
from tools.style_zoo.pictures import cache_folder, crops, read_picture

FLAGS = ("--disable-all-custom-nodes",)


def work_crop(work: str, folder: Path) -> Path:
    """A work as the reference has it: one crop at the scale that models learn, SIZE x SIZE pixels, always the same."""
    path = folder / "works" / f"{work.replace('/', '.')}.png"
    if not path.is_file():
        rng = np.random.default_rng([ord(letter) for letter in work])
        made: NDArray[np.uint8] = crops(read_picture(cache_folder() / "data" / "works" / f"{work}.webp"), 1, SIZE, rng)[
            0
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(made).save(path)
    return path


def rows_path(folder: Path, cast: Cast) -> Path:
    """Where a cast's images are listed."""
    return folder / "casts" / f"{cast.name}.json"


def place_of(cast: Cast, player: Mapping[str, Any]) -> int:
    """The place among the cast's parts of a report's player."""
    if player["kind"] == "lora":
        return int(player["node"].removeprefix("lora"))
    return next(index for index, part in enumerate(cast.parts) if part.kind == player["kind"])


def run_casts(chosen: list[Cast], folder: Path, comfyui: Path, hosts: int) -> None:
    """Audit every cast that has not been run yet.

    Raises:
        CopyScopeError: as an audit.
    """
    waiting = [cast for cast in chosen if not rows_path(folder, cast).exists()]
    if not waiting:
        return
    base = folder / "comfyui"
    for name in ("models", "input", "output", "temp", "custom_nodes", "user"):
        (base / name).mkdir(parents=True, exist_ok=True)
    export(base / "models")
    with ExitStack() as stack:
        running = [
            stack.enter_context(ManagedHost(comfyui, FLAGS, folder / f"comfyui-{number}.log", base))
            for number in range(hosts)
        ]
        asyncio.run(_run_all(waiting, folder, running, base))


async def _run_all(waiting: list[Cast], folder: Path, hosts: list[ManagedHost], base: Path) -> None:
    local = LocalModels(hosts[0].comfyui, base, HashCache(folder / "hashes.json"), FLAGS)
    extractor, references = InceptionExtractor(), {game.cast.name: game.works for run in (0, 1) for game in games(run)}
    started, made = time.monotonic(), 0
    clients = [await ComfyClient(host.url).__aenter__() for host in hosts]
    try:
        catalog = NodeCatalog(await clients[0].object_info(), live=True)
        servers = [Server(client, host, local) for client, host in zip(clients, hosts, strict=True)]
        for number, cast in enumerate(waiting, start=1):
            works = Works([read_image(work_crop(work, folder)) for work in references[cast.name]])
            plan = make_plan(parse_graph(cast.workflow()), catalog, cast.settings())
            audit = Audit(plan, servers, folder / "run", works, extractor, options=ReportOptions(show_reference=False))
            result = await audit.run()
            report = json.loads(result.json_path.read_text(encoding="utf-8"))
            rows = {
                _own_mask([place_of(cast, player) for player in report["players"]], row["mask"]): row["image_files"]
                for row in report["coalitions"]
            }
            write_json_atomic(rows_path(folder, cast), {"rows": {str(mask): rows[mask] for mask in sorted(rows)}})
            made += result.sampled
            minutes = (time.monotonic() - started) / 60
            print(f"{number}/{len(waiting)} {cast.name}: {made} images made in {minutes:.1f} min", flush=True)
    finally:
        for client in clients:
            await client.__aexit__(None, None, None)


def _own_mask(places: list[int], mask: int) -> int:
    """A report's mask as one over the cast's parts."""
    return sum(1 << place for bit, place in enumerate(places) if mask >> bit & 1)
