"""The HTML report: self-contained, inert whatever the names are, and complete."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin
from reports import report_of

from copyscope_core.evaluation.evaluate import evaluate
from copyscope_core.features.extractor import INCEPTION_ID
from copyscope_core.planning.video import chosen_frames
from copyscope_core.report.html.cards import (
    CLIPS_PER_COALITION,
    COALITIONS_SHOWN,
    IMAGES_IN_ALL,
    IMAGES_PER_COALITION,
    without_first,
)
from copyscope_core.report.html.chart import chart, entries, nice_ticks
from copyscope_core.report.html.heat import heat_map
from copyscope_core.report.html.lattice import TILES, lattice, moves
from copyscope_core.report.html.likeness import likeness, mean_likeness
from copyscope_core.report.html.page import TEMPLATES, render_html, write_html
from copyscope_core.report.html.paper import NO_DIGEST, page_foot, policy_hash, resealed
from copyscope_core.report.html.pictures import THUMBNAIL, Picture, close_up, difference, outlines, palette, thumbnail
from copyscope_core.report.rates import RATES, WHEN_TO_BELIEVE
from copyscope_core.report.report import Report
from copyscope_core.report.schema import CoalitionResult
from copyscope_core.report.terms import TERMS
from copyscope_core.report.text import interval_text, shorten, signed, summary_text, towards, towards_interval

EVIL = "<img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Collects elements, ids, references and text, and checks that elements nest."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def make_report(players: int = 3, name: str = "lora", **more: object) -> Report:
    rng = np.random.default_rng(0)
    noise, reference = rng.normal(size=(6, 8)), rng.normal(size=(5, 8))
    names = [name, *(f"player {i}" for i in range(1, players))]
    features = {mask: noise + 3 - 0.4 * mask.bit_count() for mask in range(2**players)}
    return report_of(
        evaluate(names, features, reference),
        players=[{"name": n, "kind": "lora", "node": str(i), "file": f"{n}.safetensors"} for i, n in enumerate(names)],
        **more,  # type: ignore[arg-type]
    )


def certain_report(players: int = 3, own: float = 0.5, **options: Any) -> Report:
    """With intervals; ``options`` go to `evaluate`."""
    rng = np.random.default_rng(0)
    noise, reference = rng.normal(size=(6, 8)), rng.normal(size=(9, 8))
    features = {
        mask: noise + own * rng.normal(size=noise.shape) + 3 - 0.4 * mask.bit_count() for mask in range(2**players)
    }
    seeds = {mask: list(range(6)) for mask in features}
    return report_of(evaluate([f"player {i}" for i in range(players)], features, reference, seeds=seeds, **options))


def picture(color: str = "red", size: tuple[int, int] = (400, 300)) -> Image.Image:
    return Image.new("RGB", size, color)


def full_page(report: Report | None = None, many: int = 6) -> str:
    report = report or make_report()
    images: dict[int, list[Picture]] = {c.mask: [picture()] * many for c in report.coalitions}
    return render_html(report, images, [picture("blue")] * 3)


def test_page_is_well_formed_and_asks_for_nothing() -> None:
    html = full_page()
    page = Page(html)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"link", "iframe", "object", "embed", "base", "form", "foreignobject"}
    for tag, attributes in page.elements:
        assert not any(key.startswith("on") or key == "style" for key in attributes), (tag, attributes)
        for key in ("src", "href", "xlink:href", "srcset", "action", "data"):
            target = attributes.get(key)
            if target is not None:
                assert target.startswith(("#", "data:image/jpeg;base64,")), target
    assert not re.search(r"url\(|@import", html)


def test_policy_allows_its_own_style_and_script_and_nothing_else() -> None:
    html = full_page()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    styles = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert policy is not None
    assert len(styles) == 2
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", html, re.DOTALL)
    assert scripts == [("", (TEMPLATES / "report.js").read_text(encoding="utf-8"))]
    sheet, foot, script = (
        base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode() for text in (*styles, scripts[0][1])
    )
    assert policy[1] == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{sheet}' 'sha256-{foot}'; script-src 'sha256-{script}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"fetch|XMLHttp|import\(|eval|innerHTML|insertAdjacentHTML|document\.write", scripts[0][1])
    assert html.index("Content-Security-Policy") < html.index("<style>")


def test_names_and_prompts_are_text() -> None:
    report = make_report(
        name=EVIL,
        locked=[{"name": EVIL, "kind": EVIL, "node": EVIL, "reason": EVIL, "file": EVIL, "sha256": EVIL}],
        unmeasured=[{"name": "</dl>" + EVIL, "kind": EVIL, "reason": EVIL}],
        workflow={"1": {"inputs": {"text": "</pre><script>alert(1)</script>" + EVIL}}},
        settings={EVIL: EVIL},
        environment={EVIL: EVIL, "none": None},
        preprocessing=EVIL,
        warnings=[{"code": EVIL, "message": EVIL}],
        folders={0: EVIL},
        coalitions={0: [{"file": '"><script>', "pixel_sha256": EVIL}]},
        reference={"count": 1, "images": [{"file": "{{ 7*7 }}" + EVIL}], "preprocessing": {"width": EVIL}},
    )
    html = full_page(report)
    assert "<img src=x" not in html
    assert html.count("<script") == 1
    page = Page(html)
    assert page.text.count(EVIL) > 10
    assert "{{ 7*7 }}" in page.text
    for tag, attributes in page.elements:
        if tag == "img":
            assert str(attributes["src"]).startswith("data:image/jpeg;base64,")


def test_first_screen_answers_and_warns() -> None:
    report = make_report(
        locked=[{"name": "sd15", "kind": "checkpoint", "reason": "name a baseline"}],
        warnings=[{"code": "input_matches_reference", "message": "An input image matches a reference."}],
        seeds=[0],
    )
    text = Page(full_page(report)).text
    order = [
        report.headline,
        "Similarity contribution, not a finding of infringement",
        "Read this first An input image matches a reference.",
        "How far each component moves the images",
        "What it looks like",
        "Limits and error rates",
        "One seed was run",
        "What this audit did not measure",
        "checkpoint “sd15”",
        "Leave-one-out",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_everything_is_there() -> None:
    report = make_report(
        models=[{"file": "m.safetensors", "kind": "vae", "sha256": "ab" * 32, "autov2": "ab" * 5}],
        seeds=[0, 1],
        workflow={"3": {"class_type": "KSampler"}},
        preprocessing="inception/bicubic",
        reference={"count": 5, "images": [{"file": "wave.jpg", "pixel_sha256": "cd" * 32}]},
        coalitions={0: [{"file": "0000.png", "pixel_sha256": "ef" * 32, "seed": 0}]},
        environment={"comfyui": "0.8.0"},
    )
    text = Page(full_page(report)).text
    for part in ("ab" * 32, "cd" * 32, "ef" * 32, "wave.jpg", "KSampler", "inception/bicubic", "0.8.0", "0, 1"):
        assert part in text
    for coalition in report.coalitions:
        assert f"{coalition.fid:.2f}" in text


def test_only_the_words_of_the_page_are_explained_and_each_where_it_stands() -> None:
    page = Page(full_page())
    asked = {attributes["popovertarget"] for tag, attributes in page.elements if "popovertarget" in attributes}
    answers = {attributes["id"] for tag, attributes in page.elements if "popover" in attributes}
    assert asked == answers == {f"term-{key}" for key in TERMS if f"term-{key}" in answers}
    assert {"term-fid", "term-reference"} <= asked
    assert not {"term-group", "term-sample", "term-mmd", "term-clip", "term-contrast"} & asked
    glossary = page.text.partition("What the words mean")[2]
    for key, term in TERMS.items():
        assert (term.meaning in glossary) == (f"term-{key}" in asked)


def test_nothing_of_the_data_is_shown_raw() -> None:
    report = make_report(
        models=[{"file": "base.safetensors"}, {"file": "lora.safetensors", "sha256": "ab" * 32}],
        settings={"seeds": 6, "baseline_checkpoint": "base.safetensors", "budget": None, "groups": {}},
        environment={"device": "cpu cpu", "run_difference": 0, "not_hashed": [], "launch_flags": ["--cpu"]},
        reference={
            "count": 5,
            "images": [{"file": "wave.jpg"}],
            "preprocessing": {"method": "centre-crop.clean-bicubic.u8:128x96", "width": 128, "height": 96},
        },
        deterministic=True,
    )
    text = Page(full_page(report.model_copy(update={"efficiency_gap": -1e-14}))).text
    for raw in (
        "run_difference",
        "cpu cpu",
        "off by",
        "1e-14",
        "not_hashed",
        "baseline_checkpoint",
        "centre-crop",
    ):
        assert raw not in text, raw
    for said in (
        "Device of ComfyUI cpu",
        "Same pixels when run twice yes",
        "base.safetensors baseline, where the workflow's own is absent",
        "lora.safetensors LoRA ",
        "Seeds 6 Baseline checkpoint base.safetensors",
        "resized to 128 × 96 pixels",
        "Shown is the part that was measured.",
    ):
        assert said in text, said
    assert "> – <" not in text


def test_reference_thumbnails_are_the_part_that_was_measured() -> None:
    """Of a picture twice as wide as high the red middle is measured, not the blue sides."""
    wide = picture("blue", (400, 200))
    wide.paste((255, 0, 0), (100, 0, 300, 200))
    report = make_report(reference={"count": 1, "preprocessing": {"width": 64, "height": 64}})
    images: dict[int, list[Picture]] = {c.mask: [picture()] for c in report.coalitions}
    found = re.findall(
        r'src="data:image/jpeg;base64,([^"]*)" alt="Reference image 1"', render_html(report, images, [wide])
    )
    assert found
    with Image.open(io.BytesIO(base64.b64decode(found[0]))) as small:
        assert small.size == (64, 64)
        red, _, blue = np.asarray(small, dtype=float).mean(axis=(0, 1))
    assert red > 240
    assert blue < 20


def test_limits_quote_the_rates_of_the_basis_in_use() -> None:
    report = certain_report(control=np.random.default_rng(2).normal(size=(9, 8)))
    measured = Page(render_html(report.model_copy(update={"preprocessing": INCEPTION_ID}))).text
    for rate in RATES:
        said = f"{rate.works}{rate.decided} of {rate.games}"
        assert (said.replace(" ", "") in measured.replace(" ", "")) == (rate.control == "control")
    assert all(sentence in measured for sentence in WHEN_TO_BELIEVE)
    assert "12 of 12, so 76 to 100 (95%)" in measured
    assert "none decided" in measured
    assert "5 of 131 all wrong" in measured
    unknown = Page(render_html(report)).text
    assert "How often such verdicts are right is not known" in unknown
    for text in (measured, unknown):
        assert "Whether a model was trained on these works" in text


def test_long_names_keep_their_beginning_and_their_end() -> None:
    long = "a-very-long-name-of-a-model-" * 4 + "v2.safetensors"
    html = render_html(make_report(name=long))
    shown = Page(re.sub(r"<(title|desc)[^>]*>.*?</\1>", "", html)).text
    assert long not in shown
    assert long in html  # as a hint
    assert shorten(long, 40) in shown
    assert shorten(long, 40).endswith("v2.safetensors")


def test_the_foot_of_printed_pages_is_text_whatever_it_holds() -> None:
    foot = page_foot('"; } body { display: none } /*', "ab" * 32)
    strings = re.findall(r'"[^"]*"', foot)
    assert "display" not in re.sub(r'"[^"]*"', "", foot)
    assert any("ab" * 32 in text for text in strings)
    report = make_report()
    page, sealed = (render_html(report, manifest_sha256=digest).encode() for digest in (NO_DIGEST, "cd" * 32))
    assert resealed(page, NO_DIGEST, "cd" * 32) == sealed
    assert resealed(sealed, "cd" * 32, NO_DIGEST) == page
    assert policy_hash(page_foot(report.created, "cd" * 32)).encode() in sealed


def test_ids_are_unique_and_links_lead_somewhere() -> None:
    report = make_report(locked=[{"name": "x", "kind": "vae"}])
    page = Page(full_page(report))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        if "href" in attributes:
            assert str(attributes["href"])[1:] in ids
        if "aria-labelledby" in attributes:
            assert set(str(attributes["aria-labelledby"]).split()) <= set(ids)


def test_images_are_capped_small_and_without_their_metadata() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "secret prompt")
    buffer = io.BytesIO()
    picture().save(buffer, "PNG", pnginfo=info)
    item = thumbnail(buffer.getvalue(), "x")
    assert item.uri is not None
    raw = base64.b64decode(item.uri.partition(",")[2])
    assert b"secret" not in raw
    with Image.open(io.BytesIO(raw)) as small:
        assert max(small.size) == THUMBNAIL
        assert small.size == (THUMBNAIL, THUMBNAIL * 3 // 4)
    page = Page(full_page(many=9))
    alts = [attributes["alt"] for tag, attributes in page.elements if tag == "img"]
    assert alts.count("player 1, image 1") == 1
    assert alts.count("All components, image 1") == 2  # its card, what it looks like
    assert f"player 1, image {IMAGES_PER_COALITION}" in alts
    assert f"player 1, image {IMAGES_PER_COALITION + 1}" not in alts


def clip_report(players: int = 2, clips: int = 3, frames: int = 4) -> Report:
    rng = np.random.default_rng(0)
    noise, reference = rng.normal(size=(clips * frames, 8)), rng.normal(size=(5, 8))
    seeds = np.repeat(np.arange(clips), frames).tolist()
    features = {mask: noise + 3 - 0.4 * mask.bit_count() for mask in range(2**players)}
    evaluation = evaluate(
        [f"player {i}" for i in range(players)], features, reference,
        seeds=dict.fromkeys(features, seeds), clips=True,
    )  # fmt: skip
    files = [{"file": f"{k}.png", "seed": seed, "frame": 10 * (k % frames) + 5} for k, seed in enumerate(seeds)]
    return report_of(
        evaluation,
        clips={"frames": frames, "length": 10 * frames},
        coalitions=dict.fromkeys(features, files),
        seeds=range(clips),
    )


def test_clips_are_strips_of_their_frames() -> None:
    report = clip_report()
    page = Page(full_page(report, many=12))
    strips = [attributes for tag, attributes in page.elements if attributes.get("class") == "film"]
    first_screen = len({0, 3, without_first(report) or 0})
    assert len(strips) == CLIPS_PER_COALITION * 4 + first_screen
    assert strips[-1]["aria-label"] == "Frames of seed +1"
    alts = [attributes["alt"] for tag, attributes in page.elements if tag == "img"]
    assert alts.count("player 0, seed +1, frame 26") == 1
    assert "3 clips, 4 of 40 frames each" in page.text
    assert "and 1 more clip" in page.text
    assert any(attributes.get("class") == "cards clips" for _, attributes in page.elements)
    assert "Measured on 3 clips, 4 of 40 frames each." in summary_text(report)


def test_strips_of_long_clips_and_many_coalitions_are_capped() -> None:
    report = clip_report(players=6, frames=20)
    page = Page(full_page(report, many=60))
    shown = [str(attributes["alt"]) for tag, attributes in page.elements if tag == "img"]
    strip = IMAGES_IN_ALL // COALITIONS_SHOWN
    wanted = [f"player 3, seed +0, frame {10 * place + 6}" for place in chosen_frames(20, strip)]
    assert len([alt for alt in shown if "frame" in alt]) <= IMAGES_IN_ALL + 200  # beside the cards
    assert [alt for alt in shown if alt.startswith("player 3, seed +0")][:strip] == wanted


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "I;16", "1", "CMYK"])
def test_any_image_mode_becomes_a_thumbnail(mode: str) -> None:
    image = Image.new(mode, (40, 30)) if mode == "I;16" else picture(size=(40, 30)).convert(mode)
    assert thumbnail(image, "x").uri is not None


def test_an_unreadable_image_is_shown_as_missing(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    html = render_html(make_report(), {0: [tmp_path / "bad.png", tmp_path / "none.png", b""]})
    text = Page(html).text
    for k in (1, 2, 3):
        assert f"None of the components, image {k} (could not be read)" in text


def test_without_images_and_with_one_player() -> None:
    html = render_html(make_report(1))
    page = Page(html)
    assert not any(tag == "img" for tag, _ in page.elements)
    assert "None of the components" in page.text


def test_a_large_game_shows_the_telling_coalitions() -> None:
    report = make_report(8)
    page = Page(render_html(report, {c.mask: [picture(size=(8, 8))] for c in report.coalitions}))
    cards = [attributes for tag, attributes in page.elements if tag == "li" and "card" in str(attributes.get("class"))]
    assert len(cards) == TILES
    shown = [attributes["alt"] for tag, attributes in page.elements if tag == "img"]
    assert sum(", image 1" in str(alt) for alt in shown) == COALITIONS_SHOWN + 3  # the first screen's
    for part in ("None of the components", "All components", "All but player 7", "Every combination (256)"):
        assert part in page.text


def test_chart_draws_signed_bars_and_intervals() -> None:
    players = entries(make_report())
    players[0] = players[0]._replace(interval=[-0.5, 2.5])
    svg = str(chart(players))
    assert svg.count('class="bar toward"') == 3
    assert svg.count('class="whisker"') == 3
    moved = players[0]._replace(value=-players[0].value, name=EVIL)
    svg = str(chart([moved]))
    assert 'class="bar away"' in svg
    assert EVIL not in svg


def test_chart_of_nothing() -> None:
    player = entries(make_report())[0]._replace(value=0.0, share=None, idle=True)
    assert "no effect" in str(chart([player]))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 17.9), (-1e-7, 0), (0, 5e5), (-250, 250), (0, 0)])
def test_ticks_cover_and_contain_zero(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low + 1e-12
    assert ticks[-1] >= high - 1e-12
    assert 0 in ticks
    assert 2 <= len(ticks) <= 9


def with_nearest(report: Report, many: int = 5) -> Report:
    """The report with images that say which reference is nearest."""
    coalitions = [
        CoalitionResult.model_validate(
            {
                **item.model_dump(),
                "image_files": [
                    {"file": f"{k}.png", "nearest": k % 3, "nearest_distance": 10 + (k * 7) % many} for k in range(many)
                ],
            }
        )
        for item in report.coalitions
    ]
    reference = {"count": 3, "images": [{"file": f"work {k}.jpg"} for k in range(3)]}
    return Report.model_validate({**report.model_dump(), "coalitions": coalitions, "reference": reference})


def test_pairs_are_shown_without_cherry_picking() -> None:
    report = with_nearest(make_report())
    images: dict[int, list[Picture]] = {c.mask: [picture()] * 5 for c in report.coalitions}
    html = render_html(report, images, [picture("blue")] * 3)
    assert html.count('class="pair"') == 3 * 8  # the full workflow's on the first screen, the others' on their cards
    for part in ("Best pair", "Median pair", "Random pair"):
        assert html.count(part) >= 8
    hidden = render_html(report, images)
    pairs = re.findall(r'class="pair">(.*?)</div>', hidden, re.DOTALL)
    assert [pair.count("<img") for pair in pairs] == [1] * 24
    assert "work 0.jpg" in hidden
    assert "left out of this report" in hidden


def test_changes_compare_the_same_seed() -> None:
    report = make_report()
    images: dict[int, list[Picture]] = {c.mask: [picture()] for c in report.coalitions}
    images[0b110] = [picture("blue")]
    page = Page(render_html(report, images, [picture("green")]))
    assert "Without lora 100.0% of pixels differ, by 66.7% on average" in page.text
    assert "Without player 1 not a single pixel differs" in page.text
    assert sum("where pixels differ" in str(a.get("alt")) for _, a in page.elements) == 3


def test_difference_outlines_and_palette_of_known_pictures() -> None:
    one, other = picture("black", (10, 10)), picture("black", (10, 10))
    other.putpixel((3, 3), (0, 128, 0))
    shown, mean, changed = difference(one, other)
    assert (changed, round(mean * 255 * 300)) == (0.01, 128)
    assert shown.getpixel((3, 3)) == (255, 255, 255)
    assert shown.getpixel((4, 4)) == (0, 0, 0)
    assert outlines(picture(size=(40, 30))).size == (38, 28)
    half = Image.new("RGB", (10, 10), "white")
    half.paste((255, 0, 0), (0, 0, 10, 3))
    bar = str(palette([half]))
    assert 'width="30.0" height="10" fill="#ff0000"' in bar
    assert bar.index("#ff0000") < bar.index("#ffffff")
    assert palette([]) is None


def test_close_ups_are_full_size_and_of_large_images_alone() -> None:
    assert close_up(picture(size=(THUMBNAIL, 900))) is None
    large = Image.new("RGB", (600, 400), "white")
    large.putpixel((300, 200), (255, 0, 0))
    middle = close_up(large)
    assert middle is not None
    assert middle.size == (THUMBNAIL, THUMBNAIL)
    assert middle.getpixel((THUMBNAIL // 2, THUMBNAIL // 2)) == (255, 0, 0)
    report = with_nearest(make_report())
    for size, shown in (((600, 400), True), ((128, 128), False)):
        html = render_html(report, {c.mask: [picture(size=size)] for c in report.coalitions}, [picture("blue")])
        assert ("Without lora: close-up" in html) is shown
        assert ("Reference: close-up" in html) is shown


def test_likeness_of_known_pictures() -> None:
    random = np.random.default_rng(0)
    one, other = (Image.fromarray(random.integers(0, 256, (80, 120, 3), dtype=np.uint8)) for _ in range(2))
    assert likeness(one, one) == pytest.approx((1.0, 1.0, 1.0, 1.0))
    assert likeness(one, one.resize((240, 160), Image.Resampling.NEAREST)).structure > 0.9
    turned = likeness(one, ImageOps.invert(one))
    assert turned.structure < 0
    assert turned.shapes < 0.1
    strangers = likeness(one, other)
    assert abs(strangers.structure) < 0.1
    assert 0.3 < strangers.shapes < 0.7
    assert likeness(picture("red"), picture("blue")).colours == 0
    assert likeness(picture("red"), picture("red", (90, 90))).colours == 1
    assert mean_likeness([]) is None
    mean = mean_likeness([(one, one), (one, other)])
    assert mean is not None
    assert mean.structure == pytest.approx((1 + strangers.structure) / 2)


def test_simple_measures_are_told_where_the_reference_is_shown() -> None:
    report = with_nearest(make_report())
    images: dict[int, list[Picture]] = {c.mask: [picture()] * 5 for c in report.coalitions}
    text = Page(render_html(report, images, [picture("red"), picture("blue"), picture("blue")])).text
    assert "Simple measures colours 40%" in text  # the nearest of images 0 and 3 is red as they are
    assert "Simple measures" not in Page(render_html(report, images)).text


def test_the_lattice_has_every_coalition_once_and_steps_of_one_player() -> None:
    report = make_report()
    rows = lattice(report)
    assert [len(row) for row in rows] == [1, 3, 3, 1]
    assert sorted(tile.mask for row in rows for tile in row) == list(range(8))
    shades = {tile.mask: tile.shade for row in rows for tile in row}
    values = {item.mask: item.value for item in report.coalitions}
    assert shades[min(values, key=lambda m: values[m])] == 0
    assert shades[max(values, key=lambda m: values[m])] == 7
    by_mask = {item.mask: item for item in report.coalitions}
    steps = moves(report, by_mask[0b011], by_mask)
    assert [step.mask for step in steps] == [0b010, 0b001, 0b111]
    assert [step.what.split()[0] for step in steps] == ["without", "without", "with"]
    for step in steps:
        assert step.change == towards(by_mask[step.mask].value - by_mask[0b011].value, 1)


def test_notes_are_told_apart_from_warnings() -> None:
    report = make_report(warnings=[{"code": "plan", "message": "A node was bypassed."}])
    text = Page(full_page(report)).text
    assert "Read this first" not in text
    assert text.index("There are only 6 images") < text.index("1 note on what was run A node was bypassed.")


def test_the_gravest_warning_comes_first() -> None:
    codes = ("sampled", "non_deterministic", "canary_mismatch")
    text = Page(full_page(make_report(warnings=[{"code": c, "message": c} for c in codes]))).text
    assert text.index("Read this first") < text.index("canary_mismatch") < text.index("non_deterministic")
    assert text.index("non_deterministic") < text.index("Limits and error rates") < text.index("sampled")


def test_samples_and_groups_are_shown() -> None:
    from copyscope_core.game.permutations import Permutations
    from tests.evidence.test_verify_numbers import GROUPS, made

    report, _ = made(Permutations.smallest(6, GROUPS), ("Jane Artist", "two", EVIL))
    html = render_html(report, {mask.mask: [picture()] for mask in report.coalitions})
    text = Page(html).text
    assert f"A sample of the combinations : {len(report.coalitions)} of the" in text
    assert "Jane Artist" in text
    assert EVIL not in html
    for group in report.groups:
        assert towards(group.shapley) in text
    assert html.count('class="tile ') == len(report.coalitions)


def test_written_atomically_as_utf8(tmp_path: Path) -> None:
    path = write_html(make_report(name="北斎"), tmp_path)
    assert "北斎" in path.read_text(encoding="utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_intervals_are_shown_and_explained() -> None:
    report = certain_report()
    html = render_html(report)
    text = Page(html).text
    assert html.count('class="whisker"') == 2 * 9  # in the wide and in the narrow chart
    assert "no interval was computed" not in text.lower()
    for player in report.players:
        assert player.shapley_interval is not None
        assert text.count(towards_interval(player.shapley_interval, 1)) >= 2
    assert interval_text(report.coalitions[3].fid_interval, 1) in text
    assert "chance in the 6 seeds and in the choice of reference images" in text
    assert "Cannot be told apart : “" in text
    assert "Largest?" in text


def test_why_there_is_no_interval_is_shown() -> None:
    text = Page(render_html(make_report())).text
    assert "The seeds of the images are not known, so there is no interval." in text
    assert "Largest?" not in text


def test_a_whisker_that_reaches_far_is_cut_off() -> None:
    players = entries(make_report())
    players[0] = players[0]._replace(interval=[-1e6, 1e6])
    svg = str(chart(players))
    assert "1,000,000.0 farther to 1,000,000.0 nearer" in svg
    ends = [float(value) for value in re.findall(r'class="whisker" x1="([-\d.]+)"', svg)]
    assert 0 < min(ends) < max(ends) < 760
    bars = [float(value) for value in re.findall(r'class="bar toward"[^>]* width="([\d.]+)"', svg)]
    assert max(bars) > 40


def test_heat_map_shows_every_pair_once_and_says_what_may_be_chance() -> None:
    report = certain_report()
    svg = str(heat_map(report))
    assert svg.count('class="cell ') == 3
    pairs = [item for item in report.interactions if len(item.members) == 2]
    for item in pairs:
        assert signed(item.sii, 1) in svg
    chance = [
        item for item in pairs if item.sii_interval is not None and item.sii_interval[0] <= 0 <= item.sii_interval[1]
    ]
    assert svg.count('class="number unsure"') == len(chance)
    assert "What works only together" in Page(render_html(report)).text
    assert heat_map(make_report(1)) is None
    evil = make_report(2, EVIL)
    assert EVIL not in str(heat_map(evil))


def test_long_names_of_columns_are_told_apart() -> None:
    names = [f"copyscope-zoo-{artist}" for artist in ("hokusai", "hiroshige", "van_gogh")]
    rng = np.random.default_rng(0)
    features = {mask: rng.normal(size=(6, 8)) + mask.bit_count() for mask in range(8)}
    html = str(heat_map(report_of(evaluate(names, features, rng.normal(size=(9, 8))))))
    heads = re.findall(r'text-anchor="middle">([^<]*)<title>', html)
    assert heads[1::2] == ["copyscope-"] * 2
    assert set(heads[::2]) < {"zoo-hokusai", "zoo-hi…shige", "zoo-van_gogh"}


def test_facts_of_the_environment_are_plain_text() -> None:
    environment = {"flags": ["--cpu", "--lowvram"], "packs": {}, "nodes": {"a": 1, "b": None}, "device": None}
    text = Page(render_html(make_report(environment=environment))).text
    assert "flags --cpu, --lowvram" in text
    assert "packs" not in text
    assert "nodes a: 1, b: unknown" in text


def test_controls_have_their_section() -> None:
    control = np.random.default_rng(2).normal(size=(9, 8))
    report = certain_report(control=control)
    text = Page(render_html(report)).text
    assert "Content and style" in text
    assert "9 control images" in text
    for player in report.players:
        assert towards(player.contrast) in text
    assert "Content and style" not in Page(render_html(certain_report())).text


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ("fid-inception", "the KID of early layers"),
        ("fid-inception.introstyle-0123456789abcdef-out5-t25-512px-4", "channels of a diffusion model fire"),
    ],
)
def test_what_sees_style_is_named(features: str, words: str) -> None:
    report = certain_report()
    players = [player.model_copy(update={"style_shapley": 1.0}) for player in report.players]
    report = report.model_copy(update={"players": players, "preprocessing": features})
    assert words in Page(render_html(report)).text


def test_another_distance_is_named_throughout() -> None:
    report = certain_report(distance="kid")
    text = Page(render_html(report)).text
    assert "KID units" in text
    assert "FID points" not in text
    assert "Shapley value, in KID units" in text
