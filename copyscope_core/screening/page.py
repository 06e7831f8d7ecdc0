"""The table of a screen as one HTML file: no requests, everything escaped, one script of our own to sort and filter.

Without scripts the page says the same, in the order of p.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from ..files.atomic import write_bytes_atomic
from ..report.html.page import TEMPLATES, page_environment, page_style
from ..report.html.paper import policy_hash
from ..report.html.pictures import Picture, Thumbnail, thumbnail
from ..store.runs import SCREEN_FILES
from .results import FAILED, FALSE_DISCOVERIES, FOUND, NO_EFFECT, NOTHING, UNDECIDED, VERDICTS, Screened

PAGE_FILE = SCREEN_FILES[2]
MOST_ROWS = 1_000
"""Pairs in the page; the tables beside it have all."""
MOST_SHOWN = 12
"""Pairs that are shown with pictures."""
NEXT = 10
"""Pairs that are named for an audit in full."""
PICTURES = 4
LEVELS = (0.05, 0.01, 0.001, 0.0001)

Pictures = Callable[[int, int], tuple[Sequence[Picture], Sequence[Picture], Sequence[Picture]]]
"""For a pair: images without the model, the same with it, and works of the artist."""


@dataclass(frozen=True)
class Facts:
    """What the page says of the screen beside its results.

    Attributes:
        workflow: name of its file.
        slot: the loader, in words.
        seeds: images with and without each model.
        steady: whether the images without a model came out alike each time.
        notes: sentences.
    """

    workflow: str
    slot: str
    seeds: int
    steady: bool = True
    notes: Sequence[str] = ()


def render_page(found: Screened, facts: Facts, pictures: Pictures | None = None) -> str:
    """The page as HTML text. ``pictures``: None: none are shown."""
    strongest = list(islice(found.strongest(), MOST_ROWS))
    copies = [model for model in found.models if model.same_as is not None]
    by_source: dict[str, list[str]] = {}
    for model in copies:
        by_source.setdefault(str(model.same_as), []).append(model.name)
    counts = _counts(found)
    style = (TEMPLATES / "screen.css").read_text(encoding="utf-8")
    script = (TEMPLATES / "screen.js").read_text(encoding="utf-8")
    return (
        page_environment()
        .get_template("screen.html.j2")
        .render(
            facts=facts,
            created=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            found=found,
            counts=counts,
            verdicts=VERDICTS,
            shown_verdicts=[verdict for verdict in (FOUND, UNDECIDED, NOTHING, NO_EFFECT) if counts.get(verdict)],
            level=FALSE_DISCOVERIES,
            null=_null(found),
            views=found.views,
            rows=[_row(found, m, a, by_source) for m, a in strongest],
            pairs=found.pairs,
            looks=[] if pictures is None else _looks(found, strongest[:MOST_SHOWN], pictures),
            following=[_row(found, m, a, by_source) for m, a in next_audits(found, NEXT)],
            failed=[model for model in found.models if model.error is not None],
            failed_verdict=FAILED,
            copies=copies,
            styles=[page_style(), {"css": Markup(style), "style_hash": policy_hash(style)}],  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            script_hash=policy_hash(script),
        )
    )


def write_page(found: Screened, facts: Facts, folder: Path, pictures: Pictures | None = None) -> Path:
    """Write the page into a folder, atomically. Raises StoreError."""
    path = folder / PAGE_FILE
    write_bytes_atomic(path, render_page(found, facts, pictures).encode("utf-8", "replace"))
    return path


def next_audits(found: Screened, count: int) -> list[tuple[int, int]]:
    """The pairs that an audit in full would tell most of: the smallest p, above 0, of models that had an effect."""
    pairs = (pair for pair in found.strongest() if not found.models[pair[0]].no_effect and found.best(*pair)[1] > 0)
    return list(islice(pairs, count))


def _counts(found: Screened) -> dict[str, int]:
    """How many pairs have each verdict, copies included; of models that failed, how many models."""
    counts: dict[str, int] = {}
    for m, model in enumerate(found.models):
        for a in range(1 if model.error is not None else found.named):
            verdict = found.verdict(m, a)
            counts[verdict] = counts.get(verdict, 0) + 1
    return counts


def _null(found: Screened) -> list[dict[str, Any]]:
    """How many pairs come out below some p, of named artists and of negative controls."""
    own, negative = found.p[found.tested, : found.named], found.negatives
    return [
        {
            "level": level,
            "own": float(np.mean(own <= level)) if own.size else 0.0,
            "negative": float(np.mean(negative <= level)) if negative.size else None,
        }
        for level in LEVELS
    ]


def _row(found: Screened, m: int, a: int, by_source: Mapping[str, list[str]]) -> dict[str, Any]:
    model = found.models[m]
    return {
        "model": model,
        "artist": found.artists[a],
        **found.pair(m, a),
        "q": float(found.q[m, a]),
        "empirical": float(found.empirical[m, a]),
        "copies": by_source.get(model.name, []),
        "names": found.artists[a] in model.mentions,
    }


def _looks(found: Screened, pairs: Sequence[tuple[int, int]], pictures: Pictures) -> list[dict[str, Any]]:
    looks = []
    for m, a in pairs:
        without, having, works = pictures(m, a)
        titles = (("without the model", without), (f"with {found.models[m].name}", having),
                  (f"works of {found.artists[a]}", works))  # fmt: skip
        strips: list[tuple[str, list[Thumbnail]]] = [
            (title, [thumbnail(picture, f"{title}, {number}") for number, picture in enumerate(shown[:PICTURES], 1)])
            for title, shown in titles
            if shown
        ]
        looks.append({**_row(found, m, a, {}), "strips": strips})
    return looks
