"""The study of style: its table of works, who is compared with whom, the scores, and what its tables say."""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from copyscope_core.distances.kernel import kernel_distance
from studies.style import works as works_module
from studies.style.comparisons import COUNTS, DRAWS, MOST, comparisons
from studies.style.measure import Measured, certainty, control, score, wanted
from studies.style.report import interval, read, table, verdicts, write
from studies.style.works import SQUARES, Artist, Collection, Work
from tools.style_zoo.data import DataError


@pytest.fixture(scope="module")
def collection() -> Collection:
    return Collection.load(Path("/nowhere"))


def test_the_table_has_the_artists_that_the_protocol_names(collection: Collection) -> None:
    many = [artist for artist in collection.artists.values() if collection.counts[artist.id] > 1]
    roles = Counter((artist.kind, artist.role) for artist in many)
    assert roles == {
        ("painter", "tune"): 17,
        ("painter", "report"): 16,
        ("illustrator", "tune"): 3,
        ("illustrator", "report"): 5,
    }
    assert collection.artists["hokusai"].role == "tune"
    assert all(a.role == "control" for a in collection.artists.values() if collection.counts[a.id] == 1)
    assert len(collection.works) == 272
    assert len({work.sha256 for work in collection.works.values()}) == 272
    text = (Path(works_module.__file__).parent / "works.json").read_text(encoding="utf-8").lower()
    assert "spaceinvader" not in text
    assert "barber" not in text


@pytest.mark.parametrize("role", ["tune", "report"])
def test_sides_are_fair_and_held_out(collection: Collection, role: str) -> None:
    for count in COUNTS:
        found = list(comparisons(collection, role, count))
        assert found == list(comparisons(collection, role, count))
        assert max(Counter(item.unit for item in found).values()) == DRAWS
        for item in found:
            assert len(item.reference) == count
            assert 1 <= len(item.own) == len(item.other) <= MOST
            assert not set(item.reference) & set(item.own)
            whose = [{collection.works[key].artist for key in side} for side in (item.reference, item.own, item.other)]
            assert whose == [{item.artist}, {item.artist}, {item.rival}]
            assert {collection.artists[name].role for name in (item.artist, item.rival)} == {role}
            if item.kind == "trap":
                shown = [{collection.works[key].subject for key in side} for side in (item.reference, item.other)]
                assert shown == [{item.subject}, {item.subject}]
                assert item.subject not in {collection.works[key].subject for key in item.own}


def test_the_control_is_of_the_kind_and_by_neither_of_the_two(collection: Collection) -> None:
    item = next(item for item in comparisons(collection, "report", 1) if item.artist == "kitty")
    artists = {collection.works[key].artist for key in control(collection, item, "report")}
    assert {collection.artists[name].kind for name in artists} == {"illustrator"}
    assert not artists & {item.artist, item.rival}
    assert {"duhh", "zygougo"} <= artists


def test_tuning_looks_at_no_work_of_the_report(collection: Collection) -> None:
    needed = wanted(collection, "tune")
    assert "report" not in {collection.artists[collection.works[key].artist].role for key in needed}
    item = next(iter(comparisons(collection, "tune", 1)))
    assert set(control(collection, item, "tune")) <= set(needed)
    assert wanted(collection, "report").keys() == collection.works.keys()
    assert needed["hokusai/great-wave"] == SQUARES
    assert wanted(collection, "report")["hokusai/great-wave"] == 1


def small(kinds: dict[str, int]) -> Collection:
    """Artists with so many works each, all for the report."""
    works = {f"{name}/{n}": Work(f"{name}/{n}", name, "x", "p", "p", "0") for name in kinds for n in range(kinds[name])}
    artists = {name: Artist(name, name, "painter", "report") for name in kinds}
    return Collection(artists, works, {}, Path("/nowhere"), "")


def features(collection: Collection, dimension: int = 12) -> Measured:
    """Each artist about a centre of its own."""
    rng = np.random.default_rng(0)
    centres = {name: rng.normal(size=dimension) for name in collection.artists}
    found = Measured()
    for key, work in collection.works.items():
        rows = centres[work.artist] + 0.1 * rng.normal(size=(SQUARES, dimension))
        found.content[key] = found.style[key] = rows
        found.colour[key] = rows[:, :6]
        found.grey[key] = rng.uniform(0, 255, size=(SQUARES, 64 * 64))
    return found


