"""Players, absence rules and rewriting, workflow by workflow."""

import itertools

import pytest
from example_workflows import base, ksampler, lora, node, with_lora

from copyscope_core.errors import PlayerError, TooManyCoalitionsError, WorkflowError
from copyscope_core.planning.own_nodes import embedded_settings
from copyscope_core.planning.plan import COST_ORDER, make_plan
from copyscope_core.players.rewrite import RERUN_INPUT
from copyscope_core.settings import AuditSettings
from copyscope_core.workflow.graph import Link, parse_graph, to_json
from copyscope_core.workflow.node_info import NodeCatalog, bundled_catalog
from copyscope_core.workflow.noise import noise_inputs


def plan(workflow, catalog=None, **settings):
    return make_plan(workflow, catalog or bundled_catalog(), AuditSettings(**settings))


def rewritten(p, absent=(), offset=0, nonce=None):
    """The coalition without the named players, as API JSON, and its target."""
    mask = p.full
    for name in absent:
        mask &= ~(1 << p.names.index(name))
    graph, target = p.rewriter.graph(mask, offset, nonce)
    return graph, target


def only(graph, class_type):
    found = [n for n in graph.values() if n.class_type == class_type]
    assert len(found) == 1, found
    return found[0]


def source(graph, link):
    return graph[link.node]


def test_full_coalition_is_the_workflow_itself() -> None:
    p = plan(with_lora(), baseline_checkpoint="sd15.safetensors")
    graph, target = rewritten(p)
    assert to_json(graph) == {key: value for key, value in with_lora().items() if key != "9"}
    assert target == Link("8", 0)


def test_lora_is_bypassed_on_model_and_clip() -> None:
    graph, _ = rewritten(plan(with_lora()), ["style"])
    assert "LoraLoader" not in {n.class_type for n in graph.values()}
    assert only(graph, "KSampler").inputs["model"] == Link("1", 0)
    assert all(n.inputs["clip"] == Link("1", 1) for n in graph.values() if n.class_type == "CLIPTextEncode")


def test_absent_lora_equals_the_hand_made_bypass() -> None:
    p = plan(with_lora())
    by_hand = plan(base(), players=("prompt",))
    assert rewritten(p, ["style"])[1].slot == 0
    mask = p.full & ~(1 << p.names.index("style"))
    assert p.rewriter.target(mask) == by_hand.rewriter.target(by_hand.full)


def test_checkpoint_is_locked_without_a_baseline_and_says_how_to_measure_it() -> None:
    p = plan(with_lora())
    assert [(c.name, c.kind) for c in p.locked] == [("dream", "checkpoint")]
    assert "name a baseline checkpoint" in p.locked[0].reason
    assert [(c.name, c.kind) for c in p.players] == [("style", "lora"), ("prompt", "prompt")]


def test_checkpoint_with_a_baseline_is_a_player_for_all_its_outputs() -> None:
    p = plan(with_lora(), baseline_checkpoint="sd15.safetensors")
    graph, _ = rewritten(p, ["dream"])
    assert only(graph, "CheckpointLoaderSimple").inputs["ckpt_name"] == "sd15.safetensors"


def test_baseline_that_is_the_checkpoint_itself_is_no_player() -> None:
    p = plan(with_lora(), baseline_checkpoint="dream.safetensors")
    assert "this very file" in p.locked[0].reason


def test_vae_loader_falls_back_on_the_checkpoints_own_vae() -> None:
    workflow = with_lora()
    workflow["12"] = node("VAELoader", vae_name="soft.safetensors")
    workflow["8"]["inputs"]["vae"] = ["12", 0]
    p = plan(workflow, baseline_checkpoint="sd15.safetensors")
    graph, _ = rewritten(p, ["soft"])
    assert source(graph, only(graph, "VAEDecode").inputs["vae"]).inputs["ckpt_name"] == "dream.safetensors"
    graph, _ = rewritten(p, ["soft", "dream"])
    assert source(graph, only(graph, "VAEDecode").inputs["vae"]).inputs["ckpt_name"] == "sd15.safetensors"
    graph, _ = rewritten(plan(workflow, baseline_vae="plain.safetensors"), ["soft"])
    assert only(graph, "VAELoader").inputs["vae_name"] == "plain.safetensors"


