"""The report's numbers and names as text, and the whole report as a plain-text table."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ..distances.registry import DISTANCES
from .schema import CoalitionResult, PlayerResult, ReportData

NAME_COLUMNS = 40
TITLE_COLUMNS = 30


def number(value: float | None, digits: int = 2) -> str:
    """A number with a real minus sign, and no minus for what rounds to zero; a dash for null."""
    if value is None:
        return "–"
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 2) -> str:
    """The same with a plus sign for what does not round to zero."""
    text = number(value, digits)
    return f"+{text}" if value is not None and round(value, digits) > 0 else text


def percent(value: float | None, digits: int = 1) -> str:
    """A signed share in per cent; a dash for null."""
    return "–" if value is None else signed(value * 100, digits) + "%"


def interval_text(ends: Sequence[float] | None, digits: int = 2) -> str:
    """An interval in words; a dash for null."""
    return "–" if ends is None else f"{number(ends[0], digits)} to {number(ends[1], digits)}"


def percent_interval(ends: Sequence[float] | None) -> str:
    """An interval of shares, in whole per cent."""
    return "–" if ends is None else f"{number(ends[0] * 100, 0)} to {number(ends[1] * 100, 0)}%"


def probability(value: float | None) -> str:
    """A probability in per cent, never quite none or all; a dash for null."""
    if value is None:
        return "–"
    return "< 1%" if value < 0.005 else "> 99%" if value > 0.995 else f"{value:.0%}"


def listed(names: Sequence[str]) -> str:
    """Names in quotation marks: “a”, “b” and “c”."""
    quoted = [f"“{name}”" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def columns(text: str) -> int:
    """Width on a terminal: East Asian wide characters take two columns, combining ones none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def clip(text: str, width: int) -> str:
    """Text cut to a width in columns, with an ellipsis."""
    if columns(text) <= width:
        return text
    cut = text[:width]
    while columns(cut) >= width:
        cut = cut[:-1]
    return cut + "…"


def printable(text: str) -> str:
    """Text without control characters, which could drive a terminal, and without line breaks."""
    return "".join("�" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char for char in text)


def coalition_title(coalition: CoalitionResult, names: Sequence[str]) -> str:
    """What a coalition is called where there is little room; ``names``: all players."""
    present, absent = coalition.members, [name for name in names if name not in coalition.members]
    if not present:
        return "None of the components"
    if not absent:
        return "All components" if len(names) > 1 else clip(names[0], TITLE_COLUMNS)
    if len(absent) == 1 and len(names) > 2:
        return f"All but {clip(absent[0], TITLE_COLUMNS)}"
    return " + ".join(clip(name, TITLE_COLUMNS) for name in present)


def distance_of(report: ReportData, coalition: CoalitionResult) -> float | None:
    """A coalition's distance in use; None where a kernel distance is not defined."""
    return coalition.fid if report.distance == "fid" else coalition.distance


def whole(report: ReportData) -> str:
    """What all players do together, as a sentence."""
    info = DISTANCES[report.distance]
    ends = [distance_of(report, coalition) for coalition in (report.coalitions[0], report.coalitions[-1])]
    before, after = (number(value, info.digits) for value in ends)
    if None in ends:
        gain = signed(report.coalitions[-1].value, info.digits)
        return f"All components together change the {info.label} by {gain} in favour of the reference."
    if len(report.players) == 1:
        return f"The {info.label} is {before} without it and {after} with it."
    return f"All components together take the {info.label} from {before} to {after}."


def not_told_apart(report: ReportData) -> list[tuple[str, str]]:
    """Pairs of players that cannot be told apart, the larger φ first; those without any effect left out."""
    ranked = [player for player in report.ranked() if not player.no_effect]
    return [
        (one.name, other.name)
        for place, one in enumerate(ranked)
        for other in ranked[place + 1 :]
        if other.name in (one.indistinguishable_from or ())
    ]


def summary_text(report: ReportData) -> str:
    """The report as plain text, for a terminal or a node's body."""
    info = DISTANCES[report.distance]
    digits = max(2, info.digits)
    certain = report.uncertainty is not None
    ranked = certain and len(report.players) > 1
    rows = [
        (
            "component",
            "kind",
            f"φ ({info.label})",
            *(("95% interval",) if certain else ()),
            "share",
            *(("largest",) if ranked else ()),
            "leave-one-out",
            "mean part",
            "spread part",
        )
    ]
    rows += [_summary_row(player, digits, certain, ranked) for player in report.ranked()]
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    table = [
        "  ".join(_pad(text, width, left=k < 2) for k, (text, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    lines = [printable(report.headline), whole(report), "", *(line.rstrip() for line in table), ""]
    lines += [f"Cannot be told apart: {_name(one)} and {_name(other)}" for one, other in not_told_apart(report)]
    if report.no_interval and "one_seed" not in [item.code for item in report.warnings]:
        lines.append(report.no_interval)
    lines += [
        f"Contrast with the control images: {_name(player.name)} {signed(player.contrast, digits)}"
        + ("" if player.contrast_interval is None else f" ({interval_text(player.contrast_interval, digits)})")
        for player in report.ranked()
        if player.contrast is not None
    ]
    lines += [f"Locked, not measured: {_name(item.name)} ({_name(item.kind)})" for item in report.locked]
    lines += [f"Warning: {printable(item.message)}" for item in report.warnings]
    lines.append(f"{report.statement[0].upper()}{report.statement[1:]}.")
    return "\n".join(lines)


def _summary_row(player: PlayerResult, digits: int, certain: bool, ranked: bool) -> tuple[str, ...]:
    return (
        _name(player.name),
        _name(player.kind),
        "no effect" if player.no_effect else signed(player.shapley, digits),
        *((interval_text(player.shapley_interval, digits),) if certain else ()),
        percent(player.share),
        *((probability(player.probability_largest),) if ranked else ()),
        signed(player.leave_one_out, digits),
        signed(player.shapley_mean, digits),
        signed(player.shapley_covariance, digits),
    )


def _name(text: str) -> str:
    return clip(printable(text), NAME_COLUMNS)


def _pad(text: str, width: int, *, left: bool) -> str:
    space = " " * (width - columns(text))
    return text + space if left else space + text
