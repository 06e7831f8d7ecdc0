"""Whole screens against a stand-in server: what is run, kept, found, told, and what survives faults."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_workflows import with_lora
from fakecomfy import FakeComfy, fake_comfy, noise
from images_on_disk import MeanColours, image_folder
from PIL import Image
from pyarrow import parquet

from copyscope_core.auditing.servers import ServerChoice
from copyscope_core.comfyui.errors import ServerLostError
from copyscope_core.errors import CopyScopeError, WorkflowError
from copyscope_core.files.folders import check_folder
from copyscope_core.observer import Quiet
from copyscope_core.screening import screen as module
from copyscope_core.screening.session import Artists, Chosen, ScreenResult, run_screen
from copyscope_core.settings import AuditSettings
from copyscope_core.store.runs import clean_run, list_runs

SEEDS = 4
RED = "up/red.safetensors"
EVIL = "<img src=x onerror=alert(1)>.safetensors"
MODELS = ("style.safetensors", RED, "up/none.safetensors", "up/red copy.safetensors", EVIL)


class Notes(Quiet):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def studio(server: FakeComfy, tmp_path: Path) -> FakeComfy:
    """A server whose LoRA ``red`` makes images red; beside it are a copy, one without effect, and others."""
    prepare(server)
    works = {"reds": (200, 256, 0, 80), "greens": (0, 80, 0, 80), "noises": (0, 256, 0, 256)}
    for place, (name, (low, high, least, most)) in enumerate(works.items()):
        rng = np.random.default_rng(place)
        (tmp_path / name).mkdir()
        for number in range(9):
            pixels = rng.integers(least, most, (32, 32, 3), dtype=np.uint8)
            pixels[..., 0] = rng.integers(low, high, (32, 32))
            if name == "greens":
                pixels[..., 1] = rng.integers(200, 256, (32, 32))
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    image_folder(tmp_path / "control", 12, seed=400)
    (tmp_path / "workflow.json").write_text(json.dumps(with_lora()), encoding="utf-8")
    (tmp_path / "models.txt").write_text("\n".join(MODELS), encoding="utf-8")
    return server


def prepare(server: FakeComfy) -> None:
    for node, name, files in (
        ("LoraLoader", "lora_name", [*MODELS, "other.safetensors"]),
        ("CheckpointLoaderSimple", "ckpt_name", ["dream.safetensors", "dark.safetensors"]),
    ):
        server.info[node]["input"]["required"][name][0] = files
    server.hashes = {name: f"{place:064x}" for place, name in enumerate((*MODELS, "dream.safetensors"))}
    server.hashes["up/red copy.safetensors"] = server.hashes[RED]
    server.sketches = {name: {"sha256": digest} for name, digest in server.hashes.items()}
    server.metadata[RED] = {"fields": {"ss_output_name": "=cmd()", "ss_training_comment": "in the style of reds"}}
    paint = server.paint

    def by_model(digest: str, number: int) -> np.ndarray[Any, Any]:
        prompt = server.prompts[number - 1]
        loaded = [node["inputs"]["lora_name"] for node in prompt.values() if node["class_type"] == "LoraLoader"]
        seed = next(node["inputs"]["seed"] for node in prompt.values() if node["class_type"] == "KSampler")
        pixels = noise(f"seed {seed}", number)
        if RED in loaded:
            pixels = np.stack([200 + pixels[..., 0] // 5, pixels[..., 1] // 3, pixels[..., 2] // 3], axis=-1)
        elif loaded and "none" not in loaded[0]:
            pixels = np.where(noise(f"where {digest}", number) < 25, paint(digest, number), pixels)
        return pixels

    server.paint = by_model


def screen(
    server: FakeComfy | tuple[FakeComfy, ...],
    tmp_path: Path,
    out: str = "out",
    chosen: Chosen | None = None,
    **more: Any,
) -> ScreenResult:
    names = ("reds", "greens", "noises")
    artists = Artists({name: check_folder(tmp_path / name) for name in names}, check_folder(tmp_path / "control"))
    urls = (server.url,) if isinstance(server, FakeComfy) else tuple(one.url for one in server)
    return run_screen(
        tmp_path / "workflow.json", chosen or Chosen(str(tmp_path / "models.txt")), more.pop("artists", artists),
        tmp_path / out, AuditSettings(seeds=SEEDS), ServerChoice(urls), extractor=more.pop("extractor", MeanColours()),
        observer=more.pop("observer", None), **more,
    )  # fmt: skip


def verdicts(result: ScreenResult) -> dict[tuple[str, str], str]:
    found = result.found
    return {
        (model.name, found.artists[a]): found.verdict(m, a)
        for m, model in enumerate(found.models)
        for a in range(found.named)
    }


def table(result: ScreenResult) -> list[dict[str, Any]]:
    return parquet.read_table(result.parquet).to_pylist()


def test_each_model_is_run_once_and_the_one_that_learned_is_found(studio: FakeComfy, tmp_path: Path) -> None:
    result = screen(studio, tmp_path)
    assert len(studio.prompts) == SEEDS + 1 + 4 * SEEDS + 1  # ∅ and its repetition, four of five models, a canary
    found = {pair for pair, verdict in verdicts(result).items() if verdict == "found"}
    assert found == {(RED, "reds"), ("up/red copy.safetensors", "reds")}
    told = {model.name: model for model in result.found.models}
    assert told["up/red copy.safetensors"].same_as == RED
    assert told["up/none.safetensors"].no_effect
    assert verdicts(result)["up/none.safetensors", "reds"] == "no effect"
    assert told[RED].mentions == {"reds"}
    rows = {(row["model"], row["artist"]): row for row in table(result)}
    assert rows["up/red copy.safetensors", "reds"]["effect"] == rows[RED, "reds"]["effect"] > 0
    assert rows[RED, "reds"]["names_artist"] is True
    assert rows[RED, "reds"]["low"] > 0
    assert sum(row["negative"] for row in rows.values()) == len(MODELS) * (len(result.found.artists) - 3) > 0
    first = next(result.found.strongest())
    assert (result.found.models[first[0]].name, result.found.artists[first[1]]) == (RED, "reds")


def test_the_numbers_of_a_pair_are_those_of_an_audit_in_full(studio: FakeComfy, tmp_path: Path) -> None:
    result = screen(studio, tmp_path, audit_top=1)
    before = len(studio.prompts)
    (folder,) = result.audits
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert {player["file"] for player in report["players"] if player["kind"] == "lora"} == {RED}
    assert report["control"]["count"] == 12
    made = SEEDS + 1 + 4 * SEEDS + 1
    assert before == made + 2 * SEEDS + 1 + 2  # the prompt is a player too; images with and without the LoRA were there


def test_a_second_run_makes_nothing_and_says_the_same(studio: FakeComfy, tmp_path: Path) -> None:
    first = screen(studio, tmp_path)
    before, written = len(studio.prompts), first.parquet.read_bytes()
    second = screen(studio, tmp_path)
    assert (len(studio.prompts), second.sampled) == (before, 0)
    assert second.parquet.read_bytes() == written


@pytest.mark.parametrize("wave", [1, 2, 32])
def test_a_screen_that_was_killed_goes_on_and_ends_bit_by_bit_the_same(
    studio: FakeComfy, tmp_path: Path, wave: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAVE", wave)
    whole = screen(studio, tmp_path, "whole").parquet.read_bytes()
    with fake_comfy() as dying:
        prepare(dying)
        dying.before = lambda number: dying.stop() if number == 9 else None
        with pytest.raises(ServerLostError):
            screen(dying, tmp_path, "killed")
    stored = len(list((tmp_path / "killed" / "coalitions").glob("*/entry.json")))
    assert stored >= 7
    before = len(studio.prompts)
    result = screen(studio, tmp_path, "killed")
    assert result.parquet.read_bytes() == whole
    assert len(studio.prompts) - before < SEEDS + 1 + 4 * SEEDS + 5


def test_servers_share_the_models(studio: FakeComfy, tmp_path: Path) -> None:
    alone = screen(studio, tmp_path, "alone").parquet.read_bytes()
    with fake_comfy() as other:
        prepare(other)
        studio.seconds = other.seconds = 0.02
        result = screen((studio, other), tmp_path)
        assert len(other.prompts) > SEEDS
    assert result.parquet.read_bytes() == alone


def test_a_model_that_cannot_be_run_is_told_and_the_others_go_on(studio: FakeComfy, tmp_path: Path) -> None:
    studio.fail = lambda prompt: "no such tensor" if RED in json.dumps(prompt) else None
    notes = Notes()
    result = screen(studio, tmp_path, observer=notes)
    told = {model.name: model.error for model in result.found.models}
    assert "no such tensor" in str(told[RED])
    assert told["up/red copy.safetensors"] == told[RED]
    assert [name for name, error in told.items() if error is None] == [MODELS[0], MODELS[2], EVIL]
    assert any("is left out" in note for note in notes.notes)
    assert [row["verdict"] for row in table(result) if row["model"] == RED] == ["failed"]
    assert "could not be run" in result.page.read_text(encoding="utf-8")


def test_a_checkpoint_is_measured_against_the_workflows_own(studio: FakeComfy, tmp_path: Path) -> None:
    (tmp_path / "models.txt").write_text("dark.safetensors", encoding="utf-8")
    result = screen(studio, tmp_path, slot="1")
    loaded = {
        tuple(node["inputs"]["ckpt_name"] for node in prompt.values() if node["class_type"] == "CheckpointLoaderSimple")
        for prompt in studio.prompts
    }
    assert loaded == {("dream.safetensors",), ("dark.safetensors",)}
    assert [model.name for model in result.found.models] == ["dark.safetensors"]


def test_names_and_what_files_say_stay_text(studio: FakeComfy, tmp_path: Path) -> None:
    result = screen(studio, tmp_path)
    page = result.page.read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
    assert "default-src 'none'" in page
    with io.StringIO(result.csv.read_text(encoding="utf-8"), newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(table(result))
    assert not any(str(value).startswith(("=", "+", "@")) for row in rows for value in row.values())


def test_one_model_is_checked_and_its_exit_code_is_the_verdict(studio: FakeComfy, tmp_path: Path) -> None:
    assert screen(studio, tmp_path, chosen=Chosen(one=RED)).exit_code == 1
    assert screen(studio, tmp_path, chosen=Chosen(one=f"/srv/models/loras/{EVIL}")).exit_code == 0
    studio.fail = lambda prompt: "broken" if "style.safetensors" in json.dumps(prompt) else None
    assert screen(studio, tmp_path, chosen=Chosen(one="style.safetensors")).exit_code == 2


@pytest.mark.parametrize(
    ("workflow", "models", "slot", "sentence"),
    [
        (with_lora(), "up/missing.safetensors", None, "knows no model 'up/missing.safetensors'"),
        (with_lora(), "", None, "names no model"),
        (with_lora(), MODELS[0], "77", "There is no slot '77'"),
        ({**with_lora(), "20": {**with_lora()["2"], "inputs": {**with_lora()["2"]["inputs"], "model": ["2", 0]}}},
         MODELS[0], None, "several slots for a lora"),
    ],
)  # fmt: skip
def test_what_cannot_be_screened_is_said_before_anything_runs(
    studio: FakeComfy, tmp_path: Path, workflow: dict[str, Any], models: str, slot: str | None, sentence: str
) -> None:
    if "20" in workflow:
        workflow["3"]["inputs"]["model"] = ["20", 0]
    (tmp_path / "workflow.json").write_text(json.dumps(workflow), encoding="utf-8")
    (tmp_path / "models.txt").write_text(models, encoding="utf-8")
    with pytest.raises((CopyScopeError, WorkflowError), match=sentence):
        screen(studio, tmp_path, slot=slot)
    assert not studio.prompts


def test_a_screen_is_on_the_list_of_runs_and_is_removed_whole(studio: FakeComfy, tmp_path: Path) -> None:
    screen(studio, tmp_path, chosen=Chosen(one=RED))
    assert tmp_path / "out" in [run.folder for run in list_runs()]
    clean_run(tmp_path / "out")
    assert not (tmp_path / "out").exists()
