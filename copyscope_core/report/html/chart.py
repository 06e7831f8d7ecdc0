"""Charts of the report as SVG: bars of what players are ranked by, and a small meter for a coalition's FID.

Colours and fonts come from the page's style sheet, by class; every text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from ...distances.registry import DISTANCES, DistanceInfo
from ..schema import ReportData
from ..text import clip, kind_words, percent, shorten, towards, towards_interval

BAR = 20
TOP = 10
AXIS = 44
REACH = 2.0
"""A whisker is cut off where it reaches further beyond the bars than so many times their span; its ends are in text."""


class Spot(NamedTuple):
    """Where a text stands: x, y below the top of its row, and which of its ends is there."""

    x: int
    y: int
    anchor: str


class Layout(NamedTuple):
    """Sizes of a chart, in pixels where it is not scaled.

    Attributes:
        left, right: ends of the axis.
        row: height of a player's row; ``middle``: of its bar, below the row's top.
        letters: of a name at most.
        ticks: about so many.
    """

    width: int
    left: int
    right: int
    row: int
    middle: int
    letters: int
    ticks: int
    name: Spot
    kind: Spot
    value: Spot
    ends: Spot


WIDE = Layout(
    760, 232, 566, 40, 20, 26, 5,
    name=Spot(220, 19, "end"), kind=Spot(220, 33, "end"), value=Spot(578, 19, "start"), ends=Spot(578, 34, "start"),
)  # fmt: skip
"""Names and numbers beside the bars."""

NARROW = Layout(
    340, 18, 322, 68, 33, 22, 4,
    name=Spot(0, 15, "start"), kind=Spot(0, 57, "start"), value=Spot(340, 15, "end"), ends=Spot(340, 57, "end"),
)  # fmt: skip
"""Names and numbers above and below the bars, for a phone."""


class Entry(NamedTuple):
    """A bar of the chart.

    Attributes:
        value: φ, or the contrast; ``interval``: its interval, or None; ``interval_name``: what that is called.
        share: of all change; None: not shown.
        idle: the player changes no pixel.
    """

    name: str
    kind: str
    value: float
    interval: Sequence[float] | None
    share: float | None
    idle: bool
    interval_name: str = "95% interval"


def entries(report: ReportData) -> list[Entry]:
    """A bar for each player, in the order of the verdict's basis."""
    shares = report.verdict.basis == "shapley"
    return [
        Entry(
            player.name,
            player.kind,
            *report.worth(player),
            player.share if shares else None,
            bool(player.no_effect),
            report.verdict.interval_name,
        )
        for player in report.ranked()
    ]


def axis_ends(report: ReportData) -> tuple[str, str]:
    """What a bar to the left and one to the right mean on the verdict's basis."""
    if report.verdict.basis == "contrast":
        return "nearer the control", "nearer the reference"
    return "farther", "nearer to the reference"


def chart(
    players: Sequence[Entry],
    info: DistanceInfo = DISTANCES["fid"],
    layout: Layout = WIDE,
    name: str = "wide",
    ends: tuple[str, str] = ("farther", "nearer to the reference"),
) -> Markup:
    """Horizontal signed bars with their intervals as whiskers, in the order given; right: towards the reference.

    Args:
        players: one bar each.
        info: name and unit of the distance in use.
        name: its class, and the beginning of its ids; a page needs another one for every chart.
        ends: what the two ends of the axis mean (:func:`axis_ends`).
    """
    whiskers = [player.interval for player in players]
    bars = [0.0, *(player.value for player in players)]
    reach = REACH * (max(bars) - min(bars))
    numbers = [
        *bars,
        *(_within(end, min(bars) - reach, max(bars) + reach) for pair in whiskers if pair for end in pair),
    ]
    ticks = nice_ticks(min(numbers), max(numbers), layout.ticks)
    low, high = min(ticks[0], *numbers), max(ticks[-1], *numbers)
    left, right = layout.left, layout.right

    def x(value: float) -> float:
        return round(left + (_within(value, low, high) - low) / (high - low) * (right - left), 2)

    bottom = TOP + layout.row * len(players)
    parts = [_open(players, layout.width, bottom + AXIS, info, name)]
    for tick in ticks:
        kind = "zero" if tick == 0 else "grid"
        parts.append(_line(x(tick), TOP, x(tick), bottom, kind))
        parts.append(
            Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>').format(
                x(tick), bottom + 16, f"{tick:g}".replace("-", "−")
            )
        )
    parts.append(
        Markup('<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            (left + right) / 2, bottom + 36, f"← {ends[0]}   ·   {info.unit}   ·   {ends[1]} →"
        )
    )
    for row, player in enumerate(players):
        parts.append(_bar(player, TOP + layout.row * row, x, info, layout))
    parts.append(Markup("</svg>"))
    return Markup("\n").join(parts)