def flux():
    return {
        "1": node("UNETLoader", unet_name="flux.safetensors", weight_dtype="default"),
        "2": node("DualCLIPLoader", clip_name1="l.safetensors", clip_name2="t5.safetensors", type="flux"),
        "3": node("VAELoader", vae_name="ae.safetensors"),
        "4": lora("style.safetensors", "1"),
        "6": node("CLIPTextEncode", text="a wave", clip=["2", 0]),
        "7": node("FluxGuidance", conditioning=["6", 0], guidance=3.5),
        "40": node("ConditioningZeroOut", conditioning=["6", 0]),
        "5": node("EmptySD3LatentImage", width=64, height=64, batch_size=2),
        "8": ksampler(model="4", positive="7", negative="40"),
        "9": node("VAEDecode", samples=["8", 0], vae=["3", 0]),
        "10": node("SaveImage", images=["9", 0], filename_prefix="x"),
    }


def test_flux_style() -> None:
    p = plan(flux())
    assert [c.name for c in p.players] == ["style", "prompt"]
    assert {(c.name, c.kind) for c in p.locked} == {("flux", "unet"), ("l", "clip"), ("ae", "vae")}
    assert "name a baseline VAE" in next(c.reason for c in p.locked if c.kind == "vae")
    graph, _ = rewritten(p, ["prompt"])
    sampler = only(graph, "KSampler")
    positive = source(graph, source(graph, sampler.inputs["positive"]).inputs["conditioning"])
    negative = source(graph, source(graph, sampler.inputs["negative"]).inputs["conditioning"])
    assert (positive.inputs["text"], negative.inputs["text"]) == ("", "a wave")
    assert p.batch == 2 and p.seeds == 8


def test_named_baselines_for_unet_and_clip() -> None:
    p = plan(flux(), baseline_models={"1": "schnell.safetensors", "2.clip_name1": "plain-l.safetensors"})
    assert [c.kind for c in p.players] == ["unet", "clip", "lora", "prompt"]
    graph, _ = rewritten(p, ["flux", "l"])
    assert only(graph, "UNETLoader").inputs["unet_name"] == "schnell.safetensors"
    clip = only(graph, "DualCLIPLoader").inputs
    assert (clip["clip_name1"], clip["clip_name2"]) == ("plain-l.safetensors", "t5.safetensors")


def controlnets():
    workflow = base()
    workflow["20"] = node("LoadImage", image="hint.png")
    workflow["21"] = node("ControlNetLoader", control_net_name="depth.safetensors")
    workflow["22"] = node("ControlNetLoader", control_net_name="edge.safetensors")
    for key, loader, before in (("23", "21", ("6", 0, "7", 0)), ("24", "22", ("23", 0, "23", 1))):
        p, ps, n, ns = before
        workflow[key] = node(
            "ControlNetApplyAdvanced",
            positive=[p, ps],
            negative=[n, ns],
            control_net=[loader, 0],
            image=["20", 0],
            strength=1.0,
            start_percent=0.0,
            end_percent=1.0,
        )
    workflow["3"]["inputs"].update(positive=["24", 0], negative=["24", 1])
    return workflow


