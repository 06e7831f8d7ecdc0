"""What the choice of controls from the bank does to a contrast, on real works.

    python -m studies.control_bank --out docs/measured/control_bank.json

*Innocent*: reference, images with the player and controls are works of one kind of the bank by different hands, the
images without it are of another kind. The player brings the kind and nothing of the reference's own: its contrast
should be 0. *Culprit*: reference and images with the player are works of one artist of ``samples/reference`` that are
not the same works. Contrasts are in FID points: 0 is right for the innocent, and the more the better for the culprit.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from copyscope_core.controls.bank import BankWork, ControlBank, load_bank
from copyscope_core.controls.choose import choose_controls
from copyscope_core.evaluation.bank_control import bank_features
from copyscope_core.features.extractor import FeatureCache, FeatureExtractor, InceptionExtractor
from copyscope_core.features.views import CONTENT, views_of
from copyscope_core.files.folders import read_folder
from copyscope_core.files.pixels import match_reference, pixel_hash

SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "reference"
REFERENCES = (1, 2, 5)
IMAGES = 6
LARGE_KINDS = ("generated", "illustration", "painting", "photograph")
FEWEST = 10
"""Fewer than in use, since here works of the reference's kind play other parts too."""
TRIALS = 400
SEED = 16

Floats = NDArray[np.float64]
Policy = Callable[[list[BankWork], Floats, Floats], NDArray[np.intp]]


def whole_bank(works: list[BankWork], features: Floats, reference: Floats) -> NDArray[np.intp]:
    """Every work."""
    return np.arange(len(works))


def nearest(works: list[BankWork], features: Floats, reference: Floats) -> NDArray[np.intp]:
    """The works nearest to the reference's mean."""
    return np.linalg.norm(features - reference.mean(0), axis=1).argsort()[:FEWEST]


def kinds(works: list[BankWork], features: Floats, reference: Floats) -> NDArray[np.intp]:
    """What CopyScope does."""
    return np.array(choose_controls(works, features, reference, fewest=FEWEST).used)


POLICIES: dict[str, Policy] = {"whole bank": whole_bank, "nearest works": nearest, "nearest kinds": kinds}


def features_at(size: int, folder: Path | None, extractor: FeatureExtractor | None = None) -> tuple[Floats, Any]:
    """Content features of the bank, (b, d), and of each artist of the samples, name → (m, d), at one size."""
    used = extractor or InceptionExtractor()
    cache, content = FeatureCache(folder, used), views_of(used)[CONTENT]
    artists = {}
    for place in sorted(path for path in SAMPLES.iterdir() if path.is_dir()):
        pixels = [match_reference(image.pixels, size, size) for image in read_folder(place)]
        artists[place.name] = cache.features([(item, pixel_hash(item)) for item in pixels])[:, content].astype(float)
    return bank_features(load_bank(), (size, size), used)[:, content].astype(float), artists


def contrast(reference: Floats, control: Floats, before: Floats, after: Floats) -> float:
    """Contrast of a player that turns ``before`` into ``after``, of the mean part of FID: 2 (x̄ − x̄∅)·(ȳ − z̄)."""
    return float(2 * (after.mean(0) - before.mean(0)) @ (reference.mean(0) - control.mean(0)))


def innocents(bank: ControlBank, features: Floats, m: int) -> Iterator[dict[str, float]]:
    """For each policy, the contrast of a player that brings the kind alone."""
    names = np.array([work.kind for work in bank.works])
    draws = np.random.default_rng(SEED)
    for _ in range(TRIALS):
        kind, other = draws.choice(LARGE_KINDS, 2, replace=False)
        own, foreign = (draws.permutation(np.flatnonzero(names == name)) for name in (kind, other))
        reference, after, before = own[:m], own[m : m + IMAGES], foreign[:IMAGES]
        free = np.setdiff1d(np.arange(len(names)), np.concatenate([reference, after, before]))
        works, known = [bank.works[place] for place in free], features[free]
        yield {
            name: contrast(features[reference], known[policy(works, known, features[reference])], features[before],
                           features[after])
            for name, policy in POLICIES.items()
        }  # fmt: skip


def culprits(bank: ControlBank, features: Floats, artists: dict[str, Floats], m: int) -> Iterator[dict[str, float]]:
    """For each policy, the contrast of a player that brings other works of the reference's artist."""
    names, works = np.array([work.kind for work in bank.works]), list(bank.works)
    draws = np.random.default_rng(SEED)
    for own in artists.values():
        for chosen in itertools.islice(itertools.combinations(range(len(own)), m), 20):
            reference, after = own[list(chosen)], np.delete(own, list(chosen), axis=0)
            for other in LARGE_KINDS if len(after) else ():
                before = features[draws.permutation(np.flatnonzero(names == other))[:IMAGES]]
                yield {
                    name: contrast(reference, features[policy(works, features, reference)], before, after)
                    for name, policy in POLICIES.items()
                }


def study(size: int, folder: Path | None) -> dict[str, Any]:
    """The tables at one size of images: mean contrasts in FID points, and how often the kind is known."""
    bank = load_bank()
    features, artists = features_at(size, folder)
    result: dict[str, Any] = {"size": size, "innocent": {}, "culprit": {}, "right kind": {}}
    names = [work.kind for work in bank.works]
    for m in REFERENCES:
        for who, rows in (
            ("innocent", list(innocents(bank, features, m))),
            ("culprit", list(culprits(bank, features, artists, m))),
        ):
            result[who][m] = {name: round(float(np.mean([row[name] for row in rows])), 1) for name in POLICIES}
        result["right kind"][m] = right_kind(bank, features, names, m)
    return result


def right_kind(bank: ControlBank, features: Floats, names: list[str], m: int) -> float:
    """How often the kind of m works that were taken out of the bank is the first that is chosen."""
    draws, right = np.random.default_rng(SEED), 0
    for _ in range(TRIALS):
        kind = draws.choice(sorted(set(names)))
        out = draws.permutation([place for place, name in enumerate(names) if name == kind])[:m]
        rest = np.setdiff1d(np.arange(len(names)), out)
        choice = choose_controls([bank.works[place] for place in rest], features[rest], features[out])
        right += choice.kinds[0] == kind
    return right / TRIALS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--features", type=Path, help="folder where features are kept")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    text = json.dumps([study(size, arguments.features) for size in arguments.sizes], indent=1)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
