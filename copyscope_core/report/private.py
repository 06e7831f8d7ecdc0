"""A report without what its owner may not want to pass on: prompts, paths, and names of the reference's images.

Hashes and numbers stay, so that the report can still be verified by whoever holds the run folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..workflow.node_info import is_image_file, is_model_file
from .schema import Component, Report

HIDDEN = "[left out]"
SECRET_KINDS = ("prompt", "image")
"""Kinds of components whose names tell a prompt or a file of the user's."""

_PATH = re.compile(r"(?:[A-Za-z]:|~)?(?:[\\/][^\\/\s\"“”:;,()]+){2,}[\\/]?|[A-Za-z]:[\\/]\S+")
_WORD = re.compile(r"[A-Za-z0-9_.+-]{1,24}\Z")
_SHORTEST = 3
_TEXT_INPUTS = ("text", "prompt", "clip_", "t5", "positive", "negative", "string", "value", "caption", "wildcard")
_ABSENCE = {"prompt": "it leaves the prompt", "image": "replaced by a neutral grey image of the same size"}


def without_private(report: Report) -> Report:
    """The report with prompts, paths and file names of images left out; players of a prompt are numbered instead."""
    names = _renamed([*report.players, *report.locked, *report.unmeasured])
    files = _numbered("reference image", report.reference.images)
    files |= {} if report.control is None else _numbered("control image", report.control.images)
    tails = {name.partition(": ")[2] or name: new for name, new in names.items()}
    texts = tails | dict.fromkeys((*_workflow_texts(report.workflow or {}), *_strings(report.settings)), HIDDEN)
    data = _exactly(report.model_dump(mode="json"), names)
    for key in ("players", "locked", "unmeasured"):
        data[key] = [_component(item, {**texts, **files, **names}) for item in data[key]]
    for item in data["models"]:
        item["file"] = _base_name(item["file"])
    for side, records in (("reference", data["reference"]), ("control", data["control"] or {})):
        for number, image in enumerate(records.get("images", ()), start=1):
            image["file"] = f"{side} image {number}"
    for coalition in data["coalitions"]:
        _hide_files(coalition)
    data["headline"] = _quoted(data["headline"], names)
    for warning in data["warnings"]:
        warning["message"] = _scrubbed(warning["message"], {**texts, **files, **names})
    data["settings"] = _settings(data["settings"])
    data["environment"] = _without_paths(data["environment"])
    data["environment"].pop("embeddings", None)
    return Report.model_validate({**data, "workflow": None, "private": True})


def _renamed(components: Sequence[Component]) -> dict[str, str]:
    """Old name → new, for components whose names tell something."""
    taken = {item.name for item in components}
    result: dict[str, str] = {}
    counts: dict[str, int] = {}
    for item in components:
        kind = next((k for k in (*SECRET_KINDS, "embedding") if k == item.kind or item.name.startswith(f"{k}: ")), None)
        if kind is None or item.name == kind or item.name in result:
            continue
        while True:
            counts[kind] = counts.get(kind, 0) + 1
            if (name := f"{kind} {counts[kind]}") not in taken:
                break
        result[item.name] = name
    return result


def _numbered(what: str, images: Sequence[Any]) -> dict[str, str]:
    return {image.file: f"{what} {number}" for number, image in enumerate(images, start=1)}


def _workflow_texts(workflow: Mapping[str, Any]) -> Iterator[str]:
    """Free texts, titles and image names of a workflow, not words such as a sampler's name."""
    for node in workflow.values():
        yield str((node.get("_meta") or {}).get("title") or "")
        for name, value in node.get("inputs", {}).items():
            if isinstance(value, str) and not is_model_file(value):
                text_input = name.lower().startswith(_TEXT_INPUTS)
                if text_input or is_image_file(value) or not _WORD.match(value):
                    yield value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if not is_model_file(value):
            yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(item)


def _exactly(value: Any, names: Mapping[str, str]) -> Any:
    """The same data with every string that is one of the names replaced."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, dict):
        return {key: _exactly(item, names) for key, item in value.items()}
    return [_exactly(item, names) for item in value] if isinstance(value, list) else value


def _quoted(text: str, names: Mapping[str, str]) -> str:
    for old in _longest_first(names):
        text = text.replace(f"“{old}”", f"“{names[old]}”")
    return text


def _scrubbed(text: str, words: Mapping[str, str]) -> str:
    """Text with the words replaced, and then whatever looks like a path."""
    for old in _longest_first(words):
        if len(old) >= _SHORTEST:
            text = words[old].join(re.split(rf"(?<!\w){re.escape(old)}(?!\w)", text))
    return _PATH.sub(HIDDEN, text)


def _longest_first(words: Iterable[str]) -> list[str]:
    return sorted(words, key=len, reverse=True)


def _component(item: dict[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    result = {**item, "files": [_base_name(file) for file in item["files"]]}
    result["file"] = None if item["file"] is None else _base_name(item["file"])
    if item.get("absence"):
        result["absence"] = _ABSENCE.get(item["kind"]) or _scrubbed(item["absence"], words)
    if item.get("reason"):
        result["reason"] = _scrubbed(item["reason"], words)
    result["name"] = _PATH.sub(HIDDEN, item["name"])
    return result


def _hide_files(coalition: dict[str, Any]) -> None:
    """Leave the run folder's own names; those of a scored folder are the user's."""
    if coalition["folder"] != "coalitions":
        coalition["folder"] = None
        for number, image in enumerate(coalition["image_files"]):
            image["file"] = f"{number:04d}"


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and switches, and the files of baselines."""
    kept: dict[str, Any] = {}
    for key, value in settings.items():
        if value is None or isinstance(value, bool | int | float):
            kept[key] = value
        elif isinstance(value, str) and is_model_file(value):
            kept[key] = _base_name(value)
        elif isinstance(value, dict):
            kept[key] = {node: _base_name(file) for node, file in value.items() if is_model_file(file)}
    return kept


def _without_paths(value: Any) -> Any:
    if isinstance(value, str):
        return _base_name(value) if is_model_file(value) else _PATH.sub(HIDDEN, value)
    if isinstance(value, dict):
        return {_without_paths(key): _without_paths(item) for key, item in value.items()}
    return [_without_paths(item) for item in value] if isinstance(value, list) else value


def _base_name(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]
