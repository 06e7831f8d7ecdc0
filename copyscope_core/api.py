"""Plans, scores and audits as functions of a program: blocking, in a script as well as in a notebook.

The other public names are in the modules that define them; ``copyscope_core/__init__.py`` lists all.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from pydantic import ValidationError

from .errors import CopyScopeError, WorkflowError, describe
from .observer import Observer, Quiet
from .settings import AuditSettings

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .audit.servers import ServerChoice
    from .comfyui.host import ManagedHost
    from .distances.registry import DistanceName
    from .features.choose import Device, FeatureChoice
    from .files.image_sets import ImageFiles
    from .game.design import Estimator
    from .plan.plan import Plan
    from .report.schema import Report

    PathName = str | os.PathLike[str]
    Workflow = PathName | Mapping[str, Any]
    Servers = str | Sequence[str] | None

_Result = TypeVar("_Result")
_INTERRUPTIBLE = 0.5
"""Seconds: on Windows an interrupt is noticed only between two waits."""


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
    allow_paid_nodes: bool


def plan(
    workflow: Workflow,
    *,
    server: Servers = None,
    comfyui: PathName | None = None,
    base_directory: PathName | None = None,
    comfyui_args: Sequence[str] = (),
    observer: Observer | None = None,
    **settings: Unpack[Settings],
) -> Plan:
    """Say what an audit of a workflow would do: players, absence rules, coalitions, images. Runs nothing.

    Args:
        workflow: a JSON file, or its parsed content; in UI format only with a server.
        server: address of a running ComfyUI, which knows all node classes and model files; None: the bundled list of
            node classes, unless ``comfyui`` is given.
        comfyui: folder of a ComfyUI that is started for it and stopped.
        base_directory: that ComfyUI's base directory, if not its folder.
        comfyui_args: launch flags for it, such as ``--cpu``.
        observer: told about progress.
        settings: fields of `AuditSettings`, such as ``seeds=4``.

    Returns:
        The plan; its ``summary()`` is what ``copyscope plan --json`` prints.

    Raises:
        CopyScopeError: a setting or the workflow does not fit, or the server cannot be reached.
    """
    from .audit.servers import connected, started_host
    from .audit.session import plan_workflow

    chosen = _settings(settings)
    choice = _servers(server, comfyui, base_directory, comfyui_args)

    def work(watch: Observer) -> Plan:
        async def planned(host: ManagedHost | None) -> Plan:
            if not choice.given:
                found, notes = await plan_workflow(path, chosen, None)
            else:
                async with connected(choice, host) as servers:
                    found, notes = await plan_workflow(path, chosen, servers[0].client)
            return replace(found, warnings=(*found.warnings, *(note["message"] for note in notes)))

        with _file_of(workflow) as path, started_host(choice, None, watch) as host:
            return asyncio.run(planned(host))

    return _blocking(work, observer)


def score(
    folder: PathName,
    reference: ImageFiles,
    out: PathName,
    *,
    control: ImageFiles | None = None,
    distance: DistanceName = "fid",
    features: FeatureChoice = "inception",
    device: Device = None,
    show_reference: bool = True,
    private: bool = False,
    observer: Observer | None = None,
) -> Report:
    """Report the contributions from images of the coalitions that are on disk already.

    Args:
        folder: holds ``game.json`` (players, and each coalition's folder) and a folder of images for each coalition.
        reference: the rights holder's images: a folder, or a list of image files.
        out: the run folder, where the report and the features are written.
        control: unrelated images of the same kind.
        distance: what the value of a coalition is made of: ``fid``, ``kid``, ``mmd`` or ``fid_infinity``.
        features: ``"inception"``, the folder of a local CLIP, SigLIP or DINOv2 model, or a `FeatureExtractor`.
        device: where the network runs, as torch names it; None: a CUDA GPU if there is one, else the CPU.
        show_reference: whether the HTML report embeds reference images.
        private: leave prompts, paths and images of the reference out of the report.
        observer: told about progress.

    Raises:
        CopyScopeError: ``game.json``, an image, the distance or the device does not fit, or ``out`` cannot be used.
    """
    from .audit.score import Score, read_game
    from .distances.registry import distance_named
    from .features.choose import choose_extractor
    from .files.image_sets import read_image_files

    measured = distance_named(distance)
    read_game(Path(folder))
    images = read_image_files(reference)
    unrelated = () if control is None else read_image_files(control)
    extractor = choose_extractor(features, device)
    scoring = Score(
        Path(folder), images, Path(out), extractor, observer or Quiet(), show_reference, unrelated, measured, private
    )
    return scoring.run().report


def audit(
    workflow: Workflow,
    reference: ImageFiles,
    out: PathName,
    *,
    server: Servers = None,
    comfyui: PathName | None = None,
    base_directory: PathName | None = None,
    comfyui_args: Sequence[str] = (),
    timeout: float = 900.0,
    ray: str | None = None,
    storage: str | None = None,
    control: ImageFiles | None = None,
    features: FeatureChoice = "inception",
    device: Device = None,
    show_reference: bool = True,
    private: bool = False,
    observer: Observer | None = None,
    **settings: Unpack[Settings],
) -> Report:
    """Run a workflow for every coalition of its components and report each one's contribution.

    Returns when the report is written. Interrupted, the same call goes on with what is stored in ``out``; in a notebook
    the interrupt takes effect at the next image.

    Args:
        workflow: a JSON file, or its parsed content, in API or UI format.
        reference: the rights holder's images: a folder, or a list of image files.
        out: the run folder, where images, features and the report are written.
        server: address of a running ComfyUI, or several that share the work; None: the environment variable
            ``COPYSCOPE_SERVER``, else ``http://127.0.0.1:8188``, unless ``comfyui`` is given.
        comfyui: folder of a ComfyUI that is started and stopped; with ``server``, where its files are.
        base_directory: that ComfyUI's base directory, if not its folder.
        comfyui_args: launch flags for it, such as ``--cpu``.
        timeout: seconds without progress after which a server counts as hung.
        ray: address of a Ray cluster whose nodes each start the ComfyUI of ``comfyui``.
        storage: URL of an object storage where images go instead of ``out``.
        control: unrelated images of the same kind.
        features: ``"inception"``, the folder of a local CLIP, SigLIP or DINOv2 model, or a `FeatureExtractor`.
        device: where the features' network runs, as torch names it; None: a CUDA GPU if there is one, else the CPU.
        show_reference: whether the HTML report embeds reference images.
        private: leave prompts, paths and images of the reference out of the report.
        observer: told about progress.
        settings: fields of `AuditSettings`, such as ``seeds=4, baseline_checkpoint="plain.safetensors"``.

    Raises:
        CopyScopeError: a setting, the workflow or an image does not fit; a server cannot be reached or a coalition
            cannot be run (named); ``out`` cannot be used.
    """
    from .audit.session import run_audit
    from .features.choose import choose_extractor
    from .files.image_sets import read_image_files
    from .store.storage import ImageStorage

    chosen = _settings(settings)
    choice = _servers(server, comfyui, base_directory, comfyui_args, timeout, ray)
    elsewhere = None if storage is None else ImageStorage(storage)
    images = read_image_files(reference)
    unrelated = () if control is None else read_image_files(control)
    extractor = choose_extractor(features, device)

    def work(watch: Observer) -> Report:
        with _file_of(workflow) as path:
            return run_audit(
                path, images, Path(out), chosen, choice, watch, extractor, show_reference, unrelated, private, elsewhere
            ).report

    return _blocking(work, observer)


def _settings(fields: Mapping[str, Any]) -> AuditSettings:
    try:
        return AuditSettings.model_validate(dict(fields))
    except ValidationError as error:
        raise CopyScopeError(f"The settings do not fit: {describe(error)}.") from error


def _servers(
    server: Servers,
    comfyui: PathName | None,
    base_directory: PathName | None,
    arguments: Sequence[str],
    timeout: float = 900.0,
    ray: str | None = None,
) -> ServerChoice:
    from .audit.servers import ServerChoice

    return ServerChoice(
        (server,) if isinstance(server, str) else tuple(server or ()),
        None if comfyui is None else Path(comfyui),
        None if base_directory is None else Path(base_directory),
        tuple(arguments),
        timeout,
        ray,
    )


@contextlib.contextmanager
def _file_of(workflow: Workflow) -> Iterator[Path]:
    """A workflow as a file: as it was given, or written for the while.

    Raises:
        WorkflowError: what was given is neither a path nor JSON.
    """
    if isinstance(workflow, str | os.PathLike):
        yield Path(workflow)
        return
    if not isinstance(workflow, Mapping):
        raise WorkflowError(f"A {type(workflow).__name__} is no workflow; give its JSON file or the parsed content.")
    try:
        text = json.dumps(dict(workflow), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise WorkflowError(f"The workflow cannot be written as JSON ({error}); give its parsed content.") from error
    with tempfile.TemporaryDirectory(prefix="copyscope-") as folder:
        path = Path(folder) / "workflow.json"
        path.write_text(text, encoding="utf-8")
        yield path


class _Stopped(CopyScopeError):
    """Ends work in another thread; never seen by a user."""


class _Watch:
    """An observer that stops the work, at its next step, once it has been told to."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.stop = threading.Event()

    def stage(self, name: str, total: int) -> None:
        """Go on, or stop."""
        self._go_on()
        self._observer.stage(name, total)

    def step(self, done: int, text: str = "") -> None:
        """Go on, or stop."""
        self._go_on()
        self._observer.step(done, text)

    def note(self, text: str) -> None:
        """Go on, or stop."""
        self._go_on()
        self._observer.note(text)

    def _go_on(self) -> None:
        if self.stop.is_set():
            raise _Stopped("The work was interrupted.")


def _blocking(work: Callable[[Observer], _Result], observer: Observer | None) -> _Result:
    """Do work that runs an event loop of its own: here, or in a thread where a loop is running here already.

    Interrupted, it waits until the thread has stopped.
    """
    shown = observer or Quiet()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work(shown)
    watch = _Watch(shown)
    with ThreadPoolExecutor(1, thread_name_prefix="copyscope") as pool:
        future = pool.submit(contextvars.copy_context().run, work, watch)
        try:
            while not wait((future,), _INTERRUPTIBLE).done:
                pass
            return future.result()
        except KeyboardInterrupt:
            watch.stop.set()
            raise
