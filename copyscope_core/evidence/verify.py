"""``copyscope verify``: whether a run folder, or a bundle of one, is still what it was when its report was written.

Files are hashed and compared with the manifest, images are decoded and their pixels hashed, features are computed again
from pixels (of a sample, or of all), and every number of the report is computed again from the stored features. What
was changed or added is told from what is not there and so could not be checked. Nothing in the folder is written or
unpickled, and nothing outside of it is opened unless the user named it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..controls.bank import PICTURES
from ..errors import CopyScopeError, StoreError
from ..features.beside import StoredVectors, is_beside
from ..features.extractor import FeatureCache, FeatureExtractor
from ..features.views import CONTENT, STYLE, views_of
from ..files.folders import list_folder
from ..files.images import ImageFile
from ..observer import Observer, Quiet
from ..report.html.paper import NO_DIGEST
from ..report.report import MAX_REPORT_BYTES, Report
from ..report.schema import Reference
from ..store.run_store import COPIES, FEATURES, MAX_JSON_BYTES
from ..store.runs import MANIFEST_FILE, REPORT_FILE, WORKFLOWS_FILE
from ..store.storage import ImageStorage
from .copies import CONTROL, REFERENCE
from .findings import Finding, Findings
from .manifest import (
    MAX_PAGE_BYTES,
    PAGE_FILE,
    Manifest,
    name_sha256,
    page_sha256,
    read_manifest,
    stored_elsewhere,
    workflow_sha256,
)
from .run_files import open_run
from .signature import check_signature
from .stored_features import MOST_NUMBERS, StoredFeatures, stored_only
from .time_stamp import Stamp, check_stamp
from .verify_bank import check_choice
from .verify_images import ImageChecks
from .verify_numbers import compare_numbers, evaluate_again, stored_features

MOST_NAMED = 3
"""Files of a folder that are not there and are named one by one."""


@dataclass(frozen=True)
class Verification:
    """What was checked, and what is not as it was.

    Attributes:
        manifest_sha256: of the manifest itself, to be compared with a note of it; None: there is no manifest.
        files, images, features, numbers: how many of each were checked.
        findings: what was changed or added.
        unchecked: what could not be checked, since it was moved or left out.
        notes: how far the checks went, and what vouches for the manifest, as sentences.
        signature: fingerprint of the key that signed the manifest; None: nobody's signature holds.
        stamp: when an authority says that the manifest existed; None: no time stamp holds.
    """

    folder: Path
    manifest_sha256: str | None
    files: int
    images: int
    features: int
    numbers: int
    findings: tuple[Finding, ...]
    unchecked: tuple[Finding, ...]
    notes: tuple[str, ...]
    signature: str | None
    stamp: Stamp | None

    @property
    def holds(self) -> bool:
        """Whether everything was checked, and nothing was changed."""
        return not self.findings and not self.unchecked

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
            "findings": [item._asdict() for item in self.findings],
            "unchecked": [item._asdict() for item in self.unchecked],
            "notes": list(self.notes),
            "signature": self.signature,
            "time_stamp": None if self.stamp is None else self.stamp._asdict(),
        }


@dataclass
class Verifier:
    """Checks one run folder.

    Attributes:
        folder: what ``--out`` named, or a bundle of it.
        extractor: of features; must be the one that the report names, or the one of its content where the report names
            a style model beside it, which is not run again. None: features count as they are stored, and so does the
            choice of works from CopyScope's own control bank.
        reference, control: folders of those images; None: their copies in the run folder, if there are any.
        images: the folder that was scored; None: the copies of its images.
        full: compute the features of all images again, not of a sample.
        storage: where the images are that are not in the run folder.
        signer: file of the public key that must have signed; None: any may have.
        tsa_certificate: file of the certificates from which the time stamp's must come; None: any.
    """

    folder: Path
    extractor: FeatureExtractor | None
    reference: Path | None = None
    control: Path | None = None
    images: Path | None = None
    full: bool = False
    storage: ImageStorage | None = None
    observer: Observer = field(default_factory=Quiet)
    signer: Path | None = None
    tsa_certificate: Path | None = None

    def run(self) -> Verification:
        """Check everything.

        Raises:
            CopyScopeError: the folder has neither a manifest nor a report, or its features are of another network.
        """
        self._findings = Findings()
        self._run = open_run(self.folder)
        self._missing: set[str] = set()
        manifest, digest = self._manifest()
        report = self._report()
        if manifest is None and report is None:
            raise StoreError(f"{self.folder} holds no report and no manifest of CopyScope; name a run folder.")
        signature = stamp = None
        if manifest is not None and digest is not None:
            signature = check_signature(self._run, self.signer, self._findings)
            stamp = check_stamp(self._run, self.tsa_certificate, self._findings)
            self._files(manifest, digest)
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
            unchecked=self._findings.unchecked(),
            notes=tuple(self._findings.notes),
            signature=signature,
            stamp=stamp,
        )

    def _manifest(self) -> tuple[Manifest | None, str | None]:
        try:
            return read_manifest(self._run)
        except StoreError as error:
            self._unusable(MANIFEST_FILE, error)
            return None, None

    def _report(self) -> Report | None:
        try:
            return Report.parse(self._run.read(REPORT_FILE, MAX_REPORT_BYTES), REPORT_FILE)
        except (CopyScopeError, OSError) as error:
            self._unusable(REPORT_FILE, error)
            return None

    def _unusable(self, name: str, error: Exception) -> None:
        if isinstance(error, FileNotFoundError) or isinstance(error.__cause__, FileNotFoundError):
            self._findings.not_checked(name, "is not there")
        else:
            self._findings.add(name, f"cannot be used: {error}")

    def _files(self, manifest: Manifest, digest: str) -> None:
        """Every file of the manifest that is there has its SHA-256, and there is no other."""
        present = self._run.kept()
        self.observer.stage("Hashing files", len(manifest.files))
        for number, (name, record) in enumerate(sorted(manifest.files.items())):
            self.observer.step(number, name)
            size = present.pop(name, None)
            if size is None:
                self._missing.add(name)
                continue
            self._findings.checked["files"] += 1
            try:
                same = size == record.bytes and self._sha256(name, digest) == record.sha256
            except (StoreError, OSError) as error:
                self._findings.add(name, f"cannot be read: {error}")
            else:
                if not same:
                    self._findings.add(name, "was changed: its SHA-256 is not the manifest's")
        known = set(manifest.others)
        packed = stored_elsewhere(manifest)  # a bundle may hold images of a storage, which are checked as such
        added = [name for name in present if name not in packed]
        added += [name for name in self._run.strangers() if name_sha256(name) not in known]
        for name in added:
            self._findings.add(name, "was added: the manifest does not know it")
        self._tell_missing(manifest.files)

    def _sha256(self, name: str, digest: str) -> str:
        """SHA-256 of a file as the manifest has it: of the page, without the manifest's own, which it must show."""
        if name != PAGE_FILE:
            return self._run.sha256(name)
        page = self._run.read(name, MAX_PAGE_BYTES)
        if digest.encode("ascii") not in page or NO_DIGEST.encode("ascii") in page:
            self._findings.add(name, f"is not the page of this {MANIFEST_FILE}: it shows the SHA-256 of another one")
        return page_sha256(page, digest)

    def _tell_missing(self, listed: Iterable[str]) -> None:
        """Files that are not there, each by its name, or as many of a folder's."""
        of_each = Counter(name.partition("/")[0] for name in listed)
        by_folder: dict[str, list[str]] = {}
        for name in sorted(self._missing):
            by_folder.setdefault(name.partition("/")[0], []).append(name)
        for top, names in by_folder.items():
            if len(names) <= MOST_NAMED:
                for name in names:
                    self._findings.not_checked(name, "is not there")
            else:
                self._findings.not_checked(f"{top}/", f"{len(names):,} of {of_each[top]:,} files are not there")

    def _workflows(self, manifest: Manifest, report: Report | None) -> None:
        """The stored workflows have the manifest's hashes."""
        if report is not None and report.workflow is not None:
            self._same_workflow(REPORT_FILE + ": workflow", report.workflow, manifest.workflow_sha256)
        known = {str(item.mask): item.workflow_sha256 for item in manifest.coalitions if item.workflow_sha256}
        if not known or WORKFLOWS_FILE in self._missing:
            return
        try:
            stored = json.loads(self._run.read(WORKFLOWS_FILE, MAX_JSON_BYTES))
        except (StoreError, OSError, ValueError, RecursionError):
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
        if self.extractor is None:
            self._findings.notes.append("No features were computed again; they count as they are stored.")
        given = self.extractor or stored_only(report)
        extractor = self._as_stored(report, given)
        if report.preprocessing != extractor.id:
            raise CopyScopeError(
                f"The report's features are {report.preprocessing!r}, not {given.id!r}; give --features as it "
                "was given for the report, or verify with the version of CopyScope that made it"
                f" ({report.environment.get('copyscope', 'not recorded')})."
            )
        return StoredFeatures(self._run, extractor)

    def _as_stored(self, report: Report, extractor: FeatureExtractor) -> FeatureExtractor:
        """What the report's features are read as: those of the extractor, or with another model's style beside it."""
        views = {name: [columns.start, columns.stop] for name, columns in views_of(extractor).items()}
        if is_beside(report.preprocessing, extractor):
            start, stop = views[CONTENT]
            size = stop - start
            end = min(report.views.get(STYLE, [0, 0])[1], MOST_NUMBERS)
            views = {CONTENT: [0, size], STYLE: [size, max(end, size + 1)]}
            extractor = StoredVectors(report.preprocessing, views[STYLE][1])
        if report.preprocessing == extractor.id and report.views != views:
            self._findings.add(f"{REPORT_FILE}: views", "are not those of its features")
        return extractor

    def _numbers(self, report: Report, cache: FeatureCache) -> None:
        """Every number follows from the stored features."""
        self.observer.stage("Computing the numbers again", 0)
        try:
            features = stored_features(report, cache.stored)
            count, found = compare_numbers(report, features, evaluate_again(report, features))
        except (CopyScopeError, ValueError) as error:
            left_out = any(name.startswith(f"{FEATURES}/") for name in self._missing)
            say = self._findings.not_checked if left_out else self._findings.add
            say(f"{REPORT_FILE}: numbers", f"cannot be computed again: {error}")
            return
        self._findings.checked["numbers"] += count
        for finding in found:
            self._findings.add(*finding)

    def _images(self, report: Report, cache: FeatureCache) -> None:
        """Generated images, then reference and control, from the folders that were named or their copies."""
        checks = ImageChecks(
            report, self._run, cache, self.extractor, self._findings, self.images, self.full, self.storage,
            self.observer, self._missing,
        )  # fmt: skip
        checks.generated()
        self._side(checks, REFERENCE, self.reference, report.reference)
        control = report.control
        if control is not None and control.source == "given":
            self._side(checks, CONTROL, self.control, control)
        elif control is not None and check_choice(
            control, report.reference, cache, self._findings, recompute=self.extractor is not None
        ):
            self._side(checks, CONTROL, PICTURES, control)

    def _side(self, checks: ImageChecks, what: str, folder: Path | None, record: Reference) -> None:
        """Images of one side: in the folder that was named, which is opened only then, else the copies."""
        if folder is not None:
            images = map(ImageFile.decoded, list_folder(folder))
            checks.side(what, images, record, f"{what} ", [image.file for image in record.images])
        elif checks.copied(what):
            names = checks.copy_names(what, len(record.images))
            checks.side(what, checks.copies(what), record, f"{COPIES}/{what}/", names)
        else:
            self._findings.not_checked(f"{what} images", f"are not in the run folder; --{what} DIR checks them")
