"""``copyscope verify`` and ``copyscope compare``: what is done with reports that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options as opt
from .terminal import observer, print_json, say, table


@opt.grouped(extractor=opt.extractor, storage=opt.storage)
def verify(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Run folder: what --out named.")],
    reference: Annotated[
        Path | None, typer.Option("--reference", help="Folder of the rights holder's images, to check them too.")
    ] = None,
    control: Annotated[Path | None, typer.Option("--control", help="Folder of the control images.")] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="The folder that was scored, to check its images.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Compute the features of all images again.")] = False,
    storage: Any = None,
    extractor: Any = None,
    json: opt.Json = False,
) -> None:
    """Hash everything, compute every number again, and name what was changed. Exit code 1 if anything was."""
    from ..evidence.verify import Verifier
    from ..report.text import printable

    with observer() as shown:
        result = Verifier(folder, extractor, reference, control, images, full, storage, shown).run()
    if json:
        print_json(result.as_json())
    else:
        for finding in result.findings:
            say(printable(f"{finding.what} {finding.message}"))
        counts = (
            f"{result.files:,} files, {result.images:,} images, {result.features:,} features, {result.numbers:,} values"
        )
        changed = len(result.findings)
        what = "1 thing is not as it was" if changed == 1 else f"{changed:,} things are not as they were"
        say(f"Everything holds: {counts}." if result.holds else f"\n{what}. Checked: {counts}.")
        for note in result.notes:
            say(note)
        if result.manifest_sha256:
            say(f"SHA-256 of the manifest: {result.manifest_sha256}")
    if not result.holds:
        raise typer.Exit(1)


def compare(
    reports: Annotated[list[Path], typer.Argument(metavar="REPORT REPORT...", help="report.json files or folders.")],
    html: Annotated[Path | None, typer.Option("--html", help="Write the comparison to this HTML file too.")] = None,
    json: opt.Json = False,
) -> None:
    """Put reports side by side: one reference against several workflows, or one workflow against several artists."""
    from ..evidence.compare import compare, comparison_text, read_reports, write_comparison

    found = compare(read_reports(reports))
    if html is not None:
        write_comparison(found, html)
    if json:
        print_json(found.as_json())
        return
    say(found.what)
    for reason in found.reasons:
        say(reason)
    say(f"\nContributions in {found.unit}, with 95% intervals and shares:")
    say(table(*comparison_text(found)))
    say()
    for note in found.notes:
        say(note)
    if html is not None:
        say(f"\nWritten: {html.absolute()}")
