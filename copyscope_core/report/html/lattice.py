"""The lattice of coalitions in the HTML report: tiles by how many players are present, and the steps between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...distances.registry import DISTANCES
from ..report import Report
from ..schema import CoalitionResult
from ..text import distance_of, number, shorten, signed, towards

SHADES = 8
TILES = 256
"""Most coalitions drawn; the JSON report has all."""

DOTS = 12
NAME_COLUMNS = 30


class Tile(NamedTuple):
    """A coalition in the lattice.

    Attributes:
        shade: 0 (farthest from the reference) … `SHADES` − 1 (nearest).
        dots: for each player whether it is present; empty for more than `DOTS`.
        number: the distance in use.
        sentence: the tile as a sentence.
    """

    mask: int
    shade: int
    dots: tuple[bool, ...]
    number: str
    sentence: str


class Move(NamedTuple):
    """One player added to a coalition or taken away, and how the value changes."""

    mask: int
    what: str
    change: str


def shown(report: Report) -> list[CoalitionResult]:
    """At most `TILES` coalitions: none, all, singles and single removals first, then the nearest to the reference."""
    return telling(report.coalitions, len(report.players), TILES)


def telling(coalitions: Sequence[CoalitionResult], players: int, most: int) -> list[CoalitionResult]:
    """At most so many coalitions, by size: none, all, singles, single removals, then the nearest to the reference."""
    ordered = sorted(coalitions, key=lambda item: (len(item.members), item.mask))
    if len(ordered) <= most:
        return ordered
    first = [item for item in ordered if len(item.members) in (0, 1, players - 1, players)]
    known = {item.mask for item in first}
    rest = sorted((item for item in ordered if item.mask not in known), key=lambda item: -item.value)
    keep = {item.mask for item in [*first, *rest][:most]}
    return [item for item in ordered if item.mask in keep]


def lattice(report: Report) -> list[list[Tile]]:
    """Rows of tiles, the full coalition on top; in a row by falling value."""
    coalitions = shown(report)
    values = [item.value for item in coalitions]
    low, span = min(values), (max(values) - min(values)) or 1.0
    rows: dict[int, list[CoalitionResult]] = {}
    for item in coalitions:
        rows.setdefault(len(item.members), []).append(item)
    return [
        [
            _tile(report, item, (item.value - low) / span)
            for item in sorted(rows[size], key=lambda item: (-item.value, item.mask))
        ]
        for size in sorted(rows, reverse=True)
    ]


def moves(report: Report, coalition: CoalitionResult, by_mask: Mapping[int, CoalitionResult]) -> list[Move]:
    """What each player does at this coalition: added where it is absent, taken away where it is present."""
    digits = DISTANCES[report.distance].digits
    found = []
    for bit, player in enumerate(report.players):
        other = by_mask.get(coalition.mask ^ 1 << bit)
        if other is not None:
            word = "without" if coalition.mask >> bit & 1 else "with"
            change = towards(other.value - coalition.value, digits)
            found.append(Move(other.mask, f"{word} {shorten(player.name, NAME_COLUMNS)}", change))
    return found


def _tile(report: Report, coalition: CoalitionResult, nearness: float) -> Tile:
    info = DISTANCES[report.distance]
    value = distance_of(report, coalition)
    players = len(report.players)
    text = signed(coalition.value, info.digits) if value is None else number(value, info.digits)
    return Tile(
        coalition.mask,
        min(SHADES - 1, int(nearness * SHADES)),
        tuple(bool(coalition.mask >> bit & 1) for bit in range(players)) if players <= DOTS else (),
        text,
        f"{' + '.join(coalition.members) or 'None of the components'}: "
        f"{info.label if value is not None else 'gain'} {text}"
        + (f", {towards(coalition.value, info.digits)} than with none" if coalition.members else ""),
    )
