"""Control images from the bank, where the user has none: matched, measured and chosen like any others."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..controls.bank import ControlBank
from ..controls.choose import Bits, Choice, choose_controls, picture_bits, same_pictures
from ..features.extractor import FeatureCache, FeatureExtractor, Progress
from ..features.views import CONTENT, views_of
from ..files.images import ImageFile, in_threads
from ..files.pixels import Pixels, match_record, match_reference, pixel_hash
from ..store.runs import state_folder

FEATURES_FOLDER = "bank"
_SIZES_KEPT = 8


@dataclass(frozen=True)
class BankControl:
    """The works of the bank that an audit is compared with.

    Attributes:
        record: as ``report.schema.ControlRecord`` reads it.
        features: (c, d), in the order of the record's images.
    """

    record: dict[str, Any]
    features: NDArray[np.float32]


def bank_control(
    bank: ControlBank,
    reference: Sequence[ImageFile],
    reference_features: NDArray[np.float32],
    size: tuple[int, int],
    cache: FeatureCache,
    progress: Progress | None = None,
) -> BankControl:
    """Choose controls for a reference from the bank.

    The features of what is chosen go into the cache.

    Args:
        reference_features: (m, d), of the reference at the generated images' size.
        size: (width, height) of the generated images.
        progress: as :func:`bank_features` tells it.

    Raises:
        ImageError: a picture of the bank cannot be read.
        GameError: every work resembles the reference.
    """
    features = bank_features(bank, size, cache.extractor, progress)
    seen = np.stack(in_threads(lambda image: picture_bits(image.decoded().pixels), reference))
    content = views_of(cache.extractor)[CONTENT]
    same = same_pictures(_bits(bank), seen)
    choice = choose_controls(bank.works, features[:, content], reference_features[:, content], same)
    record = control_record(bank, choice, size)
    keys = [str(image["matched_sha256"]) for image in record["images"]]
    used = features[list(choice.used)]
    cache.keep({key: row for key, row in zip(keys, used, strict=True) if cache.stored(key) is None})
    return BankControl(record, used)


def control_record(bank: ControlBank, choice: Choice, size: tuple[int, int]) -> dict[str, Any]:
    """What a report says of controls from the bank."""
    records, (width, height) = bank_records(bank, size), size
    return {
        "count": len(choice.used),
        "images": [records[place] for place in choice.used],
        "preprocessing": {"method": match_record(width, height), "width": width, "height": height},
        "source": "bank",
        "bank": bank.version,
        "kinds": list(choice.kinds),
        "left_out": [{"file": bank.works[place].file, "reason": why} for place, why in choice.left_out.items()],
    }


def bank_features(
    bank: ControlBank, size: tuple[int, int], extractor: FeatureExtractor, progress: Progress | None = None
) -> NDArray[np.float32]:
    """Features of the whole bank at the generated images' size, (b, d), in the order of the table.

    They are kept in CopyScope's own state, where it can be written, and so computed once a size on a machine.

    Args:
        progress: called after each batch of pictures, where their features must be computed. If it raises, what was
            finished before is kept.

    Raises:
        ImageError: a picture cannot be read.
    """
    cache = FeatureCache(_state(), extractor)
    rows = [cache.stored(record["matched_sha256"]) for record in bank_records(bank, size)]
    if all(row is not None for row in rows):
        return np.stack([row for row in rows if row is not None])
    parts = []
    for start in range(0, len(bank.images), cache.batch_size):
        part = bank.images[start : start + cache.batch_size]
        parts.append(cache.features(in_threads(functools.partial(_matched, size=size), part)))
        if progress is not None:
            progress(start + len(part), len(bank.images))
    return np.concatenate(parts)


@functools.lru_cache(maxsize=_SIZES_KEPT)
def bank_records(bank: ControlBank, size: tuple[int, int]) -> tuple[dict[str, Any], ...]:
    """Names and hashes of the bank's pictures, brought to a size."""

    def record(image: ImageFile) -> dict[str, Any]:
        whole = image.decoded()
        digest = pixel_hash(match_reference(whole.pixels, *size))
        return {
            "file": whole.name,
            "pixel_sha256": whole.pixel_sha256,
            "sha256": whole.file_sha256,
            "matched_sha256": digest,
        }

    return tuple(in_threads(record, bank.images))


def _matched(image: ImageFile, size: tuple[int, int]) -> tuple[Pixels, str]:
    pixels = match_reference(image.decoded().pixels, *size)
    return pixels, pixel_hash(pixels)


@functools.lru_cache(maxsize=1)
def _bits(bank: ControlBank) -> Bits:
    return np.stack(in_threads(lambda image: picture_bits(image.decoded().pixels), bank.images))


def _state() -> Path | None:
    folder = state_folder() / FEATURES_FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder
