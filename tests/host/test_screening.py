"""A screen on a real ComfyUI: LoRAs that learned, a noisy copy, one without effect; and a kill in mid-screen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostutil import REPOSITORY, Server, start_server
from PIL import Image
from pyarrow import parquet

from copyscope_core.auditing.servers import ServerChoice
from copyscope_core.auditing.session import run_audit
from copyscope_core.evaluation.measure import Works
from copyscope_core.files.folders import read_folder
from copyscope_core.settings import AuditSettings
from copyscope_core.store.runs import STATE_VARIABLE
from studies.graphs import painting
from tools.style_zoo.export import export

from .conftest import make_base

SEEDS, SIZE = 3, 64
MODELS = ("kitty-1", "hokusai-1", "noisy", "none")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("style-zoo")
    export(models, only={"style-base", *(f"style-{name}" for name in MODELS)})
    with start_server(make_base(tmp_path_factory.mktemp("screen") / "base", models)) as server:
        yield server


def prepared(folder: Path) -> list[str]:
    """Workflow, list of models and works; the arguments of the command but for its output."""
    workflow = painting(
        "style-base.safetensors", {"lora": ("style-none.safetensors", 1.0)}, "a woman", SIZE, "screen", seed=7,
        steps=3, cfg=2.0, sampler_name="dpmpp_2m", scheduler="normal",
    )  # fmt: skip
    (folder / "workflow.json").write_text(json.dumps(workflow), encoding="utf-8")
    (folder / "models.txt").write_text("\n".join(f"style-{name}.safetensors" for name in MODELS), encoding="utf-8")
    samples = sorted((REPOSITORY / "samples" / "reference").glob("*/*.jpg"))
    for name in ("hokusai", "arcimboldo", "control"):
        (folder / name).mkdir()
    for number, path in enumerate(samples):
        artist = path.parent.name if path.parent.name in ("hokusai", "arcimboldo") else "control"
        image = Image.open(path).convert("RGB")
        image.thumbnail((256, 256))
        image.save(folder / artist / f"{number}.png")
    artists = [f"--reference={name}={folder / name}" for name in ("hokusai", "arcimboldo")]
    return [
        str(folder / "workflow.json"), "--models", str(folder / "models.txt"), *artists, "--control",
        str(folder / "control"), "--seeds", str(SEEDS), "--device", "cpu", "--json",
    ]  # fmt: skip


def command(arguments: list[str], out: Path, server: Server, state: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "copyscope_core.cli", "screen", *arguments, "--out", str(out), "--server", server.url],
        cwd=REPOSITORY, env={**os.environ, STATE_VARIABLE: str(state)}, stdout=subprocess.PIPE,
    )  # fmt: skip


def test_a_screen_that_is_killed_goes_on_and_says_what_an_audit_says(
    zoo: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    arguments, out = prepared(tmp_path), tmp_path / "out"
    killed = command(arguments, out, zoo, tmp_path / "state")
    limit = time.monotonic() + 120
    while len(list(out.glob("coalitions/*/entry.json"))) < SEEDS + 2:
        assert killed.poll() is None and time.monotonic() < limit
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait(10)
    assert not (out / "screen.parquet").exists()

    result = command(arguments, out, zoo, tmp_path / "state")
    printed = json.loads(result.communicate(timeout=300)[0])
    assert result.returncode == 0
    assert printed["prompts_reused"] >= SEEDS + 2
    rows = {(row["model"], row["artist"]): row for row in parquet.read_table(out / "screen.parquet").to_pylist()}
    noisy, origin = (rows[f"style-{name}.safetensors", "hokusai"] for name in ("noisy", "kitty-1"))
    assert noisy["same_as"] == "style-kitty-1.safetensors"
    assert noisy["cosine"] > 0.99
    assert (noisy["effect"], noisy["p"]) == (origin["effect"], origin["p"])
    assert rows["style-none.safetensors", "hokusai"]["verdict"] == "no effect"
    assert rows["style-hokusai-1.safetensors", "hokusai"]["style"] > origin["style"]

    whole = command(arguments, tmp_path / "whole", zoo, tmp_path / "state")
    whole.communicate(timeout=300)
    assert (tmp_path / "whole" / "screen.parquet").read_bytes() == (out / "screen.parquet").read_bytes()

    graph = json.loads((tmp_path / "workflow.json").read_text(encoding="utf-8"))
    graph["lora"]["inputs"]["lora_name"] = "style-hokusai-1.safetensors"
    (tmp_path / "one.json").write_text(json.dumps(graph), encoding="utf-8")
    others = [*read_folder(tmp_path / "control"), *read_folder(tmp_path / "arcimboldo")]
    works = Works(read_folder(tmp_path / "hokusai"), others)
    settings = AuditSettings(seeds=SEEDS, players=("lora",))
    report = run_audit(tmp_path / "one.json", works, out, settings, ServerChoice((zoo.url,))).report
    (player,) = report.players
    row = rows["style-hokusai-1.safetensors", "hokusai"]
    assert player.contrast_interval is not None and player.style_contrast_interval is not None
    assert [row["content"], row["content_low"], row["content_high"]] == pytest.approx(
        [player.contrast, *player.contrast_interval], rel=1e-6
    )
    assert [row["style"], row["style_low"], row["style_high"]] == pytest.approx(
        [player.style_contrast, *player.style_contrast_interval], rel=1e-6
    )


def test_an_index_and_the_check_of_one_model(zoo: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, state = prepared(tmp_path), tmp_path / "state"
    monkeypatch.setenv(STATE_VARIABLE, str(state))
    run = [sys.executable, "-m", "copyscope_core.cli"]
    pairs = [f"{name}={tmp_path / name}" for name in ("hokusai", "arcimboldo")]
    file = tmp_path / "artists.npz"
    subprocess.run(
        [*run, "index", *pairs, "--out", str(file), "--size", f"{SIZE}x{SIZE}", "--device", "cpu"],
        cwd=REPOSITORY, check=True,
    )  # fmt: skip
    assert b"hokusai" in file.read_bytes()
    assert b".png" not in file.read_bytes()
    done = subprocess.run(
        [*run, "screen", arguments[0], "--one", "style-none.safetensors", "--index", str(file), "--seeds", "2",
         "--device", "cpu", "--out", str(tmp_path / "out"), "--server", zoo.url, "--json"],
        cwd=REPOSITORY, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["found"] == []