def test_chained_controlnets_are_a_player_each() -> None:
    p = plan(controlnets())
    assert [(c.name, c.kind, c.node) for c in p.players] == [
        ("depth", "controlnet", "23"), ("edge", "controlnet", "24"), ("prompt", "prompt", "6"),
    ]  # fmt: skip
    graph, _ = rewritten(p, ["edge"])
    assert only(graph, "KSampler").inputs["positive"] == Link("23", 0)
    graph, _ = rewritten(p, ["depth"])
    apply = only(graph, "ControlNetApplyAdvanced")
    assert (apply.inputs["positive"], apply.inputs["negative"]) == (Link("6", 0), Link("7", 0))
    graph, _ = rewritten(p, ["depth", "edge"])
    sampler = only(graph, "KSampler")
    assert (sampler.inputs["positive"], sampler.inputs["negative"]) == (Link("6", 0), Link("7", 0))
    assert "ControlNetLoader" not in {n.class_type for n in graph.values()}  # the loader and the hint go with it
    assert "LoadImage" not in {n.class_type for n in graph.values()}


def test_hint_image_is_reported() -> None:
    p = plan(controlnets())
    assert [image.file for image in p.images] == ["hint.png"]
    assert "image: hint.png" in [u.what for u in p.unmeasured]


def test_image_player_becomes_grey() -> None:
    workflow = base()
    workflow["20"] = node("LoadImage", image="init.png")
    workflow["21"] = node("VAEEncode", pixels=["20", 0], vae=["1", 2])
    workflow["3"]["inputs"]["latent_image"] = ["21", 0]
    p = plan(workflow, image_players=("20",))
    graph, _ = rewritten(p, ["image: init.png"])
    grey = source(graph, only(graph, "VAEEncode").inputs["pixels"])
    assert (grey.class_type, grey.inputs["color"]) == ("EmptyImage", 0x808080)
    assert source(graph, source(graph, grey.inputs["width"]).inputs["image"]).class_type == "LoadImage"
    with pytest.raises(PlayerError, match="Node '5' loads no image"):
        plan(workflow, image_players=("5",))


def test_key_prompts_are_a_player_each() -> None:
    p = plan(base(text="a wave, (by hokusai:1.2), ukiyo-e"), key_prompts=("by hokusai", "ukiyo-e"))
    graph, _ = rewritten(p, ["prompt: by hokusai"])
    assert "a wave, ukiyo-e" in [n.inputs.get("text") for n in graph.values()]
    graph, _ = rewritten(p, ["prompt: by hokusai", "prompt: ukiyo-e"])
    assert "a wave" in [n.inputs.get("text") for n in graph.values()]
    with pytest.raises(PlayerError, match="'monet' stands in no positive text"):
        plan(base(), key_prompts=("monet",))
    with pytest.raises(PlayerError, match="'blurry' stands in no positive text"):
        plan(base(), key_prompts=("blurry",))


def test_linked_text_changes_at_the_encoder() -> None:
    workflow = base()
    workflow["20"] = node("PrimitiveStringMultiline", value="a wave")
    workflow["6"]["inputs"]["text"] = workflow["7"]["inputs"]["text"] = ["20", 0]
    graph, _ = rewritten(plan(workflow), ["prompt"])
    texts = sorted(str(n.inputs["text"]) for n in graph.values() if n.class_type == "CLIPTextEncode")
    assert texts == ["", str(Link("20", 0))]


def test_seeds_shift_alike_in_every_coalition() -> None:
    p = plan(with_lora())
    for mask in p.coalitions:
        assert only(p.rewriter.graph(mask, 3)[0], "KSampler").inputs["seed"] == 8
    workflow = with_lora()
    workflow["3"]["inputs"]["seed"] = 2**64 - 1
    assert only(rewritten(plan(workflow), offset=2)[0], "KSampler").inputs["seed"] == 1


def test_linked_seed_is_written_at_the_consumer() -> None:
    workflow = base()
    workflow["20"] = node("PrimitiveInt", value=41)
    workflow["3"]["inputs"]["seed"] = ["20", 0]
    p = plan(workflow)
    assert only(rewritten(p, offset=1)[0], "KSampler").inputs["seed"] == 42
    assert only(rewritten(p)[0], "KSampler").inputs["seed"] == Link("20", 0)
    workflow["20"] = node("StringLength", string="abc")
    workflow["20"]["inputs"]["string"] = ["21", 0]
    workflow["21"] = node("StringConcatenate", string_a="a", string_b="b", delimiter="")
    with pytest.raises(WorkflowError, match="takes its seed from node '20' \\(StringLength\\)"):
        plan(workflow)


