"""``copyscope verify`` and ``copyscope compare``: output and exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from images_on_disk import MeanColours, image_folder, png_bytes

from copyscope_core.cli import main as cli
from copyscope_core.features import extractor as features
from copyscope_core.store.runs import STATE_VARIABLE


@pytest.fixture
def scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """Two scored folders, ``one`` and ``two``, of the same images against different references."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    monkeypatch.setattr(features, "InceptionExtractor", lambda device: MeanColours())
    folder = tmp_path / "images"
    for number, name in enumerate(("none", "a")):
        image_folder(folder / name, 3, seed=10 * number)
    rows = [{"folder": "none", "members": []}, {"folder": "a", "members": ["style"]}]
    (folder / "game.json").write_text(json.dumps({"players": ["style"], "coalitions": rows}), encoding="utf-8")
    for number, name in enumerate(("one", "two")):
        reference = image_folder(tmp_path / f"reference-{name}", 3, seed=90 + 10 * number)
        assert run("score", folder, "--reference", reference, "--out", tmp_path / name) == 0
    capsys.readouterr()
    return tmp_path


def run(*words: object) -> int:
    """The exit code of a command in this process."""
    old = sys.argv
    sys.argv = ["copyscope", *map(str, words)]
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = old


def test_verify_says_that_everything_holds_and_what_does_not(scored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = ("--images", scored / "images")
    assert run("verify", scored / "one", *images, "--reference", scored / "reference-one", "--full") == 0
    text = capsys.readouterr().out
    assert text.startswith("Everything holds: ")
    assert "not checked" not in text
    assert "SHA-256 of the manifest: " in text
    (scored / "images" / "a" / "001.png").write_bytes(png_bytes(7))
    assert run("verify", scored / "one") == 0
    assert capsys.readouterr().out.startswith("Everything holds: ")
    assert run("verify", scored / "one", *images) == 1
    text = capsys.readouterr().out
    assert "Changed: images of style: 001.png has other pixels than the report says" in text
    assert "1 thing is not as it was. Checked: " in text
    (scored / "images" / "a").rename(scored / "moved")
    assert run("verify", scored / "one", *images) == 2
    text = capsys.readouterr().out
    assert "Not checked: images of style are not in " in text
    assert "Nothing is known to be changed, but not everything could be checked. Checked: " in text
    (scored / "moved").rename(scored / "images" / "a")
    assert run("verify", scored / "one", *images, "--json") == 1
    data: Any = json.loads(capsys.readouterr().out)
    assert data["holds"] is False
    assert [item["what"] for item in data["findings"]] == ["images of style: 001.png"]
    assert run("verify", scored / "images") == 2
    assert "no report and no manifest" in capsys.readouterr().err


def test_a_private_score_is_verified_by_whoever_has_the_images(
    scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("score", scored / "images", "--reference", scored / "reference-one", "--out", scored / "private")
    assert run(*words, "--private", "--json") == 0
    assert json.loads(capsys.readouterr().out)["private"] is True
    (scored / "images").rename(scored / "moved")
    assert run("verify", scored / "private", "--images", scored / "images") == 2
    assert "Changed" not in capsys.readouterr().out
    for images in ((), ("--images", scored / "moved")):
        assert run("verify", scored / "private", *images) == 2
        assert "Not checked: reference images are not in the run folder" in capsys.readouterr().out
        assert run("verify", scored / "private", *images, "--reference", scored / "reference-one") == 0


def test_compare_prints_a_table_json_and_a_page(scored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compare", scored / "one", scored / "two", "--html", scored / "c.html") == 0
    text = capsys.readouterr().out
    assert "One workflow against several references." in text
    assert "style" in text
    assert "Not comparable" not in text
    assert (scored / "c.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert run("compare", scored / "one", scored / "two", "--json") == 0
    assert json.loads(capsys.readouterr().out)["comparable"] is True
    assert run("compare", scored / "one") == 2
