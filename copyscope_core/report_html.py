"""The report as one HTML file: no scripts, no requests, images embedded as small JPEGs.

Everything that comes from a workflow (names, prompts, file names) is escaped by Jinja's autoescape; a content
security policy forbids whatever might still slip through.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image, ImageOps

from .distances import DISTANCES
from .files import write_bytes_atomic
from .report_chart import chart, meter
from .report_heat import heat_map, strongest, unsure
from .report_schema import CoalitionResult, Report
from .report_terms import terms_for
from .report_text import (
    clip,
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

TEMPLATES = Path(__file__).parent / "templates"

THUMBNAIL = 176
"""Longest side of an embedded image, in pixels."""

IMAGES_PER_COALITION = 4
REFERENCE_IMAGES = 12
IMAGES_IN_ALL = 400
COALITIONS_SHOWN = 64
TITLE_COLUMNS = 30
HASH_ROWS = 4096
TRIPLES = 12
PAIRS_NAMED = 6
"""Caps on what is embedded; the JSON report names everything."""

Picture = Path | str | bytes | Image.Image
"""An image: its file, its encoded bytes, or decoded."""


@dataclass(frozen=True)
class Thumbnail:
    """An embedded image.

    Attributes:
        uri: a data URI, or None where the image could not be read.
        alt: what it shows, for those who do not see it.
    """

    uri: str | None
    alt: str


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
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["num"] = number
    environment.filters["signed"] = signed
    environment.filters |= {
        "percent": percent,
        "ends": interval_text,
        "percent_ends": percent_interval,
        "probability": probability,
    }
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    style_hash = base64.b64encode(hashlib.sha256(css.encode("utf-8")).digest()).decode("ascii")
    info = DISTANCES[report.distance]
    cards = _cards(report, images or {})
    by_mask = {card.coalition.mask: card for card in cards}
    return environment.get_template(
        "report.html.j2"
    ).render(
        report=report,
        whole=whole(report),
        css=Markup(css),  # noqa: S704 - our own file
        style_hash=style_hash,
        chart=chart(report.ranked(), info),
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
        everything=by_mask[len(report.coalitions) - 1],
        nothing=by_mask[0],
        has_images=any(card.thumbnails for card in cards),
        reference=[
            thumbnail(picture, f"Reference image {k}")
            for k, picture in enumerate(reference_images[:REFERENCE_IMAGES], start=1)
        ],
        reference_more=max(0, report.reference.count - REFERENCE_IMAGES),
        hash_rows=_hash_rows(report),
        hash_total=sum(len(coalition.image_files) for coalition in report.coalitions),
        settings=_pretty(report.settings),
        pretty=_pretty,
        workflow=None if report.workflow is None else _pretty(report.workflow),
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


def thumbnail(picture: Picture, alt: str) -> Thumbnail:
    """An image re-encoded as a small JPEG, so that nothing of its file (metadata, workflow) is embedded."""
    try:
        if isinstance(picture, Image.Image):
            small = picture.copy()
        else:
            with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as opened:
                opened.draft("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL))
                small = ImageOps.exif_transpose(opened)
        if small.mode in ("RGBA", "LA", "PA") or "transparency" in small.info:
            rgba = small.convert("RGBA")
            small = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        small = small.convert("RGB")
        small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Thumbnail(None, f"{alt} (could not be read)")
    buffer = io.BytesIO()
    Image.frombytes("RGB", small.size, small.tobytes()).save(buffer, "JPEG", quality=85, optimize=True)
    return Thumbnail("data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii"), alt)


def _cards(report: Report, images: Mapping[int, Sequence[Picture]]) -> list[Card]:
    names = [player.name for player in report.players]
    chosen = _chosen(report.coalitions, len(names))
    each = max(1, min(IMAGES_PER_COALITION, IMAGES_IN_ALL // len(chosen)))
    farthest = max(_shown(report, coalition) for coalition in report.coalitions)
    nearest = max(coalition.value for coalition in report.coalitions)
    cards = []
    for coalition in chosen:
        title = _title(coalition, names)
        pictures = images.get(coalition.mask, ())
        cards.append(
            Card(
                coalition=coalition,
                title=title,
                full_title=" + ".join(coalition.members),
                thumbnails=tuple(
                    thumbnail(picture, f"{title}, image {k}") for k, picture in enumerate(pictures[:each], start=1)
                ),
                more=max(0, coalition.images - each),
                bar=meter(_shown(report, coalition), farthest),
                nearest=coalition.value == nearest,
            )
        )
    return cards


def _shown(report: Report, coalition: CoalitionResult) -> float:
    """What the bar of a coalition is as long as; FID where the distance in use is not defined."""
    value = distance_of(report, coalition)
    return coalition.fid if value is None else value


def _title(coalition: CoalitionResult, names: Sequence[str]) -> str:
    present, absent = coalition.members, [name for name in names if name not in coalition.members]
    if not present:
        return "None of the components"
    if not absent:
        return "All components" if len(names) > 1 else clip(names[0], TITLE_COLUMNS)
    if len(absent) == 1 and len(names) > 2:
        return f"All but {clip(absent[0], TITLE_COLUMNS)}"
    return " + ".join(clip(name, TITLE_COLUMNS) for name in present)


def _chosen(coalitions: Sequence[CoalitionResult], players: int) -> list[CoalitionResult]:
    """At most `COALITIONS_SHOWN` of them: none, all, singles, single removals, then the nearest to the reference."""
    ordered = sorted(coalitions, key=lambda item: (len(item.members), item.mask))
    if len(ordered) <= COALITIONS_SHOWN:
        return ordered
    telling = [item for item in ordered if len(item.members) in (0, 1, players - 1, players)]
    rest = sorted((item for item in ordered if item not in telling), key=lambda item: -item.value)
    keep = {item.mask for item in [*telling, *rest][:COALITIONS_SHOWN]}
    return [item for item in ordered if item.mask in keep]


def _hash_rows(report: Report) -> list[tuple[str, str, int | None, str]]:
    names = [player.name for player in report.players]
    rows = [
        (
            f"{coalition.folder}/{image.file}" if coalition.folder else image.file,
            _title(coalition, names),
            image.seed,
            image.pixel_sha256 or image.sha256 or "–",
        )
        for coalition in report.coalitions
        for image in coalition.image_files
    ]
    return rows[:HASH_ROWS]


def _pretty(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, indent=2)
