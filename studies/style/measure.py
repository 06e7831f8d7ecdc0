"""Likeness of an artist's and of a rival's works to a reference, by each value function: lower is more alike.

A distance of two sets needs no control. A contrast is a distance to the reference less the same distance to the
control: KID's own terms of the set, k(x, x′), cancel, and those of reference and control are the same for both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from copyscope_core.controls.bank import load_bank
from copyscope_core.controls.choose import choose_controls
from copyscope_core.distances.csls import csls
from copyscope_core.distances.frechet import frechet_distance
from copyscope_core.distances.kernel import kernel_value, polynomial_kernel
from copyscope_core.features.extractor import FeatureCache, Progress
from copyscope_core.features.views import CONTENT, STYLE, views_of
from copyscope_core.files.images import ImageOnDisk, in_threads
from copyscope_core.files.pixels import Pixels, match_reference, pixel_hash, resize_bicubic

from .comparisons import Comparison
from .works import SQUARES, Collection, Work

Floats = NDArray[np.float64]
BANK = "bank/{}"
"""Key of a work of CopyScope's control bank, by its place."""
SMALL = 64
"""Side of the grey pictures that SSIM compares."""


@dataclass(eq=False)
class Measured:
    """All that is known of each work's squares at one size, (squares, d) each; controls may have their first alone."""

    content: dict[str, Floats] = field(default_factory=dict)
    style: dict[str, Floats] = field(default_factory=dict)
    colour: dict[str, Floats] = field(default_factory=dict)
    grey: dict[str, Floats] = field(default_factory=dict)


def measure(
    collection: Collection, works: Mapping[str, int], size: int, cache: FeatureCache, progress: Progress
) -> Measured:
    """Measure works, by id, so many squares each."""
    found = Measured()
    views = views_of(cache.extractor)
    bank = load_bank().images

    def of_work(key: str, count: int) -> list[Pixels]:
        return collection.squares(collection.works[key], size)[:count]

    def of_bank(image: ImageOnDisk) -> list[Pixels]:
        return [match_reference(image.decoded().pixels, size, size)]

    squares_of: dict[str, Callable[[], list[Pixels]]] = {
        key: partial(of_work, key, count) for key, count in works.items()
    }
    for place, image in enumerate(bank):
        squares_of[BANK.format(place)] = partial(of_bank, image)
    for done, (key, squares_in) in enumerate(squares_of.items()):
        squares = squares_in()
        rows = cache.features([(square, pixel_hash(square)) for square in squares]).astype(np.float64)
        found.content[key] = rows[:, views[CONTENT]]
        if STYLE in views:
            found.style[key] = rows[:, views[STYLE]]
        found.colour[key] = np.stack(in_threads(_colour, squares))
        found.grey[key] = np.stack(in_threads(_grey, squares))
        progress(done + 1, len(squares_of))
    return found


def bank_controls(measured: Measured, comparison: Comparison) -> list[str]:
    """Works of CopyScope's own bank that an audit without a control would choose for the reference."""
    works = load_bank().works
    keys = [BANK.format(place) for place in range(len(works))]
    choice = choose_controls(works, _wholes(measured.content, keys), _wholes(measured.content, comparison.reference))
    return [keys[place] for place in choice.used]


def wanted(collection: Collection, role: str) -> dict[str, int]:
    """How many squares are needed of each work: all of the works that are compared, one of those that are control."""
    compared = {work.id for work in collection.of(role)}
    return {key: SQUARES if key in compared else 1 for key in collection.works if _may_be_seen(collection, key, role)}


def _may_be_seen(collection: Collection, key: str, role: str) -> bool:
    """While tuning, no work of an artist of the report is looked at, not even as a control."""
    return role == "report" or collection.artists[collection.works[key].artist].role != "report"


