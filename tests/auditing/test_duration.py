"""How long an audit may take, by stored runs and by a probe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from example_workflows import HASHES, with_lora
from fakecomfy import fake_comfy
from images_on_disk import png_bytes

from copyscope_core.auditing.duration import prompts_of, stored_duration
from copyscope_core.auditing.servers import ServerChoice
from copyscope_core.auditing.session import run_plan
from copyscope_core.errors import HostError
from copyscope_core.planning.plan import Plan, make_plan
from copyscope_core.settings import AuditSettings
from copyscope_core.store.run_store import RunStore
from copyscope_core.store.runs import STATE_VARIABLE, register_run
from copyscope_core.workflow.graph import to_json
from copyscope_core.workflow.node_info import bundled_catalog


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))


def planned(text: str = "a wave", steps: int = 4, seeds: int = 2) -> Plan:
    workflow = with_lora(text)
    workflow["3"]["inputs"] |= {"steps": steps, "seed": len(text)}
    return make_plan(workflow, bundled_catalog(), AuditSettings(seeds=seeds))


def stored_run(folder: Path, plan: Plan, *seconds: object) -> None:
    store = RunStore(folder)
    store.write_run({"workflow": to_json(plan.graph)})
    for number, took in enumerate(seconds):
        store.write(f"{number:064x}", [png_bytes(number)], {"seconds": took})
    register_run(folder)


def test_prompts_of_an_audit() -> None:
    assert prompts_of(planned(seeds=2)) == 4 * 2 + 1 + 2


def test_stored_runs_of_such_a_workflow_tell_the_time(tmp_path: Path) -> None:
    assert stored_duration(planned()) is None
    stored_run(tmp_path / "slow", planned(steps=50), 100.0)
    stored_run(tmp_path / "run", planned("another text"), 2.0, 4.0, None, "long", -1, True)
    found = stored_duration(planned(seeds=8), servers=2)
    assert found is not None
    assert (found.each, found.prompts, found.measured) == (3.0, 35, 2)
    assert (found.seconds, found.source) == (pytest.approx(35 * 3 / 2), "stored")
    assert found.where == str(tmp_path / "run")


def test_a_probe_runs_the_full_coalition_at_two_seeds(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    path.write_text(json.dumps(with_lora()), encoding="utf-8")
    with pytest.raises(HostError, match="give --server or --comfyui"):
        run_plan(path, AuditSettings(), ServerChoice(), probe=True)
    with fake_comfy() as server:
        server.hashes, server.seconds = dict(HASHES), 0.1
        plan = run_plan(path, AuditSettings(), ServerChoice((server.url,)), probe=True)
        prompts = server.prompts
    assert plan.duration is not None
    assert (plan.duration.source, plan.duration.measured, plan.duration.where) == ("probe", 2, server.url)
    assert plan.duration.seconds >= 35 * 0.1
    seeds = [node["inputs"]["seed"] for prompt in prompts for node in prompt.values() if "seed" in node["inputs"]]
    assert seeds == [5, 6]
    assert all("copyscope_rerun" in json.dumps(prompt) for prompt in prompts)
    assert all("style.safetensors" in json.dumps(prompt) for prompt in prompts)
