"""What CopyScope Players is told of a workflow."""

from __future__ import annotations

from typing import Any

import pytest
from example_workflows import Workflow, lora, node, with_lora

from copyscope_core.errors import PlayerError, WorkflowError
from copyscope_core.planning.finding import find_players
from copyscope_core.planning.own_nodes import embedded_settings
from copyscope_core.planning.plan import make_plan
from copyscope_core.settings import AuditSettings
from copyscope_core.workflow.graph import Link, parse_graph
from copyscope_core.workflow.node_info import bundled_catalog


def audited(workflow: Workflow, groups: str = "", **players: str) -> Workflow:
    return {
        **workflow,
        "20": node("CopyScopePlayers", **players),
        "21": node("CopyScopeCoalitionEnumerator", image=["8", 0], players=["20", 0], settings=["22", 0], seeds=2),
        "22": node("CopyScopeSettings", groups=groups),
    }


def found(workflow: Workflow, groups: str = "", **players: str) -> dict[str, Any]:
    return find_players(audited(workflow, groups, **players), bundled_catalog(), "20")


def rows(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in answer["components"]}


def test_it_is_the_plans_own_finder() -> None:
    workflow = audited(with_lora(), lock="lora")
    settings = AuditSettings.of(embedded_settings(parse_graph(workflow)))
    plan = make_plan(workflow, bundled_catalog(), settings, Link("8", 0))
    answer = rows(find_players(workflow, bundled_catalog(), "20"))
    assert [name for name, item in answer.items() if item["measured"]] == list(plan.names)
    assert {name: item["reason"] for name, item in answer.items() if not item["measured"]} == {
        component.name: component.reason for component in plan.locked
    }


def test_every_component_is_there_with_its_reason_even_if_none_can_be_measured() -> None:
    answer = rows(found(with_lora(), lock="lora\nprompt"))
    assert {name: item["measurable"] for name, item in answer.items()} == {
        "dream": False, "style": True, "prompt": True,
    }  # fmt: skip
    assert not any(item["measured"] for item in answer.values())
    assert "name a baseline checkpoint" in answer["dream"]["reason"]
    assert answer["style"]["reason"] == "locked by the user"
    assert rows(found(with_lora(), only="lora"))["prompt"]["reason"] == "not among the chosen players"
    assert rows(found(with_lora(), baseline_checkpoint="sd15.safetensors"))["dream"]["measured"]


def test_a_selector_means_its_component_alone() -> None:
    workflow = with_lora("a wave, by hokusai, ukiyo-e")
    workflow["2"] = lora("lora.safetensors", "1", "1")  # its name is a kind
    workflow["4"] = lora("style.safetensors", "2")
    workflow["3"]["inputs"]["model"] = ["4", 0]
    answer = rows(found(workflow, key_prompts="by hokusai, ukiyo-e\na wave"))
    chosen = {name: item["selector"] for name, item in answer.items()}
    assert chosen == {
        "dream": "dream", "lora": "2", "style": "style", "prompt: a wave": "prompt: a wave",
        "prompt: by hokusai, ukiyo-e": None,  # no list of names can hold it, and its node is not its own
    }  # fmt: skip
    for name, selector in chosen.items():
        if selector and answer[name]["measurable"]:
            ticked = rows(found(workflow, key_prompts="by hokusai, ukiyo-e\na wave", only=selector))
            assert [other for other, item in ticked.items() if item["measured"]] == [name]


def test_groups_of_the_settings_node_are_told() -> None:
    answer = rows(found(with_lora(), "Jane = style, prompt"))
    assert {name: item["group"] for name, item in answer.items()} == {"dream": None, "style": "Jane", "prompt": "Jane"}


def test_a_choice_that_fits_nothing_is_told_beside_the_list() -> None:
    answer = found(with_lora(), only="nobody")
    assert "No component is called 'nobody'" in answer["problem"]
    assert len(answer["components"]) == 3
    assert "'dream' cannot be a player" in found(with_lora(), only="dream")["problem"]
    assert found(with_lora())["problem"] is None


def test_loaders_tell_which_baselines_they_take() -> None:
    workflow = with_lora()
    workflow |= {
        "11": node("UNETLoader", unet_name="flux.safetensors", weight_dtype="default"),
        "12": node("DualCLIPLoader", clip_name1="a.safetensors", clip_name2="b.safetensors", type="flux"),
    }
    workflow["2"]["inputs"].update(model=["11", 0], clip=["12", 0])
    answer = found(workflow, baseline_models="11 = other.safetensors\n12.clip_name2 = c.safetensors")
    keys = {
        name: [(b["key"], b["file"], b["chosen"]) for b in item["baselines"]] for name, item in rows(answer).items()
    }
    assert keys["flux"] == [("11", "flux.safetensors", "other.safetensors")]
    assert keys["a"] == [("12.clip_name1", "a.safetensors", None), ("12.clip_name2", "b.safetensors", "c.safetensors")]
    assert keys["style"] == keys["prompt"] == []
    assert set(answer["files"]) == {"UNETLoader.unet_name", "DualCLIPLoader.clip_name1", "DualCLIPLoader.clip_name2"}


def test_input_images_can_be_ticked_and_what_is_left_over_is_told() -> None:
    workflow = with_lora("a wave, embedding:rival, by hokusai")
    workflow["15"] = node("LoadImage", image="start.png")
    workflow["5"] = node("VAEEncode", pixels=["15", 0], vae=["1", 2])
    answer = found(workflow, lock="prompt")
    image = rows(answer)["image: start.png"]
    assert (image["kind"], image["measurable"], image["measured"], image["node"]) == ("image", True, False, "15")
    assert rows(found(workflow, image_players="15"))["image: start.png"]["measured"]
    assert answer["unmeasured"] == []  # the prompt that holds the embedding can be measured
    phrase = found(workflow, key_prompts="by hokusai")
    assert [item["what"] for item in phrase["unmeasured"]] == ["embedding: rival"]


def test_each_players_node_speaks_for_its_own_enumerator() -> None:
    workflow = audited(with_lora(), lock="lora")
    workflow["30"] = node("CopyScopePlayers", lock="prompt")
    workflow["31"] = node("CopyScopeCoalitionEnumerator", image=["8", 0], players=["30", 0])
    for key, locked in (("20", "style"), ("30", "prompt")):
        answer = rows(find_players(workflow, bundled_catalog(), key))
        assert [name for name, item in answer.items() if item["measurable"] and not item["measured"]] == [locked]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"20": node("Other")}, "not part of what would run"),
        ({"21": node("CopyScopeCoalitionEnumerator", image=["8", 0])}, "Wire this node into the players input"),
        ({"21": node("CopyScopeCoalitionEnumerator", players=["20", 0])}, "Wire an image into"),
    ],
)
def test_what_is_not_wired_is_said(change: Workflow, message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        find_players({**audited(with_lora()), **change}, bundled_catalog(), "20")


def test_a_phrase_that_is_nowhere_is_refused() -> None:
    with pytest.raises(PlayerError, match="stands in no positive text"):
        found(with_lora(), key_prompts="by monet")
