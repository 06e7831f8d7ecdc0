"""Plans, scores and audits as functions of a program: blocking, in a script as well as in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..observer import Observer, Quiet
from ..settings import AuditSettings
from .blocking import blocking
from .given import choice_of, file_of, works_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..distances.registry import DistanceName
    from ..features.choose import Device, FeatureChoice
    from ..files.image_sets import ImageFiles
    from ..planning.plan import Plan
    from ..report.report import Report
    from .given import PathName, Servers, Settings, Workflow


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
    from ..auditing.session import run_plan

    chosen = AuditSettings.of(settings)
    choice = choice_of(server, comfyui, base_directory, comfyui_args)

    def work(watch: Observer) -> Plan:
        with file_of(workflow) as path:
            return run_plan(path, chosen, choice, watch)

    return blocking(work, observer)


def score(
    folder: PathName,
    reference: ImageFiles,
    out: PathName,
    *,
    control: ImageFiles | Literal[False] | None = None,
    distance: DistanceName = "fid",
    features: FeatureChoice = "inception",
    device: Device = None,
    show_reference: bool = True,
    private: bool = False,
    copy: bool = True,
    examiner: str | None = None,
    case: str | None = None,
    observer: Observer | None = None,
) -> Report:
    """Report the contributions from images of the coalitions that are on disk already.

    Args:
        folder: holds ``game.json`` (players, and each coalition's folder) and a folder of images for each coalition.
        reference: the rights holder's images: a folder, or a list of image files.
        out: the run folder, where the report and the features are written.
        control: unrelated images of the same kind; None: works of CopyScope's own control bank; False: none.
        distance: what the value of a coalition is made of: ``fid``, ``kid``, ``mmd`` or ``fid_infinity``.
        features: ``"inception"``, the folder of a local CLIP, SigLIP or DINO model, or a `FeatureExtractor`.
        device: where the network runs, as torch names it; None: a CUDA GPU if there is one, else the CPU.
        show_reference: whether the HTML report embeds reference images.
        private: leave prompts, paths and images of the reference out of the report.
        copy: keep copies of the images that lie elsewhere, so that ``out`` stands alone.
        examiner: who makes the report, to be named in it.
        case: number of the case, to be named in it.
        observer: told about progress.

    Raises:
        CopyScopeError: ``game.json``, an image, the distance or the device does not fit, or ``out`` cannot be used.
    """
    from ..auditing.score import Score, read_game
    from ..distances.registry import distance_named
    from ..evidence.publish import ReportOptions
    from ..features.choose import choose_extractor

    measured = distance_named(distance)
    read_game(Path(folder))
    works = works_of(reference, control)
    extractor = choose_extractor(features, device)
    options = ReportOptions(show_reference, private, copy, examiner, case)
    return Score(Path(folder), works, Path(out), extractor, observer or Quiet(), options, measured).run().report


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
    control: ImageFiles | Literal[False] | None = None,
    style_checkpoint: str | None = None,
    share_reference: bool = False,
    features: FeatureChoice = "inception",
    device: Device = None,
    show_reference: bool = True,
    private: bool = False,
    copy: bool = True,
    examiner: str | None = None,
    case: str | None = None,
    observer: Observer | None = None,
    **settings: Unpack[Settings],
) -> Report:
    """Run a workflow for every coalition of its components and report each one's contribution.

    Returns when the report is written. Interrupted, the same call goes on with what is stored in ``out``; in a notebook
    the interrupt takes effect at the next image. With ``until_sure=True``, and in a script, one after the first look
    gives the report of what is known.

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
        control: unrelated images of the same kind; None: works of CopyScope's own control bank; False: none.
        style_checkpoint: checkpoint on the first server that sees the images' style, instead of FID's Inception; None:
            with ``share_reference`` the baseline checkpoint.
        share_reference: ``style_checkpoint`` needs it: the reference and control images may be sent there.
        features: ``"inception"``, the folder of a local CLIP, SigLIP or DINO model, or a `FeatureExtractor`.
        device: where the features' network runs, as torch names it; None: a CUDA GPU if there is one, else the CPU.
        show_reference: whether the HTML report embeds reference images.
        private: leave prompts, paths and images of the reference out of the report.
        copy: keep copies of the images that lie elsewhere, so that ``out`` stands alone.
        examiner: who makes the report, to be named in it.
        case: number of the case, to be named in it.
        observer: told about progress.
        settings: fields of `AuditSettings`, such as ``seeds=4, baseline_checkpoint="plain.safetensors"``.

    Raises:
        CopyScopeError: a setting, the workflow or an image does not fit; a server cannot be reached or a coalition
            cannot be run (named); ``out`` cannot be used.
    """
    from ..auditing.session import run_audit
    from ..auditing.shared_style import SharedStyle
    from ..evidence.publish import ReportOptions
    from ..features.choose import choose_extractor
    from ..store.storage import ImageStorage

    chosen = AuditSettings.of(settings)
    choice = choice_of(server, comfyui, base_directory, comfyui_args, timeout, ray)
    elsewhere = None if storage is None else ImageStorage(storage)
    works = works_of(reference, control)
    extractor = choose_extractor(features, device)
    options = ReportOptions(show_reference, private, copy, examiner, case)

    def work(watch: Observer) -> Report:
        with file_of(workflow) as path:
            return run_audit(
                path,
                works,
                Path(out),
                chosen,
                choice,
                extractor=extractor,
                options=options,
                storage=elsewhere,
                style=SharedStyle(style_checkpoint, share_reference),
                observer=watch,
            ).report

    return blocking(work, observer)
