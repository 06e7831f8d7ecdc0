"""A report to pass on: without prompts, paths, and the names of reference, control and input images.

The private report is made anew, field by field. Numbers and hashes are taken over, so that whoever holds the run folder
can still verify it. Text is taken over only where CopyScope itself wrote it or where it has one of a few safe forms (a
hash, a version, the name of a model file); all other text is left out, or replaced by a sentence that fits every
report. A new field of the report is left out until it gets a rule here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args

import numpy as np

from ..controls.bank import load_bank
from ..distances.registry import DISTANCES
from ..evaluation.cautions import covariance_cautions, effect_cautions, extractor_cautions
from ..features.views import CONTENT, STYLE
from ..files.pixels import MATCH_METHOD
from ..game.design import Estimator
from ..players.components import stem
from ..settings import AuditSettings
from ..workflow.node_info import bundled_catalog, is_model_file
from .allowed import (
    ABSENCE,
    CASE,
    COALITIONS,
    ENVIRONMENT,
    HASH,
    HIDDEN,
    IDENTIFIER,
    NODE,
    NODE_SUFFIX,
    NUMBERS_ONLY,
    PLAIN_NAME,
    REASONS,
    SECRET_KINDS,
    STORED_IMAGE,
    TIME,
    VERSION,
    WARNINGS,
    base_name,
    flag_name,
    in_form,
    known_kind,
    known_sentence,
)
from .report import Report
from .results import METHOD
from .schema import (
    CanaryResult,
    CoalitionResult,
    ComponentRecord,
    ControlRecord,
    CustodyRecord,
    ImageRecord,
    LockedComponent,
    ModelFile,
    PlayerResult,
    Record,
    Reference,
    ReportWarning,
    UnmeasuredComponent,
    UntilSureRecord,
    VerdictRecord,
)
from .verdict import worded

_R = TypeVar("_R", bound=Record)


def without_private(report: Report) -> Report:
    """The report for others: prompts, paths and names of images left out; players of a prompt are numbered instead."""
    names = _names([*report.players, *report.locked, *report.unmeasured])
    groups = _groups([group.name for group in report.groups], names)
    players = [_player(item, names, groups) for item in report.players]
    return Report.model_validate(
        {
            **_without_text(report),
            "created": in_form(TIME, report.created) or HIDDEN,
            "verdict": _verdict(report, {**names, **groups}, players),
            "distance": report.distance,
            "players": players,
            "coalitions": [_coalition(item, names) for item in report.coalitions],
            "groups": [
                {**_without_text(item), "name": groups[item.name], "members": _named(item.members, names)}
                for item in report.groups
            ],
            "sampling": report.sampling,
            "clips": report.clips,
            "locked": [
                _component(LockedComponent, item, names, reason=known_sentence(REASONS, item.reason))
                for item in report.locked
            ],
            "unmeasured": [_unmeasured(item, names) for item in report.unmeasured],
            "models": [_model(item) for item in report.models],
            "differences": [
                {**_without_text(item), "first": names[item.first], "second": names[item.second]}
                for item in report.differences
            ],
            "interactions": [
                {**_without_text(item), "members": _named(item.members, names)} for item in report.interactions
            ],
            "uncertainty": (
                None if report.uncertainty is None else {**_without_text(report.uncertainty), "method": METHOD}
            ),
            "no_interval": report.no_interval,
            "settings": _settings(report.settings),
            "reference": _side("reference", report.reference),
            "control": None if report.control is None else _control(report.control),
            "preprocessing": in_form(IDENTIFIER, report.preprocessing) or "",
            "views": {name: report.views[name] for name in (CONTENT, STYLE) if name in report.views},
            "environment": _environment(report.environment),
            "workflow": None,
            "canaries": [_canary(item, names) for item in report.canaries],
            "custody": None if report.custody is None else _custody(report.custody),
            "private": True,
            "warnings": _warnings(report, players),
        }
    )


def _without_text(record: Record) -> dict[str, Any]:
    """The fields of a record that hold numbers, truth values, null, or lists of these."""
    return {name: value for name, value in record if _is_textless(value)}


def _is_textless(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_textless, value))
    return value is None or isinstance(value, bool | int | float)


def _names(components: Sequence[ComponentRecord]) -> dict[str, str]:
    """Every component's name → what a private report calls it: the same where it tells nothing, else a number."""
    taken = {item.name for item in components}
    result: dict[str, str] = {}
    counts: dict[str, int] = {}
    for item in components:
        if item.name in result:
            continue
        secret = next((kind for kind in SECRET_KINDS if kind == item.kind or item.name.startswith(f"{kind}: ")), None)
        if item.name == secret or (secret is None and _tells_nothing(item)):
            result[item.name] = item.name
            continue
        named = None if secret else _by_file(item.name)
        if named is not None and named not in (*taken, *result.values()):
            result[item.name] = named
            continue
        kind = secret or known_kind(item.kind)
        while True:
            counts[kind] = counts.get(kind, 0) + 1
            if (name := f"{kind} {counts[kind]}") not in taken:
                break
        result[item.name] = name
    return result


