"""Every shipped workflow in ComfyUI's own front end: it opens whole, runs, and shows its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import workflow_models as shipped
from hostutil import Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

CLIP_L = {"clip_name1": "clip_l.safetensors", "clip_name2": "clip_l.safetensors", "type": "sd3"}
LOST_LINKS = """() => {
    const { graph } = window.app
    return graph.nodes.flatMap((node) => (node.inputs ?? []).filter((input) => {
        if (input.link == null) return false
        const link = graph.getLink(input.link)
        return !link || !graph.getNodeById(link.origin_id)?.outputs[link.origin_slot]
    }).map((input) => `${node.type}.${input.name}`))
}"""


def sent(graph: dict[str, Any]) -> dict[str, Any]:
    """Class and inputs of every node, without what only the front end uses."""
    return {
        key: (
            node["class_type"],
            {name: value for name, value in node["inputs"].items() if name != "control_after_generate"},
        )
        for key, node in graph.items()
    }


@pytest.mark.parametrize("name", shipped.NAMES)
def test_it_opens_whole_runs_and_shows_its_report(name: str, studio: Server, studio_page: Page) -> None:
    import frontend

    page = studio_page
    frontend.load_ui(page, shipped.ui_workflow(name))
    assert frontend.missing_nodes(page) == []
    assert page.evaluate(LOST_LINKS) == []
    assert sent(frontend.graph_to_prompt(page)) == sent(shipped.api_workflow(name))

    frontend.set_widgets(page, {**shipped.SMALL, **(CLIP_L if name == "flux" else {})})
    frontend.fit(page)
    frontend.queue(page)
    page.locator(".cs-progress .cs-now").get_by_text("of").first.wait_for(timeout=240_000)
    page.locator(".cs-headline").wait_for(timeout=240_000)
    assert set(page.locator(".cs-report .cs-name b").all_inner_texts()) == shipped.PLAYERS[name]
    assert page.locator(".cs-tile").count() == 2 ** len(shipped.PLAYERS[name])
    image = page.locator(".cs-detail img").first
    page.wait_for_function("() => document.querySelector('.cs-detail img')?.naturalWidth > 0", timeout=30_000)
    assert image.evaluate("(img) => img.naturalWidth") == shipped.SMALL["width"]
    page.locator(".cs-now").get_by_text("Audit done").wait_for(timeout=30_000)
    frontend.screenshot(page, f"workflow-{name}")

    with page.context.expect_page() as opening:
        page.locator("a.cs-button").click()
    full = opening.value
    full.wait_for_load_state()
    assert "not a finding of infringement" in full.inner_text("body")
    full.screenshot(path=frontend.ARTIFACTS / f"full-report-{name}.png")
    full.close()


def test_report_comes_back_with_its_workflows_tab(studio: Server, studio_page: Page) -> None:
    import frontend

    page = studio_page
    ui = shipped.ui_workflow("quick-start")
    frontend.load_ui(page, ui)
    frontend.set_widgets(page, shipped.SMALL)
    frontend.queue(page)
    page.locator(".cs-now").get_by_text("Audit done").wait_for(timeout=240_000)
    headline = page.locator(".cs-headline").inner_text()
    frontend.load_ui(page, {**ui, "id": "another", "nodes": [], "links": [], "groups": []})
    assert page.locator(".cs-report").count() == 0
    tabs = ".workflow-tabs .p-togglebutton, [data-testid=workflow-tab-strip] [role=tab]"  # 1.49 and 1.58
    page.locator(tabs).nth(-2).click()
    page.locator(".cs-headline").wait_for(timeout=15_000)
    assert page.locator(".cs-headline").inner_text() == headline
    told = "(badge) => /^(share|contrast)/.test(badge.text ?? '')"
    badges = f"() => window.app.graph.getNodeById(10).badges.filter({told}).length"
    assert page.evaluate(badges) == 1
