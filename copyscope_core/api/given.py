"""What a program gives, as the core takes it: settings, servers, works, and a workflow as a file."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from ..errors import WorkflowError

if TYPE_CHECKING:
    from ..auditing.servers import ServerChoice
    from ..distances.registry import DistanceName
    from ..evaluation.measure import Works
    from ..files.image_sets import ImageFiles
    from ..game.design import Estimator

    PathName = str | os.PathLike[str]
    Workflow = PathName | Mapping[str, Any]
    Servers = str | Sequence[str] | None


class Settings(TypedDict, total=False):
    """The fields of `AuditSettings`, which explains them, as keyword arguments."""

    seeds: int
    players: Sequence[str]
    lock: Sequence[str]
    baseline_checkpoint: str | None
    baseline_vae: str | None
    baseline_models: Mapping[str, str]
    key_prompts: Sequence[str]
    neutral_prompt: str
    image_players: Sequence[str]
    output: str | None
    max_coalitions: int
    distance: DistanceName
    budget: int | None
    target_width: float | None
    estimator: Estimator
    groups: Mapping[str, Sequence[str]]
    frames: int
    artists: Sequence[str]
    until_sure: bool
    error: float
    max_runs: int | None
    allow_paid_nodes: bool


def works_of(reference: ImageFiles, control: ImageFiles | Literal[False] | None) -> Works:
    """What images are compared with, read from the disk.

    Args:
        control: None: from CopyScope's bank; False: none.

    Raises:
        ImageError: there are no images, or one cannot be read (named).
    """
    from ..controls.bank import load_bank
    from ..evaluation.measure import Works
    from ..files.image_sets import read_image_files

    images = read_image_files(reference)
    if control is None:
        return Works(images, bank=load_bank())
    return Works(images, () if control is False else read_image_files(control))


def choice_of(
    server: Servers,
    comfyui: PathName | None,
    base_directory: PathName | None,
    arguments: Sequence[str],
    timeout: float = 900.0,
    ray: str | None = None,
) -> ServerChoice:
    """The ComfyUI that is wanted.

    Raises:
        CopyScopeError: the choices exclude each other.
    """
    from ..auditing.servers import ServerChoice

    return ServerChoice(
        (server,) if isinstance(server, str) else tuple(server or ()),
        None if comfyui is None else Path(comfyui),
        None if base_directory is None else Path(base_directory),
        tuple(arguments),
        timeout,
        ray,
    )


@contextlib.contextmanager
def file_of(workflow: Workflow) -> Iterator[Path]:
    """A workflow as a file: as it was given, or written to a temporary file.

    Raises:
        WorkflowError: what was given is neither a path nor JSON.
    """
    if isinstance(workflow, str | os.PathLike):
        yield Path(workflow)
        return
    if not isinstance(workflow, Mapping):
        raise WorkflowError(
            f"An object of type {type(workflow).__name__} is no workflow; give its JSON file or the parsed content."
        )
    try:
        text = json.dumps(dict(workflow))  # NaN is in what ComfyUI stores: is_changed
    except (TypeError, ValueError, RecursionError) as error:
        raise WorkflowError(f"The workflow cannot be written as JSON ({error}); give its parsed content.") from error
    with tempfile.TemporaryDirectory(prefix="copyscope-") as folder:
        path = Path(folder) / "workflow.json"
        path.write_text(text, encoding="utf-8")
        yield path
