"""Draws the icon and the banner that the ComfyUI registry shows: ``python -m tools.make_registry_images``.

A lens over three bars, as in a report's chart: two components move the images towards the reference, one away.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

OUT = Path(__file__).resolve().parents[1] / "docs" / "registry"
ICON, BANNER = (400, 400), (1260, 540)
"""Sizes that the registry takes: a square of at most 400 × 400, and 21 to 9."""
OVERSAMPLED = 4

NIGHT, PAPER, TOWARDS, AWAY = "#152238", "#f4efe3", "#3fa7a0", "#e08a3c"


def draw_mark(size: int) -> Image.Image:
    """The lens with its bars, on nothing."""
    full = size * OVERSAMPLED
    image = Image.new("RGBA", (full, full))
    draw = ImageDraw.Draw(image)

    def at(*values: float) -> list[float]:
        return [value * full for value in values]

    draw.line(at(0.66, 0.66, 0.87, 0.87), fill=PAPER, width=full // 11)
    draw.circle(at(0.87, 0.87), full / 22, fill=PAPER)
    draw.circle(at(0.44, 0.44), 0.33 * full, fill=NIGHT, outline=PAPER, width=full // 18)
    for top, left, right, colour in ((0.29, 0.4, 0.64, TOWARDS), (0.4, 0.4, 0.54, TOWARDS), (0.51, 0.27, 0.4, AWAY)):
        draw.rectangle(at(left, top, right, top + 0.07), fill=colour)
    draw.line(at(0.4, 0.25, 0.4, 0.62), fill=PAPER, width=full // 90)
    return image.resize((size, size), Image.Resampling.LANCZOS)


def draw_icon() -> Image.Image:
    """The mark on the night's blue."""
    image = Image.new("RGB", ICON, NIGHT)
    mark = draw_mark(380)
    image.paste(mark, (10, 10), mark)
    return image


def draw_banner() -> Image.Image:
    """The mark, the name, and what it is for."""
    image = Image.new("RGB", BANNER, NIGHT)
    mark = draw_mark(420)
    image.paste(mark, (50, 60), mark)
    draw = ImageDraw.Draw(image)
    draw.text((500, 145), "CopyScope", font=ImageFont.load_default(110), fill=PAPER)
    lines = ("Which model makes these images", "resemble an artist's work,", "and how sure are we?")
    for number, line in enumerate(lines):
        draw.text((506, 295 + 52 * number), line, font=ImageFont.load_default(40), fill=PAPER)
    return image


def main() -> None:
    """Write both."""
    OUT.mkdir(parents=True, exist_ok=True)
    for name, image in (("icon", draw_icon()), ("banner", draw_banner())):
        image.quantize(64).save(OUT / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
