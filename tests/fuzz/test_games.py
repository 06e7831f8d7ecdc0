"""Damaged tables of values and folders to score: results, or one sentence; nothing becomes markup."""

from __future__ import annotations

import html.parser
import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from images_on_disk import MeanColours, image_folder

from copyscope_core.auditing.score import Score
from copyscope_core.evaluation.measure import Works
from copyscope_core.files.folders import read_folder
from copyscope_core.game.shapley import check_efficiency, leave_one_out, shapley_values, shares
from copyscope_core.game.table import parse_game
from copyscope_core.report.html import page as report_html
from copyscope_core.report.report import Report

from .harness import fuzzed, guarded
from .mutations import EVIL, TEXTS, as_json, damaged, damaged_bytes

PAIRS = {0: [], 1: ["a"], 2: ["b"], 3: ["a", "b"]}
VALUES = [
    {"players": ["a", "b"], "coalitions": [{"members": PAIRS[mask], "value": mask * 1.5} for mask in PAIRS]},
    {"players": ["only"], "coalitions": [{"members": [], "value": 0}, {"members": ["only"], "value": -1}]},
]
SCORED = [
    {
        "players": ["base", {"name": "style", "kind": "lora"}],
        "coalitions": [
            {"folder": name, "members": members, "seeds": [0, 1]}
            for name, members in (("none", []), ("a", ["base"]), ("b", ["style"]), ("ab", ["base", "style"]))
        ],
    },
    {"players": ["x"], "coalitions": [{"folder": "none", "members": []}, {"folder": "a", "members": ["x"]}]},
]


def solve(data: Any) -> None:
    """All that ``copyscope shapley`` computes."""
    game = parse_game(data)
    phi = shapley_values(game.values)
    leave_one_out(game.values)
    shares(phi)
    check_efficiency(game.values, phi)


SCRIPT = (Path(report_html.__file__).parent / "templates" / "report.js").read_text(encoding="utf-8")


class Tags(html.parser.HTMLParser):
    """Collects what a page must not hold: elements and handlers of the input's, scripts but the project's own."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.bad: list[str] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        self._in_script = tag == "script"
        if tag in ("copyscope-evil", "iframe", "object", "embed") or any(name.startswith("on") for name in names):
            self.bad.append(f"{tag} {names}")

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts.append(data)


def check_page(path: Path) -> None:
    """A report's page holds no markup of the input's, and one script, which is the project's own."""
    page = Tags(path.read_text(encoding="utf-8"))
    assert page.bad == []
    assert "".join(page.scripts).strip() == SCRIPT.strip()


def check_outputs(out: Path) -> None:
    """The report is UTF-8 JSON of its own schema, and its page holds no markup of the input's."""
    json.loads((out / "report.json").read_text(encoding="utf-8"))
    Report.load(out / "report.json")
    check_page(out / "report.html")


def score(root: Path, table: bytes, folders: list[str]) -> None:
    """Score two small images in each of these folders by a ``game.json``."""
    images = root / "images"
    for number, name in enumerate(folders):
        image_folder(images / name, 2, seed=10 * number, size=(8, 8))
    (images / "game.json").write_bytes(table)
    reference = read_folder(image_folder(root / "reference", 2, seed=900, size=(8, 8)))
    Score(images, Works(reference), root / "out", MeanColours()).run()
    check_outputs(root / "out")


@fuzzed()
@given(damaged(VALUES))
def test_tables_of_values(table: Any) -> None:
    with guarded():
        solve(table if isinstance(table, dict) else as_json(table))


@fuzzed()
@given(damaged_bytes([as_json(item) for item in VALUES]))
def test_files_of_values(data: bytes) -> None:
    with guarded():
        solve(data)


@fuzzed(0.5)
@given(damaged(SCORED, most=3))
def test_scored_folders(table: Any) -> None:
    with guarded() as root:
        score(root, as_json(table), ["none", "a", "b", "ab"])


@fuzzed(0.25)
@given(st.sampled_from([*TEXTS, EVIL]), st.sampled_from([*TEXTS, EVIL]))
def test_hostile_players(first: str, second: str) -> None:
    table = {
        "players": [{"name": first, "kind": second}, {"name": second + "2", "kind": first}],
        "coalitions": [
            {"folder": name, "members": members}
            for name, members in (("none", []), ("a", [first]), ("b", [second + "2"]), ("ab", [first, second + "2"]))
        ],
    }
    with guarded() as root:
        score(root, as_json(table), ["none", "a", "b", "ab"])
