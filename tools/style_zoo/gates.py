"""Which models of the style zoo learned a style, and stored no picture?

    python -m tools.style_zoo.gates          # writes gates.json beside this file

For each model: 64 images (the trainer's sample sheet at 128 pixels), 64 crops of the works that it never saw, and 192
of those that it learned from.

- *Nearer*: its images are nearer the unseen works than the base model's images are, by content (KID of Inception's
  pool3) and by style (kernel distance of channel correlations). A model needs style. Models with a trigger word are
  drawn without it here, so they are not asked.
- *No stored picture*: no image is nearer to a training crop (cosine distance of pool3) than the nearest crop of an
  unseen work is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from copyscope_core.distances.kernel import kernel_distance
from copyscope_core.evaluation.value_functions import style_kernel
from copyscope_core.features.extractor import InceptionExtractor
from copyscope_core.features.views import CONTENT, STYLE

from .pictures import cache_folder, many_crops, models, splits

SIZE, COLUMNS, SCALE = 128, 8, 2
Features = NDArray[np.float32]


def sheet_images(path: Path) -> NDArray[np.uint8]:
    """The images of a sample sheet, 64 x SIZE x SIZE x 3."""
    sheet, cell = np.asarray(Image.open(path).convert("RGB"))[::SCALE, ::SCALE], SIZE + 2
    places = [(row * cell, column * cell) for row in range(len(sheet) // cell) for column in range(COLUMNS)]
    return np.stack([sheet[top : top + SIZE, left : left + SIZE] for top, left in places])


def nearest(features: Features, to: Features) -> float:
    """The smallest cosine distance of any row to any other row."""
    one, other = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (features, to))
    return float(1 - (one @ other.T).max())


def gate(name: str, images: Features, base: Features, held: Features, trained: Features) -> dict[str, Any]:
    """What the gates say of one model, from features of its images, the base's, unseen works and training crops."""
    found: dict[str, Any] = {"name": name}
    for view, kernel in ((CONTENT, None), (STYLE, style_kernel(InceptionExtractor.id))):
        part = InceptionExtractor.views[view]
        extra = () if kernel is None else (kernel,)
        own, before = (kernel_distance(rows[:, part], held[:, part], *extra) for rows in (images, base))
        assert own is not None
        assert before is not None
        found[view] = {"base": float(f"{before:.4g}"), "model": float(f"{own:.4g}")}
    part = InceptionExtractor.views[CONTENT]
    found["nearest_image"] = round(nearest(images[:, part], trained[:, part]), 4)
    found["nearest_unseen"] = round(nearest(held[:, part], trained[:, part]), 4)
    found["learned"] = found[STYLE]["model"] < found[STYLE]["base"]
    found["stored_nothing"] = found["nearest_image"] >= found["nearest_unseen"]
    return found


def main() -> None:
    cache, extractor, known, rows = cache_folder(), InceptionExtractor(), splits(), []

    def features_of_works(works: tuple[str, ...], count: int, seed: int) -> Features:
        each = -(-count // len(works))
        files = [cache / "data" / "works" / f"{work}.webp" for work in works]
        return extractor(list(many_crops(files, each, SIZE, seed)))

    base = extractor(list(sheet_images(cache / "samples" / f"base-{SIZE}.png")))
    for model in models():
        held = {work for name in model.splits for work in known[name].held}
        trained = {work for name in model.splits for work in known[name].train}
        images = extractor(list(sheet_images(cache / "samples" / f"{model.name}-{SIZE}.png")))
        unseen = features_of_works(tuple(sorted(held - trained)), 64, 2)
        row = gate(model.name, images, base, unseen, features_of_works(tuple(sorted(trained)), 192, 3))
        if model.trigger:
            row["learned"] = None
        rows.append(row)
        print(json.dumps(row), flush=True)
    lines = ",\n".join(json.dumps(row) for row in rows)
    (Path(__file__).resolve().parent / "gates.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
