"""The HTML report in a real browser: its combinations are explored by mouse and keyboard, with nothing from outside."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from fakes import EVIL
from hostutil import ARTIFACTS
from PIL import Image
from reports import report_of

from copyscope_core.errors import CopyScopeError
from copyscope_core.evaluation.evaluate import evaluate
from copyscope_core.report import pdf
from copyscope_core.report.build import write_report
from copyscope_core.report.html.page import write_html
from copyscope_core.report.html.paper import NO_DIGEST, resealed
from copyscope_core.report.html.pictures import Picture
from copyscope_core.report.pdf import PdfFile
from copyscope_core.report.report import Report

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
    folder = tmp_path_factory.mktemp("report")
    write_report(report, folder)
    return write_html(report, folder, pictures, [Image.new("RGB", (64, 64), "navy")])


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


def unfold(page: Page) -> None:
    for summary in page.locator(".part > summary").all():
        summary.click()


def chosen(page: Page) -> str:
    assert page.locator(".tile[aria-current]").count() == 1
    return str(page.locator(".tile[aria-current]").get_attribute("href"))


def test_tiles_show_their_combination(opened: Page) -> None:
    unfold(opened)
    assert chosen(opened) == "#c15"
    assert opened.locator(".tile.step").count() == 4
    opened.locator('.tile[href="#c5"]').click()
    assert chosen(opened) == "#c5"
    shown = opened.locator(".card:visible")
    assert shown.count() == 1
    assert "base + style" in shown.inner_text()
    assert opened.url.endswith("report.html")
    shown.locator(".moves a").first.click()
    assert chosen(opened) == "#c4"
    opened.screenshot(path=ARTIFACTS / "report-page.png")


def test_the_keyboard_walks_the_lattice(opened: Page) -> None:
    unfold(opened)
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


@pytest.mark.parametrize(("width", "scripts"), [(420, True), (420, False), (1400, True)])
def test_a_tap_on_a_word_opens_its_meaning_in_place(
    browser: Browser, report_file: Path, width: int, scripts: bool
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, has_touch=True, java_script_enabled=scripts)
    page = context.new_page()
    page.goto(report_file.as_uri())
    words = page.locator(".term:visible")
    assert words.count() >= 5
    for word in words.all():
        word.scroll_into_view_if_needed()
        tip = page.locator(f"#{word.get_attribute('popovertarget')}")
        before = word.bounding_box()
        word.tap()
        box = tip.bounding_box()
        assert box is not None and before is not None
        assert word.bounding_box() == before  # nothing has moved
        assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] >= 0 and box["y"] + box["height"] <= 900
        assert min(abs(box["y"] - before["y"] - before["height"]), abs(before["y"] - box["y"] - box["height"])) < 30
        page.keyboard.press("Escape")
        assert tip.is_hidden()
    words.first.press("Enter")
    assert page.locator(".tip:popover-open").count() == 1
    page.screenshot(path=ARTIFACTS / f"report-tip-{width}.png")
    context.close()


def test_names_stay_text(opened: Page) -> None:
    unfold(opened)
    opened.locator('.tile[href="#c2"]').click()
    assert EVIL in opened.locator("#c2").inner_text()
    assert opened.evaluate("window.hacked") is None


def test_without_scripts_tiles_lead_to_the_cards(browser: Browser, report_file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report_file.as_uri())
    unfold(page)
    assert page.locator(".card:visible").count() == 16
    page.locator('.tile[href="#c5"]').click()
    assert page.url.endswith("#c5")
    assert page.locator("#c5").is_visible()
    context.close()


def test_it_opens_with_answer_pictures_and_limits_and_folds_the_rest(opened: Page, report_file: Path) -> None:
    heads = [head.inner_text() for head in opened.locator("main section h2").all()]
    assert heads == ["How far each component moves the images", "What it looks like", "Limits and error rates"]
    assert opened.locator(".part").count() >= 5
    assert opened.locator(".part[open]").count() == 0
    assert opened.evaluate("document.documentElement.scrollHeight") < 3 * 900
    top = opened.locator(".looks").bounding_box()
    assert top is not None and top["y"] < 900
    opened.goto(report_file.as_uri() + "#c5")
    assert opened.locator("#explore").is_visible()


def test_wide_tables_say_that_they_scroll_and_keep_their_names_in_sight(browser: Browser, report_file: Path) -> None:
    context = browser.new_context(viewport={"width": 420, "height": 900})
    page = context.new_page()
    page.goto(report_file.as_uri())
    unfold(page)
    table = page.locator('[aria-label="Table of components"]')
    page.locator('.more[aria-label="Table of components"]').wait_for()
    assert "Scroll sideways" in table.evaluate("(box) => getComputedStyle(box, '::before').content")
    table.evaluate("(box) => { box.scrollLeft = box.scrollWidth }")
    page.locator('.scroll:not(.more)[aria-label="Table of components"]').wait_for()
    name = table.locator("tbody th").first.bounding_box()
    assert name is not None and 0 <= name["x"] < 60
    context.close()


@pytest.mark.parametrize("width", [420, 1400])
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_nothing_is_wider_than_the_window(
    browser: Browser, report_file: Path, width: int, scheme: Literal["dark", "light"]
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(report_file.as_uri())
    page.screenshot(path=ARTIFACTS / f"report-page-{width}-{scheme}.png")
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".chart.narrow" if width < 700 else ".chart.wide").is_visible()
    assert page.locator(".chart:visible").evaluate(
        "(svg) => svg.parentElement.scrollWidth <= svg.parentElement.clientWidth"
    )
    page.screenshot(path=ARTIFACTS / f"report-page-{width}-{scheme}-open.png", full_page=True)
    context.close()


DIGEST = "5eed" * 16
NO_POPPLER = "NO POPPLER: apt-get install poppler-utils; this test of printed pages did NOT run"


@pytest.fixture(scope="module")
def paper(browser: Browser, report_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report as a PDF, printed when its page had its manifest's SHA-256."""
    if not (shutil.which("pdftotext") and shutil.which("pdftoppm")):
        pytest.skip(NO_POPPLER)
    folder = tmp_path_factory.mktemp("paper")
    page = folder / "report.html"
    page.write_bytes(resealed(report_file.read_bytes(), NO_DIGEST, DIGEST))
    return PdfFile(folder / "report.pdf", folder / "run").write(page)


