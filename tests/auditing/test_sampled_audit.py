"""Audits that run a sample of the coalitions, and audits with groups, against a stand-in server."""

from __future__ import annotations

from pathlib import Path

import pytest
from example_workflows import Workflow, node, with_lora
from fakecomfy import FakeComfy
from images_on_disk import MeanColours

from copyscope_core.errors import GameError, PlayerError, TooManyCoalitionsError
from copyscope_core.evidence.verify import Verifier
from copyscope_core.planning.own_nodes import embedded_settings
from copyscope_core.planning.plan import Plan, make_plan
from copyscope_core.settings import AuditSettings
from copyscope_core.workflow.graph import parse_graph
from copyscope_core.workflow.node_info import bundled_catalog
from tests.auditing.test_audit import audit, results

WORDS = ("a wave", "by hokusai", "at dusk", "with boats", "in ink", "of foam", "under snow")
"""Seven phrases and a LoRA: eight players, 256 coalitions."""


def eight() -> Workflow:
    return with_lora(", ".join(WORDS))


def plan(**settings: object) -> Plan:
    return make_plan(eight(), bundled_catalog(), AuditSettings(key_prompts=WORDS, **settings))  # type: ignore[arg-type]


def test_a_sample_stays_within_its_budget_and_says_so(server: FakeComfy, tmp_path: Path) -> None:
    result = audit(server, tmp_path, eight(), key_prompts=WORDS, budget=44)
    report = result.report
    assert report.sampling is not None
    assert (report.sampling.of, report.sampling.budget, report.sampling.estimator) == (256, 44, "regression")
    assert len(report.coalitions) == report.sampling.coalitions <= 44
    assert report.sampling.stopped == "budget"
    assert [report.coalitions[0].members, len(report.coalitions[-1].members)] == [[], 8]
    assert sum(player.shapley for player in report.players) == pytest.approx(report.coalitions[-1].value)
    assert all(player.sampling_interval and player.shapley_interval for player in report.players)
    assert all(player.ablation is None for player in report.players)
    (said,) = [warning.message for warning in report.warnings if warning.code == "sampled"]
    assert "44 were run" in said and "Interactions, the ablation" in said
    assert report.interactions == []
    held = Verifier(tmp_path / "out", MeanColours()).run()
    assert held.findings == ()
    path = tmp_path / "out" / "report.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"stopped": "budget"', '"stopped": "target"'), "utf-8")
    changed = Verifier(tmp_path / "out", MeanColours()).run()
    assert "report.json: sampling.stopped" in [finding.what for finding in changed.findings]


def test_a_larger_budget_runs_only_what_is_new(server: FakeComfy, tmp_path: Path) -> None:
    first = audit(server, tmp_path, eight(), key_prompts=WORDS, budget=34)
    again = audit(server, tmp_path, eight(), key_prompts=WORDS, budget=34)
    assert again.sampled == 0
    assert results(again.report) == results(first.report)
    more = audit(server, tmp_path, eight(), key_prompts=WORDS, budget=44)
    old, new = ({item.mask for item in run.report.coalitions} for run in (first, more))
    assert old < new
    assert more.sampled <= 2 * len(new - old) + 4  # and canaries


def test_a_wide_target_stops_at_the_second_look(server: FakeComfy, tmp_path: Path) -> None:
    report = audit(server, tmp_path, eight(), key_prompts=WORDS, budget=200, target_width=2.0).report
    assert report.sampling is not None
    assert (report.sampling.coalitions, report.sampling.stopped) == (46, "target")


@pytest.mark.parametrize(
    ("estimator", "budget", "few"), [("permutation", 38, True), ("permutation", 120, False), ("regression", 38, False)]
)
def test_few_orders_are_warned_about(server: FakeComfy, tmp_path: Path, estimator: str, budget: int, few: bool) -> None:
    report = audit(server, tmp_path, eight(), key_prompts=WORDS, budget=budget, estimator=estimator).report
    assert report.sampling is not None
    assert ("few_orders" in [warning.code for warning in report.warnings]) is few


def test_groups_give_each_author_a_share(server: FakeComfy, tmp_path: Path) -> None:
    groups = {"Jane": ("prompt: by hokusai", "prompt: a wave")}
    words = WORDS[:2]
    report = audit(server, tmp_path, with_lora(", ".join(words)), key_prompts=words, groups=groups).report
    assert [(group.name, group.members) for group in report.groups] == [
        ("style", ["style"]), ("Jane", ["prompt: a wave", "prompt: by hokusai"]),
    ]  # fmt: skip
    jane = report.groups[1]
    assert jane.shapley == pytest.approx(sum(p.shapley for p in report.players if p.group == "Jane"))
    assert jane.shapley_interval is not None and jane.share_interval is not None
    assert report.sampling is None
    assert len(report.coalitions) == 8
    assert {player.group for player in report.players} == {"style", "Jane"}


def test_plan_says_what_each_mode_costs() -> None:
    modes = {cost.mode: cost for cost in plan(seeds=2).costs}
    assert (modes["exact"].coalitions, modes["exact"].sampler_runs, modes["exact"].chosen) == (256, 512, True)
    assert (modes["sampled"].coalitions, modes["sampled"].sampler_runs) == (30, 60)
    chosen = plan(seeds=2, budget=100)
    assert (chosen.cost.mode, chosen.cost.coalitions, chosen.sampler_runs) == ("sampled", 100, 200)
    assert len(chosen.design.masks) == 30
    names = [f"prompt: {word}" for word in WORDS]
    grouped = plan(seeds=2, groups={"Jane": names[:4], "Joe": names[4:]})
    assert (grouped.cost.mode, grouped.cost.coalitions) == ("grouped", len(grouped.design.masks))
    assert grouped.summary()["groups"] == {"style": ["style"], "Jane": names[:4], "Joe": names[4:]}
    assert grouped.cost.coalitions == 8 + 14 * 4 + 6 * 4


def test_what_is_refused() -> None:
    with pytest.raises(TooManyCoalitionsError, match="run a sample with a budget of 30 coalitions or more"):
        plan(max_coalitions=100)
    with pytest.raises(GameError, match="A budget of 20 coalitions is too small for 8 players"):
        plan(budget=20)
    with pytest.raises(PlayerError, match="is in the groups 'Jane' and 'Joe'"):
        plan(groups={"Jane": ("style",), "Joe": ("lora",)})
    with pytest.raises(PlayerError, match="No component is called 'nobody'"):
        plan(groups={"Jane": ("nobody",)})
    with pytest.raises(ValueError, match="target_width needs a budget"):
        AuditSettings(target_width=0.1)


def test_settings_of_the_settings_and_fid_nodes_in_a_workflow() -> None:
    workflow = eight()
    workflow["20"] = node("CopyScopeSettings", budget=64, target_width=0.0, estimator="permutation",
                          groups="Jane = style, a wave\n")  # fmt: skip
    workflow["21"] = node("CopyScopeCoalitionEnumerator", image=["8", 0], seeds=3, settings=["20", 0])
    workflow["22"] = node("CopyScopeFID", coalitions=["21", 0], reference_folder="x", distance="kid")
    assert embedded_settings(parse_graph(workflow)) == {
        "seeds": 3, "budget": 64, "estimator": "permutation", "groups": {"Jane": ("style", "a wave")},
        "distance": "kid",
    }  # fmt: skip
