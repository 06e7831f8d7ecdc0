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

from ..distances.registry import DISTANCES
from ..evaluation.cautions import covariance_cautions, effect_cautions, extractor_cautions
from ..files.pixels import MATCH_METHOD
from ..game.design import Estimator
from ..players.components import stem
from ..settings import AuditSettings
from ..workflow.node_info import bundled_catalog, is_model_file
from .report import Report
from .results import METHOD, headline
from .schema import (
    CanaryResult,
    CoalitionResult,
    ComponentRecord,
    ImageRecord,
    LockedComponent,
    ModelFile,
    PlayerResult,
    Record,
    Reference,
    ReportWarning,
    UnmeasuredComponent,
)

HIDDEN = "[left out]"

KINDS = (
    "component", "checkpoint", "unet", "clip", "vae", "lora", "hypernetwork", "controlnet", "ip_adapter", "unclip",
    "style", "gligen", "model_patch", "prompt", "image", "embedding", "input",
)  # fmt: skip
SECRET_KINDS = ("prompt", "image", "embedding")
"""Kinds of components whose names are words of a prompt or names of the user's files."""

_HASH = re.compile(r"[0-9A-Fa-f]{10,64}")
_NODE = re.compile(r"[0-9]+(?:[.:][0-9]+)*")
_TIME = re.compile(r"[0-9T:.+-]+Z?")
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .:+()_-]{0,80}")
_PLAIN_NAME = re.compile(r"\w[\w .()+-]{0,80}")
"""A name that its user chose for a player or a group: letters of any script, but no sign of a path or a quotation."""

_NODE_SUFFIX = re.compile(r" \(node [0-9.:]+(?:, [0-9]+)?\)\Z")
_FLAG, _NUMBER = re.compile(r"--[a-z0-9][a-z0-9-]*"), re.compile(r"[0-9]+(?:\.[0-9]+)?")
_STORED_IMAGE = re.compile(r"[0-9a-f]{64}/[0-9]{4,9}\.png")
_COALITIONS = "coalitions"

_ENVIRONMENT = (
    "copyscope", "python", "numpy", "platform", "torch", "torchvision", "pillow", "comfyui", "comfyui_pytorch",
    "comfyui_os", "device",
)  # fmt: skip
"""Versions and devices; of the rest of the environment only numbers and the names of launch flags are kept."""

_ABSENCE = {
    "bypassed": "bypassed: each output takes the input of its type",
    "replaced by the baseline": "replaced by the baseline",
    "replaced by the VAE": "replaced by the VAE of the checkpoint, the baseline's where that is absent too",
    "its merge": "its merge is bypassed: the merge's other model stands alone",
    "entry ": "its entry of the stack is switched off",
    "replaced by a neutral grey": "replaced by a neutral grey image of the same size",
    "the positive text": "the positive text is removed or replaced",
    "the phrase": "the phrase is removed or replaced",
}
"""How an absence rule begins → what a private report says of it."""

_REASONS = {
    "locked by the user": "locked by the user",
    "not among": "not among the chosen players",
    "the baseline is": "the baseline is this very file, so its absence would change nothing; name another baseline",
    "no baseline": "no baseline was named, so its own share was not measured; name one to measure it",
    "the workflow has no": "the workflow has no checkpoint whose own VAE could stand in; name a baseline VAE",
    "it cannot be bypassed": "it cannot be bypassed: no input can stand in for one of its outputs",
    "the positive text": "the positive text is the neutral text already",
    "a model in a node": "a model in a node with no absence rule",
    "a textual": "a textual inversion in a text that stays",
    "an input image": "an input image; make it a player to measure it",
}
"""The same of why a component is locked or not measured."""

_NUMBERS_ONLY = (
    "unequal_counts", "one_reference", "one_image", "few_images", "few_seeds", "one_seed", "no_interval", "no_change",
    "sampled", "few_orders", "non_deterministic",
)  # fmt: skip
"""Codes of warnings that CopyScope writes from numbers alone."""