def test_disabled_noise_is_left_alone() -> None:
    workflow = refiner()
    p = plan(workflow)
    assert [item.node for item in p.noise] == ["3"]
    graph, _ = rewritten(p, offset=1)
    seeds = {
        n.inputs["add_noise"]: n.inputs["noise_seed"] for n in graph.values() if n.class_type == "KSamplerAdvanced"
    }
    assert seeds == {"enable": 10, "disable": 9}


def refiner():
    workflow = with_lora()
    workflow["60"] = node("CheckpointLoaderSimple", ckpt_name="refiner.safetensors")
    workflow["61"] = node("CLIPTextEncode", text="a wave, by hokusai", clip=["60", 1])
    workflow["62"] = node("CLIPTextEncode", text="blurry", clip=["60", 1])
    common = {
        "steps": 4,
        "cfg": 7.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "start_at_step": 0,
        "end_at_step": 3,
    }
    workflow["3"] = node(
        "KSamplerAdvanced",
        add_noise="enable",
        noise_seed=9,
        return_with_leftover_noise="enable",
        model=["2", 0],
        positive=["6", 0],
        negative=["7", 0],
        latent_image=["5", 0],
        **common,
    )
    workflow["63"] = node(
        "KSamplerAdvanced",
        add_noise="disable",
        noise_seed=9,
        return_with_leftover_noise="disable",
        model=["60", 0],
        positive=["61", 0],
        negative=["62", 0],
        latent_image=["3", 0],
        **common,
    )
    workflow["8"]["inputs"]["samples"] = ["63", 0]
    return workflow


def test_two_checkpoints_and_both_encoders_of_the_prompt() -> None:
    p = plan(refiner(), baseline_models={"1": "sdxl.safetensors", "60": "plain-refiner.safetensors"})
    assert [c.name for c in p.players] == ["dream", "refiner", "style", "prompt"]
    graph, _ = rewritten(p, ["prompt"])
    assert [n.inputs["text"] for n in graph.values() if n.class_type == "CLIPTextEncode"].count("") == 2


def test_loader_made_twice_is_one_player() -> None:
    workflow = with_lora()
    workflow["70"] = node("CheckpointLoaderSimple", ckpt_name="dream.safetensors")
    workflow["8"]["inputs"]["vae"] = ["70", 2]
    p = plan(workflow, baseline_checkpoint="sd15.safetensors")
    assert [c.name for c in p.players if c.kind == "checkpoint"] == ["dream"]
    graph, _ = rewritten(p, ["dream"])
    assert {n.inputs["ckpt_name"] for n in graph.values() if n.class_type == "CheckpointLoaderSimple"} == {
        "sd15.safetensors"
    }


def test_merge_input_is_bypassed() -> None:
    workflow = base(model="81")
    workflow["80"] = node("CheckpointLoaderSimple", ckpt_name="other.safetensors")
    workflow["81"] = node("ModelMergeSimple", model1=["1", 0], model2=["80", 0], ratio=0.5)
    p = plan(workflow)
    assert [c.name for c in p.players] == ["other", "prompt"]
    assert [c.name for c in p.locked] == ["dream"]
    graph, _ = rewritten(p, ["other"])
    assert only(graph, "KSampler").inputs["model"] == Link("1", 0)


