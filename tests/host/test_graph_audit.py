"""An audit inside a ComfyUI graph, on a real host with miniature models."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostutil import Server, require_host, start_server
from PIL import Image
from safetensors.numpy import save_file

from copyscope_core.files.images import read_image
from copyscope_core.planning.plan import make_plan
from copyscope_core.planning.steps import run_nonce
from copyscope_core.settings import AuditSettings
from copyscope_core.workflow.node_info import bundled_catalog

from .audits import (
    BASELINE,
    CHECKPOINT,
    LORA_A,
    LORA_NONE,
    VAE,
    audited,
    cache_mode,
    error_of,
    expands,
    in_two_stages,
    node,
    pixels_of,
    plain,
    report_of,
    values,
    watched,
    with_noise_node,
)
from .conftest import make_base


def own_pixels(server: Server, workflow: dict[str, Any]) -> list[str]:
    """The pixel hashes of what the workflow saves by itself."""
    workflow["9"]["inputs"]["filename_prefix"] = uuid.uuid4().hex  # a cached SaveImage would give no outputs
    entry = server.run(workflow)
    images = entry["outputs"]["9"]["images"]
    return [read_image(server.base_dir / "output" / i["subfolder"] / i["filename"]).pixel_sha256 for i in images]


def run_of(entry: dict[str, Any]) -> str:
    """The name of the run folder of a history entry."""
    return entry["outputs"]["23"]["copyscope_files"][0]["subfolder"].rpartition("/")[2]


def prompt_id(server: Server, workflow: dict[str, Any]) -> str:
    status, answer = server.post("/prompt", {"prompt": workflow})
    assert status == 200, answer
    return answer["prompt_id"]


def test_full_coalition_is_the_users_image_and_absence_is_the_bypass_by_hand(mini_server) -> None:
    if not expands(mini_server):
        pytest.skip("this ComfyUI cannot run audits in a graph with --cache-none, and another test sees it refuse them")
    report = report_of(mini_server.run(audited(plain(), seeds=2)))
    lora = LORA_A.removesuffix(".safetensors")
    assert [p["name"] for p in report["players"]] == [lora, "prompt"]
    full = own_pixels(mini_server, plain()) + own_pixels(mini_server, plain(seed=6))
    assert pixels_of(report, lora, "prompt") == full
    assert pixels_of(report, "prompt") == own_pixels(mini_server, plain(lora=None)) + own_pixels(
        mini_server, plain(lora=None, seed=6)
    )
    assert report["deterministic"] is True
    assert abs(sum(p["shapley"] for p in report["players"]) - report["coalitions"][-1]["value"]) < 1e-6
    assert [c["name"] for c in report["locked"]] == ["copyscope-mini-sd15"]


def test_every_post_gives_its_report_and_the_second_samples_nothing(mini_server) -> None:
    workflow = audited(plain(seed=100), seeds=1)
    first = report_of(mini_server.run(workflow))
    before = mini_server.log_text().count("Requested to load")
    started = time.monotonic()
    second = report_of(mini_server.run(workflow))
    assert values(first) == values(second)
    assert time.monotonic() - started < 10
    assert mini_server.log_text().count("Requested to load") == before


def test_component_without_effect_gets_exactly_zero(mini_server) -> None:
    report = report_of(mini_server.run(audited(plain(lora=LORA_NONE), seeds=1)))
    player = report["players"][0]
    assert (player["shapley"], player["no_effect"]) == (0.0, True)


def test_checkpoint_against_a_baseline_and_model_hashes(mini_server) -> None:
    report = report_of(mini_server.run(audited(plain(), seeds=1, baseline_checkpoint=BASELINE, lock="lora")))
    checkpoint = report["players"][0]
    assert (checkpoint["kind"], len(checkpoint["sha256"]), len(checkpoint["autov2"])) == ("checkpoint", 64, 10)
    assert pixels_of(report, "prompt") != pixels_of(report, checkpoint["name"], "prompt")
    status, answer = mini_server.post("/copyscope/hashes", {"files": [checkpoint["file"], "../../secret.safetensors"]})
    assert status == 200
    assert answer["files"][checkpoint["file"]]["sha256"] == checkpoint["sha256"]
    assert answer["files"]["../../secret.safetensors"] is None


def test_images_carry_their_workflow_and_html_is_written(mini_server) -> None:
    entry = mini_server.run(audited(plain(), seeds=1))
    report = report_of(entry)
    files = {f["filename"]: f for f in entry["outputs"]["23"]["copyscope_files"]}
    folder = mini_server.base_dir / "output" / files["report.html"]["subfolder"]
    assert (folder / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    full = report["coalitions"][-1]
    with Image.open(folder / full["folder"] / full["image_files"][0]["file"]) as image:
        assert "KSampler" in image.info["prompt"]


def test_loader_coalitions_builds_the_same_audit(mini_server) -> None:
    workflow = {
        "1": node("CopyScopeLoaderCoalitions", checkpoint=CHECKPOINT, baseline_checkpoint="(none)",
                  vae="(none)", positive="a wave, by hokusai", negative="blurry", key_prompts="", width=64, height=64,
                  batch_size=1, seed=5, seeds=2, steps=2, cfg=7.0, sampler_name="euler", scheduler="normal",
                  lora_1=LORA_A, strength_1=1.0, max_coalitions=256,
                  **{f"lora_{i}": "(none)" for i in range(2, 7)}, **{f"strength_{i}": 1.0 for i in range(2, 7)}),
        "22": node("CopyScopeFID", coalitions=["1", 0], reference_folder="ref", control_bank=False),
        "23": node("CopyScopeShapleyReport", game=["22", 0], show_reference=False),
    }  # fmt: skip
    alone = report_of(mini_server.run(workflow))
    assert values(alone) == values(report_of(mini_server.run(audited(plain(), seeds=2))))


def test_reference_from_nodes(mini_server) -> None:
    by_folder = report_of(mini_server.run(audited(plain(), seeds=1)))
    workflow = audited(plain(), seeds=1, reference="(none)")
    workflow["30"] = node("CopyScopeLoadReference", folder="ref")
    for slot in (0, 1):  # CopyScope's own type, then a list of IMAGEs
        workflow["22"]["inputs"]["reference"] = ["30", slot]
        assert values(report_of(mini_server.run(workflow)))["fid"] == pytest.approx(values(by_folder)["fid"], rel=1e-6)


def test_single_reference_is_a_point_mass_and_said_so(mini_server) -> None:
    folder = mini_server.base_dir / "input" / "one"
    folder.mkdir(exist_ok=True)
    (folder / "x.png").write_bytes((mini_server.base_dir / "input" / "ref" / "0.png").read_bytes())
    report = report_of(mini_server.run(audited(plain(), seeds=1, reference="one")))
    assert report["reference"]["count"] == 1
    assert any("one reference image" in w["message"] or "point" in w["message"] for w in report["warnings"])


def test_input_image_that_is_a_reference_warns_first(mini_server) -> None:
    source = mini_server.base_dir / "input"
    (source / "hint.png").write_bytes((source / "ref" / "1.png").read_bytes())
    workflow = plain()
    workflow["30"] = node("LoadImage", image="hint.png")
    workflow["31"] = node("VAEEncode", pixels=["30", 0], vae=["4", 2])
    workflow["3"]["inputs"].update(latent_image=["31", 0], denoise=0.5)
    report = report_of(mini_server.run(audited(workflow, seeds=1)))
    assert report["warnings"][0]["code"] == "input_matches_reference"
    assert "hint.png" in report["warnings"][0]["message"]
    assert "image: hint.png" in [u["name"] for u in report["unmeasured"]]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"21": {"max_coalitions": 2}}, "2 players make 4 coalitions, more than max_coalitions = 2"),
        ({"20": {"lock": "nope"}}, "No component is called 'nope'"),
        ({"20": {"key_prompts": "monet"}}, "'monet' stands in no positive text"),
        ({"20": {"lock": "lora\nprompt"}}, "all components are locked"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sampled(mini_server, change, sentence) -> None:
    workflow = audited(plain(seed=4242))
    del workflow["9"]
    for key, inputs in change.items():
        workflow[key]["inputs"].update(inputs)
    before = mini_server.log_text().count("Requested to load")
    entry = mini_server.run(workflow)
    assert sentence in error_of(entry)
    assert mini_server.log_text().count("Requested to load") == before


def test_no_players_upstream(mini_server) -> None:
    workflow = audited(plain())
    workflow["8"] = node("EmptyImage", width=64, height=64, batch_size=1, color=5)
    assert "No players were found upstream of node '8'" in error_of(mini_server.run(workflow))


def test_bad_reference_folders_are_node_errors(mini_server) -> None:
    source = mini_server.base_dir / "input"
    (source / "empty").mkdir(exist_ok=True)
    (source / "odd").mkdir(exist_ok=True)
    (source / "odd" / "notes.txt").write_text("no image", encoding="utf-8")
    for folder, sentence in (("missing", "'missing' is not in"), ("empty", "empty"), ("odd", "notes.txt"),
                             ("../output", "not in ComfyUI's input folder"),
                             ("(none)", "Choose a reference_folder")):  # fmt: skip
        workflow = audited(plain(), reference=folder)
        del workflow["9"]
        status, answer = mini_server.post("/prompt", {"prompt": workflow})
        assert status == 400, (folder, answer)
        assert sentence in str(answer["node_errors"]["22"]), folder


def test_routes_stay_inside_the_run_folders(mini_server) -> None:
    entry = mini_server.run(audited(plain(), seeds=1))
    run = run_of(entry)
    with urllib.request.urlopen(f"{mini_server.url}/copyscope/runs/{run}/report.html") as answer:
        assert "sandbox" in answer.headers["Content-Security-Policy"]
    (mini_server.base_dir / "output" / "copyscope" / "0123456789abcdef").mkdir(exist_ok=True)
    link = mini_server.base_dir / "output" / "copyscope" / "0123456789abcdef" / "report.json"
    if not link.is_symlink():
        link.symlink_to(mini_server.base_dir / "comfyui.log")
    for path in (f"{run}/run.json", f"{run}/..%2f{run}%2freport.html", "..%2f..%2f/report.html", "%2e%2e/report.json",
                 f"{run}/%2e%2e%2f%2e%2e%2fcomfyui.log", "0123456789abcdef/report.json"):  # fmt: skip
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{mini_server.url}/copyscope/runs/{path}")
        assert caught.value.code == 404, path


def test_interrupted_audit_goes_on_where_it_stopped(mini_server) -> None:
    workflow = audited(plain(seed=900, size=128), seeds=4)
    undisturbed = audited(plain(seed=900, size=128), seeds=4, neutral_prompt=" ")  # the same games, another folder
    ident = prompt_id(mini_server, workflow)
    stored: set[Path] = set()
    limit = time.monotonic() + 120
    while len(stored) < 3 and time.monotonic() < limit:
        time.sleep(0.05)
        stored = {p for p in (mini_server.base_dir / "output" / "copyscope").glob("*/coalitions/[!.]*/entry.json")
                  if p.stat().st_mtime > time.time() - 20}  # fmt: skip
    assert mini_server.post("/interrupt", {}) == (200, None)
    while ident not in mini_server.get(f"/history/{ident}"):
        time.sleep(0.05)
    messages = [kind for kind, _ in mini_server.get(f"/history/{ident}")[ident]["status"]["messages"]]
    assert "execution_interrupted" in messages
    kept = {path: path.stat().st_mtime_ns for path in stored}
    report = report_of(mini_server.run(workflow))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # what was stored was not made again
    assert values(report) == values(report_of(mini_server.run(undisturbed)))


def test_an_audit_that_waits_for_ever_can_be_cancelled(mini_server) -> None:
    """A node of the workflow blocks what comes after it: its images never arrive, and all nodes wait."""
    workflow = plain(seed=71)
    workflow["30"] = node("CopyScopeTestGate", image=["8", 0])
    workflow["9"]["inputs"]["images"] = ["30", 0]
    blocked = audited(workflow, seeds=1)
    blocked["21"]["inputs"]["image"] = ["30", 0]
    ident = prompt_id(mini_server, blocked)
    limit = time.monotonic() + 120
    while mini_server.get("/queue")["queue_running"] == [] and time.monotonic() < limit:
        time.sleep(0.1)
    time.sleep(6)  # in which its one step is long blocked
    assert mini_server.get("/queue")["queue_running"] != []
    mini_server.post("/interrupt", {})
    while mini_server.get("/queue")["queue_running"] != [] and time.monotonic() < limit:
        time.sleep(0.1)
    entry = mini_server.get(f"/history/{ident}")[ident]
    assert entry["status"]["status_str"] == "error"
    assert any(kind == "execution_interrupted" for kind, _ in entry["status"]["messages"]), entry["status"]
    report_of(mini_server.run(audited(plain(seed=71), seeds=1)))  # the queue goes on


def has_null_cache() -> bool:
    """Whether this ComfyUI can expand nodes under ``--cache-none``."""
    text = (require_host() / "comfy_execution" / "caching.py").read_text(encoding="utf-8")
    return "class NullCache" in text


def sinks(ids: list[str]) -> list[int]:
    """The steps that were stored, in order."""
    return [int(ident.rpartition(".")[2]) for ident in ids if "images." in ident]


@pytest.mark.parametrize(
    ("own", "flags"),
    [(plain, ()), (plain, ("--cache-lru", "100")), (plain, ("--cache-none",)), (with_noise_node, ())],
)
def test_each_distinct_node_runs_once(mini_models, tmp_path, own, flags) -> None:
    workflow = audited(own(), seeds=2)
    if "--cache-none" in flags:
        del workflow["9"]  # where ComfyUI picks it first, its nodes are forgotten before the audit begins
    plan = make_plan(workflow, bundled_catalog(), AuditSettings(seeds=2))
    for step in (*plan.steps(), *plan.canaries()):
        plan.rewriter.target(step.mask, step.offset, run_nonce(step))
    made = [digest for digest in plan.rewriter.pool if not plan.rewriter.is_original(digest)]
    with start_server(make_base(tmp_path / "base", mini_models), flags) as server:
        if "--cache-none" in flags and not has_null_cache():
            assert "start it without that flag" in error_of(server.run(workflow))
            return
        _, ids, texts, _ = asyncio.run(watched(server, workflow))
        report = report_of(server.run(workflow))
        full = own_pixels(server, own()) + own_pixels(server, own(seed=6))
    wanted = [ident for ident in workflow if ident in plan.graph or ident == "9"]
    assert sorted(ident for ident in ids if ident in wanted) == sorted(wanted)  # the full coalition links to them
    expanded = [i for i in ids if i not in workflow and "images." not in i and not i.endswith((".turn", "collect"))]
    assert len(expanded) == len(set(expanded)) == len(made)
    assert sinks(ids) == list(range(9 + 2))  # coalitions finish in order, canaries last
    assert_in_turn(texts, 9 + 2)
    assert report["deterministic"] is True
    assert pixels_of(report, *plan.names) == full


def assert_in_turn(texts: list[str], total: int) -> None:
    """No sampler of a step starts before the step before it is stored; the first step may be the user's own nodes."""
    shown = [line.split(":")[0] for line in texts if f" of {total}: " in line]
    order = [line.removeprefix("Running ") for line in shown]
    assert order == sorted(order, key=lambda line: int(line.split()[0])), shown
    assert {f"Running {step} of {total}" for step in range(2, total + 1)} <= set(shown)


