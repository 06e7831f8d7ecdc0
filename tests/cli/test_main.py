"""The command line: what goes to stdout and stderr, exit codes, and a sentence for everything that can be wrong."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from example_workflows import HASHES, as_video, node, with_lora
from fakecomfy import FakeComfy, fake_comfy
from images_on_disk import MeanColours, image_folder, png_bytes

from copyscope_core import __version__
from copyscope_core.cli import main as cli
from copyscope_core.cli import options as opt
from copyscope_core.cli.help import GROUPS, REST
from copyscope_core.cli.terminal import prepare_streams
from copyscope_core.controls.bank import load_bank
from copyscope_core.demo import demo
from copyscope_core.errors import CopyScopeError
from copyscope_core.features import extractor as features
from copyscope_core.features.extractor import INCEPTION_ID
from copyscope_core.settings import AuditSettings
from copyscope_core.store.runs import STATE_VARIABLE
from tests.auditing.test_until_sure import painted

COMMANDS = [[name] for name in ["plan", "audit", "batch", "screen", "index", "score", "verify"]]
COMMANDS += [["compare"], ["fid"], ["shapley"], ["demo"], ["runs", "list"], ["runs", "clean"]]
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    monkeypatch.delenv("COPYSCOPE_SERVER", raising=False)


@pytest.fixture
def server() -> Iterator[FakeComfy]:
    with fake_comfy() as fake:
        fake.hashes = dict(HASHES)
        yield fake


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features without the network."""
    for module in (features, demo):
        monkeypatch.setattr(module, "InceptionExtractor", lambda device: MeanColours())


