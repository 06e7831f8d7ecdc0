"""What model files say of themselves, as the report tells it: cut, made printable, and searched for names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..metadata.claims import Claims, Mention, find_mentions, read_claims
from ..metadata.header import Metadata
from .schema import MentionRecord, ModelMetadata, TagRecord, TrainingFolderRecord
from .text import clip, printable

FOLDERS, TAGS, TRIGGERS, MENTIONS = 40, 40, 20, 20
"""How many of each are told of a file."""
TEXT, LONG_TEXT = 200, 600
"""Columns of a text, and of a description."""


def metadata_records(
    files: Mapping[str, Sequence[str]], known: Mapping[str, Metadata], artists: Iterable[str]
) -> list[ModelMetadata]:
    """What is known of each file.

    Args:
        files: model file → names of the components that load it.
        known: model file → its metadata.
        artists: names to look for.
    """
    artists = list(artists)
    return [
        _record(file, components, known[file], find_mentions(known[file], artists))
        for file, components in files.items()
        if file in known
    ]


def _record(file: str, components: Sequence[str], metadata: Metadata, mentions: Sequence[Mention]) -> ModelMetadata:
    claims = read_claims(metadata)
    return ModelMetadata(
        file=file,
        components=list(components),
        fields=len(metadata.fields),
        cut=metadata.cut,
        name=_maybe(claims.name),
        author=_maybe(claims.author),
        base_model=_maybe(claims.base_model),
        base_version=_maybe(claims.base_version),
        started=claims.started,
        finished=claims.finished,
        description=_maybe(claims.description, LONG_TEXT),
        trigger_words=[_short(word) for word in claims.trigger_words[:TRIGGERS]],
        folders=_folders(claims),
        folders_in_all=len(claims.folders),
        tags=[TagRecord(tag=_short(tag), images=images) for tag, images in claims.tags[:TAGS]],
        tags_in_all=len(claims.tags),
        mentions=[_mention(mention) for mention in mentions[:MENTIONS]],
        mentions_in_all=len(mentions),
    )


def _folders(claims: Claims) -> list[TrainingFolderRecord]:
    return [
        TrainingFolderRecord(name=_short(folder.name), images=folder.images, repeats=folder.repeats)
        for folder in claims.folders[:FOLDERS]
    ]


def _mention(mention: Mention) -> MentionRecord:
    text, field, images = _short(mention.text), _short(mention.field), mention.images
    counted = "images" if images is None else "1 image" if images == 1 else f"{images:,} images"
    if mention.where == "tag":
        sentence = f"its own metadata names {counted} tagged “{text}”"
    elif mention.where == "folder":
        held = "" if images is None else f" of {counted}"
        sentence = f"its own metadata names a training folder “{text}”{held}"
    else:
        sentence = f"its own metadata says “{text}” ({field})"
    return MentionRecord(
        word=mention.word, where=mention.where, field=field, text=text, images=images, sentence=sentence
    )


def _maybe(text: str | None, width: int = TEXT) -> str | None:
    return None if text is None else _short(text, width)


def _short(text: str, width: int = TEXT) -> str:
    """One line of at most so many columns, without control characters."""
    return clip(printable(" ".join(text[: 4 * width].split())), width)
