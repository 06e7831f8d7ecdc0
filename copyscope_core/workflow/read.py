"""Reads a workflow from what people hold: a JSON file, or an image or a video that ComfyUI saved.

ComfyUI writes the workflow into what it saves, in API form as ``prompt`` and in UI form as ``workflow``: PNG files hold
them as text chunks, WebP and JPEG files as EXIF texts that begin with the name and a colon, MP4 and WebM files as tags.
Pixels are never decoded.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, PngImagePlugin

from ..errors import WorkflowError
from ..files.decode import DECODE_ERRORS, SILENCE, known_formats, starts_as
from ..files.images import MAX_FILE_BYTES
from .clips import ClipError, clip_texts, is_clip
from .graph import unwrapped

MAX_WORKFLOW_BYTES = 64 * 2**20
_FORMS = ("prompt", "workflow")
_IMAGES = ("PNG", "WEBP", "JPEG")
_PREFIX_BYTES = 16
_GIVE_JSON = "give the workflow's JSON file, exported from ComfyUI with Workflow → Export (API)"


@dataclass(frozen=True)
class HeldWorkflow:
    """A workflow from a file.

    Attributes:
        data: its parsed JSON, in API or UI format.
        other: the UI format, where an image or a video holds both; None if it does not.
    """

    data: Any
    other: Any = None


def read_workflow(path: Path) -> Any:
    """The parsed JSON of a workflow in API or UI format; see :func:`read_held_workflow`."""
    return read_held_workflow(path).data


def read_held_workflow(path: Path) -> HeldWorkflow:
    """A workflow in API or UI format, from a file of bounded size.

    The file is JSON (UTF-8, UTF-16 or UTF-32): a workflow, the body of ``POST /prompt`` or an entry of ``/history``. Or
    it is a PNG, WebP or JPEG image, or an MP4 or WebM video, that holds a workflow; API format is preferred where it
    holds both.

    Raises:
        WorkflowError: the file is missing, too large or not JSON; the image or video is damaged or holds no workflow.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(_PREFIX_BYTES)
            if any(starts_as(name, start) for name in known_formats() if name in _IMAGES):
                return _held(_image_texts(stream, path), f"image {path}")
            if is_clip(start):
                return _held(_clip_texts(stream, path), f"video {path}")
            data = start + stream.read(MAX_WORKFLOW_BYTES + 1 - len(start))
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or error
        raise WorkflowError(f"The workflow {path} cannot be read ({reason}); check its name.") from error
    if len(data) > MAX_WORKFLOW_BYTES:
        raise WorkflowError(f"The workflow {path} is larger than {MAX_WORKFLOW_BYTES >> 20} MiB; it is no workflow.")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WorkflowError(
            f"The workflow {path} is not JSON ({_short(error)}); export it from ComfyUI with Workflow → Export (API)."
        ) from error
    return HeldWorkflow(unwrapped(found))


def _image_texts(stream: BinaryIO, path: Path) -> dict[str, str]:
    """The texts that hold workflows in an image.

    Raises:
        WorkflowError: the image is too large or damaged.
    """
    if stream.seek(0, 2) > MAX_FILE_BYTES:
        raise WorkflowError(f"The image {path} is larger than {MAX_FILE_BYTES >> 20} MiB; {_GIVE_JSON}.")
    stream.seek(0)
    try:
        with SILENCE, Image.open(stream, formats=[name for name in known_formats() if name in _IMAGES]) as image:
            return dict(_texts(image))
    except DECODE_ERRORS as error:
        raise WorkflowError(
            f"The metadata of the image {path} cannot be read ({_short(error)}); {_GIVE_JSON}."
        ) from error


def _clip_texts(stream: BinaryIO, path: Path) -> dict[str, str]:
    """The texts that hold workflows in a video, as tags of their own or in its comment.

    Raises:
        WorkflowError: the video is damaged.
    """
    try:
        texts = clip_texts(stream, MAX_WORKFLOW_BYTES)
    except ClipError as error:
        raise WorkflowError(f"The metadata of the video {path} cannot be read ({error}); {_GIVE_JSON}.") from error
    if "comment" in texts and not any(form in texts for form in _FORMS):
        with contextlib.suppress(ValueError, RecursionError):
            comment = json.loads(texts["comment"])
            held = comment if isinstance(comment, Mapping) else {}
            return {key: value if isinstance(value, str) else json.dumps(value) for key, value in held.items()}
    return texts


def _held(texts: Mapping[str, str], what: str) -> HeldWorkflow:
    """The workflow in the texts of an image or a video.

    Raises:
        WorkflowError: there is none.
    """
    failures: list[Exception] = []
    forms: list[Any] = []
    for form in _FORMS:
        try:
            found = json.loads(texts[form]) if form in texts else None
        except (ValueError, RecursionError) as error:
            failures.append(error)
        else:
            if isinstance(found, Mapping) and found:
                forms.append(unwrapped(found))
    if forms:
        return HeldWorkflow(*forms)
    if failures:
        raise WorkflowError(
            f"The workflow in the {what} is not JSON ({_short(failures[0])}); {_GIVE_JSON}."
        ) from failures[0]
    raise WorkflowError(
        f"The {what} holds no workflow (it was saved without one, or lost it when it was edited); {_GIVE_JSON}."
    )


def _texts(image: Image.Image) -> Iterator[tuple[str, str]]:
    """The texts named ``prompt`` and ``workflow`` in an image's metadata.

    Pillow bounds a PNG's texts by its ``MAX_TEXT_MEMORY``. Only texts before the pixels are read; ComfyUI's are.
    """
    if isinstance(image, PngImagePlugin.PngImageFile):
        for form in _FORMS:
            if isinstance(text := image.info.get(form), str):
                yield form, text if isinstance(text, PngImagePlugin.iTXt) else _utf8(text)
        return
    exif = Image.Exif()
    if isinstance(data := image.info.get("exif"), bytes):
        exif.load(data)
    for value in exif.values():
        if isinstance(value, str):
            form, colon, text = value.partition(":")
            if colon and form.lower() in _FORMS:
                yield form.lower(), _utf8(text.rstrip("\0"))


def _utf8(text: str) -> str:
    """A text that Pillow took for Latin-1, as UTF-8 where it is: ComfyUI's front end reads it so."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
