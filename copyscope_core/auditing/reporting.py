"""From stored coalitions to the report: the end of an audit, over a server and in a graph alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..evaluation.measure import (
    GeneratedImage,
    ImageSummary,
    Measurement,
    Works,
    image_record,
    input_image_warnings,
    known_summary,
    measure,
)
from ..evidence.custody import Custody
from ..evidence.publish import Published, ReportOptions, copies_of, publish
from ..features.extractor import FeatureCache
from ..features.views import views_of
from ..files.hashes import autov2
from ..files.images import ImageFile
from ..game.coalitions import label
from ..metadata.header import Metadata
from ..planning.plan import Plan
from ..planning.steps import Step
from ..planning.twin_players import twin_cautions
from ..report.build import Components, Images, Provenance, build_report, describe_environment
from ..report.metadata import metadata_records
from ..report.report import Report
from ..report.sampling import sampling_cautions, sampling_record
from ..report.schema import CanaryResult
from ..report.until_sure import until_sure_record
from ..settings import AuditSettings
from ..store.entry import Entry
from ..store.run_store import RunStore
from ..workflow.graph import to_json
from .canaries import Canary, canary_cautions, judge_canaries, largest_difference


@dataclass(frozen=True)
class StoredAudit:
    """An audit whose coalitions are all in its run folder.

    Attributes:
        plan: of the workflow.
        store: the run folder.
        entries: each step's images.
        summaries: what is known of the coalitions' images already, by mask; measuring adds to it.
    """

    plan: Plan
    store: RunStore
    entries: Mapping[Step, Entry]
    summaries: dict[int, ImageSummary] = field(default_factory=dict, repr=False)

    def images(self, mask: int) -> list[GeneratedImage]:
        """A coalition's images with their seed offsets; each is named by its place in the coalitions' folder."""
        return [
            GeneratedImage(replace(image, name=f"{entry.key}/{image.name}"), offset, frame)
            for offset, entry in self._entries(mask)
            for image, frame in zip(self.store.images(entry), entry.frames, strict=True)
        ]

    def summary(self, mask: int, cache: FeatureCache) -> ImageSummary | None:
        """What is known of a coalition's images without reading them; None where that is not all."""
        known = [
            (
                image_record(f"{entry.key}/{image.name}", image.pixel_sha256, image.file_sha256, offset, frame),
                (image.width, image.height),
                image.defects,
            )
            for offset, entry in self._entries(mask)
            for image, frame in zip(entry.images, entry.frames, strict=True)
        ]
        return known_summary(known, label(mask, self.plan.names), cache)

    def repeatability(self) -> tuple[bool | None, int | None]:
        """Whether two runs of the full coalition gave the same pixels, and a channel's largest difference (0…255).

        None where nothing is random, and the coalition was run once.
        """
        repeat = self.entries.get(self.plan.repeat)
        if repeat is None:
            return None, None
        difference = largest_difference(self.store, self.entries[Step(self.plan.full)], repeat)
        return difference == 0, difference

    def canaries(self, tolerance: int) -> list[CanaryResult]:
        """What came of the canaries.

        Args:
            tolerance: a channel's difference (0…255) that two runs of the full coalition have anyhow.
        """
        pairs = [
            Canary(step.mask, self.entries[Step(step.mask)], self.entries[step])
            for step in self.plan.canaries()
            if step in self.entries
        ]
        return judge_canaries(pairs, self.plan.names, self.store, tolerance)

    def clips(self) -> dict[str, int | None] | None:
        """What the images are frames of, as ``report.schema.ClipRecord`` reads it; None: they are no frames.

        The length is None where clips differ in it.
        """
        entries = [entry for mask in self.plan.design.masks for _, entry in self._entries(mask)]
        lengths = {entry.clip_length for entry in entries}
        if None in lengths:
            return None
        return {"frames": len(entries[0].images), "length": lengths.pop() if len(lengths) == 1 else None}

    def _entries(self, mask: int) -> list[tuple[int, Entry]]:
        return [(offset, self.entries[Step(mask, offset)]) for offset in range(self.plan.seeds)]


@dataclass(frozen=True)
class MeasuredAudit:
    """A stored audit with its numbers.

    Attributes:
        works: what the coalitions were compared with.
        warnings: about input images, then about the generated ones; records with ``code`` and ``message``.
        preprocessing: id of the path from image to features.
        views: which columns of the features each value function is made of.
    """

    audit: StoredAudit
    measurement: Measurement
    works: Works
    warnings: tuple[Any, ...]
    preprocessing: str
    views: Mapping[str, slice]

    def looking_for(self, artists: Sequence[str]) -> MeasuredAudit:
        """The same, with names to look for in what model files say of themselves.

        Raises:
            CopyScopeError: a name cannot be looked for.
        """
        plan = self.audit.plan
        settings = AuditSettings.of({**plan.settings.model_dump(exclude_unset=True), "artists": artists})
        return replace(self, audit=replace(self.audit, plan=replace(plan, settings=settings)))


