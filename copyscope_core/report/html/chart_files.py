"""The chart of the contributions as two files: an SVG with its colours in it, and a PNG drawn from that SVG.

The PNG is drawn with Pillow, which cannot read SVG: only what ``chart`` writes is drawn (rectangles, lines, lines of
text). Libraries that read SVG need Cairo on the system (CairoSVG) or one more compiled package in ComfyUI (resvg).
"""

from __future__ import annotations

import functools
import io
import re
from xml.etree import ElementTree

from PIL import Image, ImageDraw, ImageFont

from ...distances.registry import DISTANCES
from ..report import Report
from .chart import axis_ends, chart, entries

SCALE = 2
"""Pixels of the PNG for each unit of the SVG."""

INK, SOFT, LINE, PAGE = "#1a1f2b", "#565f70", "#dde1e8", "#ffffff"
FILLS = {"toward": "#0f6fb8", "away": "#b4540a"}
STROKES = {"grid": (LINE, 1.0), "zero": (SOFT, 1.5), "whisker": (INK, 1.5), "halo": (PAGE, 4.0)}
TEXTS = {"name": (INK, 14.0, True), "kind": (SOFT, 12.0, False), "tick": (SOFT, 12.0, False),
         "axis": (SOFT, 12.0, False), "value": (INK, 14.0, True), "share": (SOFT, 14.0, False),
         "ends": (SOFT, 11.5, False)}  # fmt: skip
"""By class: colour, size, bold."""

FONTS = {
    False: ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "segoeui.ttf", "Arial.ttf", "Helvetica.ttc"),
    True: ("DejaVuSans-Bold.ttf", "NotoSans-Bold.ttf", "segoeuib.ttf", "Arial Bold.ttf", "Helvetica.ttc"),
}
_SVG = "{http://www.w3.org/2000/svg}"
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document may hold, not even as a reference."""


def chart_svg(report: Report) -> str:
    """The chart as an SVG document that needs no style sheet."""
    rules = [f".{name} {{ fill: {colour}; }}" for name, colour in FILLS.items()]
    rules += [f".{name} {{ stroke: {colour}; stroke-width: {width}; }}" for name, (colour, width) in STROKES.items()]
    rules += [
        f".{name} {{ fill: {colour}; font-size: {size}px; font-weight: {600 if bold else 400}; }}"
        for name, (colour, size, bold) in TEXTS.items()
    ]
    style = "text { font-family: system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; } " + " ".join(rules)
    opening, body = str(chart(entries(report), DISTANCES[report.distance], ends=axis_ends(report))).split("\n", 1)
    page = f'<rect width="100%" height="100%" fill="{PAGE}"/>'
    svg = f'<?xml version="1.0" encoding="UTF-8"?>\n{opening}\n<style>{style}</style>\n{page}\n{body}\n'
    return _NO_XML.sub("�", svg)


def chart_png(svg: str) -> bytes:
    """What `chart_svg` gave, as a PNG file."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own text
    width, height = (float(value) for value in root.attrib["viewBox"].split()[2:])
    image = Image.new("RGB", (round(width * SCALE), round(height * SCALE)), PAGE)
    draw = ImageDraw.Draw(image)
    for element in root.iter():
        if element.tag == f"{_SVG}rect" and "class" in element.attrib:
            _rectangle(draw, element)
        elif element.tag == f"{_SVG}line":
            _line(draw, element)
        elif element.tag == f"{_SVG}text":
            _text(draw, element)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _rectangle(draw: ImageDraw.ImageDraw, element: ElementTree.Element) -> None:
    left, top, width, height = (SCALE * float(element.attrib[key]) for key in ("x", "y", "width", "height"))
    if width > 0:
        draw.rectangle((left, top, left + width, top + height), FILLS[element.attrib["class"].split()[-1]])


def _line(draw: ImageDraw.ImageDraw, element: ElementTree.Element) -> None:
    colour, width = STROKES[element.attrib["class"]]
    ends = tuple(SCALE * float(element.attrib[key]) for key in ("x1", "y1", "x2", "y2"))
    draw.line(ends, colour, round(width * SCALE))


def _text(draw: ImageDraw.ImageDraw, element: ElementTree.Element) -> None:
    left, base = (SCALE * float(element.attrib[key]) for key in ("x", "y"))
    anchor = {"end": "rs", "middle": "ms"}.get(element.attrib.get("text-anchor", ""), "ls")
    for part in (element, *element):
        colour, size, bold = TEXTS[part.attrib["class"]]
        font = _font(size, bold)
        left += SCALE * float(part.attrib.get("dx", 0))
        words = " ".join((part.text or "").split("\n"))
        draw.text((left, base), words, colour, font, anchor=anchor)
        left += draw.textlength(words, font)


@functools.cache
def _font(size: float, bold: bool) -> _Font:
    """A font of the system, else the one that comes with Pillow."""
    for name in FONTS[bold]:
        try:
            return ImageFont.truetype(name, size * SCALE)
        except OSError:
            continue
    return ImageFont.load_default(size * SCALE)
