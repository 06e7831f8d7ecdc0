"""The commands for many models and many artists: ``copyscope screen`` and ``copyscope index``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from ..auditing.servers import ServerChoice
from ..errors import CopyScopeError
from ..settings import AuditSettings
from . import options as opt
from .terminal import interruptible, observer, print_json, say, table

if TYPE_CHECKING:
    from ..screening.session import Artists, ScreenResult

SHOWN = 20
_SIZE = re.compile(r"([1-9][0-9]{0,4})[x×]([1-9][0-9]{0,4})\Z")

Control: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--control",
        help="Folder of unrelated works of the same kind, which all artists are compared with. Without it: works of "
        "CopyScope's own control bank, chosen for each artist.",
        metavar="DIR",
        show_default=False,
    ),
]


@opt.grouped(choice=opt.servers, extractor=opt.extractor)
def screen(
    workflow: opt.Workflow,
    out: opt.Out,
    choice: ServerChoice,
    extractor: Any,
    models: Annotated[
        str | None,
        typer.Option(
            help="The models to screen: a folder under the server's models folder (.: all), or a text file of names.",
            metavar="DIR|LIST",
        ),
    ] = None,
    one: Annotated[
        str | None,
        typer.Option(
            help="Check one model, by its name on the server. Exit code 0: nothing found, 1: a pair found, 2: not "
            "decided.",
            metavar="FILE",
        ),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(help="An artist and the folder of their works; may be repeated.", metavar="ARTIST=DIR"),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(help="Artists from a file that copyscope index wrote, instead of folders.", metavar="FILE"),
    ] = None,
    control: Control = None,
    slot: Annotated[
        str | None,
        typer.Option(
            help="Loader that gets the models. [default: the one LoRA loader, else the one checkpoint loader]",
            metavar="NODE",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Images with and without each model.", metavar="N")] = 8,
    output: Annotated[
        str | None, typer.Option(help="Output node, where the workflow has several.", metavar="NODE")
    ] = None,
    audit_top: Annotated[
        int, typer.Option(min=0, help="Audit so many of the strongest pairs in full afterwards.", metavar="K")
    ] = 0,
    hide_reference: Annotated[
        bool, typer.Option("--hide-reference", help="Embed no works of the artists in the HTML page.")
    ] = False,
    json: opt.Json = False,
) -> None:
    """Find which of many models bring images nearer to which of many artists.

    Each model is put into one slot of the workflow against its absence; every image is made once and measured against
    all artists. Exit code 1 if a model could not be run; for --one see there.
    """
    from ..screening.session import Chosen, run_screen

    if (models is None) == (one is None):
        raise CopyScopeError("Give --models for many models, or --one for one.")
    if bool(reference) == (index is not None):
        raise CopyScopeError("Give the artists with --reference ARTIST=DIR, or with --index FILE.")
    if index is not None and control is not None:
        raise CopyScopeError("An index has its control already; give --control to copyscope index.")
    artists = index if index is not None else _artists(reference or [], control, not hide_reference)
    settings = AuditSettings.of({"seeds": seeds, **({} if output is None else {"output": output})})
    with interruptible(out), observer() as shown:
        result = run_screen(
            workflow, Chosen(models, one), artists, out, settings, choice, extractor=extractor, slot=slot,
            audit_top=audit_top, observer=shown,
        )  # fmt: skip
    code = result.exit_code if one is not None else int(any(model.error for model in result.found.models))
    if one is not None and (why := result.found.models[0].error) is not None:
        raise CopyScopeError(f"{result.found.models[0].name} could not be run. {why}")
    _print(result, code, json)
    if code:
        raise typer.Exit(code)


@opt.grouped(extractor=opt.extractor)
def index(
    artists: Annotated[list[str], typer.Argument(metavar="ARTIST=DIR…", help="Artists and folders of their works.")],
    out: Annotated[Path, typer.Option("--out", help="File of the index.", show_default=False, metavar="FILE")],
    extractor: Any,
    size: Annotated[
        str, typer.Option(help="Width and height of the images that models will be screened by.", metavar="W×H")
    ] = "512x512",
    control: Control = None,
    names: Annotated[bool, typer.Option("--names", help="Keep the works' file names, too.")] = False,
    json: opt.Json = False,
) -> None:
    """Keep features of artists' works, no pictures, for copyscope screen.

    Only features are kept, and only the file's owner may read it. An index is for one size of images and one extractor.
    """
    from ..screening.session import run_index

    match = _SIZE.match(size)
    if match is None:
        raise CopyScopeError(f"--size must be WIDTHxHEIGHT in pixels, such as 512x512, not {size!r}.")
    with observer() as shown:
        panel = run_index(
            _artists(artists, control), out, (int(match[1]), int(match[2])), extractor=extractor, names=names,
            observer=shown,
        )  # fmt: skip
    if json:
        print_json(
            {
                "index": str(out),
                "artists": {panel.artists[place]: panel.counts[place] for place in range(panel.named)},
                "negative_controls": len(panel.artists) - panel.named,
                "size": list(panel.size),
                "extractor": panel.extractor,
                "bytes": out.stat().st_size,
            }
        )
    else:
        say(table(("artist", "works"), [(panel.artists[place], panel.counts[place]) for place in range(panel.named)]))
        say(f"\nIndex: {out.absolute()}, for images of {panel.size[0]}×{panel.size[1]}")


def _artists(given: list[str], control: Path | None, shown: bool = True) -> Artists:
    """Artists and their works, each image decoded once to see that it is whole.

    Raises:
        CopyScopeError: an argument is not ARTIST=DIR, or an artist is there twice.
        ImageError: a folder is missing or empty, or holds what is no image.
    """
    from ..files.folders import check_folder
    from ..screening.panel import check_artists
    from ..screening.session import Artists

    pairs = [(name.strip(), folder) for name, _, folder in (text.partition("=") for text in given)]
    if bad := next((text for text, (name, folder) in zip(given, pairs, strict=True) if not name or not folder), None):
        raise CopyScopeError(f"An artist is given as ARTIST=DIR, such as 'Jane Doe=works/jane', not {bad!r}.")
    check_artists([name for name, _ in pairs])
    works = {name: check_folder(Path(folder)) for name, folder in pairs}
    return Artists(works, () if control is None else check_folder(control), shown)


def _print(result: ScreenResult, code: int, json: bool) -> None:
    found = result.found
    pairs = found.found()
    failed = {model.name: model.error for model in found.models if model.error is not None}
    if json:
        print_json(
            {
                "models": len(found.models),
                "artists": found.named,
                "found": [
                    {
                        "model": found.models[m].name,
                        "artist": found.artists[a],
                        "q": float(found.q[m, a]),
                        "empirical": float(found.empirical[m, a]),
                        **dict(zip(("view", "effect", "low", "high"), found.best(m, a), strict=True)),
                    }
                    for m, a in pairs
                ],
                "failed": failed,
                "prompts_run": result.sampled,
                "prompts_reused": result.reused,
                "page": str(result.page),
                "parquet": str(result.parquet),
                "csv": str(result.csv),
                "audits": [str(folder) for folder in result.audits],
                "failed_audits": result.failed_audits,
                "exit_code": code,
            }
        )
        return
    if pairs:
        listed = [(found.models[m].name, found.artists[a], f"{found.q[m, a]:.2g}") for m, a in pairs[:SHOWN]]
        say(table(("model", "artist", "q"), listed))
        say(f"… and {len(pairs) - SHOWN:,} more\n" if len(pairs) > SHOWN else "")
    say(f"Pairs: {len(pairs):,} found, of {len(found.models):,} models and {found.named:,} artists.")
    if failed:
        say(f"Models that could not be run: {len(failed):,}.")
    say(f"Prompts: {result.sampled:,} run, {result.reused:,} taken from what was there.")
    say(f"Page: {result.page.absolute()}")
    for folder in result.audits:
        say(f"Audit: {(folder / 'report.html').absolute()}")
