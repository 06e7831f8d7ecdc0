"""The report as one HTML file: no requests, images embedded as small JPEGs, and one script of our own.

Everything that comes from a workflow (names, prompts, file names) is escaped by Jinja's autoescape; a content
security policy forbids whatever might still slip through. Without scripts the page says the same.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...distances.registry import DISTANCES
from ...files.atomic import write_bytes_atomic
from ..report import Report
from ..schema import CoalitionResult, ReportWarning
from ..terms import terms_for
from ..text import (
    coalition_title,
    distance_of,
    interval_text,
    not_told_apart,
    number,
    percent,
    percent_interval,
    probability,
    signed,
    whole,
)
from .chart import NARROW, chart, meter
from .heat import heat_map, strongest, unsure
from .lattice import Move, lattice, moves, shown, telling
from .pictures import Picture, Thumbnail
from .sides import Album, alike, changes, sides

TEMPLATES = Path(__file__).parent / "templates"

IMAGES_PER_COALITION = 4
REFERENCE_IMAGES = 12
IMAGES_IN_ALL = 400
COALITIONS_SHOWN = 64
HASH_ROWS = 4096
TRIPLES = 12
PAIRS_NAMED = 6
"""Caps on what is embedded; the JSON report names everything."""

NOTES = ("note", "plan", "conversion", "input_image")
"""Warnings that tell what was done rather than how to read the result."""

GRAVEST = ("canary_mismatch", "input_matches_reference", "non_deterministic", "defective_images")
"""Warnings that may overturn the result; they come first."""


@dataclass(frozen=True)
class Card:
    """A coalition as the grid shows it."""

    coalition: CoalitionResult
    title: str
    full_title: str
    thumbnails: tuple[Thumbnail, ...]
    more: int
    bar: Markup
    nearest: bool
    moves: tuple[Move, ...]


def render_html(
    report: Report,
    images: Mapping[int, Sequence[Picture]] | None = None,
    reference_images: Sequence[Picture] = (),
) -> str:
    """The whole report as HTML text.

    Args:
        report: what to show.
        images: mask → images of that coalition, of which the first few are embedded as thumbnails. An image that
            cannot be read is shown as missing.
        reference_images: the rights holder's images; leave out to keep them private.
    """
    info = DISTANCES[report.distance]
    album = Album(images or {}, reference_images)
    cards = _cards(report, album)
    by_mask = {card.coalition.mask: card for card in cards}
    serious, notes = _divided(report.warnings)
    return (
        page_environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            whole=whole(report),
            script=Markup(_read("report.js")),  # noqa: S704 - our own file
            script_hash=_policy_hash(_read("report.js")),
            **page_style(),
            serious=serious,
            notes=notes,
            chart=chart(report.ranked(), info),
            narrow_chart=chart(report.ranked(), info, NARROW, "narrow"),
            lattice=lattice(report),
            sides=sides(report, album),
            changes=changes(report, album),
            alike=alike(report, album),
            heat=heat_map(report),
            triples=strongest(report, 3, TRIPLES),
            unsure=unsure,
            apart=not_told_apart(report),
            apart_named=PAIRS_NAMED,
            info=info,
            digits=max(2, info.digits),
            distance_of=distance_of,
            terms=terms_for(report.distance),
            cards=cards,
            everything=by_mask[max(by_mask)],
            nothing=by_mask[min(by_mask)],
            has_images=any(card.thumbnails for card in cards),
            reference=[album.reference(place) for place in range(min(len(reference_images), REFERENCE_IMAGES))],
            reference_more=max(0, report.reference.count - REFERENCE_IMAGES),
            hash_rows=_hash_rows(report),
            hash_total=sum(len(coalition.image_files) for coalition in report.coalitions),
            settings=_pretty(report.settings),
            pretty=_pretty,
            workflow=None if report.workflow is None else _pretty(report.workflow),
        )
    )


def write_html(
    report: Report,
    folder: Path,
    images: Mapping[int, Sequence[Picture]] | None = None,
    reference_images: Sequence[Picture] = (),
) -> Path:
    """Write ``report.html`` into a folder, atomically, and return its path. Arguments as for `render_html`.

    Raises:
        StoreError: the disk is full, or the folder cannot be written.
    """
    path = folder / "report.html"
    write_bytes_atomic(path, render_html(report, images, reference_images).encode("utf-8"))
    return path


def page_environment() -> Environment:
    """The templates' environment: everything is escaped, and the filters turn numbers into text."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "num": number,
        "signed": signed,
        "percent": percent,
        "ends": interval_text,
        "percent_ends": percent_interval,
        "probability": probability,
        "plain": _plain,
    }
    return environment


def page_style() -> dict[str, Any]:
    """The style sheet of a page, and its hash for the content security policy."""
    css = _read("report.css")
    return {"css": Markup(css), "style_hash": _policy_hash(css)}  # noqa: S704 - our own file


@functools.cache
def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _policy_hash(text: str) -> str:
    """How a content security policy names an inline style or script."""
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _divided(warnings: Sequence[ReportWarning]) -> tuple[list[ReportWarning], list[ReportWarning]]:
    """What changes how to read the result, the gravest first, and mere notes."""
    serious = [item for item in warnings if item.code not in NOTES]
    serious.sort(key=lambda item: GRAVEST.index(item.code) if item.code in GRAVEST else len(GRAVEST))
    return serious, [item for item in warnings if item.code in NOTES]


def _cards(report: Report, album: Album) -> list[Card]:
    names = [player.name for player in report.players]
    chosen = shown(report)
    pictured = {item.mask for item in telling(report.coalitions, len(names), COALITIONS_SHOWN)}
    each = max(1, min(IMAGES_PER_COALITION, IMAGES_IN_ALL // len(pictured)))
    farthest = max(_shown(report, coalition) for coalition in report.coalitions)
    nearest = max(coalition.value for coalition in report.coalitions)
    by_mask = {coalition.mask: coalition for coalition in chosen}
    cards = []
    for coalition in chosen:
        title = coalition_title(coalition, names)
        count = min(each, album.count(coalition.mask)) if coalition.mask in pictured else 0
        cards.append(
            Card(
                coalition=coalition,
                title=title,
                full_title=" + ".join(coalition.members),
                thumbnails=tuple(
                    album.generated(coalition.mask, place, f"{title}, image {place + 1}") for place in range(count)
                ),
                more=max(0, coalition.images - count),
                bar=meter(_shown(report, coalition), farthest),
                nearest=coalition.value == nearest,
                moves=tuple(moves(report, coalition, by_mask)),
            )
        )
    return cards


def _shown(report: Report, coalition: CoalitionResult) -> float:
    """What the bar of a coalition is as long as; FID where the distance in use is not defined."""
    value = distance_of(report, coalition)
    return coalition.fid if value is None else value


def _hash_rows(report: Report) -> list[tuple[str, str, int | None, str]]:
    names = [player.name for player in report.players]
    rows = [
        (
            f"{coalition.folder}/{image.file}" if coalition.folder else image.file,
            coalition_title(coalition, names),
            image.seed,
            image.pixel_sha256 or image.sha256 or "–",
        )
        for coalition in report.coalitions
        for image in coalition.image_files
    ]
    return rows[:HASH_ROWS]


def _plain(value: Any) -> str:
    """A fact of the environment as text: lists and tables as what they hold."""
    if value is None or value in ({}, []):
        return "–"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_plain(item)}" for key, item in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)


def _pretty(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, indent=2)
