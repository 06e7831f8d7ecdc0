"""A coalition as the page shows it: images, nearest references, distances, and the steps to its neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from ...planning.video import chosen_frames
from ..report import Report
from ..schema import CoalitionResult
from ..text import clips_of, coalition_title, distance_of, image_title
from .chart import meter
from .lattice import Move, moves, shown, telling
from .likeness import Likeness
from .pictures import Thumbnail
from .side_by_side import compared
from .sides import Album, Beside, alike, beside

IMAGES_PER_COALITION = 4
CLIPS_PER_COALITION = 2
FRAMES_PER_CLIP = 8
IMAGES_IN_ALL = 400
COALITIONS_SHOWN = 64
"""Caps on what is embedded; the JSON report names everything."""


class Strip(NamedTuple):
    """Frames of one clip, evenly spaced among those that were measured."""

    seed: int | None
    frames: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class Card:
    """A coalition and what is shown of it.

    Attributes:
        thumbnails: a few of its images; empty where they are frames.
        strips: a few of its clips.
        more: how many images, or clips, it has beside those.
        pairs: some of its images beside their nearest references.
        likeness: how alike they are by simple measures.
    """

    coalition: CoalitionResult
    title: str
    full_title: str
    thumbnails: tuple[Thumbnail, ...]
    strips: tuple[Strip, ...]
    more: int
    pairs: list[Beside]
    likeness: Likeness | None
    bar: Markup
    nearest: bool
    moves: tuple[Move, ...]


def make_cards(report: Report, album: Album) -> list[Card]:
    """A card for each coalition that is shown; full ones, single ones and removals beside their nearest references."""
    names = [player.name for player in report.players]
    chosen = shown(report)
    pictured = {item.mask for item in telling(report.coalitions, len(names), COALITIONS_SHOWN)}
    paired = {item.mask for item in compared(report)}
    each = max(1, min(IMAGES_PER_COALITION, IMAGES_IN_ALL // len(pictured)))
    farthest = max(_shown(report, coalition) for coalition in report.coalitions)
    nearest = max(coalition.value for coalition in report.coalitions)
    by_mask = {coalition.mask: coalition for coalition in chosen}
    cards = []
    for coalition in chosen:
        title = coalition_title(coalition, names)
        strips: tuple[Strip, ...] = ()
        count = min(each, album.count(coalition.mask)) if coalition.mask in pictured else 0
        if report.clips is not None:
            strips, count = _strips(coalition, title, album, IMAGES_IN_ALL // len(pictured)) if count else (), 0
        cards.append(
            Card(
                coalition=coalition,
                title=title,
                full_title=" + ".join(coalition.members),
                thumbnails=tuple(
                    album.generated(coalition.mask, place, f"{title}, {image_title(coalition, place)}")
                    for place in range(count)
                ),
                strips=strips,
                more=max(0, clips_of(coalition) - len(strips) if report.clips else coalition.images - count),
                pairs=beside(report, coalition, title, album) if coalition.mask in paired else [],
                likeness=alike(coalition, album) if coalition.mask in paired else None,
                bar=meter(_shown(report, coalition), farthest),
                nearest=coalition.value == nearest,
                moves=tuple(moves(report, coalition, by_mask)),
            )
        )
    return cards


def without_first(report: Report) -> int | None:
    """The coalition of all but the component, or group, that comes first; None: nothing comes first."""
    first, full = report.verdict.first, (1 << len(report.players)) - 1
    gone = sum(1 << bit for bit, player in enumerate(report.players) if first in (player.name, player.group))
    return full ^ gone if first is not None and gone else None


def _strips(coalition: CoalitionResult, title: str, album: Album, most: int) -> tuple[Strip, ...]:
    """The first clips of a coalition, with at most so many frames together, but at least one."""
    clips: dict[int | None, list[int]] = {}
    for place, image in enumerate(coalition.image_files[: album.count(coalition.mask)]):
        clips.setdefault(image.seed, []).append(place)
    frames = max(1, min(FRAMES_PER_CLIP, most))
    return tuple(
        Strip(
            seed,
            tuple(
                album.generated(coalition.mask, place, f"{title}, {image_title(coalition, place)}")
                for place in (places[index] for index in chosen_frames(len(places), frames))
            ),
        )
        for seed, places in list(clips.items())[: max(1, min(CLIPS_PER_COALITION, most // frames))]
    )


def _shown(report: Report, coalition: CoalitionResult) -> float:
    """What the bar of a coalition is as long as; FID where the distance in use is not defined."""
    value = distance_of(report, coalition)
    return coalition.fid if value is None else value
