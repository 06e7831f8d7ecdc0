"""The images of a report decoded again: their pixels, and the features that follow from them.

Only the run folder or bundle, and the folders and the storage that the user named, are opened: the paths that a run
folder's own files hold may lead anywhere. What is not there was not checked; what is there and differs was changed.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CopyScopeError, StoreError
from ..features.extractor import SUFFIX, FeatureCache, FeatureExtractor
from ..features.views import CONTENT, views_of
from ..files.decode import MAX_IMAGE_PIXELS
from ..files.folders import read_folder
from ..files.images import MAX_FILE_BYTES, ImageFile, image_of
from ..files.inside import named_inside
from ..files.pixels import Pixels, match_reference, pixel_hash
from ..game.coalitions import label
from ..observer import Observer, Quiet
from ..report.report import Report
from ..report.schema import ImageRecord, Reference
from ..report.text import clip, printable
from ..store.run_store import COPIES, FEATURES, MAX_JSON_BYTES, RUN_FILE, parse_run
from ..store.storage import COALITIONS, ImageStorage, key_and_name
from .copies import images_of
from .findings import Findings
from .run_files import RunFiles

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
        run: the run folder, or a bundle of it.
        cache: its features.
        extractor: computes them again; where they have another model's style beside them, their content only; None:
            they count as they are stored.
        images: the folder of the images that were scored; None: their copies.
        full: compute the features of all generated images again, not of a sample.
        storage: where the images are that are not in the run folder.
        missing: files of the manifest that are not there, and were told of.
    """

    report: Report
    run: RunFiles
    cache: FeatureCache
    extractor: FeatureExtractor | None
    findings: Findings
    images: Path | None = None
    full: bool = False
    storage: ImageStorage | None = None
    observer: Observer = field(default_factory=Quiet)
    missing: Set[str] = frozenset()

    def generated(self) -> None:
        """Every generated image has its pixels, and a sample of them, or all, the features that are stored."""
        run = self._run_record()
        scored = any(item.folder != COALITIONS for item in self.report.coalitions) if run is None else "score" in run
        if scored and self.images is None and not self.copied("images"):
            self.findings.not_checked("generated images", "are not in the run folder; --images DIR checks them")
            return
        chosen = self._chosen()
        names = [player.name for player in self.report.players]
        if self.extractor is not None and self.extractor.id != self.cache.extractor.id:
            self.findings.notes.append(
                "Style was not computed again: that takes the diffusion model of the audit. It counts as it is stored."
            )
        batch: list[ImageFile] = []
        seen: set[str] = set()
        self.observer.stage("Checking images", len(self.report.coalitions))
        if self.images is not None:
            found_images = self._scored_images(run or {}, self.images)
        else:
            found_images = self._copied_images() if scored else self._stored_images(run or {})
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

    def copied(self, place: str) -> bool:
        """Whether there are copies of images."""
        return any(name.startswith(f"{COPIES}/{place}/") for name in self._names)

    def copies(self, place: str) -> Iterator[ImageFile]:
        """Copies of images that can be decoded; others become findings."""
        for name in sorted(name for name in self._names if name.startswith(f"{COPIES}/{place}/")):
            try:
                yield image_of(self.run.read(name, MAX_FILE_BYTES), Path(name))
            except _UNREADABLE as error:
                self.findings.add(name, f"cannot be read: {error}")

    def copy_names(self, place: str, count: int) -> list[str]:
        """What the copies of so many images are called, as far as they are there or the manifest knows them."""
        listed = (name for name in (*self._names, *self.missing) if name.startswith(f"{COPIES}/{place}/"))
        known = {Path(name).stem: Path(name).name for name in listed}
        return [known.get(number, number) for number in (f"{place:04d}" for place in range(count))]

    def side(self, what: str, images: Iterable[ImageFile], record: Reference, where: str, names: Sequence[str]) -> None:
        """The reference or control images: from their pixels to their features.

        Args:
            where: what messages say before an image's name.
            names: of each record's image.

        Raises:
            ImageError: an image cannot be read.
        """
        size = matched_size(record)
        if size is None:
            self.findings.add(f"report.json: {what}.preprocessing", "does not say to which size images were brought")
            return
        wanted: dict[str, list[tuple[str, ImageRecord]]] = {}
        for name, item in zip(names, record.images, strict=True):
            wanted.setdefault(str(item.pixel_sha256), []).append((f"{where}{name}", item))
        batch: list[tuple[Pixels, str]] = []
        others: set[str] = set()
        for image in images:
            if image.pixel_sha256 not in wanted:
                others.add(f"{where}{image.name}")
            for name, item in wanted.pop(image.pixel_sha256, ()):
                self.findings.checked["images"] += 1
                pixels = match_reference(image.pixels, *size)
                digest = pixel_hash(pixels)
                if digest == item.matched_sha256:
                    batch.append((pixels, digest))
                else:
                    self.findings.add(name, "gives other pixels when it is brought to size")
            if len(batch) >= SAMPLE:
                self._same_features(batch)
                batch = []
        self._same_features(batch)
        for name in (name for items in wanted.values() for name, _ in items):
            self._absent(name, name in others)

    def _absent(self, what: str, same_name: bool) -> None:
        """An image of the report that no file has the pixels of.

        Args:
            same_name: whether another image has its name.
        """
        if same_name:
            self.findings.add(what, "has other pixels than the report says")
        elif what not in self.missing:
            self.findings.not_checked(what, "is not there")

    @functools.cached_property
    def _names(self) -> list[str]:
        return list(self.run.kept())

    def _run_record(self) -> dict[str, Any] | None:
        try:
            return parse_run(self.run.read(RUN_FILE, MAX_JSON_BYTES))
        except (StoreError, OSError):
            return None

    def _chosen(self) -> set[str]:
        """Pixel hashes of the images whose features are computed again."""
        if self.extractor is None:
            return set()
        wanted = {str(image.pixel_sha256) for item in self.report.coalitions for image in item.image_files}
        if self.full or len(wanted) <= SAMPLE:
            return wanted
        self.findings.notes.append(
            f"Features were computed again for {SAMPLE} of {len(wanted)} images; --full does it for all."
        )
        return set(random.SystemRandom().sample(sorted(wanted), SAMPLE))  # a forger cannot know which

    def _stored_images(self, run: Mapping[str, Any]) -> Iterator[tuple[int, list[ImageFile]]]:
        """Each coalition's images in the run folder or the storage that are as they were; others become findings."""
        elsewhere = str(run["storage"]) if run.get("storage") and self.storage is None else None
        for item in self.report.coalitions:
            found = (self._stored_image(record, elsewhere) for record in item.image_files)
            yield item.mask, [image for image in found if image is not None]

    def _stored_image(self, record: ImageRecord, elsewhere: str | None) -> ImageFile | None:
        """One of them; ``elsewhere``: the storage that holds those that are not in the run, and that nobody named."""
        name = f"{COALITIONS}/{record.file}"
        place = key_and_name(record.file)
        if place is None:
            self.findings.add(name, "is no image of a run folder")
            return None
        try:
            data = self._stored_bytes(name, *place)
            if data is None:
                if elsewhere is None:
                    self._absent(name, False)
                else:
                    where = clip(printable(elsewhere), _SHOWN_COLUMNS)
                    self.findings.not_checked("generated images", f"are in {where}; --storage URL reads them there")
                return None
            image = image_of(data, Path(name))
        except _UNREADABLE as error:
            self.findings.add(name, f"cannot be read: {error}")
            return None
        return self._checked(name, image, record)

    def _stored_bytes(self, name: str, key: str, file: str) -> bytes | None:
        """A generated image's file, from the run or the storage; None where it is not there."""
        try:
            return self.run.read(name, MAX_FILE_BYTES)
        except FileNotFoundError:
            return None if self.storage is None else self.storage.get(key, file)

    def _checked(self, name: str, image: ImageFile, record: ImageRecord) -> ImageFile | None:
        self.findings.checked["images"] += 1
        if image.pixel_sha256 != record.pixel_sha256:
            self.findings.add(name, "has other pixels than the report says")
            return None
        if record.sha256 is not None and image.file_sha256 != record.sha256:
            self.findings.add(name, "was changed, though its pixels are the same")
        return image

    def _copied_images(self) -> Iterator[tuple[int, list[ImageFile]]]:
        """Images of a score, from their copies, which are numbered."""
        for item in self.report.coalitions:
            place = images_of(item.mask)
            names = self.copy_names(place, len(item.image_files))
            yield item.mask, self._known(f"{COPIES}/{place}/", list(self.copies(place)), item.image_files, names)

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
                self.findings.not_checked(where, "are not known to be anywhere: run.json does not name their folder")
                continue
            try:
                path = named_inside(root, name)
                if not path.resolve().is_relative_to(root.resolve()):
                    raise StoreError(f"{path} is a link that leads out of {root}.")
                if not path.is_dir() or not any(path.iterdir()):
                    self.findings.not_checked(where, f"are not in {path}")
                    continue
                present = read_folder(path)
            except _UNREADABLE as error:
                self.findings.add(where, f"cannot be read: {error}")
                continue
            yield item.mask, self._known(f"{where}: ", present, item.image_files, [r.file for r in item.image_files])

    def _known(
        self, where: str, present: Sequence[ImageFile], records: Sequence[ImageRecord], names: Sequence[str]
    ) -> list[ImageFile]:
        """Those images that the records are of; changed and added ones become findings.

        Args:
            where: what messages say before an image's name.
            names: of each record's image.
        """
        left = list(present)
        found, gone = [], []
        for record, name in zip(records, names, strict=True):
            same = [image for image in left if image.pixel_sha256 == record.pixel_sha256]
            if not same:
                gone.append(name)
                continue
            image = next((image for image in same if image.file_sha256 == record.sha256), same[0])
            left.remove(image)
            if (checked := self._checked(f"{where}{name}", image, record)) is not None:
                found.append(checked)
        others = {image.name for image in left}
        for name in gone:
            self._absent(f"{where}{name}", name in others)
        for name in sorted(others.difference(gone)):
            self.findings.add(f"{where}{name}", "was added: the report does not know it")
        return found

    def _features_again(self, images: Iterable[ImageFile]) -> None:
        self._same_features([(image.pixels, image.pixel_sha256) for image in images])

    def _same_features(self, items: Sequence[tuple[Pixels, str]]) -> None:
        """Stored features are what the extractor gives for the pixels; ``items``: pixels and their hash."""
        if not items or self.extractor is None:
            return
        again = FeatureCache(None, self.extractor).features(items)
        whole = self.extractor.id == self.cache.extractor.id
        if not whole:
            again = again[:, views_of(self.extractor)[CONTENT]]
        for (_, digest), vector in zip(items, again, strict=True):
            name = f"{FEATURES}/{self.cache.extractor.id}/{digest}{SUFFIX}"
            stored = self.cache.stored(digest)
            if stored is not None and not whole:
                stored = stored[: len(vector)]
            self.findings.checked["features"] += 1
            if stored is None:
                self.findings.add(name, "is missing or damaged")
            elif np.linalg.norm(stored - vector) > FEATURE_TOLERANCE * np.linalg.norm(vector):
                self.findings.add(name, "is not what its image gives")


def matched_size(record: Reference) -> tuple[int, int] | None:
    """The (width, height) to which reference images were brought; None where the record does not say."""
    width, height = record.preprocessing.get("width"), record.preprocessing.get("height")
    if type(width) is not int or type(height) is not int:
        return None
    return (width, height) if min(width, height) > 0 and width * height <= MAX_IMAGE_PIXELS else None
