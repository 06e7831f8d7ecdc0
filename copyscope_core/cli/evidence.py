"""What is done with run folders that are there: verify, compare, bundle, sign, timestamp, repeat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..auditing.servers import ServerChoice
from ..errors import CopyScopeError
from . import options as opt
from .terminal import observer, print_json, say, size_text, table

if TYPE_CHECKING:
    from ..evidence.verify import Verification


@opt.grouped(extractor=opt.extractor_if_used, storage=opt.storage)
def verify(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Run folder: what --out named; or a bundle of it.")],
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference", help="Folder of the rights holder's images, instead of their copies.", metavar="DIR"
        ),
    ] = None,
    control: Annotated[
        Path | None,
        typer.Option("--control", help="Folder of the control images, instead of their copies.", metavar="DIR"),
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="The folder that was scored, instead of its copies.", metavar="DIR")
    ] = None,
    signer: Annotated[
        Path | None, typer.Option("--signer", help="Public key that must have signed.", metavar="FILE")
    ] = None,
    tsa_certificate: Annotated[
        Path | None,
        typer.Option(
            "--tsa-certificate", help="Certificates (PEM) from which the time stamp's must come.", metavar="FILE"
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Compute the features of all images again.")] = False,
    storage: Any = None,
    extractor: Any = None,
    json: opt.Json = False,
) -> None:
    """Check a run folder: hashes, and every number again.

    What was changed is named. Exit code 1 if anything was, 2 if anything could not be checked.
    """
    from ..evidence.verify import Verifier
    from ..report.text import manifest_text, printable

    with observer() as shown:
        result = Verifier(
            folder, extractor, reference, control, images, full, storage, shown, signer, tsa_certificate
        ).run()
    if json:
        print_json(result.as_json())
    else:
        for finding in result.findings:
            say(printable(f"Changed: {finding.what} {finding.message}"))
        for finding in result.unchecked:
            say(printable(f"Not checked: {finding.what} {finding.message}"))
        counts = (
            f"{result.files:,} files, {result.images:,} images, {result.features:,} features, {result.numbers:,} values"
        )
        say(f"Everything holds: {counts}." if result.holds else f"\n{_summary(result)} Checked: {counts}.")
        for note in result.notes:
            say(printable(note))
        if result.manifest_sha256:
            say(manifest_text(result.manifest_sha256))
    if not result.holds:
        raise typer.Exit(1 if result.findings else 2)


def _summary(result: Verification) -> str:
    changed = len(result.findings)
    if not changed:
        return "Nothing is known to be changed, but not everything could be checked."
    return "1 thing is not as it was." if changed == 1 else f"{changed:,} things are not as they were."


@opt.grouped(storage=opt.storage)
def bundle(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Run folder: what --out named.")],
    to: Annotated[
        Path | None,
        typer.Option("--to", help="The zip file. [default: FOLDER.zip]", metavar="FILE", show_default=False),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Leave out prompts, paths, the log and all images.")
    ] = False,
    storage: Any = None,
    json: opt.Json = False,
) -> None:
    """Put a run folder into one zip file that copyscope verify reads."""
    from ..evidence.bundle import bundle
    from ..report.text import manifest_text

    target = to or folder.absolute().with_name(f"{folder.absolute().name}.zip")
    made = bundle(folder, target, private, storage)
    if json:
        print_json(
            {
                "file": str(made.path),
                "files": made.files,
                "bytes": made.bytes,
                "left_out": list(made.left_out),
                "elsewhere": made.elsewhere,
                "manifest_sha256": made.manifest_sha256,
            }
        )
        return
    say(f"{made.path}: {made.files:,} files, its manifest among them, {size_text(made.bytes)}.")
    if made.left_out:
        say(f"Left out: {len(made.left_out):,} files that the manifest lists; copyscope verify will not check them.")
    if made.elsewhere:
        say(f"Left out: {made.elsewhere:,} images that are not in the run folder; --storage URL packs them too.")
    say(manifest_text(made.manifest_sha256))


def sign(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Run folder: what --out named.")],
    key: Annotated[Path, typer.Option("--key", help="Ed25519 private key: OpenSSH or PEM.", metavar="FILE")],
    json: opt.Json = False,
) -> None:
    """Sign a run folder's manifest."""
    from ..evidence.signature import sign

    made_with = sign(folder, key, lambda: str(typer.prompt(f"Password of {key}", hide_input=True, err=True)))
    if json:
        print_json({"signature": made_with})
    else:
        say(f"Signed with the key {made_with}.")


def timestamp(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Run folder: what --out named.")],
    tsa: Annotated[
        str | None, typer.Option("--tsa", help="Address of the authority, which is sent the hash.", metavar="URL")
    ] = None,
    request: Annotated[
        Path | None, typer.Option("--request", help="Write what to ask an authority to this file.", metavar="FILE")
    ] = None,
    response: Annotated[
        Path | None, typer.Option("--response", help="Take an authority's answer from this file.", metavar="FILE")
    ] = None,
    json: opt.Json = False,
) -> None:
    """Have a time stamp authority (RFC 3161) say when a run folder's manifest existed."""
    from ..evidence import time_stamp
    from ..evidence.signature import key_file
    from ..files.atomic import write_bytes_atomic
    from ..report.text import printable

    if (tsa is not None) + (request is not None) + (response is not None) != 1:
        raise CopyScopeError("Give one of --tsa URL, --request FILE and --response FILE.")
    if request is not None:
        write_bytes_atomic(request, time_stamp.make_request(folder))
        if json:
            print_json({"request": str(request)})
        else:
            say(f"Written: {request.absolute()}. Have an authority answer it, and give the answer with --response.")
        return
    if response is not None:
        stamp = time_stamp.keep_response(folder, key_file(response))
    else:
        stamp = time_stamp.ask(folder, str(tsa))
    if json:
        print_json({"time_stamp": stamp._asdict()})
    else:
        say(printable(f"Stamped {stamp.time} by {stamp.authority}."))


@opt.grouped(choice=opt.servers)
def repeat(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Run folder of an audit, or a bundle of it.")],
    choice: ServerChoice,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Only the first N seeds. [default: all]", metavar="N")
    ] = None,
    json: opt.Json = False,
) -> None:
    """Run an audit's stored workflows again, and say which pixels come out the same. Exit code 1 if some do not."""
    from ..auditing.repeat import repeat

    with observer() as shown:
        result = repeat(folder, choice, seeds, shown)
    if json:
        print_json(result.as_json())
    else:
        rows = [
            (image.coalition, f"+{image.seed}", image.file.rpartition("/")[2], "the same" if image.same else "differs",
             "–" if image.difference is None else str(image.difference))
            for image in result.images
        ]  # fmt: skip
        say(table(("combination", "seed", "image", "pixels", "largest difference, 0…255"), rows))
        say(f"\n{result.same:,} of {len(result.images):,} images came out the same, pixel for pixel.")
        for note in result.notes:
            say(note)
    if result.same < len(result.images):
        raise typer.Exit(1)


def compare(
    reports: Annotated[list[Path], typer.Argument(metavar="REPORT REPORT…", help="report.json files or folders.")],
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the comparison to this HTML file too.", metavar="FILE")
    ] = None,
    json: opt.Json = False,
) -> None:
    """Put reports side by side.

    One reference against several workflows, or one workflow against several artists.
    """
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
    say(f"\nContributions in {found.unit}, with each report's intervals (95%, if it says no other) and shares:")
    say(table(*comparison_text(found)))
    say()
    for note in found.notes:
        say(note)
    if html is not None:
        say(f"\nWritten: {html.absolute()}")