def _tells_nothing(item: ComponentRecord) -> bool:
    """Whether a component is called after its model file, or by a plain name."""
    stems = {stem(base_name(file)) for file in item.files if is_model_file(file)}
    return NODE_SUFFIX.sub("", item.name) in stems or in_form(PLAIN_NAME, item.name) is not None


def _by_file(name: str) -> str | None:
    """``input: folder/file`` without the folder; None for other names."""
    begin, _, file = name.partition(": ")
    return f"{begin}: {base_name(file)}" if IDENTIFIER.fullmatch(begin) and is_model_file(file) else None


def _groups(groups: Iterable[str], names: Mapping[str, str]) -> dict[str, str]:
    """Every group's name → what a private report calls it; a player that is in no group is a group of its own."""
    return {
        group: names.get(group) or in_form(PLAIN_NAME, group) or f"group {number}"
        for number, group in enumerate(groups, start=1)
    }


def _named(members: Iterable[str], names: Mapping[str, str]) -> list[str]:
    return [names[name] for name in members]


def _component(model: type[_R], item: ComponentRecord, names: Mapping[str, str], **more: Any) -> _R:
    """A component with what all of them have; ``more``: the fields of its own."""
    return model.model_validate(
        {
            **_without_text(item),
            "name": names[item.name],
            "kind": known_kind(item.kind),
            "node": in_form(NODE, item.node),
            "files": [base_name(file) for file in item.files],
            "file": base_name(item.file),
            "sha256": in_form(HASH, item.sha256),
            "autov2": in_form(HASH, item.autov2),
            **more,
        }
    )


def _player(item: PlayerResult, names: Mapping[str, str], groups: Mapping[str, str]) -> PlayerResult:
    return _component(
        PlayerResult,
        item,
        names,
        absence=None if item.absence is None else known_sentence(ABSENCE, item.absence),
        group=None if item.group is None else groups.get(item.group, HIDDEN),
        indistinguishable_from=(
            None if item.indistinguishable_from is None else _named(item.indistinguishable_from, names)
        ),
    )


def _verdict(report: Report, names: Mapping[str, str], players: Sequence[PlayerResult]) -> VerdictRecord:
    """The verdict, written again with the names of the private report."""
    found = report.verdict
    functions = [
        item.model_copy(update={"first": None if item.first is None else names.get(item.first, HIDDEN)})
        for item in found.value_functions
    ]
    record = found.model_copy(
        update={
            "player": None if found.player is None else names.get(found.player, HIDDEN),
            "first": None if found.first is None else names.get(found.first, HIDDEN),
            "tied": [names.get(name, HIDDEN) for name in found.tied],
            "value_functions": functions,
            "until_sure": None if found.until_sure is None else _until_sure(found.until_sure, names),
        }
    )
    return worded(record, report.distance, report.preprocessing, players)


