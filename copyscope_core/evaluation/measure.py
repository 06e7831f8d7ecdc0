"""From images to numbers: the features of every coalition and of the reference, and their evaluation.

Shared by audits on a server, audits in a graph and images already on disk. One coalition's images are in memory at a
time; features come from the cache where it has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..controls.bank import ControlBank
from ..distances.registry import INFINITY_IMAGES
from ..errors import GameError, ImageError
from ..features.extractor import FeatureCache
from ..features.views import CONTENT, views_of
from ..files.images import ImageFile, in_threads
from ..files.pixels import Pixels, describe_defects, match_record, match_reference, pixel_hash
from ..game.coalitions import label
from ..game.design import Design, Exact
from ..game.statistics import LEVEL
from .bank_control import bank_control
from .cautions import extractor_cautions
from .evaluate import Caution, DistanceName, Evaluation, evaluate

Progress = Callable[[int, int], None]
"""Called with (coalitions done, coalitions in all); may raise to interrupt."""

_MOST_NAMED = 4


@dataclass(frozen=True)
class Measurement:
    """What a report is built from.

    Attributes:
        evaluation: distances and Shapley values.
        reference: record of the reference images, as ``report.schema.Reference`` reads it.
        images: mask → records of the coalition's images, as ``report.schema.ImageRecord`` reads them.
        warnings: about the images themselves.
        control: record of the control images, like that of the reference; None: there are none.
        reference_features: (m, d).
    """

    evaluation: Evaluation
    reference: dict[str, Any]
    images: dict[int, list[dict[str, Any]]]
    warnings: tuple[Caution, ...]
    control: dict[str, Any] | None
    reference_features: NDArray[np.float32]


class GeneratedImage(NamedTuple):
    """An image of a coalition.

    Attributes:
        seed: its offset; None: unknown.
        frame: its place in the clip that its seed gave, from 0; None: it is an image of its own.
    """

    image: ImageFile
    seed: int | None
    frame: int | None = None


@dataclass(frozen=True)
class Works:
    """What coalitions are compared with.

    Attributes:
        reference: the rights holder's images.
        control: unrelated images of the same kind; empty: none.
        bank: where the control comes from that is not given; None: then there is none.
    """

    reference: Sequence[ImageFile]
    control: Sequence[ImageFile] = ()
    bank: ControlBank | None = None


@dataclass(frozen=True)
class ImageSummary:
    """What is kept of a coalition's images once they have been read.

    Attributes:
        size: (width, height) of all of them.
        features: (k, d).
        records: as ``report.schema.ImageRecord`` reads them.
        defects: what looks broken, a clause each.
    """

    size: tuple[int, int]
    features: NDArray[np.float32]
    records: tuple[dict[str, Any], ...]
    defects: tuple[str, ...]


def measure(
    names: Sequence[str],
    load: Callable[[int], Sequence[GeneratedImage]],
    works: Works,
    cache: FeatureCache,
    progress: Progress | None = None,
    *,
    distance: DistanceName = "fid",
    design: Design | None = None,
    summaries: dict[int, ImageSummary] | None = None,
    bank_progress: Progress | None = None,
    level: float = LEVEL,
) -> Measurement:
    """Measure coalitions against the reference.

    Args:
        names: the players.
        load: gives a coalition's images in the order of the seeds.
        works: reference and control; brought to the generated images' size and aspect.
        cache: features by pixel hash.
        distance: what v(S) is made of.
        design: which coalitions; None: all 2ⁿ.
        summaries: of coalitions that an earlier call has read, by mask, which are not loaded again; those that this
            call reads are added.
        bank_progress: told of the control bank's pictures, where their features are not known on this machine yet.
        level: of every interval.

    Raises:
        GameError: the distance is not defined for so few images.
        ImageError: a coalition has no images, or images differ in size.
    """
    design = design or Exact(len(names))
    known: dict[int, ImageSummary] = {} if summaries is None else summaries
    size: tuple[int, int] | None = None
    for done, mask in enumerate(reversed(design.masks)):
        if mask not in known:
            known[mask] = _summarise(load(mask), label(mask, names), cache, distance)
        size = _same_size(known[mask].size, size, label(mask, names))
        if progress is not None:
            progress(done + 1, len(design.masks))
    found = {mask: known[mask] for mask in reversed(design.masks)}
    width, height = size or (0, 0)
    reference_record, reference_features = _matched(works.reference, width, height, cache)
    control_record, control_features = _control(works, reference_features, width, height, cache, bank_progress)
    clips = any(record["frame"] is not None for item in found.values() for record in item.records)
    records, views = {}, views_of(cache.extractor)
    content = views[CONTENT]
    for mask, item in found.items():
        places, distances = nearest_references(item.features[:, content], reference_features[:, content])
        records[mask] = [
            {**row, "nearest": int(place), "nearest_distance": float(away)}
            for row, place, away in zip(item.records, places, distances, strict=True)
        ]
    return Measurement(
        evaluate(
            names,
            {mask: item.features for mask, item in found.items()},
            reference_features,
            {mask: [record["pixel_sha256"] for record in item.records] for mask, item in found.items()},
            seeds={mask: [record["seed"] for record in item.records] for mask, item in found.items()},
            control=control_features,
            distance=distance,
            design=design,
            views=views,
            preprocessing=cache.extractor.id,
            clips=clips,
            level=level,
        ),
        reference_record,
        records,
        (
            *extractor_cautions(cache.extractor.id),
            *_defect_warnings([defect for item in found.values() for defect in item.defects]),
        ),
        control_record,
        reference_features,
    )


def _summarise(
    images: Sequence[GeneratedImage], coalition: str, cache: FeatureCache, distance: DistanceName
) -> ImageSummary:
    """Read a coalition's images: their features, and what reports say of them."""
    if not images:
        raise ImageError(f"The coalition {coalition} has no images.")
    clips = len({item.seed for item in images}) if any(item.frame is not None for item in images) else None
    check_images(distance, len(images), f"the coalition {coalition} has {clips or len(images):,}", clips)
    sizes = {(item.image.pixels.shape[1], item.image.pixels.shape[0]): item.image for item in images}
    if len(sizes) > 1:
        (one, first), (other, second) = list(sizes.items())[:2]
        raise ImageError(
            f"The images of the coalition {coalition} differ in size: {first.name} is {one[0]}×{one[1]}, {second.name} "
            f"{other[0]}×{other[1]}; all images of an audit must have one size."
        )
    return ImageSummary(
        next(iter(sizes)),
        cache.features([item.image for item in images]),
        tuple(
            image_record(image.name, image.pixel_sha256, image.file_sha256, seed, frame)
            for image, seed, frame in images
        ),
        tuple(
            f"{coalition}, {image.name if seed is None else image_label(seed, frame)} {defect}"
            for image, seed, frame in images
            for defect in describe_defects(image.pixels)
        ),
    )


