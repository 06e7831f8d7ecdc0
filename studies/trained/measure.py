"""Figures of the games, from kept images and features; nothing is sampled here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity

from copyscope_core.controls.bank import load_bank
from copyscope_core.errors import GameError
from copyscope_core.evaluation.bank_control import bank_control
from copyscope_core.evaluation.evaluate import Evaluation, evaluate
from copyscope_core.features.extractor import FeatureCache, InceptionExtractor
from copyscope_core.features.views import CONTENT
from copyscope_core.files.images import read_image
from copyscope_core.files.pixels import pixel_hash
from copyscope_core.game.shapley import shapley_values
from studies.planted.measure import rounded, verdict_of
from studies.trained.games import FEW_IMAGES, IMAGES, REFERENCES, SIZE, TWICE_IMAGES, Game, control_works
from studies.trained.run import rows_path, work_crop

Floats = NDArray[np.float64]
MAIN_REFERENCES = 5
"""Works of the reference where only one count is shown."""


@cache
def histogram(path: Path) -> Floats:
    """Parts of the pixels in 16 bins of each colour, (48,)."""
    pixels = read_image(path).pixels
    counts = np.concatenate([np.histogram(pixels[..., c], 16, (0, 256))[0] for c in range(3)])
    return counts / counts.sum()


@cache
def dhash(path: Path) -> NDArray[np.bool_]:
    """The 64 bits of the difference hash."""
    return np.asarray(imagehash.dhash(Image.fromarray(read_image(path).pixels)).hash).ravel()


@cache
def grey(path: Path) -> NDArray[np.uint8]:
    """Brightness of the pixels."""
    return np.asarray(Image.fromarray(read_image(path).pixels).convert("L"))


@cache
def ssim(one: Path, other: Path) -> float:
    """Structural similarity of the brightness."""
    return float(structural_similarity(grey(one), grey(other)))


def likeness(name: str, images: Sequence[Path], works: Sequence[Path]) -> float:
    """Mean likeness of all pairs of an image and a work by one of the simple measures."""
    if name == "SSIM":
        return float(np.mean([ssim(image, work) for image in images for work in works]))
    if name == "colour histogram":
        a, b = (np.stack([histogram(path) for path in paths]) for paths in (images, works))
        return float(np.minimum(a[:, None], b[None]).sum(2).mean())
    a, b = (np.stack([dhash(path) for path in paths]) for paths in (images, works))
    return float((a[:, None] == b[None]).mean())


class Measure:
    """Measures games whose casts have been run into the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = FeatureCache(folder / "run" / "features", InceptionExtractor())
        self.known: dict[str, NDArray[np.float32]] = {}

    def game(self, game: Game) -> dict[str, Any]:
        """All figures of one game, players in its order."""
        rows = self.rows(game)
        control = [work_crop(work, self.folder) for work in control_works(game)]
        record: dict[str, Any] = game.record() | {"controls": len(control), "results": {}}
        for images in (FEW_IMAGES, IMAGES, TWICE_IMAGES):
            if images > len(rows[0]) or (images == TWICE_IMAGES and not game.cast.run):
                continue
            first = {mask: items[:images] for mask, items in rows.items()}
            for count in [n for n in REFERENCES if n <= len(game.works)] or [len(game.works)]:
                works = [work_crop(work, self.folder) for work in game.works[:count]]
                found = self.evaluate(game, first, works, self.features(control))
                record["results"][f"{images}/{count}"] = figures(found)
        images, count = min(IMAGES, len(rows[0])), min(MAIN_REFERENCES, len(game.works))
        first = {mask: items[:images] for mask, items in rows.items()}
        works = [work_crop(work, self.folder) for work in game.works[:count]]
        for name, other in (("bank", self.bank(works)), ("none", None)):
            record[name] = {"verdict": verdict_of(self.evaluate(game, first, works, other))}
        if len(rows[0]) == TWICE_IMAGES:
            record["bank"]["twice"] = verdict_of(self.evaluate(game, rows, works, self.bank(works)))
        record["main"] = f"{images}/{count}"
        if record["main"] not in record["results"]:
            record["results"][record["main"]] = figures(self.evaluate(game, first, works, self.features(control)))
        record["rivals"] = self.rivals(first, works, control)
        if game.kind == "long":
            record["intervals"] = self.intervals(game, rows, works, self.features(control))
        return record

    def intervals(
        self,
        game: Game,
        rows: Mapping[int, list[dict[str, Any]]],
        works: Sequence[Path],
        control: NDArray[np.float32],
    ) -> dict[str, list[Any]]:
        """By value function: each player's interval from 16 images beside its contrast from the others, by turns."""
        found: dict[str, list[Any]] = {"content": [], "style": []}
        for start in range(0, len(rows[0]), IMAGES):
            few = {mask: items[start : start + IMAGES] for mask, items in rows.items()}
            rest = {mask: items[:start] + items[start + IMAGES :] for mask, items in rows.items()}
            one, other = (self.evaluate(game, part, works, control) for part in (few, rest))
            for name, ours, theirs in zip(found, one.functions, other.functions, strict=True):
                assert ours.contrast_interval is not None
                assert theirs.contrast is not None
                pairs = zip(rounded(ours.contrast_interval), rounded(theirs.contrast), strict=True)
                found[name] += [[ends, value] for ends, value in pairs]
        return found

    def rows(self, game: Game) -> dict[int, list[dict[str, Any]]]:
        """The images of each coalition of the game's players; the cast's other parts are absent."""
        stored = json.loads(rows_path(self.folder, game.cast).read_text(encoding="utf-8"))["rows"]
        found = {}
        for mask in range(2 ** len(game.players)):
            own = sum(1 << place for bit, place in enumerate(game.players) if mask >> bit & 1)
            found[mask] = stored[str(own)]
        return found

    def features(self, paths: Sequence[Path]) -> NDArray[np.float32]:
        """Features of works."""
        for path in paths:
            if str(path) not in self.known:
                pixels = read_image(path).pixels
                self.known[str(path)] = self.cache.features([(pixels, pixel_hash(pixels))])[0]
        return np.stack([self.known[str(path)] for path in paths])

    def bank(self, works: Sequence[Path]) -> NDArray[np.float32]:
        """Features of the works of CopyScope's own bank that an audit without a control would choose."""
        images = [read_image(path) for path in works]
        return bank_control(load_bank(), images, self.features(works), (SIZE, SIZE), self.cache).features

    def evaluate(
        self,
        game: Game,
        rows: Mapping[int, list[dict[str, Any]]],
        works: Sequence[Path],
        control: NDArray[np.float32] | None,
    ) -> Evaluation:
        """The audit's evaluation of the game."""
        return evaluate(
            [part.name for part in game.parts],
            {mask: np.stack([self._stored(item) for item in items]) for mask, items in rows.items()},
            self.features(works),
            {mask: [item["pixel_sha256"] for item in items] for mask, items in rows.items()},
            seeds={mask: [item["seed"] for item in items] for mask, items in rows.items()},
            control=control,
            views=InceptionExtractor.views,
            preprocessing=InceptionExtractor.id,
        )

    def rivals(
        self, rows: Mapping[int, list[dict[str, Any]]], works: Sequence[Path], control: Sequence[Path]
    ) -> dict[str, Any]:
        """Shapley values of simple measures, each as its likeness to the reference less that to the control."""
        content = InceptionExtractor.views[CONTENT]
        ours, others = (_unit(self.features(paths)[:, content]) for paths in (works, control))
        found: dict[str, list[float]] = {name: [] for name in ("cosine", "SSIM", "dHash", "colour histogram")}
        for mask in range(len(rows)):
            paths = [self.folder / "run" / "coalitions" / item["file"] for item in rows[mask]]
            features = _unit(np.stack([self._stored(item)[content] for item in rows[mask]]))
            found["cosine"].append(float((features @ ours.T).mean() - (features @ others.T).mean()))
            for name in ("SSIM", "dHash", "colour histogram"):
                found[name].append(likeness(name, paths, works) - likeness(name, paths, control))
        return {name: rounded(shapley_values(np.array(values) - values[0])) for name, values in found.items()}

    def _stored(self, item: Mapping[str, Any]) -> NDArray[np.float32]:
        row = self.known.get(item["pixel_sha256"])
        if row is None:
            row = self.cache.stored(item["pixel_sha256"])
            if row is None:
                raise GameError(f"The features of {item['file']} are missing in {self.folder}; run the games again.")
            self.known[item["pixel_sha256"]] = row
        return row


def figures(found: Evaluation) -> dict[str, Any]:
    """What each method says of each player, and the verdict.

    Leave-one-out and single increments are of the distance to the control less that to the reference.
    """
    assert found.control is not None
    game = (found.control.distance - found.distance) - (found.control.distance - found.distance)[0]
    whole, count = 2 ** len(found.players) - 1, len(found.players)
    return {
        "FID": rounded(found.shapley),
        "content": rounded(found.functions[0].contrast),
        "style": rounded(found.functions[1].contrast),
        "leave-one-out": rounded([game[whole] - game[whole & ~(1 << i)] for i in range(count)]),
        "single": rounded([game[1 << i] for i in range(count)]),
        "verdict": verdict_of(found),
    }


def _unit(rows: NDArray[np.float32]) -> Floats:
    rows = rows.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
