"""Charts of the report as SVG: bars of the players' Shapley values, and a small meter for a coalition's FID.

Colours and fonts come from the page's style sheet, by class; every text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from .report_schema import PlayerResult
from .report_text import clip, percent, signed

WIDTH = 760
LABEL = 240
VALUE = 128
ROW = 40
BAR = 20
TOP = 10
AXIS = 44


def chart(players: Sequence[PlayerResult], intervals: Sequence[tuple[float, float] | None] | None = None) -> Markup:
    """Horizontal signed bars of φ, in the order given; right of zero: towards the reference.

    Args:
        players: one bar each.
        intervals: a low and high end for each player, drawn as whiskers, or None.
    """
    whiskers = list(intervals) if intervals is not None else [None] * len(players)
    numbers = [0.0, *(p.shapley for p in players), *(end for pair in whiskers if pair for end in pair)]
    ticks = nice_ticks(min(numbers), max(numbers))
    low, high = min(ticks[0], *numbers), max(ticks[-1], *numbers)
    left, right = LABEL + 12, WIDTH - VALUE - 12

    def x(value: float) -> float:
        return round(left + (value - low) / (high - low) * (right - left), 2)

    bottom = TOP + ROW * len(players)
    parts = [_open(players, bottom + AXIS)]
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
            (left + right) / 2, bottom + 36, "← away   ·   FID points   ·   towards the reference →"
        )
    )
    for row, (player, pair) in enumerate(zip(players, whiskers, strict=True)):
        parts.append(_bar(player, pair, TOP + ROW * row, x))
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


def _open(players: Sequence[PlayerResult], height: int) -> Markup:
    told = "; ".join(f"{player.name} {signed(player.shapley, 1)}" for player in players)
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-labelledby="chart-title chart-text" '
        'xmlns="http://www.w3.org/2000/svg">\n'
        '<title id="chart-title">Contribution of each component</title>\n'
        '<desc id="chart-text">Shapley values in FID points, positive: towards the reference. {}</desc>'
    ).format(WIDTH, height, told)


def _bar(player: PlayerResult, pair: tuple[float, float] | None, top: float, x: Callable[[float], float]) -> Markup:
    zero, end = x(0.0), x(player.shapley)
    middle = top + ROW / 2
    kind = "toward" if player.shapley > 0 else "away"
    value = "no effect" if player.no_effect else signed(player.shapley, 1)
    share = "" if player.share is None or player.no_effect else percent(player.share, 0)
    parts = [
        Markup("<g><title>{}: {} FID points{}</title>").format(player.name, value, f", share {share}" if share else ""),
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
    if pair is not None:
        low, high = x(pair[0]), x(pair[1])
        parts.append(_line(low, middle, high, middle, "whisker"))
        parts += [_line(end_, middle - 5, end_, middle + 5, "whisker") for end_ in (low, high)]
    parts.append(
        Markup('<text class="value" x="{}" y="{}">{}<tspan class="share" dx="8">{}</tspan></text></g>').format(
            WIDTH - VALUE, middle + 5, value, share
        )
    )
    return Markup("").join(parts)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, x1, y1, x2, y2)
