"""The chart as files: an SVG that stands alone, and a PNG drawn from it."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import pytest
from PIL import Image

from copyscope_core.report.html.chart import WIDE
from copyscope_core.report.html.chart_files import FILLS, PAGE, SCALE, STROKES, TEXTS, chart_png, chart_svg
from tests.report.test_page import EVIL, certain_report, make_report


def test_the_svg_stands_alone_and_knows_every_class() -> None:
    root = ElementTree.fromstring(chart_svg(certain_report()))
    style = root.find("{http://www.w3.org/2000/svg}style")
    assert style is not None
    classes = {word for element in root.iter() for word in element.attrib.get("class", "").split()}
    assert classes - {"chart", "wide", "bar"} <= {*FILLS, *STROKES, *TEXTS}
    for name in classes - {"chart", "wide", "bar"}:
        assert f".{name} {{" in str(style.text)


def test_names_stay_text_in_the_svg() -> None:
    svg = chart_svg(make_report(name=EVIL))
    assert EVIL not in svg
    assert EVIL in "".join(ElementTree.fromstring(svg).itertext())


@pytest.mark.parametrize("name", ["lora", "北斎 • Ω ضوء", "x" * 300])
def test_the_png_shows_the_bars(name: str) -> None:
    report = make_report(name=name)
    with Image.open(io.BytesIO(chart_png(chart_svg(report)))) as image:
        assert image.format == "PNG"
        assert image.width == WIDE.width * SCALE
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20) or ()}
        toward = tuple(bytes.fromhex(FILLS["toward"][1:]))
        assert toward in colours
        assert image.convert("RGB").getpixel((0, 0)) == tuple(bytes.fromhex(PAGE[1:]))


def test_a_longer_bar_has_more_pixels() -> None:
    report = make_report()
    players = list(report.players)
    players[0] = players[0].model_copy(update={"shapley": 3 * players[1].shapley})
    with Image.open(io.BytesIO(chart_png(chart_svg(report.model_copy(update={"players": players}))))) as image:
        rgb = image.convert("RGB")
    toward = tuple(bytes.fromhex(FILLS["toward"][1:]))
    lengths = [
        sum(rgb.getpixel((x, SCALE * (10 + 40 * row + 12))) == toward for x in range(rgb.width)) for row in range(2)
    ]
    assert lengths[0] == pytest.approx(3 * lengths[1], rel=0.05)
