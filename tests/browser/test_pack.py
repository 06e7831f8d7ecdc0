"""The pack's front end in ComfyUI's own, in headless Chromium: report, badges, progress, menu, themes, Nodes 2.0."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fakes
import pytest
import workflow_models as shipped
from hostutil import REPOSITORY, Server, start_server
from workflow_models import api_workflow

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

REPORT = 23
USER_NODES = {
    "CopyScopeCoalitionEnumerator",
    "CopyScopeLoaderCoalitions",
    "CopyScopePlayers",
    "CopyScopeSettings",
    "CopyScopeLoadReference",
    "CopyScopeFID",
    "CopyScopeShapleyReport",
}
PALETTES = """() => Object.keys(document.querySelector('#vue-app').__vue_app__.config.globalProperties
    .$pinia._s.get('colorPalette').palettesLookup)"""
"""Every palette that this front end ships."""
CONTRAST = """(selector) => {
    const brush = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true })
    const rgba = (colour) => {
        brush.clearRect(0, 0, 1, 1)
        brush.fillStyle = colour
        brush.fillRect(0, 0, 1, 1)
        const [r, g, b, alpha] = brush.getImageData(0, 0, 1, 1).data
        return [r, g, b, alpha / 255]
    }
    const over = ([r, g, b, alpha], under) => [r, g, b].map((v, i) => v * alpha + under[i] * (1 - alpha))
    const light = (colour) => colour.map((value) => value / 255)
        .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
    const ratio = (one, two) => {
        const [high, low] = [light(one), light(two)].sort((a, b) => b - a)
        return (high + 0.05) / (low + 0.05)
    }
    /** What lies behind an element's text; null where that is the canvas, whose colour anyone may choose. */
    const behind = (element) => {
        const layers = []
        for (let item = element; item; item = item.parentElement) {
            if (item.closest('.copyscope, [data-node-id]') === null) return null
            const layer = rgba(getComputedStyle(item).backgroundColor)
            layers.push(layer)
            if (layer[3] === 1) return layers.reduceRight((under, top) => over(top, under), [0, 0, 0])
        }
        return null
    }
    const found = []
    for (const root of document.querySelectorAll(selector)) {
        const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT)
        while (texts.nextNode()) {
            const element = texts.currentNode.parentElement
            const text = texts.currentNode.textContent.trim()
            if (!text || !element.checkVisibility()) continue
            let opacity = 1
            for (let item = element; item; item = item.parentElement) opacity *= getComputedStyle(item).opacity
            const under = behind(element)
            const [r, g, b, alpha] = rgba(getComputedStyle(element).color)
            found.push([text, under ? ratio(over([r, g, b, alpha * opacity], under), under) : 0])
        }
        for (const bar of root.querySelectorAll('.cs-bar:not(.cs-unsure), .cs-fill')) {
            const under = behind(bar.parentElement)
            const colour = rgba(getComputedStyle(bar).backgroundColor)
            // three is enough for what is no text: told on the scale of text
            found.push([bar.className, under ? ratio(over(colour, under), under) * 1.5 : 0])
        }
    }
    return found
}"""
"""Every text, and every bar, under elements of this kind, and its contrast with what lies behind it."""


def nodes_2(page: Page) -> None:
    """Turns Nodes 2.0 on; skips the test where the front end's are a first trial, without the widgets of extensions."""
    import frontend

    if frontend.version(page) < (1, 35):
        pytest.skip("NO NODES 2.0: this front end is older than 1.35; this test did NOT run")
    frontend.set_setting(page, "Comfy.VueNodes.Enabled", True)


def quick_start() -> dict[str, Any]:
    return shipped.ui_workflow("quick-start")


def plain() -> dict[str, Any]:
    """The user's own part of the workflow, without CopyScope's nodes."""
    ui = quick_start()
    ui["nodes"] = [node for node in ui["nodes"] if node["id"] < 20]
    kept = {node["id"] for node in ui["nodes"]}
    ui["links"] = [link for link in ui["links"] if link[1] in kept and link[3] in kept]
    ids = {link[0] for link in ui["links"]}
    for node in ui["nodes"]:
        for output in node.get("outputs", []):
            output["links"] = [link for link in output.get("links") or [] if link in ids]
    return {**ui, "groups": []}


