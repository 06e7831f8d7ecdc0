"""The results of a batch as a table, a row for each player of each audit, in Apache Parquet."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import CopyScopeError
from ..files.atomic import written_atomic
from ..report.report import Report

Row: TypeAlias = dict[str, Any]
_ROWS = 20_000
COLUMNS = {
    "audit": "string", "status": "string", "error": "string", "workflow": "string", "reference": "string",
    "verdict": "string", "decided": "bool", "decided_player": "string", "player": "string",
    "kind": "string", "node": "string", "file": "string", "sha256": "string",
    "shapley": "double", "shapley_low": "double", "shapley_high": "double", "share": "double", "share_low": "double",
    "share_high": "double", "probability_largest": "double", "contrast": "double", "contrast_low": "double",
    "contrast_high": "double", "style_contrast": "double", "style_contrast_low": "double",
    "style_contrast_high": "double", "distance": "string", "distance_none": "double", "distance_all": "double",
    "images": "int64", "reference_images": "int64", "warnings": "list<string>", "created": "string",
    "manifest_sha256": "string",
}  # fmt: skip
"""Names and types: φ and distances in units of the distance, intervals of the report, ``images`` of each coalition."""


def require_pyarrow() -> None:
    """Say what to install where there is no pyarrow. Raises CopyScopeError."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise CopyScopeError(
            "The results are a table in Parquet, for which pyarrow is missing; run: pip install 'copyscope[batch]'."
        ) from error


def rows_of_report(name: str, line: Mapping[str, Any], report: Report, manifest_sha256: str) -> Iterator[Row]:
    """A finished audit's rows, in the order of its verdict's basis.

    Args:
        name: the audit's id.
        line: its line of the queue.
        manifest_sha256: of its run folder's manifest.
    """
    by_mask = {coalition.mask: coalition for coalition in report.coalitions}
    none, every = by_mask[0], by_mask[max(by_mask)]
    for player in report.ranked():
        yield {
            **_line(name, line),
            "status": "done",
            "verdict": report.verdict.sentence,
            "decided": report.verdict.decided,
            "decided_player": report.verdict.player,
            "player": player.name,
            "kind": player.kind,
            "node": player.node,
            "file": player.file,
            "sha256": player.sha256,
            "shapley": player.shapley,
            **_ends("shapley", player.shapley_interval),
            "share": player.share,
            **_ends("share", player.share_interval),
            "probability_largest": player.probability_largest,
            "contrast": player.contrast,
            **_ends("contrast", player.contrast_interval),
            "style_contrast": player.style_contrast,
            **_ends("style_contrast", player.style_contrast_interval),
            "distance": report.distance,
            "distance_none": none.distance,
            "distance_all": every.distance,
            "images": every.images,
            "reference_images": report.reference.count,
            "warnings": [warning.code for warning in report.warnings],
            "created": report.created,
            "manifest_sha256": manifest_sha256,
        }


def rows_of_failure(name: str, line: Mapping[str, Any], error: str) -> Iterator[Row]:
    """The one row of an audit that failed."""
    yield {**_line(name, line), "status": "failed", "error": error}


def write_table(path: Path, rows: Iterable[Row], columns: Mapping[str, str] = COLUMNS) -> Path:
    """Write the rows atomically, some thousands at a time, so that a long table takes little memory.

    Args:
        columns: name → type.

    Raises:
        StoreError: the disk is full, or the file cannot be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"list<string>": pa.list_(pa.string())}
    schema = pa.schema([(name, kinds.get(kind) or pa.type_for_alias(kind)) for name, kind in columns.items()])
    waiting = iter(rows)
    with written_atomic(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        while True:
            part = list(itertools.islice(waiting, _ROWS))
            writer.write_table(pa.Table.from_pylist(part, schema=schema))
            if len(part) < _ROWS:
                break
    return path


def _line(name: str, line: Mapping[str, Any]) -> Row:
    return {"audit": name, "workflow": line["workflow"], "reference": line["reference"]}


def _ends(name: str, interval: list[float] | None) -> Row:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}
