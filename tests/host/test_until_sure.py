"""Audits that run until they are sure on a real ComfyUI: rounds in a graph, and over the server by the command line."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hostutil import Server

from .audits import LORA_A, LORA_NONE, audited, error_of, expands, node, pixels_of, plain, report_of, values, watched

ASK = r"\d+ of \d+: .*, seed \+[3-9]"
"""A run that is stored at a seed which the first look does not have."""


def until_sure(lora: str, seeds: int, reference: str = "ref", **settings: Any) -> dict[str, Any]:
    workflow = audited(plain(lora), seeds, reference)
    workflow["24"] = node(
        "CopyScopeSettings", budget=0, target_width=0.0, estimator="regression", groups="", until_sure=True, **settings
    )
    workflow["21"]["inputs"]["settings"] = ["24", 0]
    return workflow


def own_images(server: Server, lora: str, folder: str) -> None:
    """Makes what the workflow itself gives the works of a folder: so no decision at the first look is out of reach.

    A stored image has the name of what made it, so audits of other tests may have it too: any of them will do.
    """
    own = report_of(server.run(audited(plain(lora), seeds=3)))
    whole = next(item for item in own["coalitions"] if len(item["members"]) == 2)
    (server.base_dir / "input" / folder).mkdir()
    for place, image in enumerate(whole["image_files"]):
        path = next((server.base_dir / "output" / "copyscope").glob(f"*/coalitions/{image['file']}"))
        shutil.copy(path, server.base_dir / "input" / folder / f"{place}.png")


def test_rounds_in_a_graph_give_the_numbers_of_a_plain_audit(mini_server: Server) -> None:
    report = report_of(mini_server.run(until_sure(LORA_A, 6, error=0.05)))
    found = report["verdict"]["until_sure"]
    assert found["stopped"] in ("decided", "cannot_decide", "budget")
    assert [look["seeds"] for look in found["looks"]] == [3, 4, 6][: len(found["looks"])]
    seeds = len(report["seeds"])
    assert seeds == found["looks"][-1]["seeds"]
    assert [canary["holds"] for canary in report["canaries"]] == [True, True]
    again = report_of(mini_server.run(until_sure(LORA_A, 6, error=0.05)))
    assert again["verdict"] == report["verdict"]
    whole = report_of(mini_server.run(audited(plain(), seeds=seeds)))
    assert values(whole) == values(report)
    assert whole["verdict"]["until_sure"] is None


def test_a_graph_that_is_stopped_reports_what_is_known(mini_server: Server) -> None:
    """Asked in the middle of a round: the run under way is kept, the rest left out, and the last look reported."""
    if not expands(mini_server):
        pytest.skip("this ComfyUI cannot run audits in a graph with --cache-none, and another test sees it refuse them")
    own_images(mini_server, LORA_A, "made")
    workflow = until_sure(LORA_A, 16, "made", error=0.001)
    assert mini_server.post("/copyscope/stop", {"node": "21"})[0] == 409
    assert mini_server.post("/copyscope/stop", ["21"])[0] == 400
    asked = []

    def ask(text: str) -> None:
        if not asked and re.match(ASK, text):
            asked.append(mini_server.post("/copyscope/stop", {"node": "21"}))

    seen = asyncio.run(watched(mini_server, workflow, ask))
    assert asked == [(200, {"stopping": True})], seen.texts
    report = report_of(mini_server.get(f"/history/{seen.prompt_id}")[seen.prompt_id])
    found = report["verdict"]["until_sure"]
    assert (found["stopped"], found["seeds"]) == ("user", 16)
    assert len(report["seeds"]) == found["looks"][-1]["seeds"]
    assert [canary["holds"] for canary in report["canaries"]] == [True, True]
    place = next(place for place, text in enumerate(seen.texts) if re.match(ASK, text))
    after = [text for text in seen.texts[place + 1 :] if text.startswith("Running")]
    assert len(after) <= 1 + 2, after  # what was under way, and the canaries
    assert [look["seeds"] for look in seen.races[-1]["looks"]] == [look["seeds"] for look in found["looks"]]
    assert {race["node"] for race in seen.races} == {"21"}
    assert [race["stopped"] for race in seen.races] == [None] * (len(seen.races) - 1) + ["user"]
    assert mini_server.post("/copyscope/stop", {"node": "21"})[0] == 409
    whole = report_of(mini_server.run(audited(plain(), len(report["seeds"]), "made")))
    assert values(whole) == values(report)


def test_two_fid_nodes_that_each_choose_what_is_run_next_are_refused(mini_server: Server) -> None:
    """Both would expand to the same steps, and the prompt would wait for ever."""
    if not expands(mini_server):
        pytest.skip("this ComfyUI cannot run audits in a graph with --cache-none, and another test sees it refuse them")
    workflow = until_sure(LORA_A, 4, error=0.05)
    workflow["3"]["inputs"]["seed"] = 700
    workflow["42"] = node("CopyScopeFID", **{**workflow["22"]["inputs"], "distance": "kid"})
    workflow["43"] = node("CopyScopeShapleyReport", **{**workflow["23"]["inputs"], "game": ["42", 0]})
    assert "give each a CopyScope Coalition Enumerator of its own" in error_of(mini_server.run(workflow))


def test_a_lora_without_effect_is_set_aside_in_a_graph(mini_server: Server) -> None:
    """The reference is what the workflow makes, and the error too small for a few seeds, so that there are rounds."""
    own_images(mini_server, LORA_NONE, "own")
    report = report_of(mini_server.run(until_sure(LORA_NONE, 8, "own", error=0.001)))
    found, seeds = report["verdict"]["until_sure"], len(report["seeds"])
    assert seeds > 3
    (idle,) = [player["name"] for player in report["players"] if player["kind"] == "lora"]
    assert found["set_aside"] == [idle] and found["put_back"] == []
    assert found["runs"] == 4 * 3 + 2 * (seeds - 3)
    assert found["tried"] == 1
    assert pixels_of(report, idle) == pixels_of(report)
    assert len(pixels_of(report)) == seeds


def test_the_command_line_shows_the_race_and_stops(mini_server: Server, tmp_path: Path) -> None:
    workflow, out = tmp_path / "workflow.json", tmp_path / "out"
    workflow.write_text(json.dumps(plain(LORA_NONE)), encoding="utf-8")
    reference = mini_server.base_dir / "input" / "ref"
    command = [
        sys.executable, "-m", "copyscope_core.cli", "audit", str(workflow), "--server", mini_server.url, "--reference",
        str(reference), "--control", "none", "--until-sure", "--error", "0.05", "--max-runs", "30", "--out", str(out),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert "Look 1: 3 seeds, 12 of at most 28 runs. First “" in done.stderr
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    found = report["verdict"]["until_sure"]
    assert (found["budget"], found["seeds"]) == (28, 7)
    assert "The audit ran until it was sure" in done.stdout