def execute(page: Page, output: dict[str, Any]) -> None:
    """Bring an output to the report node, as the end of a run does."""
    page.evaluate("([id, output]) => window.app.graph.getNodeById(id).onExecuted(output)", [REPORT, output])


def badges(page: Page, node_id: int) -> list[str]:
    found: list[str] = page.evaluate(
        """(id) => window.app.graph.getNodeById(id).badges
            .map((badge) => (typeof badge === 'function' ? badge() : badge).text).filter(Boolean)""",
        node_id,
    )
    return found


def say(page: Page, text: str) -> None:
    """A line of progress for the enumerator, as it comes from the server."""
    page.evaluate("(text) => window.app.api.dispatchCustomEvent('progress_text', { nodeId: '21', text })", text)


@pytest.fixture
def opened(page: Page) -> Page:
    """The front end with quick-start open."""
    import frontend

    frontend.load_ui(page, quick_start())
    return page


def test_report_shows_ranked_bars_coalitions_and_the_full_report(opened: Page) -> None:
    page = opened
    assert "No report yet" in page.locator(".cs-report").inner_text()
    output = fakes.output(intervals=True)
    report = output["copyscope_report"][0]
    execute(page, output)
    assert page.locator(".cs-headline").inner_text() == report["verdict"]["sentence"]
    ranked = sorted(report["players"], key=lambda player: -player["shapley"])
    assert page.locator(".cs-report .cs-name b").all_inner_texts() == [player["name"] for player in ranked]
    shown = page.locator(".cs-value b").all_inner_texts()
    assert [text[0] for text in shown] == ["+", "+", "−"]
    assert page.locator(".cs-toward").count() == 2
    assert page.locator(".cs-whisker").count() == 3
    low, high = (f"{value:.1f}".replace("-", "−") for value in ranked[0]["shapley_interval"])
    assert page.locator(".cs-value small").first.inner_text() == f"{low} to {high}"
    assert page.locator(".cs-tile").count() == 8
    link = page.locator(".cs-report a.cs-button")
    assert link.get_attribute("href").endswith(f"/copyscope/runs/{fakes.RUN}/report.html")
    assert link.get_attribute("rel") == "noopener"
    widths = page.locator(".cs-bar").evaluate_all("(bars) => bars.map((bar) => bar.getBoundingClientRect().width)")
    phi = [abs(player["shapley"]) for player in ranked]
    assert widths[0] / widths[2] == pytest.approx(phi[0] / phi[2], rel=0.02)


def test_what_changes_how_to_read_it_is_not_folded_away(opened: Page) -> None:
    output = fakes.output()
    execute(opened, output)
    warnings = output["copyscope_report"][0]["warnings"]
    few, note = (next(item["message"] for item in warnings if item["code"] == code) for code in ("few_images", "note"))
    assert opened.locator(".cs-warnings > ul").get_by_text(few).is_visible()
    assert not opened.locator(".cs-warnings").get_by_text(note).is_visible()
    opened.locator(".cs-warnings summary").click()
    assert opened.locator(".cs-warnings").get_by_text(note).is_visible()


def test_no_whiskers_without_intervals(opened: Page) -> None:
    execute(opened, fakes.output(intervals=False))
    assert opened.locator(".cs-bar").count() == 3
    assert opened.locator(".cs-whisker").count() == 0


def test_text_of_a_workflow_is_never_markup(opened: Page) -> None:
    page = opened
    execute(page, fakes.output())
    page.locator(".cs-warnings summary").click()
    page.locator(".cs-locked summary", has_text="Not measured").click()
    text = page.locator(".cs-report").inner_text()
    assert text.count(fakes.EVIL) >= 4  # bar, warning, locked component, coalition
    assert page.locator(".cs-report img[onerror], .cs-report script").count() == 0
    page.wait_for_timeout(300)
    assert page.evaluate("() => window.hacked") is None


