"""What the core's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakecomfy import FakeComfy, fake_comfy

from copyscope_core.runs import STATE_VARIABLE

from .workflows import HASHES


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeComfy]:
    """A stand-in ComfyUI that knows its model files' hashes; the list of runs is the test's own."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    with fake_comfy() as fake:
        fake.hashes = dict(HASHES)
        yield fake
