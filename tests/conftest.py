"""What the tests share; makes the modules of this folder importable from every test folder."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from example_workflows import HASHES
from fakecomfy import FakeComfy, fake_comfy

from copyscope_core.store.runs import STATE_VARIABLE


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeComfy]:
    """A stand-in ComfyUI that knows its model files' hashes; the list of runs is the test's own."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    with fake_comfy() as fake:
        fake.hashes = dict(HASHES)
        yield fake


def pytest_configure() -> None:
    """A shell starts what runs in the background with Ctrl-C ignored, and programs inherit that: undo it for tests."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests last: Playwright keeps an event loop running, in which ``asyncio.run`` refuses to start another."""
    items.sort(key=lambda item: "browser" in item.path.parts)