def test_coalitions_answer_pointer_and_keyboard(opened: Page) -> None:
    page = opened
    execute(page, fakes.output())
    detail = page.locator(".cs-detail")
    assert " + ".join(fakes.PLAYERS) in detail.inner_text()
    page.locator(".cs-tile").nth(0).hover()
    assert "None of the components" in detail.inner_text()
    page.locator(".cs-tile").nth(0).focus()
    page.keyboard.press("ArrowRight")
    assert detail.locator("b").inner_text() == "artist-style-sd15"
    assert "FID" in detail.inner_text() and "4 images" in detail.inner_text()
    assert page.locator(".cs-tile[aria-pressed=true]").count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Open full report"


def test_players_carry_their_share(opened: Page) -> None:
    page = opened
    output = fakes.output()
    execute(page, output)
    players = {player["node"]: player for player in output["copyscope_report"][0]["players"]}
    for node_id in ("10", "1", "4"):
        share = round(players[node_id]["share"] * 100)
        assert badges(page, int(node_id)) == [f"share {'+' if share > 0 else '−'}{abs(share)}%"]
    assert badges(page, 7) == []
    players["10"]["shapley_interval"] = [-1.0, 90.0]
    execute(page, output)
    assert badges(page, 10)[0].endswith(", may be chance")
    assert page.locator(".cs-unsure").count() == 1
    assert len(badges(page, 10)) == 1, "a second audit must replace the badges of the first"
    for node in output["copyscope_report"][0]["workflow"].values():
        node["class_type"] = "AnotherWorkflow"
    execute(page, output)
    assert badges(page, 10) == [], "the report is of another workflow"


def test_progress_says_which_how_many_and_how_long(opened: Page) -> None:
    page = opened
    panel = page.locator(".cs-progress")
    assert not panel.is_visible()
    say(page, "4 coalitions of 2 players: 9 runs to do, 0 stored")
    assert "Loading models" in panel.inner_text()
    for step in (1, 2, 3):
        page.wait_for_timeout(350)
        say(page, f"{step} of 9: style & more, seed +{step}")
    assert "3 of 9 runs done, seed +3" in panel.inner_text()
    assert page.locator(".cs-who").inner_text() == "style & more"
    assert "6 left, about" in panel.inner_text()
    assert page.locator(".cs-track").get_attribute("aria-valuenow") == "3"
    say(page, "Running 4 of 9: style & more, seed +4")
    assert page.locator(".cs-now").inner_text() == "Running 4 of 9, seed +4"
    assert "6 left, about" in panel.inner_text(), "what is left stays while the next one runs"
    names = page.evaluate("() => window.app.graph.getNodeById(21).widgets.map((widget) => widget.name)")
    assert names == ["seeds", "max_coalitions", "$$node-text-preview"], "the front end must not write it once more"
    page.evaluate("() => window.app.api.dispatchCustomEvent('execution_interrupted', {})")
    assert "3 of 9 runs are stored" in panel.inner_text()
    say(page, "4 coalitions of 2 players: 0 runs to do, 9 stored")
    page.evaluate("() => window.app.api.dispatchCustomEvent('execution_success', {})")
    assert "every coalition was stored already" in panel.inner_text()


def race(page: Page, stopped: str | None, *looks: tuple[int, float, float, float]) -> None:
    """Where an audit stands that runs until it is sure, as it comes from the server."""
    rows = [
        {"seeds": seeds, "first": "style & <b>more</b>", "estimate": value, "interval": [low, high], "decided": False}
        for seeds, value, low, high in looks
    ]
    text = (
        "Look 2: 4 seeds, 16 of at most 64 runs. First “style & <b>more</b>” 0.31 (0.1 to 0.5), then “prompt”. Not "
        "decided; the rest of the budget would, in about 40 of 100 cases."
    )
    detail = {"node": "21", "looks": rows, "runs": 64, "stopped": stopped, "text": text}
    page.evaluate("(detail) => window.app.api.dispatchCustomEvent('copyscope.race', detail)", detail)


