"""``copyscope verify``: whether a run folder is still what it was when its report was written.

Files are hashed and compared with the manifest, images are decoded and their pixels hashed, features are computed again
from pixels (of a sample, or of all), and every number of the report is computed again from the stored features. Nothing
in the folder is written or unpickled.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CopyScopeError, ImageError, StoreError
from ..features.extractor import SUFFIX, FeatureCache, FeatureExtractor
from ..files.atomic import read_plain
from ..files.hashes import file_sha256
from ..files.images import ImageFile, image_of, match_reference, pixel_hash, read_folder, read_image
from ..game.coalitions import label
from ..observer import Observer, Quiet
from ..report.build import load_report
from ..report.schema import ImageFile as ImageRecord
from ..report.schema import Reference, Report
from ..store.run_store import FEATURES, MAX_JSON_BYTES, read_run_file
from ..store.runs import MANIFEST_FILE, WORKFLOWS_FILE
from ..store.storage import COALITIONS, ImageStorage
from .manifest import Manifest, kept, name_sha256, read_manifest, strangers, workflow_sha256
from .verify_numbers import Finding, compare_numbers, evaluate_again, stored_features

SAMPLE = 16
"""Generated images whose features are computed again unless all are asked for."""

FEATURE_TOLERANCE = 1e-3
"""Of a vector's length: what another device or batch may round differently."""

REPORT_FILE = "report.json"


@dataclass(frozen=True)
class Verification:
    """What was checked, and what is not as it was.

    Attributes:
        manifest_sha256: of the manifest itself, to be compared with a note of it; None: there is no manifest.
        files, images, features, numbers: how many of each were checked.
        findings: what was changed, is missing, or was added.
        notes: what was not checked, as sentences.
    """

    folder: Path
    manifest_sha256: str | None
    files: int
    images: int
    features: int
    numbers: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        """What ``copyscope verify --json`` prints."""
        return {
            "holds": self.holds,
            "folder": str(self.folder),
            "manifest_sha256": self.manifest_sha256,
            "checked": {
                "files": self.files,
                "images": self.images,
                "features": self.features,
                "numbers": self.numbers,
            },
            "findings": [{"what": item.what, "message": item.message} for item in self.findings],
            "notes": list(self.notes),
        }


