"""CopyScope Players in ComfyUI's own front end: its labelled fields, and the list of what the workflow is made of."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
import workflow_models as shipped
from hostutil import Server
from test_pack import CONTRAST, PALETTES, nodes_2

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

TEXTS = ("key_prompts", "neutral_prompt", "only", "lock", "image_players", "baseline_models")
NODE = 20


def open_workflow(page: Page, name: str, **texts: str) -> None:
    import frontend

    frontend.load_ui(page, shipped.ui_workflow(name))
    frontend.set_widgets(page, texts)
    page.evaluate("() => { app.graph.beforeChange(); app.graph.afterChange() }")
    page.locator(".cs-players").wait_for()
    frontend.close_up(page, NODE, (420, 900), 1000)


def find(page: Page) -> None:
    page.locator(".cs-players .cs-head button").click()
    page.locator(".cs-players .cs-head button:not([disabled])").wait_for()


def row(page: Page, name: str) -> Locator:
    return page.locator(".cs-item").filter(has=page.get_by_text(name, exact=True))


def rows(page: Page) -> dict[str, bool]:
    """Name → ticked."""
    return {
        item.locator("b").inner_text(): item.locator("input[type=checkbox]").is_checked()
        for item in page.locator(".cs-item").all()
    }


def sent(page: Page, node: int = NODE) -> dict[str, Any]:
    import frontend

    inputs: dict[str, Any] = frontend.graph_to_prompt(page)[str(node)]["inputs"]
    return inputs


def settle(page: Page) -> None:
    """Wait until the list that follows a change is there, and the step for undo is taken."""
    page.locator(".cs-players:not([aria-busy])").wait_for()


@pytest.mark.parametrize("vue", [False, True], ids=["canvas", "nodes-2.0"])
def test_every_text_has_a_label_and_help_that_can_be_read(studio_page: Page, vue: bool) -> None:
    import frontend

    page = studio_page
    if vue:
        nodes_2(page)
    open_workflow(page, "quick-start")
    find(page)
    page.locator(".cs-texts summary").click()
    fields = page.locator(".cs-players .cs-field")
    assert fields.count() == len(TEXTS)
    for field in fields.all():
        assert field.locator("b").inner_text()
        assert len(field.locator("span").inner_text()) > 30
        assert field.locator("textarea").is_visible()
    own = (
        "(id) => app.graph.getNodeById(id).widgets.filter((item) => item.element?.checkVisibility()).map((i) => i.name)"
    )
    assert page.evaluate(own, NODE) == ["copyscope_players"]
    if vue:
        assert page.locator(f'[data-node-id="{NODE}"] textarea:visible').count() == len(TEXTS)
    body = page.locator(".cs-players-body")
    assert body.evaluate("(body) => body.scrollWidth <= body.clientWidth")
    panel = page.locator(".cs-players").evaluate("(panel) => [panel.scrollHeight, panel.clientHeight]")
    assert panel[0] <= panel[1] + 1, "the node is as high as what it holds"
    for palette in page.evaluate(PALETTES):
        frontend.set_setting(page, "Comfy.ColorPalette", palette)
        found = page.evaluate(CONTRAST, ".cs-players")
        assert len(found) > 15
        assert [(text, ratio) for text, ratio in found if ratio < 4.5] == [], palette


@pytest.mark.parametrize("vue", [False, True], ids=["canvas", "nodes-2.0"])
def test_ticks_write_the_nodes_own_texts(studio_page: Page, vue: bool) -> None:
    import frontend

    page = studio_page
    if vue:
        nodes_2(page)
    open_workflow(page, "two-loras", only="lora", key_prompts="in the style of Jane Artist")
    before = sent(page)
    find(page)
    phrase = "prompt: in the style of Jane Artist"
    assert rows(page) == {
        "v1-5-pruned-emaonly-fp16": False, "artist-style-sd15": True, "character-sd15": True, phrase: False,
    }  # fmt: skip
    assert sent(page) == before, "looking changes nothing"
    assert "2 measured: 4 combinations" in page.locator(".cs-head").inner_text()
    checkpoint = row(page, "v1-5-pruned-emaonly-fp16")
    assert checkpoint.locator("input").is_disabled()
    assert "name a baseline checkpoint" in checkpoint.inner_text()
    row(page, "character-sd15").locator("input[type=checkbox]").uncheck()
    settle(page)
    assert {name: sent(page)[name] for name in ("only", "lock")} == {"only": "", "lock": f"character-sd15\n{phrase}"}
    row(page, phrase).locator("input[type=checkbox]").check()
    settle(page)
    assert sent(page)["lock"] == "character-sd15"
    assert rows(page)[phrase] and not rows(page)["character-sd15"]
    assert page.locator(".cs-players textarea").nth(3).input_value() == "character-sd15", "list and text agree"
    frontend.screenshot(page, f"players-{'nodes2' if vue else 'canvas'}", fit=False)
    page.mouse.click(1300, 860)
    page.keyboard.press("Control+z")
    page.wait_for_timeout(1500)
    assert sent(page)["lock"] == f"character-sd15\n{phrase}", "one tick is one step to undo"


def test_typed_texts_are_kept_sent_and_saved(studio_page: Page) -> None:
    import frontend

    page = studio_page
    open_workflow(page, "quick-start")
    page.locator(".cs-texts summary").click()
    for place, name in enumerate(TEXTS):
        page.locator(".cs-players textarea").nth(place).fill(f"{name} 1\n{name} 2")
    page.mouse.click(1300, 860)
    typed = {name: f"{name} 1\n{name} 2" for name in TEXTS}
    assert {name: sent(page)[name] for name in TEXTS} == typed
    saved = frontend.serialize(page)
    values = next(node["widgets_values"] for node in saved["nodes"] if node["id"] == NODE)
    assert values == ["v1-5-pruned-emaonly-fp16.safetensors", "(none)", *typed.values()]
    frontend.load_ui(page, saved)
    page.locator(".cs-texts summary").click()
    shown = page.locator(".cs-players textarea").evaluate_all("(areas) => areas.map((area) => area.value)")
    assert shown == list(typed.values())


def test_groups_go_into_the_settings_node_which_is_added(studio_page: Page) -> None:
    import frontend

    page = studio_page
    open_workflow(page, "two-loras")
    find(page)
    for name in ("artist-style-sd15", "character-sd15"):
        row(page, name).locator(".cs-group").fill("Jane")
        row(page, name).locator(".cs-group").press("Tab")
        settle(page)
    graph = frontend.graph_to_prompt(page)
    (settings,) = (key for key, node in graph.items() if node["class_type"] == "CopyScopeSettings")
    assert graph[settings]["inputs"]["groups"] == "Jane = artist-style-sd15, character-sd15"
    assert graph["21"]["inputs"]["settings"] == [settings, 0]
    assert "in groups" in page.locator(".cs-head").inner_text()
    row(page, "character-sd15").locator(".cs-group").fill("")
    row(page, "character-sd15").locator(".cs-group").press("Tab")
    settle(page)
    assert sent(page, int(settings))["groups"] == "Jane = artist-style-sd15"


def test_baselines_of_loaders_are_picked_from_the_hosts_lists(studio_page: Page) -> None:
    page = studio_page
    open_workflow(page, "flux")
    find(page)
    loader = row(page, "t5xxl_fp8_e4m3fn")
    assert loader.locator("input[type=checkbox]").is_disabled()
    assert loader.locator("select").count() == 2, "a loader of two files"
    options = loader.locator("select").nth(0).locator("option").all_inner_texts()
    assert options == ["(none)", "clip_l.safetensors"]
    loader.locator("select").nth(0).select_option("clip_l.safetensors")
    settle(page)
    assert sent(page)["baseline_models"] == "2.clip_name1 = clip_l.safetensors"
    assert rows(page)["t5xxl_fp8_e4m3fn"], "with a baseline it is measured"
    row(page, "t5xxl_fp8_e4m3fn").locator("select").nth(0).select_option("(none)")
    settle(page)
    assert sent(page)["baseline_models"] == ""
    assert not rows(page)["t5xxl_fp8_e4m3fn"]


def test_what_is_wrong_is_said_in_the_panel(studio_page: Page) -> None:
    page = studio_page
    open_workflow(page, "quick-start", lock="nobody", key_prompts="")
    problem = page.locator(".cs-problem")
    find(page)
    assert "No component is called 'nobody'" in problem.inner_text()
    assert len(rows(page)) == 3, "the list is there all the same"
    row(page, "prompt").locator("input[type=checkbox]").uncheck()
    settle(page)
    assert not problem.is_visible()
    assert sent(page)["lock"] == "prompt"
    page.evaluate("() => { app.graph.getNodeById(21).disconnectInput(0) }")
    find(page)
    assert "Wire an image into" in problem.inner_text()
    page.evaluate("([id]) => { app.graph.getNodeById(id).disconnectOutput(0) }", [NODE])
    find(page)
    assert "Wire this node into the players input" in problem.inner_text()
    assert page.locator(".cs-item").count() == 0


def test_a_text_from_another_node_keeps_its_own_box(studio_page: Page) -> None:
    page = studio_page
    open_workflow(page, "quick-start")
    page.evaluate(
        """(id) => {
            const maker = LiteGraph.createNode('PrimitiveStringMultiline') ?? LiteGraph.createNode('PrimitiveString')
            app.graph.add(maker)
            maker.widgets[0].value = 'lora'
            const node = app.graph.getNodeById(id)
            maker.connect(0, node, node.inputs.findIndex((input) => input.widget?.name === 'lock'))
        }""",
        NODE,
    )
    find(page)
    assert rows(page) == {"dreamshaper_8": True, "artist-style-sd15": False, "prompt": True}
    assert all(box.is_disabled() for box in page.locator(".cs-item input[type=checkbox]").all())
    page.locator(".cs-texts summary").click()
    assert page.locator(".cs-field:visible").count() == len(TEXTS) - 1


def test_the_route_takes_a_workflow_of_bounded_size_and_answers_in_a_sentence(studio: Server) -> None:
    graph = shipped.api_workflow("quick-start")
    status, answer = studio.post("/copyscope/players", {"prompt": graph, "node": "20"})
    assert status == 200
    assert [item["name"] for item in answer["components"]] == ["dreamshaper_8", "artist-style-sd15", "prompt"]
    for body in ([], {}, {"prompt": graph}, {"prompt": graph, "node": 20}, {"prompt": [1], "node": "20"}, 7, "x"):
        status, answer = studio.post("/copyscope/players", body)
        assert (status, answer["error"].count("\n")) == (400, 0), body
    status, answer = studio.post("/copyscope/players", {"prompt": graph, "node": "1"})
    assert status == 400 and "not part of what would run" in answer["error"]
    loop = {**graph, "10": {**graph["10"], "inputs": {**graph["10"]["inputs"], "model": ["10", 0]}}}
    assert studio.post("/copyscope/players", {"prompt": loop, "node": "20"})[0] == 400
    large = json.dumps({"prompt": graph, "node": "20", "x": "y" * (16 * 2**20)}).encode()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"{studio.url}/copyscope/players", large), timeout=60)
    assert refused.value.code == 413
