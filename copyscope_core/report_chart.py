"""Charts of the report as SVG: bars of the players' Shapley values, and a small meter for a coalition's FID.

Colours and fonts come from the page's style sheet, by class; every text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from .distances import DISTANCES, DistanceInfo
from .report_schema import PlayerResult
from .report_text import clip, interval_text, percent, signed

WIDTH = 760
LABEL = 240
VALUE = 128
ROW = 40
BAR = 20
TOP = 10
AXIS = 44
REACH = 2.0
"""A whisker is cut off where it reaches further beyond the bars than so many times their span; its ends are in text."""


def chart(players: Sequence[PlayerResult], info: DistanceInfo = DISTANCES["fid"]) -> Markup:
    """Horizontal signed bars of φ with their intervals as whiskers, in the order given; right: towards the reference.

    Args:
        players: one bar each.
        info: name and unit of the distance in use.
    """
    whiskers = [player.shapley_interval for player in players]
    bars = [0.0, *(player.shapley for player in players)]
    reach = REACH * (max(bars) - min(bars))
    numbers = [
        *bars,
        *(_within(end, min(bars) - reach, max(bars) + reach) for pair in whiskers if pair for end in pair),
    ]
    ticks = nice_ticks(min(numbers), max(numbers))
    low, high = min(ticks[0], *numbers), max(ticks[-1], *numbers)
    left, right = LABEL + 12, WIDTH - VALUE - 12

    def x(value: float) -> float:
        return round(left + (_within(value, low, high) - low) / (high - low) * (right - left), 2)

    bottom = TOP + ROW * len(players)
    parts = [_open(players, bottom + AXIS, info)]
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
            (left + right) / 2, bottom + 36, f"← away   ·   {info.unit}   ·   towards the reference →"
        )
    )
    for row, player in enumerate(players):
        parts.append(_bar(player, TOP + ROW * row, x, info))
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


def _open(players: Sequence[PlayerResult], height: int, info: DistanceInfo) -> Markup:
    told = "; ".join(f"{player.name} {signed(player.shapley, info.digits)}{_ends(player, info)}" for player in players)
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-labelledby="chart-title chart-text" '
        'xmlns="http://www.w3.org/2000/svg">\n'
        '<title id="chart-title">Contribution of each component</title>\n'
        '<desc id="chart-text">Shapley values in {}, positive: towards the reference. {}</desc>'
    ).format(WIDTH, height, info.unit, told)


def _bar(player: PlayerResult, top: float, x: Callable[[float], float], info: DistanceInfo) -> Markup:
    zero, end, pair = x(0.0), x(player.shapley), player.shapley_interval
    middle = top + ROW / 2
    kind = "toward" if player.shapley > 0 else "away"
    value = "no effect" if player.no_effect else signed(player.shapley, info.digits)
    share = "" if player.share is None or player.no_effect else percent(player.share, 0)
    parts = [
        Markup("<g><title>{}: {} {}{}{}</title>").format(
            player.name, value, info.unit, _ends(player, info), f", share {share}" if share else ""
        ),
        Markup('<text class="name" x="{}" y="{}" text-anchor="end">{}</text>').format(
            LABEL, middle - 1, clip(player.name, 26)
        ),
        Markup('<text class="kind" x="{}" y="{}" text-anchor="end">{}</text>').format(
            LABEL, middle + 13, clip(player.kind, 32)
        ),
        Markup('<rect class="bar {}" x="{}" y="{}" width="{}" height="{}" rx="2"/>').format(
            kind, min(zero, end), middle - BAR / 2, max(1.0 if player.shapley else 0.0, round(abs(end - zero), 2)), BAR
        ),
    ]
    above = pair is not None and not player.no_effect
    if pair is not None and above:
        low, high = x(pair[0]), x(pair[1])
        parts += [_line(low, middle, high, middle, kind) for kind in ("halo", "whisker")]
        parts += [_line(end_, middle - 5, end_, middle + 5, "whisker") for end_ in (low, high)]
    parts.append(
        Markup('<text class="value" x="{}" y="{}">{}<tspan class="share" dx="8">{}</tspan></text>').format(
            WIDTH - VALUE, middle - 1 if above else middle + 5, value, share
        )
    )
    if pair is not None and above:
        parts.append(
            Markup('<text class="ends" x="{}" y="{}">{}</text>').format(
                WIDTH - VALUE, middle + 14, interval_text(pair, info.digits)
            )
        )
    parts.append(Markup("</g>"))
    return Markup("").join(parts)


def _ends(player: PlayerResult, info: DistanceInfo) -> str:
    pair = player.shapley_interval
    return "" if pair is None else f" (95% interval {interval_text(pair, info.digits)})"


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, x1, y1, x2, y2)