@dataclass
class Verifier:
    """Checks one run folder.

    Attributes:
        folder: what ``--out`` named.
        extractor: of features; must be the one that the report names.
        reference, control: folders of those images, which are not kept in the run folder; None: not checked.
        images: the folder that was scored, if it is not where it was.
        full: compute the features of all images again, not of a sample.
        storage: where the images are that are not in the run folder.
    """

    folder: Path
    extractor: FeatureExtractor
    reference: Path | None = None
    control: Path | None = None
    images: Path | None = None
    full: bool = False
    storage: ImageStorage | None = None
    observer: Observer = field(default_factory=Quiet)

    def __post_init__(self) -> None:
        self._found: dict[str, Finding] = {}
        self._notes: list[str] = []
        self._counts = dict.fromkeys(("files", "images", "features", "numbers"), 0)

    def run(self) -> Verification:
        """Check everything.

        Raises:
            CopyScopeError: the folder has neither a manifest nor a report, or its features are of another network.
        """
        manifest = self._manifest()
        report = self._report()
        if manifest is None and report is None:
            raise StoreError(f"{self.folder} holds no report and no manifest of CopyScope; name a run folder.")
        digest = None if manifest is None else file_sha256(self.folder / MANIFEST_FILE)
        if manifest is not None:
            self._files(manifest)
            self._workflows(manifest, report)
        if report is not None:
            if manifest is not None:
                self._agreement(manifest, report)
            self._numbers(report)
            self._images(report)
            self._outside(report)
        return Verification(
            self.folder, digest, **self._counts, findings=tuple(self._found.values()), notes=tuple(self._notes)
        )

    def _add(self, what: str, message: str) -> None:
        self._found.setdefault(what, Finding(what, message))

    def _manifest(self) -> Manifest | None:
        try:
            return read_manifest(self.folder)
        except StoreError as error:
            self._add(MANIFEST_FILE, f"cannot be used: {error}")
            return None

    def _report(self) -> Report | None:
        try:
            return load_report(self.folder / REPORT_FILE)
        except CopyScopeError as error:
            self._add(REPORT_FILE, f"cannot be used: {error}")
            return None

    def _files(self, manifest: Manifest) -> None:
        """Every file of the manifest is there with its SHA-256, and there is no other."""
        present = dict(kept(self.folder))
        self.observer.stage("Hashing files", len(manifest.files))
        for number, (name, record) in enumerate(sorted(manifest.files.items())):
            self.observer.step(number, name)
            path = present.pop(name, None)
            self._counts["files"] += 1
            if path is None:
                self._add(name, "is missing")
            elif path.stat().st_size != record.bytes or file_sha256(path) != record.sha256:
                self._add(name, "was changed: its SHA-256 is not the manifest's")
        known = set(manifest.others)
        added = [*present, *(name for name in strangers(self.folder) if name_sha256(name) not in known)]
        for name in added:
            self._add(name, "was added: the manifest does not know it")

    def _workflows(self, manifest: Manifest, report: Report | None) -> None:
        """The stored workflows have the manifest's hashes."""
        if report is not None and report.workflow is not None:
            self._same_workflow(REPORT_FILE + ": workflow", report.workflow, manifest.workflow_sha256)
        known = {str(item.mask): item.workflow_sha256 for item in manifest.coalitions if item.workflow_sha256}
        if not known:
            return
        try:
            stored = json.loads(read_plain(self.folder / WORKFLOWS_FILE, MAX_JSON_BYTES))
        except (OSError, ValueError, RecursionError):
            stored = None
        for mask, digest in known.items():
            graph = stored.get(mask) if isinstance(stored, dict) else None
            self._same_workflow(f"{WORKFLOWS_FILE}: {mask}", graph, digest)

    def _same_workflow(self, what: str, graph: Any, digest: str | None) -> None:
        if graph is None or workflow_sha256(graph) != digest:
            self._add(what, "is not the workflow of the manifest")

    def _agreement(self, manifest: Manifest, report: Report) -> None:
        """The manifest and the report say the same of where the numbers come from."""
        pairs: dict[str, tuple[Any, Any]] = {
            name: (getattr(manifest, name), getattr(report, name))
            for name in ("created", "preprocessing", "seeds", "environment", "models")
        }
        pairs["reference"] = (manifest.reference, report.reference.images)
        pairs["control"] = (manifest.control, [] if report.control is None else report.control.images)
        pairs["coalitions"] = (
            {item.mask: item.images for item in manifest.coalitions},
            {item.mask: item.image_files for item in report.coalitions},
        )
        for name, (noted, said) in pairs.items():
            if noted != said:
                self._add(f"{REPORT_FILE}: {name}", f"is not what {MANIFEST_FILE} says")

    def _numbers(self, report: Report) -> None:
        """Every number follows from the stored features."""
        self.observer.stage("Computing the numbers again", 0)
        cache = self._cache(report)
        try:
            features = stored_features(report, cache.stored)
            count, findings = compare_numbers(report, features, evaluate_again(report, features))
        except (CopyScopeError, ValueError) as error:
            self._add(f"{REPORT_FILE}: numbers", f"cannot be computed again: {error}")
            return
        self._counts["numbers"] += count
        for finding in findings:
            self._add(*finding)

    def _cache(self, report: Report) -> FeatureCache:
        """Raises CopyScopeError where the report's features are not the extractor's."""
        if report.preprocessing != self.extractor.id:
            raise CopyScopeError(
                f"The report's features are {report.preprocessing!r}, not {self.extractor.id!r}; give --features as it "
                "was given for the report, or verify with the version of CopyScope that made it"
                f" ({report.environment.get('copyscope', 'not recorded')})."
            )
        return FeatureCache(self.folder / FEATURES, self.extractor)

    def _images(self, report: Report) -> None:
        """Every image has its pixels, and a sample of them, or all, the features that are stored."""
        wanted = {str(image.pixel_sha256) for item in report.coalitions for image in item.image_files}
        chosen = wanted
        if not self.full and len(wanted) > SAMPLE:
            chosen = set(random.SystemRandom().sample(sorted(wanted), SAMPLE))  # nobody can know which
            self._notes.append(
                f"Features were computed again for {SAMPLE} of {len(wanted)} images; --full does it for all."
            )
        names = [player.name for player in report.players]
        batch: list[ImageFile] = []
        seen: set[str] = set()
        self.observer.stage("Checking images", len(report.coalitions))
        for number, (mask, found) in enumerate(self._read_images(report)):
            self.observer.step(number, label(mask, names))
            for image in found:
                if image.pixel_sha256 in chosen and image.pixel_sha256 not in seen:
                    batch.append(image)
                seen.add(image.pixel_sha256)
            if len(batch) >= SAMPLE:
                self._features_again(report, batch)
                batch = []
        self._features_again(report, batch)

    def _read_images(self, report: Report) -> Iterator[tuple[int, list[ImageFile]]]:
        """Every coalition's images that are as they were; the others are found wanting."""
        run = read_run_file(self.folder) or {}
        if "score" in run:
            yield from self._scored_images(report, run)
            return
        if run.get("storage") and self.storage is None:
            self._notes.append(f"Its images are in {run['storage']}; --storage URL reads them there.")
        for item in report.coalitions:
            found = []
            for record in item.image_files:
                image = self._stored_image(record)
                if image is not None:
                    found.append(image)
            yield item.mask, found

    def _stored_image(self, record: ImageRecord) -> ImageFile | None:
        """An image of the run folder, checked."""
        root = self.folder / COALITIONS
        name = f"{COALITIONS}/{record.file}"
        path = root / record.file
        try:
            if path.is_symlink() or not path.resolve().is_relative_to(root.resolve()):
                self._add(name, "is no file of the run folder")
                return None
            if self.storage is None or path.exists():
                image = read_image(path)
            else:
                image = image_of(self.storage.get(path.parent.name, path.name), path)
        except (CopyScopeError, OSError, ValueError, RuntimeError) as error:
            self._add(name, f"cannot be read: {error}")
            return None
        return self._checked(name, image, record)

    def _checked(self, name: str, image: ImageFile, record: ImageRecord) -> ImageFile | None:
        self._counts["images"] += 1
        if image.pixel_sha256 != record.pixel_sha256:
            self._add(name, "has other pixels than the report says")
            return None
        if record.sha256 is not None and image.file_sha256 != record.sha256:
            self._add(name, "was changed, though its pixels are the same")
        return image

    def _scored_images(self, report: Report, run: Mapping[str, Any]) -> Iterator[tuple[int, list[ImageFile]]]:
        """Images that lie where they were scored; a coalition's are told apart by their pixels."""
        root = self.images or Path(str(run["score"]))
        listed = run.get("coalitions")
        rows = [item for item in (listed if isinstance(listed, list) else ()) if isinstance(item, dict)]
        folders = {str(row.get("mask")): row.get("folder") for row in rows}
        names = [player.name for player in report.players]
        for item in report.coalitions:
            where = f"images of {label(item.mask, names)}"
            try:
                path = root / str(folders[str(item.mask)])
                if not path.resolve().is_relative_to(root.resolve()):
                    raise ImageError(f"{path} leads out of {root}")
                present = read_folder(path)
            except (CopyScopeError, KeyError, OSError, ValueError, RuntimeError) as error:
                hint = "" if root.is_dir() else " --images DIR says where they are."
                self._add(where, f"cannot be read: {error}{hint}")
                continue
            by_pixels = {image.pixel_sha256: image for image in present}
            found = []
            for record in item.image_files:
                image = by_pixels.get(str(record.pixel_sha256))
                if image is None:
                    self._add(f"{where}: {record.file}", "is missing or has other pixels than the report says")
                elif (checked := self._checked(f"{where}: {record.file}", image, record)) is not None:
                    found.append(checked)
            unknown = Counter(str(record.pixel_sha256) for record in item.image_files)
            for image in present:
                unknown[image.pixel_sha256] -= 1
                if unknown[image.pixel_sha256] < 0:
                    self._add(f"{where}: {image.name}", "was added: the report does not know it")
            yield item.mask, found

    def _features_again(self, report: Report, images: Sequence[ImageFile]) -> None:
        self._same_features(report, [(image.name, image.pixels, image.pixel_sha256) for image in images])

    def _same_features(self, report: Report, items: Sequence[tuple[str, Any, str]]) -> None:
        """Stored features are what the extractor gives for the pixels; ``items``: name, pixels, their hash."""
        if not items:
            return
        cache = self._cache(report)
        again = FeatureCache(None, self.extractor).features([(pixels, digest) for _, pixels, digest in items])
        for (_, _, digest), vector in zip(items, again, strict=True):
            name = f"{FEATURES}/{self.extractor.id}/{digest}{SUFFIX}"
            stored = cache.stored(digest)
            self._counts["features"] += 1
            if stored is None:
                self._add(name, "is missing or damaged")
            elif np.linalg.norm(stored - vector) > FEATURE_TOLERANCE * np.linalg.norm(vector):
                self._add(name, "is not what its image gives")

    def _outside(self, report: Report) -> None:
        """The reference and control images, which stay with their owners."""
        for what, folder, record in (
            ("reference", self.reference, report.reference),
            ("control", self.control, report.control),
        ):
            if folder is not None and record is not None:
                self._side(report, what, read_folder(folder), record)
            elif record is not None:
                self._notes.append(f"The {what} images were not checked; --{what} DIR checks them.")

    def _side(self, report: Report, what: str, images: Iterable[ImageFile], record: Reference) -> None:
        shape = record.preprocessing
        by_hash = {image.pixel_sha256: image for image in images}
        items = []
        for wanted in record.images:
            image = by_hash.get(str(wanted.pixel_sha256))
            name = f"{what} {wanted.file}"
            if image is None:
                self._add(name, "is missing, or has other pixels than the report says")
                continue
            self._counts["images"] += 1
            pixels = match_reference(image.pixels, int(shape.get("width", 0)), int(shape.get("height", 0)))
            digest = pixel_hash(pixels)
            if digest != wanted.matched_sha256:
                self._add(name, "gives other pixels when it is brought to size")
            else:
                items.append((name, pixels, digest))
        self._same_features(report, items)
