"""Workflows from JSON files of every encoding, from what ComfyUI answers, and from the images that it saves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from example_workflows import base, with_lora
from PIL import Image, PngImagePlugin

from copyscope_core.errors import WorkflowError
from copyscope_core.files import decode
from copyscope_core.workflow import read
from copyscope_core.workflow.graph import parse_graph
from copyscope_core.workflow.read import read_held_workflow, read_workflow

CASES = Path(__file__).resolve().parent.parent / "data" / "cases"
UI = {"nodes": [], "links": [], "version": 0.4}


def stored(workflow: dict[str, Any]) -> str:
    """As ComfyUI writes it: what the cache said of a node is beside its inputs, NaN where it always changed."""
    return json.dumps({key: {**node, "is_changed": [float("nan")]} for key, node in workflow.items()})


def png(path: Path, compressed: bool = False, **texts: str) -> Path:
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_text(name, text, zip=compressed)
    Image.new("RGB", (8, 8)).save(path, "PNG", pnginfo=info)
    return path


def with_exif(path: Path, tags: dict[int, str]) -> Path:
    exif = Image.Exif()
    for tag, text in tags.items():
        exif[tag] = text
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_json_of_every_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "w.json"
    path.write_bytes(json.dumps(base(text="a wave, 北斎"), ensure_ascii=False).encode(encoding))
    assert read_workflow(path) == base(text="a wave, 北斎")


def test_utf_16_of_the_other_byte_order_has_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    path.write_bytes(b"\xfe\xff" + json.dumps(base()).encode("utf-16-be"))
    assert read_workflow(path) == base()


def test_the_body_of_a_prompt_and_an_entry_of_the_history(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    path.write_text(json.dumps({"prompt": base(), "client_id": "x"}), encoding="utf-8")
    assert read_workflow(path) == base()
    graph = parse_graph(read_workflow(CASES / "history-entry.json"))
    assert (graph["1"].class_type, graph["7"].class_type) == ("CheckpointLoaderSimple", "SaveImage")


def test_files_that_are_no_workflow(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    for content in (b"not json", b"\xff\xfe\x00", b"[" * 200_000, b""):
        path.write_bytes(content)
        with pytest.raises(WorkflowError, match="is not JSON"):
            read_workflow(path)
    for name in ("missing.json", "nul\0.json"):
        with pytest.raises(WorkflowError, match="cannot be read"):
            read_workflow(tmp_path / name)
    with pytest.raises(WorkflowError, match="cannot be read"):
        read_workflow(tmp_path)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_png_holds_both_forms_and_the_api_form_is_taken(tmp_path: Path, compressed: bool) -> None:
    path = png(tmp_path / "a.png", compressed, workflow=json.dumps(UI), prompt=stored(base()))
    assert parse_graph(read_workflow(path)) == parse_graph(base())
    assert read_workflow(png(tmp_path / "ui.png", compressed, workflow=json.dumps(UI))) == UI


def test_every_image_gives_the_other_form_too(tmp_path: Path) -> None:
    tags = {0x010F: "workflow:" + json.dumps(UI), 0x0110: "prompt:" + json.dumps(base())}
    paths = [png(tmp_path / "a.png", workflow=json.dumps(UI), prompt=json.dumps(base()))]
    paths += [with_exif(tmp_path / f"a.{suffix}", tags) for suffix in ("webp", "jpg")]
    for path in paths:
        held = read_held_workflow(path)
        assert (held.data, held.other) == (base(), UI)


def test_what_is_no_json_object_is_passed_over_for_the_other_form(tmp_path: Path) -> None:
    for text in ("a wave by hokusai", "{}", "null"):
        assert read_workflow(png(tmp_path / "a.png", prompt=text, workflow=json.dumps(UI))) == UI


def test_the_kind_of_an_image_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    assert read_workflow(png(tmp_path / "workflow.json", prompt=json.dumps(base()))) == base()


@pytest.mark.parametrize("suffix", ["webp", "jpg"])
def test_webp_and_jpeg_hold_both_forms_in_exif(tmp_path: Path, suffix: str) -> None:
    tags = {0x010F: "workflow:" + json.dumps(UI), 0x0110: "prompt:" + stored(with_lora())}
    path = with_exif(tmp_path / f"a.{suffix}", tags)
    assert parse_graph(read_workflow(path)) == parse_graph(with_lora())
    del tags[0x0110]
    assert read_workflow(with_exif(tmp_path / f"ui.{suffix}", tags)) == UI


def test_texts_in_utf_8_are_read_as_such(tmp_path: Path) -> None:
    text = json.dumps(base(text="a wave, 北斎, Müller"), ensure_ascii=False)
    info = PngImagePlugin.PngInfo()
    info.add(b"tEXt", b"prompt\0" + text.encode("utf-8"))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    assert read_workflow(tmp_path / "a.png") == base(text="a wave, 北斎, Müller")
    assert read_workflow(png(tmp_path / "i.png", prompt=text)) == base(text="a wave, 北斎, Müller")  # as iTXt


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.jpg"])
def test_an_image_without_a_workflow_says_so(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / name)
    with pytest.raises(WorkflowError, match=rf"The image .*{name} holds no workflow .*; give the workflow's JSON file"):
        read_workflow(tmp_path / name)


def test_damaged_images_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = png(tmp_path / "a.png", prompt='{"1": ')
    with pytest.raises(WorkflowError, match=r"workflow in the image .*a\.png is not JSON"):
        read_workflow(path)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(WorkflowError, match=r"metadata of the image .*a\.png cannot be read") as caught:
        read_workflow(path)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(read, "MAX_FILE_BYTES", 10)
    with pytest.raises(WorkflowError, match=r"image .* is larger than"):
        read_workflow(path)


def test_texts_that_grow_when_they_are_unpacked_are_refused(tmp_path: Path) -> None:
    path = png(tmp_path / "bomb.png", compressed=True, prompt=" " * (PngImagePlugin.MAX_TEXT_CHUNK + 1))
    with pytest.raises(WorkflowError, match=r"metadata of the image .* cannot be read \(Decompressed data too large"):
        read_workflow(path)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.jpg"])
def test_no_pixel_is_decoded(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    if path.suffix == ".png":
        png(path, prompt=json.dumps(base()))
    else:
        with_exif(path, {0x0110: "prompt:" + json.dumps(base())})

    def decoded(*_: object) -> None:
        raise AssertionError("pixels were decoded")

    for image in (Image.Image, PngImagePlugin.PngImageFile):
        monkeypatch.setattr(image, "load", decoded)
    monkeypatch.setattr(decode, "decode_pixels", decoded)
    assert read_workflow(path) == base()
