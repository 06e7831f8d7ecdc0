"""``copyscope compare``: several reports side by side, and whether they may be compared at all.

The same reference against several workflows, or one workflow against several artists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..distances.registry import DISTANCES
from ..errors import CopyScopeError
from ..files.atomic import write_bytes_atomic
from ..report.html.page import page_environment, page_style
from ..report.report import Report
from ..report.schema import STATEMENT, PlayerResult
from ..report.text import distance_of, interval_text, listed, number, percent, signed
from ..store.runs import REPORT_FILE

SCALES = (
    "Distances to different sets of images have different scales: read signs, shares and the order within a column "
    "first, and differences between columns with care."
)


@dataclass(frozen=True)
class Column:
    """One report.

    Attributes:
        name: what distinguishes it from the others.
        full, none: distance in use of all components and of none; None where it is not defined.
        gain: v of all components.
    """

    name: str
    headline: str
    created: str
    images: int
    references: int
    full: float | None
    none: float | None
    gain: float


@dataclass(frozen=True)
class Cell:
    """A player in one report."""

    shapley: float
    interval: list[float] | None
    share: float | None
    no_effect: bool


@dataclass(frozen=True)
class Row:
    """A player in every report; None where a report has no such player."""

    name: str
    kind: str
    cells: list[Cell | None]


@dataclass(frozen=True)
class Comparison:
    """Several reports side by side.

    Attributes:
        what: what they have in common, as a sentence.
        reasons: why they may not be compared, as sentences; empty: they may.
        notes: what to be careful about, and what can be read off, as sentences.
        unit: of the numbers.
    """

    what: str
    reasons: list[str]
    notes: list[str]
    unit: str
    digits: int
    columns: list[Column]
    rows: list[Row]

    @property
    def comparable(self) -> bool:
        """Whether the numbers may be compared."""
        return not self.reasons

    def as_json(self) -> dict[str, Any]:
        """What ``copyscope compare --json`` prints."""
        return {"statement": STATEMENT, "comparable": self.comparable, **asdict(self)}


def read_reports(paths: Sequence[Path]) -> dict[str, Report]:
    """Reports by name; a path is a ``report.json`` or its folder.

    Raises:
        CopyScopeError: there are fewer than two, or one cannot be read.
    """
    if len(paths) < 2:
        raise CopyScopeError("Name at least two reports to compare.")
    files = [path / REPORT_FILE if path.is_dir() else path for path in paths]
    names = [file.absolute().parent.name for file in files]
    if len(set(names)) < len(names):
        names = [str(file) for file in files]
    if len(set(names)) < len(names):
        raise CopyScopeError("A report is named twice; name each once.")
    return {name: Report.load(file) for name, file in zip(names, files, strict=True)}


def compare(reports: dict[str, Report]) -> Comparison:
    """Put at least two reports side by side."""
    info = DISTANCES[next(iter(reports.values())).distance]
    reference, workflow = _all_equal(reports, _reference), _all_equal(reports, _workflow)
    rows = _rows(reports)
    notes = [] if reference else [SCALES]
    reasons = _reasons(reports)
    if not reasons:
        notes += [*(_nearest(reports) if reference else []), *_named(reports)]
    return Comparison(
        _common(reference, workflow),
        reasons,
        notes,
        info.unit,
        info.digits,
        [_column(name, report) for name, report in reports.items()],
        rows,
    )


def comparison_text(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the comparison as a table of text."""
    names = [column.name for column in found.columns]
    rows = [[row.name, row.kind, *(_cell_text(cell, found.digits) for cell in row.cells)] for row in found.rows]
    for what, pick in (("distance, all", "full"), ("distance, none", "none"), ("gain", "gain")):
        values = (getattr(column, pick) for column in found.columns)
        rows.append([what, "", *(number(value, found.digits) for value in values)])
    return ["component", "kind", *names], rows


def write_comparison(found: Comparison, path: Path) -> Path:
    """Write the comparison as one HTML file and return its path.

    Raises:
        StoreError: the disk is full, or the file cannot be written.
    """
    template = page_environment().get_template("compare.html.j2")
    html = template.render(found=found, statement=STATEMENT, **page_style())
    write_bytes_atomic(path, html.encode("utf-8"))
    return path


def _all_equal(reports: dict[str, Report], key: Callable[[Report], Any]) -> bool:
    values = [key(report) for report in reports.values()]
    return values[0] is not None and all(value == values[0] for value in values)


