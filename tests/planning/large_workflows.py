"""API-format workflows that grow by a number of nodes, each in a way of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from example_workflows import Workflow, base, ksampler, lora, node

from copyscope_core.workflow.node_info import NodeCatalog, bundled_catalog


def catalog() -> NodeCatalog:
    """ComfyUI's own classes and some that only grow here."""
    optional = {"input": {"optional": {"a": ["MODEL"], "b": ["MODEL"]}}, "output": ["MODEL", "MODEL"]}
    extra = {
        "PassPreview": {"input": {"required": {"images": ["IMAGE"]}}, "output": ["IMAGE"], "output_node": True},
        "MakeStyle": {"input": {"optional": {"style": ["STYLE_MODEL"]}}, "output": ["STYLE_MODEL"]},
        "ApplyStyle": {
            "input": {"required": {"conditioning": ["CONDITIONING"], "style": ["STYLE_MODEL"]}},
            "output": ["CONDITIONING"],
        },
        "MaybeModel": optional,
        "MaybeLora": {"input": {"required": {"lora": ["STRING"]}, **optional["input"]}, "output": ["MODEL", "MODEL"]},
        "MaybeLatent": {
            "input": {"required": {"latent": ["LATENT"]}, "optional": {"a": ["MODEL"], "b": ["MODEL"]}},
            "output": ["LATENT"],
        },
    }
    return NodeCatalog({**bundled_catalog()._raw, **extra}, live=False)


def lora_chain(count: int) -> Workflow:
    """So many LoRAs, one after the other."""
    graph, last = base(), "1"
    for number in range(count):
        graph[f"lora{number}"] = lora(f"{number}.safetensors", last, last)
        last = f"lora{number}"
    graph["3"]["inputs"]["model"] = [last, 0]
    for encoder in ("6", "7"):
        graph[encoder]["inputs"]["clip"] = [last, 1]
    return graph


def lora_stack(rows: int, file: str | None = None) -> Workflow:
    """One stack of so many LoRAs, of different files or of the same."""
    graph = base()
    entries = {
        f"lora_{number}": {"on": True, "lora": file or f"{number}.safetensors", "strength": 1} for number in range(rows)
    }
    graph["stack"] = node("Power Lora Loader (rgthree)", model=["1", 0], clip=["1", 1], **entries)
    graph["3"]["inputs"]["model"] = ["stack", 0]
    return graph


def _row(graph: Workflow, count: int, first: str, make: Callable[[str], dict[str, Any]]) -> str:
    """So many nodes in a row behind ``first``, each made of the id of the one before it; the last one's id."""
    last = first
    for number in range(count):
        graph[f"row{number}"] = make(last)
        last = f"row{number}"
    return last


def latents(count: int) -> Workflow:
    """A row of rescaled latents before the sampler."""
    graph = base()
    last = _row(graph, count, "5", lambda before: node("LatentMultiply", samples=[before, 0], multiplier=1.0))
    graph["3"]["inputs"]["latent_image"] = [last, 0]
    return graph