def measure_audit(
    audit: StoredAudit,
    works: Works,
    cache: FeatureCache,
    inputs: Mapping[str, ImageFile],
    progress: Callable[[int, int], None] | None = None,
    bank_progress: Callable[[int, int], None] | None = None,
) -> MeasuredAudit:
    """Measure every coalition against the reference, by the distance of the plan's settings.

    Args:
        inputs: node id → image that the workflow loads, to be compared with the reference.

    Raises:
        ImageError: images are of unequal sizes, or cannot be measured.
        GameError: the distance is not defined for so few images.
    """
    for mask in audit.plan.design.masks:
        if mask not in audit.summaries and (known := audit.summary(mask, cache)) is not None:
            audit.summaries[mask] = known
    found = measure(
        audit.plan.names,
        audit.images,
        works,
        cache,
        progress,
        distance=audit.plan.settings.distance,
        design=audit.plan.design,
        summaries=audit.summaries,
        bank_progress=bank_progress,
        level=audit.plan.level,
    )
    sources = input_image_warnings(inputs, works.reference, cache, found) if inputs else []
    return MeasuredAudit(
        audit, found, works, (*sources, *found.warnings), cache.extractor.id, views_of(cache.extractor)
    )


def report_audit(
    measured: MeasuredAudit,
    files: Mapping[str, str | None],
    environment: Mapping[str, Any],
    metadata: Mapping[str, Metadata],
    warnings: Sequence[Any] = (),
) -> Report:
    """The report of a measured audit.

    Args:
        files: model file name → SHA-256, or None where it could not be hashed.
        environment: versions, device and launch flags of the ComfyUI that ran it.
        metadata: model file name → what the file says of itself, where that is known.
        warnings: more records with ``code`` and ``message``.
    """
    plan, summary = measured.audit.plan, measured.audit.plan.summary()
    deterministic, difference = measured.audit.repeatability()
    canaries = measured.audit.canaries(difference or 0)
    sampling = sampling_record(measured.measurement.evaluation, plan.settings)
    components = Components(
        players=[_with_hash(item, files) for item in summary["players"]],
        groups=plan.group_names,
        locked=[_with_hash(item, files) for item in summary["locked"]],
        unmeasured=[{**item, "name": item["what"], "kind": item["class_type"]} for item in summary["unmeasured"]],
        models=[{"file": name, **_hashes(digest)} for name, digest in files.items()],
        metadata=metadata_records(_loaded(summary, files), metadata, plan.settings.artists),
    )
    found = measured.measurement
    folder = measured.audit.store.coalitions_folder.name
    images = Images(found.reference, found.control, found.images, dict.fromkeys(plan.design.masks, folder))
    provenance = Provenance(
        seeds=list(range(plan.seeds)),
        settings=plan.settings,
        preprocessing=measured.preprocessing,
        views=measured.views,
        environment=describe_environment(**environment, run_difference=difference),
        workflow=to_json(plan.graph),
        deterministic=deterministic,
        canaries=canaries,
        sampling=sampling,
        clips=measured.audit.clips(),
        until_sure=until_sure_record(plan.race, plan.group_names or plan.names, plan.names),
    )
    return build_report(
        found.evaluation,
        components,
        images,
        provenance,
        warnings=[
            *sampling_cautions(sampling),
            *twin_cautions(plan),
            *canary_cautions(canaries, plan.names),
            *measured.warnings,
            *warnings,
            *({"code": "plan", "message": message} for message in plan.warnings),
        ],
    )


def publish_audit(
    measured: MeasuredAudit, report: Report, options: ReportOptions, custody: Custody | None = None
) -> Published:
    """Write the report, and all that goes with it, into the run folder.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    store, plan = measured.audit.store, measured.audit.plan
    pictures = {
        mask: [partial(_path, store, record) for record in records]
        for mask, records in measured.measurement.images.items()
    }
    return publish(
        report,
        store.folder,
        pictures,
        measured.works.reference,
        options,
        workflows={item.mask: to_json(plan.rewriter.graph(item.mask)[0]) for item in report.coalitions},
        images=copies_of(measured.works),
        custody=custody,
    )


def _path(store: RunStore, record: Mapping[str, Any]) -> Path:
    key, _, name = record["file"].partition("/")
    return store.image(key, name, record["sha256"])


def _loaded(summary: Mapping[str, Any], files: Iterable[str]) -> dict[str, list[str]]:
    """Every model file, with the names of the components that load it."""
    components = [*summary["players"], *summary["locked"]]
    return {file: [item["name"] for item in components if file in item["files"]] for file in files}


def _with_hash(item: dict[str, Any], files: Mapping[str, str | None]) -> dict[str, Any]:
    file = item["files"][0] if item["files"] else None
    return {**item, "file": file, **_hashes(files.get(file) if file is not None else None)}


def _hashes(digest: str | None) -> dict[str, str | None]:
    return {"sha256": digest, "autov2": autov2(digest) if digest else None}
