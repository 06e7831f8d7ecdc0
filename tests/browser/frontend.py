"""Drives ComfyUI's own front end in headless Chromium.

page = open_frontend(browser, server)          # as after the first start; nothing but the server reachable
load_ui(page, ui)                              # what opening a workflow file does
graph_to_prompt(page)                          # what Run would send
screenshot(page, "report-node")                # test-artifacts/report-node.png
check(page)                                    # no error, nothing asked outside, nothing deprecated
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hostutil import ARTIFACTS, Server
from playwright.sync_api import Browser, Page

from copyscope_core.errors import CopyScopeError
from copyscope_core.report import pdf

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
QUIET_SETTINGS = {
    "Comfy.TutorialCompleted": True,  # or the templates dialog opens
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.Workflow.ShowMissingNodesWarning": False,
    "Comfy.VueNodes.Enabled": False,
    "Comfy.VueNodes.AutoScaleLayout": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,  # text stays in screenshots of large graphs
}
PACK = "/extensions/copyscope/"
"""What the address of each of the pack's files holds."""

WATCH = """() => {
    Error.stackTraceLimit = 100
    const found = (window.copyscopeDeprecations = [])
    for (const level of ['log', 'info', 'warn', 'error']) {
        const write = console[level]
        console[level] = function (...said) {
            const text = said.map(String).join(' ')
            const told = `${text}\\n${new Error().stack}`
            const failed = text.includes("extension 'CopyScope'")
            if (failed || (/deprecat/i.test(text) && told.includes('PACK'))) found.push(told)
            return write.apply(this, said)
        }
    }
}""".replace("PACK", PACK)
"""Keeps what the console says is deprecated and was called from a file of the pack, or that the pack failed."""


def find_chromium() -> str | None:
    """The browser that prints reports; None where there is none."""
    try:
        return str(pdf.find_chromium())
    except CopyScopeError:
        return None


def write_settings(base_dir: Path, **settings: Any) -> None:
    """Presets the front end's settings, before the server starts."""
    path = base_dir / "user" / "default" / "comfy.settings.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**QUIET_SETTINGS, **settings}), encoding="utf-8")


def start_afresh(server: Server, **settings: Any) -> None:
    """Takes the server back to where it was when it started: settings, queue, history, what the executor has kept."""
    write_settings(server.base_dir, **settings)
    server.post("/queue", {"clear": True})
    server.post("/interrupt", {})
    server.post("/history", {"clear": True})
    server.post("/free", {"free_memory": True, "unload_models": False})


def open_frontend(
    browser: Browser, server: Server, *, width: int = 1400, height: int = 900, settings: dict[str, Any] | None = None
) -> Page:
    """A page with the front end ready, on a server without traces of an earlier page.

    Requests to other hosts are refused; those that a file of the pack made are kept in ``external_requests(page)``.
    What the front end itself asks for (releases, models that its own workflow lacks) is none of the pack's doing.
    """
    start_afresh(server, **(settings or {}))
    context = browser.new_context(viewport={"width": width, "height": height}, service_workers="block")
    context.add_init_script(f"({WATCH})()")
    page = context.new_page()
    host = urlsplit(server.url).netloc
    refused: list[str] = []
    errors: list[str] = []

    def is_outside(url: str) -> bool:
        target = urlsplit(url)
        return target.scheme in ("http", "https", "ws", "wss") and target.netloc != host

    def requested(event: dict[str, Any]) -> None:
        if is_outside(event["request"]["url"]) and PACK in json.dumps(event["initiator"]):
            refused.append(event["request"]["url"])

    page.route("**/*", lambda route: route.abort() if is_outside(route.request.url) else route.continue_())
    network = context.new_cdp_session(page)
    network.on("Network.requestWillBeSent", requested)
    network.send("Network.enable")
    page.on("pageerror", lambda error: errors.append(getattr(error, "stack", None) or str(error)))
    page.refused, page.errors = refused, errors  # type: ignore[attr-defined]
    page.goto(server.url)
    wait_until_ready(page)
    return page


def wait_until_ready(page: Page) -> None:
    """Waits until the front end that is being loaded can be used."""
    page.wait_for_function("() => window.app?.graph && window.app?.extensionManager?.setting", timeout=90_000)
    page.wait_for_function("() => document.querySelector('#graph-canvas, canvas')", timeout=90_000)
    page.evaluate("() => { LiteGraph.alwaysRepeatWarnings = true }")  # the front end's own use may come first
    page.wait_for_timeout(1000)
    close_dialogs(page)
    errors = page_errors(page)
    errors[:] = [error for error in errors if PACK in error]  # a front end that stumbles at its own start


def version(page: Page) -> tuple[int, ...]:
    """The front end's version, say (1, 35, 9)."""
    text: str = page.evaluate("() => window.__COMFYUI_FRONTEND_VERSION__")
    return tuple(int(part) for part in text.split("."))


def external_requests(page: Page) -> list[str]:
    """Addresses outside the server that a file of the pack asked for (and was refused)."""
    return page.refused  # type: ignore[attr-defined, no-any-return]


def page_errors(page: Page) -> list[str]:
    """Uncaught errors of the page's scripts since it was ready, and before that of the pack's, with their stacks."""
    return page.errors  # type: ignore[attr-defined, no-any-return]


