"""Take docs/screenshots anew, on a real ComfyUI in headless Chromium: ``python -m tools.make_screenshots``.

The models are those of the miniature zoo under the names that the shipped workflows use: the LoRA ``artist-style-sd15``
carries works by Hokusai, ``character-sd15`` works by Renoir, and the reference are works by Hokusai.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "browser")]

import frontend  # noqa: E402
from hostutil import start_server  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402
from test_pack import plain  # noqa: E402
from workflow_models import ui_workflow  # noqa: E402

from copyscope_core.demo.demo import REFERENCE  # noqa: E402
from copyscope_core.demo.models import make_model  # noqa: E402

TARGET = ROOT / "docs" / "screenshots"
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "checkpoints/v1-5-pruned-emaonly-fp16.safetensors": ("zoo-checkpoint", {"artist": "renoir"}),
    "checkpoints/dreamshaper_8.safetensors": ("zoo-checkpoint", {}),
    "loras/artist-style-sd15.safetensors": ("zoo-lora", {"artist": "hokusai"}),
    "loras/character-sd15.safetensors": ("zoo-lora", {"artist": "renoir-1"}),
}
SMALL = {"seeds": 4, "steps": 8, "cfg": 1.0, "width": 128, "height": 128, "batch_size": 1}
PROMPT = "a puppy in a street"
WAIT = 600_000
"""Milliseconds that a run may take."""


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as fast for models this small, and faster on a busy machine
    with tempfile.TemporaryDirectory(prefix="copyscope-screenshots-", ignore_cleanup_errors=True) as scratch:
        base = Path(scratch)
        for name, (kind, options) in MODELS.items():
            make_model(kind, base / "models" / name, **options)
        shutil.copytree(REFERENCE, base / "input" / "reference")
        with start_server(base) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=frontend.find_chromium(), args=frontend.CHROMIUM_FLAGS)
            for take in (menu, audit):
                take(frontend.open_frontend(browser, server, width=1600, height=1000))
            browser.close()


def menu(page: Page) -> None:
    """The menu entry on the image node of a workflow without CopyScope."""
    frontend.load_ui(page, plain())
    frontend.fit(page)
    page.mouse.click(*frontend.node_point(page, 8), button="right")
    page.get_by_text("CopyScope: audit this image").hover()
    page.wait_for_timeout(400)
    photograph(page, "audit-menu")


def audit(page: Page) -> None:
    """The shipped workflow quick-start: while it runs, when it is done, its report node and its full report."""
    frontend.load_ui(page, ui_workflow("quick-start"))
    frontend.set_widgets(page, {**SMALL, "strength_model": 1.0, "strength_clip": 1.0})
    page.evaluate("(text) => { window.app.graph.getNodeById(4).widgets[0].value = text }", PROMPT)
    frontend.fit(page)
    photograph(page, "opened-workflow")
    frontend.queue(page)
    page.wait_for_function(
        "() => /^Running [5-9] of/.test(document.querySelector('.cs-now')?.textContent ?? '')", timeout=WAIT
    )
    close_up(page, 21, "progress")
    page.locator(".cs-headline").wait_for(timeout=WAIT)
    page.locator(".cs-now").get_by_text("Audit done").wait_for(timeout=WAIT)
    page.wait_for_function("() => document.querySelector('.cs-detail img')?.naturalWidth > 0", timeout=30_000)
    frontend.fit(page)
    photograph(page, "audited-workflow")
    close_up(page, 23, "report-node")
    with page.context.expect_page() as opening:
        page.locator("a.cs-button").click()
    full = opening.value
    full.wait_for_load_state()
    full.set_viewport_size({"width": 1280, "height": 1000})
    photograph(full, "full-report")
    full.locator("#sides").scroll_into_view_if_needed()
    save(full.locator("section:has(#sides)").screenshot(), "side-by-side")


def close_up(page: Page, node_id: int, name: str) -> None:
    """One node, as large as the view allows."""
    page.evaluate(
        """(id) => {
            const node = window.app.graph.getNodeById(id)
            const [left, top, width, height] = node.boundingRect
            const view = window.app.canvas.ds
            const { clientWidth, clientHeight } = window.app.canvas.canvas
            view.scale = Math.min(1.6, (clientWidth - 120) / width, (clientHeight - 120) / height)
            view.offset = [
                clientWidth / 2 / view.scale - left - width / 2,
                clientHeight / 2 / view.scale - top - height / 2,
            ]
            window.app.canvas.setDirty(true, true)
        }""",
        node_id,
    )
    page.wait_for_timeout(600)
    photograph(page, name)


def photograph(page: Page, name: str) -> None:
    save(page.screenshot(), name)


def save(png: bytes, name: str) -> None:
    """As a JPEG, which is small enough for a repository."""
    import io

    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(TARGET / f"{name}.jpg", quality=82, optimize=True)
    sys.stdout.write(f"{TARGET / name}.jpg\n")


if __name__ == "__main__":
    main()
