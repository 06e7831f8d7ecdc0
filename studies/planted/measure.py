"""Figures of planted games, from their kept reports, images and features; nothing is sampled here.

Every game is measured against its reference twice: the works as they are (``sharp``), and as the zoo's autoencoder
shows them (``soft``), with the first 4, 8, 16 and 32 images of each coalition as far as there are so many.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity

from copyscope_core.errors import GameError
from copyscope_core.evaluation.evaluate import Evaluation, evaluate
from copyscope_core.features.extractor import FeatureCache, InceptionExtractor
from copyscope_core.files.images import read_image
from copyscope_core.files.pixels import Pixels, match_reference, pixel_hash
from copyscope_core.game.shapley import shapley_values
from studies.planted.games import SIZE, WORKS, Game
from studies.planted.run import report_path, sharp, soft

Floats = NDArray[np.float64]
COUNTS = (4, 8, 16, 32)
ARTISTS_WORKS = [f"{artist}/{work}" for artist, works in WORKS.items() for work in works]


def histogram_likeness(a: Pixels, b: Pixels) -> float:
    """Overlap of the colour histograms, 16 bins a channel: 0…1."""
    counts = [np.stack([np.histogram(x[..., c], 16, (0, 256))[0] for c in range(3)]) for x in (a, b)]
    return float(np.minimum(*counts).sum() / counts[0].sum())


def dhash_likeness(a: Pixels, b: Pixels) -> float:
    """Share of equal bits of the two difference hashes (64 bits)."""
    first, second = (imagehash.dhash(Image.fromarray(x)) for x in (a, b))
    return 1 - (first - second) / 64


def ssim_likeness(a: Pixels, b: Pixels) -> float:
    """Structural similarity of the colour images."""
    return float(structural_similarity(a, b, channel_axis=2))


LIKENESS: dict[str, Callable[[Pixels, Pixels], float]] = {
    "histogram": histogram_likeness,
    "dHash": dhash_likeness,
    "SSIM": ssim_likeness,
}


class Measure:
    """Measures games whose reports are in the work folder."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.cache = FeatureCache(work / "run" / "features", InceptionExtractor())
        self.pixels: dict[str, Pixels] = {}
        self.pairs: dict[tuple[str, str, str], float] = {}
        self.references = {
            "sharp": {name: match_reference(read_image(sharp(name)).pixels, SIZE, SIZE) for name in ARTISTS_WORKS},
            "soft": {name: read_image(soft(work, name)).pixels for name in ARTISTS_WORKS if soft(work, name).exists()},
        }

    def game(self, game: Game) -> dict[str, Any]:
        """All figures of one game, players in the order of its report.

        Raises:
            GameError: a player without effect has a value, or the values do not sum to v(N).
        """
        report = json.loads(report_path(self.work, game).read_text(encoding="utf-8"))["report"]
        order = [_index(game, player) for player in report["players"]]
        parts = [game.cast.parts[i] for i in order]
        rows = {row["mask"]: row["image_files"] for row in report["coalitions"]}
        made = len(rows[0])
        record: dict[str, Any] = game.record() | {
            "images": made,
            "parts": [part.__dict__ | {"held_out": None} for part in parts],
            "planted": [game.cast.parts[i].strength if i in game.culprits else 0.0 for i in order],
            "results": {},
        }
        for kind, works in self.references.items():
            for count in [n for n in COUNTS if n <= made]:
                first = {mask: files[:count] for mask, files in rows.items()}
                found = self._evaluate(game, parts, first, works)
                check(found, [part.role for part in parts])
                figures = _figures(found, parts)
                for name, values in self._rivals(game, first, kind, works).items():
                    figures[name] = _round(shapley_values(values - values[0]))
                record["results"].setdefault(kind, {})[str(count)] = figures
        return record

    def sheet(self, game: Game, out: Path) -> None:
        """A picture of a game: above, the first image of each coalition by ascending mask; below, the reference."""
        report = json.loads(report_path(self.work, game).read_text(encoding="utf-8"))["report"]
        files = [row["image_files"][0]["file"] for row in sorted(report["coalitions"], key=lambda row: row["mask"])]
        above = [read_image(self.work / "run" / "coalitions" / file).pixels for file in files]
        below = [self.references[kind][name] for kind in ("sharp", "soft") for name in game.works]
        image = Image.new("RGB", (SIZE * max(len(above), len(below)), 2 * SIZE), "white")
        for line, row in enumerate((above, below)):
            for place, pixels in enumerate(row):
                image.paste(Image.fromarray(pixels), (SIZE * place, SIZE * line))
        image.save(out, quality=85)

    def _features(self, images: list[tuple[Pixels, str]]) -> NDArray[np.float32]:
        return self.cache.features(images)

    def _evaluate(
        self, game: Game, parts: list[Any], rows: Mapping[int, list[dict[str, Any]]], works: Mapping[str, Pixels]
    ) -> Evaluation:
        artist = game.works[0].partition("/")[0]
        others = [pixels for name, pixels in works.items() if not name.startswith(f"{artist}/")]
        return evaluate(
            [part.name for part in parts],
            {mask: np.stack([self._stored(item) for item in files]) for mask, files in rows.items()},
            self._features([(works[name], pixel_hash(works[name])) for name in game.works]),
            {mask: [item["pixel_sha256"] for item in files] for mask, files in rows.items()},
            seeds={mask: [item["seed"] for item in files] for mask, files in rows.items()},
            control=self._features([(pixels, pixel_hash(pixels)) for pixels in others]),
        )

    def _stored(self, item: Mapping[str, Any]) -> NDArray[np.float32]:
        row = self.cache.stored(item["pixel_sha256"])
        if row is None:
            raise GameError(f"The features of {item['file']} are missing in {self.work}; run the games again.")
        return row

    def _rivals(
        self, game: Game, rows: Mapping[int, list[dict[str, Any]]], kind: str, works: Mapping[str, Pixels]
    ) -> dict[str, Floats]:
        """Mean likeness of every coalition to the reference, (2**n,), by each rival measure."""
        keys = {name: pixel_hash(works[name]) for name in game.works}
        known = self._features([(works[name], key) for name, key in keys.items()]).astype(np.float64)
        known /= np.linalg.norm(known, axis=1, keepdims=True)
        found: dict[str, list[float]] = {name: [] for name in ("cosine", *LIKENESS)}
        for mask in range(len(rows)):
            features = np.stack([self._stored(item) for item in rows[mask]]).astype(np.float64)
            features /= np.linalg.norm(features, axis=1, keepdims=True)
            found["cosine"].append(float((features @ known.T).mean()))
            for name in LIKENESS:
                values = [self._likeness(name, item, works[w], keys[w]) for item in rows[mask] for w in game.works]
                found[name].append(float(np.mean(values)))
        return {name: np.array(values) for name, values in found.items()}

    def _likeness(self, name: str, item: Mapping[str, Any], other: Pixels, other_key: str) -> float:
        key = item["pixel_sha256"]
        if (name, key, other_key) not in self.pairs:
            if key not in self.pixels:
                self.pixels[key] = read_image(self.work / "run" / "coalitions" / item["file"]).pixels
            self.pairs[name, key, other_key] = LIKENESS[name](self.pixels[key], other)
        return self.pairs[name, key, other_key]