def deprecations(page: Page) -> list[str]:
    """Warnings of a deprecated use by a file of the pack, and errors of the pack, each with its stack."""
    found: list[str] = page.evaluate("() => window.copyscopeDeprecations ?? []")
    return found


def check(page: Page) -> None:
    """Asserts that no script failed, and that the pack asked nothing outside and used nothing deprecated."""
    assert page_errors(page) == []
    assert external_requests(page) == []
    assert deprecations(page) == []


def close_dialogs(page: Page) -> None:
    """Closes whatever dialog is open (templates, missing models)."""
    for _ in range(5):
        masks = page.locator(".p-dialog-mask:visible")
        if masks.count() == 0:
            return
        page.keyboard.press("Escape")
        page.wait_for_timeout(400)


def set_setting(page: Page, name: str, value: Any) -> None:
    """Changes a setting, say ``Comfy.ColorPalette`` to ``light`` or ``Comfy.VueNodes.Enabled`` (Nodes 2.0)."""
    page.evaluate("([name, value]) => window.app.extensionManager.setting.set(name, value)", [name, value])
    page.wait_for_timeout(500)


def load_ui(page: Page, ui: dict[str, Any]) -> None:
    """Opens a UI-format workflow, as dropping its file onto the canvas does."""
    page.evaluate("async (ui) => { await window.app.loadGraphData(ui) }", ui)
    close_dialogs(page)


def graph_to_prompt(page: Page) -> dict[str, Any]:
    """The API-format graph that Run would send."""
    output: dict[str, Any] = page.evaluate("async () => (await window.app.graphToPrompt()).output")
    return output


def serialize(page: Page) -> dict[str, Any]:
    """The open workflow in UI format, as saving it writes."""
    ui: dict[str, Any] = page.evaluate("() => JSON.parse(JSON.stringify(window.app.graph.serialize()))")
    return ui


def unsaved_step(page: Page) -> list[str]:
    """Types of the nodes that changed since the front end last took a step for undo."""
    types: list[str] = page.evaluate(
        """() => {
            const { activeState } = window.app.extensionManager.workflow.activeWorkflow.changeTracker
            const before = new Map(activeState.nodes.map((node) => [node.id, JSON.stringify(node)]))
            return JSON.parse(JSON.stringify(window.app.graph.serialize())).nodes
                .filter((node) => before.get(node.id) !== JSON.stringify(node)).map((node) => node.type)
        }"""
    )
    return types


def missing_nodes(page: Page) -> list[str]:
    """Types of nodes in the open workflow that the front end does not know, insides of subgraphs included."""
    types: list[str] = page.evaluate(
        """() => {
            const graphs = [window.app.graph, ...(window.app.graph.subgraphs?.values() ?? [])]
            return graphs.flatMap((graph) => graph.nodes)
                .filter((node) => !LiteGraph.registered_node_types[node.type]).map((node) => node.type)
        }"""
    )
    return types


def queue(page: Page) -> None:
    """Presses Run."""
    page.evaluate("async () => { await window.app.queuePrompt(0, 1) }")


def screenshot(page: Page, name: str, *, fit: bool = True) -> Path:
    """Writes test-artifacts/NAME.png, after fitting the graph into the view."""
    ARTIFACTS.mkdir(exist_ok=True)
    path = ARTIFACTS / f"{name}.png"
    if fit:
        page.evaluate("() => window.app.extensionManager.command?.execute?.('Comfy.Canvas.FitView')")
        page.wait_for_timeout(700)
    page.screenshot(path=path)
    return path


def close_up(page: Page, node_id: int, size: tuple[int, int], width: int) -> None:
    """Shows a node of this size in the graph ``width`` pixels wide on the screen, and nothing above it."""
    scale = width / size[0]
    page.evaluate("() => { window.app.extensionManager.focusMode = true }")
    page.set_viewport_size({"width": width + 80, "height": int((size[1] + 80) * scale)})
    page.wait_for_timeout(500)
    page.evaluate(
        """([id, size, scale]) => {
            const node = window.app.graph.getNodeById(id)
            node.setSize(size)
            const view = window.app.canvas.ds
            view.scale = scale
            view.offset = [-node.pos[0] + 20 / scale, -node.pos[1] + 40]
            window.app.canvas.setDirty(true, true)
        }""",
        [node_id, list(size), scale],
    )
    overlays = ".graph-canvas-panel, .p-toast, .p-buttongroup, .minimap-main-container"
    page.add_style_tag(content=f"{overlays} {{ visibility: hidden !important }}")
    page.wait_for_timeout(700)


def set_widgets(page: Page, values: dict[str, Any]) -> None:
    """Sets every widget of these names, in all nodes of the open workflow."""
    page.evaluate(
        """(values) => {
            for (const node of window.app.graph.nodes)
                for (const widget of node.widgets ?? []) if (widget.name in values) widget.value = values[widget.name]
        }""",
        values,
    )


def node_point(page: Page, node_id: int) -> tuple[float, float]:
    """Where a node's title is on the screen."""
    x, y = page.evaluate(
        """(id) => {
            const node = window.app.graph.getNodeById(id)
            const [x, y] = window.app.canvas.convertOffsetToCanvas([node.pos[0] + 60, node.pos[1] - 15])
            const box = window.app.canvas.canvas.getBoundingClientRect()
            return [x + box.left, y + box.top]
        }""",
        node_id,
    )
    return x, y


def fit(page: Page) -> None:
    """Fits the graph into the view."""
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    page.wait_for_timeout(700)
