"""A video on a real host: its frames are audited over a server and in a graph, from API files and from UI files."""

from __future__ import annotations

import io
import json
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostutil import Server
from images_on_disk import MeanColours
from PIL import Image

import copyscope_core as cs
from copyscope_core.files.pixels import pixel_hash
from copyscope_core.planning.video import chosen_frames
from copyscope_core.store.runs import STATE_VARIABLE

from .audits import LORA_A, Workflow, audited, error_of, expands, node, pixels_of, plain, report_of

FRAMES = 3
LORA = LORA_A.removesuffix(".safetensors")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))


def video(output: str = "SaveVideo", lora: str | None = LORA_A, seed: int = 5) -> Workflow:
    """The miniature's batch of images, saved as a video."""
    workflow = plain(lora, seed)
    workflow["5"]["inputs"]["batch_size"] = FRAMES
    if output == "SaveVideo":
        workflow["30"] = node("CreateVideo", images=["8", 0], fps=8.0)
        workflow["9"] = node("SaveVideo", video=["30", 0], filename_prefix="video/own", format="auto", codec="auto")
    elif output == "SaveWEBM":
        workflow["9"] = node(output, images=["8", 0], filename_prefix="own", codec="vp9", fps=8.0, crf=32.0)
    elif output == "SaveAnimatedPNG":
        workflow["9"] = node(output, images=["8", 0], filename_prefix="own", fps=8.0, compress_level=4)
    else:
        workflow["9"] = node(output, images=["8", 0], filename_prefix="own", fps=8.0, lossless=True, quality=80,
                             method="default")  # fmt: skip
    return workflow


def as_ui(server: Server, workflow: Workflow) -> dict[str, Any]:
    """The workflow as the front end would save it: nodes with sockets and widget values in the server's order."""
    info = server.get("/object_info")
    ids = {name: number for number, name in enumerate(workflow, start=1)}
    nodes, links = [], []
    outputs: dict[str, dict[int, list[int]]] = {name: {} for name in workflow}
    for name, item in workflow.items():
        sockets, widgets = [], []
        spec = info[item["class_type"]]
        for group in ("required", "optional"):
            for key in spec["input_order"].get(group, []):
                if key not in item["inputs"]:
                    continue
                value, kind = item["inputs"][key], spec["input"][group][key]
                if isinstance(value, list):
                    links.append([len(links) + 1, ids[value[0]], value[1], ids[name], len(sockets), str(kind[0])])
                    outputs[value[0]].setdefault(value[1], []).append(len(links))
                    sockets.append({"name": key, "type": str(kind[0]), "link": len(links)})
                else:
                    widgets.append(value)
                    if len(kind) > 1 and kind[1].get("control_after_generate"):
                        widgets.append("fixed")
        nodes.append({"id": ids[name], "type": item["class_type"], "mode": 0, "inputs": sockets,
                      "widgets_values": widgets, "properties": {}})  # fmt: skip
    for shown, (name, item) in zip(nodes, workflow.items(), strict=True):
        kinds = info[item["class_type"]]["output"]
        shown["outputs"] = [
            {"name": str(kind), "type": str(kind), "links": outputs[name].get(slot)} for slot, kind in enumerate(kinds)
        ]
    return {"version": 0.4, "last_node_id": len(nodes), "last_link_id": len(links), "nodes": nodes, "links": links}


