"""The command line.

``copyscope plan | audit | batch | score``; for many models and artists ``screen | index``; what is done with their run
folders: ``verify | compare | bundle | sign | timestamp | repeat | runs``; and ``fid | shapley | demo``.

Results go to stdout, all else to stderr; with ``--json`` stdout is exactly one JSON object, also where a command fails:
then it has ``error`` and ``code``. A ``CopyScopeError`` is one sentence and exit code 2; Ctrl-C is exit code 130.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from .. import __version__
from ..auditing.servers import ServerChoice
from ..errors import CopyScopeError
from ..evaluation.measure import Works
from ..evidence.publish import ReportOptions
from ..settings import AuditSettings
from . import evidence as cli_evidence
from . import options as opt
from . import screening as cli_screening
from .help import App
from .terminal import (
    INTERRUPTED,
    complain,
    interruptible,
    observer,
    prepare_streams,
    print_json,
    say,
    size_text,
    table,
)

if TYPE_CHECKING:
    from ..auditing.audit import AuditResult
    from ..auditing.score import ScoreResult
    from ..report.pdf import PdfFile

app = App(
    name="copyscope",
    help="Which model in an image workflow makes its output resemble an artist's work, and how sure are we?",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
runs_app = App(help="Run folders on this machine.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(runs_app, name="runs")


_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def main() -> NoReturn:
    """Run the command line and exit: 0, or 2 after one sentence on what is wrong, or 130 after Ctrl-C."""
    prepare_streams()
    try:
        code = app(prog_name="copyscope", standalone_mode=False) or 0
    except CopyScopeError as error:
        complain(f"Error: {error}")
        _fail(str(error), error.code, 2)
    except _UsageError as error:
        error.show()  # type: ignore[attr-defined]
        _fail(error.format_message(), "usage", 2)  # type: ignore[attr-defined]
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    if code == INTERRUPTED:
        _fail("Interrupted; what is finished is kept, and the same command goes on from there.", "interrupted", code)
    sys.exit(code)


def _fail(sentence: str, code: str, status: int) -> NoReturn:
    """Exit; with ``--json`` one JSON object says why."""
    if "--json" in sys.argv[1:]:
        print_json({"error": sentence, "code": code})
    sys.exit(status)


def _version(value: bool) -> None:
    if value:
        say(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
@opt.grouped(settings=opt.audit_settings, choice=opt.servers)
def plan(
    workflow: opt.Workflow,
    settings: AuditSettings,
    choice: ServerChoice,
    probe: Annotated[
        bool, typer.Option("--probe", help="Run one combination on the server, to tell how long an audit may take.")
    ] = False,
    json: opt.Json = False,
) -> None:
    """Say what an audit would do, and how long it may take.

    Nothing is run, but for --probe. Without it stored runs of such a workflow tell the time, where there are some.
    """
    from ..auditing.session import run_plan
    from .audit import print_plan

    with observer() as shown:
        summary = run_plan(workflow, settings, choice, shown, probe).summary()
    if json:
        print_json(summary)
    else:
        print_plan(summary)


@app.command()
@opt.grouped(
    settings=opt.audit_settings, choice=opt.servers, storage=opt.storage, style=opt.style, works=opt.works,
    extractor=opt.extractor, options=opt.report_options,
)  # fmt: skip
def audit(
    workflow: opt.Workflow,
    works: Works,
    out: opt.Out,
    settings: AuditSettings,
    choice: ServerChoice,
    storage: Any,
    style: Any,
    extractor: Any,
    options: ReportOptions,
    pdf: opt.Pdf = None,
    json: opt.Json = False,
) -> None:
    """Run every coalition of a workflow; report each one's share.

    The workflow is run with every combination of its components present and absent.
    """
    from ..auditing.session import run_audit

    printed = _pdf(pdf, out)
    with interruptible(out), observer() as shown:
        result = run_audit(
            workflow, works, out, settings, choice, extractor=extractor, options=options, storage=storage,
            style=style, observer=shown,
        )  # fmt: skip
    _print_report(result, printed, json)


@app.command()
@opt.grouped(settings=opt.audit_settings, choice=opt.servers, extractor=opt.extractor, options=opt.report_options)
def batch(
    queue: Annotated[Path, typer.Argument(metavar="QUEUE.jsonl", help="An audit a line: workflow, reference, …")],
    out: Annotated[Path, typer.Option("--out", help="Folder of all run folders and results.parquet.", metavar="DIR")],
    settings: AuditSettings,
    choice: ServerChoice,
    extractor: Any,
    options: ReportOptions,
    json: opt.Json = False,
) -> None:
    """Run the audits of a queue.

    What they have in common is computed once. Exit code 1 if any of them failed.
    """
    from ..auditing.batch import RESULTS_FILE, read_queue
    from ..auditing.session import run_batch

    listed = read_queue(queue, settings)
    with interruptible(out), observer() as shown:
        result = run_batch(listed, out, choice, extractor=extractor, options=options, observer=shown)
    if json:
        print_json(
            {
                "audits": len(listed),
                "done": result.done,
                "finished_before": result.skipped,
                "failed": result.failed,
                "prompts_run": result.sampled,
                "prompts_reused": result.reused,
                "results": str(out / RESULTS_FILE),
            }
        )
    else:
        done, before, failed = len(result.done), len(result.skipped), len(result.failed)
        say(f"Audits: {done:,} done, {before:,} finished before, {failed:,} failed.")
        say(f"Prompts: {result.sampled:,} run, {result.reused:,} taken from what was there.")
        say(f"Results: {(out / RESULTS_FILE).absolute()}")
    if result.failed:
        raise typer.Exit(1)


@app.command()
@opt.grouped(distance=opt.distance, works=opt.works, extractor=opt.extractor, options=opt.report_options)
def score(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Holds game.json and one folder a coalition.")],
    works: Works,
    out: opt.Out,
    distance: Any,
    extractor: Any,
    options: ReportOptions,
    pdf: opt.Pdf = None,
    json: opt.Json = False,
) -> None:
    """Report contributions from images that are on disk already."""
    from ..auditing.score import Score

    printed = _pdf(pdf, out)
    with interruptible(out), observer() as shown:
        result = Score(folder, works, out, extractor, shown, options, distance).run()
    _print_report(result, printed, json)


app.command()(cli_screening.screen)
app.command()(cli_screening.index)
app.command()(cli_evidence.verify)
app.command()(cli_evidence.compare)
app.command()(cli_evidence.bundle)
app.command()(cli_evidence.sign)
app.command()(cli_evidence.timestamp)
app.command()(cli_evidence.repeat)


@app.command()
@opt.grouped(extractor=opt.extractor)
def fid(
    dir_a: Annotated[Path, typer.Argument(metavar="DIR_A", help="Folder of images.")],
    dir_b: Annotated[Path, typer.Argument(metavar="DIR_B", help="Folder of images to compare them with.")],
    extractor: Any,
    json: opt.Json = False,
) -> None:
    """Print FID and KID of two folders of images."""
    from ..evaluation import fid as measured

    with observer() as shown:
        result = measured.fid(dir_a, dir_b, features=extractor, observer=shown)
    if json:
        print_json(result.as_json())
        return
    kid = "not defined for a single image" if result.kid is None else f"{result.kid:.6f}"
    say(f"FID {result.fid:.4f}\nKID {kid}\n{result.n_a} and {result.n_b} images")
    for warning in result.warnings:
        say(f"Warning: {warning}")


@app.command()
def shapley(
    game: Annotated[Path, typer.Argument(metavar="GAME.json", help="Players, and the value of every coalition.")],
    json: opt.Json = False,
) -> None:
    """Print Shapley values and leave-one-out of a table of values."""
    from ..game.solution import solve
    from ..game.table import parse_game

    try:
        known = parse_game(game.read_bytes())
    except OSError as error:
        raise CopyScopeError(f"The game {game} cannot be read ({error.strerror or error}); check its name.") from error
    result = solve(known)
    if json:
        print_json(result.as_json())
        return
    shares = result.shares
    rows = [
        (name, f"{phi:.6g}", "n/a" if shares is None else f"{100 * shares[name]:.1f} %",
         f"{result.leave_one_out[name]:.6g}")
        for name, phi in result.values.items()
    ]  # fmt: skip
    say(table(("player", "shapley", "share", "leave-one-out"), rows))
    say(f"\nEfficiency gap {result.efficiency_gap:.3g}")


@runs_app.command("list")
def runs_list(json: opt.Json = False) -> None:
    """List the stored runs and their size on disk."""
    from ..store.runs import list_runs

    found = list_runs()
    if json:
        print_json(
            {
                "runs": [
                    {
                        "folder": str(run.folder),
                        "created": run.created,
                        "bytes": run.bytes,
                        "coalitions": run.coalitions,
                        "finished": run.finished,
                    }
                    for run in found
                ]
            }
        )
    elif found:
        rows = [
            (run.folder, run.created, size_text(run.bytes), run.coalitions, "yes" if run.finished else "no")
            for run in found
        ]
        say(table(("folder", "created", "size", "stored", "report"), rows))
    else:
        say("No stored runs.")


@runs_app.command("clean")
def runs_clean(
    folders: Annotated[list[Path] | None, typer.Argument(metavar="DIR…", help="Run folders to remove.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Remove every stored run that is on the list.")] = False,
    json: opt.Json = False,
) -> None:
    """Remove what CopyScope wrote in run folders. Other files in them are left alone."""
    from ..store.runs import clean_run, list_runs

    if bool(folders) == every:
        raise CopyScopeError("Name the run folders to remove, or give --all; 'copyscope runs list' shows them.")
    chosen = [run.folder for run in list_runs()] if every else list(folders or [])
    freed = {str(folder): clean_run(folder) for folder in chosen}
    if json:
        print_json({"removed": list(freed), "bytes": sum(freed.values())})
    else:
        for name, count in freed.items():
            say(f"Removed {name} ({size_text(count)})")


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option("--out", help="Run folder: images, features and the report.", metavar="DIR")
    ] = Path("copyscope-demo"),
    comfyui: Annotated[
        Path | None,
        typer.Option(
            "--comfyui", help="ComfyUI folder. [default: $COMFYUI_PATH, else the usual places]", metavar="DIR"
        ),
    ] = None,
    device: opt.Device = "auto",
    pdf: opt.Pdf = None,
    json: opt.Json = False,
) -> None:
    """Do the main job on input that ships here.

    A real audit where a ComfyUI is found, else the scoring of such an audit's images.
    """
    from ..demo.demo import find_comfyui, run_demo
    from ..features.choose import choose_device

    printed = _pdf(pdf, out)
    found = find_comfyui(comfyui)
    chosen = choose_device(device)
    with interruptible(out), observer() as shown:
        result = run_demo(out, found, shown, chosen)
    if not json:
        say(
            table(
                ("members", "FID"),
                [(" + ".join(item.members) or "none", f"{item.fid:.2f}") for item in result.report.coalitions],
            )
        )
        say()
    _print_report(result, printed, json)


def _pdf(path: Path | None, out: Path) -> PdfFile | None:
    """What ``--pdf`` asks for, checked before anything is run."""
    if path is None:
        return None
    from ..report.pdf import PdfFile

    return PdfFile(path, out)


def _print_report(result: AuditResult | ScoreResult, pdf: PdfFile | None, json: bool) -> None:
    from ..report.text import manifest_text, summary_text

    if pdf is not None:
        pdf.write(result.html_path)
    if json:
        print_json({**result.report.model_dump(mode="json"), "manifest_sha256": result.manifest_sha256})
    else:
        say(summary_text(result.report))
        say(f"\nReport: {result.html_path.absolute()}")
        say(manifest_text(result.manifest_sha256))
        if pdf is not None:
            say(f"PDF: {pdf.path}")
