"""Options that several commands share, and how they become settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from pydantic import ValidationError

from ..audit.servers import DEFAULT_SERVER, SERVER_VARIABLE
from ..errors import CopyScopeError, describe
from ..settings import AuditSettings, load_settings, parse_groups

if TYPE_CHECKING:
    from ..distances.registry import DistanceName
    from ..features.extractor import FeatureExtractor
    from ..store.storage import ImageStorage


Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout and nothing else.")]
Workflow: TypeAlias = Annotated[Path, typer.Argument(help="Workflow file, in API or UI format.", show_default=False)]
Reference: TypeAlias = Annotated[
    Path, typer.Option("--reference", help="Folder of the rights holder's images.", show_default=False)
]
Control: TypeAlias = Annotated[
    Path | None, typer.Option("--control", help="Folder of unrelated works of the same kind, to compare with.")
]
Distance: TypeAlias = Annotated[
    str | None, typer.Option("--distance", help="What is measured: fid, kid, mmd, fid_infinity. [default: fid]")
]
Features: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--features", help="Folder of a local CLIP, SigLIP or DINOv2 model, instead of FID's Inception.", metavar="DIR"
    ),
]
Out: TypeAlias = Annotated[
    Path, typer.Option("--out", help="Run folder: images, features and the report.", show_default=False)
]
Device: TypeAlias = Annotated[str, typer.Option(help="Where features are computed: auto, cpu, cuda, mps …")]
HideReference: TypeAlias = Annotated[
    bool, typer.Option("--hide-reference", help="Embed no reference images in the HTML report.")
]
Private: TypeAlias = Annotated[
    bool, typer.Option("--private", help="Leave prompts, paths and the reference's images out of the report.")
]
SettingsFile: TypeAlias = Annotated[
    Path | None, typer.Option("--settings", help="JSON file of settings; options given here win over it.")
]
Seeds: TypeAlias = Annotated[int | None, typer.Option(help="Seed offsets per coalition. [default: 8]")]
Players: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--players", help="Only this component is a player (name, node id or kind); may be repeated."),
]
Lock: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--lock", help="This component is always present (name, node id or kind); may be repeated."),
]
BaselineCheckpoint: TypeAlias = Annotated[
    str | None, typer.Option(help="Checkpoint that stands where the workflow's own is absent.")
]
BaselineVae: TypeAlias = Annotated[
    str | None, typer.Option(help="VAE file that stands where the workflow's own is absent.")
]
BaselineModel: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="NODE=FILE: stands where the UNET or CLIP loader NODE is absent; may be repeated."),
]
KeyPrompt: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="Phrase of the positive text that is a player; may be repeated.")
]
NeutralPrompt: TypeAlias = Annotated[
    str | None, typer.Option(help="Text that stands where the positive text is absent.")
]
ImagePlayer: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="Node id of an image loader that is a player; may be repeated.")
]
OutputNode: TypeAlias = Annotated[
    str | None, typer.Option("--output", help="Node id whose image is audited, where there are several.")
]
MaxCoalitions: TypeAlias = Annotated[int | None, typer.Option(help="Larger games are refused. [default: 256]")]
Budget: TypeAlias = Annotated[
    int | None, typer.Option(help="Run a sample of at most so many coalitions, where the exact value needs more.")
]
TargetWidth: TypeAlias = Annotated[
    float | None, typer.Option(help="With --budget: stop when no share's 95% interval is wider, such as 0.1.")
]
Estimator: TypeAlias = Annotated[
    str | None, typer.Option(help="With --budget: regression or permutation. [default: regression]")
]
Group: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--group", help="NAME=PLAYER,PLAYER: players that join together (Owen value); may be repeated."),
]
AllowPaid: TypeAlias = Annotated[bool, typer.Option("--allow-paid-nodes", help="Run nodes that call paid services.")]
Server: TypeAlias = Annotated[
    str | None,
    typer.Option(help=f"Address of a running ComfyUI. [default: ${SERVER_VARIABLE}, else {DEFAULT_SERVER}]"),
]
Servers: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--server",
        help="Address of a running ComfyUI; several share the work. "
        f"[default: ${SERVER_VARIABLE}, else {DEFAULT_SERVER}]",
    ),
]
ComfyUI: TypeAlias = Annotated[
    Path | None,
    typer.Option("--comfyui", help="ComfyUI folder; it is started and stopped, unless --server is given too."),
]
BaseDirectory: TypeAlias = Annotated[
    Path | None, typer.Option(help="The ComfyUI's base directory (models, input …), if not its folder.")
]
ComfyUIArg: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--comfyui-arg", help="Launch flag for the ComfyUI that is started; may be repeated."),
]
Ray: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--ray",
        help="Ray cluster (auto, local, HOST:PORT) whose nodes each start the ComfyUI of --comfyui.",
        metavar="ADDRESS",
    ),
]
Storage: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--storage", help="Where images go instead of the run folder: s3://…, gs://…, file://…", metavar="URL"
    ),
]
Timeout: TypeAlias = Annotated[
    float, typer.Option(min=1, help="Seconds without progress after which the server counts as hung.")
]


def make_settings(
    file: Path | None,
    baseline_models: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    **options: Any,
) -> AuditSettings:
    """Settings from a file, with the options that were given laid over them.

    Raises:
        CopyScopeError: the file cannot be used, or an option does not fit.
    """
    base = AuditSettings() if file is None else load_settings(file)
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    if baseline_models:
        pairs = [item.partition("=") for item in baseline_models]
        if not all(node and name for node, _, name in pairs):
            raise CopyScopeError("--baseline-model must be NODE=FILE, such as 12=flux1-dev.safetensors.")
        given["baseline_models"] = {**base.baseline_models, **{node: name for node, _, name in pairs}}
    if groups:
        given["groups"] = {**base.groups, **parse_groups(groups)}
    try:
        return AuditSettings.model_validate({**base.model_dump(exclude_unset=True), **given})
    except ValidationError as error:
        raise CopyScopeError(f"The settings do not fit: {describe(error)}.") from error


def pick_storage(url: str | None) -> ImageStorage | None:
    """Where images go instead of the run folder; None: into it.

    Raises:
        StoreError: the URL cannot be used.
    """
    from ..store.storage import ImageStorage

    return None if url is None else ImageStorage(url)


def pick_distance(name: str | None) -> DistanceName | None:
    """The distance of a name; None for none.

    Raises:
        CopyScopeError: there is no such distance.
    """
    from ..distances.registry import DISTANCES

    if name is None:
        return None
    for known in DISTANCES:
        if name == known:
            return known
    raise CopyScopeError(f"There is no distance {name!r}; --distance is one of {', '.join(DISTANCES)}.")


def pick_device(name: str) -> str:
    """A torch device for the features.

    Raises:
        CopyScopeError: there is no such device here.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else "not available"
        raise CopyScopeError(f"The device {name!r} cannot be used ({reason}); try --device cpu.") from error
    return name


def pick_extractor(features: Path | None, device: str) -> FeatureExtractor:
    """What turns images into features: FID's Inception, or the model in a folder.

    Args:
        device: as the user gave it.

    Raises:
        CopyScopeError: there is no such device, or the folder does not hold such a model.
    """
    from ..features.extractor import InceptionExtractor

    chosen = pick_device(device)
    if features is None:
        return InceptionExtractor(chosen)
    from ..features.local_models import VisionModelExtractor

    return VisionModelExtractor(features, chosen)