def test_paper_has_its_foot_on_each_page_and_no_word_for_the_screen(paper: Path, report_file: Path) -> None:
    text = subprocess.run(["pdftotext", "-layout", paper, "-"], capture_output=True, check=True).stdout.decode()
    pages = text.split("\f")[:-1]
    for number, page in enumerate(pages, start=1):
        assert f"Page {number} of {len(pages)}" in page
        assert f"manifest.json: {DIGEST}" in page
        assert "report.html of 20" in page
    for word in ("Choose one", "Point at", "Tap an", "sideways", "Skip to", "how to measure it\n"):
        assert word not in text, word
    report = Report.load(report_file.parent)
    for coalition in report.coalitions:
        assert f"{coalition.fid:.2f}" in text
    tiles = [f"{coalition.fid:.1f}" for coalition in report.coalitions]
    assert any(all(re.search(rf"(?<![\d.]){re.escape(tile)}(?!\d)", page) for tile in tiles) for page in pages)
    assert "What the words mean" in text


def test_no_page_of_paper_is_a_quarter_empty_or_cut(paper: Path, tmp_path: Path) -> None:
    subprocess.run(["pdftoppm", "-r", "40", "-gray", paper, tmp_path / "page"], check=True)
    pages = [np.asarray(Image.open(file)) for file in sorted(tmp_path.glob("page-*.pgm"))]
    assert len(pages) >= 3
    for page in pages:
        height, width = page.shape
        body = page[: int(height * 0.925)]  # without the foot
        rows, columns = (np.flatnonzero((body < 200).any(axis=axis)) for axis in (1, 0))
        assert columns[0] > 0.03 * width and columns[-1] < 0.97 * width
        if page is not pages[-1]:
            assert rows[-1] > 0.75 * len(body)


