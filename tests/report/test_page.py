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

from copyscope_core.evaluation.evaluate import evaluate
from copyscope_core.report.build import build_report
from copyscope_core.report.html.chart import chart, nice_ticks
from copyscope_core.report.html.heat import heat_map
from copyscope_core.report.html.lattice import TILES, lattice, moves
from copyscope_core.report.html.likeness import likeness, mean_likeness
from copyscope_core.report.html.page import COALITIONS_SHOWN, IMAGES_PER_COALITION, TEMPLATES, render_html, write_html
from copyscope_core.report.html.pictures import THUMBNAIL, Picture, close_up, difference, outlines, palette, thumbnail
from copyscope_core.report.report import Report
from copyscope_core.report.schema import CoalitionResult
from copyscope_core.report.terms import TERMS
from copyscope_core.report.text import interval_text, signed

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
    return build_report(
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
    return build_report(evaluate([f"player {i}" for i in range(players)], features, reference, seeds=seeds, **options))


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
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert policy is not None
    assert style is not None
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", html, re.DOTALL)
    assert scripts == [("", (TEMPLATES / "report.js").read_text(encoding="utf-8"))]
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode() for text in (style[1], scripts[0][1])
    )
    assert policy[1] == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
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
        images={0: [{"file": '"><script>', "pixel_sha256": EVIL}]},
        reference={"count": 1, "images": [{"file": EVIL}], "preprocessing": {"x": "{{ 7*7 }}"}},
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
        warnings=[{"code": "x", "message": "An input image matches a reference."}],
        seeds=[0],
    )
    text = Page(full_page(report)).text
    order = [
        report.headline,
        "Similarity contribution, not a finding of infringement",
        "An input image matches a reference.",
        "One seed was run",
        "How far each component moves the images",
        "sd15 (checkpoint)",
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
        images={0: [{"file": "0000.png", "pixel_sha256": "ef" * 32, "seed": 0}]},
        environment={"comfyui": "0.8.0"},
    )
    text = Page(full_page(report)).text
    for part in ("ab" * 32, "cd" * 32, "ef" * 32, "wave.jpg", "KSampler", "inception/bicubic", "0.8.0", "0, 1"):
        assert part in text
    for coalition in report.coalitions:
        assert f"{coalition.fid:.2f}" in text
    for item in TERMS.values():
        assert item.meaning in text


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
    assert alts.count("All components, image 1") == 3  # its card, the explorer, what it looks like
    assert f"player 1, image {IMAGES_PER_COALITION}" in alts
    assert f"player 1, image {IMAGES_PER_COALITION + 1}" not in alts


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
    assert sum(", image 1" in str(alt) for alt in shown) == COALITIONS_SHOWN + 1 + 2
    for part in ("None of the components", "All components", "All but player 7", "256 combinations"):
        assert part in page.text


def test_chart_draws_signed_bars_and_intervals() -> None:
    players = make_report().players
    players[0] = players[0].model_copy(update={"shapley_interval": [-0.5, 2.5]})
    svg = str(chart(players))
    assert svg.count('class="bar toward"') == 3
    assert svg.count('class="whisker"') == 3
    moved = players[0].model_copy(update={"shapley": -players[0].shapley, "name": EVIL})
    svg = str(chart([moved]))
    assert 'class="bar away"' in svg
    assert EVIL not in svg


def test_chart_of_nothing() -> None:
    player = make_report().players[0].model_copy(update={"shapley": 0.0, "share": None, "no_effect": True})
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


def test_side_by_side_shows_full_removals_and_singles_without_cherry_picking() -> None:
    report = with_nearest(make_report())
    images: dict[int, list[Picture]] = {c.mask: [picture()] * 5 for c in report.coalitions}
    html = render_html(report, images, [picture("blue")] * 3)
    section = html[html.index('id="sides"') : html.index('id="changes"')]
    assert section.count('class="side"') == 1 + 3 + 3 + 1
    assert section.count('class="pair"') == 3 * 8
    assert section.count("<img") == 2 * 3 * 8
    for part in ("Best pair", "Median pair", "Random pair", "All but player 1"):
        assert part in section
    hidden = render_html(report, images)
    section = hidden[hidden.index('id="sides"') : hidden.index('id="changes"')]
    assert section.count("<img") == 3 * 8
    assert "work 0.jpg" in section
    assert "left out of this report" in section


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
    assert "The same by simple measures" in text
    assert "All components 40%" in text  # the nearest of images 0 and 3 is red as they are
    assert "The same by simple measures" not in Page(render_html(report, images)).text


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
        assert step.change == signed(by_mask[step.mask].value - by_mask[0b011].value, 1)


def test_notes_are_told_apart_from_warnings() -> None:
    report = make_report(warnings=[{"code": "plan", "message": "A node was bypassed."}])
    text = Page(full_page(report)).text
    assert text.index("Read this first") < text.index("There are only 6 images") < text.index("1 note on what was run")
    assert "1 note on what was run A node was bypassed." in text


def test_the_gravest_warning_comes_first() -> None:
    text = Page(
        full_page(make_report(warnings=[{"code": c, "message": c} for c in ("sampled", "canary_mismatch")]))
    ).text
    assert text.index("canary_mismatch") < text.index("sampled") < text.index("There are only 6 images")


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
        assert signed(group.shapley) in text
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
        assert text.count(interval_text(player.shapley_interval, 1)) >= 2
    assert interval_text(report.coalitions[3].fid_interval, 1) in text
    assert "chance in the 6 seeds and in the choice of reference images" in text
    assert "Cannot be told apart : “" in text
    assert "Largest?" in text


def test_why_there_is_no_interval_is_shown() -> None:
    text = Page(render_html(make_report())).text
    assert "The seeds of the images are not known, so there is no interval." in text
    assert "Largest?" in text.partition("What the words mean")[2]
    assert "Largest?" not in text.partition("What the words mean")[0]


def test_a_whisker_that_reaches_far_is_cut_off() -> None:
    players = make_report().players
    players[0] = players[0].model_copy(update={"shapley_interval": [-1e6, 1e6]})
    svg = str(chart(players))
    assert "−1,000,000.0 to 1,000,000.0" in svg
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
    html = str(heat_map(build_report(evaluate(names, features, rng.normal(size=(9, 8))))))
    heads = re.findall(r'text-anchor="middle">([^<]*)<title>', html)
    assert heads[1::2] == ["copyscope-"] * 2
    assert set(heads[::2]) < {"zoo-hokusai", "zoo-hiroshi…", "zoo-van_gogh"}


def test_facts_of_the_environment_are_plain_text() -> None:
    environment = {"flags": ["--cpu", "--lowvram"], "packs": {}, "nodes": {"a": 1, "b": None}, "device": None}
    text = Page(render_html(make_report(environment=environment))).text
    assert "flags --cpu, --lowvram" in text
    assert "packs –" in text
    assert "nodes a: 1, b: –" in text


def test_controls_have_their_section() -> None:
    control = np.random.default_rng(2).normal(size=(9, 8))
    report = certain_report(control=control)
    text = Page(render_html(report)).text
    assert "This reference, or any such image?" in text
    assert "against 9 control images" in text
    for player in report.players:
        assert signed(player.contrast) in text
    assert "This reference, or any such image?" not in Page(render_html(certain_report())).text


def test_another_distance_is_named_throughout() -> None:
    report = certain_report(distance="kid")
    text = Page(render_html(report)).text
    before = text.partition("What the words mean")[0]
    assert "KID units" in before
    assert "FID points" not in before
    assert "Shapley value, in KID units" in text
