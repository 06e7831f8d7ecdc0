"""Copies of one LoRA in a plan, by the fingerprints that a server or a folder gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_workflows import base, lora
from fakecomfy import FakeComfy

from copyscope_core.auditing.servers import ServerChoice
from copyscope_core.auditing.session import run_plan
from copyscope_core.errors import CopyScopeError, PlayerError
from copyscope_core.planning.plan import Plan, make_plan
from copyscope_core.planning.twin_players import lora_files, twin_cautions, with_twins
from copyscope_core.settings import AuditSettings, parse_groups
from copyscope_core.twins.sketch import LENGTH, SKETCH_ID
from copyscope_core.twins.twins import Fingerprint
from copyscope_core.workflow.node_info import bundled_catalog

AUTO = AuditSettings(seeds=2, groups={"auto": ()})


def three_loras() -> dict[str, Any]:
    """Three LoRAs one after the other."""
    names = ("style", "style-v2", "other")
    before = ("1", "20", "21")
    chain = {str(k + 20): lora(f"{name}.safetensors", before[k], before[k]) for k, name in enumerate(names)}
    return {**base(clip="22", model="22"), **chain}


def sketch(seed: int, noise: float = 0.0) -> list[float]:
    draws = np.random.default_rng(seed)
    return (draws.normal(size=LENGTH) + noise * np.random.default_rng(99).normal(size=LENGTH)).tolist()


def planned(settings: AuditSettings, known: dict[str, Fingerprint]) -> Plan:
    def make(chosen: AuditSettings) -> Plan:
        return make_plan(three_loras(), bundled_catalog(), chosen)

    return with_twins(make(settings), known, make)


KNOWN = {"style.safetensors": Fingerprint("1" * 64), "style-v2.safetensors": Fingerprint("1" * 64)}


def test_copies_are_proposed_and_only_auto_groups_them() -> None:
    plan = planned(AuditSettings(), KNOWN)
    assert set(lora_files(plan)) == {"style", "style-v2", "other"}
    assert plan.summary()["twins"] == [{"players": ["style", "style-v2"], "cosine": 1.0}]
    assert plan.summary()["groups"] == {}
    (caution,) = twin_cautions(plan)
    assert caution["code"] == "same_model"
    assert "“style”, “style-v2” are copies of one model (cosine of their changes 1.000)" in caution["message"]

    joined = planned(AUTO, KNOWN)
    assert joined.summary()["groups"]["copies of style"] == ["style", "style-v2"]
    assert joined.settings.groups == {"copies of style": ("style", "style-v2")}
    assert twin_cautions(joined) == []


def test_without_copies_auto_groups_nobody_and_what_cannot_be_told_is_said() -> None:
    plan = planned(AUTO, {"style.safetensors": Fingerprint("2" * 64)})
    assert (plan.twins, plan.summary()["groups"]) == ((), {})
    assert not any("Copies" in warning for warning in plan.warnings)
    assert any("Copies of LoRAs are told only where the files are" in text for text in planned(AUTO, {}).warnings)


def test_a_copy_that_is_in_a_group_already_is_refused() -> None:
    settings = AuditSettings(groups={"auto": (), "Jane": ("style", "other")})
    with pytest.raises(PlayerError, match="'style' is in the groups 'Jane' and 'copies of style'"):
        planned(settings, KNOWN)


def test_auto_is_a_group_without_players_and_may_be_the_name_of_one_with_some() -> None:
    assert parse_groups(["auto", "Jane = a, b"]) == {"auto": (), "Jane": ("a", "b")}
    assert parse_groups(["auto = a, b"]) == {"auto": ("a", "b")}
    with pytest.raises(CopyScopeError, match="a group has no name or no players"):
        AuditSettings.of({"groups": {"Jane": ()}})


def test_a_server_with_the_pack_tells_near_copies(server: FakeComfy, tmp_path: Path) -> None:
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(three_loras()), encoding="utf-8")
    server.sketches = {
        "style.safetensors": {"sha256": "1" * 64, "id": SKETCH_ID, "sketch": sketch(1)},
        "style-v2.safetensors": {"sha256": "2" * 64, "id": SKETCH_ID, "sketch": sketch(1, noise=0.1)},
        "other.safetensors": {"sha256": "3" * 64, "id": "another way", "sketch": sketch(1)},
    }
    plan = run_plan(path, AUTO, ServerChoice((server.url,)))
    (twins,) = plan.twins
    assert twins.names == ("style", "style-v2")
    assert 0.98 < twins.cosine < 1
    assert "copies of style" in plan.group_names


@pytest.mark.parametrize(
    "answer", [None, [], {"sketch": "x"}, {"sha256": 5, "id": SKETCH_ID, "sketch": [1e400] * LENGTH}]
)
def test_what_a_server_says_otherwise_tells_nothing(server: FakeComfy, tmp_path: Path, answer: Any) -> None:
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(three_loras()), encoding="utf-8")
    server.sketches = dict.fromkeys(("style.safetensors", "style-v2.safetensors"), answer)
    assert run_plan(path, AuditSettings(), ServerChoice((server.url,))).twins == ()
