"""Small workflows of ``tests/data/cases``, each of a kind that was misread once: players, absence, target and seeds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from copyscope_core.errors import WorkflowError
from copyscope_core.planning.plan import Plan, make_plan
from copyscope_core.settings import AuditSettings
from copyscope_core.workflow.graph import Graph, Link
from copyscope_core.workflow.node_info import NodeCatalog, bundled_catalog

CASES = Path(__file__).resolve().parent.parent / "data" / "cases"
CLASSES: dict[str, Any] = json.loads((CASES / "object_info.json").read_text(encoding="utf-8"))
CATALOG = NodeCatalog({**bundled_catalog()._raw, **CLASSES}, live=False)
ELSEWHERE = {"backslash-name", "history-entry", "seed-past-64-bits", "video-frames"}
"""Cases with tests of their own: names of the server, reading, seeds and videos."""

PROMPT = {"prompt": "prompt"}
BASE = {"base": "checkpoint"}


@dataclass(frozen=True)
class Right:
    """What is right for a case.

    Attributes:
        players: kind by name; a baseline checkpoint is named.
        target: node and slot of the audited output.
        seeds: node, input and seed of each noise input.
        locked: kind by name.
        unmeasured: what is upstream besides.
    """

    players: dict[str, str]
    target: tuple[str, int] = ("6", 0)
    seeds: tuple[tuple[str, str, int], ...] = (("5", "seed", 1),)
    locked: dict[str, str] = field(default_factory=dict)
    unmeasured: tuple[str, ...] = ()


EASY = {"target": ("3", 1), "seeds": (("2", "seed", 1),)}
RIGHT = {
    "comfy-switch-off": Right({**BASE, **PROMPT}),
    "rgthree-any-switch": Right({**BASE, "a": "lora", **PROMPT}),
    "cr-load-lora-switched-off": Right({**BASE, **PROMPT}),
    "lora-strength-zero": Right({**BASE, **PROMPT}),
    "cr-multi-controlnet": Right(
        {**BASE, "canny": "controlnet", "depth": "controlnet", **PROMPT}, unmeasured=("image: h.png",)
    ),
    "dynamic-combo": Right({**BASE, **PROMPT}, target=("9", 0)),
    "easy-use-full-loader": Right({**BASE, "style_a": "lora", **PROMPT}, **EASY),
    "easy-use-lora-stack": Right({**BASE, "a": "lora", "b": "lora", **PROMPT}, **EASY),
    "efficient-loader": Right({**BASE, "b": "lora", "c": "lora", "style_a": "lora", **PROMPT}, target=("5", 5)),
    "efficient-loader-sdxl": Right(
        {"sdxl": "checkpoint", "ref": "checkpoint", **PROMPT}, target=("5", 3), seeds=(("5", "noise_seed", 1),)
    ),
    "face-detailer-lora-tag": Right(
        {**BASE, "face_lora": "lora", **PROMPT}, target=("31", 0), seeds=(("5", "seed", 1), ("31", "seed", 3)),
        unmeasured=("model_name: bbox/face_yolov8m.pt",),
    ),
    "impact-wildcard-lora-tag": Right({**BASE, "style_a": "lora", **PROMPT}),
    "lora-tag-loader": Right({**BASE, "style_a": "lora", **PROMPT}),
    "face-swap-onnx": Right(
        {**BASE, **PROMPT}, target=("30", 0),
        unmeasured=("swap_model: inswapper_128.onnx", "face_restore_model: codeformer-v0.1.0.pth", "image: face.png"),
    ),
    "file-name-in-a-dict": Right({**BASE, "jane": "lora", **PROMPT}),
    "hint-made-by-another-model": Right(
        {**BASE, "sd35_depth": "controlnet", **PROMPT}, seeds=(("5", "seed", 1), ("27", "seed", 1)),
        unmeasured=("image: hint.png",),
    ),
    "hint-preview-beside-save": Right({**BASE, **PROMPT}),
    "image-compare-beside-save": Right({**BASE, **PROMPT}),
    "ip-adapter-face-id": Right(
        {**BASE, "FACEID PLUS V2": "ip_adapter", **PROMPT}, unmeasured=("image: face.png",)
    ),
    "lora-manager-loader": Right({**BASE, "style_a": "lora", "char_b": "lora", **PROMPT}),
    "lora-manager-prompt": Right({**BASE, **PROMPT}),
    "nunchaku-loader": Right(
        {"a": "lora", **PROMPT}, locked={"svdq-int4-flux.1-dev": "unet", "clip_l": "clip", "ae": "vae"}
    ),
    "rgthree-context-seed": Right({**BASE, **PROMPT}, seeds=(("5", "seed", 7),)),
}  # fmt: skip


def case(name: str) -> Any:
    return json.loads((CASES / f"{name}.json").read_text(encoding="utf-8"))


def planned(name: str, **settings: Any) -> Plan:
    return make_plan(case(name), CATALOG, AuditSettings(**{"baseline_checkpoint": "plain.safetensors", **settings}))


def without(plan: Plan, *absent: str) -> Graph:
    mask = plan.full
    for name in absent:
        mask &= ~(1 << plan.names.index(name))
    return plan.rewriter.graph(mask)[0]


def one(graph: Graph, class_type: str) -> dict[str, Any]:
    (node,) = [node for node in graph.values() if node.class_type == class_type]
    return dict(node.inputs)


def classes(graph: Graph) -> set[str]:
    return {node.class_type for node in graph.values()}


def test_every_case_has_a_test() -> None:
    assert {path.stem for path in CASES.glob("*.json")} - {"object_info"} == {*RIGHT, *ELSEWHERE}


@pytest.mark.parametrize("name", RIGHT)
def test_players_target_seeds_and_the_rest(name: str) -> None:
    plan, right = planned(name), RIGHT[name]
    assert {player.name: player.kind for player in plan.players} == right.players
    assert {item.name: item.kind for item in plan.locked} == right.locked
    assert plan.target == Link(*right.target)
    assert {(item.node, item.input, item.seed) for item in plan.noise} == set(right.seeds)
    assert {item.what for item in plan.unmeasured} == set(right.unmeasured)


@pytest.mark.parametrize("name", RIGHT)
def test_every_coalition_is_a_workflow_and_no_two_are_the_same(name: str) -> None:
    plan = planned(name)
    found = {mask: plan.rewriter.target(mask) for mask in plan.coalitions}
    assert len(set(found.values())) == len(found) == 1 << len(plan.players)
    for mask in plan.coalitions:
        graph, target = plan.rewriter.graph(mask)
        assert target.node in graph
        assert all(link.node in graph for node in graph.values() for _, link in node.links())


@pytest.mark.parametrize("name", ["comfy-switch-off", "cr-load-lora-switched-off", "lora-strength-zero"])
def test_what_is_off_is_not_run(name: str) -> None:
    plan = planned(name)
    graph = without(plan)
    assert one(graph, "KSampler")["model"] == Link("1", 0)
    assert not any("lora" in kind.lower() or "switch" in kind.lower() for kind in classes(graph))


def test_the_other_branch_of_a_switch_is_taken_where_it_says_so() -> None:
    workflow = case("comfy-switch-off")
    workflow["50"]["inputs"]["switch"] = True
    assert "a" in make_plan(workflow, CATALOG).names
    workflow["50"]["inputs"]["switch"] = ["60", 0]
    workflow["60"] = {"class_type": "PrimitiveBoolean", "inputs": {"value": False}}
    assert "a" not in make_plan(workflow, CATALOG).names
    workflow["60"] = {"class_type": "ImageToNumber", "inputs": {"image": ["6", 0], "of": "a computed thing"}}
    workflow["60"]["inputs"].pop("image")
    assert "a" in make_plan(workflow, CATALOG).names  # no one knows which branch is taken


def test_the_second_branch_of_an_any_switch_is_taken_where_the_first_is_empty() -> None:
    workflow = case("rgthree-any-switch")
    workflow["40"] = {"class_type": "Context (rgthree)", "inputs": {"clip": ["1", 1]}}
    workflow["50"]["inputs"]["any_01"] = ["40", 1]  # a context that holds no model
    assert make_plan(workflow, CATALOG).names == ("b", "prompt")


def test_a_controlnet_of_a_stack_is_switched_off() -> None:
    plan = planned("cr-multi-controlnet")
    stack = one(without(plan, "depth"), "CR Multi-ControlNet Stack")
    assert (stack["switch_1"], stack["switch_2"]) == ("On", "Off")
    workflow = case("cr-multi-controlnet")
    workflow["70"]["inputs"]["switch_1"] = "Off"
    assert "canny" not in str(make_plan(workflow, CATALOG).summary())
    workflow["71"]["inputs"]["switch"] = "Off"
    assert make_plan(workflow, CATALOG).names == ("prompt",)


@pytest.mark.parametrize(
    ("name", "player", "class_type", "right"),
    [
        ("easy-use-full-loader", "style_a", "easy fullLoader", {"lora_name": "None"}),
        ("easy-use-full-loader", "prompt", "easy fullLoader", {"positive": "", "negative": "ugly"}),
        ("easy-use-full-loader", "base", "easy fullLoader", {"ckpt_name": "plain.safetensors"}),
        ("easy-use-lora-stack", "a", "easy loraStack", {"lora_1_name": "None", "lora_2_name": "b.safetensors"}),
        ("efficient-loader", "style_a", "Efficient Loader", {"lora_name": "None"}),
        ("efficient-loader", "b", "LoRA Stacker", {"lora_name_1": "None", "lora_name_2": "c.safetensors"}),
        ("efficient-loader", "prompt", "Efficient Loader", {"positive": "", "negative": "ugly"}),
        ("efficient-loader", "base", "Efficient Loader", {"ckpt_name": "plain.safetensors"}),
        ("efficient-loader-sdxl", "ref", "Eff. Loader SDXL",
         {"base_ckpt_name": "sdxl.safetensors", "refiner_ckpt_name": "plain.safetensors"}),
        ("face-detailer-lora-tag", "face_lora", "FaceDetailer", {"wildcard": "jane face"}),
        ("face-detailer-lora-tag", "prompt", "FaceDetailer", {"wildcard": "<lora:face_lora:0.8>"}),
        ("impact-wildcard-lora-tag", "style_a", "ImpactWildcardEncode",
         {"wildcard_text": "a castle by jane", "populated_text": "a castle by jane"}),
        ("impact-wildcard-lora-tag", "prompt", "ImpactWildcardEncode",
         {"wildcard_text": "<lora:style_a:0.8>", "populated_text": "<lora:style_a:0.8>"}),
        ("lora-tag-loader", "style_a", "LoraTagLoader", {"text": "a castle"}),
        ("lora-manager-prompt", "prompt", "Prompt (LoraManager)", {"text": "", "trigger_words1": ""}),
    ],
)  # fmt: skip
def test_what_a_node_holds_when_a_player_is_absent(name, player, class_type, right) -> None:
    inputs = one(without(planned(name), player), class_type)
    assert {key: inputs[key] for key in right} == right


def test_rows_of_the_lora_manager_go_with_their_tags() -> None:
    plan = planned("lora-manager-loader")
    loader = one(without(plan, "style_a"), "Lora Loader (LoraManager)")
    assert [row["active"] for row in loader["loras"]["__value__"]] == [False, True]
    assert loader["text"] == "<lora:char_b:0.6>"
    loader = one(without(plan, "style_a", "char_b"), "Lora Loader (LoraManager)")
    assert [row["active"] for row in loader["loras"]["__value__"]] == [False, False]
    assert loader["text"] == ""
    workflow = case("lora-manager-loader")
    workflow["10"]["inputs"]["loras"] = workflow["10"]["inputs"]["loras"]["__value__"]  # as ComfyUI unwraps it
    workflow["10"]["inputs"]["loras"][1]["active"] = False
    plan = make_plan(workflow, CATALOG)
    assert plan.names == ("style_a", "prompt")
    assert one(without(plan, "style_a"), "Lora Loader (LoraManager)")["loras"][0]["active"] is False


def test_an_ip_adapters_loader_goes_with_it() -> None:
    graph = without(planned("ip-adapter-face-id"), "FACEID PLUS V2")
    assert one(graph, "KSampler")["model"] == Link("1", 0)
    assert not any("IPAdapter" in kind for kind in classes(graph))


def test_a_loader_that_two_ip_adapters_share_is_a_player_of_its_own() -> None:
    workflow = case("ip-adapter-face-id")
    workflow["13"] = {"class_type": "IPAdapterFaceID", "inputs": {**workflow["11"]["inputs"], "model": ["11", 0]}}
    workflow["5"]["inputs"]["model"] = ["13", 0]
    plan = make_plan(workflow, CATALOG)
    assert [player.node for player in plan.players] == ["10", "11", "13", "2"]
    graph = without(plan, plan.names[0])
    first, second = [node.inputs for node in graph.values() if node.class_type == "IPAdapterFaceID"]
    assert Link("1", 0) in (first["model"], second["model"])  # past what the loader does to the model
    assert first["ipadapter"] == second["ipadapter"] == Link("10", 1)


def test_the_models_of_a_hint_go_with_the_controlnet() -> None:
    plan = planned("hint-made-by-another-model")
    control = next(player for player in plan.players if player.kind == "controlnet")
    assert set(control.files) == {"sd35_depth.safetensors", "lotus.safetensors", "sd15.vae.safetensors"}
    graph = without(plan, "base")
    assert one(graph, "VAELoader")["vae_name"] == "sd15.vae.safetensors"
    assert "UNETLoader" not in classes(without(plan, "sd35_depth"))


def test_a_baseline_is_put_where_the_name_is() -> None:
    workflow = case("file-name-in-a-dict")
    name = {"content": "base.safetensors", "image": None}
    workflow["1"] = {"class_type": "CheckpointLoader|pysssss", "inputs": {"ckpt_name": name}}
    loader = {"input": {"required": {"ckpt_name": ["COMBO"]}}, "output": ["MODEL", "CLIP", "VAE"]}
    catalog = NodeCatalog({**bundled_catalog()._raw, **CLASSES, "CheckpointLoader|pysssss": loader}, live=False)
    plan = make_plan(workflow, catalog, AuditSettings(baseline_checkpoint="plain.safetensors"))
    found = one(without(plan, "base"), "CheckpointLoader|pysssss")["ckpt_name"]
    assert found == {"content": "plain.safetensors", "image": None}


def test_a_dynamic_combo_is_compared_by_its_keys() -> None:
    live = NodeCatalog({**bundled_catalog()._raw, **CLASSES}, live=True)
    assert make_plan(case("dynamic-combo"), live).names == ("prompt",)
    workflow = case("dynamic-combo")
    workflow["9"]["inputs"]["resize_type"] = "scale nothing"
    with pytest.raises(WorkflowError, match=r"lacks 'scale nothing' for input 'resize_type' .* it has: scale dimensio"):
        make_plan(workflow, live)
    workflow["9"]["inputs"].update({"resize_type": "scale dimensions", "resize_type.crop": "nowhere"})
    with pytest.raises(WorkflowError, match=r"lacks 'nowhere' for input 'resize_type.crop'"):
        make_plan(workflow, live)


def test_a_list_that_the_front_end_fills_takes_anything_but_a_model() -> None:
    custom = {"input": {"required": {"choice": ["COMBO", {"options": []}]}}, "output": ["STRING"]}
    live = NodeCatalog({**bundled_catalog()._raw, **CLASSES, "CustomCombo": custom}, live=True)
    workflow = case("comfy-switch-off")
    workflow["60"] = {"class_type": "CustomCombo", "inputs": {"choice": "my own words"}}
    workflow["2"]["inputs"]["text"] = ["60", 0]
    assert make_plan(workflow, live).names == ("prompt",)
    workflow["60"]["inputs"]["choice"] = "model.safetensors"
    with pytest.raises(WorkflowError, match="it has: nothing"):
        make_plan(workflow, live)


def test_a_seed_through_contexts_is_shifted_at_the_sampler() -> None:
    plan = planned("rgthree-context-seed")
    graph, _ = plan.rewriter.graph(plan.full, 3)
    assert one(graph, "KSampler")["seed"] == 10


def test_a_tag_that_no_node_is_known_to_load_is_named() -> None:
    workflow = case("lora-strength-zero")
    workflow["2"]["inputs"]["text"] = "a castle <lora:left_over:0.8> <lora:off:0>"
    assert [item.what for item in make_plan(workflow, CATALOG).unmeasured] == ["LoRA tag in text: left_over"]


def test_a_phrase_is_not_looked_for_in_tags() -> None:
    workflow = case("impact-wildcard-lora-tag")
    for name in ("wildcard_text", "populated_text"):
        workflow["10"]["inputs"][name] = "a castle by jane <lora:jane:0.8>"
    plan = make_plan(workflow, CATALOG, AuditSettings(key_prompts=("jane",)))
    node = one(without(plan, "prompt: jane"), "ImpactWildcardEncode")
    assert node["populated_text"] == "a castle by <lora:jane:0.8>"
    assert one(without(plan, "jane"), "ImpactWildcardEncode")["populated_text"] == "a castle by jane"


def test_loras_in_tags_and_rows_are_hashed_by_the_servers_names() -> None:
    lists = {"lora_name": [["styles/style_a.safetensors", "char_b.safetensors"]]}
    loader = {"input": {"required": {"model": ["MODEL"], "clip": ["CLIP"], **lists}}, "output": ["MODEL", "CLIP"]}
    catalog = NodeCatalog({**bundled_catalog()._raw, **CLASSES, "LoraLoader": loader}, live=False)
    for name, right in (
        ("lora-tag-loader", {"style_a": "styles/style_a.safetensors"}),
        ("lora-manager-loader", {"style_a": "styles/style_a.safetensors", "char_b": "char_b.safetensors"}),
    ):
        plan = make_plan(case(name), catalog)
        assert plan.model_names == right
        assert {file for player in plan.players for file in player.files} == set(right.values())


def further(name: str, extra: dict[str, Any], changed: dict[str, dict[str, Any]]) -> Any:
    workflow = case(name)
    workflow.update(extra)
    for node_id, inputs in changed.items():
        workflow[node_id]["inputs"].update(inputs)
    return workflow


def test_a_negative_text_of_an_encoder_is_no_part_of_the_positive() -> None:
    both = {"input": {"required": {"clip": ["CLIP"], "prompt": ["STRING"], "negative_prompt": ["STRING"]}},
            "output": ["CONDITIONING"]}  # fmt: skip
    catalog = NodeCatalog({**bundled_catalog()._raw, **CLASSES, "OddEncoder": both}, live=False)
    encoder = {"class_type": "OddEncoder", "inputs": {"clip": ["1", 1], "prompt": "a castle", "negative_prompt": "no"}}
    plan = make_plan(further("lora-strength-zero", {"2": encoder}, {}), catalog)
    node = one(without(plan, "prompt"), "OddEncoder")
    assert (node["prompt"], node["negative_prompt"]) == ("", "no")


def test_instant_id_has_a_kind_of_its_own() -> None:
    apply = {"input": {"required": {"instantid": ["INSTANTID"], "control_net": ["CONTROL_NET"], "image": ["IMAGE"],
                                    "model": ["MODEL"], "positive": ["CONDITIONING"], "negative": ["CONDITIONING"]}},
             "output": ["MODEL", "CONDITIONING", "CONDITIONING"]}  # fmt: skip
    loader = {"input": {"required": {"instantid_file": ["COMBO"]}}, "output": ["INSTANTID"]}
    classes = {"ApplyInstantID": apply, "InstantIDModelLoader": loader}
    catalog = NodeCatalog({**bundled_catalog()._raw, **CLASSES, **classes}, live=False)
    plan = make_plan(further("lora-strength-zero", {
        "30": {"class_type": "InstantIDModelLoader", "inputs": {"instantid_file": "ip-adapter.bin"}},
        "31": {"class_type": "ControlNetLoader", "inputs": {"control_net_name": "instantid.safetensors"}},
        "32": {"class_type": "LoadImage", "inputs": {"image": "face.png"}},
        "33": {"class_type": "ApplyInstantID", "inputs": {
            "instantid": ["30", 0], "control_net": ["31", 0], "image": ["32", 0], "model": ["1", 0],
            "positive": ["2", 0], "negative": ["3", 0]}},
    }, {"5": {"model": ["33", 0], "positive": ["33", 1], "negative": ["33", 2]}}), catalog)  # fmt: skip
    (player,) = [player for player in plan.players if player.node == "33"]
    assert player.kind == "instantid"
    assert set(player.files) == {"ip-adapter.bin", "instantid.safetensors"}


def test_an_image_to_video_node_is_no_model_patch() -> None:
    node = {"input": {"required": {"positive": ["CONDITIONING"], "negative": ["CONDITIONING"], "vae": ["VAE"]},
                      "optional": {"clip_vision_output": ["CLIP_VISION_OUTPUT"], "start_image": ["IMAGE"]}},
            "output": ["CONDITIONING", "CONDITIONING", "LATENT"]}  # fmt: skip
    catalog = NodeCatalog({**bundled_catalog()._raw, **CLASSES, "WanImageToVideo": node}, live=False)
    plan = make_plan(further("lora-strength-zero", {
        "30": {"class_type": "CLIPVisionLoader", "inputs": {"clip_name": "vision.safetensors"}},
        "31": {"class_type": "LoadImage", "inputs": {"image": "start.png"}},
        "32": {"class_type": "CLIPVisionEncode", "inputs": {"clip_vision": ["30", 0], "image": ["31", 0]}},
        "33": {"class_type": "WanImageToVideo", "inputs": {
            "positive": ["2", 0], "negative": ["3", 0], "vae": ["1", 2], "clip_vision_output": ["32", 0]}},
    }, {"5": {"positive": ["33", 0], "negative": ["33", 1], "latent_image": ["33", 2]}}), catalog)  # fmt: skip
    assert plan.names == ("prompt",)
    assert {item.kind for item in plan.locked} == {"checkpoint"}
    assert {item.what for item in plan.unmeasured} == {"clip_name: vision.safetensors", "image: start.png"}


def test_a_model_from_a_node_without_a_known_file_is_named() -> None:
    odd = {"input": {"required": {"repository": ["STRING"]}}, "output": ["MODEL", "CLIP", "VAE"],
           "display_name": "Odd Loader"}  # fmt: skip
    catalog = NodeCatalog({**bundled_catalog()._raw, **CLASSES, "OddLoader": odd}, live=False)
    loader = {"class_type": "OddLoader", "inputs": {"repository": "someone/some-model"}}
    plan = make_plan(further("lora-strength-zero", {"1": loader}, {}), catalog)
    assert [item.what for item in plan.unmeasured] == ["model of Odd Loader: someone/some-model"]


def test_a_sampler_without_a_model_is_refused() -> None:
    workflow = case("lora-strength-zero")
    del workflow["5"]["inputs"]["model"]
    with pytest.raises(WorkflowError, match=r"Input 'model' of node '5' \(KSampler\) is linked to nothing"):
        make_plan(workflow, CATALOG)


def test_a_model_without_extension_has_a_baseline() -> None:
    plan = make_plan(case("nunchaku-loader"), CATALOG, AuditSettings(baseline_models={"1": "svdq-fp4-flux.1-schnell"}))
    assert plan.names[0] == "svdq-int4-flux.1-dev"
    assert one(without(plan, plan.names[0]), "NunchakuFluxDiTLoader")["model_path"] == "svdq-fp4-flux.1-schnell"
