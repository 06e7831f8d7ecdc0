"""The report: schema, contents, what it tolerates, and how it reads as text."""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import numpy as np
import pytest

from copyscope_core.errors import CopyScopeError, GameError, StoreError
from copyscope_core.evaluate import Evaluation, evaluate
from copyscope_core.report import (
    Report,
    build_report,
    describe_environment,
    load_report,
    plain,
    summary_text,
    write_report,
)
from copyscope_core.report_text import clip, columns, number, percent, signed
from copyscope_core.settings import AuditSettings

ROOT = Path(__file__).resolve().parents[2]


def evaluation(shifts: tuple[float, ...] = (1.0, 0.5, -0.25), n: int = 6, m: int = 5) -> Evaluation:
    rng = np.random.default_rng(0)
    noise, reference = rng.normal(size=(n, 16)), rng.normal(size=(m, 16))
    features = {
        mask: noise + 3 - sum(shift for bit, shift in enumerate(shifts) if mask >> bit & 1)
        for mask in range(2 ** len(shifts))
    }
    return evaluate(["lora", "prompt", "vae"][: len(shifts)], features, reference)


@dataclass
class PlanPlayer:
    """A record as another module may have it, with more attributes than the report needs."""

    name: str
    kind: str
    node: str
    absence: str
    private: object = None


PLAYERS = [
    PlanPlayer("vae", "vae", "7", "the checkpoint's own VAE"),
    PlanPlayer("lora", "lora", "3", "bypassed"),
    PlanPlayer("prompt", "prompt", "4", "the phrase is removed"),
]


def full_report(**changes: Any) -> Report:
    arguments: dict[str, Any] = {
        "players": PLAYERS,
        "folders": {mask: f"coalitions/{mask}" for mask in range(8)},
        "images": {mask: [{"file": "0000.png", "pixel_sha256": "a" * 64, "seed": 0}] for mask in range(8)},
        "locked": [
            {"name": "sd15", "kind": "checkpoint", "node": "1", "file": "sd15.safetensors", "reason": "no baseline"}
        ],
        "unmeasured": [{"name": "hint.png", "kind": "image", "node": "9", "reason": "a hint image"}],
        "models": [{"file": "sd15.safetensors", "kind": "checkpoint", "sha256": "b" * 64, "autov2": "b" * 10}],
        "seeds": range(6),
        "settings": AuditSettings(seeds=6),
        "reference": {"count": 5, "images": [{"file": "wave.jpg", "pixel_sha256": "c" * 64}]},
        "preprocessing": "some-id",
        "environment": describe_environment(comfyui="0.8.0"),
        "workflow": {"1": {"class_type": "KSampler", "inputs": {"seed": 2**64 - 1}}},
        "deterministic": True,
        "warnings": [{"code": "reference_is_input", "message": "An input image matches a reference."}],
    }
    return build_report(evaluation(), **(arguments | changes))


