"""A sampled audit in a graph: it grows while the prompt runs, keeps to its budget, and agrees with the exact one."""

from __future__ import annotations

import asyncio
from typing import Any

from .audits import audited, node, plain, report_of, watched
from .test_graph_audit import sinks

WORDS = ("a wave", "by hokusai", "at dusk", "with boats", "in ink")


def six(**settings: Any) -> dict[str, Any]:
    """A LoRA and five phrases."""
    workflow = plain()
    workflow["6"]["inputs"]["text"] = ", ".join(WORDS)
    result = audited(workflow, seeds=1, key_prompts="\n".join(WORDS))
    if settings:
        result["24"] = node("CopyScopeSettings", **{"budget": 0, "target_width": 0.0, "estimator": "regression",
                                                    "groups": "", **settings})  # fmt: skip
        result["21"]["inputs"]["settings"] = ["24", 0]
    return result


def test_a_sample_grows_in_the_graph_and_agrees_with_the_exact_value(mini_server: Any) -> None:
    ids = asyncio.run(watched(mini_server, six(budget=32))).ids
    sampled = report_of(mini_server.run(six(budget=32)))
    assert sinks(ids) == list(range(len(sampled["coalitions"]) + 1 + 2))  # the full one twice, and canaries once
    assert [canary["holds"] for canary in sampled["canaries"]] == [True, True]
    assert sampled["sampling"]["of"] == 64
    assert 22 < len(sampled["coalitions"]) == sampled["sampling"]["coalitions"] <= 32
    assert report_of(mini_server.run(six(budget=32)))["players"] == sampled["players"]
    exact = report_of(mini_server.run(six()))
    assert exact["sampling"] is None
    assert len(exact["coalitions"]) == 64
    fid = {item["mask"]: item["fid"] for item in exact["coalitions"]}
    assert {item["mask"]: item["fid"] for item in sampled["coalitions"]}.items() <= fid.items()
    within = [
        low <= truth["shapley"] <= high
        for player, truth in zip(sampled["players"], exact["players"], strict=True)
        for low, high in (player["sampling_interval"],)
    ]
    assert sum(within) >= 5, within


def test_groups_in_the_graph(mini_server: Any) -> None:
    report = report_of(
        mini_server.run(six(groups="Jane = prompt: a wave, prompt: by hokusai\nJoe = prompt: in ink, lora"))
    )
    assert [group["name"] for group in report["groups"]].count("Jane") == 1
    total = report["coalitions"][-1]["value"]
    assert abs(sum(group["shapley"] for group in report["groups"]) - total) < 1e-6
