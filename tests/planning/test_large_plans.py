"""Workflows of thousands of nodes: planned in time in proportion, and refused at once where they are too large."""

from __future__ import annotations

import contextlib
import sys
from types import FrameType
from typing import Any

import pytest
from example_workflows import base, node

from copyscope_core.errors import GameError, TooManyCoalitionsError, WorkflowError
from copyscope_core.planning.own_nodes import embedded_settings
from copyscope_core.planning.plan import make_plan
from copyscope_core.settings import AuditSettings
from copyscope_core.workflow.graph import Link, parse_graph
from copyscope_core.workflow.node_info import NodeCatalog, bundled_catalog
from copyscope_core.workflow.noise import Constants
from tests.fuzz.limits import time_limit
from tests.planning.large_workflows import GROWING, catalog, latents, lora_chain, lora_stack, previews, wide
from tests.planning.test_plan import plan


def calls(name: str, nodes: int) -> int:
    """Function calls of two plans: one of all players, one in which only the prompt is a player.

    Counted, not timed: the count is the same on every machine, however busy.
    """
    workflow = parse_graph(GROWING[name](nodes))
    classes = catalog()
    count = 0

    def seen(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        for players in ((), ("prompt",)):
            with contextlib.suppress(TooManyCoalitionsError):
                make_plan(workflow, classes, AuditSettings(players=players))
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", GROWING)
def test_planning_takes_work_in_proportion_to_the_nodes(name: str) -> None:
    calls(name, 50)  # what is made once
    small, large = calls(name, 150), calls(name, 1800)
    assert large < 1.5 * 12 * small  # of 12 times the nodes; a quadratic way takes 144 times as many


@pytest.mark.parametrize("name", GROWING)
def test_planning_of_many_nodes_comes_to_an_end(name: str) -> None:
    """What the count of calls does not see: a slow way inside one call."""
    with time_limit(60), contextlib.suppress(TooManyCoalitionsError):
        make_plan(parse_graph(GROWING[name](4000)), catalog(), AuditSettings())


@pytest.mark.parametrize(
    ("workflow", "players"),
    [(lora_chain(1500), 1501), (lora_stack(15_000), 15_001), (lora_stack(15_000, "same.safetensors"), 15_001)],
    ids=["chain", "stack", "stack of one file"],
)
def test_thousands_of_players_are_refused_at_once_with_the_count(workflow, players) -> None:
    with time_limit(), pytest.raises(TooManyCoalitionsError) as raised:
        plan(workflow)
    sentence = str(raised.value)
    assert sentence.startswith(f"{players} players make 2^{players:,} coalitions, more than max_coalitions = 256; lock")
    assert sentence.endswith(f"and {players - 48:,} more) until at most 48 are left, who can be sampled with a budget.")
    assert len(sentence) < 2000


def test_numbers_too_long_to_write_are_no_bare_errors() -> None:
    with time_limit():
        with pytest.raises(GameError, match="There are 15,001 players; at most 48 can be sampled"):
            plan(lora_stack(15_000), budget=100)
        with pytest.raises(TooManyCoalitionsError, match=r"make more than 2\^7,502 coalitions"):
            halves = {"one": [f"{number}" for number in range(7500)], "two": [f"{n}" for n in range(7500, 15_000)]}
            plan(lora_stack(15_000), groups=halves)
        batches = {**base(), "b0": node("RepeatLatentBatch", samples=["5", 0], amount=64)}
        for number in range(1, 3000):
            batches[f"b{number}"] = node("RepeatLatentBatch", samples=[f"b{number - 1}", 0], amount=64)
        batches["3"]["inputs"]["latent_image"] = ["b2999", 0]
        with pytest.raises(WorkflowError, match=r"multiply to more than 2,147,483,648 images a prompt .*node 'b5'"):
            plan(batches)
        slots = {"lora_name_" + "1" * 5000: "a.safetensors", "lora_name_1": "b.safetensors", "lora_count": 1}
        stack = {**base(), "20": node("LoRA Stacker", **slots)}
        stack["21"] = node("CR Apply LoRA Stack", model=["1", 0], clip=["1", 1], lora_stack=["20", 0])
        stack["3"]["inputs"]["model"] = ["21", 0]
        assert "b" in plan(stack).names


def test_games_too_large_for_the_exact_value_are_refused() -> None:
    with time_limit():
        with pytest.raises(GameError, match=r"for 31 players needs 2,147,483,648 coalitions; .* at most 16,777,216"):
            plan(lora_chain(30), max_coalitions=2**40)
        with pytest.raises(GameError, match="for at most 48 players in groups"):
            groups = {f"g{n}": [f"{k}" for k in range(7 * n, 7 * n + 7)] for n in range(7)}
            plan(lora_chain(49), max_coalitions=2**40, groups=groups)
    assert plan(lora_chain(20), budget=100).cost.mode == "sampled"


def test_long_rows_are_planned_right() -> None:
    with time_limit():
        p = plan(latents(3000))
        assert len(p.graph) == 3006
        assert len(p.rewriter.graph(0)[0]) == 3006
        assert plan(previews(3000), catalog()).graph["inverted"].inputs["image"] == Link("8", 0)
        copies = [n for n in plan(wide(2000)).rewriter._base if "+positive" in n]
        assert sorted(copies) == ["6+positive", "all+positive", "many+positive1999"]


def test_sampler_runs_of_large_games_are_bounded_and_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = lora_chain(7)
    last = "3"
    for number in range(200):
        sampler = {**workflow["3"]["inputs"], "latent_image": [last, 0]}
        workflow[f"s{number}"] = node("KSampler", **sampler)
        last = f"s{number}"
    workflow["8"]["inputs"]["samples"] = [last, 0]
    workflow["3"]["inputs"]["model"] = ["1", 0]
    for encoder in ("6", "7"):
        workflow[encoder]["inputs"]["clip"] = ["1", 1]  # so the first sampler depends on the prompt alone
    assert plan(workflow, seeds=1).sampler_runs == 2 + 2**8 * 200
    monkeypatch.setattr("copyscope_core.planning.cost.COUNTED_NODES", 10_000)
    assert plan(workflow, seeds=1).sampler_runs == 2**8 * 201


def test_a_list_of_many_files_is_checked_in_one_look_each() -> None:
    files = [f"{number}.safetensors" for number in range(4000)]
    raw = dict(bundled_catalog()._raw)
    for name, field in (("LoraLoader", "lora_name"), ("CheckpointLoaderSimple", "ckpt_name")):
        required = {**raw[name]["input"]["required"], field: [[*files, "dream.safetensors"], {}]}
        raw[name] = {**raw[name], "input": {**raw[name]["input"], "required": required}}
    with time_limit():
        make_plan(lora_chain(4000), NodeCatalog(raw, live=True), AuditSettings(players=("prompt",)))


def test_many_enumerators_share_one_players_node() -> None:
    workflow = base()
    workflow["players"] = node("CopyScopePlayers", key_prompts="\n".join(f"phrase {n}" for n in range(5000)))
    for number in range(3000):
        workflow[f"e{number}"] = node("CopyScopeCoalitionEnumerator", image=["8", 0], players=["players", 0])
    with time_limit():
        assert len(embedded_settings(parse_graph(workflow))["key_prompts"]) == 5000


def test_an_image_player_that_is_named_twice_is_one() -> None:
    workflow = base()
    workflow["20"] = node("LoadImage", image="x.png")
    workflow["21"] = node("VAEEncode", pixels=["20", 0], vae=["1", 2])
    workflow["3"]["inputs"]["latent_image"] = ["21", 0]
    assert plan(workflow, image_players=("20", "20")).names == ("prompt", "image: x.png")


def test_constants_behind_primitives() -> None:
    graph = parse_graph(
        {
            "1": node("PrimitiveInt", value=7, control_after_generate="fixed"),
            "2": node("PrimitiveInt", value=["1", 0]),
            "3": node("PrimitiveInt", value=["2", 1]),
            "4": node("PrimitiveInt", value=["5", 0]),
            "5": node("Sum", value=3),
            "6": node("PrimitiveInt", a=1, b=2),
        }
    )
    constants = Constants(graph)
    found = [constants.of(value) for value in (5, None, *(Link(name, 0) for name in "123456"), Link("1", 0))]
    assert found == [5, None, 7, 7, None, None, None, None, 7]
