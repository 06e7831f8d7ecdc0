"""Fixtures for tests in a real browser on a real ComfyUI; skipped, loudly, where either is missing.

They need a ComfyUI (COMFYUI_PATH), Chromium (``apt-get install chromium``, or CHROMIUM_PATH) and
``pip install playwright``; playwright's own browser download is not needed. With COMFYUI_FRONT_END=DIR that ComfyUI
serves another front end: an unpacked ``comfyui_frontend_package``, as ``pip download`` and ``unzip`` give it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import workflow_models
from hostutil import Server, require_host, start_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

try:
    import frontend
except ModuleNotFoundError as error:
    if error.name is None or not error.name.startswith("playwright"):
        raise
    frontend = None  # type: ignore[assignment]

NO_PLAYWRIGHT = "NO PLAYWRIGHT: pip install playwright; this browser test did NOT run"
NO_CHROMIUM = "NO CHROMIUM: apt-get install chromium, or set CHROMIUM_PATH; this browser test did NOT run"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    if frontend is None:
        pytest.skip(NO_PLAYWRIGHT)
    chromium = frontend.find_chromium()
    if chromium is None:
        pytest.skip(NO_CHROMIUM)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=frontend.CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def comfy(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A ComfyUI on the CPU with this pack, shared by the browser tests."""
    require_host()
    base_dir = tmp_path_factory.mktemp("comfy-browser")
    with start_server(base_dir) as server:
        yield server


@pytest.fixture
def page(browser: Browser, comfy: Server) -> Iterator[Page]:
    """The front end, open and ready; at the end no script has failed, and the pack has behaved."""
    page = frontend.open_frontend(browser, comfy)
    try:
        yield page
        frontend.check(page)
    finally:
        page.context.close()


@pytest.fixture(scope="session")
def studio(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A ComfyUI that can run the shipped workflows: miniature models under their names, and a reference folder."""
    require_host()
    base_dir = tmp_path_factory.mktemp("comfy-studio")
    workflow_models.make_files(base_dir / "models")
    workflow_models.make_reference(base_dir / "input")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", "1")  # as fast for models this small, and faster on a busy machine
            with start_server(base_dir) as server:
                yield server
    finally:
        shutil.rmtree(base_dir / "models")


@pytest.fixture
def studio_page(browser: Browser, studio: Server) -> Iterator[Page]:
    """The front end of that ComfyUI, open and ready, without stored audits; the same at the end."""
    shutil.rmtree(studio.base_dir / "output" / "copyscope", ignore_errors=True)
    page = frontend.open_frontend(browser, studio, height=1200)
    try:
        yield page
        frontend.check(page)
    finally:
        page.context.close()
