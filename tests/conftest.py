"""Makes ``hostutil`` importable from every test folder, whatever packages the folders form."""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def pytest_configure() -> None:
    """A shell starts what runs in the background with Ctrl-C ignored, and programs inherit that: undo it for tests."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list) -> None:
    """Browser tests last: Playwright keeps an event loop running, in which ``asyncio.run`` refuses to start another."""
    items.sort(key=lambda item: "browser" in item.path.parts)
