"""The images of a report decoded again: their pixels, and the features that follow from them.

Only the run folder, and the folders and the storage that the user named, are opened: the paths that a run folder's own
files hold may lead anywhere.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CopyScopeError, StoreError
from ..features.extractor import SUFFIX, FeatureCache
from ..files.decode import MAX_IMAGE_PIXELS
from ..files.folders import list_folder, read_folder
from ..files.images import ImageFile, image_of, read_image
from ..files.inside import named_inside, plain_inside
from ..files.pixels import Pixels, match_reference, pixel_hash
from ..game.coalitions import label
from ..observer import Observer, Quiet
from ..report.report import Report
from ..report.schema import ImageRecord, Reference
from ..report.text import clip, printable
from ..store.run_store import FEATURES, read_run_file
from ..store.storage import COALITIONS, IMAGE_NAME, KEY, ImageStorage
from .findings import Findings

SAMPLE = 16
"""Generated images whose features are computed again unless all are asked for."""

FEATURE_TOLERANCE = 1e-3
"""Of a vector's length: another device or batch size may round differently."""

_SHOWN_COLUMNS = 200
_UNREADABLE = (CopyScopeError, OSError, ValueError, RuntimeError)


@dataclass
class ImageChecks:
    """Checks the images of one report.

    Attributes:
        folder: the run folder.
        cache: its features.
        images: the folder of the images that were scored; None: those are not checked.
        full: compute the features of all generated images again, not of a sample.
        storage: where the images are that are not in the run folder.
    """

    report: Report
    folder: Path
    cache: FeatureCache
    findings: Findings
    images: Path | None = None
    full: bool = False
    storage: ImageStorage | None = None
    observer: Observer = field(default_factory=Quiet)

    def generated(self) -> None:
        """Every generated image has its pixels, and a sample of them, or all, the features that are stored."""
        run = read_run_file(self.folder) or {}
        if "score" in run and self.images is None:
            self.findings.notes.append(
                "The generated images were not checked: they are outside the run folder; --images DIR checks them."
            )
            return
        chosen = self._chosen()
        names = [player.name for player in self.report.players]
        batch: list[ImageFile] = []
        seen: set[str] = set()
        self.observer.stage("Checking images", len(self.report.coalitions))
        found_images = self._stored_images(run) if self.images is None else self._scored_images(run, self.images)
        for number, (mask, found) in enumerate(found_images):
            self.observer.step(number, label(mask, names))
            for image in found:
                if image.pixel_sha256 in chosen and image.pixel_sha256 not in seen:
                    batch.append(image)
                seen.add(image.pixel_sha256)
            if len(batch) >= SAMPLE:
                self._features_again(batch)
                batch = []
        self._features_again(batch)

    def side(self, what: str, folder: Path, record: Reference) -> None:
        """The reference or control images, which stay with their owners: from their pixels to their features.

        Raises:
            ImageError: the folder cannot be read.
        """
        size = _size(record)
        if size is None:
            self.findings.add(f"report.json: {what}.preprocessing", "does not say to which size images were brought")
            return
        wanted: dict[str, list[ImageRecord]] = {}
        for item in record.images:
            wanted.setdefault(str(item.pixel_sha256), []).append(item)
        batch: list[tuple[Pixels, str]] = []
        for image in map(ImageFile.decoded, list_folder(folder)):
            for item in wanted.pop(image.pixel_sha256, ()):
                self.findings.checked["images"] += 1
                pixels = match_reference(image.pixels, *size)
                digest = pixel_hash(pixels)
                if digest == item.matched_sha256:
                    batch.append((pixels, digest))
                else:
                    self.findings.add(f"{what} {item.file}", "gives other pixels when it is brought to size")
            if len(batch) >= SAMPLE:
                self._same_features(batch)
                batch = []
        self._same_features(batch)
        for item in (item for items in wanted.values() for item in items):
            self.findings.add(f"{what} {item.file}", "is missing, or has other pixels than the report says")

    def _chosen(self) -> set[str]:
        """Pixel hashes of the images whose features are computed again."""
        wanted = {str(image.pixel_sha256) for item in self.report.coalitions for image in item.image_files}
        if self.full or len(wanted) <= SAMPLE:
            return wanted
        self.findings.notes.append(
            f"Features were computed again for {SAMPLE} of {len(wanted)} images; --full does it for all."
        )
        return set(random.SystemRandom().sample(sorted(wanted), SAMPLE))  # a forger cannot know which

    def _stored_images(self, run: Mapping[str, Any]) -> Iterator[tuple[int, list[ImageFile]]]:
        """Each coalition's images in the run folder or the storage that are as they were; others become findings."""
        if run.get("storage") and self.storage is None:
            where = clip(printable(str(run["storage"])), _SHOWN_COLUMNS)
            self.findings.notes.append(f"Its images are in {where}; --storage URL reads them there.")
        for item in self.report.coalitions:
            found = (self._stored_image(record) for record in item.image_files)
            yield item.mask, [image for image in found if image is not None]

    def _stored_image(self, record: ImageRecord) -> ImageFile | None:
        name = f"{COALITIONS}/{record.file}"
        key, _, file = record.file.partition("/")
        if not KEY.match(key) or not IMAGE_NAME.match(file):
            self.findings.add(name, "is no image of a run folder")
            return None
        try:
            path = plain_inside(self.folder, name)
            if self.storage is None or path.exists():
                image = read_image(path)
            else:
                image = image_of(self.storage.get(key, file), path)
        except _UNREADABLE as error:
            self.findings.add(name, f"cannot be read: {error}")
            return None
        return self._checked(name, image, record)

    def _checked(self, name: str, image: ImageFile, record: ImageRecord) -> ImageFile | None:
        self.findings.checked["images"] += 1
        if image.pixel_sha256 != record.pixel_sha256:
            self.findings.add(name, "has other pixels than the report says")
            return None
        if record.sha256 is not None and image.file_sha256 != record.sha256:
            self.findings.add(name, "was changed, though its pixels are the same")
        return image

    def _scored_images(self, run: Mapping[str, Any], root: Path) -> Iterator[tuple[int, list[ImageFile]]]:
        """Images in the folder that was scored; a coalition's are told apart by their pixels."""
        listed = run.get("coalitions")
        rows = [item for item in (listed if isinstance(listed, list) else ()) if isinstance(item, dict)]
        folders = {str(row.get("mask")): row.get("folder") for row in rows}
        names = [player.name for player in self.report.players]
        for item in self.report.coalitions:
            where = f"images of {label(item.mask, names)}"
            name = folders.get(str(item.mask))
            if not isinstance(name, str):
                self.findings.add(where, "cannot be read: run.json does not say in which folder they are")
                continue
            try:
                path = named_inside(root, name)
                if not path.resolve().is_relative_to(root.resolve()):
                    raise StoreError(f"{path} is a link that leads out of {root}.")
                present = read_folder(path)
            except _UNREADABLE as error:
                self.findings.add(where, f"cannot be read: {error}")
                continue
            yield item.mask, self._known(where, present, item.image_files)

    def _known(self, where: str, present: Sequence[ImageFile], records: Sequence[ImageRecord]) -> list[ImageFile]:
        """Those images that the records are of; missing and added ones become findings."""
        by_pixels = {image.pixel_sha256: image for image in present}
        found = []
        for record in records:
            image = by_pixels.get(str(record.pixel_sha256))
            if image is None:
                self.findings.add(f"{where}: {record.file}", "is missing or has other pixels than the report says")
            elif (checked := self._checked(f"{where}: {record.file}", image, record)) is not None:
                found.append(checked)
        unknown = Counter(str(record.pixel_sha256) for record in records)
        for image in present:
            unknown[image.pixel_sha256] -= 1
            if unknown[image.pixel_sha256] < 0:
                self.findings.add(f"{where}: {image.name}", "was added: the report does not know it")
        return found

    def _features_again(self, images: Iterable[ImageFile]) -> None:
        self._same_features([(image.pixels, image.pixel_sha256) for image in images])

    def _same_features(self, items: Sequence[tuple[Pixels, str]]) -> None:
        """Stored features are what the extractor gives for the pixels; ``items``: pixels and their hash."""
        if not items:
            return
        extractor = self.cache.extractor
        again = FeatureCache(None, extractor).features(items)
        for (_, digest), vector in zip(items, again, strict=True):
            name = f"{FEATURES}/{extractor.id}/{digest}{SUFFIX}"
            stored = self.cache.stored(digest)
            self.findings.checked["features"] += 1
            if stored is None:
                self.findings.add(name, "is missing or damaged")
            elif np.linalg.norm(stored - vector) > FEATURE_TOLERANCE * np.linalg.norm(vector):
                self.findings.add(name, "is not what its image gives")


def _size(record: Reference) -> tuple[int, int] | None:
    """The (width, height) to which reference images were brought; None where the record does not say."""
    width, height = record.preprocessing.get("width"), record.preprocessing.get("height")
    if type(width) is not int or type(height) is not int:
        return None
    return (width, height) if min(width, height) > 0 and width * height <= MAX_IMAGE_PIXELS else None