def test_a_race_is_drawn_and_can_be_stopped_with_a_report(opened: Page) -> None:
    page, panel = opened, opened.locator(".cs-progress")
    button = panel.get_by_role("button", name="Stop and report")
    say(page, "4 coalitions of 2 players: 13 runs to do, 0 stored")
    assert not button.is_visible(), "nothing is known before the first look"
    race(page, None, (3, 0.3, -0.4, 1.0), (4, 0.31, 0.1, 0.5))
    say(page, "4 coalitions of 2 players: 8 runs to do, 16 stored")
    assert "First “style & <b>more</b>” 0.31" in panel.inner_text(), "what was seen stays while more is run"
    assert "8 runs to do" in panel.inner_text()
    assert panel.locator(".cs-look small").all_inner_texts() == ["3 seeds", "4 seeds"]
    wide, narrow = (panel.locator(".cs-span").nth(n).bounding_box()["width"] for n in (0, 1))
    assert narrow / wide == pytest.approx(0.4 / 1.4, rel=0.05)
    box, node = button.bounding_box(), panel.bounding_box()
    assert box["y"] + box["height"] <= node["y"] + node["height"], "the node is as high as what it shows"
    asked = []
    answers = [(200, {"stopping": True}), (409, {"error": "No audit runs there."})]

    def answer(route: Route) -> None:
        status, body = answers[len(asked)]
        asked.append(route.request.post_data_json)
        route.fulfill(status=status, json=body)

    page.route("**/copyscope/stop", answer)
    button.click()
    page.wait_for_function("() => document.querySelector('.cs-race').innerText.includes('Stopping after the run')")
    button.click(force=True)
    assert asked == [{"node": "21"}]
    race(page, "user", (3, 0.3, -0.4, 1.0), (4, 0.31, 0.1, 0.5))
    assert not button.is_visible()
    page.evaluate("() => window.app.api.dispatchCustomEvent('execution_success', {})")
    assert panel.locator(".cs-look").count() == 2, "the race stays to be read"
    say(page, "4 coalitions of 2 players: 8 runs to do, 16 stored")
    assert not panel.locator(".cs-race").is_visible(), "the next audit begins anew"
    race(page, None, (3, 0.3, -0.4, 1.0))
    button.click()
    page.wait_for_function("() => document.querySelector('.cs-race').innerText.includes('No audit runs there.')")
    page.unroute("**/copyscope/stop")
    page.route("**/copyscope/stop", lambda route: route.abort())
    button.click()
    page.wait_for_function("() => document.querySelector('.cs-race').innerText.includes('did not answer')")
    page.evaluate("() => window.app.api.dispatchCustomEvent('execution_start', {})")
    say(page, "4 coalitions of 2 players: 8 runs to do, 16 stored")
    assert not panel.locator(".cs-race").is_visible(), "the end of the prompt before was missed"


def test_panels_are_not_saved_with_the_workflow(opened: Page) -> None:
    import frontend

    execute(opened, fakes.output())
    say(opened, "1 of 9: style, seed +0")
    saved = {node["id"]: node for node in frontend.serialize(opened)["nodes"]}
    assert saved[REPORT]["widgets_values"] == [True, False, "", "", ""]
    assert saved[21]["widgets_values"] == [8, 256]
    assert frontend.graph_to_prompt(opened)["21"]["inputs"] == api_workflow("quick-start")["21"]["inputs"]


def test_players_of_loader_coalitions_carry_their_share_on_it(page: Page) -> None:
    import frontend

    ui = shipped.ui_workflow("loader-coalitions")
    frontend.load_ui(page, ui)
    ids = {node["type"]: node["id"] for node in ui["nodes"]}
    output = fakes.output()
    page.evaluate(
        "([id, output]) => window.app.graph.getNodeById(id).onExecuted(output)", [ids["CopyScopeShapleyReport"], output]
    )
    found = [text for text in badges(page, ids["CopyScopeLoaderCoalitions"]) if "share" in text]
    assert [text.split(":")[0] for text in found] == [
        name if len(name) <= 18 else f"{name[:18]}…".split(":")[0] for name in fakes.PLAYERS
    ]
    frontend.screenshot(page, "loader-coalitions-badges")