class Run:
    """One run of the command line in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: object) -> None:
        self.json, old = "--json" in words, sys.argv
        sys.argv = ["copyscope", *map(str, words)]
        try:
            cli.main()
        except SystemExit as stop:
            self.code = int(stop.code or 0)
        finally:
            sys.argv = old
        self.out, self.err = capsys.readouterr()

    @property
    def data(self) -> Any:
        """The one JSON object on stdout."""
        assert self.code == 0, self.err
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1
        return json.loads(self.out)

    def refused(self) -> str:
        """The one sentence on stderr of a run with exit code 2; with --json stdout has it too."""
        assert self.code == 2, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("Error: ")]
        assert len(lines) == 1
        assert "Traceback" not in self.err
        if self.json:
            said = json.loads(self.out)
            assert set(said) == {"error", "code"}
            assert lines[0] == f"Error: {said['error']}".splitlines()[0]
        else:
            assert self.out == ""
        return lines[0]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    return lambda *words: Run(capsys, *words)


def write(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


GAME = {
    "players": ["é", "b"],
    "coalitions": [
        {"members": [], "value": 1},
        {"members": ["é"], "value": 2},
        {"members": ["b"], "value": 4},
        {"members": ["b", "é"], "value": 8},
    ],
}


def test_version_and_help(run: Any) -> None:
    assert run("--version").out.strip() == __version__
    for words in ((), ("plan", "--help"), ("audit", "--help"), ("runs", "--help")):
        shown = run(*words)
        assert "Usage" in shown.out + shown.err


@pytest.mark.parametrize(
    "words", [["nothing"], ["plan"], ["fid", "a"], ["audit", "w.json"], ["plan", "w", "--seeds", "x"]]
)
def test_wrong_usage_is_exit_code_2(run: Any, words: list[str]) -> None:
    result = run(*words)
    assert result.code == 2
    assert result.out == ""
    assert "Traceback" not in result.err


def test_a_failure_with_json_has_a_code(run: Any, tmp_path: Path) -> None:
    broken = write(tmp_path / "w.json", {})
    for words, code in (
        (("plan", tmp_path / "none.json", "--json"), "workflow"),
        (("plan", broken, "--server", "127.0.0.1:9", "--json"), "server_unreachable"),
        (("plan", write(tmp_path / "x.json", explosion()), "--json"), "too_many_coalitions"),
        (("fid", tmp_path, tmp_path, "--json"), "image"),
        (("plan", "--json"), "usage"),
        (("--nothing", "--json"), "usage"),
    ):
        result = run(*words)
        assert (result.code, json.loads(result.out)["code"]) == (2, code)


def test_helps_show_choices_groups_and_one_style_of_values(run: Any) -> None:
    text = run("audit", "--help").out
    assert "audit WORKFLOW --reference DIR --out DIR" in text
    assert "--distance fid|kid|mmd|fid_infinity" in text
    assert "--estimator regression|permutation" in text
    assert "[default: 8]" in text
    titles = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Arguments:", *(f"{title}:" for title in GROUPS), f"{REST}:"]
    for command in COMMANDS:
        shown = run(*command, "--help").out
        assert "Usage: " in shown
        assert not re.search(r"<|\{|--no-(?!copy|features)|list\[|…\.\.\.", shown), command
        values = re.findall(r"^  --[a-z-]+ (\S+)", shown, re.M)
        assert all(value == value.upper() or "|" in value for value in values if len(value) < 30), (command, values)


def test_completion_is_offered(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--install-completion" in run("--help").out
    monkeypatch.setenv("_COPYSCOPE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "copyscope plan --esti")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert run().out.split() == ["--estimator"]
    monkeypatch.setenv("COMP_WORDS", "copyscope plan w.json --estimator ")
    monkeypatch.setenv("COMP_CWORD", "4")
    assert run().out.split() == ["regression", "permutation"]


def test_plan_says_how_long_it_may_take(run: Any, server: FakeComfy, tmp_path: Path) -> None:
    workflow = write(tmp_path / "w.json", with_lora())
    assert "How long it takes is not known" in run("plan", workflow).out
    assert run("plan", workflow, "--json").data["duration"] is None
    text = run("plan", workflow, "--server", server.url, "--probe", "--seeds", 1).out
    assert re.search(r"About 1 s for at most 7 prompts, 0\.\d s each by a probe on http", text)
    assert len(server.prompts) == 1


def test_shapley(run: Any, tmp_path: Path) -> None:
    game = write(tmp_path / "game.json", GAME)
    data = run("shapley", game, "--json").data
    assert data["shapley"] == {"é": 2.5, "b": 4.5}
    assert data["leave_one_out"] == {"é": 4.0, "b": 6.0}
    assert data["efficiency_gap"] == 0.0
    text = run("shapley", game).out
    assert "leave-one-out" in text
    assert "4.5" in text


def test_an_incomplete_game_is_refused_with_what_is_missing(run: Any, tmp_path: Path) -> None:
    game = write(tmp_path / "game.json", {**GAME, "coalitions": GAME["coalitions"][:2]})
    sentence = run("shapley", game, "--json").refused()
    assert "lacks 2 of 4 coalitions: {b}, {é, b}" in sentence
    assert "not JSON" in run("shapley", write_bytes(tmp_path / "x", b"{")).refused()
    assert "cannot be read" in run("shapley", tmp_path / "none").refused()


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_fid(run: Any, tmp_path: Path) -> None:
    a, b = image_folder(tmp_path / "a", 3), image_folder(tmp_path / "b", 2, seed=5)
    data = run("fid", a, b, "--json").data
    assert (data["n_a"], data["n_b"], data["preprocessing"]) == (3, 2, INCEPTION_ID)
    assert data["fid"] == pytest.approx(data["fid_mean"] + data["fid_covariance"])
    assert isinstance(data["kid"], float)


def test_fid_of_few_images(run: Any, tmp_path: Path, fast: None) -> None:
    a = image_folder(tmp_path / "a", 3)
    same = run("fid", a, a, "--json").data
    assert same["fid"] == pytest.approx(0, abs=1e-6)
    one = image_folder(tmp_path / "one", 1)
    assert run("fid", a, one, "--json").data["kid"] is None
    text = run("fid", a, one).out
    assert "FID" in text
    assert "not defined for a single image" in text


def test_bad_image_folders(run: Any, tmp_path: Path) -> None:
    a = image_folder(tmp_path / "a", 2)
    (tmp_path / "empty").mkdir()
    assert "does not exist" in run("fid", a, tmp_path / "none", "--json").refused()
    assert "has no images" in run("fid", a, tmp_path / "empty").refused()
    (a / "notes.txt").write_text("x", encoding="utf-8")
    assert "notes.txt" in run("fid", a, a).err
    (a / "damaged.png").write_text("x", encoding="utf-8")
    assert "damaged.png" in run("fid", a, a).refused()
    good = image_folder(tmp_path / "good", 2)
    assert "device 'warp' cannot be used" in run("fid", good, good, "--device", "warp").refused()


def test_score_and_runs(run: Any, tmp_path: Path, fast: None) -> None:
    folder = tmp_path / "images"
    for number, name in enumerate(("none", "a")):
        image_folder(folder / name, 2, seed=10 * number)
    rows = [{"folder": "none", "members": []}, {"folder": "a", "members": ["style"]}]
    write(folder / "game.json", {"players": ["style"], "coalitions": rows})
    reference = image_folder(tmp_path / "reference", 2, seed=99)
    words = ("score", folder, "--reference", reference, "--out", tmp_path / "out")
    data = run(*words, "--json").data
    manifest = (tmp_path / "out" / "manifest.json").read_bytes()
    assert data.pop("manifest_sha256") == hashlib.sha256(manifest).hexdigest()
    assert data == json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert data["players"][0]["name"] == "style"
    assert {"members", "fid", "kid", "images"} <= set(data["coalitions"][0])
    text = run(*words).out
    assert "report.html" in text
    assert "not a finding of infringement" in text
    listed = run("runs", "list", "--json").data["runs"]
    assert [(item["folder"], item["finished"]) for item in listed] == [(str(tmp_path / "out"), True)]
    assert str(tmp_path / "out") in run("runs", "list").out
    assert "give --all" in run("runs", "clean").refused()
    assert "not a run folder" in run("runs", "clean", folder).refused()
    assert run("runs", "clean", "--all", "--json").data["removed"] == [str(tmp_path / "out")]
    assert run("runs", "list", "--json").data == {"runs": []}
    assert "No stored runs" in run("runs", "list").out


def test_pdf_is_checked_before_anything_is_scored(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM_PATH", str(tmp_path / "none"))
    out, score = tmp_path / "out", ("score", demo.IMAGES, "--reference", demo.REFERENCE, "--out", tmp_path / "out")
    for file, words in ((out / "report.pdf", "lies in the run folder"), (tmp_path / "report.pdf", "which is no file")):
        assert words in run(*score, "--pdf", file).refused()
    assert not out.exists()


def test_plan_without_a_server(run: Any, tmp_path: Path) -> None:
    workflow = write(tmp_path / "w.json", with_lora())
    data = run("plan", workflow, "--json", "--seeds", 3).data
    assert [(p["name"], p["kind"], p["node"]) for p in data["players"]] == [
        ("style", "lora", "2"),
        ("prompt", "prompt", "6"),
    ]
    assert (data["coalitions"], data["images"], data["sampler_runs"]) == (4, 12, 12)
    assert data["locked"][0]["kind"] == "checkpoint"
    assert data["unmeasured"] == []
    text = run("plan", workflow).out
    assert "4 coalitions × 8 seeds × batch 1 = 32 images" in text
    assert "bypassed" in text


def test_plan_until_sure_says_when_it_looks_first_and_how_many_runs_it_makes_at_most(run: Any, tmp_path: Path) -> None:
    workflow = write(tmp_path / "w.json", with_lora())
    text = run("plan", workflow, "--until-sure", "--max-runs", 50).out
    assert "At most 4 coalitions × 12 seeds" in text
    assert "Until sure: a first look after 12 runs, and at most 48 runs in all." in text
    data = run("plan", workflow, "--until-sure", "--seeds", 16, "--error", 0.01, "--json").data
    assert data["until_sure"] == {"error": 0.01, "first": 12, "runs": 64}
    assert run("plan", workflow, "--json").data["until_sure"] is None
    assert "give until_sure too" in run("plan", workflow, "--max-runs", 50).refused()


def test_plan_of_a_video_says_how_many_frames(run: Any, tmp_path: Path) -> None:
    workflow = write(tmp_path / "w.json", as_video())
    assert "4 coalitions × 8 seeds × 4 of 16 frames of a clip = 128 images" in run("plan", workflow, "--frames", 4).out
    assert run("plan", workflow, "--frames", 4, "--json").data["clip"] == {"frames": 4, "length": 16}


def test_plan_takes_options_over_a_settings_file(run: Any, tmp_path: Path) -> None:
    workflow = write(tmp_path / "w.json", with_lora())
    settings = write(tmp_path / "s.json", {"seeds": 5, "baseline_checkpoint": "plain.safetensors"})
    data = run("plan", workflow, "--settings", settings, "--seeds", 2, "--lock", "prompt", "--json").data
    assert (data["seeds"], [p["name"] for p in data["players"]]) == (2, ["dream", "style"])
    data = run("plan", workflow, "--key-prompt", "hokusai", "--players", "prompt", "--json").data
    assert len(data["players"]) == 1
    assert "--baseline-model must be NODE=FILE" in run("plan", workflow, "--baseline-model", "x").refused()
    assert "seeds" in run("plan", workflow, "--seeds", 0).refused()
    write(settings, {"seedz": 5})
    assert "seedz" in run("plan", workflow, "--settings", settings).refused()
    assert "cannot be read" in run("plan", workflow, "--settings", tmp_path / "none").refused()


def cycle() -> Any:
    workflow = with_lora()
    workflow["2"]["inputs"]["model"] = ["2", 0]
    return workflow


def nowhere() -> Any:
    workflow = with_lora()
    workflow["2"]["inputs"]["model"] = ["77", 0]
    return workflow


def paid() -> Any:
    workflow = with_lora()
    workflow["9"] = node("SaveImage", images=["50", 0], filename_prefix="x")
    workflow["50"] = node("FluxProUltraImageNode", prompt="x", seed=1)
    return workflow


def explosion() -> Any:
    workflow = with_lora()
    last = "2"
    for number in range(60, 70):
        model, clip = [last, 0], [last, 1]
        lora = {"model": model, "clip": clip, "lora_name": f"l{number}.safetensors", "strength_model": 1}
        workflow[str(number)] = node("LoraLoader", **lora, strength_clip=1)
        last = str(number)
    workflow["3"]["inputs"]["model"] = [last, 0]
    return workflow


BAD_WORKFLOWS = {
    "cycle": (cycle(), "cycle"),
    "nowhere": (nowhere(), "not in the workflow"),
    "no sampler": ({"1": node("EmptyImage", width=8, height=8, batch_size=1, color=0),
                    "2": node("SaveImage", images=["1", 0], filename_prefix="x")}, "made by a sampler"),
    "no output": ({"1": node("EmptyImage", width=8, height=8, batch_size=1, color=0)}, "no node that saves"),
    "an audit": ({"1": node("CopyScopeLoaderCoalitions", checkpoint="a")}, "is an audit already: its Loader"),
    "paid": (paid(), "paid services"),
    "explosion": (explosion(), "4,096 coalitions, more than max_coalitions = 256; lock some"),
    "a list": ([], "not a JSON object"),
    "ui": ({"nodes": [], "links": []}, "UI format"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_WORKFLOWS)
def test_bad_workflows_are_refused_in_a_sentence(run: Any, tmp_path: Path, case: str) -> None:
    data, message = BAD_WORKFLOWS[case]
    workflow = write(tmp_path / "w.json", data)
    assert message in run("plan", workflow, "--json").refused()


def test_files_that_are_no_workflow(run: Any, tmp_path: Path) -> None:
    assert "holds no workflow" in run("plan", write_bytes(tmp_path / "w.json", png_bytes(1))).refused()
    assert "cannot be read" in run("plan", tmp_path / "none.json").refused()


def test_audit(run: Any, server: FakeComfy, tmp_path: Path, fast: None) -> None:
    workflow = write(tmp_path / "w.json", with_lora())
    reference = image_folder(tmp_path / "reference", 2, seed=99)
    words = ("audit", workflow, "--reference", reference, "--out", tmp_path / "out", "--server", server.url)
    data = run(*words, "--seeds", 1, "--json").data
    manifest = (tmp_path / "out" / "manifest.json").read_bytes()
    assert data.pop("manifest_sha256") == hashlib.sha256(manifest).hexdigest()
    assert data == json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert [player["name"] for player in data["players"]] == ["style", "prompt"]
    assert {"name", "kind", "shapley", "share", "leave_one_out"} <= set(data["players"][0])
    assert len(server.prompts) == 4 + 1 + 2  # canaries
    text = run(*words, "--seeds", 1, "--hide-reference").out
    assert len(server.prompts) == 4 + 1 + 2
    assert str(tmp_path / "out" / "report.html") in text


def test_audit_refuses_before_anything_is_sampled(run: Any, server: FakeComfy, tmp_path: Path) -> None:
    reference = image_folder(tmp_path / "reference", 2)
    good = write(tmp_path / "w.json", with_lora())

    def refused(workflow: Path, images: Path, *more: object) -> str:
        return run("audit", workflow, "--reference", images, "--out", tmp_path / "out", *more).refused()

    at = ("--server", server.url)
    assert "does not exist" in refused(good, tmp_path / "none", *at)
    assert "4,096 coalitions" in refused(write(tmp_path / "x.json", explosion()), reference, *at)
    assert "No ComfyUI server can be reached at http://127.0.0.1:9" in refused(
        good, reference, "--server", "127.0.0.1:9"
    )
    assert "no server address" in refused(good, reference, "--server", "ftp://x")
    assert "not a ComfyUI folder" in refused(good, reference, "--comfyui", tmp_path)
    assert "nobody" in refused(good, reference, *at, "--lock", "nobody")
    server.info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"] = [["other.safetensors"], {}]
    assert "'dream.safetensors'" in (text := refused(good, reference, *at))
    assert "other.safetensors" in text
    server.version = "0.3.60"
    assert "too old" in refused(good, reference, *at)
    assert server.prompts == []
    assert not (tmp_path / "out").exists()


def test_control_and_distance_of_an_audit(run: Any, server: FakeComfy, tmp_path: Path, fast: None) -> None:
    workflow = write(tmp_path / "w.json", with_lora())
    reference = image_folder(tmp_path / "reference", 2, seed=99)
    control = image_folder(tmp_path / "control", 3, seed=50)
    common = ("--out", tmp_path / "out", "--server", server.url, "--seeds", 2)
    words = ("audit", workflow, "--reference", reference, *common)
    plain = run(*words, "--control", "none", "--json").data
    sampled = len(server.prompts)
    general = run(*words, "--json").data["control"]
    assert (general["source"], general["bank"], general["count"] >= 20) == ("bank", load_bank().version, True)
    data = run(*words, "--control", control, "--distance", "mmd", "--json").data
    assert len(server.prompts) == sampled
    assert (plain["distance"], plain["control"], data["distance"], data["control"]["count"]) == ("fid", None, "mmd", 3)
    for player in data["players"]:
        assert player["contrast"] is not None
    assert "FID points" in run(*words, "--control", control).out


def test_control_and_distance_are_checked_before_anything_is_sampled(
    run: Any, server: FakeComfy, tmp_path: Path, fast: None
) -> None:
    reference = image_folder(tmp_path / "reference", 2)
    workflow = write(tmp_path / "w.json", with_lora())
    common = ("--reference", reference, "--out", tmp_path / "out")
    audit = ("audit", workflow, *common, "--server", server.url)
    score = ("score", demo.IMAGES, *common)
    for words in (audit, score):
        assert "absent does not exist" in run(*words, "--control", tmp_path / "absent").refused()
        text = run(*words, "--distance", "fidd").refused()
        assert "no distance 'fidd'; choose one of fid, kid, mmd, fid_infinity" in text
    few = run(*audit, "--distance", "fid_infinity", "--seeds", 4).refused()
    assert "needs at least 5,000 images a combination, and seeds × batch = 4 × 1 = 4" in few
    assert "seeds × batch = 1 × 1 = 1" in run(*audit, "--distance", "kid", "--seeds", 1).refused()
    assert server.prompts == []
    assert not (tmp_path / "out").exists()
    assert "fid_infinity needs at least 5,000 images" in run(*score, "--distance", "fid_infinity").refused()


def test_images_are_sent_for_their_style_only_with_leave(
    run: Any, server: FakeComfy, tmp_path: Path, fast: None
) -> None:
    reference = image_folder(tmp_path / "reference", 2)
    workflow = write(tmp_path / "w.json", with_lora())
    words = ("audit", workflow, "--reference", reference, "--out", tmp_path / "out", "--server", server.url)
    style = ("--style-checkpoint", "plain.safetensors")
    assert "give --share-reference too if they may go there" in run(*words, *style).refused()
    assert "name a --style-checkpoint or a --baseline-checkpoint too" in run(*words, "--share-reference").refused()
    assert "install this version of the CopyScope pack there" in run(*words, *style, "--share-reference").refused()
    assert server.prompts == []


def test_demo_without_a_comfyui_scores_the_shipped_images(
    run: Any, tmp_path: Path, fast: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setattr(demo, "_usual_places", lambda: iter([tmp_path / "nowhere"]))
    result = run("demo", "--out", tmp_path / "out")
    assert result.code == 0
    assert "No ComfyUI was found" in result.err
    assert str(tmp_path / "out" / "report.html") in result.out
    data = run("demo", "--out", tmp_path / "out", "--json").data
    assert [player["kind"] for player in data["players"]] == ["checkpoint", "lora", "prompt"]
    assert len(data["coalitions"]) == 8
    assert len({coalition["fid"] for coalition in data["coalitions"]}) == 8
    assert data["reference"]["count"] == 7


def test_demo_with_a_wrong_comfyui_says_so(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not a ComfyUI folder" in run("demo", "--out", tmp_path / "out", "--comfyui", tmp_path).refused()
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    assert "not a ComfyUI folder" in run("demo", "--out", tmp_path / "out").refused()


def begun(words: Sequence[object]) -> subprocess.Popen[str]:
    """A command that runs in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "copyscope_core.cli", *map(str, words), "--json"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a process")
