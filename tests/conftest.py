"""What the tests share, and their marks; makes the modules of this folder importable from every test folder."""

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from example_workflows import HASHES
from fakecomfy import FakeComfy, fake_comfy

from copyscope_core.store.runs import STATE_VARIABLE

TESTS = Path(__file__).parent
SLOW = [line for line in (TESTS / "slow.txt").read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#")]


def is_slow(path: Path, function: str | None = None) -> bool:
    """Whether ``slow.txt`` names a test file, a folder that it is in, or the file's function."""
    name = path.relative_to(TESTS.parent).as_posix()
    names = {name, f"{name}::{function}", *(f"{folder.as_posix()}/" for folder in Path(name).parents)}
    return not names.isdisjoint(SLOW)


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


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What ``-m`` leaves out as a whole is not even imported."""
    left_out = set(re.findall(r"not (\w+)", config.option.markexpr))
    folder = collection_path.is_dir() and collection_path.parent == TESTS and collection_path.name in left_out
    file = collection_path.suffix == ".py" and "slow" in left_out and is_slow(collection_path)
    return True if folder or file else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder and by ``slow.txt``.

    Browser tests come last: Playwright keeps an event loop running, in which ``asyncio.run`` refuses to start another.
    """
    for item in items:
        for folder in ("host", "browser"):
            if folder in item.path.relative_to(TESTS).parts:
                item.add_marker(folder)
        if is_slow(item.path, getattr(item, "originalname", item.name)):
            item.add_marker("slow")
    items.sort(key=lambda item: "browser" in item.path.parts)
