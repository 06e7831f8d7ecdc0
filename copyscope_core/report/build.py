"""Builds the report from an evaluation and its provenance, and writes it as ``report.json``.

Its schema is in ``schema``; its page is made in ``html``.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from .. import __version__
from ..errors import CopyScopeError, GameError, describe
from ..evaluation.evaluate import Caution, Evaluation
from ..evaluation.uncertainty import ONE_SEED
from ..files.atomic import write_json_atomic
from .report import Report
from .results import (
    coalition_results,
    differences,
    group_results,
    interactions,
    player_results,
    uncertainty_record,
)
from .schema import (
    CanaryResult,
    ClipRecord,
    ComponentRecord,
    ControlRecord,
    ImageRecord,
    LockedComponent,
    ModelFile,
    ModelMetadata,
    PlayerInfo,
    Record,
    Reference,
    ReportWarning,
    SamplingRecord,
    UnmeasuredComponent,
    UntilSureRecord,
)
from .verdict import verdict_record

_R = TypeVar("_R", bound=Record)
_C = TypeVar("_C", bound=ComponentRecord)


@dataclass(frozen=True)
class Components:
    """What the workflow is made of. Records may be mappings or objects with attributes, as a plan's summary has them.

    Attributes:
        players: records with the fields of `PlayerInfo`, in any order; None: only names are known.
        groups: names of the design's groups, in their order; empty: no players are grouped.
        locked, unmeasured: records with the fields of `LockedComponent`, `UnmeasuredComponent`.
        models: records with the fields of `ModelFile`; components without hashes take theirs from here, by file name.
        metadata: what model files say of themselves (``metadata.metadata_records``).
    """

    players: Sequence[Any] | None = None
    groups: Sequence[str] = ()
    locked: Sequence[Any] = ()
    unmeasured: Sequence[Any] = ()
    models: Sequence[Any] = ()
    metadata: Sequence[ModelMetadata] = ()


@dataclass(frozen=True)
class Images:
    """Which images were compared.

    Attributes:
        reference: names, hashes and preprocessing record of the reference.
        control: the same of the control images, where the evaluation has some.
        coalitions: mask → records with the fields of `ImageRecord`.
        folders: mask → folder of the coalition's images, relative to the report.
    """

    reference: Reference | Mapping[str, Any] | None = None
    control: ControlRecord | Mapping[str, Any] | None = None
    coalitions: Mapping[int, Sequence[Any]] = field(default_factory=dict)
    folders: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """How the results came about.

    Attributes:
        seeds: seed offsets that were run; a warning is added if there is just one.
        settings: of the audit.
        preprocessing: id of the path from image file to features.
        views: which columns of the features each value function is made of; empty: all are content.
        environment: what `describe_environment` gives; None: that of this process.
        workflow: API graph; None: there is none.
        deterministic: whether two runs gave equal pixels; a warning is added if not. None: not tried.
        canaries: coalitions that were run once again at the end.
        sampling: how coalitions were chosen, where not all were measured.
        clips: what the images are frames of, as `ClipRecord` reads it; None: they are no frames.
        until_sure: how the audit ended, where it ran until it was sure.
    """

    seeds: Sequence[int] = ()
    settings: BaseModel | Mapping[str, Any] | None = None
    preprocessing: str = ""
    views: Mapping[str, slice] = field(default_factory=dict)
    environment: Mapping[str, Any] | None = None
    workflow: Mapping[str, Any] | None = None
    deterministic: bool | None = None
    canaries: Sequence[CanaryResult] = ()
    sampling: SamplingRecord | None = None
    clips: ClipRecord | Mapping[str, Any] | None = None
    until_sure: UntilSureRecord | None = None


def build_report(
    evaluation: Evaluation,
    components: Components | None = None,
    images: Images | None = None,
    provenance: Provenance | None = None,
    warnings: Sequence[Any] = (),
    created: datetime | None = None,
) -> Report:
    """Put results and provenance together. Numbers that are not finite become null.

    Args:
        evaluation: the results.
        warnings: sentences, or records with `code` and `message`, shown before those of the evaluation.
        created: time of the report; None: now.

    Raises:
        GameError: the player records do not match the evaluation's players.
        CopyScopeError: a record does not fit the schema.
    """
    components, images, provenance = components or Components(), images or Images(), provenance or Provenance()
    given = [_read(ModelFile, item) for item in components.models]
    known = [_hashed(item, given) for item in _player_info(evaluation.players, components.players)]
    locked_records = [_hashed(_read(LockedComponent, item), given) for item in components.locked]
    unmeasured_records = [_hashed(_read(UnmeasuredComponent, item), given) for item in components.unmeasured]
    names = [info.name for info in known]
    results = player_results(evaluation, known, components.groups)
    files = {mask: [_read(ImageRecord, item) for item in rows] for mask, rows in images.coalitions.items()}
    settings, environment, workflow = provenance.settings, provenance.environment, provenance.workflow
    raw_settings = settings.model_dump(mode="json") if isinstance(settings, BaseModel) else dict(settings or {})
    control = _control(evaluation, images.control)
    general = control is not None and control.source == "bank"
    moment = (created or datetime.now(timezone.utc)).astimezone(timezone.utc)
    return Report(
        created=moment.isoformat(timespec="seconds").replace("+00:00", "Z"),
        verdict=verdict_record(
            evaluation, results, components.groups, general, provenance.preprocessing, provenance.until_sure
        ),
        distance=evaluation.distance_name,
        players=results,
        coalitions=coalition_results(evaluation, images.folders, files),
        groups=group_results(evaluation, components.groups, names),
        sampling=provenance.sampling,
        clips=None if provenance.clips is None else _read(ClipRecord, provenance.clips),
        differences=differences(evaluation, names),
        interactions=interactions(evaluation, names),
        uncertainty=uncertainty_record(evaluation),
        no_interval=evaluation.no_interval or None,
        locked=locked_records,
        unmeasured=unmeasured_records,
        models=_model_files(given, [*known, *locked_records, *unmeasured_records]),
        metadata=list(components.metadata),
        efficiency_gap=evaluation.efficiency_gap,
        seeds=list(provenance.seeds),
        settings=plain(raw_settings),
        reference=_read(Reference, images.reference or {"count": evaluation.reference_count}),
        control=control,
        preprocessing=provenance.preprocessing,
        views={name: [columns.start, columns.stop] for name, columns in provenance.views.items()},
        environment=plain(dict(describe_environment() if environment is None else environment)),
        workflow=None if workflow is None else plain(dict(workflow)),
        deterministic=provenance.deterministic,
        canaries=list(provenance.canaries),
        warnings=[
            _read(ReportWarning, item)
            for item in (*warnings, *_run_cautions(evaluation, provenance), *evaluation.warnings)
        ],
    )


def describe_environment(**more: Any) -> dict[str, Any]:
    """Versions of this process, plus what the caller knows (``comfyui=…``, ``device=…``)."""
    versions: dict[str, Any] = {
        "copyscope": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
    }
    for package in ("torch", "torchvision", "pillow", "scipy", "safetensors", "transformers"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions | more


def write_report(report: Report, folder: Path) -> Path:
    """Write ``report.json`` into a folder, atomically, and return its path.

    Raises:
        StoreError: the disk is full, or the folder cannot be written.
    """
    path = folder / "report.json"
    write_json_atomic(path, report.model_dump(mode="json"))
    return path


def plain(value: Any) -> Any:
    """The same data as JSON can hold it: numbers finite or None, keys strings, text without lone surrogates."""
    if isinstance(value, BaseModel):
        return plain(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {_text(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    return _text(str(value))


def _read(model: type[_R], record: Any) -> _R:
    if isinstance(record, model):
        return record
    if isinstance(record, BaseModel | Mapping | str):
        data: Any = plain(record)
    else:
        data = {name: plain(getattr(record, name)) for name in model.model_fields if hasattr(record, name)}
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise CopyScopeError(f"A {model.__name__} record does not fit the report: {describe(error)}.") from error


def _player_info(names: Sequence[str], records: Sequence[Any] | None) -> list[PlayerInfo]:
    if records is None:
        return [PlayerInfo(name=_text(name)) for name in names]
    by_name = {info.name: info for info in (_read(PlayerInfo, record) for record in records)}
    wanted = [_text(name) for name in names]
    if set(by_name) != set(wanted) or len(records) != len(wanted):
        raise GameError(f"The records are for the players {', '.join(by_name)}, the results for {', '.join(wanted)}.")
    return [by_name[name] for name in wanted]


def _control(evaluation: Evaluation, record: ControlRecord | Mapping[str, Any] | None) -> ControlRecord | None:
    if evaluation.control is None:
        return None
    return _read(ControlRecord, record or {"count": evaluation.control.count})


def _same_file(model: ModelFile, file: str | None, kind: str | None) -> bool:
    """Two kinds may have files of the same name, in different folders."""
    return model.file == file and (model.kind is None or kind is None or model.kind == kind)


def _hashed(component: _C, models: Sequence[ModelFile]) -> _C:
    """The component with the hashes of its file, where the list of model files has them."""
    if component.sha256 is None:
        for model in models:
            if _same_file(model, component.file, component.kind):
                return component.model_copy(update={"sha256": model.sha256, "autov2": model.autov2})
    return component


def _model_files(given: Sequence[ModelFile], components: Sequence[ComponentRecord]) -> list[ModelFile]:
    """The given files and those of the components, each file once."""
    files = list(given)
    for component in components:
        for name in component.files:
            if not any(_same_file(model, name, component.kind) for model in files):
                own = name == component.file
                files.append(
                    ModelFile(
                        file=name,
                        kind=component.kind,
                        sha256=component.sha256 if own else None,
                        autov2=component.autov2 if own else None,
                    )
                )
    return files


def _run_cautions(evaluation: Evaluation, provenance: Provenance) -> list[Caution]:
    found = []
    if provenance.deterministic is False:
        found.append(
            Caution(
                "non_deterministic",
                "The same workflow gave different pixels when run twice, so part of every difference is chance.",
            )
        )
    if len(provenance.seeds) == 1 and "one_seed" not in [caution.code for caution in evaluation.warnings]:
        found.append(Caution("one_seed", ONE_SEED))
    return found


def _text(text: str) -> str:
    """Text that can be written as UTF-8: lone surrogates, which stand for undecodable bytes, become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
