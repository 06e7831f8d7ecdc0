"""Take docs/screenshots anew, on a real ComfyUI in headless Chromium: ``python -m tools.make_screenshots [FOLDER]``.

The models are those of the style zoo under the names that the shipped workflows use: the LoRA ``artist-style-sd15`` was
trained on landscapes by Hokusai, ``character-sd15`` on portraits by Kathrin Polikeit, the checkpoint is tuned on others
of hers, and the reference are works by Hokusai, four of which the LoRA learned from.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "browser")]

import frontend  # noqa: E402
from hostutil import start_server  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402
from test_pack import plain  # noqa: E402
from workflow_models import ui_workflow  # noqa: E402

from copyscope_core.demo.demo import REFERENCE  # noqa: E402
from tools.style_zoo.export import export  # noqa: E402

TARGET = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "screenshots"
MODELS = {
    "checkpoints/v1-5-pruned-emaonly-fp16": "checkpoints/style-base",
    "checkpoints/dreamshaper_8": "checkpoints/style-kitty-2-tuned",
    "loras/artist-style-sd15": "loras/style-hokusai-1",
    "loras/character-sd15": "loras/style-kitty-1",
}
"""The zoo's models under the names of the shipped workflows."""
SMALL = {"seeds": 6, "steps": 8, "cfg": 2.0, "width": 128, "height": 128, "batch_size": 1}
PROMPT = "a landscape"
WAIT = 600_000
"""Milliseconds that a run may take."""


PALETTES = ("dark", "light")
MODES = {"canvas": False, "nodes2": True}
"""How nodes are drawn, and whether that is called Nodes 2.0."""


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as fast for models this small, and faster on a busy machine
    with tempfile.TemporaryDirectory(prefix="copyscope-screenshots-", ignore_cleanup_errors=True) as scratch:
        base = Path(scratch)
        export_as(base / "models", MODELS)
        shutil.copytree(REFERENCE, base / "input" / "reference")
        with start_server(base) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=frontend.find_chromium(), args=frontend.CHROMIUM_FLAGS)
            for take in (menu, audit, templates):
                take(frontend.open_frontend(browser, server, width=1600, height=1000))
            browser.close()


def export_as(folder: Path, names: Mapping[str, str]) -> None:
    """Write models of the style zoo into ComfyUI's folder ``models``, under other names."""
    made = folder / "zoo"
    export(made, {Path(name).name for name in names.values()})
    for shown, name in names.items():
        path = folder / f"{shown}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(made / f"{name}.safetensors", path)
    shutil.rmtree(made)


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
    looks(page)
    frame(page, 23)
    with page.context.expect_page() as opening:
        page.locator("a.cs-button").click()
    full = opening.value
    full.wait_for_load_state()
    full.set_viewport_size({"width": 1280, "height": 1000})
    photograph(full, "full-report")
    full.locator("#pictures").scroll_into_view_if_needed()
    save(full.locator("section:has(#pictures)").screenshot(), "side-by-side")
    full.set_viewport_size({"width": 420, "height": 900})
    full.evaluate("() => scrollTo(0, 0)")
    photograph(full, "report-phone")


def looks(page: Page) -> None:
    """The report node and the Players node with its list, in both palettes, on the canvas and in Nodes 2.0."""
    for mode, vue in MODES.items():
        frontend.set_setting(page, "Comfy.VueNodes.Enabled", vue)
        page.wait_for_timeout(1500)
        for palette in PALETTES:
            frontend.set_setting(page, "Comfy.ColorPalette", palette)
            close_up(page, 23, f"report-node-{palette}-{mode}")
            close_up(page, 20, f"players-node-{palette}-{mode}")
    frontend.set_setting(page, "Comfy.VueNodes.Enabled", False)
    frontend.set_setting(page, "Comfy.ColorPalette", "dark")


def templates(page: Page) -> None:
    """The shipped workflows among ComfyUI's templates."""
    for palette in PALETTES:
        frontend.set_setting(page, "Comfy.ColorPalette", palette)
        page.evaluate("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
        page.get_by_text("CopyScope", exact=True).first.click()
        page.get_by_role("img", name="Quick start with checkpoint and LoRA, CopyScope audit").first.wait_for()
        page.wait_for_timeout(5000)
        photograph(page, f"templates-{palette}")
        frontend.close_dialogs(page)


def close_up(page: Page, node_id: int, name: str) -> None:
    """One node, as large as the view allows; its panel has its height only once it is seen."""
    for _ in range(2):
        frame(page, node_id)
    photograph(page, name)


def frame(page: Page, node_id: int) -> None:
    """Move the view to a node."""
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
    page.wait_for_timeout(800)


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
