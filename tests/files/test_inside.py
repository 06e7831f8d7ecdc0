"""Names from files of others: they lead nowhere but into their folder, on whatever system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from copyscope_core.errors import StoreError
from copyscope_core.files.inside import named_inside, plain_inside


@pytest.mark.parametrize("name", ["a", "a/b.png", "ä ö/“b”.png", "..a", "a..", "a b/...c"])
def test_names_inside(tmp_path: Path, name: str) -> None:
    assert named_inside(tmp_path, name) == plain_inside(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../a", "a/../b", "/", "/a", "//host/share", r"\\host\share", r"\a", r"..\a", r"a\..\..\b", "C:",
     "C:a", "C:/a", r"\\?\C:\a", r"\\.\pipe\x", "a\0"],
)  # fmt: skip
def test_names_that_lead_out_are_refused_without_a_look_at_the_disk(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for function in ("stat", "lstat", "readlink", "open", "listdir", "scandir"):
        monkeypatch.setattr(os, function, None)
    for inside in (named_inside, plain_inside):
        with pytest.raises(StoreError, match="does not name anything inside"):
            inside(Path("root"), name)


def test_links_are_refused_and_what_is_not_there_is_not(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "real" / "dead").symlink_to(tmp_path / "nowhere")
    assert plain_inside(tmp_path, "real/new/file") == tmp_path / "real" / "new" / "file"
    for name in ("link", "link/file", "real/dead"):
        with pytest.raises(StoreError, match="is a link"):
            plain_inside(tmp_path, name)
