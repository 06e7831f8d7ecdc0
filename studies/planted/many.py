"""Real games of eight players for the benchmark of estimators: the value of every coalition, kept as numbers.

    python -m studies.planted.many [--comfyui ~/comfy/ComfyUI] [--work /tmp/planted-many] [--planted FOLDER]
        [--workflows 2]

Each workflow has eight LoRAs of the miniature zoo, of eight artists, and is audited exactly on a real ComfyUI: 256
coalitions, each a batch of four 64×64 images. Either half of the batch is then measured (FID) against the works of each
artist in ``samples/reference``, which gives 24 games a workflow. With ``--planted``, the work folder of
studies/planted, its games of five players are kept too, with all their images. Interrupted, the same command
goes on. Writes studies/planted/many.json, which ``estimators.py --kinds planted`` reads.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from copyscope_core.distances.registry import Coalitions, measure_distances
from copyscope_core.features.extractor import FeatureCache, InceptionExtractor
from copyscope_core.features.views import CONTENT
from copyscope_core.files.images import read_image
from copyscope_core.files.pixels import match_reference, pixel_hash
from studies.planted.games import LORAS, PROMPTS, WORKS, Cast, Game, draw_games, lora
from studies.planted.run import report_path, run_games, sharp

TABLES = Path(__file__).resolve().parent / "many.json"
PLAYERS, BATCH, SIDE = 8, 4, 64


@dataclass(frozen=True)
class Workflow(Game):
    """Eight LoRAs, with a batch of small images."""

    def workflow(self) -> dict[str, Any]:
        """API format."""
        graph = super().workflow()
        graph["latent"]["inputs"] |= {"width": SIDE, "height": SIDE, "batch_size": BATCH}
        return graph


def draw_workflows(count: int, seed: int = 0) -> list[Game]:
    """Each with a prompt, a seed, and eight LoRAs of different artists at strengths of 0.2 to 0.8."""
    rng = np.random.default_rng([seed, 8])
    found: list[Game] = []
    for number in range(count):
        parts = {}
        for name in rng.permutation(LORAS):
            part = lora(str(name), float(rng.choice([0.2, 0.4, 0.6, 0.8])))
            parts.setdefault(part.artist, part)
        chosen = tuple(list(parts.values())[:PLAYERS])
        cast = Cast(f"many-{number}", str(PROMPTS[number % len(PROMPTS)]), int(rng.integers(1 << 40)), chosen)
        found.append(Workflow(cast.name, cast, tuple(range(PLAYERS)), (), ("leonardo/mona-lisa",), "", "many", 1))
    return found


def tables(game: Game, work: Path, artists: list[str], parts: int = 1) -> Iterator[dict[str, Any]]:
    """v of all coalitions of a game that was run, against the works of each artist, by each part of the images."""
    report = json.loads(report_path(work, game).read_text(encoding="utf-8"))["report"]
    cache = FeatureCache(work / "run" / "features", InceptionExtractor())
    content = InceptionExtractor.views[CONTENT]
    folder = work / "run" / "coalitions"
    made = [
        [(read_image(folder / item["file"]).pixels, item["pixel_sha256"]) for item in row["image_files"]]
        for row in sorted(report["coalitions"], key=lambda row: row["mask"])
    ]
    features = np.stack([cache.features(images)[:, content] for images in made]).astype(np.float64)
    side = made[0][0][0].shape[0]
    for artist in artists:
        images = [match_reference(read_image(sharp(f"{artist}/{name}")).pixels, side, side) for name in WORKS[artist]]
        reference = cache.features([(pixels, pixel_hash(pixels)) for pixels in images])[:, content].astype(np.float64)
        for part, half in enumerate(np.split(features, parts, axis=1)):
            fid = measure_distances(Coalitions.of(list(half)), reference, "fid").fid
            values = [float(f"{value:.6g}") for value in fid[0] - fid]
            name = f"{game.name}.{part}.{artist}" if parts > 1 else game.name
            yield {"game": name, "players": len(game.players), "values": values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--work", type=Path, default=Path("/tmp/planted-many"))
    parser.add_argument("--planted", type=Path, help="work folder of studies/planted")
    parser.add_argument("--workflows", type=int, default=2)
    arguments = parser.parse_args()
    workflows = draw_workflows(arguments.workflows)
    run_games(workflows, arguments.work, arguments.comfyui, 1)
    found = [row for game in workflows for row in tables(game, arguments.work, list(WORKS), 2)]
    if arguments.planted:
        for game in draw_games(0):
            if len(game.players) > 4:
                found += tables(game, arguments.planted, [game.works[0].partition("/")[0]])
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in found)
    TABLES.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