@pytest.mark.parametrize("clicked", [8, 9], ids=["VAEDecode", "SaveImage"])
def test_menu_adds_and_wires_an_audit(page: Page, clicked: int) -> None:
    import frontend

    frontend.load_ui(page, plain())
    frontend.fit(page)
    page.mouse.click(*frontend.node_point(page, 7), button="right")
    page.wait_for_timeout(400)
    assert page.get_by_text("CopyScope: audit this image").count() == 0, "a KSampler has no image"
    page.keyboard.press("Escape")
    page.mouse.click(*frontend.node_point(page, clicked), button="right")
    page.get_by_text("CopyScope: audit this image").click()
    page.wait_for_timeout(1500)
    frontend.screenshot(page, "menu-audit")
    graph = frontend.graph_to_prompt(page)
    added = {node["class_type"]: (key, node["inputs"]) for key, node in graph.items() if int(key) > 9 and key != "10"}
    enumerator, fid, report = (added[f"CopyScope{name}"] for name in ("CoalitionEnumerator", "FID", "ShapleyReport"))
    assert enumerator[1]["image"] == ["8", 0]
    assert fid[1]["coalitions"] == [enumerator[0], 0]
    assert report[1]["game"] == [fid[0], 0]
    overlaps = page.evaluate(
        """() => { const nodes = window.app.graph.nodes
            return nodes.flatMap((a, i) => nodes.slice(i + 1).filter((b) =>
                a.pos[0] < b.pos[0] + b.size[0] && b.pos[0] < a.pos[0] + a.size[0] &&
                a.pos[1] - 30 < b.pos[1] + b.size[1] && b.pos[1] - 30 < a.pos[1] + a.size[1])
                .map((b) => [a.type, b.type])) }"""
    )
    assert overlaps == []
    assert frontend.unsaved_step(page) == [], "what is added is one step to undo, even after a run"
    page.keyboard.press("Control+z")
    page.wait_for_function(
        "count => window.app.graph.nodes.length === count", arg=len(plain()["nodes"]), timeout=20_000
    )
    assert set(frontend.graph_to_prompt(page)) == {str(node["id"]) for node in plain()["nodes"]}


def test_a_picture_that_is_dropped_can_be_audited(page: Page) -> None:
    """ComfyUI itself opens the workflow in the picture; the audit menu then works on it."""
    import base64
    import io
    import json

    import frontend
    from PIL import Image, PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", json.dumps(plain()))
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG", pnginfo=info)
    frontend.load_ui(page, {"nodes": [], "links": [], "version": 0.4})
    page.evaluate(
        """(data) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))
            const dataTransfer = new DataTransfer()
            dataTransfer.items.add(new File([bytes], 'picture.png', { type: 'image/png' }))
            document.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }))
        }""",
        base64.b64encode(picture.getvalue()).decode("ascii"),
    )
    count = len(plain()["nodes"])
    page.wait_for_function("count => window.app.graph.nodes.length === count", arg=count, timeout=20_000)
    frontend.close_dialogs(page)
    frontend.fit(page)
    page.mouse.click(*frontend.node_point(page, 9), button="right")
    page.get_by_text("CopyScope: audit this image").click()
    page.wait_for_function("count => window.app.graph.nodes.length > count", arg=count, timeout=20_000)
    graph = frontend.graph_to_prompt(page)
    (enumerator,) = [node for node in graph.values() if node["class_type"] == "CopyScopeCoalitionEnumerator"]
    assert enumerator["inputs"]["image"] == ["8", 0]


@pytest.mark.parametrize("vue", [False, True], ids=["canvas", "nodes-2.0"])
def test_every_text_can_be_read_in_every_palette(page: Page, vue: bool) -> None:
    import frontend

    if vue:
        nodes_2(page)
    palettes = page.evaluate(PALETTES)
    assert {"dark", "light", "solarized", "arc", "nord", "github"} <= set(palettes)
    frontend.load_ui(page, quick_start())
    page.wait_for_timeout(800)
    for report in (False, True):
        if report:
            execute(page, fakes.output(intervals=True))
            say(page, "4 coalitions of 2 players: 9 runs to do, 0 stored")
            race(page, None, (3, 0.3, -0.4, 1.0), (4, 0.31, 0.1, 0.5))
            say(page, "1 of 9: style & more, seed +0")
            page.evaluate("() => document.querySelectorAll('.copyscope details').forEach((item) => (item.open = true))")
        for palette in palettes:
            frontend.set_setting(page, "Comfy.ColorPalette", palette)
            found = page.evaluate(CONTRAST, ".copyscope")
            assert len(found) > (40 if report else 1)
            assert [(text, ratio) for text, ratio in found if ratio < 4.5] == [], palette
            if report:
                frontend.screenshot(page, f"report-{palette}-{'nodes2' if vue else 'canvas'}")