@pytest.mark.parametrize(
    ("extra", "rewire", "kind", "name"),
    [
        ({"20": node("HypernetworkLoader", model=["1", 0], hypernetwork_name="h.pt", strength=1.0)},
         {"3": {"model": ["20", 0]}}, "hypernetwork", "h"),
        ({"20": node("StyleModelLoader", style_model_name="redux.safetensors"),
          "21": node("CLIPVisionLoader", clip_name="vision.safetensors"),
          "22": node("LoadImage", image="x.png"),
          "23": node("CLIPVisionEncode", clip_vision=["21", 0], image=["22", 0], crop="center"),
          "24": node("StyleModelApply", conditioning=["6", 0], style_model=["20", 0],
                     clip_vision_output=["23", 0], strength=1.0, strength_type="multiply")},
         {"3": {"positive": ["24", 0]}}, "style", "redux"),
        ({"20": node("ModelPatchLoader", name="patch.safetensors"), "21": node("LoadImage", image="x.png"),
          "22": node("QwenImageDiffsynthControlnet", model=["1", 0], model_patch=["20", 0], vae=["1", 2],
                     image=["21", 0], strength=1.0)},
         {"3": {"model": ["22", 0]}}, "controlnet", "patch"),
        ({"20": node("CreateHookLora", lora_name="hook.safetensors", strength_model=1.0, strength_clip=1.0),
          "21": node("ConditioningSetProperties", cond_NEW=["6", 0], strength=1.0, set_cond_area="default",
                     hooks=["20", 0])},
         {"3": {"positive": ["21", 0]}}, "lora", "hook"),
        ({"20": node("unCLIPCheckpointLoader", ckpt_name="un.safetensors"), "21": node("LoadImage", image="x.png"),
          "22": node("CLIPVisionEncode", clip_vision=["20", 3], image=["21", 0], crop="center"),
          "23": node("unCLIPConditioning", conditioning=["6", 0], clip_vision_output=["22", 0], strength=1.0,
                     noise_augmentation=0.0)},
         {"3": {"positive": ["23", 0]}}, "unclip", "un"),
    ],
)  # fmt: skip
def test_other_components_are_bypassed(extra, rewire, kind, name) -> None:
    workflow = {**base(), **extra}
    for key, inputs in rewire.items():
        workflow[key]["inputs"].update(inputs)
    p = plan(workflow)
    component = next(c for c in p.players if c.kind == kind)
    assert component.name.startswith(name)
    graph, _ = rewritten(p, [component.name])
    without = plan(base(), players=("prompt",))
    mask = p.full & ~(1 << p.names.index(component.name))
    plain = {n.class_type for n in without.rewriter.graph(without.full)[0].values()}
    assert {n.class_type for n in graph.values()} <= plain | {"ConditioningSetProperties"}
    if kind != "lora":
        assert p.rewriter.target(mask) == without.rewriter.target(without.full)
    else:
        assert "hooks" not in only(graph, "ConditioningSetProperties").inputs


def test_component_that_cannot_be_bypassed_is_locked_and_named() -> None:
    workflow = base()
    workflow["20"] = node("PhotoMakerLoader", photomaker_model_name="pm.bin")
    workflow["21"] = node("LoadImage", image="x.png")
    workflow["22"] = node(
        "PhotoMakerEncode", photomaker=["20", 0], image=["21", 0], clip=["1", 1], text="a photomaker wave"
    )
    workflow["3"]["inputs"]["positive"] = ["22", 0]
    locked = next(c for c in plan(workflow).locked if c.node == "22")
    assert locked.name == "pm" and "cannot be bypassed" in locked.reason


def test_lora_stack_gives_a_player_per_entry() -> None:
    workflow = base(model="20", clip="20")
    workflow["20"] = node(
        "Power Lora Loader (rgthree)",
        model=["1", 0],
        clip=["1", 1],
        lora_1={"on": True, "lora": "a.safetensors", "strength": 1},
        lora_2={"on": False, "lora": "off.safetensors", "strength": 1},
        lora_3={"on": True, "lora": "b.safetensors", "strength": 0.5},
    )
    p = plan(workflow)
    assert [c.name for c in p.players if c.kind == "lora"] == ["a", "b"]
    graph, _ = rewritten(p, ["a"])
    stack = only(graph, "Power Lora Loader (rgthree)").inputs
    assert (stack["lora_1"]["on"], stack["lora_3"]["on"]) == (False, True)


