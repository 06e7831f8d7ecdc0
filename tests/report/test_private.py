"""Private reports: no prompt, path or image of the reference in any file that is meant to be passed on."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_workflows import with_lora
from hypothesis import given, settings
from hypothesis import strategies as st
from images_on_disk import MeanColours, image_folder
from PIL import Image
from reports import report_of

from copyscope_core.auditing.score import Score
from copyscope_core.evaluation.evaluate import evaluate
from copyscope_core.evaluation.measure import Works
from copyscope_core.evidence.publish import Published, ReportOptions, publish
from copyscope_core.evidence.verify import Verifier
from copyscope_core.files.folders import read_folder
from copyscope_core.metadata.header import Metadata
from copyscope_core.planning.plan import make_plan
from copyscope_core.report.allowed import HIDDEN
from copyscope_core.report.html.chart_files import chart_svg
from copyscope_core.report.html.page import render_html
from copyscope_core.report.html.pictures import Picture
from copyscope_core.report.metadata import metadata_records
from copyscope_core.report.private import without_private
from copyscope_core.report.report import Report
from copyscope_core.report.schema import ControlRecord, CustodyRecord, Record
from copyscope_core.report.text import summary_text
from copyscope_core.settings import AuditSettings
from copyscope_core.store.runs import STATE_VARIABLE
from copyscope_core.workflow.graph import to_json
from copyscope_core.workflow.node_info import bundled_catalog, is_model_file
from tests.metadata.planted import KOHYA

PASSED_ON = ("report.json", "report.html", "manifest.json", "chart.svg")
SECRETS = (
    "heron", "moonlit", "xylograph", "blurred", "quokka", "zugzwang", "Kjartan", "client-a", "secretwork",
    "unrelated07", "draft99", "C:\\Users", "/home/kjartan", "sub/folder",
)  # fmt: skip
"""Words of prompts, titles, paths and image names that are planted below."""
SAID = {
    "sub/folder/dream.safetensors": Metadata(
        {
            **KOHYA,
            "modelspec.description": "quokka",
            "ss_tag_frequency": json.dumps({"a": {"heron": 4}}),
            "ss_dataset_dirs": json.dumps({"/home/kjartan": {}}),
        }
    )
}


def planted() -> Report:
    """A report of an audit with secrets wherever a user can put some."""
    workflow = with_lora()
    workflow["6"]["inputs"]["text"] = "a moonlit heron, xylograph, in the style of quokka"
    workflow["6"]["_meta"] = {"title": "zugzwang prompt"}
    workflow["7"]["inputs"]["text"] = "blurred"
    chosen = AuditSettings(
        seeds=2, key_prompts=("moonlit heron", "quokka"), neutral_prompt="zugzwang", baseline_checkpoint="sub/sd15.ckpt"
    )
    plan = make_plan(workflow, bundled_catalog(), chosen)
    summary = plan.summary()
    rng = np.random.default_rng(0)
    size = 1 << len(plan.players)
    noise, reference = rng.normal(size=(8, 8)), rng.normal(size=(5, 8))
    features = {m: noise + 3 - m.bit_count() + 2 * (m & 1) for m in range(size)}
    evaluation = evaluate(plan.names, features, reference, seeds={m: list(range(8)) for m in features})
    custody = CustodyRecord(
        started="2026-01-01T00:00:00.000Z", finished="2026-01-01T00:01:00.000Z", clock_moved=0.0, host="kjartan-laptop",
        clock="Kjartan's clock, UTC+0000", commit="a" * 40, tree_sha256="b" * 64, weights_sha256="c" * 64,
        command="copyscope audit /home/kjartan/sub/folder/draft99.json", examiner="A. Smith", case="7 O 12/26", made=9,
        reused=0,
    )  # fmt: skip
    report = report_of(
        evaluation,
        players=summary["players"],
        locked=[{"name": "prompt: zugzwang", "kind": "prompt", "node": "6", "reason": "“zugzwang” is computed"}],
        unmeasured=[
            {"name": "image: client-a/draft99.png", "kind": "LoadImage", "reason": "an input image"},
            {"name": "embedding: quokka", "kind": "CLIPTextEncode", "reason": "a textual inversion"},
        ],
        models=[{"file": "sub/folder/dream.safetensors", "sha256": "a" * 64}],
        metadata=metadata_records({"sub/folder/dream.safetensors": ["dream"]}, SAID, ["Kjartan"]),
        seeds=range(2),
        settings=plan.settings,
        folders=dict.fromkeys(range(size), "coalitions"),
        coalitions={
            m: [{"file": f"{'ab' * 32}/0000.png", "pixel_sha256": "c" * 64, "nearest": 0, "nearest_distance": 1.0}]
            for m in range(size)
        },
        reference={"count": 5, "images": [{"file": f"secretwork{k}.jpg", "sha256": "d" * 64} for k in range(5)]},
        environment={"comfyui": "0.8.0", "launch_flags": ["--cpu", "--base-directory /home/kjartan/comfy"],
                     "embeddings": {"quokka": "e" * 64}, "not_hashed": ["sub/folder/x.safetensors"]},
        workflow=to_json(plan.graph),
        warnings=[
            {"code": "input_image", "message": "The input image client-a/draft99.png (node 4) is nearest to the "
                                               "reference secretwork3.jpg, at feature distance 12.0."},
            {"code": "plan", "message": "The text “a moonlit heron, xylograph, in the style of quokka” is long."},
            {"code": "note", "message": r"Read from C:\Users\Kjartan\audit and /home/kjartan/refs."},
        ],
    )  # fmt: skip
    return report.model_copy(update={"custody": custody})


def written(tmp_path: Path, private: bool) -> tuple[Published, dict[str, str]]:
    report = planted()
    pictures: dict[int, list[Picture]] = {c.mask: [Image.new("RGB", (8, 8), "red")] for c in report.coalitions}
    references = [Image.new("RGB", (8, 8), "blue")] * 5
    done = publish(
        report, tmp_path, pictures, references, ReportOptions(private=private), workflows={7: report.workflow}
    )
    return done, {name: (tmp_path / name).read_text(encoding="utf-8") for name in PASSED_ON}


def test_no_secret_is_in_the_files_that_are_passed_on(tmp_path: Path) -> None:
    _, files = written(tmp_path, private=True)
    for name, text in files.items():
        low = json.dumps(json.loads(text), ensure_ascii=False).lower() if name.endswith(".json") else text.lower()
        for secret in SECRETS:
            assert secret.lower() not in low, (name, secret, low[low.index(secret.lower()) - 80 :][:160])


def test_the_same_report_has_them_when_it_is_not_private(tmp_path: Path) -> None:
    """Guards the test above: every secret was really planted."""
    done, files = written(tmp_path, private=False)
    everything = json.dumps(done.report.model_dump(mode="json"), ensure_ascii=False)
    missing = [s for s in SECRETS if s.lower() not in everything.replace("\\\\", "\\").lower()]
    assert missing == ["unrelated07"]
    assert 'alt="Reference image 1"' in files["report.html"]


def test_hashes_and_numbers_stay_and_players_are_numbered(tmp_path: Path) -> None:
    open_report = planted()
    report = without_private(open_report)
    assert report.private
    assert report.workflow is None
    assert [player.shapley for player in report.players] == [player.shapley for player in open_report.players]
    assert [player.name for player in report.players][-2:] == ["prompt 1", "prompt 2"]
    assert report.locked[0].name == "prompt 3"
    assert report.coalitions[-1].members == [player.name for player in report.players]
    assert {item.members[0] for item in report.interactions if len(item.members) == 1} == {
        player.name for player in report.players
    }
    assert [image.sha256 for image in report.reference.images] == ["d" * 64] * 5
    assert report.models[0].file == "dream.safetensors"
    assert report.models[0].sha256 == "a" * 64
    assert report.settings["seeds"] == 2
    assert report.settings["baseline_checkpoint"] == "sd15.ckpt"
    assert report.environment["comfyui"] == "0.8.0"
    assert report.custody is not None
    assert (report.custody.examiner, report.custody.case, report.custody.made) == ("A. Smith", "7 O 12/26", 9)
    assert (report.custody.host, report.custody.clock, report.custody.command) == (None, None, None)
    assert report.custody.commit == "a" * 40
    assert any("reference image 4" in warning.message for warning in report.warnings)


def test_no_reference_picture_is_embedded(tmp_path: Path) -> None:
    _, files = written(tmp_path, private=True)
    assert 'alt="Reference image' not in files["report.html"]
    assert "data:image/jpeg" in files["report.html"]


def test_a_private_scoring_hides_folders_and_still_verifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    root = tmp_path / "client-a"
    rows: list[dict[str, Any]] = []
    for number, members in enumerate([[], ["moonlit heron"]]):
        image_folder(root / f"quokka{number}", 4, seed=100 * number)
        rows.append({"folder": f"quokka{number}", "members": members})
    table = {"players": [{"name": "moonlit heron", "kind": "prompt"}], "coalitions": rows}
    (root / "game.json").write_text(json.dumps(table), encoding="utf-8")
    sources = [image_folder(tmp_path / kind, 3, seed=seed) for kind, seed in (("secretwork", 50), ("unrelated07", 70))]
    for folder in sources:
        for path in list(folder.iterdir()):
            path.rename(folder / f"{folder.name}-{path.name}")
    reference, control = (read_folder(folder) for folder in sources)
    options = ReportOptions(private=True)
    Score(root, Works(reference, control), tmp_path / "out", MeanColours(), options=options).run()
    for file in PASSED_ON:
        text = (tmp_path / "out" / file).read_text(encoding="utf-8").lower()
        for secret in SECRETS:
            assert secret.lower() not in text, (file, secret)
    assert Report.load(tmp_path / "out" / "report.json").players[0].name == "prompt 1"
    result = Verifier(tmp_path / "out", MeanColours(), sources[0], sources[1], root).run()
    assert (result.findings, result.notes) == ((), ())


MARK = "qzx"
"""A part of every word that is planted below, and of no word of CopyScope's."""

