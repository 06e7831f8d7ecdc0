"""Videos: the frames that go into one are the target, one clip is one prompt, and evenly spaced frames are measured."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from example_workflows import as_video, base, node, with_lora

from copyscope_core.errors import WorkflowError
from copyscope_core.planning.own_nodes import embedded_settings
from copyscope_core.planning.plan import Plan, make_plan
from copyscope_core.planning.video import Clip, chosen_frames, clip_length, is_clip, video_frames
from copyscope_core.workflow.graph import Link, parse_graph
from copyscope_core.workflow.node_info import bundled_catalog
from tests.planning.test_plan import plan
from tests.planning.test_plan_odd import catalog

CASES = Path(__file__).resolve().parent.parent / "data" / "cases"


def planned(workflow: dict[str, Any], **settings: Any) -> Plan:
    return plan(workflow, **settings)


@pytest.mark.parametrize("output", ["SaveVideo", "SaveWEBM", "SaveAnimatedWEBP", "SaveAnimatedPNG", "VHS_VideoCombine"])
def test_the_target_is_what_goes_into_the_video(output: str) -> None:
    p = planned(as_video(output))
    assert p.target == Link("8", 0)
    assert p.clip == Clip(frames=8, length=16)
    assert (p.batch, p.cost.images) == (8, 4 * 8 * 8)
    assert p.summary()["clip"] == {"frames": 8, "length": 16}


def test_a_pack_that_takes_images_or_latents() -> None:
    suite = catalog(
        VHS_VideoCombine=({"images": "IMAGE,LATENT", "vae": "VAE"}, ["VHS_FILENAMES"], {"output_node": True})
    )
    assert plan(as_video("VHS_VideoCombine"), suite).clip == Clip(8, 16)


def test_the_case_of_the_collection() -> None:
    p = planned(json.loads((CASES / "video-frames.json").read_text(encoding="utf-8")))
    assert p.target == Link("6", 0)
    assert p.clip == Clip(frames=8, length=16)
    assert [(c.name, c.kind) for c in (*p.players, *p.locked)] == [("prompt", "prompt"), ("base", "checkpoint")]


def test_a_video_passes_other_nodes_on_its_way_to_the_output() -> None:
    workflow = as_video()
    workflow["31"] = node("CutVideo", video=["30", 0])
    workflow["9"]["inputs"]["video"] = ["31", 0]
    cut = catalog(CutVideo=({"video": "VIDEO"}, ["VIDEO"], {}))
    assert plan(workflow, cut).target == Link("8", 0)
    looped = parse_graph(workflow)
    looped["31"].inputs["video"] = Link("31", 0)  # type: ignore[index]
    assert video_frames(looped, cut, "9") is None


def test_a_video_that_is_only_loaded_and_latents_are_no_images() -> None:
    loaded = {"1": node("LoadVideo", file="a.mp4"), "9": node("SaveVideo", video=["1", 0])}
    with pytest.raises(WorkflowError, match="no node that saves or previews images"):
        planned(loaded)
    latents = as_video("VHS_VideoCombine")
    latents["9"]["inputs"]["images"] = ["3", 0]
    with pytest.raises(WorkflowError, match="no node that saves or previews images"):
        planned(latents)


def test_a_still_beside_the_video_of_the_same_images_is_the_same_target() -> None:
    workflow = as_video()
    workflow["32"] = node("SaveImage", images=["8", 0], filename_prefix="f")
    assert planned(workflow).clip == Clip(8, 16)


def test_images_that_are_saved_one_by_one_are_no_clip() -> None:
    assert planned(with_lora()).clip is None
    assert planned(with_lora(), frames=3).frames is None


def test_frames_may_be_taken_before_they_are_scaled_but_not_before_they_are_made() -> None:
    workflow = as_video()
    workflow["33"] = node("ImageScaleBy", image=["8", 0], upscale_method="lanczos", scale_by=2.0)
    workflow["30"]["inputs"]["images"] = ["33", 0]
    assert planned(workflow).target == Link("33", 0)
    graph = parse_graph(workflow)
    assert is_clip(graph, bundled_catalog(), Link("8", 0))
    assert planned(workflow, output="8").clip == Clip(8, 16)
    made_from = as_video()
    made_from["40"] = node("LoadImage", image="start.png")
    made_from["41"] = node("WanImageToVideo", positive=["6", 0], negative=["7", 0], vae=["1", 2], width=64, height=64,
                           length=33, batch_size=1, start_image=["40", 0])  # fmt: skip
    made_from["3"]["inputs"].update(positive=["41", 0], negative=["41", 1], latent_image=["41", 2])
    assert not is_clip(parse_graph(made_from), bundled_catalog(), Link("40", 0))
    assert planned(made_from).clip == Clip(8, 33)


def test_the_prompt_around_a_target_tells_whether_its_images_are_frames() -> None:
    whole = parse_graph(as_video())
    part = {key: value for key, value in as_video().items() if key not in ("9", "30")}
    assert make_plan(part, bundled_catalog(), None, Link("8", 0)).clip is None
    assert make_plan(part, bundled_catalog(), None, Link("8", 0), whole).clip == Clip(8, 16)
    del whole["8"]  # a link to nowhere elsewhere in the prompt
    assert make_plan(part, bundled_catalog(), None, Link("8", 0), whole).clip is None


@pytest.mark.parametrize(
    ("frames", "length", "measured"), [(8, 16, 8), (8, 5, 5), (0, 16, 16), (8, None, 8), (0, None, 1)]
)
def test_how_many_frames_a_prompt_gives(frames: int, length: int | None, measured: int) -> None:
    assert Clip(frames, length).measured == measured


def test_the_length_is_what_latents_say() -> None:
    known = bundled_catalog()
    graph = parse_graph({"5": node("EmptyHunyuanLatentVideo", width=64, height=64, length=33, batch_size=1)})
    assert clip_length(graph, known, 1) == 33
    assert clip_length(graph, known, 2) == 66
    assert clip_length(parse_graph(base()), known, 1) is None
    graph["5"].inputs["length"] = "33"  # type: ignore[index]
    assert clip_length(graph, known, 1) is None


def test_frames_are_the_middles_of_equal_parts() -> None:
    assert chosen_frames(81, 8) == [5, 15, 25, 35, 45, 55, 65, 75]
    assert chosen_frames(16, 8) == [1, 3, 5, 7, 9, 11, 13, 15]
    assert chosen_frames(9, 1) == [4]
    assert chosen_frames(5, 8) == chosen_frames(5, 0) == chosen_frames(5, 5) == [0, 1, 2, 3, 4]
    for length in range(1, 60):
        for count in range(1, length + 1):
            places = chosen_frames(length, count)
            assert len(set(places)) == count
            assert places == sorted(places)
            gaps = {b - a for a, b in itertools.pairwise(places)}
            assert max(gaps, default=0) - min(gaps, default=0) <= 1  # evenly spaced
            assert 0 <= places[0] <= length // count
            assert length - 1 - places[-1] <= length // count


def test_the_settings_node_says_how_many_frames() -> None:
    workflow = as_video()
    workflow["50"] = node("CopyScopeSettings", budget=0, target_width=0.0, estimator="regression", groups="", frames=0)
    workflow["51"] = node(
        "CopyScopeCoalitionEnumerator", image=["8", 0], seeds=2, max_coalitions=16, settings=["50", 0]
    )
    settings = embedded_settings(parse_graph(workflow))
    assert settings["frames"] == 0
    assert planned(workflow, **settings).clip == Clip(0, 16)
