"""The HTML report in a real browser: its combinations are explored by mouse and keyboard, with nothing from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes import EVIL
from hostutil import ARTIFACTS
from PIL import Image
from reports import report_of

from copyscope_core.evaluation.evaluate import evaluate
from copyscope_core.report.html.page import write_html
from copyscope_core.report.html.pictures import Picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PLAYERS = ("base", EVIL, "style", "prompt")


@pytest.fixture(scope="module")
def report_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of four players whose coalitions have a picture each, of a colour of its own."""
    random = np.random.default_rng(0)
    noise, reference = random.normal(size=(6, 8)), random.normal(size=(9, 8))
    features = {mask: noise + 3 - 0.4 * mask.bit_count() + 0.1 * (mask & 1) for mask in range(16)}
    report = report_of(evaluate(PLAYERS, features, reference), seeds=range(6))
    pictures: dict[int, list[Picture]] = {m: [Image.new("RGB", (64, 64), (16 * m, 90, 140))] for m in range(16)}
    return write_html(report, tmp_path_factory.mktemp("report"), pictures, [Image.new("RGB", (64, 64), "navy")])


@pytest.fixture
def opened(browser: Browser, report_file: Path) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(("file:", "data:")) else problems.append("net"))
    page.goto(report_file.as_uri())
    yield page
    context.close()
    assert problems == []


def chosen(page: Page) -> str:
    assert page.locator(".tile[aria-current]").count() == 1
    return str(page.locator(".tile[aria-current]").get_attribute("href"))


def test_tiles_show_their_combination(opened: Page) -> None:
    assert chosen(opened) == "#c15"
    assert opened.locator(".tile.step").count() == 4
    opened.locator('.tile[href="#c5"]').click()
    assert chosen(opened) == "#c5"
    detail = opened.locator(".detail")
    assert "base + style" in detail.inner_text()
    assert detail.locator("img").get_attribute("src") == opened.locator("#c5 img").get_attribute("src")
    assert opened.url.endswith("report.html")
    detail.locator(".moves a").first.click()
    assert chosen(opened) == "#c4"
    opened.screenshot(path=ARTIFACTS / "report-page.png")


def test_the_keyboard_walks_the_lattice(opened: Page) -> None:
    opened.locator('.tile[href="#c15"]').focus()
    opened.keyboard.press("ArrowDown")
    row_one = chosen(opened)
    assert row_one in {"#c14", "#c13", "#c11", "#c7"}
    opened.keyboard.press("ArrowRight")
    assert chosen(opened) != row_one
    opened.keyboard.press("ArrowUp")
    assert chosen(opened) == "#c15"
    opened.keyboard.press("End")
    assert chosen(opened) == "#c0"
    assert opened.evaluate("document.activeElement.getAttribute('href')") == "#c0"


def test_terms_are_told_on_hover_and_on_focus(opened: Page) -> None:
    tip, term = opened.locator("#tip"), opened.locator("thead .term").first
    assert tip.is_hidden()
    term.hover()
    assert tip.is_visible()
    assert tip.inner_text() == opened.locator(f"{term.get_attribute('href')} dd").inner_text()
    opened.keyboard.press("Escape")
    assert tip.is_hidden()
    opened.mouse.move(5, 5)
    term.focus()
    opened.wait_for_timeout(300)
    assert tip.is_visible()
    assert term.get_attribute("aria-describedby") == "tip"
    box = tip.bounding_box()
    assert box is not None
    assert box["x"] >= 0 and box["x"] + box["width"] <= 1280 and box["y"] >= 0 and box["y"] + box["height"] <= 900
    opened.keyboard.press("Tab")
    assert tip.inner_text() != opened.locator(f"{term.get_attribute('href')} dd").inner_text()


def test_names_stay_text(opened: Page) -> None:
    opened.locator('.tile[href="#c2"]').click()
    assert EVIL in opened.locator(".detail").inner_text()
    assert opened.evaluate("window.hacked") is None


def test_without_scripts_tiles_lead_to_the_cards(browser: Browser, report_file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report_file.as_uri())
    page.locator('.tile[href="#c5"]').click()
    assert page.url.endswith("#c5")
    assert page.locator("#c5").is_visible()
    context.close()


@pytest.mark.parametrize(("name", "width", "scheme"), [("dark", 1280, "dark"), ("narrow", 420, "light")])
def test_nothing_is_wider_than_the_window(browser: Browser, report_file: Path, name: str, width: int, scheme) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(report_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".chart.narrow" if width < 700 else ".chart.wide").is_visible()
    assert page.locator(".chart:visible").evaluate(
        "(svg) => svg.parentElement.scrollWidth <= svg.parentElement.clientWidth"
    )
    page.screenshot(path=ARTIFACTS / f"report-page-{name}.png", full_page=True)
    context.close()
