"""The slot: which loader it is, and what the graphs of a wave are."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from example_workflows import base, lora, node, with_lora
from fakecomfy import OBJECT_INFO

from copyscope_core.errors import WorkflowError
from copyscope_core.planning.plan import make_plan
from copyscope_core.screening.slot import Slot, find_slot
from copyscope_core.settings import AuditSettings
from copyscope_core.workflow.graph import to_json
from copyscope_core.workflow.node_info import NodeCatalog

LORAS = ["style.safetensors", "a.safetensors", "b.safetensors", "c.safetensors"]


def catalog() -> NodeCatalog:
    info = json.loads(OBJECT_INFO.read_text(encoding="utf-8"))
    for name in ("LoraLoader", "LoraLoaderModelOnly"):
        info[name]["input"]["required"]["lora_name"][0] = LORAS
    info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] = ["dream.safetensors", "dark.safetensors"]
    return NodeCatalog(info, live=True)


def slot(workflow: dict[str, Any], where: str | None = None, seeds: int = 2) -> Slot:
    return find_slot(workflow, catalog(), AuditSettings(seeds=seeds), where)


def graph_of(found: Slot, models: list[str], place: int) -> dict[str, Any]:
    graph, target = found.wave(models).rewriter.graph(1 << place if place >= 0 else 0)
    assert target.slot == 0
    return to_json(graph)


def has(item: dict[str, Any]) -> bool:
    return "lora_name" in item["inputs"]


def classes(graph: dict[str, Any], name: str) -> list[str]:
    return sorted(str(next(iter(item["inputs"].values()))) for item in graph.values() if item["class_type"] == name)


def test_each_model_has_the_keys_that_an_audit_of_it_would_have() -> None:
    found = slot(with_lora())
    assert (found.node, found.input, found.kind, found.own) == ("2", "lora_name", "lora", "style.safetensors")
    wave = found.wave(["a.safetensors", "b.safetensors", "c.safetensors"])
    for place, model in enumerate(wave.names):
        changed = with_lora()
        changed["2"]["inputs"]["lora_name"] = model
        audit = make_plan(changed, catalog(), AuditSettings(seeds=2, players=("lora",)))
        for mask, same in ((1 << place, 1), (0, 0)):
            for offset in (0, 1):
                assert wave.rewriter.target(mask, offset) == audit.rewriter.target(same, offset)


def test_a_wave_runs_nothing_but_each_model_alone_and_none() -> None:
    wave = slot(with_lora()).wave(["a.safetensors", "b.safetensors"])
    steps = [(step.mask, step.offset, step.purpose) for step in wave.steps()]
    assert steps == [
        (0, 0, "coalition"), (0, 0, "repeat"), (0, 1, "coalition"), (1, 0, "coalition"), (1, 1, "coalition"),
        (2, 0, "coalition"), (2, 1, "coalition"),
    ]  # fmt: skip
    assert wave.label(2) == "b.safetensors"
    again = pickle.loads(pickle.dumps(wave))  # as Ray sends it
    assert again.rewriter.target(2, 1) == wave.rewriter.target(2, 1)


def test_graphs_hold_one_model_or_none() -> None:
    found = slot(with_lora())
    models = ["a.safetensors", "b.safetensors", "c.safetensors"]
    loaded = [
        [
            item["inputs"]["lora_name"]
            for item in graph_of(found, models, place).values()
            if "lora_name" in item["inputs"]
        ]
        for place in (-1, 0, 1, 2)
    ]
    assert loaded == [[], ["a.safetensors"], ["b.safetensors"], ["c.safetensors"]]
    assert graph_of(found, [], -1) == graph_of(found, models, -1)


def test_another_lora_stays_where_it_is() -> None:
    workflow = {**with_lora(), "20": lora("c.safetensors", "2", "2")}
    workflow["3"]["inputs"]["model"] = ["20", 0]
    for place in (-1, 0):
        graph = graph_of(slot(workflow, "2"), ["a.safetensors"], place)
        names = {item["inputs"]["lora_name"] for item in graph.values() if has(item)}
        assert names == ({"c.safetensors"} if place < 0 else {"a.safetensors", "c.safetensors"})


def test_a_checkpoint_is_absent_where_the_workflows_own_is_there() -> None:
    found = slot(base())
    assert (found.kind, found.own) == ("checkpoint", "dream.safetensors")
    assert classes(graph_of(found, ["dark.safetensors"], -1), "CheckpointLoaderSimple") == ["dream.safetensors"]
    assert classes(graph_of(found, ["dark.safetensors"], 0), "CheckpointLoaderSimple") == ["dark.safetensors"]


def test_ids_of_the_workflow_are_left_to_it() -> None:
    workflow = copy.deepcopy(with_lora())
    workflow["2+0"] = node("CLIPTextEncode", text="more", clip=["2", 1])
    workflow["3"]["inputs"]["negative"] = ["2+0", 0]
    graph = graph_of(slot(workflow), ["a.safetensors"], 0)
    (sampler,) = (item for item in graph.values() if item["class_type"] == "KSampler")
    assert graph[sampler["inputs"]["negative"][0]]["inputs"]["text"] == "more"


def test_a_file_that_the_server_lacks_and_a_workflow_without_noise() -> None:
    gone = with_lora()
    gone["2"]["inputs"]["lora_name"] = "gone.safetensors"
    with pytest.raises(WorkflowError, match=r"lacks 'gone\.safetensors'"):
        slot(gone)
    still = with_lora()
    still["3"] = node("VAEEncode", pixels=["40", 0], vae=["1", 2])
    still["40"] = node("EmptyImage", width=64, height=64, batch_size=1, color=0)
    with pytest.raises(WorkflowError):
        slot(still)


def test_one_seed_is_too_few() -> None:
    with pytest.raises(WorkflowError, match="at least 2 seeds"):
        slot(with_lora(), seeds=1)
