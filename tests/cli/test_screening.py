"""``copyscope screen`` and ``copyscope index``: what they take, print and return."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from example_workflows import with_lora
from fakecomfy import FakeComfy
from images_on_disk import MeanColours, image_folder

from copyscope_core.cli import main as cli
from copyscope_core.features import choose


@pytest.fixture
def told(server: FakeComfy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments of a screen of one model against two artists, on a stand-in server."""
    monkeypatch.setattr(choose, "choose_extractor", lambda *_: MeanColours())
    server.info["LoraLoader"]["input"]["required"]["lora_name"][0] = ["style.safetensors"]
    server.info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] = ["dream.safetensors"]
    (tmp_path / "workflow.json").write_text(json.dumps(with_lora()), encoding="utf-8")
    for number, name in enumerate(("jane", "joe")):
        image_folder(tmp_path / name, 3, seed=10 * number)
    (tmp_path / "empty").mkdir()
    return ["screen", str(tmp_path / "workflow.json"), "--out", str(tmp_path / "out"), "--server", server.url]


def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["copyscope", *words])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    captured = capsys.readouterr()
    return int(exit_.value.code or 0), captured.out, captured.err


def test_an_index_is_made_and_a_model_checked_against_it(
    told: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "artists.npz")
    pairs = [f"Jane Doe={tmp_path / 'jane'}", f"joe={tmp_path / 'joe'}"]
    code, out, err = call(capsys, monkeypatch, "index", *pairs, "--out", file, "--size", "32x32", "--json")
    assert (code, json.loads(out)["artists"]) == (0, {"Jane Doe": 3, "joe": 3}), err
    check = [*told, "--one", "style.safetensors", "--index", file, "--seeds", "2"]
    code, out, err = call(capsys, monkeypatch, *check, "--json")
    printed = json.loads(out)
    assert (code, printed["exit_code"], printed["found"], printed["prompts_run"]) == (0, 0, [], 2 + 1 + 2), err
    code, out, _ = call(capsys, monkeypatch, *check)
    assert code == 0
    assert "Pairs: 0 found, of 1 models and 2 artists." in out
    assert "Prompts: 0 run, 5 taken" in out
    code, _, err = call(capsys, monkeypatch, "index", *pairs, "--out", file, "--size", "64x32")
    assert code == 0
    code, _, err = call(capsys, monkeypatch, *check)
    assert code == 2
    assert "make the index with --size 32x32" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "Give --models for many models, or --one for one"),
        (("--models", ".", "--one", "a"), "Give --models for many models, or --one for one"),
        (("--models", "."), "--reference ARTIST=DIR, or with --index FILE"),
        (("--models", ".", "--reference", "jane"), "given as ARTIST=DIR"),
        (("--models", ".", "--reference", "jane={}/jane", "--reference", "jane={}/joe"), "given twice"),
        (("--models", ".", "--reference", "jane={}/empty"), "has no images"),
        (("--models", ".", "--index", "{}/none.npz"), "cannot be read"),
        (("--models", ".", "--index", "{}/none.npz", "--control", "{}/joe"), "An index has its control already"),
        (("--models", ".", "--index", "{}/none.npz", "--audit-top", "1"), "holds no pictures to audit with"),
        (("--models", "down", "--reference", "jane={}/jane"), "has no models in 'down'"),
        (("--models", ".", "--reference", "jane={}/jane", "--slot", "77"), "There is no slot '77'"),
    ],
)
def test_bad_input_is_one_sentence(
    told: list[str], tmp_path: Path, words: tuple[str, ...], sentence: str, server: FakeComfy,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    code, _, err = call(capsys, monkeypatch, *told, *(word.replace("{}", str(tmp_path)) for word in words))
    assert code == 2
    assert sentence in err.replace("\n", " ")
    assert not server.prompts
