"""Writes what is passed on with a run folder: report, chart, rewritten workflows, and the manifest of all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..evaluation.measure import Works
from ..files.atomic import write_bytes_atomic, write_json_atomic
from ..files.hashes import file_sha256
from ..files.images import ImageFile
from ..report.build import write_report
from ..report.html.chart_files import chart_png, chart_svg
from ..report.html.page import write_html
from ..report.html.pictures import Picture
from ..report.private import without_private
from ..report.report import Report
from ..store.runs import MANIFEST_FILE, WORKFLOWS_FILE
from .copies import CONTROL, REFERENCE, write_copies
from .custody import Custody
from .manifest import make_manifest, write_manifest


@dataclass(frozen=True)
class ReportOptions:
    """What the report shows.

    Attributes:
        show_reference: embed the rights holder's images in the HTML report.
        private: leave prompts, paths and images of the reference out of all but ``workflows.json``.
        copy: keep copies of the images that lie outside the run folder; those of the reference and the control only
            where the reference may be shown.
        examiner, case: who made the report and in which matter; None: not said.
    """

    show_reference: bool = True
    private: bool = False
    copy: bool = True
    examiner: str | None = None
    case: str | None = None


@dataclass(frozen=True)
class Published:
    """A report as it was written, and where."""

    report: Report
    json_path: Path
    html_path: Path
    manifest_sha256: str


def publish(
    report: Report,
    folder: Path,
    pictures: Mapping[int, Sequence[Picture]],
    reference: Sequence[Picture | ImageFile],
    options: ReportOptions,
    workflows: Mapping[int, Any] | None = None,
    images: Mapping[str, Sequence[ImageFile]] | None = None,
    custody: Custody | None = None,
) -> Published:
    """Write ``report.json``, ``report.html``, ``chart.svg``, ``chart.png``, ``workflows.json`` and ``manifest.json``.

    Images from outside the folder are copied into it where the options say so.

    Args:
        pictures: mask → images of that coalition.
        reference: the rights holder's images; those with a file are opened one by one when they are shown.
        workflows: mask → the coalition's rewritten graph; None: there is no workflow.
        images: place among the copies → images that lie outside the folder.
        custody: the session that ends with this report; None: nothing is said of it.

    Raises:
        StoreError: the disk is full, the folder cannot be written, or an image was changed since it was measured.
    """
    known = workflows or {}
    if custody is not None:
        earlier = folder / MANIFEST_FILE
        custody.event("report", replaces=file_sha256(earlier) if earlier.is_file() else None)
        record = custody.record(report.preprocessing, options.examiner, options.case)
        report = report.model_copy(update={"custody": record})
    workflow = report.workflow
    if options.private:
        report = without_private(report)
    open_reference = options.show_reference and not options.private
    shown = [_picture(image) for image in reference] if open_reference else []
    outside = images if images is not None and options.copy else {}
    write_copies(
        folder,
        {place: files for place, files in outside.items() if open_reference or place not in (REFERENCE, CONTROL)},
    )
    json_path = write_report(report, folder)
    html_path = write_html(report, folder, pictures, shown)
    svg = chart_svg(report)
    write_bytes_atomic(folder / "chart.svg", svg.encode("utf-8"))
    write_bytes_atomic(folder / "chart.png", chart_png(svg))
    if known:
        write_json_atomic(folder / WORKFLOWS_FILE, {str(mask): graph for mask, graph in known.items()})
    manifest = make_manifest(report, folder, known, workflow)
    return Published(report, json_path, html_path, write_manifest(manifest, folder))


def copies_of(works: Works) -> dict[str, Sequence[ImageFile]]:
    """Reference and control as ``publish`` copies them; works of the bank come with CopyScope."""
    return {REFERENCE: works.reference, CONTROL: works.control}


def _picture(image: Picture | ImageFile) -> Picture:
    """The file of an image that was read from one; else its pixels."""
    if not isinstance(image, ImageFile):
        return image
    return image.path if image.path.name else Image.fromarray(image.pixels)
