"""The results of a batch as a table, a row for each player of each audit, in Apache Parquet."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import CopyScopeError
from ..files.atomic import TEMPORARY_SUFFIX, disk_errors, replace
from ..report.report import Report

Row: TypeAlias = dict[str, Any]
COLUMNS = {
    "audit": "string", "status": "string", "error": "string", "workflow": "string", "reference": "string",
    "headline": "string", "player": "string", "kind": "string", "node": "string", "file": "string", "sha256": "string",
    "shapley": "double", "shapley_low": "double", "shapley_high": "double", "share": "double", "share_low": "double",
    "share_high": "double", "probability_largest": "double", "contrast": "double", "contrast_low": "double",
    "contrast_high": "double", "distance": "string", "distance_none": "double", "distance_all": "double",
    "images": "int64", "reference_images": "int64", "warnings": "list<string>", "created": "string",
}  # fmt: skip
"""Names and types: φ and distances in units of the distance, intervals at 95%, ``images`` of each coalition."""


def require_pyarrow() -> None:
    """Say what to install where there is no pyarrow. Raises CopyScopeError."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise CopyScopeError(
            "A batch writes Parquet, for which pyarrow is missing; run: pip install 'copyscope[batch]'."
        ) from error


def rows_of_report(name: str, line: Mapping[str, Any], report: Report) -> Iterator[Row]:
    """A finished audit's rows, the largest φ first.

    Args:
        name: the audit's id.
        line: its line of the queue.
    """
    by_mask = {coalition.mask: coalition for coalition in report.coalitions}
    none, every = by_mask[0], by_mask[max(by_mask)]
    for player in report.ranked():
        yield {
            **_line(name, line),
            "status": "done",
            "headline": report.headline,
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
            "distance": report.distance,
            "distance_none": none.distance,
            "distance_all": every.distance,
            "images": every.images,
            "reference_images": report.reference.count,
            "warnings": [warning.code for warning in report.warnings],
            "created": report.created,
        }


def rows_of_failure(name: str, line: Mapping[str, Any], error: str) -> Iterator[Row]:
    """The one row of an audit that failed."""
    yield {**_line(name, line), "status": "failed", "error": error}


def write_table(path: Path, rows: Iterable[Row]) -> Path:
    """Write the rows atomically. Raises StoreError."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"list<string>": pa.list_(pa.string())}
    schema = pa.schema([(name, kinds.get(kind) or pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), temporary)
            replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def _line(name: str, line: Mapping[str, Any]) -> Row:
    return {"audit": name, "workflow": line["workflow"], "reference": line["reference"]}


def _ends(name: str, interval: list[float] | None) -> Row:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}
