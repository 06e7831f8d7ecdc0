"""Options that several commands share, and what they become: settings, servers, works, an extractor.

A group of options is written once, as a function from options to what they stand for; :func:`grouped` gives a command
the options of its groups.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from pydantic.fields import FieldInfo

from ..auditing.servers import DEFAULT_SERVER, SERVER_VARIABLE, ServerChoice
from ..distances.registry import DISTANCES
from ..errors import CopyScopeError
from ..evaluation.measure import Works
from ..evidence.publish import ReportOptions
from ..settings import AuditSettings, load_settings, parse_groups

if TYPE_CHECKING:
    pass

NO_CONTROL = "none"
"""What ``--control`` says where there is to be none; a folder of that name is ``./none``."""

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout and nothing else.")]
Workflow: TypeAlias = Annotated[
    Path,
    typer.Argument(
        help="Workflow file, in API or UI format, or an image that holds one.", show_default=False, metavar="WORKFLOW"
    ),
]
Out: TypeAlias = Annotated[
    Path, typer.Option("--out", help="Run folder: images, features and the report.", show_default=False, metavar="DIR")
]
Pdf: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--pdf", help="Print the report to this PDF too; needs a Chromium, Chrome or Edge.", metavar="FILE",
        show_default=False,
    ),
]  # fmt: skip
Device: TypeAlias = Annotated[
    str, typer.Option(help="Where features are computed: auto, cpu, cuda, mps …", metavar="DEVICE")
]
Features: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--features", help="Folder of a local CLIP, SigLIP or DINO model, instead of FID's Inception.", metavar="DIR"
    ),
]
Distance: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--distance",
        help="What is measured. [default: fid]",
        metavar="|".join(DISTANCES),
        autocompletion=lambda: list(DISTANCES),
    ),
]

FLAGS = {
    "baseline_models": "--baseline-model",
    "key_prompts": "--key-prompt",
    "image_players": "--image-player",
    "groups": "--group",
    "artists": "--artist",
}
"""Flags of settings that may be repeated and are named by one of their values."""

METAVARS = {
    "players": "NAME", "lock": "NAME", "baseline_checkpoint": "FILE", "baseline_vae": "FILE",
    "baseline_models": "NODE=FILE", "key_prompts": "TEXT", "neutral_prompt": "TEXT", "image_players": "NODE",
    "output": "NODE", "groups": "NAME=PLAYER,…",
    "target_width": "WIDTH", "seeds": "N", "max_coalitions": "N", "budget": "N", "frames": "N", "artists": "NAME",
    "error": "P", "max_runs": "N",
}  # fmt: skip


def grouped(**groups: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of groups: its parameter of a group's name takes what the group makes of them.

    Args:
        groups: parameter → function whose own parameters are the options; called in the order given.
    """
    options = {name: inspect.signature(group, eval_str=True).parameters for name, group in groups.items()}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters: list[inspect.Parameter] = []
        for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
            parameters.extend(options[name].values() if name in options else [parameter])

        @functools.wraps(command)
        def run(**given: Any) -> None:
            for name, group in groups.items():
                made = group(**{option: given.pop(option) for option in options[name]})
                given[name] = made
            command(**given)

        keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        run.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in keyword}
        return run

    return decorate


def audit_settings(settings_file: Path | None = None, **options: Any) -> AuditSettings:
    """Settings from a file, with the options that were given laid over them; an option for each field.

    Raises:
        CopyScopeError: the file cannot be used, or an option does not fit.
    """
    base = AuditSettings() if settings_file is None else load_settings(settings_file)
    given = {name: value for name, value in options.items() if value is not None and value is not False and value != []}
    if "distance" in given:
        given["distance"] = distance(given["distance"])
    if "baseline_models" in given:
        given["baseline_models"] = {**base.baseline_models, **_pairs(given["baseline_models"])}
    if "groups" in given:
        given["groups"] = {**base.groups, **parse_groups(given["groups"])}
    return AuditSettings.of({**base.model_dump(exclude_unset=True), **given})


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if not all(node and name for node, _, name in pairs):
        raise CopyScopeError("--baseline-model must be NODE=FILE, such as 12=flux1-dev.safetensors.")
    return {node: name for node, _, name in pairs}


def _setting(name: str, field: FieldInfo) -> inspect.Parameter:
    """The option of a field of the settings."""
    repeated = typing.get_origin(field.annotation) in (tuple, dict)
    kind: Any = list[str] if repeated else field.annotation
    choices = typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()
    text = f"{field.description}{' May be repeated.' if repeated else ''}"
    if not repeated and field.default not in (None, "", False):
        text += f" [default: {field.default}]"
    flag = FLAGS.get(name, f"--{name.replace('_', '-')}")
    option = typer.Option(
        flag,
        help=text,
        show_default=False,
        metavar="|".join(choices) if choices else METAVARS.get(name),
        autocompletion=(lambda: list(choices)) if choices else None,
    )
    if kind is bool:
        return inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option]
        )
    plain = str if choices else kind
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[plain | None, option]
    )


audit_settings.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        inspect.Parameter(
            "settings_file",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                Path | None,
                typer.Option("--settings", help="JSON file of settings; options win over it.", metavar="FILE"),
            ],
        ),
        *(_setting(name, field) for name, field in AuditSettings.model_fields.items()),
    ]
)


