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

from copyscope_core.controls.bank import load_bank
from copyscope_core.errors import GameError
from copyscope_core.evaluation.bank_control import bank_control
from copyscope_core.evaluation.evaluate import Evaluation, evaluate
from copyscope_core.features.extractor import FeatureCache, InceptionExtractor
from copyscope_core.features.views import CONTENT
from copyscope_core.files.images import read_image
from copyscope_core.files.pixels import Pixels, match_reference, pixel_hash
from copyscope_core.game.shapley import shapley_values
from copyscope_core.game.statistics import LEVEL, difference_intervals
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
        parts, rows = self.images(game)
        order = [game.cast.parts.index(part) for part in parts]
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
                found = self.evaluate(game, parts, first, works, self.others(game, works))
                check(found, [part.role for part in parts])
                figures = figures_of(found, parts)
                figures["verdicts"] = {
                    "control": verdict_of(found),
                    "bank": verdict_of(self.evaluate(game, parts, first, works, self.bank(game, kind, works))),
                    "none": verdict_of(self.evaluate(game, parts, first, works, None)),
                }
                for name, values in self._rivals(game, first, kind, works).items():
                    figures[name] = rounded(shapley_values(values - values[0]))
                record["results"].setdefault(kind, {})[str(count)] = figures
        return record

    def images(self, game: Game) -> tuple[list[Any], dict[int, list[dict[str, Any]]]]:
        """The players in the order of the game's report, and each coalition's images, one a seed, by mask."""
        report = json.loads(report_path(self.work, game).read_text(encoding="utf-8"))["report"]
        parts = [game.cast.parts[_index(game, player)] for player in report["players"]]
        return parts, {row["mask"]: row["image_files"] for row in report["coalitions"]}

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

    def evaluate(
        self,
        game: Game,
        parts: list[Any],
        rows: Mapping[int, list[dict[str, Any]]],
        works: Mapping[str, Pixels],
        control: NDArray[np.float32] | None,
        level: float = LEVEL,
    ) -> Evaluation:
        """What an audit says of a game's stored images."""
        return evaluate(
            [part.name for part in parts],
            {mask: np.stack([self._stored(item) for item in files]) for mask, files in rows.items()},
            self._features([(works[name], pixel_hash(works[name])) for name in game.works]),
            {mask: [item["pixel_sha256"] for item in files] for mask, files in rows.items()},
            seeds={mask: [item["seed"] for item in files] for mask, files in rows.items()},
            control=control,
            views=InceptionExtractor.views,
            preprocessing=InceptionExtractor.id,
            level=level,
        )

    def others(self, game: Game, works: Mapping[str, Pixels]) -> NDArray[np.float32]:
        """Features of the works of every other artist: a control of the reference's kind."""
        artist = game.works[0].partition("/")[0]
        others = [pixels for name, pixels in works.items() if not name.startswith(f"{artist}/")]
        return self._features([(pixels, pixel_hash(pixels)) for pixels in others])

    def bank(self, game: Game, kind: str, works: Mapping[str, Pixels]) -> NDArray[np.float32]:
        """Features of the works of CopyScope's own bank that an audit without a control would choose."""
        files = [sharp(name) if kind == "sharp" else soft(self.work, name) for name in game.works]
        reference = self._features([(works[name], pixel_hash(works[name])) for name in game.works])
        images = [read_image(path) for path in files]
        return bank_control(load_bank(), images, reference, (SIZE, SIZE), self.cache).features

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
        content = InceptionExtractor.views[CONTENT]
        known = self._features([(works[name], key) for name, key in keys.items()])[:, content].astype(np.float64)
        known /= np.linalg.norm(known, axis=1, keepdims=True)
        found: dict[str, list[float]] = {name: [] for name in ("cosine", *LIKENESS)}
        for mask in range(len(rows)):
            features = np.stack([self._stored(item)[content] for item in rows[mask]]).astype(np.float64)
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


def figures_of(found: Evaluation, parts: list[Any]) -> dict[str, Any]:
    sure = found.uncertainty
    figures: dict[str, Any] = {
        "fid": rounded(found.shapley),
        "kid": None if found.kid_shapley is None else rounded(found.kid_shapley),
        "leave-one-out": rounded(found.leave_one_out),
        "single": rounded(found.single),
        "contrast": None if found.functions[0].contrast is None else rounded(found.functions[0].contrast),
        "style": None if found.functions[1].contrast is None else rounded(found.functions[1].contrast),
        "fid_interval": None if sure is None else rounded(sure.shapley),
        "kid_interval": None if sure is None or sure.kid_shapley is None else rounded(sure.kid_shapley),
    }
    copies = [i for i, part in enumerate(parts) if part.role == "copy"]
    for copy in copies:
        for i, part in enumerate(parts):
            if sure is not None and parts[copy].name.endswith(part.name) and i != copy:
                gap = found.shapley[i] - found.shapley[copy]
                figures["copy"] = rounded(np.append(difference_intervals(found.shapley, sure.chance.all)[i, copy], gap))
    return figures


def verdict_of(found: Evaluation) -> dict[str, Any]:
    """The verdict, and what each value function says: first, estimate, interval, p of not above 0, p of not ahead."""
    said = {
        item.name: [
            item.standing.first,
            float(f"{item.standing.estimate:.5g}"),
            None if item.standing.interval is None else rounded(item.standing.interval),
            None if item.standing.above_zero is None else float(f"{item.standing.above_zero:.3g}"),
            None if item.standing.ahead is None else float(f"{item.standing.ahead:.3g}"),
        ]
        for item in found.verdict.said
    }
    verdict = found.verdict
    return {"decided": verdict.decided, "first": verdict.first, "reasons": list(verdict.reasons), "said": said}


def rounded(values: Any) -> Any:
    """Plain lists of numbers with five digits."""
    return json.loads(
        json.dumps(np.asarray(values, dtype=np.float64).tolist()), parse_float=lambda x: float(f"{float(x):.5g}")
    )


def _index(game: Game, player: Mapping[str, Any]) -> int:
    """The place in the cast of a report's player."""
    if player["kind"] == "lora":
        return int(player["node"].removeprefix("lora"))
    return next(i for i in game.players if game.cast.parts[i].kind == player["kind"])
