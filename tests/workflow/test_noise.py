"""Which seeds are shifted, and which constants links resolve to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from copyscope_core.errors import WorkflowError
from copyscope_core.workflow.graph import Graph, Link, Node, parse_graph
from copyscope_core.workflow.node_info import bundled_catalog
from copyscope_core.workflow.noise import Constants, NoiseInput, noise_inputs, untouched_seeds

CASES = Path(__file__).resolve().parent.parent / "data" / "cases"


def found(graph: Graph) -> list[NoiseInput]:
    return noise_inputs(graph, bundled_catalog())


def advanced(**inputs: Any) -> Graph:
    return {"3": Node("KSamplerAdvanced", {"noise_seed": 7, **inputs})}


@pytest.mark.parametrize("word", ["disable", False, Link("1", 0)])
def test_a_sampler_that_adds_no_noise_has_no_active_seed(word: object) -> None:
    graph = {"1": Node("PrimitiveString", {"value": "disable"}), **advanced(add_noise=word)}
    assert found(graph) == []
    assert untouched_seeds(graph, []) == []


@pytest.mark.parametrize("inputs", [{}, {"add_noise": "enable"}, {"add_noise": True}])
def test_any_other_sampler_has(inputs: dict[str, object]) -> None:
    graph = advanced(**inputs)
    assert found(graph) == [NoiseInput("3", "noise_seed", 7)]
    assert untouched_seeds(graph, []) == ["3 (KSamplerAdvanced)"]
    assert untouched_seeds(graph, found(graph)) == []


@pytest.mark.parametrize("seed", [True, False, -1, 1.5, "7", None])
def test_a_seed_is_a_whole_number_of_0_or_more(seed: object) -> None:
    with pytest.raises(WorkflowError, match=r"noise_seed.*'3'.*no fixed number"):
        found(advanced(noise_seed=seed))


def test_every_seed_of_a_node_that_nobody_knows_counts() -> None:
    graph = {"9": Node("SomebodysSampler", {"seed": 1, "noise_seed": 2})}
    assert {(item.input, item.seed) for item in found(graph)} == {("seed", 1), ("noise_seed", 2)}


def test_a_seed_through_a_primitive_is_its_constant() -> None:
    graph = {"1": Node("PrimitiveInt", {"value": 5, "control_after_generate": "fixed"})}
    assert found({**graph, **advanced(noise_seed=Link("1", 0))}) == [NoiseInput("3", "noise_seed", 5)]


@pytest.mark.parametrize(
    "node",
    [
        Node("PrimitiveInt", {"value": 5, "other": 6}),
        Node("PrimitiveInt", {}),
        Node("RandomNumber", {"value": 5}),
    ],
)
def test_what_is_computed_is_no_constant(node: Node) -> None:
    assert Constants({"1": node}).of(Link("1", 0)) is None


def test_only_a_primitives_first_output_is_its_constant() -> None:
    graph = {"1": Node("PrimitiveInt", {"value": 5})}
    assert Constants(graph).of(Link("1", 0)) == 5
    assert Constants(graph).of(Link("1", 1)) is None


def test_seeds_wrap_at_the_end_of_their_range() -> None:
    assert NoiseInput("3", "seed", 2**64 - 2).shifted(3) == 1
    assert NoiseInput("3", "seed", 5).shifted(0) == 5


def test_a_seed_past_64_bits_is_refused() -> None:
    graph = parse_graph(json.loads((CASES / "seed-past-64-bits.json").read_text(encoding="utf-8")))
    with pytest.raises(WorkflowError, match=r"'seed' of node '5' .* has the seed 36893488147419103232, .*64 bits"):
        found(graph)
    linked = {"1": Node("PrimitiveInt", {"value": 2**64}), "3": Node("KSampler", {"seed": Link("1", 0)})}
    for value in (2**64, 10**4000, Link("1", 0)):
        with pytest.raises(WorkflowError, match="64 bits"):
            found({**linked, "3": Node("KSampler", {"seed": value})})
    assert found({"3": Node("KSampler", {"seed": 2**64 - 1})}) == [NoiseInput("3", "seed", 2**64 - 1)]
