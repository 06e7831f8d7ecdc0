"""Reads a workflow from what people hold: a JSON file, or an image that ComfyUI saved.

ComfyUI writes the workflow into its images, in API form as ``prompt`` and in UI form as ``workflow``: PNG files hold
them as text chunks, WebP and JPEG files as EXIF texts that begin with the name and a colon. Pixels are never decoded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, PngImagePlugin

from ..errors import WorkflowError
from ..files.decode import DECODE_ERRORS, SILENCE, known_formats, starts_as
from ..files.images import MAX_FILE_BYTES
from .graph import unwrapped

MAX_WORKFLOW_BYTES = 64 * 2**20
_FORMS = ("prompt", "workflow")
_IMAGES = ("PNG", "WEBP", "JPEG")
_PREFIX_BYTES = 16
_GIVE_JSON = "give the workflow's JSON file, exported from ComfyUI with Workflow → Export (API)"


def read_workflow(path: Path) -> Any:
    """The parsed JSON of a workflow in API or UI format, from a file of bounded size.

    The file is JSON (UTF-8, UTF-16 or UTF-32): a workflow, the body of ``POST /prompt`` or an entry of ``/history``. Or
    it is a PNG, WebP or JPEG image that holds a workflow; API format is preferred where it holds both.

    Raises:
        WorkflowError: the file is missing, too large or not JSON; the image is damaged or holds no workflow.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(_PREFIX_BYTES)
            if any(starts_as(name, start) for name in known_formats() if name in _IMAGES):
                return unwrapped(_in_image(stream, path))
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
    return unwrapped(found)


def _in_image(stream: BinaryIO, path: Path) -> Any:
    """The workflow in an image.

    Raises:
        WorkflowError: the image is too large or damaged, or holds no workflow.
    """
    if stream.seek(0, 2) > MAX_FILE_BYTES:
        raise WorkflowError(f"The image {path} is larger than {MAX_FILE_BYTES >> 20} MiB; {_GIVE_JSON}.")
    stream.seek(0)
    try:
        with SILENCE, Image.open(stream, formats=[name for name in known_formats() if name in _IMAGES]) as image:
            texts = dict(_texts(image))
    except DECODE_ERRORS as error:
        raise WorkflowError(
            f"The metadata of the image {path} cannot be read ({_short(error)}); {_GIVE_JSON}."
        ) from error
    failures: list[Exception] = []
    for form in _FORMS:
        try:
            found = json.loads(texts[form]) if form in texts else None
        except (ValueError, RecursionError) as error:
            failures.append(error)
        else:
            if isinstance(found, Mapping) and found:
                return found
    if failures:
        raise WorkflowError(
            f"The workflow in the image {path} is not JSON ({_short(failures[0])}); {_GIVE_JSON}."
        ) from failures[0]
    raise WorkflowError(
        f"The image {path} holds no workflow (it was saved without one, or lost it when it was edited); {_GIVE_JSON}."
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
