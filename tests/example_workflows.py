"""Small API-format workflows for the tests of the graph layer."""

from __future__ import annotations

from typing import Any

Workflow = dict[str, dict[str, Any]]


HASHES = {"dream.safetensors": "a" * 64, "style.safetensors": "b" * 64}
"""Of the model files of ``with_lora``."""


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def ksampler(
    model: str = "1", positive: str = "6", negative: str = "7", latent: str = "5", **changed: Any
) -> dict[str, Any]:
    inputs: dict[str, Any] = {
        "seed": 5, "steps": 4, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
        "model": [model, 0], "positive": [positive, 0], "negative": [negative, 0], "latent_image": [latent, 0],
    }  # fmt: skip
    return {"class_type": "KSampler", "inputs": {**inputs, **changed}}


def base(clip: str = "1", model: str = "1", text: str = "a wave, by hokusai") -> Workflow:
    """Checkpoint 1, prompts 6 and 7, sampler 3, decoder 8, save 9."""
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name="dream.safetensors"),
        "5": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "6": node("CLIPTextEncode", text=text, clip=[clip, 1]),
        "7": node("CLIPTextEncode", text="blurry", clip=[clip, 1]),
        "3": ksampler(model=model),
        "8": node("VAEDecode", samples=["3", 0], vae=["1", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="x"),
    }


def lora(name: str, model: str, clip: str | None = None) -> dict[str, Any]:
    if clip is None:
        return node("LoraLoaderModelOnly", model=[model, 0], lora_name=name, strength_model=1.0)
    return node("LoraLoader", model=[model, 0], clip=[clip, 1], lora_name=name, strength_model=1.0, strength_clip=1.0)


def with_lora(text: str = "a wave, by hokusai") -> Workflow:
    """``base`` with the LoRA ``style.safetensors`` (node 2) on model and clip."""
    return {**base(clip="2", model="2", text=text), "2": lora("style.safetensors", "1", "1")}


def as_video(output: str = "SaveVideo", frames: int = 16) -> Workflow:
    """``with_lora`` with a batch of images that goes into a video."""
    workflow = with_lora()
    workflow["9"] = node(output, images=["8", 0], filename_prefix="v")
    if output == "SaveVideo":
        workflow["30"] = node("CreateVideo", images=["8", 0], fps=8.0)
        workflow["9"] = node(output, video=["30", 0], filename_prefix="v", format="auto", codec="auto")
    workflow["5"]["inputs"]["batch_size"] = frames
    return workflow