def primitives(count: int) -> Workflow:
    """A text behind a row of primitives, taken by many encoders."""
    graph = base()
    graph["first"] = node("PrimitiveStringMultiline", value="a wave")
    text = _row(graph, count // 3, "first", lambda before: node("PrimitiveStringMultiline", value=[before, 0]))
    last = "6"
    for number in range(count // 3):
        graph[f"text{number}"] = node("CLIPTextEncode", clip=["1", 1], text=[text, 0])
        pair = {"conditioning_to": [last, 0], "conditioning_from": [f"text{number}", 0]}
        graph[f"both{number}"] = node("ConditioningConcat", **pair)
        last = f"both{number}"
    graph["3"]["inputs"]["positive"] = [last, 0]
    return graph


def samplers(count: int) -> Workflow:
    """Many samplers of one long conditioning, which serves the negative prompt too."""
    graph = base()
    text = _row(graph, count // 2, "6", lambda before: node("FluxGuidance", conditioning=[before, 0], guidance=1.0))
    last = "5"
    for number in range(count // 2):
        graph[f"sampler{number}"] = ksampler(positive=text, negative=text, latent=last)
        last = f"sampler{number}"
    graph["3"]["inputs"]["latent_image"] = [last, 0]
    return graph


def previews(count: int) -> Workflow:
    """A row of previews that pass the image on."""
    graph = base()
    last = _row(graph, count, "8", lambda before: node("PassPreview", images=[before, 0]))
    graph["inverted"] = node("ImageInvert", image=[last, 0])
    graph["9"]["inputs"]["images"] = ["inverted", 0]
    return graph


def vaes(count: int) -> Workflow:
    """Many VAE loaders, and no checkpoint whose own VAE could stand in."""
    graph = base()
    graph["1"] = node("UNETLoader", unet_name="unet.safetensors", weight_dtype="default")
    graph["clip"] = node("CLIPLoader", clip_name="clip.safetensors", type="sdxl")
    last = "5"
    for number in range(count // 3):
        graph[f"vae{number}"] = node("VAELoader", vae_name=f"{number}.safetensors")
        graph[f"decoded{number}"] = node("VAEDecode", samples=[last, 0], vae=[f"vae{number}", 0])
        graph[f"encoded{number}"] = node("VAEEncode", pixels=[f"decoded{number}", 0], vae=[f"vae{number}", 0])
        last = f"encoded{number}"
    graph["3"]["inputs"]["latent_image"] = [last, 0]
    graph["8"]["inputs"]["vae"] = ["vae0", 0]
    for encoder in ("6", "7"):
        graph[encoder]["inputs"]["clip"] = ["clip", 0]
    return graph


def merges(count: int, file: str = "") -> Workflow:
    """Many models merged into one, of different files or of the same."""
    graph, last = base(), "1"
    for number in range(count // 2):
        name = file or f"{number}.safetensors"
        graph[f"unet{number}"] = node("UNETLoader", unet_name=name, weight_dtype="default")
        pair = {"model1": [last, 0], "model2": [f"unet{number}", 0]}
        graph[f"merge{number}"] = node("ModelMergeSimple", **pair, ratio=1.0)
        last = f"merge{number}"
    graph["3"]["inputs"]["model"] = [last, 0]
    return graph


def equal_merges(count: int) -> Workflow:
    return merges(count, "same.safetensors")


def styles(count: int) -> Workflow:
    """A row of nodes that bring a style, each applied by a node of its own."""
    graph, last = base(), "6"
    for number in range(count // 2):
        style = {"style": [f"style{number - 1}", 0]} if number else {}
        graph[f"style{number}"] = node("MakeStyle", **style)
        graph[f"apply{number}"] = node("ApplyStyle", conditioning=[last, 0], style=[f"style{number}", 0])
        last = f"apply{number}"
    graph["3"]["inputs"]["positive"] = [last, 0]
    return graph


def optional_models(count: int) -> Workflow:
    """A LoRA that needs no model, and nodes behind it that each take both outputs of the one before."""
    graph = base()
    graph["patch"] = node("MaybeLora", lora="style.safetensors")
    last = _row(graph, count, "patch", lambda before: node("MaybeModel", a=[before, 0], b=[before, 1]))
    graph["end"] = node("MaybeLatent", latent=["5", 0], a=[last, 0], b=[last, 1])
    graph["3"]["inputs"]["latent_image"] = ["end", 0]
    return graph


def controlnets(count: int) -> Workflow:
    """A chain of ControlNets on both prompts."""
    graph = base()
    graph["hint"] = node("EmptyImage", width=8, height=8, batch_size=1, color=0)
    sides = ("6", 0), ("7", 0)
    for number in range(count // 2):
        graph[f"net{number}"] = node("ControlNetLoader", control_net_name=f"{number}.safetensors")
        graph[f"use{number}"] = node(
            "ControlNetApplyAdvanced", positive=list(sides[0]), negative=list(sides[1]), image=["hint", 0],
            control_net=[f"net{number}", 0], strength=1.0, start_percent=0.0, end_percent=1.0,
        )  # fmt: skip
        sides = (f"use{number}", 0), (f"use{number}", 1)
    graph["3"]["inputs"].update(positive=list(sides[0]), negative=list(sides[1]))
    return graph


def wide(count: int) -> Workflow:
    """A node of an unknown class with so many inputs and outputs, all in use, behind both prompts."""
    graph = base()
    graph["many"] = node("Unknown", **{f"in{number}": ["6", 0] for number in range(count)})
    graph["all"] = node("Unknown", **{f"in{number}": ["many", number] for number in range(count)})
    graph["3"]["inputs"].update(positive=["all", 0], negative=["6", 0])
    return graph


GROWING: dict[str, Callable[[int], Workflow]] = {
    make.__name__: make
    for make in (
        lora_chain, lora_stack, latents, primitives, samplers, previews, vaes, merges, equal_merges, styles,
        optional_models, controlnets, wide,
    )
}  # fmt: skip
