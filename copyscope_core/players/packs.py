"""What is known of single node classes: one table, no code for any of them.

Most nodes are understood by the types of their inputs and outputs (``components``). This table is for those that types
say too little of: stacks of many models in one node, loaders that also hold prompts, LoRA tags in texts, switches. A
new pack needs entries here and nothing else. ``docs/players.md`` says which were run on a real ComfyUI.

``{n}`` in the name of an input stands for a number, the same in all names of one slot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Slot:
    """A model that an input of a node names.

    Attributes:
        input: the input.
        kind: the kind of the model.
        off: inputs and the values with which the model is not loaded; empty for a loader, which needs a baseline.
        on: inputs and values without which it is not loaded.
        count: the input that says how many numbered slots are in use.
        strengths: inputs; where all are 0, the model changes nothing.
        hint: the input of the image that the model is given.
    """

    input: str
    kind: str = "lora"
    off: Mapping[str, Any] = field(default_factory=dict)
    on: Mapping[str, Any] = field(default_factory=dict)
    count: str = ""
    strengths: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True)
class Rows:
    """LoRAs that a node holds as objects: one an input, or a list of them in one input.

    Attributes:
        input: the input.
        name: the key of the file's name.
        on: the key of its switch.
        text: a text that repeats the rows as tags.
    """

    input: str
    name: str
    on: str
    text: str = ""


@dataclass(frozen=True)
class NodeRule:
    """What is known of a node class.

    Attributes:
        slots, rows: the models that it holds.
        positive, negative: its prompts, where it encodes both itself.
        tags: texts whose LoRA tags, such as ``<lora:style:0.8>``, it loads.
        named: the input that says which model it loads, where no input holds a file name.
    """

    slots: tuple[Slot, ...] = ()
    rows: Rows | None = None
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    named: str = ""


def _lora(name: str, *strengths: str, **more: Any) -> Slot:
    """A LoRA slot whose list has the entry “None”."""
    return Slot(name, off={name: "None"}, strengths=strengths, **more)


_BAKED_VAE = Slot("vae_name", "vae", off={"vae_name": "Baked VAE"})
_EFFICIENT = (_BAKED_VAE, _lora("lora_name", "lora_model_strength", "lora_clip_strength"))
_BOTH_PROMPTS: dict[str, Any] = {"positive": ("positive",), "negative": ("negative",)}
_EASY_LOADER = NodeRule((Slot("ckpt_name", "checkpoint"), *_EFFICIENT), **_BOTH_PROMPTS, tags=("positive", "negative"))
_WILDCARD = NodeRule(tags=("wildcard_text", "populated_text"))
_DETAILER = NodeRule(positive=("wildcard",), tags=("wildcard",))
_BY_PRESET = NodeRule(named="preset")
_MANAGER_ROWS = NodeRule(rows=Rows("loras", "name", "active", text="text"))

RULES: Mapping[str, NodeRule] = {
    # ComfyUI: names without extension
    "VAELoader": NodeRule((Slot("vae_name", "vae"),)),
    "DiffusersLoader": NodeRule((Slot("model_path", "checkpoint"),)),
    # rgthree-comfy
    "Power Lora Loader (rgthree)": NodeRule(rows=Rows("lora_{n}", "lora", "on")),
    "Lora Loader Stack (rgthree)": NodeRule((_lora("lora_{n}", "strength_{n}"),)),
    "Power Prompt (rgthree)": NodeRule(tags=("prompt",)),
    "SDXL Power Prompt - Positive (rgthree)": NodeRule(tags=("prompt_g", "prompt_l")),
    # efficiency-nodes-comfyui
    "Efficient Loader": NodeRule((Slot("ckpt_name", "checkpoint"), *_EFFICIENT), **_BOTH_PROMPTS),
    "Eff. Loader SDXL": NodeRule(
        (Slot("base_ckpt_name", "checkpoint"), Slot("refiner_ckpt_name", "checkpoint"), _BAKED_VAE),
        **_BOTH_PROMPTS,
    ),
    "LoRA Stacker": NodeRule((_lora("lora_name_{n}", count="lora_count"),)),
    "Control Net Stacker": NodeRule((Slot("control_net", "controlnet", off={"strength": 0.0}, hint="image"),)),
    # ComfyUI_Comfyroll_CustomNodes
    "CR LoRA Stack": NodeRule(
        (_lora("lora_name_{n}", "model_weight_{n}", "clip_weight_{n}", on={"switch_{n}": "On"}),)
    ),
    "CR Multi-ControlNet Stack": NodeRule(
        (
            Slot(
                "controlnet_{n}", "controlnet", off={"switch_{n}": "Off"}, on={"switch_{n}": "On"},
                strengths=("controlnet_strength_{n}",), hint="image_{n}",
            ),
        )
    ),
    # ComfyUI-Easy-Use
    "easy fullLoader": _EASY_LOADER,
    "easy a1111Loader": _EASY_LOADER,
    "easy comfyLoader": _EASY_LOADER,
    "easy loraStack": NodeRule((_lora("lora_{n}_name", count="num_loras", on={"toggle": True}),)),
    "easy controlnetStack": NodeRule(
        (
            Slot(
                "controlnet_{n}", "controlnet", off={"controlnet_{n}": "None"}, on={"toggle": True},
                count="num_controlnet", strengths=("controlnet_{n}_strength",), hint="image_{n}",
            ),
        )
    ),
    # ComfyUI-Lora-Manager
    "Lora Loader (LoraManager)": _MANAGER_ROWS,
    "Lora Stacker (LoraManager)": _MANAGER_ROWS,
    "LoRA Text Loader (LoraManager)": NodeRule(tags=("lora_syntax",)),
    # ComfyUI-Impact-Pack, ComfyUI-Inspire-Pack
    "ImpactWildcardEncode": _WILDCARD,
    "WildcardEncode //Inspire": _WILDCARD,
    "FaceDetailer": _DETAILER,
    "FaceDetailerPipe": _DETAILER,
    "DetailerForEach": _DETAILER,
    "DetailerForEachDebug": _DETAILER,
    "DetailerForEachPipe": _DETAILER,
    # comfyui_lora_tag_loader, comfyui-prompt-control
    "LoraTagLoader": NodeRule(tags=("text",)),
    "PCLazyLoraLoader": NodeRule(tags=("text",)),
    "PCLazyLoraLoaderAdvanced": NodeRule(tags=("text",)),
    # ComfyUI-nunchaku
    "NunchakuFluxDiTLoader": NodeRule((Slot("model_path", "unet"),)),
    "NunchakuQwenImageDiTLoader": NodeRule((Slot("model_name", "unet"),)),
    "NunchakuZImageDiTLoader": NodeRule((Slot("model_name", "unet"),)),
    "NunchakuFluxLoraStack": NodeRule((_lora("lora_name_{n}", "lora_strength_{n}"),)),
    # ComfyUI_IPAdapter_plus
    "IPAdapterUnifiedLoader": _BY_PRESET,
    "IPAdapterUnifiedLoaderFaceID": _BY_PRESET,
    "IPAdapterUnifiedLoaderCommunity": _BY_PRESET,
}  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """A switch: the value of input ``by`` says which input is passed on.

    Attributes:
        inputs: the input for true and for false; a text is its name instead, with the number of
            ``by`` for ``{n}``.
    """

    by: str
    inputs: Mapping[bool, str] | str


CHOICES: Mapping[str, Choice] = {
    "ComfySwitchNode": Choice("switch", {True: "on_true", False: "on_false"}),
    "easy ifElse": Choice("boolean", {True: "on_true", False: "on_false"}),
    "Switch any [Crystools]": Choice("boolean", {True: "on_true", False: "on_false"}),
    "ImpactConditionalBranch": Choice("cond", {True: "tt_value", False: "ff_value"}),
    "ImpactSwitch": Choice("select", "input{n}"),
    "easy anythingIndexSwitch": Choice("index", "value{n}"),
    "CR Image Input Switch": Choice("Input", "image{n}"),
    "CR Latent Input Switch": Choice("Input", "latent{n}"),
    "CR Conditioning Input Switch": Choice("Input", "conditioning{n}"),
    "CR Model Input Switch": Choice("Input", "model{n}"),
    "CR Clip Input Switch": Choice("Input", "clip{n}"),
}

FIRST_OF: Mapping[str, str] = {"Any Switch (rgthree)": "any_{n}"}
"""Switches that pass on the first input that holds anything."""

_CONTEXT = ("base_ctx", "model", "clip", "vae", "positive", "negative", "latent", "images", "seed")
_CONTEXT_BIG = (
    *_CONTEXT, "steps", "step_refiner", "cfg", "ckpt_name", "sampler", "scheduler", "clip_width", "clip_height",
    "text_pos_g", "text_pos_l", "text_neg_g", "text_neg_l", "mask", "control_net",
)  # fmt: skip
_BASIC_PIPE = ("basic_pipe", "model", "clip", "vae", "positive", "negative")

CONTEXTS: Mapping[str, tuple[str, ...]] = {
    "Context (rgthree)": _CONTEXT,
    "Context Big (rgthree)": _CONTEXT_BIG,
    "Context Switch (rgthree)": _CONTEXT,
    "Context Switch Big (rgthree)": _CONTEXT_BIG,
    "ToBasicPipe": ("basic_pipe",),
    "FromBasicPipe": _BASIC_PIPE[1:],
    "FromBasicPipe_v2": _BASIC_PIPE,
    "EditBasicPipe": ("basic_pipe",),
}
"""Nodes that bundle values: for each output the name of the value, the same as that of the input that sets it. What a
node does not set is that of the bundle that it takes."""

BUNDLES = ("base_ctx", "basic_pipe")
"""The names of whole bundles. Switches of bundles have numbered inputs ``ctx_01``, ``ctx_02`` … instead."""

OFF: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "LoraLoader": ({"strength_model": 0, "strength_clip": 0},),
    "LoraLoaderModelOnly": ({"strength_model": 0},),
    "LoraLoader|pysssss": ({"strength_model": 0, "strength_clip": 0},),
    "NunchakuFluxLoraLoader": ({"lora_strength": 0},),
    "NunchakuQwenImageLoraLoader": ({"lora_strength": 0},),
    "CR Load LoRA": ({"switch": "Off"}, {"lora_name": "None"}, {"strength_model": 0, "strength_clip": 0}),
    "ControlNetApply": ({"strength": 0},),
    "ControlNetApplyAdvanced": ({"strength": 0},),
    "ControlNetApplySD3": ({"strength": 0},),
    "CR Apply ControlNet": ({"switch": "Off"}, {"strength": 0}),
    "CR Apply Multi-ControlNet": ({"switch": "Off"},),
    "HypernetworkLoader": ({"strength": 0},),
    "unCLIPConditioning": ({"strength": 0},),
}
"""Nodes that pass their inputs on unchanged where inputs have all the values of one of these."""

COMPARES = frozenset({"ImageCompare", "Image Comparer (rgthree)", "easy imageCompare", "Image Compare (mtb)"})
"""Output nodes that show an image beside another, and are none of a workflow's results."""
