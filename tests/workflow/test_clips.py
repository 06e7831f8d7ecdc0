"""Workflows in the metadata of videos. The files of ``tests/data/clips`` were made with PyAV, as ComfyUI makes its."""

from __future__ import annotations

import io
import random
import time
from pathlib import Path

import pytest
from example_workflows import base

from copyscope_core.errors import WorkflowError
from copyscope_core.workflow import clips
from copyscope_core.workflow.clips import ClipError, clip_texts, is_clip
from copyscope_core.workflow.read import read_held_workflow, read_workflow

CLIPS = Path(__file__).resolve().parent.parent / "data" / "clips"
UI = {"nodes": [], "links": [], "version": 0.4}
API = base(text="a wave, 北斎")


@pytest.mark.parametrize(
    "name", ["both.mp4", "end.mp4", "both.mov", "both.webm", "both.mkv", "comment.mp4", "comment.webm"]
)
def test_both_forms_are_read_and_the_api_form_is_preferred(name: str) -> None:
    held = read_held_workflow(CLIPS / name)
    assert held.data == API
    assert held.other == UI


def test_the_ui_form_is_taken_where_it_is_alone() -> None:
    assert read_workflow(CLIPS / "ui.mp4") == UI
    assert read_held_workflow(CLIPS / "ui.mp4").other is None


def test_a_video_without_a_workflow_gets_a_sentence() -> None:
    with pytest.raises(WorkflowError, match=r"The video .*none\.mp4 holds no workflow"):
        read_workflow(CLIPS / "none.mp4")


def test_the_kind_is_told_by_the_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "workflow.json"
    path.write_bytes((CLIPS / "both.webm").read_bytes())
    assert read_workflow(path) == API


@pytest.mark.parametrize("name", ["both.mp4", "both.webm", "comment.mp4"])
def test_damaged_videos_are_read_or_refused_quickly(name: str) -> None:
    data = (CLIPS / name).read_bytes()
    draw = random.Random(5)
    damaged = [data[:length] for length in range(16, len(data), 7)]
    for _ in range(400):
        changed = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            changed[draw.randrange(len(changed))] = draw.choice((0, 1, 255, draw.randrange(256)))
        damaged.append(bytes(changed))
    begin = time.process_time()
    for one in damaged:
        if is_clip(one):
            try:
                clip_texts(io.BytesIO(one), 1 << 20)
            except ClipError:
                continue
    assert time.process_time() - begin < 10


def test_lengths_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    data = (CLIPS / "both.mp4").read_bytes()
    assert clip_texts(io.BytesIO(data), 10) == {}
    monkeypatch.setattr(clips, "MAX_ELEMENTS", 5)
    with pytest.raises(ClipError, match="more than 5 elements"):
        clip_texts(io.BytesIO(data), 1 << 20)
    with pytest.raises(ClipError, match="more than 5 elements"):
        clip_texts(io.BytesIO(b"\x1a\x45\xdf\xa3" + b"\x80" + b"\xec\x80" * 10_000), 1 << 20)


def test_boxes_within_boxes_without_end_are_not_followed() -> None:
    deep = b""
    for _ in range(1_000):
        deep = (len(deep) + 8).to_bytes(4, "big") + b"udta" + deep
    assert clip_texts(io.BytesIO(b"\0\0\0\x08ftyp" + (len(deep) + 8).to_bytes(4, "big") + b"moov" + deep), 10) == {}
