"""Workflows with unusual wiring, and nodes of other packs: players and rewriting must still be right."""

from __future__ import annotations

import pytest
from example_workflows import base, ksampler, lora, node

from copyscope_core.errors import CopyScopeError, PlayerError, WorkflowError
from copyscope_core.workflow.graph import Link, parse_graph
from copyscope_core.workflow.node_info import NodeCatalog, bundled_catalog
from tests.planning.test_plan import only, plan, rewritten, source


def catalog(**classes) -> NodeCatalog:
    """ComfyUI's own classes and some of another pack: name → (inputs, outputs, more)."""
    extra = {
        name: {"input": {"required": {key: [kind] for key, kind in inputs.items()}}, "output": list(outputs), **more}
        for name, (inputs, outputs, more) in classes.items()
    }
    return NodeCatalog({**bundled_catalog()._raw, **extra}, live=False)


def zeroed_negative():
    """The usual Flux, SD3 and Qwen layout: the negative is the positive, zeroed; a ControlNet behind both."""
    workflow = base()
    workflow["20"] = node("LoadImage", image="hint.png")
    workflow["21"] = node("ControlNetLoader", control_net_name="depth.safetensors")
    workflow["40"] = node("ConditioningZeroOut", conditioning=["6", 0])
    workflow["23"] = node("ControlNetApplyAdvanced", positive=["6", 0], negative=["40", 0], control_net=["21", 0],
                          image=["20", 0], strength=1.0, start_percent=0.0, end_percent=1.0)  # fmt: skip
    workflow["3"]["inputs"].update(positive=["23", 0], negative=["23", 1])
    return workflow


def test_controlnet_goes_from_both_sides_where_the_encoder_is_shared() -> None:
    p = plan(zeroed_negative())
    graph, _ = rewritten(p, ["depth"])
    assert {n.class_type for n in graph.values()}.isdisjoint({"ControlNetApplyAdvanced", "ControlNetLoader"})
    sampler = only(graph, "KSampler")
    assert source(graph, sampler.inputs["positive"]).inputs["text"] == "a wave, by hokusai"
    assert source(graph, sampler.inputs["negative"]).class_type == "ConditioningZeroOut"
    assert "depth" not in str([u.what for u in p.unmeasured])


def test_style_model_goes_where_the_encoder_is_shared() -> None:
    workflow = base()
    workflow["20"] = node("StyleModelLoader", style_model_name="redux.safetensors")
    workflow["21"] = node("CLIPVisionLoader", clip_name="vision.safetensors")
    workflow["22"] = node("LoadImage", image="x.png")
    workflow["23"] = node("CLIPVisionEncode", clip_vision=["21", 0], image=["22", 0], crop="center")
    workflow["24"] = node("StyleModelApply", conditioning=["6", 0], style_model=["20", 0], clip_vision_output=["23", 0],
                          strength=1.0, strength_type="multiply")  # fmt: skip
    workflow["40"] = node("ConditioningZeroOut", conditioning=["6", 0])
    workflow["3"]["inputs"].update(positive=["24", 0], negative=["40", 0])
    p = plan(workflow)
    graph, _ = rewritten(p, ["redux"])
    assert "StyleModelApply" not in {n.class_type for n in graph.values()}
    full, _ = rewritten(p)
    assert "StyleModelApply" in {n.class_type for n in full.values()}


def test_image_player_turns_grey_on_both_sides() -> None:
    graph, _ = rewritten(plan(zeroed_negative(), image_players=("20",)), ["image: hint.png"])
    applies = [n for n in graph.values() if n.class_type == "ControlNetApplyAdvanced"]
    assert {source(graph, n.inputs["image"]).class_type for n in applies} == {"EmptyImage"}