def test_scores_are_distances_and_contrasts() -> None:
    collection = small({"a": 3, "b": 2, "c": 4})
    measured = features(collection)
    item = next(item for item in comparisons(collection, "report", 2) if item.artist == "a")
    others = control(collection, item, "report")
    scores = score(measured, item, others)
    assert all(own < other for name, (own, other) in scores.items() if name != "SSIM")
    assert verdicts({"right": dict.fromkeys(scores, True), "certainty": {"style": 3.0, "content": 0.1}}) == {
        "content FID and style agree": True,
        "content and style agree": True,
        "the pair: they agree and style is sure": True,
        "style alone, where it is sure": True,
    }
    reference, unrelated = (np.stack([measured.style[key][0] for key in keys]) for keys in (item.reference, others))
    contrasts = []
    for side in (item.own, item.other):
        x = np.concatenate([measured.style[key] for key in side])
        near, far = kernel_distance(x, reference), kernel_distance(x, unrelated)
        assert near is not None
        assert far is not None
        contrasts.append(near - far)
    own, other = scores["style KID − control"]
    assert own - other == pytest.approx(contrasts[0] - contrasts[1])
    assert certainty(measured, item, others, "style") > 2
    swapped = type(item)(**{**item.__dict__, "own": item.other, "other": item.own})
    assert certainty(measured, swapped, others, "style") == -certainty(measured, item, others, "style")


def test_a_pair_that_disagrees_or_is_not_sure_does_not_decide() -> None:
    row = {"content FID": False, "content KID − control": False, "style KID − control": True}
    assert set(verdicts({"right": row, "certainty": {"style": 1.9}}).values()) == {None}
    assert verdicts({"right": row, "certainty": {"style": -2.0}})["style alone, where it is sure"] is True
    assert verdicts({"right": {"content KID − control": True}, "certainty": {}}) == {}


def test_intervals_are_over_artists() -> None:
    share, low, high = interval({"a": [(1, 1)] * 10, "b": [(1, 0)] * 10})
    assert (share, low, high) == (0.5, 0.0, 1.0)
    assert interval({"a": [(0.5, 0.5)], "b": [(1, 1)]}) == (1, 1, 1)


def test_tables_show_what_is_right_and_what_is_decided(tmp_path: Path) -> None:
    def row(artist: str, right: bool, sure: float, references: int = 1) -> dict[str, Any]:
        names = ("content FID", "content KID − control", "style KID − control")
        return {
            "size": 256,
            "references": references,
            "kind": "distinct",
            "artists": "painter",
            "artist": artist,
            "rival": "z",
            "subject": "",
            "right": dict.fromkeys(names, right),
            "certainty": {"content": sure, "style": sure},
        }

    rows = [row("a", True, 3), row("a", False, 1), row("b", True, 3), row("b", True, 5)]
    write(tmp_path / "results.jsonl", "report", "f", rows)
    kept = read(tmp_path / "results.jsonl")
    assert kept == ("report", "f", rows)
    text = table(*kept)
    assert "| style KID − control | 75% (50 to 100) |" in text
    assert "| the pair: they agree and style is sure | 100% (100 to 100), of 75% decided |" in text
    assert "| 256 px, 1 | 75% (50 to 100), n = 2 |" in text


def picture(alpha: np.ndarray) -> bytes:
    """A PNG of noise with this transparency."""
    rng = np.random.default_rng(1)
    pixels = np.dstack([rng.integers(0, 255, size=(*alpha.shape, 3)), alpha]).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_squares_are_the_whole_and_parts_or_parts_that_a_figure_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    collection = small({"a": 1})
    collection.packages["p"] = {"kind": "repository"}
    work = collection.works["a/0"]
    solid = np.full((90, 120), 255)
    monkeypatch.setattr(works_module, "checked", lambda *_: picture(solid))
    squares = collection.squares(work, 64)
    assert [square.shape for square in squares] == [(64, 64, 3)] * SQUARES
    assert all(np.array_equal(a, b) for a, b in zip(squares, collection.squares(work, 64), strict=True))
    figure = np.zeros((200, 200))
    figure[20:180, 60:140] = 255
    monkeypatch.setattr(works_module, "checked", lambda *_: picture(figure))
    for square in collection.squares(work, 64):
        assert (np.abs(square.astype(int) - works_module.GREY).max(axis=2) <= 2).mean() < 0.2


def test_paintings_come_from_a_repository_at_one_commit(tmp_path: Path) -> None:
    data = picture(np.full((40, 40), 255))
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.png").write_bytes(data)
    git = ["git", "-C", str(source), "-c", "user.name=n", "-c", "user.email=e@x"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "m"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    digest = hashlib.sha256(data).hexdigest()
    packages = {"paintings": {"kind": "git", "version": head, "source": source.as_uri()}}
    work = Work("a/0", "a", None, "paintings", "a.png", digest)
    for place in (str(source), source.as_uri()):
        found = Collection({}, {work.id: work}, packages, tmp_path / "packages", place)
        assert len(found.squares(work, 32)) == SQUARES
    other = Work("a/0", "a", None, "paintings", "a.png", "0" * 64)
    with pytest.raises(DataError, match=re.escape("a.png differs")):
        Collection({}, {other.id: other}, packages, tmp_path / "packages", str(source)).squares(other, 32)
