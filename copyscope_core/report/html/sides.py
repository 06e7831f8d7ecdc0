"""The HTML report's pictures: each coalition beside its nearest references, and what each removal changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup
from PIL import Image

from ..report import Report
from ..schema import CoalitionResult
from ..text import image_title, shorten
from .likeness import Likeness, mean_likeness
from .pictures import THUMBNAIL, Picture, Thumbnail, close_up, decode, difference, embed, outlines, palette, thumbnail
from .side_by_side import Pair, pairs, removals

PALETTE_IMAGES = 8
NAME_COLUMNS = 30


class Album:
    """The images of a report; a reference is encoded once, however often it is shown.

    Args:
        images: mask → the coalition's images.
        references: the rights holder's images; empty: they are not to be shown.
        shape: width and height that the references were measured in: that part of them is shown; None: unknown.
    """

    def __init__(
        self,
        images: Mapping[int, Sequence[Picture]],
        references: Sequence[Picture],
        shape: tuple[int, int] | None = None,
    ) -> None:
        self._images = images
        self._references = references
        self._shape = shape
        self._shown: dict[int, Thumbnail] = {}
        self._small: dict[int, Image.Image | None] = {}

    def count(self, mask: int) -> int:
        """How many images a coalition has here."""
        return len(self._images.get(mask, ()))

    def generated(self, mask: int, place: int, alt: str) -> Thumbnail:
        return thumbnail(self._images[mask][place], alt)

    def decoded(self, mask: int, place: int, side: int | None = None) -> Image.Image | None:
        """A coalition's image; None where there is none that can be read."""
        return decode(self._images[mask][place], side) if place < self.count(mask) else None

    def decoded_reference(self, place: int) -> Image.Image | None:
        """A reference image, small; None where it is not to be shown or cannot be read."""
        if not 0 <= place < len(self._references):
            return None
        if place not in self._small:
            self._small[place] = decode(self._references[place], THUMBNAIL, self._shape)
        return self._small[place]

    def reference(self, place: int) -> Thumbnail | None:
        """A reference image; None where it is not to be shown."""
        if not 0 <= place < len(self._references):
            return None
        if place not in self._shown:
            self._shown[place] = thumbnail(self._references[place], f"Reference image {place + 1}", self._shape)
        return self._shown[place]

    def fitted_reference(self, size: tuple[int, int]) -> Image.Image | None:
        """The first reference image, cropped and scaled to a size; None where it is not to be shown."""
        return decode(self._references[0], shape=size) if self._references else None

    def references(self) -> list[Image.Image]:
        """A few reference images, small."""
        found = (self.decoded_reference(place) for place in range(min(PALETTE_IMAGES, len(self._references))))
        return [image for image in found if image is not None]


class Beside(NamedTuple):
    """A pair with its pictures; ``name`` is the reference's."""

    pair: Pair
    image: Thumbnail
    reference: Thumbnail | None
    name: str


@dataclass(frozen=True)
class Change:
    """What is seen when a player is taken away, at one and the same seed.

    Attributes:
        difference: where pixels differ from the full workflow's; None for that itself.
        close_up: its middle in full size; None for small images.
        mean, changed: mean difference of a channel, and the part of pixels that differ at all, 0…1.
        colours: of all the coalition's images.
    """

    title: str
    image: Thumbnail | None
    difference: Thumbnail | None
    outlines: Thumbnail | None
    close_up: Thumbnail | None
    mean: float | None
    changed: float | None
    colours: Markup | None


def beside(report: Report, coalition: CoalitionResult, title: str, album: Album) -> list[Beside]:
    """Some of a coalition's images, each beside its nearest reference; none where there are no pictures."""
    return [
        Beside(
            pair,
            album.generated(coalition.mask, pair.image, f"{title}, {image_title(coalition, pair.image)}"),
            album.reference(pair.reference),
            _reference_name(report, pair.reference),
        )
        for pair in pairs(coalition)
        if pair.image < album.count(coalition.mask)
    ]


def changes(report: Report, album: Album) -> list[Change]:
    """The references, the full workflow and each single removal; empty where the full workflow has no picture."""
    mask = (1 << len(report.players)) - 1
    full = album.decoded(mask, 0)
    if full is None:
        return []
    title = "All components"
    rows = [
        Change(
            title,
            embed(full, title),
            None,
            _outlines(full, title),
            _close_up(full, title),
            None,
            None,
            _colours(album, mask),
        )
    ]
    first, references = album.fitted_reference(full.size), album.references()
    if first is not None and references:
        rows.insert(
            0,
            Change(
                "Reference",
                album.reference(0),
                None,
                _outlines(references[0], "Reference"),
                _close_up(first, "Reference"),
                None,
                None,
                palette(references),
            ),
        )
    for bit, coalition in removals(report):
        image = album.decoded(coalition.mask, 0)
        if image is None or image.size != full.size:
            continue
        title = f"Without {shorten(report.players[bit].name, NAME_COLUMNS)}"
        apart, mean, changed = difference(full, image)
        rows.append(
            Change(
                title,
                embed(image, title),
                embed(apart, f"{title}: where pixels differ"),
                _outlines(image, title),
                _close_up(image, title),
                mean,
                changed,
                _colours(album, coalition.mask),
            )
        )
    return rows


def alike(coalition: CoalitionResult, album: Album) -> Likeness | None:
    """A coalition's first images and their nearest references by simple measures; None where there are no pictures."""
    both = [
        (album.decoded(coalition.mask, place, THUMBNAIL), album.decoded_reference(image.nearest))
        for place, image in enumerate(coalition.image_files[:PALETTE_IMAGES])
        if image.nearest is not None
    ]
    return mean_likeness([(one, other) for one, other in both if one is not None and other is not None])


def _outlines(image: Image.Image, title: str) -> Thumbnail:
    return embed(outlines(image), f"{title}: outlines")


def _close_up(image: Image.Image, title: str) -> Thumbnail | None:
    middle = close_up(image)
    return None if middle is None else embed(middle, f"{title}: close-up")


def _colours(album: Album, mask: int) -> Markup | None:
    small = (album.decoded(mask, place, THUMBNAIL) for place in range(min(PALETTE_IMAGES, album.count(mask))))
    return palette([image for image in small if image is not None])


def _reference_name(report: Report, place: int) -> str:
    known = report.reference.images
    return known[place].file if place < len(known) else f"reference image {place + 1}"