def test_model_in_an_unknown_node_is_unmeasured() -> None:
    workflow = base()
    workflow["20"] = node("UpscaleModelLoader", model_name="esrgan.pth")
    workflow["21"] = node("ImageUpscaleWithModel", upscale_model=["20", 0], image=["8", 0])
    workflow["9"]["inputs"]["images"] = ["21", 0]
    workflow["22"] = node("SomePackLoader", model=["1", 0], thing="odd.safetensors")
    workflow["3"]["inputs"]["model"] = ["22", 0]
    p = plan(workflow)
    assert {u.what for u in p.unmeasured} == {"model_name: esrgan.pth", "thing: odd.safetensors"}
    assert "SomePackLoader" in p.warnings[0]


def test_embeddings_that_stay_are_unmeasured() -> None:
    workflow = base(text="a wave, embedding:style1")
    workflow["7"]["inputs"]["text"] = "(embedding:easyneg:1.2), blurry"
    assert [u.what for u in plan(workflow).unmeasured] == ["embedding: easyneg"]


def test_user_locks_and_chosen_players() -> None:
    assert plan(with_lora(), lock=("STYLE",)).names == ("prompt",)
    assert plan(with_lora(), lock=("2",)).names == ("prompt",)
    assert plan(with_lora(), players=("lora",)).names == ("style",)
    with pytest.raises(PlayerError, match="No component is called 'nope'; the workflow has: 'dream'"):
        plan(with_lora(), lock=("nope",))
    with pytest.raises(PlayerError, match="'dream' cannot be a player: no baseline was named"):
        plan(with_lora(), players=("dream",))
    with pytest.raises(PlayerError, match="all components are locked"):
        plan(with_lora(), lock=("style", "prompt"))


def test_same_lora_twice_gets_two_names() -> None:
    workflow = with_lora()
    workflow["20"] = lora("style.safetensors", "2")
    workflow["3"]["inputs"]["model"] = ["20", 0]
    assert plan(workflow).names == ("style (node 2)", "style (node 20)", "prompt")


def test_no_players() -> None:
    workflow = {
        "1": node("EmptyImage", width=8, height=8, batch_size=1, color=0),
        "2": node("PreviewImage", images=["1", 0]),
    }
    with pytest.raises(WorkflowError, match=r"made by a sampler \(nodes 2 \(PreviewImage\)\), so there is nothing"):
        plan(workflow)
    with pytest.raises(PlayerError, match="No players were found upstream of node '1'"):
        plan(workflow, output="2")


def test_coalition_explosion_is_refused_with_the_count() -> None:
    workflow = base(model="99")
    previous = "1"
    for index in range(9):
        key = str(91 + index)
        workflow[key] = lora(f"l{index}.safetensors", previous)
        previous = key
    with pytest.raises(
        TooManyCoalitionsError, match="10 players make 1,024 coalitions, more than max_coalitions = 256; lock"
    ):
        plan(workflow)
    assert len(plan(workflow, max_coalitions=1024).coalitions) == 1024


def test_sampler_runs_count_distinct_work() -> None:
    workflow = with_lora()
    workflow["12"] = node("VAELoader", vae_name="soft.safetensors")
    workflow["8"]["inputs"]["vae"] = ["12", 0]
    p = plan(workflow, seeds=3)  # lora × prompt × vae: the VAE needs no sampling of its own
    assert (1 << len(p.players), p.sampler_runs) == (8, 4 * 3)


def test_pool_has_one_node_per_distinct_input() -> None:
    p = plan(with_lora(), seeds=2)
    for step in p.steps():
        p.rewriter.target(step.mask, step.offset)
    loaders = [n for n in p.rewriter.pool.values() if n.class_type == "CheckpointLoaderSimple"]
    samplers = [n for n in p.rewriter.pool.values() if n.class_type == "KSampler"]
    assert (len(loaders), len(samplers)) == (1, 8)