def schema_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_report_schema", ROOT / "tools" / "make_report_schema.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_published_schema_is_current() -> None:
    published = (ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8")
    assert json.loads(published) == schema_tool().make_schema(), "run tools/make_report_schema.py"


def test_written_report_fits_the_published_schema(tmp_path: Path) -> None:
    schema = json.loads((ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for report in (full_report(), build_report(evaluation())):
        path = write_report(report, tmp_path / "out")
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
        jsonschema.Draft202012Validator(schema).validate(data)
        assert load_report(path) == report
        assert [file.name for file in path.parent.iterdir()] == ["report.json"]


def test_keys_that_programs_rely_on() -> None:
    data = full_report().model_dump(mode="json")
    assert data["schema_version"] == "1.0"
    assert data["statement"] == "similarity contribution, not a finding of infringement"
    assert {"name", "kind", "node", "file", "sha256", "autov2", "absence", "shapley", "share", "leave_one_out"} <= set(
        data["players"][0]
    )
    assert {"members", "mask", "fid", "kid", "images", "folder", "image_files", "value"} <= set(data["coalitions"][0])
    assert [player["name"] for player in data["players"]] == ["lora", "prompt", "vae"]
    assert data["players"][2]["absence"] == "the checkpoint's own VAE"
    assert data["coalitions"][5]["members"] == ["lora", "vae"]
    assert data["coalitions"][5]["mask"] == 5
    assert data["coalitions"][5]["images"] == 6
    assert data["coalitions"][0]["value"] == 0.0
    assert data["workflow"]["1"]["inputs"]["seed"] == 2**64 - 1
    assert data["settings"]["seeds"] == 6
    assert data["environment"]["comfyui"] == "0.8.0"
    assert {"copyscope", "python", "torch", "numpy"} <= set(data["environment"])


def test_players_agree_with_the_coalitions() -> None:
    report = full_report()
    assert sum(player.shapley for player in report.players) == pytest.approx(report.coalitions[-1].value)
    assert report.ranked()[0].name == "lora"
    assert "“lora” (lora) moves the images most" in report.headline


def test_model_files_are_listed_once_with_their_hashes() -> None:
    report = full_report(
        players=[*PLAYERS[:2], {"name": "prompt", "kind": "lora", "file": "x.safetensors", "sha256": "d" * 64}]
    )
    assert [(item.file, item.sha256) for item in report.models] == [
        ("sd15.safetensors", "b" * 64),
        ("x.safetensors", "d" * 64),
    ]


def test_hashes_go_to_the_components_that_name_the_file() -> None:
    report = full_report(
        players=[*PLAYERS[:2], {"name": "prompt", "kind": "clip", "files": ["clip_l.st", "t5.st"], "absence": None}],
        models=[
            {"file": "t5.st", "sha256": "e" * 64, "autov2": "e" * 10},
            {"file": "clip_l.st", "kind": "vae", "sha256": "0" * 64},
            {"file": "clip_l.st", "kind": "clip", "sha256": "f" * 64, "autov2": "f" * 10},
        ],
    )
    player = report.players[1]
    assert (player.file, player.sha256, player.autov2) == ("clip_l.st", "f" * 64, "f" * 10)
    assert [item.file for item in report.models] == ["t5.st", "clip_l.st", "clip_l.st", "sd15.safetensors"]
    assert report.locked[0].sha256 is None


def test_a_plans_summary_fits_as_it_is() -> None:
    report = full_report(
        unmeasured=[{"node": "9", "class_type": "LoadImage", "what": "the image hint.png", "reason": "no player"}],
        warnings=["A sentence of the plan."],
    )
    item = report.unmeasured[0]
    assert (item.name, item.kind, item.node, item.class_type) == ("the image hint.png", "input", "9", "LoadImage")
    assert report.warnings[0].message == "A sentence of the plan."


def test_warnings_of_the_run() -> None:
    codes = [warning.code for warning in full_report(seeds=[0], deterministic=False).warnings]
    assert codes == ["reference_is_input", "non_deterministic", "one_seed", "few_images"]
    assert "one_seed" not in [warning.code for warning in full_report().warnings]


def test_time_is_utc() -> None:
    noon = datetime(2025, 3, 1, 12, 0, 5, 9, tzinfo=timezone(timedelta(hours=2)))
    assert full_report(created=noon).created == "2025-03-01T10:00:05Z"


def test_records_of_other_players_are_refused() -> None:
    with pytest.raises(GameError, match=r"records are for the players vae, lora, the results for lora, prompt, vae"):
        full_report(players=PLAYERS[:2])


def test_a_record_that_does_not_fit_is_named() -> None:
    with pytest.raises(CopyScopeError, match="LockedComponent record does not fit the report: name: Field required"):
        full_report(locked=[{"kind": "vae"}])


def test_numbers_that_are_not_finite_become_null() -> None:
    data = plain({"a": math.nan, 1: [np.float32("inf"), np.int64(3), (True, None)], "b": np.array([1.5, np.nan])})
    assert data == {"a": None, "1": [None, 3, [True, None]], "b": [1.5, None]}
    report = full_report(workflow={"1": {"inputs": {"cfg": math.inf}}}, settings={"x": math.nan})
    assert report.workflow == {"1": {"inputs": {"cfg": None}}}
    json.dumps(report.model_dump(mode="json"), allow_nan=False)


def test_any_text_can_be_written(tmp_path: Path) -> None:
    odd = "caf\udce9 \u202e 名前 \x1b[31m"
    report = full_report(
        locked=[{"name": odd, "kind": "vae"}],
        workflow={"1": {"inputs": {odd: odd}}},
        images={0: [{"file": odd}]},
    )
    data = json.loads(write_report(report, tmp_path).read_text(encoding="utf-8"))
    assert data["locked"][0]["name"] == "caf\\udce9 \u202e 名前 \x1b[31m"
    assert "\x1b" not in summary_text(report)


def test_no_images_no_seeds_no_provenance() -> None:
    report = build_report(evaluation((1.0,), n=1, m=1))
    assert report.coalitions[0].kid is None
    assert report.players[0].kid_shapley is None
    assert report.players[0].kind == "component"
    assert report.reference.count == 1
    assert "moves the images towards the reference, by " in report.headline


@pytest.mark.parametrize(
    ("shifts", "start"),
    [
        ((0.0, 0.0), "No component changes"),
        ((-1.0, -0.5), "No component moves the images towards the reference; “lora”"),
    ],
)
def test_headlines_of_sad_games(shifts: tuple[float, ...], start: str) -> None:
    report = build_report(evaluation(shifts))
    assert report.headline.startswith(start)
    assert "component" in summary_text(report)


def test_summary_is_an_aligned_table_with_its_warnings() -> None:
    text = summary_text(full_report())
    lines = text.splitlines()
    header = next(line for line in lines if line.startswith("component"))
    row = next(line for line in lines if line.startswith("lora"))
    assert len(header) == len(row)
    assert "Locked, not measured: sd15 (checkpoint)" in lines
    assert "Warning: An input image matches a reference." in lines
    assert lines[-1] == "Similarity contribution, not a finding of infringement."


def test_numbers_as_text() -> None:
    assert number(-1234.5) == "−1,234.50"
    assert signed(0.004) == signed(-0.004) == signed(0.0) == "0.00"
    assert signed(1.0) == "+1.00"
    assert percent(-0.1234) == "−12.3%"
    assert number(None) == signed(None) == percent(None) == "–"
    assert clip("名前名前名前", 7) == "名前名…"
    assert columns(clip("a" * 50, 10)) == 10


def test_reading_what_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(CopyScopeError, match="cannot be read"):
        load_report(tmp_path / "none.json")
    (tmp_path / "x.json").write_text('{"schema_version": "9.0"}', encoding="utf-8")
    with pytest.raises(CopyScopeError, match=r"no CopyScope report of schema 1\.0"):
        load_report(tmp_path / "x.json")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(StoreError):
        write_report(full_report(), tmp_path / "file")
