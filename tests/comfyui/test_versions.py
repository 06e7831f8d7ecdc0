"""Which ComfyUIs and front ends are refused, and of which it is said that they are newer than those tried."""

from __future__ import annotations

import pytest

from copyscope_core.comfyui.versions import TRIED_COMFYUI, TRIED_FRONT_END, newer_than_tried, read_version


def text(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0.33.0", (0, 33, 0)),
        ("v1.2", (1, 2, 0)),
        ("0.3.64+local", (0, 3, 64)),
        ("latest", None),
        (None, None),
    ],
)
def test_versions_are_read(written: object, read: object) -> None:
    assert read_version(written) == read


def test_what_was_tried_and_older_is_used_without_a_word() -> None:
    assert newer_than_tried(text(TRIED_COMFYUI), text(TRIED_FRONT_END)) is None
    assert newer_than_tried("0.3.64", "1.27.0") is None
    assert newer_than_tried(None, "latest") is None


def test_what_is_newer_is_named() -> None:
    major, minor, patch = TRIED_FRONT_END
    assert f"front end {major}.{minor}.{patch + 1}, newer than {text(TRIED_FRONT_END)}" in str(
        newer_than_tried(text(TRIED_COMFYUI), f"{major}.{minor}.{patch + 1}")
    )
    both = str(newer_than_tried("99.0.0", "99.0"))
    assert both.startswith(f"This is ComfyUI 99.0.0, newer than {text(TRIED_COMFYUI)} and front end 99.0, newer than")