def test_shares_appear_in_nodes_2_when_the_report_arrives_there(page: Page) -> None:
    import frontend

    nodes_2(page)
    frontend.load_ui(page, quick_start())
    report = page.locator(f'[data-node-id="{REPORT}"] .cs-report')
    report.wait_for()
    output = fakes.output(intervals=False)
    for sign in (1, -1):
        for player in output["copyscope_report"][0]["players"]:
            player.update(share=abs(player["share"]) * sign, shapley=abs(player["shapley"]) * sign)
        execute(page, output)
        assert report.locator(".cs-row").count() == 3
        for node_id in ("10", "1", "4"):
            (share,) = (text for text in badges(page, int(node_id)) if "share" in text)
            assert share.startswith("share +" if sign > 0 else "share −")
            page.locator(f'[data-node-id="{node_id}"]').get_by_text(share, exact=True).wait_for(timeout=5000)
            (ratio,) = (
                ratio for text, ratio in page.evaluate(CONTRAST, f'[data-node-id="{node_id}"]') if text == share
            )
            assert ratio >= 4.5


def test_nodes_2_offers_the_audit_beside_the_selection(page: Page) -> None:
    import frontend

    nodes_2(page)
    frontend.load_ui(page, plain())
    frontend.fit(page)
    page.locator('[data-node-id="8"] .lg-node-header').click()
    page.locator(".selection-toolbox .pi-chart-bar").click()
    page.wait_for_timeout(1500)
    graph = frontend.graph_to_prompt(page)
    assert [node["inputs"]["image"] for node in graph.values() if "Enumerator" in node["class_type"]] == [["8", 0]]
    frontend.screenshot(page, "menu-audit-nodes2", fit=False)
    page.mouse.click(700, 880)
    page.wait_for_timeout(600)
    page.keyboard.press("Control+z")
    page.wait_for_timeout(2000)
    assert set(frontend.graph_to_prompt(page)) == {str(node["id"]) for node in plain()["nodes"]}, "one step to undo"


def test_every_script_loads_without_a_word(page: Page, comfy: Server) -> None:
    listed = {path for path in comfy.get("/extensions") if path.startswith("/extensions/copyscope/")}
    ours = {path.relative_to(REPOSITORY / "web").as_posix() for path in (REPOSITORY / "web").rglob("*.js")}
    assert listed == {f"/extensions/copyscope/{path}" for path in ours}
    import frontend

    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.reload()
    frontend.wait_until_ready(page)
    assert [text for text in said if "copyscope" in text.lower()] == []
    assert (
        page.evaluate("() => window.app.extensions.filter((extension) => extension.name === 'CopyScope').length") == 1
    )


def test_what_a_file_of_the_pack_does_wrong_is_told_from_what_others_do(page: Page) -> None:
    """The checks at the end of every test: they can fail, and only for the pack's own files."""
    import frontend

    address = "https://outside.invalid/x"
    wrong = f"export default () => {{ fetch('{address}').catch(() => 0); console.warn('y is deprecated') }}"
    pack, another = f"{frontend.PACK}wrong.js", "/extensions/another/wrong.js"
    page.route("**/wrong.js", lambda route: route.fulfill(body=wrong, content_type="text/javascript"))
    act = "async (path) => { (await import(path)).default(); await new Promise((done) => setTimeout(done, 500)) }"
    page.evaluate(act, another)
    frontend.check(page)
    page.evaluate(act, pack)
    assert frontend.external_requests(page) == [address]
    assert len(frontend.deprecations(page)) == 1
    with pytest.raises(AssertionError):
        frontend.check(page)
    frontend.external_requests(page).clear()
    page.evaluate("() => { window.copyscopeDeprecations.length = 0 }")


def test_only_nodes_that_a_person_uses_stand_in_the_node_library(page: Page) -> None:
    shown = page.evaluate(
        """() => document.querySelector('#vue-app').__vue_app__.config.globalProperties.$pinia._s.get('nodeDef')
            .visibleNodeDefs.map((def) => def.name).filter((name) => name.startsWith('CopyScope'))"""
    )
    assert set(shown) == USER_NODES


