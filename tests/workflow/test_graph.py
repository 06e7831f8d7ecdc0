import sys

import pytest
from example_workflows import base, node

from copyscope_core.errors import WorkflowError
from copyscope_core.workflow.graph import Link, Node, parse_graph, to_json, topological_order, upstream


def test_round_trip() -> None:
    assert to_json(parse_graph(base())) == base()


def test_prompt_body_is_unwrapped() -> None:
    assert parse_graph({"prompt": base(), "client_id": "x"}) == parse_graph(base())


def test_the_run_of_a_history_is_unwrapped() -> None:
    entry = {"prompt": [1, "0a1b", base(), {}, ["9"]], "outputs": {}, "status": {}}
    assert parse_graph({"0a1b": entry}) == parse_graph(entry) == parse_graph(base())
    with pytest.raises(WorkflowError, match="history holds 2 runs where one is needed; keep the entry of one"):
        parse_graph({"0a1b": entry, "2c3d": entry})


def test_upstream_leaves_out_what_is_not_needed() -> None:
    graph = parse_graph({**base(), "20": node("EmptyImage", width=8, height=8)})
    assert set(upstream(graph, "8")) == set(base()) - {"9"}


def test_links_follow_comfyui_rule() -> None:
    graph = parse_graph({"1": node("A"), "2": node("B", pair=[1, 2], names=["x"], linked=["1", 0], flag=["1", True])})
    assert dict(graph["2"].links()) == {"linked": Link("1", 0)}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "not a JSON object"),
        ({}, "not a JSON object"),
        ({"nodes": [], "links": []}, "UI format"),
        ({"1": {"inputs": {}}}, "Node '1' of the workflow has no class_type"),
        ({"1": {"class_type": "A", "inputs": 3}}, "inputs of node '1'"),
        ({"1": node("A", x=["7", 0])}, "links to node '7', which is not in the workflow"),
        ({"1": node("A", x=["2", 0]), "2": node("B", y=["1", 0])}, "cycle through node"),
        ({"1": node("A", x=["1", 0])}, "cycle through node '1'"),
    ],
)
def test_malformed_workflows_get_a_sentence(data, sentence) -> None:
    with pytest.raises(WorkflowError, match=sentence):
        parse_graph(data)


def test_long_chains_do_not_recurse() -> None:
    length = sys.getrecursionlimit() * 3
    data = {"0": node("A")} | {str(i): node("A", x=[str(i - 1), 0]) for i in range(1, length)}
    assert topological_order(parse_graph(data), [str(length - 1)])[-1] == str(length - 1)


def test_a_title_makes_no_other_node() -> None:
    assert Node("A", {"x": 1}, "one title") == Node("A", {"x": 1}, "another") == Node("A", {"x": 1})
    assert Node("A", {"x": 1}) != Node("A", {"x": 2})