OWN = {"schema_version", "statement", "created", "distance", "estimator", "stopped", "no_interval", "method", "source",
       "function", "basis", "agreement", "reasons", "where"}  # fmt: skip
"""Fields whose text CopyScope writes itself, the same in every report or from numbers alone."""

WITH_TEXT = ("input_image", "input_matches_reference", "defective_images", "plan", "conversion", "note", "no_effect",
             "mostly_covariance", "canary_mismatch", "other_features", "something_new")  # fmt: skip
"""Codes of warnings that quote names or files."""

FILES = {"file", "files"}
words = st.text(st.characters(categories=["L", "M", "N"], max_codepoint=0x1FFFF), max_size=6).map(
    lambda tail: f"{MARK}{tail}"
)
BETWEEN = (" ", "  ", "'", "’", '"', "“", "-", "_", ".", ", ", " (", ") ", ": ", "; ", "\n")
FORMS = ("C:\\Users\\{}\\{}", "~/{}/{}", "/data/{}/{}", "\\\\{}\\{}", "{}/{}", "file:///{}/{}", "{}\\{}", "../{}/{}",
         "read from /home/{}/{} and more", "“/{}” ({})", "$HOME/{}:{}")  # fmt: skip
names = st.builds(str.join, st.sampled_from(BETWEEN), st.lists(words, min_size=1, max_size=3))
paths = st.builds(str.format, st.sampled_from(FORMS), names, names)