def image_record(
    file: str, pixel_sha256: str, file_sha256: str, seed: int | None, frame: int | None = None
) -> dict[str, Any]:
    """An image as ``report.schema.ImageRecord`` reads it.

    Args:
        file: its place in the coalitions' folder.
        seed: its offset.
        frame: its place in its clip, from 0; None: it is an image of its own.
    """
    return {"file": file, "pixel_sha256": pixel_sha256, "sha256": file_sha256, "seed": seed, "frame": frame}


def image_label(seed: int, frame: int | None) -> str:
    """How messages call an image; frames are counted from 1."""
    return f"seed +{seed}" if frame is None else f"seed +{seed}, frame {frame + 1},"


def known_summary(
    images: Sequence[tuple[dict[str, Any], tuple[int, int], Sequence[str] | None]], coalition: str, cache: FeatureCache
) -> ImageSummary | None:
    """What reading a coalition's images would give, without reading them; None where they must be read.

    Args:
        images: each one's :func:`image_record`, (width, height), and defects (None: not known).
    """
    sizes = {size for _, size, _ in images}
    if len(sizes) != 1 or any(defects is None for _, _, defects in images):
        return None
    rows = []
    for record, _, _ in images:
        row = cache.stored(record["pixel_sha256"])
        if row is None:
            return None
        rows.append(row)
    return ImageSummary(
        sizes.pop(),
        np.stack(rows),
        tuple(record for record, _, _ in images),
        tuple(
            f"{coalition}, {image_label(record['seed'], record['frame'])} {defect}"
            for record, _, defects in images
            for defect in defects or ()
        ),
    )


def check_images(distance: DistanceName, images: int, which: str, clips: int | None = None) -> None:
    """Refuse a distance that is not defined for so few images, before they are made or their features computed.

    Args:
        images: how many a coalition has.
        which: the number, of clips where they are frames, as a clause with what it comes from.
        clips: how many clips they are frames of; None: they are no frames.

    Raises:
        GameError: there are too few.
    """
    if distance == "fid_infinity" and clips is not None:
        raise GameError("The distance fid_infinity is not defined for frames of clips; use kid, or fid.")
    if distance == "fid_infinity" and images < INFINITY_IMAGES:
        raise GameError(
            f"The distance fid_infinity needs at least {INFINITY_IMAGES:,} images a combination, and {which}; "
            "use kid, which is unbiased for any number of images, or make more."
        )
    if distance in ("kid", "mmd") and (images if clips is None else clips) < 2:
        thing = "images" if clips is None else "clips"
        raise GameError(
            f"The distance {distance} needs at least 2 {thing} a combination, and {which}; use fid, or make more."
        )


