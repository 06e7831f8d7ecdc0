"""The workflow that the games of ``planted`` and ``trained`` have in common, in API format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Graph = dict[str, Any]


def node(class_type: str, **inputs: Any) -> Graph:
    """One node."""
    return {"class_type": class_type, "inputs": inputs}


def painting(
    checkpoint: str, loras: Mapping[str, tuple[str, float]], text: str, size: int, prefix: str, **sampling: Any
) -> Graph:
    """Checkpoint, LoRAs in a row, one prompt, a square image.

    Args:
        loras: node id → file and strength.
        sampling: what KSampler takes beside its links.
    """
    graph, model = {"checkpoint": node("CheckpointLoaderSimple", ckpt_name=checkpoint)}, "checkpoint"
    for name, (file, strength) in loras.items():
        graph[name] = node("LoraLoaderModelOnly", model=[model, 0], lora_name=file, strength_model=strength)
        model = name
    return {
        **graph,
        "positive": node("CLIPTextEncode", text=text, clip=["checkpoint", 1]),
        "negative": node("CLIPTextEncode", text="", clip=["checkpoint", 1]),
        "latent": node("EmptyLatentImage", width=size, height=size, batch_size=1),
        "sampler": node(
            "KSampler", model=[model, 0], positive=["positive", 0], negative=["negative", 0],
            latent_image=["latent", 0], denoise=1.0, **sampling,
        ),
        "decode": node("VAEDecode", samples=["sampler", 0], vae=["checkpoint", 2]),
        "save": node("SaveImage", images=["decode", 0], filename_prefix=prefix),
    }  # fmt: skip