def planted_everywhere(report: dict[str, Any], draw: Callable[[], str]) -> dict[str, Any]:
    """The report with every text that is not CopyScope's own replaced, equal ones by equal ones."""
    known: dict[str, str] = {}

    def new(text: str) -> str:
        return known.setdefault(text, f"{draw()}{len(known)}")

    def walk(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            open_ended = key in ("environment", "settings", "workflow", "baseline_models", "preprocessing", "views")
            plain = {name: walk(item, name) for name, item in value.items()}
            return plain | (
                {new(f"{key} {name}"): walk(item, name) for name, item in value.items()} if open_ended else {}
            )
        if isinstance(value, list):
            return [walk(item, key) for item in value]
        if not isinstance(value, str) or key in OWN or not value:
            return value
        if key in FILES and is_model_file(value):
            return f"{draw()}/{len(known)}/dream.safetensors"
        return new(value)

    return walk(report, "")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_name_of_a_path_is_left_wherever_it_stands(data: st.DataObject) -> None:
    """Not in any field of the report, and not in the page or the chart that are made from it."""
    open_report = planted().model_dump(mode="json")
    open_report["warnings"] += [{"code": code, "message": "a note"} for code in WITH_TEXT]
    open_report["groups"] = [{"name": f"group of {p['name']}", "members": [p["name"]], "shapley": 1.0, "share": 1.0}
                             for p in open_report["players"]]  # fmt: skip
    names = [player["name"] for player in open_report["players"]]
    look = {"seeds": 3, "coalitions": 8, "runs": 24, "level": 0.99, "estimate": 1.0, "interval": None, "decided": True}
    open_report["verdict"]["until_sure"] = {
        "error": 0.05, "looks": [{**look, "first": names[0], "second": names[1]}], "stopped": "decided", "runs": 24,
        "budget": 64, "seeds": 8, "chance": None, "narrower": 0.5, "set_aside": names[1:], "spared": 0, "tried": 0,
        "put_back": names[:1],
    }  # fmt: skip
    for player in open_report["players"]:
        player |= {"group": f"group of {player['name']}", "autov2": "0123456789"}
    for image in open_report["reference"]["images"]:
        image["matched_sha256"] = "e" * 64
    images = [{"file": "unrelated07.png", "pixel_sha256": "d" * 64}, {"file": "painting-arearea.webp"}]
    open_report["control"] = {"count": 2, "images": images, "source": "bank", "bank": "f" * 64, "kinds": ["painting"]}
    open_report["views"] = {"content": [0, 8]}
    drawn = itertools.cycle(data.draw(st.lists(paths, min_size=1, max_size=6)))
    report = Report.model_validate(planted_everywhere(open_report, lambda: next(drawn)))
    assert MARK in report.model_dump_json()
    private = without_private(report)
    for text in (private.model_dump_json(), render_html(private), chart_svg(private), summary_text(private)):
        low = text.lower()
        assert MARK not in low, low[max(0, low.index(MARK) - 200) :][:300]
    assert [player.shapley for player in private.players] == [player.shapley for player in report.players]
    assert len({player.name for player in private.players}) == len(private.players)


def test_works_of_the_bank_keep_their_names_and_what_resembles_the_reference_is_not_said() -> None:
    images = [{"file": "painting-arearea.webp", "pixel_sha256": "d" * 64}, {"file": "unrelated07.png"}]
    left_out = [{"file": "painting-charles.webp", "reason": "same_picture"}]
    record = {"count": 2, "images": images, "source": "bank", "bank": "f" * 64, "kinds": ["painting", "heron"]}
    given = planted().model_copy(update={"control": ControlRecord.model_validate({**record, "left_out": left_out})})
    control = without_private(given).control
    assert control is not None
    assert [image.file for image in control.images] == ["painting-arearea.webp", "control image 2"]
    assert (control.source, control.bank, control.kinds) == ("bank", "f" * 64, ["painting"])
    assert [(item.file, item.reason) for item in control.left_out] == [(HIDDEN, "same_picture")]


def test_every_text_field_of_a_report_is_planted_above() -> None:
    """A new field of free text is either planted, or named here as CopyScope's own."""
    seen: set[str] = set()

    def walk(value: Any, key: str) -> None:
        for name, item in value.items() if isinstance(value, dict) else ((key, item) for item in value):
            if isinstance(item, dict | list):
                walk(item, name)
            elif isinstance(item, str):
                seen.add(name)

    walk(planted().model_dump(mode="json"), "")
    texts = {
        name
        for model in Record.__subclasses__() + [sub for one in Record.__subclasses__() for sub in one.__subclasses__()]
        if model.__module__ == Record.__module__
        for name, item in model.model_fields.items()
        if "str" in str(item.annotation)
    }
    planted_there = {
        "autov2",
        "bank",
        "kinds",
        "matched_sha256",
        "environment",
        "settings",
        "workflow",
        "player",
        "put_back",
        "set_aside",
        "views",
    }
    assert texts - seen - OWN == planted_there


def test_names_of_model_files_versions_and_plain_names_stay() -> None:
    data = planted().model_dump(mode="json")
    data["environment"]["device"] = "cuda:0 NVIDIA GeForce RTX 4090"
    data["environment"]["launch_flags"] += ["--reserve-vram 1.5", "--fast=C:\\Users\\x"]
    data["settings"] |= {"distance": "kid", "output": "8", "baseline_models": {"12": "a/b.gguf", "/x": "c.gguf"}}
    report = without_private(Report.model_validate(data))
    assert report.environment["device"] == "cuda:0 NVIDIA GeForce RTX 4090"
    assert report.environment["launch_flags"] == ["--cpu", "--base-directory", "--reserve-vram 1.5", "--fast"]
    assert report.settings["distance"] == "kid"
    assert report.settings["output"] == "8"
    assert report.settings["baseline_models"] == {"12": "b.gguf"}
    assert [player.name for player in report.players if player.kind == "lora"] == ["style"]
    assert {player.node for player in report.players} == {player.node for player in planted().players}
    assert report.players[0].absence == "replaced by the baseline"
    assert "reference image 4, at feature distance 12.0" in report.warnings[0].message
    assert "(node 4)" in report.warnings[0].message
    assert report.headline.count("“") == planted().headline.count("“")


def test_a_verdict_has_no_names_of_its_own() -> None:
    """Names that no component has are left out, whoever wrote them there."""
    data = planted().model_dump(mode="json")
    data["verdict"] |= {"decided": True, "player": "moonlit heron", "first": "quokka", "tied": ["zugzwang"]}
    data["verdict"]["value_functions"][0] |= {"first": "kjartan", "sure": True}
    text = without_private(Report.model_validate(data)).model_dump_json()
    for word in ("moonlit", "quokka", "zugzwang", "kjartan"):
        assert word not in text