_WARNINGS = {
    "canary_mismatch": "Run again at the end, a combination gave other pixels than in its turn (see the canaries): "
    "something of one combination stayed in the server and reached another, so these contributions cannot be relied "
    "on. Restart the server and run the audit again in a new folder.",
    "defective_images": "Some images look broken (black, or of one flat colour), and they count in the distances.",
    "plan": "A note on the workflow is left out of this private report.",
    "conversion": "A note on the conversion of the workflow is left out of this private report.",
}

_R = TypeVar("_R", bound=Record)


def without_private(report: Report) -> Report:
    """The report for others: prompts, paths and names of images left out; players of a prompt are numbered instead."""
    names = _names([*report.players, *report.locked, *report.unmeasured])
    groups = _groups([group.name for group in report.groups], names)
    players = [_player(item, names, groups) for item in report.players]
    return Report.model_validate(
        {
            **_without_text(report),
            "created": _if(_TIME, report.created) or HIDDEN,
            "headline": headline(report.distance, players),
            "distance": report.distance,
            "players": players,
            "coalitions": [_coalition(item, names) for item in report.coalitions],
            "groups": [
                {**_without_text(item), "name": groups[item.name], "members": _named(item.members, names)}
                for item in report.groups
            ],
            "sampling": report.sampling,
            "locked": [
                _component(LockedComponent, item, names, reason=_known(_REASONS, item.reason)) for item in report.locked
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
            "control": None if report.control is None else _side("control", report.control),
            "preprocessing": _if(_IDENTIFIER, report.preprocessing) or "",
            "environment": _environment(report.environment),
            "workflow": None,
            "canaries": [_canary(item, names) for item in report.canaries],
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


def _if(form: re.Pattern[str], text: str | None) -> str | None:
    """The text if all of it has a form, else None."""
    return text if text is not None and form.fullmatch(text) else None


def _known(sentences: Mapping[str, str], text: str) -> str:
    """The sentence of a private report for one of CopyScope's own, recognised by how it begins."""
    return next((known for begin, known in sentences.items() if text.startswith(begin)), HIDDEN if text else "")


def _kind(kind: str) -> str:
    """A kind of component, or a node class of ComfyUI's own."""
    return kind if kind in KINDS or kind in bundled_catalog() else "component"


def _file(name: str | None) -> str | None:
    """A model file's name without its folders; other files and folders are left out."""
    if name is None:
        return None
    base = name.replace("\\", "/").rpartition("/")[2]
    return base if is_model_file(base) else HIDDEN


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
        kind = secret or _kind(item.kind)
        while True:
            counts[kind] = counts.get(kind, 0) + 1
            if (name := f"{kind} {counts[kind]}") not in taken:
                break
        result[item.name] = name
    return result


def _tells_nothing(item: ComponentRecord) -> bool:
    """Whether a component is called after its model file, or by a plain name."""
    stems = {stem(_file(file)) for file in item.files if is_model_file(file)}
    return _NODE_SUFFIX.sub("", item.name) in stems or _if(_PLAIN_NAME, item.name) is not None


def _by_file(name: str) -> str | None:
    """``input: folder/file`` without the folder; None for other names."""
    begin, _, file = name.partition(": ")
    return f"{begin}: {_file(file)}" if _IDENTIFIER.fullmatch(begin) and is_model_file(file) else None


def _groups(groups: Iterable[str], names: Mapping[str, str]) -> dict[str, str]:
    """Every group's name → what a private report calls it; a player that is in no group is a group of its own."""
    return {
        group: names.get(group) or _if(_PLAIN_NAME, group) or f"group {number}"
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
            "kind": _kind(item.kind),
            "node": _if(_NODE, item.node),
            "files": [_file(file) for file in item.files],
            "file": _file(item.file),
            "sha256": _if(_HASH, item.sha256),
            "autov2": _if(_HASH, item.autov2),
            **more,
        }
    )


def _player(item: PlayerResult, names: Mapping[str, str], groups: Mapping[str, str]) -> PlayerResult:
    return _component(
        PlayerResult,
        item,
        names,
        absence=None if item.absence is None else _known(_ABSENCE, item.absence),
        group=None if item.group is None else groups.get(item.group, HIDDEN),
        indistinguishable_from=(
            None if item.indistinguishable_from is None else _named(item.indistinguishable_from, names)
        ),
    )


def _unmeasured(item: UnmeasuredComponent, names: Mapping[str, str]) -> UnmeasuredComponent:
    known = item.class_type if item.class_type is not None and item.class_type in bundled_catalog() else None
    return _component(UnmeasuredComponent, item, names, class_type=known, reason=_known(_REASONS, item.reason))


def _model(item: ModelFile) -> ModelFile:
    return ModelFile(
        file=_file(item.file) or HIDDEN,
        kind=None if item.kind is None else _kind(item.kind),
        sha256=_if(_HASH, item.sha256),
        autov2=_if(_HASH, item.autov2),
    )


def _image(item: ImageRecord, file: str) -> ImageRecord:
    """An image under a name that is not the user's."""
    hashes = {name: _if(_HASH, getattr(item, name)) for name in ("pixel_sha256", "sha256", "matched_sha256")}
    return ImageRecord.model_validate({**_without_text(item), **hashes, "file": file})


def _coalition(item: CoalitionResult, names: Mapping[str, str]) -> CoalitionResult:
    """The names of a run folder's own images are kept; those of a scored folder are the user's."""
    own = item.folder == _COALITIONS and all(_STORED_IMAGE.fullmatch(image.file) for image in item.image_files)
    images = [_image(image, image.file if own else f"{place:04d}") for place, image in enumerate(item.image_files)]
    folder = _COALITIONS if own else None
    return CoalitionResult.model_validate(
        {**_without_text(item), "members": _named(item.members, names), "folder": folder, "image_files": images}
    )


def _canary(item: CanaryResult, names: Mapping[str, str]) -> CanaryResult:
    hashes = [_if(_HASH, digest) or HIDDEN for digest in item.pixel_sha256]
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
            kept[key] = _file(value)
        elif isinstance(value, str) and key == "output":
            kept[key] = _if(_NODE, value)
        elif isinstance(value, Mapping) and key == "baseline_models":
            kept[key] = {node: _file(str(file)) for node, file in value.items() if _NODE.fullmatch(str(node))}
    return kept


def _environment(environment: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name in _ENVIRONMENT:
        value = environment.get(name)
        if name in environment:
            kept[name] = (_if(_VERSION, value) or HIDDEN) if isinstance(value, str) else None
    if isinstance(difference := environment.get("run_difference"), int):
        kept["run_difference"] = difference
    if isinstance(flags := environment.get("launch_flags"), list):
        kept["launch_flags"] = [flag for word in flags if (flag := _flag(str(word)))]
    return kept


def _flag(text: str) -> str | None:
    """A launch flag's name, with its value if that is a number."""
    name, *values = text.replace("=", " ", 1).split(" ")
    if not _FLAG.fullmatch(name):
        return None
    return f"{name} {values[0]}" if len(values) == 1 and _NUMBER.fullmatch(values[0]) else name


def _warnings(report: Report, players: Sequence[PlayerResult]) -> list[ReportWarning]:
    """Warnings with the same codes, in the same order; equal ones are said once."""
    again = {caution.code: caution.message for caution in _cautions(report, players)}
    found = []
    for warning in report.warnings:
        code = _if(re.compile("[a-z_]+"), warning.code) or "note"
        if code in ("input_image", "input_matches_reference"):
            message = _input_image(report, warning)
        elif code in _NUMBERS_ONLY:
            message = warning.message
        else:
            message = again.get(code) or _WARNINGS.get(code, "A note is left out of this private report.")
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
        *extractor_cautions(_if(_IDENTIFIER, report.preprocessing) or HIDDEN),
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