def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(
    run: Any, server: FakeComfy, tmp_path: Path, fast: None
) -> None:
    workflow = write(tmp_path / "w.json", with_lora())
    reference = image_folder(tmp_path / "reference", 2, seed=99)
    server.seconds = 1.0
    words = ["audit", workflow, "--reference", reference, "--out", tmp_path / "out", "--server", server.url]
    process = begun(words)
    deadline = time.monotonic() + 60
    while len(server.prompts) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["code"] == "interrupted"
    assert "run the same command again to go on" in err
    assert "Traceback" not in err
    assert (len(server.interrupted), len(server.deleted)) == (1, 1)  # what ran, and what was queued ahead
    server.seconds = 0
    before = len(server.prompts)
    assert run(*words, "--seeds", 8, "--json").code == 0
    assert before - 2 + len(server.prompts) - before == 4 * 8 + 1 + 2


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a process")
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_after_a_look_gives_the_report_and_twice_none(
    server: FakeComfy, tmp_path: Path, fast: None, presses: int
) -> None:
    workflow = write(tmp_path / "w.json", with_lora())
    reference = image_folder(tmp_path / "reference", 2, seed=99)
    server.paint, server.seconds = painted(server, lora=14, prompt=12, shake=12), 0.2
    words = ["audit", workflow, "--reference", reference, "--out", tmp_path / "out", "--server", server.url]
    words += ["--control", "none", "--until-sure", "--seeds", 32, "--error", 0.001]
    process = begun(words)
    deadline = time.monotonic() + 120
    while len(server.prompts) < 15 and time.monotonic() < deadline:  # 3 seeds of 4 coalitions, and the second run
        time.sleep(0.02)
    for _ in range(presses):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    out, err = process.communicate(timeout=120)
    assert "Look 1: 3 seeds, 12 of at most 128 runs." in err
    assert "Traceback" not in err
    if presses == 1:
        assert process.returncode == 0, err
        assert "Stopping: what is known is reported" in err
        assert json.loads(out)["verdict"]["until_sure"]["stopped"] == "user"
    else:
        assert process.returncode == 130
        assert json.loads(out)["code"] == "interrupted"


def test_an_error_cannot_drive_the_terminal() -> None:
    message = str(CopyScopeError("a\x1b[31mb\x00c\u202ed\ud800e\nf é"))
    assert message == "a�[31mb�c�d�e\nf é"


def test_warnings_of_every_room_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    prepare_streams()
    logging.getLogger("copyscope_core.store.run_store").warning("the entry is damaged")
    assert "Warning: the entry is damaged" in capsys.readouterr().err


def test_every_setting_is_an_option_of_plan_audit_and_batch(run: Any) -> None:
    for command in ("plan", "audit", "batch"):
        text = run(command, "--help").out
        for name in AuditSettings.model_fields:
            assert opt.FLAGS.get(name, f"--{name.replace('_', '-')}") in text, (command, name)