def test_positive_of_a_node_whose_first_output_is_a_model() -> None:
    info = catalog(ApplyFace=({"model": "MODEL", "positive": "CONDITIONING", "negative": "CONDITIONING"},
                              ("MODEL", "CONDITIONING", "CONDITIONING"), {}))  # fmt: skip
    workflow = base()
    workflow["44"] = node("ApplyFace", model=["1", 0], positive=["6", 0], negative=["7", 0])
    workflow["3"]["inputs"].update(model=["44", 0], positive=["44", 1], negative=["44", 2])
    p = plan(workflow, info)
    assert next(c for c in p.players if c.kind == "prompt").nodes == ("6",)


def test_second_condition_of_the_dual_guider_is_negative() -> None:
    workflow = base()
    workflow["50"] = node("DualCFGGuider", model=["1", 0], cond1=["6", 0], cond2=["7", 0], negative=["7", 0],
                          cfg_conds=5.0, cfg_cond2_negative=2.0, style="regular")  # fmt: skip
    workflow["51"] = node("RandomNoise", noise_seed=3)
    workflow["52"] = node("KSamplerSelect", sampler_name="euler")
    workflow["53"] = node("BasicScheduler", model=["1", 0], scheduler="simple", steps=4, denoise=1.0)
    workflow["3"] = node("SamplerCustomAdvanced", noise=["51", 0], guider=["50", 0], sampler=["52", 0],
                         sigmas=["53", 0], latent_image=["5", 0])  # fmt: skip
    p = plan(workflow)
    assert next(c for c in p.players if c.kind == "prompt").nodes == ("6",)


SAMPLER = {"model": "MODEL", "seed": "INT", "positive": "CONDITIONING", "negative": "CONDITIONING", "latent": "LATENT"}


def test_samplers_that_are_output_nodes_stay() -> None:
    info = catalog(
        EfficientSampler=(SAMPLER, ("MODEL", "CONDITIONING", "CONDITIONING", "LATENT"), {"output_node": True})
    )
    workflow = base()
    workflow["30"] = node(
        "EfficientSampler", model=["1", 0], seed=9, positive=["6", 0], negative=["7", 0], latent=["5", 0]
    )
    workflow["31"] = node("LatentUpscaleBy", samples=["30", 3], upscale_method="bilinear", scale_by=2.0)
    workflow["3"]["inputs"]["latent_image"] = ["31", 0]
    p = plan(workflow, info)
    assert sorted(item.node for item in p.noise) == ["3", "30"]
    del workflow["3"]
    workflow["8"]["inputs"]["samples"] = ["30", 3]
    assert [c.kind for c in plan(workflow, info).players] == ["prompt"]


def test_preview_on_the_way_is_bypassed_and_said_so() -> None:
    info = catalog(PassPreview=({"images": "IMAGE"}, ("IMAGE",), {"output_node": True}))
    workflow = base()
    workflow["20"] = node("PassPreview", images=["8", 0])
    workflow["21"] = node("CopyScopeCoalitionEnumerator", image=["20", 0])
    p = plan(workflow, info)
    assert p.target == Link("8", 0)
    assert any("20 (PassPreview)" in warning for warning in p.warnings)


def test_stack_entries_are_not_counted_again_where_the_stack_is_applied() -> None:
    info = catalog(**{
        "CR LoRA Stack": ({"lora_name_1": "COMBO"}, ("LORA_STACK",), {}),
        "CR Apply LoRA Stack": ({"model": "MODEL", "clip": "CLIP", "lora_stack": "LORA_STACK"}, ("MODEL", "CLIP"), {}),
    })  # fmt: skip
    workflow = base(model="31", clip="31")
    workflow["30"] = node("CR LoRA Stack", switch_1="On", lora_name_1="a.safetensors", switch_2="On",
                          lora_name_2="b.safetensors", switch_3="Off", lora_name_3="c.safetensors")  # fmt: skip
    workflow["31"] = node("CR Apply LoRA Stack", model=["1", 0], clip=["1", 1], lora_stack=["30", 0])
    assert [c.name for c in plan(workflow, info).players if c.kind == "lora"] == ["a", "b"]


