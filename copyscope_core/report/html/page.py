"""The report as one HTML file: no requests, images embedded as small JPEGs, and one script of our own.

Everything that comes from a workflow (names, prompts, file names) is escaped by Jinja's autoescape; a content
security policy forbids whatever might still slip through. Without scripts the page says the same.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...distances.registry import DISTANCES, STYLE_INFO
from ...features.beside import has_style_model
from ...files.atomic import write_bytes_atomic
from ..limits import READINGS, limits_of
from ..report import Report
from ..terms import Term, terms_for
from ..text import (
    NO_NUMBER,
    amount,
    coalition_title,
    columns,
    distance_of,
    interval_text,
    kind_words,
    not_told_apart,
    number,
    percent,
    percent_interval,
    probability,
    shorten,
    signed,
    towards,
    towards_interval,
    whole,
)
from . import facts
from .cards import Card, make_cards, without_first
from .chart import NARROW, axis_ends, chart, entries
from .heat import heat_map, strongest
from .lattice import lattice
from .paper import FILE, NO_DIGEST, page_foot, policy_hash
from .pictures import Picture
from .sides import Album, changes

TEMPLATES = Path(__file__).parent / "templates"

REFERENCE_IMAGES = 12
HASH_ROWS = 4096
TRIPLES = 12
PAIRS_NAMED = 6
"""Caps on what is shown; the JSON report names everything."""

LONG_NAME = 40
"""Letters of a component's name at most; the whole name is a hint."""

MOST_PIXELS = 16384
"""Longest side of the shape that reference images are brought to for their thumbnails."""

NOTES = ("note", "plan", "conversion", "input_image")
"""Warnings that tell what was done rather than how to read the result."""

GRAVEST = ("canary_mismatch", "input_matches_reference", "non_deterministic", "defective_images")
"""Warnings that may overturn the result; they come first."""

PLACES = {
    "lead": ("agree", "enough", "until_sure", "amounts"),
    "scale": ("yardstick_content", "away_from_both"),
    "style": ("yardstick_style",),
    "limits": (*READINGS, "error_rates"),
}
"""Where the verdict's readings are shown; others are among the numbers that look odd."""


class Words:
    """The words of a page that are explained where they stand, and which of them it has.

    A word is a button that opens its meaning in place; the meanings follow at the end of the page.
    """

    def __init__(self, terms: Mapping[str, Term]) -> None:
        self._terms = terms
        self.used: dict[str, Term] = {}

    def __call__(self, key: str, label: str | None = None) -> Markup:
        term = self.used[key] = self._terms[key]
        return Markup('<button type="button" class="term" popovertarget="term-{}">{}</button>').format(
            key, label or term.name
        )


class Look(NamedTuple):
    """A row of images of the first screen; the same column is the same seed."""

    title: str
    card: Card


def render_html(
    report: Report,
    images: Mapping[int, Sequence[Picture]] | None = None,
    reference_images: Sequence[Picture] = (),
    manifest_sha256: str = NO_DIGEST,
) -> str:
    """The whole report as HTML text.

    Args:
        report: what to show.
        images: mask → images of that coalition, of which the first few are embedded as thumbnails. An image that
            cannot be read is shown as missing.
        reference_images: the rights holder's images; leave out to keep them private.
        manifest_sha256: of the manifest beside the page, shown in it and at the foot of each printed page; by default
            what :func:`resealed` replaces when there is a manifest.
    """
    info = DISTANCES[report.distance]
    album = Album(images or {}, reference_images, _shape(report))
    cards = make_cards(report, album)
    by_mask = {card.coalition.mask: card for card in cards}
    words = Words(terms_for(report.distance))
    readings = _readings(report)
    foot = page_foot(report.created, manifest_sha256)
    return (
        page_environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            created=report.created.replace("T", " ").replace("Z", " UTC"),
            manifest_sha256=manifest_sha256,
            whole=whole(report),
            brief=_brief(report),
            grave=sorted(
                (item for item in report.warnings if item.code in GRAVEST), key=lambda item: GRAVEST.index(item.code)
            ),
            cautions=[item for item in report.warnings if item.code not in (*GRAVEST, *NOTES)],
            notes=[item for item in report.warnings if item.code in NOTES],
            readings=readings,
            limits=limits_of(report),
            compared=report.verdict.basis == "contrast",
            style=STYLE_INFO,
            has_style=any(player.style_shapley is not None for player in report.players),
            diffusion_style=has_style_model(report.preprocessing),
            script=Markup(_read("report.js")),  # noqa: S704 - our own file
            script_hash=policy_hash(_read("report.js")),
            **page_style(),
            foot=Markup(foot),  # noqa: S704 - escaped for a style sheet
            foot_hash=policy_hash(foot),
            chart=chart(entries(report), info, ends=axis_ends(report)),
            narrow_chart=chart(entries(report), info, NARROW, "narrow", axis_ends(report)),
            lattice=lattice(report),
            no_number=NO_NUMBER,
            looks=_looks(report, by_mask),
            changes=changes(report, album),
            heat=heat_map(report),
            triples=strongest(report, 3, TRIPLES),
            apart=not_told_apart(report),
            apart_named=PAIRS_NAMED,
            info=info,
            digits=max(2, info.digits),
            distance_of=distance_of,
            term=words,
            used=words.used,
            cards=cards,
            everything=by_mask[max(by_mask)],
            nothing=by_mask[min(by_mask)],
            amount=amount,
            unit="image" if report.clips is None else "frame",
            reference=[album.reference(place) for place in range(min(len(reference_images), REFERENCE_IMAGES))],
            reference_more=max(0, report.reference.count - REFERENCE_IMAGES),
            hash_rows=_hash_rows(report),
            hash_total=sum(len(coalition.image_files) for coalition in report.coalitions),
            facts=facts,
            workflow=None if report.workflow is None else _pretty(report.workflow),
        )
    )


