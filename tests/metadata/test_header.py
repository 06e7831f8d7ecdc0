"""Reading the text of a safetensors header, whatever stands there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from copyscope_core.metadata import header
from copyscope_core.metadata.header import Metadata, as_metadata, common_metadata, read_metadata
from tests.metadata.planted import KOHYA, lora_that_says


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_metadata(lora_that_says(tmp_path / "a.safetensors", KOHYA)) == Metadata(KOHYA)
    assert read_metadata(lora_that_says(tmp_path / "b.safetensors", None)) == Metadata({})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 a pickle",
        (1 << 40).to_bytes(8, "little") + b"{}",
        (header.MAX_HEADER + 1).to_bytes(8, "little") + b"{",
        (2).to_bytes(8, "little") + b"[]",
        (4000).to_bytes(8, "little") + b'{"__metadata__":' + b'{"a":' * 796,
    ],
    ids=["empty", "pickle", "lies", "long", "list", "deep"],
)
def test_damaged_and_hostile_files_say_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(data)
    assert read_metadata(tmp_path / "x.safetensors") is None


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    assert read_metadata(tmp_path) is None
    assert read_metadata(tmp_path / "missing") is None
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert read_metadata(tmp_path / "pipe") is None


def test_megabytes_are_cut_and_what_matters_is_kept(tmp_path: Path) -> None:
    many = {f"a{number:05}": "x" * 2000 for number in range(6000)}
    found = read_metadata(lora_that_says(tmp_path / "a.safetensors", {**many, **KOHYA}))
    assert found is not None and found.cut
    assert {name: found.fields[name] for name in KOHYA} == KOHYA
    assert len(found.fields) == header.MAX_FIELDS
    long = as_metadata({"fields": {"ss_output_name": "x" * 5_000_000, "b": "y" * 5_000_000}})
    assert long is not None and long.cut
    assert [len(text) for text in long.fields.values()] == [header.MAX_VALUE, header.MAX_VALUE]


def test_embedded_pictures_are_left_out(tmp_path: Path) -> None:
    said = {"modelspec.thumbnail": "data:image/jpeg;base64,janedoe", "modelspec.title": "t"}
    assert read_metadata(lora_that_says(tmp_path / "a.safetensors", said)) == Metadata({"modelspec.title": "t"})


def test_it_travels_as_json() -> None:
    known = Metadata({"a": "b"}, cut=True)
    assert as_metadata(known.as_json()) == known
    for damaged in (None, [], {"fields": [1]}, {"cut": True}):
        assert as_metadata(damaged) is None
    assert as_metadata({"fields": {"a": 1, "b": "c"}}) == Metadata({"b": "c"})


def test_files_of_one_name_must_agree(tmp_path: Path) -> None:
    one, other = (lora_that_says(tmp_path / name / "a.safetensors", {"a": name}) for name in "xy")
    assert common_metadata([one, one]) == Metadata({"a": "x"})
    assert common_metadata([one, other]) is None
    assert common_metadata([]) is None
