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
from reports import report_of

from copyscope_core.errors import CopyScopeError, GameError, StoreError
from copyscope_core.evaluation.evaluate import Evaluation, evaluate
from copyscope_core.report.build import describe_environment, plain, write_report
from copyscope_core.report.report import Report
from copyscope_core.report.text import (
    clip,
    columns,
    number,
    percent,
    shorten,
    signed,
    summary_text,
    towards,
    towards_interval,
)
from copyscope_core.settings import AuditSettings

ROOT = Path(__file__).resolve().parents[2]


def evaluation(
    shifts: tuple[float, ...] = (1.0, 0.5, -0.25), n: int = 6, m: int = 5, own: float = 0.0, **options: Any
) -> Evaluation:
    """``own``: noise of each coalition's own; ``options`` go to `evaluate`, with ``seeds=True`` for known seeds."""
    rng = np.random.default_rng(0)
    noise, reference = rng.normal(size=(n, 16)), rng.normal(size=(m, 16))
    features = {
        mask: noise
        + own * rng.normal(size=noise.shape)
        + 3
        - sum(shift for bit, shift in enumerate(shifts) if mask >> bit & 1)
        for mask in range(2 ** len(shifts))
    }
    if options.pop("seeds", False):
        options["seeds"] = {mask: list(range(n)) for mask in features}
    return evaluate(["lora", "prompt", "vae"][: len(shifts)], features, reference, **options)


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
        "coalitions": {mask: [{"file": "0000.png", "pixel_sha256": "a" * 64, "seed": 0}] for mask in range(8)},
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
    return report_of(evaluation(), **(arguments | changes))


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
    control = np.random.default_rng(1).normal(size=(9, 16))
    for report in (
        full_report(),
        report_of(evaluation()),
        report_of(evaluation(seeds=True, own=0.5, control=control)),
        report_of(evaluation(m=1, seeds=True, distance="kid")),
    ):
        path = write_report(report, tmp_path / "out")
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
        jsonschema.Draft202012Validator(schema).validate(data)
        assert Report.load(path) == report
        assert [file.name for file in path.parent.iterdir()] == ["report.json"]


def test_keys_that_programs_rely_on() -> None:
    data = full_report().model_dump(mode="json")
    assert data["schema_version"] == "1.3"
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
    assert report.headline == "Not decided: there are no intervals, so nothing is known of chance in these numbers."


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


def test_intervals_are_beside_the_plain_numbers() -> None:
    result = evaluation(seeds=True, own=0.5)
    data = report_of(result).model_dump(mode="json")
    for player in data["players"]:
        for key in ("shapley", "share", "kid_shapley"):
            low, high = player[f"{key}_interval"]
            assert low < player[key] < high
    assert sum(player["probability_largest"] for player in data["players"]) == pytest.approx(1)
    for coalition in data["coalitions"]:
        assert coalition["fid_interval"][0] < coalition["fid"] < coalition["fid_interval"][1]
    assert [(item["first"], item["second"]) for item in data["differences"]] == [
        ("lora", "prompt"),
        ("lora", "vae"),
        ("prompt", "vae"),
    ]
    for item in data["differences"]:
        by_name = {player["name"]: player for player in data["players"]}
        assert item["difference"] == pytest.approx(
            by_name[item["first"]]["shapley"] - by_name[item["second"]]["shapley"]
        )
        apart = not item["interval"][0] <= 0 <= item["interval"][1]
        assert (item["second"] not in by_name[item["first"]]["indistinguishable_from"]) == apart
        assert (item["first"] not in by_name[item["second"]]["indistinguishable_from"]) == apart
    assert data["uncertainty"]["level"] == 0.95
    assert data["uncertainty"]["seeds"] == data["uncertainty"]["seed_groups"] == 6
    assert data["uncertainty"]["reference_groups"] == 0
    assert isinstance(data["uncertainty"]["resampling_seed"], int)
    assert data["no_interval"] is None


def test_without_intervals_they_are_null_and_the_reason_is_told() -> None:
    data = report_of(evaluation()).model_dump(mode="json")
    for player in data["players"]:
        for key in ("shapley_interval", "share_interval", "indistinguishable_from", "probability_largest"):
            assert player[key] is None
    assert data["coalitions"][0]["fid_interval"] is None
    assert data["differences"][0]["interval"] is None
    assert data["uncertainty"] is None
    assert "seeds of the images are not known" in data["no_interval"]
    assert data["no_interval"] in summary_text(report_of(evaluation()))
    one = report_of(evaluation(n=1, seeds=True), seeds=[0])
    assert one.no_interval is not None
    assert "One seed was run" in one.no_interval
    assert summary_text(one).count("One seed was run") == 1