def servers(
    server: Annotated[
        list[str] | None,
        typer.Option(
            "--server",
            help="Address of a running ComfyUI; several share the work. "
            f"[default: ${SERVER_VARIABLE}, else {DEFAULT_SERVER}]",
            metavar="URL",
        ),
    ] = None,
    comfyui: Annotated[
        Path | None,
        typer.Option(help="ComfyUI folder; it is started and stopped, unless --server is given too.", metavar="DIR"),
    ] = None,
    base_directory: Annotated[
        Path | None,
        typer.Option(help="The ComfyUI's base directory (models, input …), if not its folder.", metavar="DIR"),
    ] = None,
    comfyui_arg: Annotated[
        list[str] | None,
        typer.Option(help="Launch flag for the ComfyUI that is started; may be repeated.", metavar="FLAG"),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(min=1, help="Seconds without progress after which a server counts as hung.", metavar="SECONDS"),
    ] = 900.0,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Ray cluster (auto, local, HOST:PORT) whose nodes each start the ComfyUI of --comfyui.",
            metavar="ADDRESS",
        ),
    ] = None,
) -> ServerChoice:
    """Which ComfyUI runs the workflow."""
    return ServerChoice(tuple(server or ()), comfyui, base_directory, tuple(comfyui_arg or ()), timeout, ray)


def works(
    reference: Annotated[
        Path, typer.Option(help="Folder of the rights holder's images.", show_default=False, metavar="DIR")
    ],
    control: Annotated[
        str | None,
        typer.Option(
            help="Folder of unrelated works of the same kind, to compare with; none: no control. Without it: works of "
            "CopyScope's own control bank.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
) -> Works:
    """What the coalitions are compared with.

    Raises:
        ImageError: a folder is missing or empty, or holds what is no image.
    """
    from ..controls.bank import load_bank
    from ..files.folders import check_folder

    images = check_folder(reference)
    if control is None:
        return Works(images, bank=load_bank())
    return Works(images, () if control == NO_CONTROL else check_folder(Path(control)))


def extractor(features: Features = None, device: Device = "auto") -> Any:
    """The ``FeatureExtractor``: FID's Inception, or the model in a folder.

    Raises:
        CopyScopeError: there is no such device, or the folder does not hold such a model.
    """
    from ..features.choose import INCEPTION, choose_extractor

    return choose_extractor(features or INCEPTION, device)


def extractor_if_used(
    features: Features = None,
    device: Device = "auto",
    no_features: Annotated[
        bool,
        typer.Option("--no-features", help="Compute no features again, only all that follows from them. No PyTorch."),
    ] = False,
) -> Any:
    """See :func:`extractor`; None where no features are to be computed.

    Raises:
        CopyScopeError: see there; ``--features`` beside ``--no-features``.
    """
    if not no_features:
        return extractor(features, device)
    if features is not None:
        raise CopyScopeError("--no-features computes none, so it takes no --features; leave one of them out.")
    return None


def style(
    style_checkpoint: Annotated[
        str | None,
        typer.Option(
            help="Checkpoint on the server that sees the images' style, instead of FID's Inception (IntroStyle).",
            metavar="FILE",
        ),
    ] = None,
    share_reference: Annotated[
        bool,
        typer.Option(
            "--share-reference",
            help="The reference and control images may be sent to the server, where --style-checkpoint, or else the "
            "baseline checkpoint, sees their style.",
        ),
    ] = False,
) -> Any:
    """The ``SharedStyle``: which checkpoint sees style on the server, and whether it may."""
    from ..auditing.shared_style import SharedStyle

    return SharedStyle(style_checkpoint, share_reference)


def report_options(
    hide_reference: Annotated[
        bool, typer.Option("--hide-reference", help="Embed no reference images in the HTML report.")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="Leave prompts, paths and the reference's images out of the report.")
    ] = False,
    no_copy: Annotated[
        bool,
        typer.Option(
            "--no-copy", help="Keep no copies of images from elsewhere; the folder then does not stand alone."
        ),
    ] = False,
    examiner: Annotated[
        str | None, typer.Option(help="Who makes the report, to be named in it.", metavar="NAME")
    ] = None,
    case: Annotated[str | None, typer.Option(help="Number of the case, to be named in it.", metavar="NUMBER")] = None,
) -> ReportOptions:
    """What the report shows, and what is kept beside it."""
    return ReportOptions(not hide_reference, private, not no_copy, examiner, case)


def storage(
    storage: Annotated[
        str | None,
        typer.Option(help="Where images are instead of in the run folder: s3://…, gs://…, file://…", metavar="URL"),
    ] = None,
) -> Any:
    """The ``ImageStorage`` that takes the images instead of the run folder; None: they go there.

    Raises:
        StoreError: the URL cannot be used.
    """
    from ..store.storage import ImageStorage

    return None if storage is None else ImageStorage(storage)


def distance(distance: Distance = None) -> Any:
    """The name of a distance, checked.

    Raises:
        CopyScopeError: there is no such distance.
    """
    from ..distances.registry import distance_named

    return distance_named(distance or "fid")
