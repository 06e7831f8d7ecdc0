"""Writes what is passed on with a run folder: report, chart, rewritten workflows, and the manifest of all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..files.atomic import write_bytes_atomic, write_json_atomic
from ..files.images import ImageFile
from ..report.build import write_report
from ..report.html.chart_files import chart_png, chart_svg
from ..report.html.page import write_html
from ..report.html.pictures import Picture
from ..report.private import without_private
from ..report.report import Report
from ..store.runs import WORKFLOWS_FILE
from .manifest import make_manifest, write_manifest


@dataclass(frozen=True)
class ReportOptions:
    """What the report shows.

    Attributes:
        show_reference: embed the rights holder's images in the HTML report.
        private: leave prompts, paths and images of the reference out of all but ``workflows.json``.
    """

    show_reference: bool = True
    private: bool = False


@dataclass(frozen=True)
class Published:
    """A report as it was written, and where."""

    report: Report
    json_path: Path
    html_path: Path
    manifest_path: Path


def publish(
    report: Report,
    folder: Path,
    pictures: Mapping[int, Sequence[Picture]],
    reference: Sequence[Picture | ImageFile],
    options: ReportOptions,
    workflows: Mapping[int, Any] | None = None,
) -> Published:
    """Write ``report.json``, ``report.html``, ``chart.svg``, ``chart.png``, ``workflows.json`` and ``manifest.json``.

    Args:
        pictures: mask → images of that coalition.
        reference: the rights holder's images; those with a file are opened one by one when they are shown.
        workflows: mask → the coalition's rewritten graph; None: there is no workflow.

    Raises:
        StoreError: the disk is full, or the folder cannot be written.
    """
    known = workflows or {}
    workflow = report.workflow
    if options.private:
        report = without_private(report)
    shown = [_picture(image) for image in reference] if options.show_reference and not options.private else []
    json_path = write_report(report, folder)
    html_path = write_html(report, folder, pictures, shown)
    svg = chart_svg(report)
    write_bytes_atomic(folder / "chart.svg", svg.encode("utf-8"))
    write_bytes_atomic(folder / "chart.png", chart_png(svg))
    if known:
        write_json_atomic(folder / WORKFLOWS_FILE, {str(mask): graph for mask, graph in known.items()})
    manifest = make_manifest(report, folder, known, workflow)
    return Published(report, json_path, html_path, write_manifest(manifest, folder))


def _picture(image: Picture | ImageFile) -> Picture:
    """The file of an image that was read from one; else its pixels."""
    if not isinstance(image, ImageFile):
        return image
    return image.path if image.path.name else Image.fromarray(image.pixels)