def _until_sure(record: UntilSureRecord, names: Mapping[str, str]) -> UntilSureRecord:
    def named(name: str | None) -> str | None:
        return None if name is None else names.get(name, HIDDEN)

    looks = [
        look.model_copy(update={"first": named(look.first), "second": named(look.second)}) for look in record.looks
    ]
    return record.model_copy(
        update={
            "looks": looks,
            "set_aside": [names.get(name, HIDDEN) for name in record.set_aside],
            "put_back": [names.get(name, HIDDEN) for name in record.put_back],
        }
    )


def _unmeasured(item: UnmeasuredComponent, names: Mapping[str, str]) -> UnmeasuredComponent:
    known = item.class_type if item.class_type is not None and item.class_type in bundled_catalog() else None
    return _component(UnmeasuredComponent, item, names, class_type=known, reason=known_sentence(REASONS, item.reason))


def _model(item: ModelFile) -> ModelFile:
    return ModelFile(
        file=base_name(item.file) or HIDDEN,
        kind=None if item.kind is None else known_kind(item.kind),
        sha256=in_form(HASH, item.sha256),
        autov2=in_form(HASH, item.autov2),
    )


def _image(item: ImageRecord, file: str) -> ImageRecord:
    """An image under a name that is not the user's."""
    hashes = {name: in_form(HASH, getattr(item, name)) for name in ("pixel_sha256", "sha256", "matched_sha256")}
    return ImageRecord.model_validate({**_without_text(item), **hashes, "file": file})


def _coalition(item: CoalitionResult, names: Mapping[str, str]) -> CoalitionResult:
    """The names of a run folder's own images are kept; those of a scored folder are the user's."""
    own = item.folder == COALITIONS and all(STORED_IMAGE.fullmatch(image.file) for image in item.image_files)
    images = [_image(image, image.file if own else f"{place:04d}") for place, image in enumerate(item.image_files)]
    folder = COALITIONS if own else None
    return CoalitionResult.model_validate(
        {**_without_text(item), "members": _named(item.members, names), "folder": folder, "image_files": images}
    )


def _canary(item: CanaryResult, names: Mapping[str, str]) -> CanaryResult:
    hashes = [in_form(HASH, digest) or HIDDEN for digest in item.pixel_sha256]
    return CanaryResult.model_validate(
        {**_without_text(item), "members": _named(item.members, names), "pixel_sha256": hashes}
    )


def _side(what: str, record: Reference) -> Reference:
    """The reference or control images, numbered."""
    given = record.preprocessing
    shape: dict[str, Any] = {name: given[name] for name in ("width", "height") if isinstance(given.get(name), int)}
    method = given.get("method")
    if isinstance(method, str) and re.fullmatch(re.escape(MATCH_METHOD) + r":[0-9]+x[0-9]+", method):
        shape["method"] = method
    images = [_image(image, f"{what} image {number}") for number, image in enumerate(record.images, start=1)]
    return Reference(count=record.count, images=images, preprocessing=shape)


