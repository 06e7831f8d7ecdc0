"""What model files say of themselves, in the report: told, searched, cut, and never more than text."""

from __future__ import annotations

import json
import re

from copyscope_core.metadata.header import Metadata
from copyscope_core.report.html.page import render_html
from copyscope_core.report.metadata import MENTIONS, TAGS, TEXT, metadata_records
from copyscope_core.report.private import without_private
from copyscope_core.report.report import Report
from copyscope_core.report.text import columns, summary_text
from tests.metadata.planted import KOHYA
from tests.report.test_page import EVIL, Page, make_report

FILES = {"style.safetensors": ["lora"], "plain.safetensors": [], "unknown.safetensors": ["player 1"]}


def report(artists: list[str], known: dict[str, Metadata] | None = None) -> Report:
    known = known or {"style.safetensors": Metadata(KOHYA), "plain.safetensors": Metadata({})}
    return make_report(metadata=metadata_records(FILES, known, artists), settings={"artists": artists})


def test_it_is_told_and_pointed_out() -> None:
    found = report(["Jane Doe", "J. D."])
    style, plain = found.metadata
    assert (style.file, style.components, style.fields, style.cut) == ("style.safetensors", ["lora"], len(KOHYA), False)
    assert (style.base_model, style.trigger_words) == ("v1-5-pruned-emaonly.safetensors", ["jdstyle"])
    assert [item.sentence for item in style.mentions] == [
        "its own metadata names 43 images tagged “jane doe”",
        "its own metadata names a training folder “10_jane-doe” of 43 images",
        "its own metadata says “A. Trainer, after Jane Doe” (modelspec.author)",
    ]
    assert (plain.fields, plain.mentions) == (0, [])
    text = Page(render_html(found)).text
    assert "What the model files say of themselves" in text
    assert "names 43 images tagged “jane doe”" in text
    assert "10_jane-doe (43 images, 10 times each)" in text
    line = next(line for line in summary_text(found).splitlines() if "tagged" in line)
    assert line.startswith("“lora” (style.safetensors): its own metadata names 43 images tagged “jane doe”; ")


def test_numbers_do_not_depend_on_it() -> None:
    with_it, without = report(["Jane Doe"]), make_report()
    assert with_it.players == without.players
    assert with_it.verdict == without.verdict
    assert with_it.warnings == without.warnings


def test_names_that_are_nowhere() -> None:
    assert "No model file's own metadata names “Nobody”" in summary_text(report(["Nobody"]))
    assert "None of it names Nobody" in Page(render_html(report(["Nobody"]))).text
    assert "metadata" not in summary_text(report([]))
    assert "None of it names" not in Page(render_html(report([]))).text


def test_a_report_without_metadata_has_no_section() -> None:
    assert "say of themselves" not in render_html(make_report())


def test_hostile_metadata_is_text() -> None:
    tags = {f"jane doe {EVIL}{number}" + "x" * 5000: number for number in range(200)}
    evil = {
        "ss_output_name": EVIL,
        "ss_tag_frequency": json.dumps({EVIL: tags}),
        "ss_dataset_dirs": json.dumps({f"<script>{'y' * 100_000}": {"img_count": "<b>", "n_repeats": 3}}),
        "modelspec.author": "Jane Doe\x1b[2J\x00\u202e\n\r\ud800" + "z" * 1_000_000,
        "modelspec.description": "</details></section><script>alert(1)</script>" * 10_000,
        "modelspec.trigger_phrase": "[" * 100_000,
        f"field {EVIL}": "about Jane Doe",
    }
    found = report(["Jane Doe"], {"style.safetensors": Metadata(evil)})
    (record,) = found.metadata
    assert (len(record.tags), record.tags_in_all) == (TAGS, 200)
    assert (len(record.mentions), record.mentions_in_all) == (MENTIONS, 202)
    html = render_html(found)
    section = html[html.index('<details class="part metadata"') :]
    section = section[: section.index('<details class="part">')]
    assert len(section) < 60_000
    page = Page(html)  # elements nest
    assert not [attributes for tag, attributes in page.elements if tag == "img" and attributes.get("src") == "x"]
    assert [tag for tag, _ in page.elements].count("script") == 1
    told = json.loads(found.model_dump_json())["metadata"][0]
    texts = re.findall(r'"((?:[^"\\]|\\.)*)"', json.dumps(told, ensure_ascii=False))
    assert not re.search("[\x00-\x1f\x7f\u202e\ud800]", "".join(texts) + section.replace("\n", ""))
    assert all(columns(item.tag) <= TEXT for item in record.tags)
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", summary_text(found))


def test_a_private_report_leaves_it_out() -> None:
    private = without_private(report(["Jane Doe"]))
    assert private.metadata == []
    assert "doe" not in private.model_dump_json().lower()
    assert "say of themselves" not in render_html(private)
    assert "metadata" not in summary_text(private)