def test_interactions_are_listed_by_size() -> None:
    result = evaluation(seeds=True, own=0.5)
    found = report_of(result).interactions
    assert [item.members for item in found] == [
        ["lora"],
        ["prompt"],
        ["vae"],
        ["lora", "prompt"],
        ["lora", "vae"],
        ["prompt", "vae"],
        ["lora", "prompt", "vae"],
    ]
    assert sum(item.n_sii for item in found) == pytest.approx(result.values[-1])
    assert result.pairs is not None
    assert found[4].sii == pytest.approx(result.pairs[0, 2])
    assert [item.sii_interval is None for item in found] == [False] * 6 + [True]
    assert found[3].sii_interval is not None
    assert found[3].sii_interval[0] < found[3].sii < found[3].sii_interval[1]


def test_control_and_contrast_are_beside_the_contribution() -> None:
    control = np.random.default_rng(1).normal(size=(9, 16)) + 1
    result = evaluation(seeds=True, own=0.5, control=control)
    report = report_of(result, control={"count": 9, "images": [{"file": "other.jpg"}]})
    assert report.control is not None
    assert report.control.images[0].file == "other.jpg"
    for player in report.players:
        assert player.contrast is not None
        assert player.contrast_interval is not None
        assert player.contrast_interval[0] < player.contrast < player.contrast_interval[1]
    assert report.coalitions[0].control_distance is not None
    assert "contrast (FID)" in summary_text(report)
    assert report_of(evaluation(), control={"count": 9}).control is None


@pytest.mark.parametrize(("name", "unit"), [("kid", "KID units"), ("mmd", "MMD units")])
def test_another_distance_is_named(name: str, unit: str) -> None:
    result = evaluation(distance=name)
    report = report_of(result)
    assert report.distance == name
    sure = report_of(evaluation((1.0, 0.2), n=20, seeds=True, own=0.2, distance=name))
    assert unit in sure.verdict.reading[0].sentence
    assert "FID" not in sure.verdict.reading[0].sentence
    assert report.coalitions[3].value == pytest.approx(result.chosen[0] - result.chosen[3])
    assert report.coalitions[3].distance == pytest.approx(result.chosen[3])
    assert report.coalitions[3].fid == pytest.approx(result.distance[3])
    assert report.players[0].shapley_mean is None
    assert f"φ ({name.upper()})" in summary_text(report)
    assert f"take the {name.upper()} from" in summary_text(report)
    alone = report_of(evaluation(m=1, distance=name))
    assert alone.coalitions[0].distance is None
    assert f"All components together change the {name.upper()}: " in summary_text(alone)


@pytest.mark.parametrize("version", ["1.1", "1.2", "1.4", None])
def test_reports_of_other_schemas_are_refused(tmp_path: Path, version: str | None) -> None:
    data = report_of(evaluation()).model_dump(mode="json")
    (tmp_path / "old.json").write_text(json.dumps({**data, "schema_version": version}), encoding="utf-8")
    with pytest.raises(CopyScopeError, match=r"no CopyScope report of schema 1\.3"):
        Report.load(tmp_path / "old.json")


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
        coalitions={0: [{"file": odd}]},
    )
    data = json.loads(write_report(report, tmp_path).read_text(encoding="utf-8"))
    assert data["locked"][0]["name"] == "caf\\udce9 \u202e 名前 \x1b[31m"
    assert "\x1b" not in summary_text(report)


def test_no_images_no_seeds_no_provenance() -> None:
    report = report_of(evaluation((1.0,), n=1, m=1))
    assert report.coalitions[0].kid is None
    assert report.players[0].kid_shapley is None
    assert report.players[0].kind == "component"
    assert report.reference.count == 1
    assert report.verdict.value_functions[0].first == report.players[0].name


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


def test_names_are_cut_in_the_middle() -> None:
    assert shorten("model-v2.safetensors", 20) == "model-v2.safetensors"
    assert shorten("a-long-model-v2.safetensors", 20) == "a-long-mod…fetensors"
    assert columns(shorten("a-long-model-v2.safetensors", 20)) == 20
    assert shorten("名前名前名前名前", 7) == "名…前"
    assert shorten("abc", 2) == "a…"
    assert shorten("ab" + "e\u0301" * 20, 9)[-1] == "\u0301"


def test_gains_have_a_direction() -> None:
    assert [towards(value, 1) for value in (80.44, -46.2, 0.0, -0.01, None)] == [
        "80.4 nearer", "46.2 farther", "0.0", "0.0", "–",
    ]  # fmt: skip
    assert towards_interval([8.5, 29.9], 1) == "8.5 to 29.9 nearer"
    assert towards_interval([-91.6, -0.9], 1) == "0.9 to 91.6 farther"
    assert towards_interval([-8.5, 19.2], 1) == "8.5 farther to 19.2 nearer"
    assert towards_interval(None) == "–"


def test_reading_what_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(CopyScopeError, match="cannot be read"):
        Report.load(tmp_path / "none.json")
    (tmp_path / "x.json").write_text('{"schema_version": "9.0"}', encoding="utf-8")
    with pytest.raises(CopyScopeError, match=r"no CopyScope report of schema 1\.3"):
        Report.load(tmp_path / "x.json")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(StoreError):
        write_report(full_report(), tmp_path / "file")