def test_stages_that_share_the_seed_wait_for_their_turn(mini_server) -> None:
    workflow = in_two_stages(seed=700)
    workflow["43"] = node("VAELoader", vae_name=VAE)
    workflow["8"]["inputs"]["vae"] = ["43", 0]  # a player that no sampler depends on
    _, ids, texts, _ = asyncio.run(watched(mini_server, audited(workflow, seeds=2)))
    assert sinks(ids) == list(range(17 + 2))
    assert_in_turn(texts, 17 + 2)


def test_failure_in_the_expansion_names_its_coalition(mini_server) -> None:
    workflow = audited(plain(seed=1500), seeds=1)
    entry = mini_server.run(workflow)
    run = mini_server.base_dir / "output" / "copyscope" / run_of(entry)
    for folder in ("coalitions", "features"):
        shutil.rmtree(run / folder)
    (run / "features").write_text("in the way", encoding="utf-8")
    entry = mini_server.run(workflow)
    (run / "features").unlink()
    assert f"Coalition {LORA_A.removesuffix('.safetensors')} + prompt, seed +0: " in error_of(entry)
    kinds = [data["exception_type"] for kind, data in entry["status"]["messages"] if kind == "execution_error"]
    assert kinds[0].endswith("StoreError")


def test_memory_is_counted_for_what_is_not_stored(mini_models, tmp_path) -> None:
    with start_server(make_base(tmp_path / "base", mini_models), ("--cache-classic",)) as server:
        free = server.get("/system_stats")["system"]["ram_free"]
        largest = 16384
        seeds = 1 + int(free // (7 * largest * largest * 12))
        workflow = large_images(0.55 * free / (4 * seeds + 3))
        report_of(server.run(audited(workflow, seeds=seeds)))
        assert "are to do, would keep about" in error_of(server.run(audited(workflow, seeds=4 * seeds)))
        report_of(server.run(audited(workflow, seeds=2 * seeds)))  # all would be too much, the new half is not


def large_images(size: float) -> dict[str, Any]:
    """A workflow whose images count as so many bytes, though small ones are sampled."""
    side = int((size / 12) ** 0.5) // 8 * 8
    workflow = plain(seed=1600)
    workflow["5"]["inputs"].update(width=side, height=side)
    workflow["40"] = node("LatentUpscale", samples=["5", 0], upscale_method="nearest-exact", width=64, height=64,
                          crop="disabled")  # fmt: skip
    workflow["3"]["inputs"]["latent_image"] = ["40", 0]
    return workflow


def test_what_memory_must_hold_is_asked_of_the_cache(mini_server) -> None:
    """One run's images fit, three do not; the classic and LRU caches keep those of all seven."""
    if not expands(mini_server):
        assert "start it without that flag" in error_of(mini_server.run(audited(plain())))
        return
    free = mini_server.get("/system_stats")["system"]["ram_free"]
    batch = 1 + int(0.4 * free // 3e9)
    workflow = audited(large_images(0.4 * free / batch), seeds=1)
    workflow["5"]["inputs"]["batch_size"] = batch
    workflow["41"] = node("LatentFromBatch", samples=["40", 0], batch_index=0, length=1)
    workflow["3"]["inputs"]["latent_image"] = ["41", 0]
    del workflow["9"]
    entry = mini_server.run(workflow)
    if cache_mode(mini_server) in ("classic", "lru"):
        assert f"{cache_mode(mini_server)} cache keeps all of them" in error_of(entry)
    else:
        assert len(report_of(entry)["coalitions"]) == 4
    workflow["5"]["inputs"]["batch_size"] = 3 * batch
    assert "The images of one run take about" in error_of(mini_server.run(workflow))


def test_embedding_files_count_as_models(mini_server) -> None:
    folder = mini_server.base_dir / "models" / "embeddings" / "kept"
    folder.mkdir(parents=True, exist_ok=True)
    workflow = plain(seed=1700)
    workflow["7"]["inputs"]["text"] = "embedding:graph-audit, blurry"
    stored = []
    for seed in (1, 2, 1):
        rng = np.random.default_rng(seed)
        save_file({"clip_l": rng.normal(size=(2, 768)).astype(np.float32)}, folder / "graph-audit.safetensors")
        entry = mini_server.run(audited(workflow, seeds=1))
        report_of(entry)
        run = mini_server.base_dir / "output" / "copyscope" / run_of(entry)
        stored.append(len(list(run.glob("coalitions/[!.]*/entry.json"))))
    assert stored == [7, 14, 14]  # the other file's coalitions are others, and the first file's are found again


def test_text_that_ends_like_an_image_file_stops_nothing(mini_server) -> None:
    workflow = plain(seed=1800)
    workflow["7"]["inputs"]["text"] = "a photograph called wave.png"
    report_of(mini_server.run(audited(workflow, seeds=1)))


def test_reference_is_told_apart_by_content(mini_server) -> None:
    folder = mini_server.base_dir / "input" / "swapped"
    folder.mkdir(exist_ok=True)
    workflow = audited(plain(), seeds=1, reference="(none)")
    workflow["30"] = node("CopyScopeLoadReference", folder="swapped")
    workflow["22"]["inputs"]["reference"] = ["30", 0]
    fids = []
    for shade in (30, 220):
        for index in range(2):
            path = folder / f"{index}.bmp"
            Image.new("RGB", (64, 64), (shade, 90, 20 + index)).save(path)
            os.utime(path, ns=(10**18, 10**18))
        fids.append(values(report_of(mini_server.run(workflow)))["fid"])
    assert fids[0] != fids[1]


def test_baseline_that_only_some_coalitions_use_is_hashed(mini_server) -> None:
    vaes = mini_server.base_dir / "models" / "vae"
    shutil.copyfile(vaes / VAE, vaes / "graph-audit-baseline.safetensors")
    workflow = plain(seed=1900)
    workflow["43"] = node("VAELoader", vae_name=VAE)
    workflow["8"]["inputs"]["vae"] = ["43", 0]
    audit = audited(workflow, seeds=1, lock="prompt", baseline_vae="graph-audit-baseline.safetensors")
    report = report_of(mini_server.run(audit))
    assert sorted(p["kind"] for p in report["players"]) == ["lora", "vae"]
    ids = asyncio.run(watched(mini_server, audit)).ids
    assert sinks(ids) == []  # a file that was not hashed would have every coalition made again