def control(collection: Collection, comparison: Comparison, role: str) -> list[str]:
    """Works of all other artists of the same kind, neither the artist's nor the rival's."""
    kind = collection.artists[comparison.artist].kind
    left_out = {comparison.artist, comparison.rival}

    def counts(work: Work) -> bool:
        same = collection.artists[work.artist].kind == kind
        return same and work.artist not in left_out and _may_be_seen(collection, work.id, role)

    return [work.id for work in collection.works.values() if counts(work)]


Scores = dict[str, tuple[float, float]]
"""By value function: of the artist's own works and of the rival's."""


def score(measured: Measured, comparison: Comparison, others: Sequence[str]) -> Scores:
    """A comparison by every value function."""
    sides = (comparison.own, comparison.other)

    def both(table: Mapping[str, Floats], distance: Callable[[Floats, Floats], float]) -> tuple[float, float]:
        reference = _wholes(table, comparison.reference)
        own, other = (distance(np.concatenate([table[key] for key in side]), reference) for side in sides)
        return own, other

    def contrast(table: Mapping[str, Floats], distance: Callable[[Floats, Floats], float]) -> tuple[float, float]:
        unrelated = _wholes(table, others)
        near, far = (
            both(table, distance),
            [distance(np.concatenate([table[key] for key in side]), unrelated) for side in sides],
        )
        return near[0] - far[0], near[1] - far[1]

    scores = {
        "content FID": both(measured.content, _fid),
        "content KID": both(measured.content, _kid),
        "content KID − control": contrast(measured.content, _kid),
        "colour": both(measured.colour, _linear),
        "colour − control": contrast(measured.colour, _linear),
        "SSIM": both(measured.grey, _dissimilarity),
    }
    if measured.style:
        scores["style FID"] = both(measured.style, _fid)
        scores["style KID"] = both(measured.style, _kid)
        scores["style KID − control"] = contrast(measured.style, _kid)
    else:  # a local model, whose features are compared by their cosine
        unrelated = _wholes(measured.content, others)
        scores["content CSLS"] = both(measured.content, lambda x, y: -float(csls(x, y, unrelated).mean()))
    return scores


def certainty(measured: Measured, comparison: Comparison, others: Sequence[str], view: str) -> float:
    """How sure a contrast is: its difference between rival and artist over its standard error, from the images alone.

    KID − control is a mean over the images of one number each (its k(x, x′) cancel), so the error is theirs.
    """
    table: dict[str, Floats] = getattr(measured, view)
    reference, unrelated = _wholes(table, comparison.reference), _wholes(table, others)

    def each(side: Sequence[str]) -> Floats:
        x = np.concatenate([table[key] for key in side])
        near, far = (polynomial_kernel(x, y).mean(axis=1) for y in (reference, unrelated))
        return np.asarray(2 * (far - near))

    own, other = each(comparison.own), each(comparison.other)
    error = np.sqrt(own.var(ddof=1) / len(own) + other.var(ddof=1) / len(other))
    return float((other.mean() - own.mean()) / max(error, np.finfo(np.float64).tiny))


def _wholes(table: Mapping[str, Floats], keys: Sequence[str]) -> Floats:
    return np.stack([table[key][0] for key in keys])


def _fid(x: Floats, y: Floats) -> float:
    return frechet_distance(x, y).distance


def _kid(x: Floats, y: Floats) -> float:
    value = kernel_value(x, y)
    assert value is not None
    return value


def _linear(x: Floats, y: Floats) -> float:
    """Squared distance of the means."""
    return float(((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum())


def _dissimilarity(x: Floats, y: Floats) -> float:
    def alike(a: Floats, b: Floats) -> Any:
        return structural_similarity(a.reshape(SMALL, SMALL), b.reshape(SMALL, SMALL), data_range=255)

    return -float(np.mean([alike(a, b) for a in x for b in y]))


def _colour(pixels: Pixels) -> Floats:
    """Mean and spread of each channel."""
    return np.concatenate([pixels.mean(axis=(0, 1)), pixels.std(axis=(0, 1))])


def _grey(pixels: Pixels) -> Floats:
    return resize_bicubic(pixels, SMALL, SMALL).mean(axis=2).ravel().astype(np.float64)
