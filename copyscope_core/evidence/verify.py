"""``copyscope verify``: whether a run folder is still what it was when its report was written.

Files are hashed and compared with the manifest, images are decoded and their pixels hashed, features are computed again
from pixels (of a sample, or of all), and every number of the report is computed again from the stored features. Nothing
in the folder is written or unpickled, and nothing outside of it is opened unless the user named it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CopyScopeError, StoreError
from ..features.extractor import FeatureCache, FeatureExtractor
from ..files.atomic import read_plain
from ..files.hashes import file_sha256
from ..files.inside import plain_inside
from ..observer import Observer, Quiet
from ..report.report import Report
from ..store.run_store import FEATURES, MAX_JSON_BYTES
from ..store.runs import MANIFEST_FILE, WORKFLOWS_FILE
from ..store.storage import ImageStorage
from .findings import Finding, Findings
from .manifest import Manifest, kept, name_sha256, read_manifest, strangers, workflow_sha256
from .verify_images import ImageChecks
from .verify_numbers import compare_numbers, evaluate_again, stored_features

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
        images: the folder that was scored; None: the images in it are not checked.
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

    def run(self) -> Verification:
        """Check everything.

        Raises:
            CopyScopeError: the folder has neither a manifest nor a report, or its features are of another network.
        """
        self._findings = Findings()
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
            cache = self._cache(report)
            self._numbers(report, cache)
            self._images(report, cache)
        checked = self._findings.checked
        return Verification(
            self.folder,
            digest,
            files=checked["files"],
            images=checked["images"],
            features=checked["features"],
            numbers=checked["numbers"],
            findings=self._findings.all(),
            notes=tuple(self._findings.notes),
        )

    def _manifest(self) -> Manifest | None:
        try:
            return read_manifest(self.folder)
        except StoreError as error:
            self._findings.add(MANIFEST_FILE, f"cannot be used: {error}")
            return None

    def _report(self) -> Report | None:
        try:
            return Report.load(self.folder / REPORT_FILE)
        except CopyScopeError as error:
            self._findings.add(REPORT_FILE, f"cannot be used: {error}")
            return None

    def _files(self, manifest: Manifest) -> None:
        """Every file of the manifest is there with its SHA-256, and there is no other."""
        present = dict(kept(self.folder))
        self.observer.stage("Hashing files", len(manifest.files))
        for number, (name, record) in enumerate(sorted(manifest.files.items())):
            self.observer.step(number, name)
            path = present.pop(name, None)
            self._findings.checked["files"] += 1
            if path is None:
                self._findings.add(name, "is missing")
            elif path.stat().st_size != record.bytes or file_sha256(path) != record.sha256:
                self._findings.add(name, "was changed: its SHA-256 is not the manifest's")
        known = set(manifest.others)
        added = [*present, *(name for name in strangers(self.folder) if name_sha256(name) not in known)]
        for name in added:
            self._findings.add(name, "was added: the manifest does not know it")

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
            self._findings.add(what, "is not the workflow of the manifest")

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
                self._findings.add(f"{REPORT_FILE}: {name}", f"is not what {MANIFEST_FILE} says")

    def _cache(self, report: Report) -> FeatureCache:
        """The stored features. Raises CopyScopeError where they are not the extractor's."""
        if report.preprocessing != self.extractor.id:
            raise CopyScopeError(
                f"The report's features are {report.preprocessing!r}, not {self.extractor.id!r}; give --features as it "
                "was given for the report, or verify with the version of CopyScope that made it"
                f" ({report.environment.get('copyscope', 'not recorded')})."
            )
        try:
            plain_inside(self.folder, f"{FEATURES}/{self.extractor.id}")
        except (StoreError, OSError) as error:
            self._findings.add(FEATURES, f"cannot be read: {error}")
            return FeatureCache(None, self.extractor)
        return FeatureCache(self.folder / FEATURES, self.extractor)

    def _numbers(self, report: Report, cache: FeatureCache) -> None:
        """Every number follows from the stored features."""
        self.observer.stage("Computing the numbers again", 0)
        try:
            features = stored_features(report, cache.stored)
            count, found = compare_numbers(report, features, evaluate_again(report, features))
        except (CopyScopeError, ValueError) as error:
            self._findings.add(f"{REPORT_FILE}: numbers", f"cannot be computed again: {error}")
            return
        self._findings.checked["numbers"] += count
        for finding in found:
            self._findings.add(*finding)

    def _images(self, report: Report, cache: FeatureCache) -> None:
        """Generated images, then the reference and control images where their folders were named."""
        checks = ImageChecks(
            report, self.folder, cache, self._findings, self.images, self.full, self.storage, self.observer
        )
        checks.generated()
        for what, folder, record in (
            ("reference", self.reference, report.reference),
            ("control", self.control, report.control),
        ):
            if folder is not None and record is not None:
                checks.side(what, folder, record)
            elif record is not None:
                self._findings.notes.append(f"The {what} images were not checked; --{what} DIR checks them.")
