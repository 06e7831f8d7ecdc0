"""Private reports: no prompt, path or image of the reference in any file that is meant to be passed on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_workflows import with_lora
from images_on_disk import MeanColours, image_folder
from PIL import Image

from copyscope_core.audit.score import Score
from copyscope_core.evaluation.evaluate import evaluate
from copyscope_core.evaluation.measure import Works
from copyscope_core.evidence.publish import Published, ReportOptions, publish
from copyscope_core.evidence.verify import Verifier
from copyscope_core.files.images import read_folder
from copyscope_core.plan.plan import make_plan
from copyscope_core.report.build import build_report, load_report
from copyscope_core.report.html.pictures import Picture
from copyscope_core.report.private import without_private
from copyscope_core.report.schema import Report
from copyscope_core.settings import AuditSettings
from copyscope_core.store.runs import STATE_VARIABLE
from copyscope_core.workflow.graph import to_json
from copyscope_core.workflow.node_info import bundled_catalog

PASSED_ON = ("report.json", "report.html", "manifest.json", "chart.svg")
SECRETS = (
    "heron", "moonlit", "xylograph", "blurred", "quokka", "zugzwang", "Kjartan", "client-a", "secretwork",
    "unrelated07", "draft99", "C:\\Users", "/home/kjartan", "sub/folder",
)  # fmt: skip
"""Words of prompts, titles, paths and image names that are planted below."""


def planted() -> Report:
    """A report of an audit with secrets wherever a user can put some."""
    workflow = with_lora()
    workflow["6"]["inputs"]["text"] = "a moonlit heron, xylograph, in the style of quokka"
    workflow["6"]["_meta"] = {"title": "zugzwang prompt"}
    workflow["7"]["inputs"]["text"] = "blurred"
    settings = AuditSettings(
        seeds=2, key_prompts=("moonlit heron", "quokka"), neutral_prompt="zugzwang", baseline_checkpoint="sub/sd15.ckpt"
    )
    plan = make_plan(workflow, bundled_catalog(), settings)
    summary = plan.summary()
    rng = np.random.default_rng(0)
    size = 1 << len(plan.players)
    noise, reference = rng.normal(size=(2, 8)), rng.normal(size=(5, 8))
    evaluation = evaluate(plan.names, {m: noise + 3 - m.bit_count() for m in range(size)}, reference)
    return build_report(
        evaluation,
        players=summary["players"],
        locked=[{"name": "prompt: zugzwang", "kind": "prompt", "node": "6", "reason": "“zugzwang” is computed"}],
        unmeasured=[
            {"name": "image: client-a/draft99.png", "kind": "LoadImage", "reason": "an input image"},
            {"name": "embedding: quokka", "kind": "CLIPTextEncode", "reason": "a textual inversion"},
        ],
        models=[{"file": "sub/folder/dream.safetensors", "sha256": "a" * 64}],
        seeds=range(2),
        settings=plan.settings,
        folders=dict.fromkeys(range(size), "coalitions"),
        images={m: [{"file": f"{'ab' * 32}/0000.png", "pixel_sha256": "c" * 64, "nearest": 0, "nearest_distance": 1.0}]
                for m in range(size)},
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
    assert load_report(tmp_path / "out" / "report.json").players[0].name == "prompt 1"
    result = Verifier(tmp_path / "out", MeanColours(), reference=sources[0], control=sources[1]).run()
    assert result.findings == ()


def told(message: str, **changed: Any) -> str:
    """What a private report makes of a warning, in a report with some fields changed."""
    data = {**planted().model_dump(mode="json"), **changed, "warnings": [{"code": "note", "message": message}]}
    return without_private(Report.model_validate(data)).warnings[0].message


def test_control_images_are_numbered_in_warnings() -> None:
    control = {**planted().model_dump(mode="json")["reference"], "images": [{"file": f"osprey {k}.jpg"} for k in "ab"]}
    assert told("It is nearest to osprey b.jpg.", control=control) == "It is nearest to control image 2."


def test_titles_of_nodes_are_left_out_of_warnings() -> None:
    workflow = planted().model_dump(mode="json")["workflow"]
    workflow["7"]["_meta"] = {"title": "Nightjar for a client"}
    assert told("The node Nightjar for a client ran again.", workflow=workflow) == "The node [left out] ran again."


def test_longer_names_are_replaced_before_what_they_hold() -> None:
    workflow = planted().model_dump(mode="json")["workflow"]
    workflow["7"]["inputs"]["text"] = "lynx"
    workflow["7"]["_meta"] = {"title": "lynx at dusk"}
    assert told("Of lynx at dusk and lynx.", workflow=workflow) == "Of [left out] and [left out]."


def test_input_images_absence_does_not_name_them() -> None:
    data = planted().model_dump(mode="json")
    data["players"][0] |= {"kind": "image", "name": "image: plover.png", "absence": "a grey image instead of plover"}
    report = without_private(Report.model_validate(data))
    assert report.players[0].absence == "replaced by a neutral grey image of the same size"


def test_keys_of_the_environment_are_cleaned_too() -> None:
    data = planted().model_dump(mode="json")
    data["environment"]["packs"] = {"/home/kjartan/comfy/custom_nodes/pack": "1"}
    assert "kjartan" not in json.dumps(without_private(Report.model_validate(data)).environment)
