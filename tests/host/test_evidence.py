"""What an audit inside a graph leaves behind: it verifies, canaries ran past the cache, a private one tells nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from copyscope_core.evidence.verify import Verifier
from copyscope_core.features.extractor import InceptionExtractor

from .audits import audited, plain, report_of, values


def folder_of(server: Any, entry: dict[str, Any]) -> Path:
    return server.base_dir / "output" / entry["outputs"]["23"]["copyscope_files"][0]["subfolder"]


def test_a_graphs_run_folder_verifies_and_tampering_is_named(mini_server) -> None:
    workflow = audited(plain(seed=77), seeds=2)
    workflow["23"]["inputs"] |= {"examiner": "A. Smith", "case": "7 O 12/26"}
    entry = mini_server.run(workflow)
    report = report_of(entry)
    folder = folder_of(mini_server, entry)
    extractor = InceptionExtractor()
    result = Verifier(folder, extractor, full=True).run()
    assert (result.findings, result.unchecked) == ((), ())
    assert result.images == 4 * 2 + report["reference"]["count"] + (report["control"] or {"count": 0})["count"]
    assert entry["outputs"]["23"]["copyscope_manifest"] == [result.manifest_sha256]
    assert str(result.manifest_sha256) in entry["outputs"]["23"]["text"][0]
    assert str(result.manifest_sha256) in (folder / "report.html").read_text(encoding="utf-8")
    made = report["custody"]
    assert (made["examiner"], made["case"], made["command"]) == ("A. Smith", "7 O 12/26", None)
    assert made["made"] + made["reused"] == len(list(folder.glob("coalitions/*")))
    events = [json.loads(line)["event"] for line in (folder / "events.jsonl").read_text("utf-8").splitlines()]
    assert (events[0], events[-1], events.count("made")) == ("begun", "report", made["made"])
    image = folder / "coalitions" / report["coalitions"][0]["image_files"][0]["file"]
    with Image.open(image) as opened:
        opened.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(image)
    found = {item.what for item in Verifier(folder, extractor).run().findings}
    assert image.relative_to(folder).as_posix() in found


def test_canaries_run_after_all_others_and_give_the_same_pixels(mini_server) -> None:
    workflow = audited(plain(seed=78), seeds=2)
    entry = mini_server.run(workflow)
    report = report_of(entry)
    assert [item["holds"] for item in report["canaries"]] == [True, True]
    assert report["canaries"][-1]["members"] == []
    folder = folder_of(mini_server, entry)
    entries = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("coalitions/*/entry.json")]
    assert len(entries) == 4 * 2 + 1 + 2
    words = set()
    for path in folder.glob("coalitions/*/0000.png"):
        with Image.open(path) as image:
            graph = json.loads(image.info["prompt"])
        words |= {
            str(node["inputs"]["copyscope_rerun"]) for node in graph.values() if "copyscope_rerun" in node["inputs"]
        }
    assert len([word for word in words if word.startswith("canary ")]) == 2
    again = report_of(mini_server.run(workflow))
    assert again["canaries"] == report["canaries"]
    more = report_of(mini_server.run(audited(plain(seed=78), seeds=3)))
    assert [item["holds"] for item in more["canaries"]] == [True, True]
    assert values(more)["pixels"][0][:2] == values(report)["pixels"][0]


@pytest.mark.parametrize("private", [True, False])
def test_the_private_switch_of_the_report_node(mini_server, private: bool) -> None:
    workflow = audited(plain(seed=79), seeds=1, key_prompts="by hokusai")
    workflow["23"]["inputs"]["private"] = private
    entry = mini_server.run(workflow)
    report = report_of(entry)
    folder = folder_of(mini_server, entry)
    texts = [(folder / name).read_text(encoding="utf-8") for name in ("report.json", "report.html", "manifest.json")]
    assert report["private"] is private
    for text in [*texts, json.dumps(entry["outputs"]["23"])]:
        assert ("by hokusai" in text) is (not private) or "copyscope_manifest" in text
        if private:
            assert "by hokusai" not in text
            assert str(mini_server.base_dir) not in text