def own_frames(server: Server, workflow: Workflow) -> list[str]:
    """The pixel hashes of all images that go into the user's video."""
    by_hand = {**workflow, "99": node("PreviewImage", images=["8", 0])}
    found = []
    for image in server.run(by_hand)["outputs"]["99"]["images"]:
        query = f"filename={image['filename']}&subfolder={image['subfolder']}&type={image['type']}"
        with urllib.request.urlopen(f"{server.url}/view?{query}") as answer:
            found.append(pixel_hash(np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGB"))))
    return found


def audit(server: Server, tmp_path: Path, workflow: Any, name: str, **settings: Any) -> cs.Report:
    reference = server.base_dir / "input" / "ref"
    given = {"seeds": 2, "frames": 2, **settings}
    return cs.audit(workflow, reference, tmp_path / name, server=server.url, features=MeanColours(), **given)


def test_frames_are_those_of_the_users_own_video_and_both_formats_agree(mini_server: Server, tmp_path: Path) -> None:
    places = chosen_frames(FRAMES, 2)
    report = audit(mini_server, tmp_path, video(), "api")
    assert report.clips is not None
    assert report.clips.model_dump() == {"frames": 2, "length": FRAMES}
    data = report.model_dump(mode="json")
    for members, lora in (((LORA, "prompt"), LORA_A), (("prompt",), None)):
        wanted = [own_frames(mini_server, video(lora=lora, seed=seed))[place] for seed in (5, 6) for place in places]
        assert pixels_of(data, *members) == wanted
    assert report.deterministic is True
    assert all(canary.holds for canary in report.canaries)
    assert report.uncertainty is not None
    assert report.uncertainty.seeds == 2
    stored = next((tmp_path / "api" / "coalitions").glob("*/0000.png")).read_bytes()
    assert b"ImageFromBatch" in stored
    ui = tmp_path / "ui.json"
    ui.write_text(json.dumps(as_ui(mini_server, video())), encoding="utf-8")
    again = audit(mini_server, tmp_path, ui, "ui")
    assert [c.model_dump(exclude={"image_files"}) for c in again.coalitions] == [
        c.model_dump(exclude={"image_files"}) for c in report.coalitions
    ]
    assert [image.pixel_sha256 for image in again.coalitions[-1].image_files] == pixels_of(data, LORA, "prompt")


@pytest.mark.parametrize("output", ["SaveWEBM", "SaveAnimatedWEBP", "SaveAnimatedPNG"])
def test_every_video_output_gives_the_same_frames(mini_server: Server, tmp_path: Path, output: str) -> None:
    plan = cs.plan(video(output), server=mini_server.url)
    assert (plan.target, plan.frames, plan.batch) == (("8", 0), 8, FRAMES)


def test_the_graph_and_the_command_measure_the_same_frames(mini_server: Server, tmp_path: Path) -> None:
    workflow = audited(video(), seeds=1)
    workflow["40"] = node("CopyScopeSettings", budget=0, target_width=0.0, estimator="regression", groups="", frames=2)
    workflow["21"]["inputs"]["settings"] = ["40", 0]
    over_server = audit(mini_server, tmp_path, workflow, "out", seeds=1).model_dump(mode="json")
    assert over_server["clips"] == {"frames": 2, "length": FRAMES}
    entry = mini_server.run(workflow)
    if not expands(mini_server):
        assert "start it without that flag" in error_of(entry)
        return
    in_graph = report_of(entry)
    assert in_graph["clips"] == over_server["clips"]
    assert [image["frame"] for image in in_graph["coalitions"][0]["image_files"]] == chosen_frames(FRAMES, 2)
    for members in ((), (LORA,), ("prompt",), (LORA, "prompt")):
        assert pixels_of(in_graph, *members) == pixels_of(over_server, *members)
    assert "A combination has a single clip" in " ".join(warning["message"] for warning in in_graph["warnings"])


def test_all_frames_and_images_of_their_own(mini_server: Server) -> None:
    workflow = audited(video(), seeds=1)
    workflow["40"] = node("CopyScopeSettings", budget=0, target_width=0.0, estimator="regression", groups="", frames=0)
    workflow["21"]["inputs"]["settings"] = ["40", 0]
    report = report_of(mini_server.run(workflow))
    assert pixels_of(report, LORA, "prompt") == own_frames(mini_server, video())
    assert report["clips"] == {"frames": FRAMES, "length": FRAMES}
    del workflow["9"], workflow["30"]  # no video takes the images, so they are a batch of images of their own
    batch = report_of(mini_server.run(workflow))
    assert batch["clips"] is None
    assert pixels_of(batch, LORA, "prompt") == pixels_of(report, LORA, "prompt")