def test_nonce_reruns_the_noise_only() -> None:
    p = plan(with_lora())
    graph, _ = rewritten(p, nonce="again")
    assert only(graph, "KSampler").inputs[RERUN_INPUT] == "again"
    assert all(RERUN_INPUT not in n.inputs for n in graph.values() if n.class_type != "KSampler")
    assert "2" in graph and "1" in graph  # loaders are the user's own


def test_workflow_without_noise_uses_one_seed() -> None:
    workflow = base()
    workflow["3"]["inputs"]["seed"] = 0
    del workflow["3"]["inputs"]["seed"]
    p = plan(workflow)
    assert p.seeds == 1 and "no active noise" in p.warnings[0]


def test_output_nodes_on_the_way_are_bypassed() -> None:
    info = {"PassPreview": {"input": {"required": {"images": ["IMAGE"]}}, "output": ["IMAGE"], "output_node": True}}
    catalog = NodeCatalog({**bundled_catalog()._raw, **info}, live=False)
    workflow = base()
    workflow["20"] = node("PassPreview", images=["8", 0])
    workflow["21"] = node("ImageInvert", image=["20", 0])
    workflow["9"]["inputs"]["images"] = ["21", 0]
    p = plan(workflow, catalog)
    assert p.graph["21"].inputs["image"] == Link("8", 0)
    assert "20" not in p.graph


def test_paid_nodes_stop_the_plan() -> None:
    paid = next(
        name for name, raw in bundled_catalog()._raw.items() if raw.get("api_node") and raw["output"] == ["IMAGE"]
    )
    workflow = base()
    workflow["20"] = node(paid, image=["8", 0])
    workflow["9"]["inputs"]["images"] = ["20", 0]
    with pytest.raises(WorkflowError, match="paid services in node 20"):
        plan(workflow)
    assert plan(workflow, allow_paid_nodes=True)


def test_file_that_the_server_lacks() -> None:
    raw = dict(bundled_catalog()._raw)
    raw["CheckpointLoaderSimple"] = {"input": {"required": {"ckpt_name": [["a.safetensors", "b.safetensors"]]}},
                                     "output": ["MODEL", "CLIP", "VAE"]}  # fmt: skip
    live = NodeCatalog(raw, live=True)
    with pytest.raises(
        WorkflowError, match=r"lacks 'dream.safetensors' for input 'ckpt_name' of node '1' .* it has: a.saf"
    ):
        plan(base(), live)
    workflow = base()
    workflow["1"]["inputs"]["ckpt_name"] = "a.safetensors"
    assert plan(workflow, live, baseline_checkpoint="b.safetensors").names == ("a", "prompt")
    with pytest.raises(WorkflowError, match=r"lacks 'c\.safetensors'"):
        plan(workflow, live, baseline_checkpoint="c.safetensors")


def test_several_outputs_need_a_choice() -> None:
    workflow = base()
    workflow["20"] = node("ImageInvert", image=["8", 0])
    workflow["21"] = node("SaveImage", images=["20", 0], filename_prefix="y")
    with pytest.raises(WorkflowError, match=r"several places, nodes 9 \(SaveImage\), 21 .* \(--output 9\)"):
        plan(workflow)
    assert plan(workflow, output="21").target == Link("20", 0)
    assert plan(workflow, output="8").target == Link("8", 0)
    workflow["22"] = node("CopyScopeCoalitionEnumerator", image=["20", 0])
    assert plan(workflow).target == Link("20", 0)


def test_what_is_saved_counts_before_what_is_shown() -> None:
    workflow = base()
    workflow["20"] = node("ImageInvert", image=["8", 0])
    workflow["21"] = node("PreviewImage", images=["20", 0])
    assert plan(workflow).target == Link("8", 0)
    workflow["9"]["class_type"] = "PreviewImage"
    with pytest.raises(WorkflowError, match="several places"):
        plan(workflow)


