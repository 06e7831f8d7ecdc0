"""Scoring images that are on disk: what ``game.json`` may say, and that the result is that of an audit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from images_on_disk import MeanColours, image_folder, png_bytes

from copyscope_core.auditing.score import Score, read_game
from copyscope_core.distances.registry import DistanceName
from copyscope_core.errors import CopyScopeError, GameError, ImageError, StoreError
from copyscope_core.evaluation.measure import Works
from copyscope_core.files.folders import read_folder
from copyscope_core.report.report import Report
from copyscope_core.store.runs import STATE_VARIABLE

FOLDERS = {"none": [], "a": ["style"], "b": ["base"], "ab": ["base", "style"]}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))


def game(**changes: Any) -> dict[str, Any]:
    rows = [{"folder": folder, "members": names} for folder, names in FOLDERS.items()]
    return {"players": ["base", "style"], "coalitions": rows, **changes}


def make(root: Path, table: Any = None, count: int = 3) -> Path:
    folder = root / "images"
    for number, name in enumerate(FOLDERS):
        image_folder(folder / name, count, seed=100 * number)
    (folder / "game.json").write_text(json.dumps(game() if table is None else table), encoding="utf-8")
    return folder


def score(tmp_path: Path, folder: Path, references: int = 2, extractor: MeanColours | None = None) -> Report:
    reference = read_folder(image_folder(tmp_path / "reference", references, seed=9000, size=(40, 60)))
    return Score(folder, Works(reference), tmp_path / "out", extractor or MeanColours()).run().report


def test_a_report_is_written(tmp_path: Path) -> None:
    report = score(tmp_path, make(tmp_path))
    assert [player.name for player in report.players] == ["base", "style"]
    assert [item.members for item in report.coalitions] == [[], ["base"], ["style"], ["base", "style"]]
    assert [item.folder for item in report.coalitions] == ["none", "b", "a", "ab"]
    assert all(item.images == 3 for item in report.coalitions)
    assert report.seeds == [0, 1, 2]
    assert report.workflow is None
    assert report.deterministic is None
    assert abs(report.efficiency_gap) < 1e-9
    assert (tmp_path / "out" / "report.html").is_file()
    assert (
        json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["verdict"]["sentence"]
        == report.headline
    )


def test_features_are_kept_and_used_again(tmp_path: Path) -> None:
    folder = make(tmp_path)
    first = score(tmp_path, folder)
    extractor = MeanColours()
    again = score(tmp_path, folder, extractor=extractor)
    assert extractor.images == 0
    assert again.model_dump(exclude={"created", "custody"}) == first.model_dump(exclude={"created", "custody"})


def test_players_may_have_kinds_and_seeds_order_the_images(tmp_path: Path) -> None:
    table = game(players=[{"name": "base", "kind": "checkpoint"}, "style"])
    for row in table["coalitions"]:
        row["seeds"] = [7, 3, 5]
    report = score(tmp_path, make(tmp_path, table))
    assert [player.kind for player in report.players] == ["checkpoint", "component"]
    assert report.seeds == [3, 5, 7]
    for item in report.coalitions:
        assert [(image.file, image.seed) for image in item.image_files] == [
            ("001.png", 3),
            ("002.png", 5),
            ("000.png", 7),
        ]


def test_one_reference_image_is_accepted_and_said(tmp_path: Path) -> None:
    report = score(tmp_path, make(tmp_path), references=1)
    assert all(item.kid is None for item in report.coalitions)
    assert any(warning.code == "one_reference" for warning in report.warnings)


def test_a_player_without_effect_gets_exactly_nothing(tmp_path: Path) -> None:
    folder = make(tmp_path)
    for name, twin in (("a", "none"), ("ab", "b")):
        shutil.rmtree(folder / name)
        shutil.copytree(folder / twin, folder / name)
    style = score(tmp_path, folder).players[1]
    assert style.shapley == 0.0
    assert style.no_effect is True


def test_a_control_and_another_distance_reach_the_report(tmp_path: Path) -> None:
    plain = score(tmp_path, make(tmp_path))
    assert (plain.control, plain.distance, plain.players[0].contrast) == (None, "fid", None)
    reference = read_folder(tmp_path / "reference")
    control = read_folder(image_folder(tmp_path / "control", 4, seed=7000))
    run = Score(tmp_path / "images", Works(reference, control), tmp_path / "out", MeanColours(), distance="kid")
    report = run.run().report
    assert report.distance == "kid"
    assert report.control is not None
    assert [image.file for image in report.control.images] == ["000.png", "001.png", "002.png", "003.png"]
    for before, player in zip(plain.players, report.players, strict=True):
        assert player.shapley == pytest.approx(before.kid_shapley)
        assert player.contrast is not None
    assert [item.fid for item in report.coalitions] == [item.fid for item in plain.coalitions]
    assert "control" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("distance", "message"),
    [
        ("fid_infinity", r"at least 5,000 images a combination, and the coalition base [+] style has 1;"),
        ("mmd", r"mmd needs at least 2 images a combination, and the coalition base [+] style has 1;"),
    ],
)
def test_too_few_images_for_a_distance_are_refused_before_features(
    tmp_path: Path, distance: DistanceName, message: str
) -> None:
    extractor = MeanColours()
    reference = read_folder(image_folder(tmp_path / "reference", 2))
    with pytest.raises(GameError, match=message):
        Score(make(tmp_path, count=1), Works(reference), tmp_path / "out", extractor, distance=distance).run()
    assert extractor.images == 0


def rows(**row: Any) -> dict[str, Any]:
    table = game()
    table["coalitions"][3] = {**table["coalitions"][3], **row}
    return table


BAD_GAMES: dict[str, tuple[Any, str]] = {
    "a list": ([], "does not fit"),
    "no players": (game(players=[]), "no players"),
    "twins": (game(players=["x", "x"]), "listed twice"),
    "missing coalition": (game(coalitions=game()["coalitions"][:3]), r"lacks 1 of 4 coalitions: \{base, style\}"),
    "unknown member": (rows(members=["nobody"]), "Coalition 4 .*nobody.* is not a player"),
    "twice": (rows(members=["base"]), "listed twice"),
    "outside": (rows(folder="../elsewhere"), "is not inside"),
    "absolute": (rows(folder="/etc"), "is not inside"),
    "null byte": (rows(folder="a\0b"), "is not inside"),
    "empty name": (rows(folder=""), "does not fit"),
    "no folder": (rows(folder="gone"), "does not exist"),
    "seeds in one": (rows(seeds=[1, 2, 3]), "lists no seeds, though others do"),
    "too few seeds": (rows(seeds=[1, 2]), "lists 2 seeds, but its folder ab has 3 images"),
    "seeds not numbers": (rows(seeds=["x"]), "does not fit"),
}


@pytest.mark.parametrize("case", BAD_GAMES)
def test_a_bad_game_is_one_sentence(tmp_path: Path, case: str) -> None:
    table, message = BAD_GAMES[case]
    with pytest.raises(CopyScopeError, match=message) as caught:
        score(tmp_path, make(tmp_path, table))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "report.json").exists()


def test_different_seeds_cannot_be_compared(tmp_path: Path) -> None:
    table = game()
    for number, row in enumerate(table["coalitions"]):
        row["seeds"] = [1, 2, 3 + (number == 2)]
    with pytest.raises(GameError, match="different seeds"):
        score(tmp_path, make(tmp_path, table))


def test_a_missing_or_broken_game_file(tmp_path: Path) -> None:
    with pytest.raises(GameError, match="cannot be read"):
        read_game(tmp_path / "none")
    for content in (b"", b"{", b"\xff\xfe", b"[" * 50_000, b'{"players": 3}'):
        (tmp_path / "game.json").write_bytes(content)
        with pytest.raises(GameError, match="does not fit"):
            read_game(tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["players", "coalitions", "folder", "members", "seeds", "name"]), inner)
        ),
        max_leaves=12,
    )
)
def test_any_json_gives_a_game_or_a_sentence(tmp_path: Path, data: Any) -> None:
    (tmp_path / "game.json").write_text(json.dumps(data), encoding="utf-8")
    try:
        read_game(tmp_path)
    except GameError as error:
        assert "\n" not in str(error)


def test_images_that_differ_in_size_or_are_none(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "a" / "001.png").write_bytes(png_bytes(1, (33, 32)))
    with pytest.raises(ImageError, match="one size"):
        score(tmp_path, folder)
    (folder / "a" / "001.png").write_bytes(b"<html>")
    with pytest.raises(ImageError, match=r"Coalition \{style\}: .*001.png.* not an image"):
        score(tmp_path, folder)


def test_the_images_folder_is_not_written_to(tmp_path: Path) -> None:
    folder = make(tmp_path)
    reference = read_folder(image_folder(tmp_path / "reference", 2))
    with pytest.raises(StoreError, match="choose another one"):
        Score(folder, Works(reference), folder, MeanColours()).run()
    assert sorted(path.name for path in folder.iterdir()) == ["a", "ab", "b", "game.json", "none"]


@pytest.mark.parametrize("name", ["../elsewhere", "/etc", "\\\\host\\share", "C:\\images", "a/../../b", "//host/share"])
def test_a_folder_elsewhere_is_refused_before_the_disk_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def looked(*_: object, **__: object) -> Path:
        raise AssertionError("the disk was looked at")

    table = game()
    table["coalitions"][0]["folder"] = name
    folder = make(tmp_path, table)
    monkeypatch.setattr(Path, "resolve", looked)
    with pytest.raises(GameError, match="is not inside"):
        read_game(folder)
