"""What a structural digest tells apart, and what it takes for the same."""

from __future__ import annotations

import pytest

from copyscope_core.players.absence import Absence, Edit
from copyscope_core.players.rewrite import RERUN_INPUT, Rewriter, digests, structural_digest
from copyscope_core.workflow.graph import Graph, Link, Node
from copyscope_core.workflow.noise import NoiseInput


def loads(slot: int) -> Graph:
    """A decoder that takes an output of a loader."""
    return {"1": Node("Loader", {"name": "a"}), "2": Node("Decode", {"samples": Link("1", slot)})}


def test_links_to_two_outputs_of_one_node_are_told_apart() -> None:
    assert digests(loads(0), "2")["1"] == digests(loads(1), "2")["1"]
    assert digests(loads(0), "2")["2"] != digests(loads(1), "2")["2"]


def test_coalitions_that_differ_in_an_outputs_slot_alone_are_two_nodes() -> None:
    graph = loads(0)
    absence = Absence("takes the loader's other output", edits=(Edit("2", "samples", Link("1", 1)),))
    rewriter = Rewriter(graph, graph, Link("2", 0), [absence], [])
    assert rewriter.target(1) != rewriter.target(0)
    assert [node.inputs.get("samples") for node in rewriter.graph(0)[0].values()] == [None, Link("1", 1)]
    assert [node.inputs.get("samples") for node in rewriter.graph(1)[0].values()] == [None, Link("1", 0)]


@pytest.mark.parametrize(
    "other",
    [
        Node("B", {"x": 1, "y": {"k": 1, "l": 2}}),
        Node("A", {"x": 2, "y": {"k": 1, "l": 2}}),
        Node("A", {"z": 1, "y": {"k": 1, "l": 2}}),
        Node("A", {"x": "1", "y": {"k": 1, "l": 2}}),
        Node("A", {"x": Link("1", 0), "y": {"k": 1, "l": 2}}),
        Node("A", {"x": 1, "y": {"k": 2, "l": 1}}),
        Node("A", {"x": 1}),
    ],
)
def test_another_class_name_or_value_is_another_node(other: Node) -> None:
    assert structural_digest(other) != structural_digest(Node("A", {"x": 1, "y": {"k": 1, "l": 2}}))


def test_a_link_under_another_name_is_another_node() -> None:
    positive, negative = (Node("Sampler", {name: Link("1", 0)}) for name in ("positive", "negative"))
    assert structural_digest(positive) != structural_digest(negative)


def test_order_and_title_do_not_count() -> None:
    one = Node("A", {"x": 1, "y": {"k": 1, "l": 2}}, "One title")
    same = Node("A", {"y": {"l": 2, "k": 1}, "x": 1}, "another")
    assert structural_digest(one) == structural_digest(same)


def test_a_nonce_makes_the_first_seed_run_again_and_nothing_else() -> None:
    graph: Graph = {"1": Node("Loader", {}), "2": Node("Sampler", {"model": Link("1", 0), "seed": 7})}
    rewriter = Rewriter(graph, graph, Link("2", 0), [], [NoiseInput("2", "seed", 7)])
    again, target = rewriter.graph(0, 0, "word")
    assert again[target.node].inputs[RERUN_INPUT] == "word"
    assert again[target.node].inputs["seed"] == 7
    assert RERUN_INPUT not in again["1"].inputs
    assert rewriter.target(0, 0, "word") != rewriter.target(0, 0)