def check(found: Evaluation, roles: list[str]) -> None:
    """What must hold in every game.

    Raises:
        GameError: it does not.
    """
    for phi, role, name in zip(found.shapley, roles, found.players, strict=True):
        if role == "none" and phi != 0:
            raise GameError(f"“{name}” has no effect, but its value is {phi}.")
    if abs(found.shapley.sum() - found.values[-1]) > 1e-9 * max(1.0, float(np.abs(found.values).max())):
        raise GameError(f"The values sum to {found.shapley.sum()}, and v(N) is {found.values[-1]}.")


def _figures(found: Evaluation, parts: list[Any]) -> dict[str, Any]:
    sure = found.uncertainty
    figures: dict[str, Any] = {
        "fid": _round(found.shapley),
        "kid": None if found.kid_shapley is None else _round(found.kid_shapley),
        "leave-one-out": _round(found.leave_one_out),
        "single": _round(found.single),
        "contrast": None if found.control is None else _round(found.control.contrast),
        "fid_interval": None if sure is None else _round(sure.shapley),
        "kid_interval": None if sure is None or sure.kid_shapley is None else _round(sure.kid_shapley),
    }
    copies = [i for i, part in enumerate(parts) if part.role == "copy"]
    for copy in copies:
        for i, part in enumerate(parts):
            if sure is not None and parts[copy].name.endswith(part.name) and i != copy:
                figures["copy"] = _round(np.append(sure.difference[i, copy], found.shapley[i] - found.shapley[copy]))
    return figures


def _round(values: Any) -> Any:
    """Plain lists of numbers with five digits."""
    return json.loads(
        json.dumps(np.asarray(values, dtype=np.float64).tolist()), parse_float=lambda x: float(f"{float(x):.5g}")
    )


def _index(game: Game, player: Mapping[str, Any]) -> int:
    """The place in the cast of a report's player."""
    if player["kind"] == "lora":
        return int(player["node"].removeprefix("lora"))
    return next(i for i in game.players if game.cast.parts[i].kind == player["kind"])
