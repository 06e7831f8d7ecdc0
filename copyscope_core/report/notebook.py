"""A report in a notebook: as a short HTML table, as a pandas table, and as bars of matplotlib.

The libraries are imported when they are asked for; CopyScope itself needs neither. All text of a report is foreign.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from ..distances.registry import DISTANCES
from ..errors import CopyScopeError
from .text import NAME_COLUMNS, interval_text, kind_words, percent, printable, shorten, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

    from .schema import PlayerResult, ReportData

_MOST_ROWS = 50
_TOWARDS, _AWAY, _LINE = "#3f51b5", "#b0622c", "#222222"
_CELL = ' style="text-align: left"'


def html(report: ReportData) -> str:
    """The headline, a row for each player, and the warnings."""
    info = DISTANCES[report.distance]
    head = ("component", "kind", "share", f"Shapley value ({info.unit})", report.verdict.interval_name, "leave-one-out")
    rows = [_row(player, max(2, info.digits)) for player in report.ranked()[:_MOST_ROWS]]
    locked = [item.name for item in report.locked]
    notes = [
        f"{len(report.players)} components, {len(report.coalitions)} combinations, "
        f"{sum(item.images for item in report.coalitions)} images, {report.reference.count} reference images, "
        f"{report.created}.",
        *([f"Locked, not measured: {_some(locked)}."] if locked else []),
        *(f"Warning: {item.message}" for item in report.warnings[:_MOST_ROWS]),
        f"{report.statement[:1].upper()}{report.statement[1:]}.",
    ]
    if len(report.players) > len(rows):
        notes.insert(0, f"And {len(report.players) - len(rows)} components more.")
    return (
        f"<div><p><strong>{_safe(report.headline)}</strong></p>"
        f"<table><thead><tr>{''.join(f'<th{_CELL}>{_safe(text)}</th>' for text in head)}</tr></thead><tbody>"
        + "".join(f"<tr>{''.join(f'<td{_CELL}>{_safe(text)}</td>' for text in row)}</tr>" for row in rows)
        + "</tbody></table>"
        + "".join(f"<p>{_safe(note)}</p>" for note in notes)
        + "</div>"
    )


def frame(report: ReportData, table: str) -> DataFrame:
    """The players or the coalitions of a report as a pandas table.

    Raises:
        CopyScopeError: there is no such table, or pandas is missing.
    """
    records: dict[str, Sequence[Any]] = {"players": report.players, "coalitions": report.coalitions}
    if table not in records:
        raise CopyScopeError(f"A report has no table {table!r}; choose one of {', '.join(records)}.")
    pandas = _library("pandas", "A table of a report")
    rows = [_flat(record.model_dump(exclude={"image_files"})) for record in records[table]]
    result: DataFrame = pandas.DataFrame(rows)
    return result


def plot(report: ReportData, ax: Axes | None) -> Axes:
    """Bars of the Shapley values in a matplotlib figure.

    Raises:
        CopyScopeError: matplotlib is missing.
    """
    players = report.ranked()[:_MOST_ROWS]
    if ax is None:
        pyplot = _library("matplotlib.pyplot", "A plot of a report")
        _, ax = pyplot.subplots(figsize=(7, 1.2 + 0.4 * len(players)), layout="constrained")
    assert ax is not None
    places = range(len(players))
    colours = [_TOWARDS if player.shapley >= 0 else _AWAY for player in players]
    ax.barh(places, [player.shapley for player in players], color=colours)
    for place, player in enumerate(players):
        if player.shapley_interval is not None:
            ax.plot(player.shapley_interval, [place, place], color=_LINE, marker="|")
    names = [shorten(printable(player.name), NAME_COLUMNS) for player in players]
    ax.set_yticks(places, names, parse_math=False)
    ax.invert_yaxis()
    ax.axvline(0, color=_LINE, linewidth=0.8)
    ax.set_xlabel(f"Shapley value ({DISTANCES[report.distance].unit}), positive: towards the reference")
    return ax


def _row(player: PlayerResult, digits: int) -> tuple[str, ...]:
    return (
        shorten(player.name, NAME_COLUMNS),
        kind_words(player.kind),
        percent(player.share),
        "no effect" if player.no_effect else signed(player.shapley, digits),
        interval_text(player.shapley_interval, digits),
        signed(player.leave_one_out, digits),
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_ROWS
    return ", ".join(names[:_MOST_ROWS]) + (f" and {more} more" if more > 0 else "")


def _safe(text: str) -> str:
    return escape(printable(text))


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    return dict(_columns(record.items()))


def _columns(items: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    """The same with each interval as two columns."""
    for name, value in items:
        if name.endswith("_interval"):
            low, high = (None, None) if value is None else value
            yield f"{name.removesuffix('_interval')}_low", low
            yield f"{name.removesuffix('_interval')}_high", high
        else:
            yield name, value


def _library(name: str, what: str) -> Any:
    """A library that CopyScope does not need itself.

    Raises:
        CopyScopeError: it is not installed.
    """
    package = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CopyScopeError(f"{what} needs the library {package}: pip install {package}.") from error
