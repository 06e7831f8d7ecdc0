"""The tables of the study: shares of comparisons that come out right, with intervals over artists."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Row = Mapping[str, Any]
COLUMNS = ("size", "references", "kind", "artists", "artist", "rival", "subject")
RESAMPLES = 2_000
STYLE = "style KID − control"
MAIN_SIZE = 256
MAIN_REFERENCES = (1, 2)
"""The cells that the goals are about."""
SURE = 2.0
"""Standard errors that a contrast must be away from 0 to count as sure."""

GROUPS: dict[str, Callable[[Row], bool]] = {
    "distinct painters": lambda row: row["kind"] == "distinct" and row["artists"] == "painter",
    "distinct illustrators": lambda row: row["kind"] == "distinct" and row["artists"] == "illustrator",
    "traps, painters": lambda row: row["kind"] == "trap" and row["artists"] == "painter",
    "traps, illustrators": lambda row: row["kind"] == "trap" and row["artists"] == "illustrator",
    "traps, all": lambda row: row["kind"] == "trap",
}


def verdicts(row: Row) -> dict[str, bool | None]:
    """What pairs of value functions say: right, wrong, or None for undecided."""
    right = row["right"]
    style, content = right.get(STYLE), right["content KID − control"]
    if style is None:
        return {}
    sure = abs(row["certainty"]["style"]) >= SURE
    return {
        "content FID and style agree": style if right["content FID"] == style else None,
        "content and style agree": style if content == style else None,
        "the pair: they agree and style is sure": style if content == style and sure else None,
        "style alone, where it is sure": style if sure else None,
    }


def _units(rows: Iterable[Row]) -> list[list[Row]]:
    """Draws of one pair of artists and one subject together."""
    found = defaultdict(list)
    for row in rows:
        found[(row["kind"], row["artist"], row["rival"], row["subject"])].append(row)
    return list(found.values())


def interval(values: Mapping[str, Sequence[tuple[float, float]]]) -> tuple[float, float, float]:
    """Share and its 95% interval over artists. By artist: pairs of how much counts, and how much of it is right."""
    totals = np.array([np.sum(pairs, axis=0) for pairs in values.values()])
    rng = np.random.default_rng(0)
    picked = totals[rng.integers(0, len(totals), (RESAMPLES, len(totals)))].sum(axis=1)
    picked = picked[picked[:, 0] > 0]
    shares = np.percentile(picked[:, 1] / picked[:, 0], [2.5, 97.5])
    return totals[:, 1].sum() / max(totals[:, 0].sum(), 1e-12), shares[0], shares[1]


def _shares(rows: Sequence[Row], says: Callable[[Row], bool | None]) -> str:
    """Right of what is decided, its interval, and the share decided where that is not all."""
    values = defaultdict(list)
    for unit in _units(rows):
        said = [says(row) for row in unit]
        decided = [item for item in said if item is not None]
        values[unit[0]["artist"]].append((len(decided) / len(said), sum(decided) / len(said)))
    counted = sum(pair[0] for pairs in values.values() for pair in pairs)
    units = sum(map(len, values.values()))
    if counted == 0:
        return "none decided"
    share, low, high = interval(values)
    decided_share = "" if counted == units else f", of {100 * counted / units:.0f}% decided"
    return f"{100 * share:.0f}% ({100 * low:.0f} to {100 * high:.0f}){decided_share}"


def write(path: Path, role: str, features: str, rows: Sequence[Row]) -> None:
    """Keep results: a line a comparison, the value functions that are right as a string of 0 and 1."""
    functions, views = list(rows[0]["right"]), list(rows[0]["certainty"])
    head = {"role": role, "features": features, "functions": functions, "views": views, "columns": COLUMNS}
    lines = [json.dumps(head, ensure_ascii=False)]
    for row in rows:
        right = "".join("01"[row["right"][name]] for name in functions)
        kept = [*(row[column] for column in COLUMNS), right, *(row["certainty"][view] for view in views)]
        lines.append(json.dumps(kept, ensure_ascii=False, separators=(",", ":")))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read(path: Path) -> tuple[str, str, list[Row]]:
    """Role, features and rows of results that were kept."""
    head, *lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    rows = []
    for line in lines:
        right = {name: sign == "1" for name, sign in zip(head["functions"], line[len(COLUMNS)], strict=True)}
        certainty = dict(zip(head["views"], line[len(COLUMNS) + 1 :], strict=True))
        rows.append({**dict(zip(COLUMNS, line, strict=False)), "right": right, "certainty": certainty})
    return head["role"], head["features"], rows


def table(role: str, features: str, rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [f"Artists: {role}; features {features}.", ""]
    sizes = sorted({row["size"] for row in rows})
    counts = sorted({row["references"] for row in rows})
    size = MAIN_SIZE if MAIN_SIZE in sizes else sizes[0]
    for count in MAIN_REFERENCES:
        lines += _grid(
            f"{size} px, references: {count}",
            {
                name: {group: _shares(chosen, says) for group, chosen in _cells(rows, size, count).items()}
                for name, says in _functions(rows[0]).items()
            },
        )
    if STYLE in rows[0]["right"]:
        lines += _grid(
            "style with control: size, references",
            {
                f"{side} px, {count}": {
                    group: f"{_shares(chosen, lambda row: row['right'][STYLE])}, n = {len(_units(chosen))}"
                    for group, chosen in _cells(rows, side, count).items()
                }
                for side in sizes
                for count in counts
            },
        )
    return "\n".join(lines)


def _functions(row: Row) -> dict[str, Callable[[Row], bool | None]]:
    """All value functions, then all pairs: what each says of a row."""
    singles = {name: lambda row, name=name: row["right"][name] for name in row["right"]}
    return singles | {name: lambda row, name=name: verdicts(row)[name] for name in verdicts(row)}


def _cells(rows: Sequence[Row], size: int, count: int) -> dict[str, list[Row]]:
    """Rows of one size and count by group; groups without any are left out."""
    chosen = [row for row in rows if (row["size"], row["references"]) == (size, count)]
    found = {group: [row for row in chosen if belongs(row)] for group, belongs in GROUPS.items()}
    return {group: members for group, members in found.items() if members}


def _grid(corner: str, lines: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A Markdown table by group."""
    head = [f"| {corner} | " + " | ".join(GROUPS) + " |", "| --- " * (len(GROUPS) + 1) + "|"]
    body = [
        f"| {name} | " + " | ".join(cells.get(group, "") for group in GROUPS) + " |" for name, cells in lines.items()
    ]
    return [*head, *body, ""]
