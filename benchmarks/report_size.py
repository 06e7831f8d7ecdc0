"""Size of ``report.html`` for games of 3, 6 and 8 players: ``python -m benchmarks.report_size``.

The images are crops of the demo's reference works at 512×512, 8 a combination: as detailed as generated images are.
"""

from __future__ import annotations

import random
import sys
import time

import numpy as np
from PIL import Image, ImageOps

from copyscope_core.demo.demo import REFERENCE
from copyscope_core.evaluation.evaluate import evaluate
from copyscope_core.files.folders import read_folder
from copyscope_core.report.build import build_report
from copyscope_core.report.html.page import render_html
from copyscope_core.report.html.pictures import Picture

SIDE = 512
SEEDS = 8


def main() -> None:
    works = [ImageOps.exif_transpose(Image.open(image.path)).convert("RGB") for image in read_folder(REFERENCE)]
    for players in (3, 6, 8):
        draw, noise = random.Random(0), np.random.default_rng(0)
        coalitions = range(1 << players)
        features = {mask: noise.normal(size=(SEEDS, 16)) - 0.1 * mask.bit_count() for mask in coalitions}
        reference = {"count": len(works), "images": [{"file": f"{k}.jpg"} for k in range(len(works))]}
        images = {
            mask: [
                {
                    "file": f"{k}.png",
                    "seed": k,
                    "nearest": draw.randrange(len(works)),
                    "nearest_distance": draw.random(),
                }
                for k in range(SEEDS)
            ]
            for mask in coalitions
        }
        report = build_report(
            evaluate([f"player {k}" for k in range(players)], features, noise.normal(size=(len(works), 16))),
            images=images,
            reference=reference,
            seeds=range(SEEDS),
        )
        pictures: dict[int, list[Picture]] = {mask: [crop(draw, works) for _ in range(SEEDS)] for mask in coalitions}
        start = time.perf_counter()
        size = len(render_html(report, pictures, list(works)).encode("utf-8"))
        took = time.perf_counter() - start
        sys.stdout.write(f"{len(coalitions):4} combinations: {size / 1e6:.1f} MB, {took:.1f} s\n")


def crop(draw: random.Random, works: list[Image.Image]) -> Image.Image:
    """A square part of a work, hardly smaller than it, so that a thumbnail has all its detail."""
    work = draw.choice(works)
    side = draw.randint(min(work.size) * 4 // 5, min(work.size))
    left, top = (draw.randint(0, length - side) for length in work.size)
    return work.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
