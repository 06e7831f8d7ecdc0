"""Audits of a video against a stand-in server: which frames are asked for, how they are kept, counted and reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from example_workflows import as_video
from fakecomfy import FakeComfy
from images_on_disk import MeanColours

from copyscope_core.errors import GameError, HostError
from copyscope_core.evidence.verify import Verifier
from copyscope_core.planning.video import chosen_frames
from tests.auditing.test_audit import audit, results


def asked(prompt: dict[str, Any]) -> list[int]:
    """The places of the frames that a prompt takes."""
    return [item["inputs"]["batch_index"] for item in prompt.values() if item["class_type"] == "ImageFromBatch"]


def classes(prompt: dict[str, Any]) -> list[str]:
    return [item["class_type"] for item in prompt.values()]


def test_the_chosen_frames_alone_are_saved_and_fetched(server: FakeComfy, tmp_path: Path) -> None:
    report = audit(server, tmp_path, as_video(), frames=4).report
    assert len(server.prompts) == 4 * 2 + 1
    for prompt in server.prompts:
        assert asked(prompt) == [2, 6, 10, 14]
        previews = [item["inputs"]["images"] for item in prompt.values() if item["class_type"] == "PreviewImage"]
        assert previews == [[f"copyscope_frame_{k}", 0] for k in range(4)]
        assert not {"SaveVideo", "CreateVideo"} & set(classes(prompt))
    assert report.clips is not None
    assert report.clips.model_dump() == {"frames": 4, "length": 16}
    assert report.settings["frames"] == 4
    for coalition in report.coalitions:
        assert [(image.seed, image.frame) for image in coalition.image_files] == [
            (seed, frame) for seed in (0, 1) for frame in (2, 6, 10, 14)
        ]
    assert report.uncertainty is not None
    assert report.uncertainty.seeds == 2
    assert any("only 2 clips a combination" in warning.message for warning in report.warnings)
    entries = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("coalitions/*/entry.json")]
    assert {json.dumps(entry["meta"]["clip"]) for entry in entries} == {'{"frames": [2, 6, 10, 14], "length": 16}'}


def test_every_frame_of_nothing_chosen(server: FakeComfy, tmp_path: Path) -> None:
    whole = audit(server, tmp_path / "whole", as_video(), frames=0).report
    assert all({"ImageFromBatch", "PreviewAny"}.isdisjoint(classes(prompt)) for prompt in server.prompts)
    assert [image.frame for image in whole.coalitions[0].image_files] == [*range(16), *range(16)]
    some = audit(server, tmp_path / "some", as_video(), frames=4).report
    for one, other in zip(whole.coalitions, some.coalitions, strict=True):
        by_place = {(image.seed, image.frame): image.pixel_sha256 for image in one.image_files}
        assert [by_place[image.seed, image.frame] for image in other.image_files] == [
            image.pixel_sha256 for image in other.image_files
        ]


@pytest.mark.parametrize("told", [9, 33])
def test_a_clip_of_another_length_is_asked_for_again_once(server: FakeComfy, tmp_path: Path, told: int) -> None:
    server.length = lambda prompt: told
    report = audit(server, tmp_path, as_video(), frames=4).report
    assert len(server.prompts) == 4 * 2 + 1 + 1
    assert asked(server.prompts[0]) == chosen_frames(16, 4)
    assert all(asked(prompt) == chosen_frames(told, 4) for prompt in server.prompts[1:])
    assert report.clips is not None
    assert report.clips.length == told
    assert [image.frame for image in report.coalitions[0].image_files[:4]] == chosen_frames(told, 4)


def test_a_length_that_the_workflow_does_not_tell_is_asked_for_first(server: FakeComfy, tmp_path: Path) -> None:
    workflow = as_video(frames=1)
    server.length = lambda prompt: 5
    report = audit(server, tmp_path, workflow).report
    assert (asked(server.prompts[0]), asked(server.prompts[1])) == ([], [0, 1, 2, 3, 4])
    assert len(server.prompts) == 4 * 2 + 1 + 1
    assert report.clips is not None
    assert report.clips.model_dump() == {"frames": 5, "length": 5}


def test_a_clip_that_is_never_twice_as_long_is_refused(server: FakeComfy, tmp_path: Path) -> None:
    server.length = lambda prompt: 20 + len(server.prompts)
    with pytest.raises(HostError, match="another number of frames each time"):
        audit(server, tmp_path, as_video())


def test_frames_that_comfyui_cannot_take_one_by_one_are_refused(server: FakeComfy, tmp_path: Path) -> None:
    server.length = lambda prompt: 5000
    with pytest.raises(HostError, match=r"5,000 frames, of which ComfyUI gives single ones .*--frames 0"):
        audit(server, tmp_path, as_video())


def test_another_number_of_frames_is_another_coalition_on_disk(server: FakeComfy, tmp_path: Path) -> None:
    first = audit(server, tmp_path, as_video(), frames=4)
    again = audit(server, tmp_path, as_video(), frames=4)
    assert (again.sampled, results(again.report)) == (0, results(first.report))
    more = audit(server, tmp_path, as_video(), frames=8)
    assert more.sampled == 9
    assert len(more.report.coalitions[0].image_files) == 16


def test_frames_verify_and_stay_in_a_private_report(server: FakeComfy, tmp_path: Path) -> None:
    report = audit(server, tmp_path, as_video(), frames=4, seeds=3, private=True, canaries=True).report
    assert report.clips is not None
    assert report.coalitions[0].image_files[1].frame == 6
    result = Verifier(tmp_path / "out", MeanColours(), reference=tmp_path / "reference", full=True).run()
    assert result.findings == ()
    assert result.images == 4 * 3 * 4 + 3


def test_a_kernel_distance_needs_two_clips(server: FakeComfy, tmp_path: Path) -> None:
    with pytest.raises(GameError, match="at least 2 clips a combination, and there are 1, one a seed"):
        audit(server, tmp_path, as_video(), seeds=1, distance="kid")
    assert server.prompts == []
    assert audit(server, tmp_path, as_video(), seeds=2, distance="kid").report.distance == "kid"
