"""The command line: ``copyscope plan | audit | batch | score | verify | compare | runs | fid | shapley | demo``.

Results go to stdout, all else to stderr; with ``--json`` stdout is exactly one JSON object. A ``CopyScopeError`` is one
sentence and exit code 2; Ctrl-C is exit code 130.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from .. import __version__
from ..auditing.servers import ServerChoice
from ..errors import CopyScopeError
from ..evaluation.measure import Works
from ..evidence.publish import ReportOptions
from ..settings import AuditSettings
from . import evidence as cli_evidence
from . import options as opt
from .terminal import complain, observer, prepare_streams, print_json, say, size_text, table

app = typer.Typer(
    name="copyscope",
    help="Which model in an image workflow makes its output resemble an artist's work, and how sure are we?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
runs_app = typer.Typer(help="Run folders on this machine.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(runs_app, name="runs")


def main() -> NoReturn:
    """Run the command line and exit: 0, or 2 after one sentence on what is wrong, or 130 after Ctrl-C."""
    prepare_streams()
    try:
        app()
    except CopyScopeError as error:
        complain(f"Error: {error}")
        sys.exit(2)
    sys.exit(0)


def _version(value: bool) -> None:
    if value:
        say(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@app.command()
@opt.grouped(settings=opt.audit_settings, choice=opt.servers)
def plan(workflow: opt.Workflow, settings: AuditSettings, choice: ServerChoice, json: opt.Json = False) -> None:
    """Say what an audit would do: players, absence rules, coalitions, images. Runs nothing."""
    from ..auditing.session import run_plan
    from .audit import print_plan

    with observer() as shown:
        summary = run_plan(workflow, settings, choice, shown).summary()
    if json:
        print_json(summary)
    else:
        print_plan(summary)


@app.command()
@opt.grouped(
    settings=opt.audit_settings, choice=opt.servers, storage=opt.storage, works=opt.works, extractor=opt.extractor,
    options=opt.report_options,
)  # fmt: skip
def audit(
    workflow: opt.Workflow,
    works: Works,
    out: opt.Out,
    settings: AuditSettings,
    choice: ServerChoice,
    storage: Any,
    extractor: Any,
    options: ReportOptions,
    json: opt.Json = False,
) -> None:
    """Run a workflow for every coalition of its components and report each one's contribution."""
    from ..auditing.session import run_audit

    with _interruptible(out), observer() as shown:
        result = run_audit(
            workflow, works, out, settings, choice, extractor=extractor, options=options, storage=storage,
            observer=shown,
        )  # fmt: skip
    _print_report(result.report, result.html_path, json)


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
    """Run the audits of a queue; what they have in common is computed once. Exit code 1 if any of them failed."""
    from ..auditing.batch import RESULTS_FILE, read_queue
    from ..auditing.session import run_batch

    listed = read_queue(queue, settings)
    with _interruptible(out), observer() as shown:
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
    json: opt.Json = False,
) -> None:
    """Report the contributions from images of the coalitions that are on disk already."""
    from ..auditing.score import Score

    with _interruptible(out), observer() as shown:
        result = Score(folder, works, out, extractor, shown, options, distance).run()
    _print_report(result.report, result.html_path, json)


app.command()(cli_evidence.verify)
app.command()(cli_evidence.compare)


@app.command()
@opt.grouped(extractor=opt.extractor)
def fid(
    dir_a: Annotated[Path, typer.Argument(metavar="DIR_A", help="Folder of images.")],
    dir_b: Annotated[Path, typer.Argument(metavar="DIR_B", help="Folder of images to compare them with.")],
    extractor: Any,
    json: opt.Json = False,
) -> None:
    """Print the Fréchet Inception Distance and the kernel distance of two folders of images."""
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
    """Print Shapley values and leave-one-out of a table of coalition values."""
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
    folders: Annotated[list[Path] | None, typer.Argument(metavar="DIR...", help="Run folders to remove.")] = None,
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
    out: Annotated[Path, typer.Option("--out", help="Run folder for images, features and the report.")] = Path(
        "copyscope-demo"
    ),
    comfyui: Annotated[
        Path | None, typer.Option("--comfyui", help="ComfyUI folder. [default: $COMFYUI_PATH, else the usual places]")
    ] = None,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Do the main job on input that ships here: a real audit where a ComfyUI is found, else scoring of its images."""
    from ..demo.demo import find_comfyui, run_demo
    from ..features.choose import choose_device

    found = find_comfyui(comfyui)
    chosen = choose_device(device)
    with _interruptible(out), observer() as shown:
        report, html_path = run_demo(out, found, shown, chosen)
    if not json:
        say(
            table(
                ("members", "FID"),
                [(" + ".join(item.members) or "none", f"{item.fid:.2f}") for item in report.coalitions],
            )
        )
        say()
    _print_report(report, html_path, json)


@contextlib.contextmanager
def _interruptible(out: Path) -> Iterator[None]:
    """Ctrl-C says how to go on, and is exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        complain(f"Interrupted. What is finished is kept in {out}; run the same command again to go on.")
        raise typer.Exit(130) from None


def _print_report(report: object, html_path: Path, json: bool) -> None:
    from ..report.report import Report
    from ..report.text import summary_text

    if not isinstance(report, Report):
        raise TypeError("not a report")
    if json:
        print_json(report.model_dump(mode="json"))
    else:
        say(summary_text(report))
        say(f"\nReport: {html_path.absolute()}")
