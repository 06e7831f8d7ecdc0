"""Makes ``hostutil`` importable from every test folder, whatever packages the folders form."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def pytest_collection_modifyitems(items: list) -> None:
    """Browser tests last: Playwright keeps an event loop running, in which ``asyncio.run`` refuses to start another."""
    items.sort(key=lambda item: "browser" in item.path.parts)