def _control(record: ControlRecord) -> ControlRecord:
    """The control images; those of the bank keep their names, but which of them resemble the reference is not said."""
    plain = _side("control", record).model_dump()
    if record.source == "given":
        return ControlRecord.model_validate(plain)
    works = {work.file: work.kind for work in load_bank().works}
    images = [
        _image(image, image.file if image.file in works else f"control image {number}")
        for number, image in enumerate(record.images, start=1)
    ]
    return ControlRecord.model_validate(
        {
            **plain,
            "images": images,
            "source": "bank",
            "bank": in_form(HASH, record.bank),
            "kinds": [kind for kind in record.kinds if kind in works.values()],
            "left_out": [{"file": HIDDEN, "reason": item.reason} for item in record.left_out],
        }
    )


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of the settings of an audit: numbers, switches, choices from a list, and the files of baselines."""
    choices = (*DISTANCES, *get_args(Estimator))
    kept: dict[str, Any] = {}
    for key in sorted(AuditSettings.model_fields.keys() & settings.keys()):
        value = settings[key]
        if (not isinstance(value, list) and _is_textless(value)) or (
            isinstance(value, str) and key in ("distance", "estimator") and value in choices
        ):
            kept[key] = value
        elif isinstance(value, str) and key in ("baseline_checkpoint", "baseline_vae"):
            kept[key] = base_name(value)
        elif isinstance(value, str) and key == "output":
            kept[key] = in_form(NODE, value)
        elif isinstance(value, Mapping) and key == "baseline_models":
            kept[key] = {node: base_name(str(file)) for node, file in value.items() if NODE.fullmatch(str(node))}
    return kept


def _environment(environment: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name in ENVIRONMENT:
        value = environment.get(name)
        if name in environment:
            kept[name] = (in_form(VERSION, value) or HIDDEN) if isinstance(value, str) else None
    if isinstance(difference := environment.get("run_difference"), int):
        kept["run_difference"] = difference
    if isinstance(flags := environment.get("launch_flags"), list):
        kept["launch_flags"] = [flag for word in flags if (flag := flag_name(str(word)))]
    return kept


def _custody(record: CustodyRecord) -> CustodyRecord:
    """Examiner and case are kept where they have no sign of a path: they were named to be in the report."""
    return record.model_copy(
        update={
            "started": in_form(TIME, record.started) or HIDDEN,
            "finished": in_form(TIME, record.finished) or HIDDEN,
            "host": None,
            "clock": None,
            "commit": in_form(HASH, record.commit),
            "tree_sha256": in_form(HASH, record.tree_sha256) or HIDDEN,
            "weights_sha256": in_form(HASH, record.weights_sha256),
            "command": None,
            "examiner": in_form(CASE, record.examiner),
            "case": in_form(CASE, record.case),
        }
    )


def _warnings(report: Report, players: Sequence[PlayerResult]) -> list[ReportWarning]:
    """Warnings with the same codes, in the same order; equal ones are said once."""
    again = {caution.code: caution.message for caution in _cautions(report, players)}
    found = []
    for warning in report.warnings:
        code = in_form(re.compile("[a-z_]+"), warning.code) or "note"
        if code in ("input_image", "input_matches_reference"):
            message = _input_image(report, warning)
        elif code in NUMBERS_ONLY:
            message = warning.message
        else:
            message = again.get(code) or WARNINGS.get(code, "A note is left out of this private report.")
        found.append(ReportWarning(code=code, message=message))
    return list({(item.code, item.message): item for item in found}.values())


def _cautions(report: Report, players: Sequence[PlayerResult]) -> list[Any]:
    """Warnings that name players or features, written again with the names of the private report."""

    def column(name: str) -> Any:
        values = [getattr(player, name) for player in players]
        return None if None in values else np.array(values, dtype=np.float64)

    names = [player.name for player in players]
    share = column("share")
    return [
        *effect_cautions(names, share, [bool(player.no_effect) for player in players]),
        *covariance_cautions(names, share, column("shapley_mean"), column("shapley_covariance")),
        *extractor_cautions(in_form(IDENTIFIER, report.preprocessing) or HIDDEN),
    ]


def _input_image(report: Report, warning: ReportWarning) -> str:
    """An input image and its nearest reference image: of the warning's text only the node and numbers are kept."""
    text = warning.message
    node = re.search(r" \(node ([0-9.:]+)\) is nearest to the reference ", text)
    away = re.search(r"feature distance ([0-9]+(?:\.[0-9]+)?)\b(?!.*feature distance)", text)
    near = [
        (len(image.file), number)
        for number, image in enumerate(report.reference.images, start=1)
        if f"is nearest to the reference {image.file}" in text
    ]
    which = f"An input image{f' (node {node[1]})' if node else ''}"
    nearest = f"reference image {max(near)[1]}" if near else "a reference image"
    distance = f", at feature distance {away[1]}" if away else ""
    if warning.code == "input_image":
        return f"{which} is nearest to {nearest}{distance}."
    return f"{which} matches {nearest}{distance}: the image, not a model, is the likely source of the resemblance."