def test_linked_file_names_are_followed() -> None:
    workflow = base(model="2", clip="2")
    workflow["2"] = lora("unused", "1", "1")
    workflow["60"] = node("PrimitiveString", value="dream.safetensors")
    workflow["61"] = node("PrimitiveString", value="style.safetensors")
    workflow["1"]["inputs"]["ckpt_name"] = ["60", 0]
    workflow["2"]["inputs"]["lora_name"] = ["61", 0]
    p = plan(workflow, baseline_checkpoint="sd15.safetensors")
    assert p.names == ("dream", "style", "prompt")
    graph, _ = rewritten(p, ["dream"])
    assert only(graph, "CheckpointLoaderSimple").inputs["ckpt_name"] == "sd15.safetensors"


def test_hook_that_a_later_node_needs_is_locked() -> None:
    workflow = base()
    workflow["20"] = node("CreateHookLora", lora_name="a.safetensors", strength_model=1.0, strength_clip=1.0)
    workflow["21"] = node(
        "CreateHookLora", lora_name="b.safetensors", strength_model=1.0, strength_clip=1.0, prev_hooks=["20", 0]
    )
    workflow["22"] = node("SetHookKeyframes", hooks=["21", 0])
    workflow["23"] = node(
        "ConditioningSetProperties", cond_NEW=["6", 0], strength=1.0, set_cond_area="default", hooks=["22", 0]
    )
    workflow["3"]["inputs"]["positive"] = ["23", 0]
    p = plan(workflow)
    assert [c.name for c in p.players] == ["b", "prompt"]
    assert "a" in [c.name for c in p.locked]


def test_subtracted_model_is_no_player_by_itself() -> None:
    workflow = base(model="83")
    for key, name in (("80", "b"), ("81", "c")):
        workflow[key] = node("CheckpointLoaderSimple", ckpt_name=f"{name}.safetensors")
    workflow["82"] = node("ModelMergeSubtract", model1=["80", 0], model2=["81", 0], multiplier=1.0)
    workflow["83"] = node("ModelMergeAdd", model1=["1", 0], model2=["82", 0])
    assert {"b", "c"} <= {c.name for c in plan(workflow).locked}


def test_computed_text_is_not_taken_for_a_constant() -> None:
    workflow = base()
    workflow["20"] = node("TextToUppercase", text="a wave, by hokusai")
    workflow["6"]["inputs"]["text"] = ["20", 0]
    with pytest.raises(PlayerError, match="computed by other nodes"):
        plan(workflow, key_prompts=("hokusai",))


def test_overlapping_phrases_do_not_depend_on_their_order() -> None:
    for phrases in (("by hokusai", "a wave, by hokusai"), ("a wave, by hokusai", "by hokusai")):
        p = plan(base(text="sea, a wave, by hokusai"), key_prompts=phrases)
        graph, _ = rewritten(p, [f"prompt: {phrase}" for phrase in phrases])
        assert "sea" in [n.inputs.get("text") for n in graph.values()]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"baseline_models": {"3": "x.safetensors"}}, "fits no model loader"),
        ({"baseline_models": {"1.clip": "x.safetensors"}}, "has no file input 'clip'; it has: ckpt_name"),
        ({"image_players": ("20",)}, "gives no image that could turn grey"),
    ],
)
def test_choices_that_fit_nothing_are_refused(settings, sentence) -> None:
    workflow = base()
    workflow["20"] = node("LoadImageMask", image="mask.png", channel="alpha")
    workflow["21"] = node("SetLatentNoiseMask", samples=["5", 0], mask=["20", 0])
    workflow["3"]["inputs"]["latent_image"] = ["21", 0]
    with pytest.raises(PlayerError, match=sentence):
        plan(workflow, **settings)


def test_loader_with_several_files_needs_the_input_named() -> None:
    workflow = base()
    workflow["2"] = node("DualCLIPLoader", clip_name1="a.safetensors", clip_name2="b.safetensors", type="flux")
    workflow["6"]["inputs"]["clip"] = ["2", 0]
    with pytest.raises(PlayerError, match=r"several files; name one as 2\.INPUT \(clip_name1, clip_name2\)"):
        plan(workflow, baseline_models={"2": "x.safetensors"})