def test_a_pdf_needs_a_chromium_and_a_place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CopyScopeError, match="lies in the run folder"):
        PdfFile(tmp_path / "run" / "report.pdf", tmp_path / "run")
    with pytest.raises(CopyScopeError, match="name a file in a folder that exists"):
        PdfFile(tmp_path / "none" / "report.pdf", tmp_path / "run")
    monkeypatch.setenv("CHROMIUM_PATH", str(tmp_path / "none"))
    with pytest.raises(CopyScopeError, match="which is no file; let it name a Chromium"):
        PdfFile(tmp_path / "report.pdf", tmp_path / "run")
    monkeypatch.delenv("CHROMIUM_PATH")
    monkeypatch.setattr(pdf, "_usual_places", lambda: iter(()))
    with pytest.raises(CopyScopeError, match="A PDF needs Chromium, Chrome or Edge, and none was found"):
        PdfFile(tmp_path / "report.pdf", tmp_path / "run")
    (tmp_path / "false").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "false").chmod(0o755)
    monkeypatch.setattr(pdf, "_usual_places", lambda: iter((tmp_path / "false",)))
    (tmp_path / "report.html").write_text("")
    with pytest.raises(CopyScopeError, match="could not print the report: it gave no PDF"):
        PdfFile(tmp_path / "report.pdf", tmp_path / "run").write(tmp_path / "report.html")
    assert not (tmp_path / "report.pdf").exists()


@pytest.fixture(scope="module")
def clips_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two players on three clips of eight frames, twice as wide as high."""
    random = np.random.default_rng(0)
    noise, reference = random.normal(size=(24, 8)), random.normal(size=(9, 8))
    seeds = np.repeat(np.arange(3), 8).tolist()
    features = {mask: noise + 3 - 0.4 * mask.bit_count() for mask in range(4)}
    files = [{"file": f"{k}.png", "seed": seed, "frame": 10 * (k % 8) + 5} for k, seed in enumerate(seeds)]
    evaluation = evaluate(("style", "prompt"), features, reference, seeds=dict.fromkeys(features, seeds), clips=True)
    report = report_of(evaluation, clips={"frames": 8, "length": 81}, coalitions=dict.fromkeys(features, files))
    pictures: dict[int, list[Picture]] = {
        mask: [Image.new("RGB", (128, 64), (60 * mask, 10 * k, 140)) for k in range(24)] for mask in features
    }
    return write_html(report, tmp_path_factory.mktemp("clips"), pictures, [Image.new("RGB", (64, 64), "navy")])


@pytest.mark.parametrize(("width", "media"), [(1280, "screen"), (390, "screen"), (700, "print")])
def test_a_clip_is_one_row_on_screen_phone_and_paper(
    browser: Browser, clips_file: Path, width: int, media: Literal["screen", "print"]
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.emulate_media(media=media)
    page.goto(clips_file.as_uri())
    if media == "screen":
        unfold(page)
    assert media == "print" or page.evaluate("document.documentElement.scrollWidth") <= width
    strips = page.locator(".film:visible")
    assert strips.count() >= (3 + 2 if media == "screen" else 2 * 4)  # of the first screen, and of the cards in sight
    for strip in strips.all():
        boxes = [image.bounding_box() for image in strip.locator("img").all()]
        assert len(boxes) == 8
        assert len({round(box["y"]) for box in boxes if box}) == 1
        assert all(media == "screen" or (box and box["x"] + box["width"] <= width) for box in boxes)
        assert all(box and box["width"] >= (84 if media == "screen" else 60) for box in boxes)
        assert all(box and abs(box["width"] - 2 * box["height"]) <= 2 for box in boxes)  # not squares
    page.screenshot(path=ARTIFACTS / f"report-clips-{media}-{width}.png", full_page=True)
    context.close()