def nearest_references(
    features: NDArray[np.floating], reference: NDArray[np.floating]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """For each image (k, d) the place of the nearest of the references (m, d) and its Euclidean distance."""
    x, y = features.astype(np.float64), reference.astype(np.float64)
    places = np.empty(len(x), dtype=np.intp)
    distances = np.empty(len(x))
    for row, vector in enumerate(x):
        away = np.linalg.norm(y - vector, axis=1)
        places[row] = int(away.argmin())
        distances[row] = away[places[row]]
    return places, distances


def _matched(
    images: Sequence[ImageFile], width: int, height: int, cache: FeatureCache
) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """The record of images brought to the generated images' size and aspect, and their features (m, d).

    Each image is decoded once, and a batch of them at that size is in memory at a time.
    """

    def match(image: ImageFile) -> tuple[dict[str, Any], Pixels]:
        whole = image.decoded()
        pixels = match_reference(whole.pixels, width, height)
        record = {
            "file": image.name,
            "pixel_sha256": whole.pixel_sha256,
            "sha256": whole.file_sha256,
            "matched_sha256": pixel_hash(pixels),
        }
        return record, pixels

    records, rows = [], []
    for start in range(0, len(images), cache.batch_size):
        matched = in_threads(match, images[start : start + cache.batch_size])
        records += [record for record, _ in matched]
        rows.append(cache.features([(pixels, record["matched_sha256"]) for record, pixels in matched]))
    preprocessing = {"method": match_record(width, height), "width": width, "height": height}
    features = np.concatenate(rows) if rows else cache.features([])
    return {"count": len(images), "images": records, "preprocessing": preprocessing}, features


def _control(
    works: Works,
    reference_features: NDArray[np.float32],
    width: int,
    height: int,
    cache: FeatureCache,
    progress: Progress | None,
) -> tuple[dict[str, Any] | None, NDArray[np.float32] | None]:
    """The record of the control images and their features (c, d): those given, else the bank's; None: none."""
    if works.control:
        return _matched(works.control, width, height, cache)
    if works.bank is None:
        return None, None
    chosen = bank_control(works.bank, works.reference, reference_features, (width, height), cache, progress)
    return chosen.record, chosen.features


def input_image_warnings(
    inputs: Mapping[str, ImageFile], reference: Sequence[ImageFile], cache: FeatureCache, measurement: Measurement
) -> list[Caution]:
    """Warn of images upstream that match a reference: then the image, not a model, is the likely source.

    An input matches where its pixels, at the generated images' size, are a reference's, or where it is nearer to one
    than any two reference images are to each other (with one reference: than half its distance to the coalition ∅).
    """
    shape = measurement.reference["preprocessing"]
    pixels = [match_reference(image.pixels, shape["width"], shape["height"]) for image in inputs.values()]
    content = views_of(cache.extractor)[CONTENT]
    given = cache.features([(item, pixel_hash(item)) for item in pixels])[:, content].astype(np.float64)
    known = measurement.reference_features[:, content].astype(np.float64)
    between = np.linalg.norm(known[:, None] - known[None], axis=2)
    limit = (
        between[np.triu_indices(len(known), 1)].min() if len(known) > 1 else np.sqrt(measurement.evaluation.mean[0]) / 2
    )
    result = []
    for (node, image), vector in zip(inputs.items(), given, strict=True):
        distances = np.linalg.norm(known - vector, axis=1)
        nearest = int(distances.argmin())
        what = f"The input image {image.name} (node {node}) is nearest to the reference {reference[nearest].name}"
        if distances[nearest] < limit:
            result.append(
                Caution(
                    "input_matches_reference",
                    f"{what} and matches it (feature distance "
                    f"{distances[nearest]:.1f}): the image, not a model, is the likely source of the resemblance.",
                )
            )
        else:
            result.append(Caution("input_image", f"{what}, at feature distance {distances[nearest]:.1f}."))
    return result


def _same_size(size: tuple[int, int], others: tuple[int, int] | None, coalition: str) -> tuple[int, int]:
    """The one (width, height) of all coalitions."""
    if others is not None and size != others:
        raise ImageError(
            f"The images of the coalition {coalition} are {size[0]}×{size[1]} where others are "
            f"{others[0]}×{others[1]}; all images of an audit must have one size."
        )
    return size


def _defect_warnings(defects: Sequence[str]) -> list[Caution]:
    if not defects:
        return []
    shown = "; ".join(defects[:_MOST_NAMED]) + (
        f"; and {len(defects) - _MOST_NAMED} more" if len(defects) > _MOST_NAMED else ""
    )
    return [Caution("defective_images", f"Some images look broken, and they count in the distances: {shown}.")]