def _reference(report: Report) -> Any:
    """What identifies the reference: its pixel hashes; None where no hashes were kept."""
    hashes = sorted(str(image.pixel_sha256) for image in report.reference.images)
    return hashes or None


def _workflow(report: Report) -> Any:
    """What identifies the workflow: the pixels that its coalitions make, else its graph."""
    pixels = {frozenset(item.members): [image.pixel_sha256 for image in item.image_files] for item in report.coalitions}
    if all(pixels.values()):
        return pixels
    return None if report.workflow is None else json.dumps(report.workflow, sort_keys=True)


def _common(reference: bool, workflow: bool) -> str:
    if reference and workflow:
        return "The same workflow and the same reference in every report."
    if reference:
        return "The same reference against several workflows."
    if workflow:
        return "One workflow against several references."
    return "Several workflows against several references."


def _reasons(reports: dict[str, Report]) -> list[str]:
    """What differs between the reports and would change the numbers by itself, as sentences."""
    checks: list[tuple[str, Callable[[Report], Any]]] = [
        ("distance", lambda report: report.distance),
        ("path from image to features (preprocessing)", lambda report: report.preprocessing),
        ("size of the images", lambda report: report.reference.preprocessing.get("method")),
        ("number of images a combination", lambda report: report.coalitions[-1].images),
    ]
    reasons = []
    for what, key in checks:
        values = {name: key(report) for name, report in reports.items()}
        if len({str(value) for value in values.values()}) > 1:
            said = ", ".join(f"{name}: {value}" for name, value in values.items())
            reasons.append(f"Not comparable: the {what} differs ({said}).")
    return reasons


def _column(name: str, report: Report) -> Column:
    full, none = report.coalitions[-1], report.coalitions[0]
    return Column(
        name,
        report.headline,
        report.created,
        full.images,
        report.reference.count,
        distance_of(report, full),
        distance_of(report, none),
        full.value,
    )


def _rows(reports: dict[str, Report]) -> list[Row]:
    """A row for each name and kind, in the order in which they first appear among the ranked."""
    keys = dict.fromkeys((player.name, player.kind) for report in reports.values() for player in report.ranked())
    by_key = [{(player.name, player.kind): player for player in report.players} for report in reports.values()]
    return [
        Row(name, kind, [_cell(known[name, kind]) if (name, kind) in known else None for known in by_key])
        for name, kind in keys
    ]


def _cell(player: PlayerResult) -> Cell:
    return Cell(player.shapley, player.shapley_interval, player.share, bool(player.no_effect))


def _cell_text(cell: Cell | None, digits: int) -> str:
    if cell is None:
        return "–"
    if cell.no_effect:
        return "no effect"
    ends = "" if cell.interval is None else f" ({interval_text(cell.interval, digits)})"
    return f"{signed(cell.shapley, digits)}{ends} {percent(cell.share, 0)}"


def _nearest(reports: dict[str, Report]) -> list[str]:
    """Which workflow comes nearest to their one reference."""
    known = [(report.coalitions[-1].fid, name) for name, report in reports.items() if report.distance == "fid"]
    if len(known) < len(reports):
        return []
    fid, name = min(known)
    if all(number(other, 1) == number(fid, 1) for other, _ in known):
        return [f"The images of all reports come equally near to the reference: FID {number(fid, 1)}."]
    best = reports[name].coalitions[-1].fid_interval
    others = [reports[other].coalitions[-1].fid_interval for _, other in known if other != name]
    text = f"The images of {listed([name])} come nearest to the reference: FID {number(fid, 1)}"
    if best is not None and any(_overlap(best, other) for other in others if other is not None):
        text += "; the intervals overlap, so this may be chance"
    return [text + "."]


def _named(reports: dict[str, Report]) -> list[str]:
    """Which components the verdicts name, and in which reports none is named."""
    by_name: dict[str, list[str]] = {}
    for name, report in reports.items():
        if report.verdict.player is not None:
            by_name.setdefault(report.verdict.player, []).append(name)
    notes = [f"{listed([player])} is named by the verdict of {listed(names)}." for player, names in by_name.items()]
    open_ones = [name for name, report in reports.items() if not report.verdict.decided]
    return notes + ([f"Not decided: {listed(open_ones)}."] if open_ones else [])


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
