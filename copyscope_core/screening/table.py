"""The table of a screen: a row for each model and artist, in Apache Parquet and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..auditing.batch_table import Row, write_table
from ..files.atomic import written_atomic
from ..store.runs import SCREEN_FILES
from .results import FAILED, Screened

PARQUET_FILE, CSV_FILE, _ = SCREEN_FILES
COLUMNS = {
    "model": "string", "artist": "string", "negative": "bool", "verdict": "string", "view": "string",
    "effect": "double", "low": "double", "high": "double", "p": "double", "q": "double", "empirical": "double",
    "content": "double", "content_low": "double", "content_high": "double", "style": "double", "style_low": "double",
    "style_high": "double", "works": "int64", "same_as": "string", "cosine": "double", "says": "string",
    "names_artist": "bool", "sha256": "string", "error": "string",
}  # fmt: skip
"""Names and types. ``effect``, with its 95% interval, is of the view that ``p`` is of; ``negative``: a control."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rows(found: Screened) -> Iterator[Row]:
    """All rows, model by model; of a model that failed there is one."""
    for m, model in enumerate(found.models):
        about = {
            "model": model.name,
            "same_as": model.same_as,
            "cosine": model.cosine,
            "says": model.says or None,
            "sha256": model.sha256,
            "error": model.error,
        }
        if model.error is not None:
            yield {**about, "verdict": FAILED}
            continue
        for a, artist in enumerate(found.artists):
            yield {
                **about,
                "artist": artist,
                "negative": a >= found.named,
                **found.pair(m, a),
                "q": _number(found.q[m, a]),
                "empirical": _number(found.empirical[m, a]),
                **_views(found, m, a),
                "works": found.works[a],
                "names_artist": artist in model.mentions,
            }


def write_tables(found: Screened, folder: Path) -> tuple[Path, Path]:
    """Write both tables atomically.

    In the CSV a text that a spreadsheet would take for a formula gets an apostrophe in front.

    Raises:
        StoreError: the disk is full, or the folder cannot be written.
    """
    parquet = write_table(folder / PARQUET_FILE, rows(found), COLUMNS)
    with (
        written_atomic(folder / CSV_FILE) as temporary,
        temporary.open("x", encoding="utf-8", errors="replace", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, list(COLUMNS), restval="")
        writer.writeheader()
        for row in rows(found):
            writer.writerow({name: _cell(value) for name, value in row.items()})
    return parquet, folder / CSV_FILE


def _views(found: Screened, m: int, a: int) -> dict[str, float]:
    numbers = {"": found.effect, "_low": found.low, "_high": found.high}
    return {
        f"{view}{end}": float(table[m, place, a])
        for place, view in enumerate(found.views)
        for end, table in numbers.items()
    }


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
