"""The report's numbers and names as text, and the whole report as a plain-text table."""

from __future__ import annotations

import unicodedata

from .report_schema import Report

NAME_COLUMNS = 40


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
    return "".join("�" if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") else char for char in text)


def whole(report: Report) -> str:
    """What all players do together, as a sentence."""
    before, after = number(report.coalitions[0].fid, 1), number(report.coalitions[-1].fid, 1)
    if len(report.players) == 1:
        return f"The FID is {before} without it and {after} with it."
    return f"All components together take the FID from {before} to {after}."


def summary_text(report: Report) -> str:
    """The report as plain text, for a terminal or a node's body."""
    rows = [("component", "kind", "φ (FID)", "share", "leave-one-out", "mean part", "spread part")]
    rows += [
        (
            _name(player.name),
            _name(player.kind),
            "no effect" if player.no_effect else signed(player.shapley),
            percent(player.share),
            signed(player.leave_one_out),
            signed(player.shapley_mean),
            signed(player.shapley_covariance),
        )
        for player in report.ranked()
    ]
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    table = [
        "  ".join(_pad(text, width, left=k < 2) for k, (text, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    lines = [printable(report.headline), whole(report), "", *(line.rstrip() for line in table), ""]
    lines += [f"Locked, not measured: {_name(item.name)} ({_name(item.kind)})" for item in report.locked]
    lines += [f"Warning: {printable(item.message)}" for item in report.warnings]
    lines.append(f"{report.statement[0].upper()}{report.statement[1:]}.")
    return "\n".join(lines)


def _name(text: str) -> str:
    return clip(printable(text), NAME_COLUMNS)


def _pad(text: str, width: int, *, left: bool) -> str:
    space = " " * (width - columns(text))
    return text + space if left else space + text