def test_a_saved_hint_of_a_generated_image_is_no_target() -> None:
    workflow = base()
    workflow["30"] = ksampler(seed=1)
    workflow["31"] = node("VAEDecode", samples=["30", 0], vae=["1", 2])
    workflow["32"] = node("SaveImage", images=["31", 0], filename_prefix="hint")
    workflow["33"] = node("ControlNetLoader", control_net_name="depth.safetensors")
    workflow["34"] = node("ControlNetApply", conditioning=["6", 0], control_net=["33", 0], image=["31", 0],
                          strength=1.0)  # fmt: skip
    workflow["3"]["inputs"]["positive"] = ["34", 0]
    assert plan(workflow).target == Link("8", 0)
    workflow["3"]["inputs"].update(positive=["6", 0], latent_image=["35", 0])  # now it is what the image is made of
    workflow["35"] = node("VAEEncode", pixels=["31", 0], vae=["1", 2])
    with pytest.raises(WorkflowError, match="several places"):
        plan(workflow)


def test_several_noise_inputs_all_shift() -> None:
    workflow = base()
    workflow["30"] = node("LatentUpscaleBy", samples=["3", 0], upscale_method="bilinear", scale_by=2.0)
    workflow["31"] = ksampler(latent="30", seed=100, denoise=0.5)
    workflow["8"]["inputs"]["samples"] = ["31", 0]
    p = plan(workflow)
    graph, _ = rewritten(p, offset=7)
    assert sorted(n.inputs["seed"] for n in graph.values() if n.class_type == "KSampler") == [12, 107]
    assert len(noise_inputs(p.graph, bundled_catalog())) == 2


def test_settings_of_the_nodes_in_a_workflow() -> None:
    workflow = base()
    workflow["20"] = node("CopyScopePlayers", baseline_checkpoint="(none)", baseline_vae="v.safetensors", only="",
                          key_prompts="by hokusai\n\n a wave ", lock="style",
                          baseline_models="12 = x.safetensors")  # fmt: skip
    workflow["21"] = node("CopyScopeCoalitionEnumerator", image=["8", 0], seeds=3, max_coalitions=16, players=["20", 0])
    assert embedded_settings(parse_graph(workflow)) == {
        "seeds": 3, "max_coalitions": 16, "baseline_checkpoint": None, "baseline_vae": "v.safetensors", "players": (),
        "key_prompts": ("by hokusai", "a wave"), "lock": ("style",), "baseline_models": {"12": "x.safetensors"},
    }  # fmt: skip
    assert embedded_settings(parse_graph(base())) == {}


def test_coalitions_run_with_the_whole_first_and_the_checkpoint_changed_once() -> None:
    p = plan(with_lora(), baseline_checkpoint="sd15.safetensors", key_prompts=("by hokusai",))
    order = p.coalitions
    assert order[0] == p.full
    assert sorted(order) == list(range(1 << len(p.names)))
    assert len(p.names) == 3
    changes = {
        player.kind: sum((a ^ b) >> place & 1 for a, b in itertools.pairwise(order))
        for place, player in enumerate(p.players)
    }
    assert changes == {"checkpoint": 1, "lora": 2, "prompt": 4}


def test_what_is_dear_to_change_changes_least_whatever_the_order_of_the_players() -> None:
    workflow = controlnets()
    workflow["2"] = lora("style.safetensors", "1")
    workflow["3"]["inputs"]["model"] = ["2", 0]
    p = plan(workflow, baseline_checkpoint="sd15.safetensors")
    by_cost = sorted(range(len(p.players)), key=lambda place: COST_ORDER.index(p.players[place].kind))
    assert by_cost != list(range(len(p.players)))
    changes = [sum((a ^ b) >> place & 1 for a, b in itertools.pairwise(p.coalitions)) for place in by_cost]
    assert changes == [1, 2, 4, 8, 16]
