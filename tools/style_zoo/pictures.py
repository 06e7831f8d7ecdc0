"""Pictures and the crops of them that models learn from or are judged by."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

FOLDER = Path(__file__).resolve().parent
GREY = (128, 128, 128, 255)
"""What lies behind a figure that was cut out. Crops are chosen so that little of it shows."""
ZOOM = (0.4, 1.0)
"""Side of a crop as a part of the picture's shorter side."""
ZOOM_FIGURE = (0.25, 0.6)
"""The same for figures that were cut out: smaller, so that they fill the crop."""
COVER = 0.85
"""Least part of a crop that a cut-out figure should cover."""


def cache_folder() -> Path:
    """Where data, states and models lie: COPYSCOPE_ZOO_CACHE, or ~/.cache/copyscope-zoo."""
    given = os.environ.get("COPYSCOPE_ZOO_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "copyscope-zoo"


def table(name: str) -> dict[str, Any]:
    """``base.json`` (what the base model learns from), ``works.json`` (artists, works, splits) or ``models.json``."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Split:
    """One artist's works (by id), divided into those that a model learns from and those that it never sees."""

    name: str
    train: tuple[str, ...]
    held: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """What is trained beside the base model: a LoRA on the training works of one split, or of several.

    Attributes:
        trigger: it acts only where the prompt names the artist.
        merged: it becomes a checkpoint, the base model with this change.
    """

    name: str
    splits: tuple[str, ...]
    rank: int = 8
    trigger: bool = False
    merged: bool = False


def models() -> list[Model]:
    """All models of models.json."""
    return [Model(**{**row, "splits": tuple(row["splits"])}) for row in table("models")["models"]]


def splits() -> dict[str, Split]:
    """All splits of works.json. An entry there is a work's id, a subject of the artist, or an artist's name."""
    works = table("works")
    found = {}
    for row in works["splits"]:

        def chosen(entries: Sequence[str], artist: str | None = row["artist"]) -> tuple[str, ...]:
            keys = [
                (w["id"], w["id"] if artist is None else w["subject"], w["artist"] if artist is None else "")
                for w in works["works"]
                if artist in (None, w["artist"])
            ]
            return tuple(key[0] for entry in entries for key in keys if entry in key)

        found[row["name"]] = Split(row["name"], chosen(row["train"]), chosen(row["held"]))
    return found


def read_picture(path: Path) -> Image.Image:
    """A picture as RGBA without its empty rim."""
    with Image.open(path) as opened:
        image = opened.convert("RGBA")
    return image.crop(image.getchannel("A").getbbox())


def crops(image: Image.Image, count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Square crops at several scales as ``count`` x ``size`` x ``size`` x 3 bytes; half of them are mirrored."""
    alpha = np.asarray(image.getchannel("A"), np.float32) / 255
    figure = bool(alpha.mean() < 0.99)
    low, high = ZOOM_FIGURE if figure else ZOOM
    flat = Image.new("RGBA", image.size, GREY)
    flat.alpha_composite(image)
    flat = flat.convert("RGB")
    made = []
    for _ in range(count):
        best: tuple[float, tuple[int, int, int, int]] | None = None
        for _ in range(24 if figure else 1):
            side = max(8, round(min(image.size) * float(rng.uniform(low, high))))
            left = int(rng.integers(0, image.width - side + 1))
            top = int(rng.integers(0, image.height - side + 1))
            cover = float(alpha[top : top + side, left : left + side].mean())
            if best is None or cover > best[0]:
                best = cover, (left, top, left + side, top + side)
            if cover >= COVER:
                break
        assert best is not None
        crop = np.asarray(flat.resize((size, size), Image.Resampling.LANCZOS, box=best[1]))
        made.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return np.stack(made)


def many_crops(paths: Sequence[Path], count: int, size: int, seed: int) -> np.ndarray:
    """``count`` crops of each picture, one after another. Every CPU helps; how many there are changes nothing."""

    def crops_of(index: int) -> np.ndarray:
        return crops(read_picture(paths[index]), count, size, np.random.default_rng((seed, size, index)))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.concatenate(list(pool.map(crops_of, range(len(paths)))))


def as_pixels(crops_: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Bytes, n x h x w x 3, as n x 3 x h x w numbers in 0…1."""
    return torch.as_tensor(crops_).to(device).permute(0, 3, 1, 2).float() / 255


def contact_sheet(pixels: Tensor, path: Path, columns: int = 8, scale: int = 1) -> None:
    """Write n x 3 x h x w numbers in 0…1 as one picture, row by row."""
    data = (pixels.detach().float().cpu().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    rows = -(-len(data) // columns)
    height, width = data.shape[1:3]
    sheet = np.full((rows * (height + 2), columns * (width + 2), 3), 255, np.uint8)
    for index, one in enumerate(data):
        y, x = index // columns * (height + 2), index % columns * (width + 2)
        sheet[y : y + height, x : x + width] = one
    image = Image.fromarray(sheet)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).save(path)