def meter(value: float, largest: float) -> Markup:
    """A thin bar as long as value/largest, for comparing coalitions at a glance."""
    length = 0.0 if largest <= 0 else max(0.0, min(1.0, value / largest)) * 100
    return Markup(
        '<svg class="meter" viewBox="0 0 100 3" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="rail" width="100" height="3"/><rect class="level" width="{}" height="3"/></svg>'
    ).format(round(length, 2))


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (steps of 1, 2 or 5) that cover low … high and contain 0; low ≤ 0 ≤ high."""
    span = high - low
    if span <= 0:
        return [0.0, 1.0]
    raw = span / about
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * scale for factor in (1, 2, 5, 10) if factor * scale >= raw * (1 - 1e-9))
    return [round(k * step, 12) for k in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)]


def _open(players: Sequence[Entry], width: int, height: int, info: DistanceInfo, name: str) -> Markup:
    figures = "; ".join(
        f"{player.name} {towards(player.value, info.digits)}{_ends(player, info)}" for player in players
    )
    return Markup(
        '<svg class="chart {name}" viewBox="0 0 {width} {height}" role="img" '
        'aria-labelledby="{name}-title {name}-text" xmlns="http://www.w3.org/2000/svg">\n'
        '<title id="{name}-title">Contribution of each component</title>\n'
        '<desc id="{name}-text">In {unit}, nearer to the reference or farther from it. {figures}</desc>'
    ).format(name=name, width=width, height=height, unit=info.unit, figures=figures)


def _bar(player: Entry, top: float, x: Callable[[float], float], info: DistanceInfo, layout: Layout) -> Markup:
    zero, end, pair = x(0.0), x(player.value), player.interval
    middle = top + layout.middle
    kind = "toward" if player.value > 0 else "away"
    value = "no effect" if player.idle else towards(player.value, info.digits)
    share = "" if player.share is None or player.idle else percent(abs(player.share), 0).lstrip("+")
    parts = [
        Markup("<g><title>{}: {} {}{}{}</title>").format(
            player.name, value, info.unit, _ends(player, info), f", share {share}" if share else ""
        ),
        _text("name", layout.name, top, shorten(player.name, layout.letters)),
        _text("kind", layout.kind, top, clip(kind_words(player.kind), 32)),
        Markup('<rect class="bar {}" x="{}" y="{}" width="{}" height="{}" rx="2"/>').format(
            kind, min(zero, end), middle - BAR / 2, max(1.0 if player.value else 0.0, round(abs(end - zero), 2)), BAR
        ),
    ]
    label = Markup('{}<tspan class="share" dx="8">{}</tspan>').format(value, share)
    if pair is None or player.idle:
        parts.append(_text("value", layout.value, top, label))
    else:
        low, high = x(pair[0]), x(pair[1])
        parts += [_line(low, middle, high, middle, kind) for kind in ("halo", "whisker")]
        parts += [_line(end_, middle - 5, end_, middle + 5, "whisker") for end_ in (low, high)]
        parts.append(_text("value", layout.value, top, label))
        parts.append(_text("ends", layout.ends, top, towards_interval(pair, info.digits)))
    parts.append(Markup("</g>"))
    return Markup("").join(parts)


def _text(kind: str, spot: Spot, top: float, text: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        kind, spot.x, top + spot.y, spot.anchor, text
    )


def _ends(player: Entry, info: DistanceInfo) -> str:
    pair = player.interval
    return "" if pair is None else f" ({player.interval_name} {towards_interval(pair, info.digits)})"


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, x1, y1, x2, y2)