def test_blank_phrases_are_refused() -> None:
    with pytest.raises(ValueError, match="blank"):
        plan(base(), key_prompts=("",))


def test_adapter_is_named_after_its_own_file() -> None:
    info = catalog(
        UnifiedLoader=({"model": "MODEL", "preset": "COMBO"}, ("MODEL", "IPADAPTER"), {}),
        IPAdapterAdvanced=({"model": "MODEL", "ipadapter": "IPADAPTER", "image": "IMAGE"}, ("MODEL",), {}),
    )
    workflow = base(model="22")
    workflow["20"] = node("UnifiedLoader", model=["1", 0], preset="PLUS")
    workflow["21"] = node("LoadImage", image="x.png")
    workflow["22"] = node("IPAdapterAdvanced", model=["20", 0], ipadapter=["20", 1], image=["21", 0])
    component = next(c for c in plan(workflow, info).players if c.kind == "ip_adapter")
    assert component.files == ()


def test_prompt_that_ends_like_a_file_is_no_image() -> None:
    assert plan(base(text="a cat, IMG_1234.JPG")).images == ()
    assert plan(base(text="IMG_1234.JPG")).images == ()


def test_media_inputs_are_named() -> None:
    workflow = base()
    workflow["20"] = node("LoadLatent", latent="init.latent")
    workflow["3"]["inputs"]["latent_image"] = ["20", 0]
    assert "image: init.latent" in [u.what for u in plan(workflow).unmeasured]


def test_seed_behind_a_pipe_is_warned_about() -> None:
    info = catalog(
        PreSampling=({"model": "MODEL", "seed": "INT"}, ("PIPE",), {}),
        PipeSampler=({"pipe": "PIPE"}, ("LATENT",), {}),
    )
    workflow = base()
    workflow["30"] = node("PreSampling", model=["1", 0], seed=4)
    workflow["31"] = node("PipeSampler", pipe=["30", 0])
    workflow["3"]["inputs"]["latent_image"] = ["31", 0]
    assert any("30 (PreSampling)" in warning for warning in plan(workflow, info).warnings)


def test_locked_component_is_not_unmeasured_too() -> None:
    p = plan(zeroed_negative(), lock=("depth",))
    assert "depth" not in str([u.what for u in p.unmeasured])


def test_node_ids_with_capitals_can_be_named() -> None:
    workflow = base(model="Lora2", clip="Lora2")
    workflow["Lora2"] = lora("style.safetensors", "1", "1")
    assert plan(workflow, lock=("Lora2",)).names == ("prompt",)


def test_user_node_with_the_name_of_a_copy_is_kept() -> None:
    workflow = zeroed_negative()
    workflow["6+positive"] = node("CLIPTextEncode", text="other", clip=["1", 1])
    workflow["45"] = node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["6+positive", 0])
    workflow["23"]["inputs"]["positive"] = ["45", 0]
    graph, _ = rewritten(plan(workflow))
    assert sorted(str(n.inputs["text"]) for n in graph.values() if n.class_type == "CLIPTextEncode") == [
        "a wave, by hokusai", "other",
    ]  # fmt: skip


@pytest.mark.parametrize("slot", [float("nan"), float("inf"), 10**400, True])
def test_odd_slots_are_no_links(slot) -> None:
    workflow = base()
    workflow["9"]["inputs"]["images"] = ["8", slot]
    with pytest.raises(CopyScopeError):
        plan(workflow)


def test_deep_nesting_is_refused() -> None:
    value: list = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(WorkflowError, match="nested too deeply"):
        parse_graph({"1": node("A", x=value)})


def test_refiner_chain_keeps_both_samplers() -> None:
    workflow = base()
    workflow["30"] = ksampler(latent="3", seed=6)
    workflow["8"]["inputs"]["samples"] = ["30", 0]
    assert len([n for n in rewritten(plan(workflow), ["prompt"])[0].values() if n.class_type == "KSampler"]) == 2
