"""The heat map of the report: what each pair of components does together beyond what the two do apart.

Colours and fonts come from the page's style sheet, by class; every text is escaped.
"""

from __future__ import annotations

from markupsafe import Markup

from ...distances.registry import DISTANCES
from ..report import Report
from ..schema import Interaction
from ..text import columns, interval_text, shorten, signed

CELL = 96
ROW = 46
LABEL = 220
HEAD = 46
NAME_COLUMNS = 24
COLUMN_NAME = 12
"""Letters in each of the two lines of a column's name."""

FEWEST_PLAYERS = 2


def heat_map(report: Report) -> Markup | None:
    """Cells below the diagonal, the players in the order of their φ; None where there are no pairs to show."""
    pairs = {frozenset(item.members): item for item in report.interactions if len(item.members) == 2}
    names = [player.name for player in report.ranked()]
    if len(names) < FEWEST_PLAYERS or not pairs:
        return None
    largest = max(abs(item.sii) for item in pairs.values())
    across = names[:-1]
    width, height = LABEL + CELL * len(across) + 8, HEAD + ROW * (len(names) - 1) + 4
    parts = [
        Markup(
            '<svg class="heat" viewBox="0 0 {} {}" width="{}" role="img" aria-labelledby="heat-title heat-text" '
            'xmlns="http://www.w3.org/2000/svg">\n<title id="heat-title">Interactions of pairs</title>\n'
            '<desc id="heat-text">{}</desc>'
        ).format(width, height, width, "; ".join(_told(item, report) for item in pairs.values()))
    ]
    for place, name in enumerate(across):
        parts += [
            Markup('<text class="name" x="{}" y="{}" text-anchor="middle">{}<title>{}</title></text>').format(
                LABEL + CELL * (place + 0.5), HEAD - 10 - 16 * above, line, name
            )
            for above, line in enumerate(reversed(_two_lines(name)))
        ]
    for row, name in enumerate(names[1:]):
        top = HEAD + ROW * row
        parts.append(
            Markup('<text class="name" x="{}" y="{}" text-anchor="end">{}<title>{}</title></text>').format(
                LABEL - 10, top + ROW / 2 + 5, shorten(name, NAME_COLUMNS), name
            )
        )
        parts += [
            _cell(pairs[frozenset((other, name))], LABEL + CELL * place, top, largest, report)
            for place, other in enumerate(names[: row + 1])
        ]
    parts.append(Markup("</svg>"))
    return Markup("\n").join(parts)


def _two_lines(name: str) -> list[str]:
    """A name over one or two lines, broken after a hyphen, underscore or blank where there is one."""
    if columns(name) <= COLUMN_NAME:
        return [name]
    cut = max((place for place in range(2, COLUMN_NAME + 1) if name[place - 1] in "-_ "), default=COLUMN_NAME)
    return [shorten(name[:cut], COLUMN_NAME), shorten(name[cut:], COLUMN_NAME)]


def strongest(report: Report, size: int, count: int) -> list[Interaction]:
    """The sets of ``size`` players with the largest n-Shapley values, either sign."""
    found = [item for item in report.interactions if len(item.members) == size and item.n_sii != 0]
    return sorted(found, key=lambda item: -abs(item.n_sii))[:count]


def unsure(item: Interaction) -> bool:
    """Whether the sign of an interaction may be chance."""
    return item.sii != 0 and item.sii_interval is not None and item.sii_interval[0] <= 0 <= item.sii_interval[1]


def _cell(item: Interaction, left: float, top: float, largest: float, report: Report) -> Markup:
    strength = abs(item.sii) / largest if largest > 0 else 0.0
    chance = unsure(item)
    return Markup(
        '<g><title>{}</title><rect class="cell {}" x="{}" y="{}" width="{}" height="{}" rx="3" fill-opacity="{}"/>'
        '<text class="number{}" x="{}" y="{}" text-anchor="middle">{}</text></g>'
    ).format(
        _told(item, report),
        "toward" if item.sii > 0 else "away",
        left + 1.5,
        top + 1.5,
        CELL - 3,
        ROW - 3,
        round((0.05 + 0.15 * strength) if chance else (0.15 + 0.5 * strength), 3) if item.sii else 0,
        " unsure" if chance else "" if item.sii else " idle",
        left + CELL / 2,
        top + ROW / 2 + 5,
        signed(item.sii, DISTANCES[report.distance].digits),
    )


def _told(item: Interaction, report: Report) -> str:
    """A cell as a sentence, for hovering and for those who do not see it."""
    info = DISTANCES[report.distance]
    one, other = (f"“{shorten(name, NAME_COLUMNS)}”" for name in item.members)
    amount = signed(item.sii, info.digits)
    ends = (
        ""
        if item.sii_interval is None
        else f", {report.verdict.interval_name} {interval_text(item.sii_interval, info.digits)}"
    )
    if item.sii == 0:
        return f"{one} and {other}: no interaction"
    chance = " (may be chance)" if unsure(item) else ""
    effect = "more together than apart" if item.sii > 0 else "less together than apart"
    return f"{one} and {other}: {amount} {info.unit}{ends}, {effect}{chance}"