def test_every_node_has_a_help_page_that_names_its_inputs(comfy: Server) -> None:
    info = comfy.get("/object_info")
    assert {name for name in info if name.startswith("CopyScope") and "internal" not in info[name]["category"]} == (
        USER_NODES
    )
    for name in USER_NODES:
        text = (REPOSITORY / "web" / "docs" / f"{name}.md").read_text(encoding="utf-8")
        inputs = {key for section in ("required", "optional") for key in info[name]["input"].get(section, {})}
        unnamed = {key for key in inputs if f"`{key}`" not in text and not key.startswith(("lora_", "strength_"))}
        assert unnamed == set(), name


@pytest.mark.parametrize("locale", ["en", "ko"])
def test_help_is_found_at_once_in_every_language(page: Page, locale: str) -> None:
    """A front end asks for the page in its own language, and then for one that serves all others."""
    import frontend

    frontend.set_setting(page, "Comfy.Locale", locale)
    page.reload()
    frontend.wait_until_ready(page)
    frontend.load_ui(page, quick_start())
    found: list[int] = []
    page.on("response", lambda answer: found.append(answer.status) if "/copyscope/docs/" in answer.url else None)
    page.evaluate("() => { app.canvas.selectItems([app.graph.getNodeById(22)]) }")
    page.get_by_test_id("info-button").click()
    page.locator(".node-help-content").get_by_text("reference_folder").first.wait_for(timeout=15_000)
    assert found == [200]


def test_only_help_pages_are_served_as_help(comfy: Server) -> None:
    address = f"{comfy.url}/extensions/copyscope/docs"
    for name in USER_NODES:
        page = urllib.request.urlopen(f"{address}/{name}/pt-BR.md", timeout=30)
        assert page.read() == (REPOSITORY / "web" / "docs" / f"{name}.md").read_bytes()
        assert page.headers["Content-Type"] == "text/markdown; charset=utf-8"
    for path in ("CopyScopeNothing/en.md", "CopyScopeFID/..%2f..%2fREADME.md", "..%2f..%2fREADME/en.md"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{address}/{path}", timeout=30)
        assert refused.value.code in (403, 404), path


def test_missing_requirements_are_told_in_the_browser(browser: Browser, tmp_path: Path) -> None:
    import frontend

    pack = tmp_path / "custom_nodes" / "copyscope"
    pack.mkdir(parents=True)
    for path in REPOSITORY.iterdir():
        if path.name in ("__init__.py", "nodes", "copyscope_core", "web"):
            (pack / path.name).symlink_to(path)
    (pack / "requirements.txt").write_text("no-such-package>=1\n", encoding="utf-8")
    with start_server(tmp_path, pack=False) as server:
        page = frontend.open_frontend(browser, server)
        told = page.get_by_text("no-such-package").first
        told.wait_for(timeout=60_000)
        assert f'-m pip install -r "{pack}/requirements.txt"' in told.inner_text()
        frontend.screenshot(page, "missing-requirements", fit=False)
        frontend.load_ui(page, plain())
        frontend.fit(page)
        page.mouse.click(*frontend.node_point(page, 8), button="right")
        page.wait_for_timeout(400)
        assert page.get_by_text("CopyScope: audit this image").count() == 0, "there is nothing to audit with"
        frontend.check(page)
        page.context.close()


def test_comfyui_lists_the_workflows_by_their_titles_with_a_picture(comfy: Server, page: Page) -> None:
    import frontend

    listed = comfy.get("/workflow_templates")["copyscope"]
    assert set(listed) == set(shipped.TITLES.values())
    page.evaluate("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text("CopyScope", exact=True).first.click()
    for title in listed:
        page.get_by_text(title, exact=True).first.scroll_into_view_if_needed(timeout=60_000)
        picture = page.get_by_role("img", name=title).first  # made when its place is seen
        picture.wait_for(timeout=60_000)
        page.wait_for_function("(image) => image.naturalWidth > 0", arg=picture.element_handle(), timeout=60_000)
    frontend.screenshot(page, "templates", fit=False)
