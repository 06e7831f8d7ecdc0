"""Reads what trainers write into a model file (kohya's ``ss_…``, ``modelspec.…``), and finds names in it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from .header import Metadata
from .names import Name

MOST_COUNTED = 1_000_000_000
MOST_STRINGS = 200_000
"""Of one field that holds JSON."""

_TAGS, _FOLDERS, _DATASETS = "ss_tag_frequency", "ss_dataset_dirs", "ss_datasets"
_TRIGGERS = ("modelspec.trigger_phrase", "trigger_word", "trigger_words", "trained_words")


@dataclass(frozen=True)
class TrainingFolder:
    """A folder of training images.

    Attributes:
        images: how many it held; None: not told.
        repeats: how often each was seen an epoch.
    """

    name: str
    images: int | None
    repeats: int | None


@dataclass(frozen=True)
class Claims:
    """What a file says of itself, in parts.

    Attributes:
        started, finished: times of the training, ISO 8601.
        tags: tag → images that it was given to (None: not told), the most frequent first.
    """

    name: str | None = None
    author: str | None = None
    base_model: str | None = None
    base_version: str | None = None
    description: str | None = None
    started: str | None = None
    finished: str | None = None
    trigger_words: tuple[str, ...] = ()
    folders: tuple[TrainingFolder, ...] = ()
    tags: tuple[tuple[str, int | None], ...] = ()


@dataclass(frozen=True)
class Mention:
    """A place of the metadata that has a name.

    Attributes:
        word: the name that was looked for.
        field: of the metadata.
        text: the tag, the folder, or the text around it.
        images: how many are so tagged, or in the folder; None: not told.
    """

    word: str
    where: Literal["tag", "folder", "text"]
    field: str
    text: str
    images: int | None = None


def read_claims(metadata: Metadata) -> Claims:
    """What the metadata says; what does not fit is left out."""
    fields = metadata.fields
    triggers = [_said(fields, (name,)) for name in _TRIGGERS] + [part.get("class_tokens") for part in _subsets(fields)]
    return Claims(
        name=_said(fields, ("ss_output_name", "modelspec.title")),
        author=_said(fields, ("modelspec.author",)),
        base_model=_said(fields, ("ss_sd_model_name",)),
        base_version=_said(fields, ("ss_base_model_version", "modelspec.architecture")),
        description=_said(fields, ("modelspec.description", "ss_training_comment")),
        started=_time(_said(fields, ("ss_training_started_at",))),
        finished=_time(_said(fields, ("ss_training_finished_at", "modelspec.date"))),
        trigger_words=tuple(dict.fromkeys(item for item in triggers if isinstance(item, str) and item.strip())),
        folders=_folders(fields),
        tags=_tags(fields),
    )


def find_mentions(metadata: Metadata, words: Iterable[str]) -> list[Mention]:
    """Where the metadata has one of the words: tags, the most frequent first, then folders, then any other text."""
    claims = read_claims(metadata)
    names = [Name(word) for word in words]
    found: list[Mention] = []
    for name in names:
        found += [Mention(name.text, "tag", _TAGS, tag, count) for tag, count in claims.tags if name.excerpt(tag)]
        found += [
            Mention(name.text, "folder", _FOLDERS, folder.name, folder.images)
            for folder in claims.folders
            if name.excerpt(folder.name)
        ]
    known = {mention.text for mention in found}
    for field, text in metadata.fields.items():
        if field in (_TAGS, _FOLDERS) and _parsed(text) is not None:
            continue
        for part in dict.fromkeys(_strings(text)):
            for name in names if part not in known else ():
                if (excerpt := name.excerpt(part)) is not None:
                    known.add(part)
                    found.append(Mention(name.text, "text", field, excerpt))
                    break
    return found


def _said(fields: Mapping[str, str], names: Sequence[str]) -> str | None:
    texts = (fields.get(name, "").strip() for name in names)
    return next((text for text in texts if text and text != "None"), None)


def _time(text: str | None) -> str | None:
    """Seconds since 1970, or ISO 8601, as ISO 8601 in UTC; what is neither is left out."""
    if text is None:
        return None
    try:
        moment = datetime.fromtimestamp(float(text), timezone.utc)
    except (ValueError, OverflowError, OSError):
        try:
            moment = datetime.fromisoformat(text[:40].replace("Z", "+00:00"))
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    try:
        return moment.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return None


def _tags(fields: Mapping[str, str]) -> tuple[tuple[str, int | None], ...]:
    """Over all folders, each image of which is in one of them."""
    counted: Counter[str] = Counter()
    unknown: dict[str, None] = {}
    by_folder = _parsed(fields.get(_TAGS))
    for tags in by_folder.values() if isinstance(by_folder, dict) else ():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if (number := _count(count)) is None:
                unknown[tag] = None
            else:
                counted[tag] += number
    return (*counted.most_common(), *((tag, None) for tag in unknown if tag not in counted))


def _folders(fields: Mapping[str, str]) -> tuple[TrainingFolder, ...]:
    found = _parsed(fields.get(_FOLDERS))
    return tuple(
        TrainingFolder(name, _count(about.get("img_count")), _count(about.get("n_repeats")))
        for name, about in (found.items() if isinstance(found, dict) else ())
        if isinstance(about, dict)
    )


def _subsets(fields: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    datasets = _parsed(fields.get(_DATASETS))
    for dataset in datasets if isinstance(datasets, list) else ():
        subsets = dataset.get("subsets") if isinstance(dataset, dict) else None
        yield from (subset for subset in (subsets if isinstance(subsets, list) else ()) if isinstance(subset, dict))


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_COUNTED else None


def _strings(text: str) -> Iterator[str]:
    """The text, or where it is JSON every text in it, the names of its fields too."""
    stack: list[Any] = [_parsed(text)]
    if stack[0] is None:
        yield text
        return
    left = MOST_STRINGS
    while stack and left:
        value = stack.pop()
        if isinstance(value, dict):
            stack += [*value.values(), *value]
        elif isinstance(value, list):
            stack += value
        elif isinstance(value, str):
            left -= 1
            yield value


def _parsed(text: str | None) -> dict[str, Any] | list[Any] | None:
    """A JSON object or list; None where it is none."""
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None
