"""Pictures of docs/trust.md: what the trained models paint, and single games.

python -m studies.trained.pictures        # from the cache folder, after gates and games
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from copyscope_core.files.images import read_image
from studies.trained.games import Game, games
from studies.trained.run import rows_path, work_crop
from tools.style_zoo.gates import SIZE, sheet_images
from tools.style_zoo.pictures import cache_folder, many_crops, splits

CHARTS = Path(__file__).resolve().parents[2] / "docs" / "trust"
SHOWN = ("kitty-1", "lordbob-2", "valkier-1", "johann-2", "blarumyrran-1", "hokusai-1")
LABEL, GAP = 150, 4
Pictures = Sequence[NDArray[np.uint8]]


def rows_picture(rows: Sequence[tuple[str, Sequence[Pictures]]], side: int) -> Image.Image:
    """Rows of pictures with a label; groups in a row stand apart."""
    width = max(sum(len(group) * (side + GAP) + 3 * GAP for group in groups) for _, groups in rows)
    whole = Image.new("RGB", (LABEL + width, len(rows) * (side + GAP)), "white")
    draw = ImageDraw.Draw(whole)
    for line, (label, groups) in enumerate(rows):
        top, left = line * (side + GAP), LABEL
        draw.multiline_text((4, top + side // 3), label, fill="black", font_size=14)
        for group in groups:
            for pixels in group:
                whole.paste(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS), (left, top))
                left += side + GAP
            left += 3 * GAP
    return whole


def samples(cache: Path) -> Image.Image:
    """For each artist: training crops, crops of unseen works, and what the LoRA paints; last the base model."""
    rows: list[tuple[str, Sequence[Pictures]]] = []
    for name in SHOWN:
        split = splits()[name]
        files = [
            [cache / "data" / "works" / f"{work}.webp" for work in (*works, *works, *works, *works)[:4]]
            for works in (split.train, split.held)
        ]
        crops = [many_crops(paths, 1, SIZE, 5 + place) for place, paths in enumerate(files)]
        made = sheet_images(cache / "samples" / f"{name}-{SIZE}.png")[2::9][:7]
        rows.append((name, [list(crops[0]), list(crops[1]), list(made)]))
    base = sheet_images(cache / "samples" / f"base-{SIZE}.png")[2::9][:7]
    blank = np.full((SIZE, SIZE, 3), 255, np.uint8)
    rows.append(("base model", [[blank] * 4, [blank] * 4, list(base)]))
    return rows_picture(rows, 96)


def game_picture(game: Game, folder: Path) -> Image.Image:
    """The first four images of each combination, and the reference."""
    stored = json.loads(rows_path(folder, game.cast).read_text(encoding="utf-8"))["rows"]
    rows: list[tuple[str, Sequence[Pictures]]] = []
    for mask in range(2 ** len(game.players)):
        own = sum(1 << place for bit, place in enumerate(game.players) if mask >> bit & 1)
        names = [part.name for bit, part in enumerate(game.parts) if mask >> bit & 1]
        files = [folder / "run" / "coalitions" / item["file"] for item in stored[str(own)][:6]]
        rows.append(("\n".join(names) or "none of them", [[read_image(path).pixels for path in files]]))
    works = [read_image(work_crop(work, folder)).pixels for work in game.works[:6]]
    rows.append((f"reference:\n{game.artist}", [works]))
    return rows_picture(rows, 96)


def main() -> None:
    cache = cache_folder()
    samples(cache).save(CHARTS / "trained-samples.jpg", quality=82)
    shown = {"main-kitty-2.01.kitty": "trained-game.jpg", "main-valkier-1.01.valkier": "trained-game-2.jpg"}
    for game in games():
        if game.name in shown:
            game_picture(game, cache / "games").save(CHARTS / shown[game.name], quality=82)


if __name__ == "__main__":
    main()