def write_html(
    report: Report,
    folder: Path,
    images: Mapping[int, Sequence[Picture]] | None = None,
    reference_images: Sequence[Picture] = (),
    manifest_sha256: str = NO_DIGEST,
) -> Path:
    """Write ``report.html`` into a folder, atomically, and return its path. Arguments as for `render_html`.

    Raises:
        StoreError: the disk is full, or the folder cannot be written.
    """
    path = folder / FILE
    write_bytes_atomic(path, render_html(report, images, reference_images, manifest_sha256).encode("utf-8"))
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
        "towards": towards,
        "percent": percent,
        "ends": interval_text,
        "towards_ends": towards_interval,
        "percent_ends": percent_interval,
        "probability": probability,
        "kind": kind_words,
        "shorten": shorten,
        "sentence": _as_sentence,
    }
    return environment


def page_style() -> dict[str, Any]:
    """The style sheet of a page, and its hash for the content security policy."""
    css = _read("report.css")
    return {"css": Markup(css), "style_hash": policy_hash(css)}  # noqa: S704 - our own file


@functools.cache
def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _shape(report: Report) -> tuple[int, int] | None:
    """Width and height that the reference images were measured in; None: unknown."""
    width, height = (report.reference.preprocessing.get(key) for key in ("width", "height"))
    usable = all(isinstance(side, int) and 0 < side <= MOST_PIXELS for side in (width, height))
    return (width, height) if usable else None  # type: ignore[return-value]


def _readings(report: Report) -> dict[str, list[str]]:
    """What stands beside the verdict, by where it is shown; the limits and error rates have a box of their own."""
    found: dict[str, list[str]] = {"lead": [], "scale": [], "style": [], "odd": []}
    for item in report.verdict.reading:
        place = next((place for place, codes in PLACES.items() if item.code in codes), "odd")
        if place in found:
            found[place].append(item.sentence)
    return found


def _looks(report: Report, by_mask: Mapping[int, Card]) -> list[Look]:
    """The images with all components, without the one that comes first, and with none."""
    full, removed = max(by_mask), without_first(report)
    rows = {full: "All components" if len(report.players) > 1 else "With it"}
    if removed is not None and removed in by_mask and report.verdict.first is not None:
        rows.setdefault(removed, f"Without {shorten(report.verdict.first, LONG_NAME)}")
    rows.setdefault(min(by_mask), "None of them")
    cards = [Look(title, by_mask[mask]) for mask, title in rows.items()]
    return [look for look in cards if look.card.thumbnails or look.card.strips]


def _brief(report: Report) -> Callable[[str], str]:
    """Sentences with the names of components shortened where they are long."""
    names = sorted({player.name for player in report.players}, key=len, reverse=True)
    long = {f"“{name}”": f"“{shorten(name, LONG_NAME)}”" for name in names if columns(name) > LONG_NAME}

    def brief(text: str) -> str:
        for name, short in long.items():
            text = text.replace(name, short)
        return text

    return brief


def _as_sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _hash_rows(report: Report) -> list[tuple[str, str, int | None, str | None]]:
    names = [player.name for player in report.players]
    rows = [
        (
            f"{coalition.folder}/{image.file}" if coalition.folder else image.file,
            coalition_title(coalition, names),
            image.seed,
            image.pixel_sha256 or image.sha256,
        )
        for coalition in report.coalitions
        for image in coalition.image_files
    ]
    return rows[:HASH_ROWS]


def _pretty(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, indent=2)
