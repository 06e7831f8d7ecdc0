"""Make a folder for ``--features`` from the published checkpoint of CSD (Somepalli et al. 2024, arXiv 2404.01292).

    python -m tools.convert_csd pytorch_model.bin --out csd-vit-l
    copyscope fid images other --features csd-vit-l

The checkpoint is ``pytorch_model.bin`` of huggingface.co/tomg-group-umd/CSD-ViT-L (CC-BY-4.0, 2.4 GB): OpenAI's CLIP
ViT-L/14, trained on, with a head for style and one for content in the place of its projection. The folder holds a CLIP
vision tower whose projection is the style head, as safetensors. Nothing in the checkpoint is run: tensors, numbers and
names alone are read from it. Needs the extra ``clip``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

MAX_BYTES = 4 << 30
HEAD_WIDTH = 64
"""Of OpenAI's attention heads: the wider a network, the more it has."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

STYLE_HEAD, CONTENT_HEAD = "last_layer_style", "last_layer_content"
PLAIN = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre": "pre_layrnorm",
    "ln_post": "post_layernorm",
}
BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
"""OpenAI's names of the tower's layers, and those of transformers."""


class CheckpointError(Exception):
    """A file that is no checkpoint of CSD."""


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of CSD, by the names that its code gives them.

    Raises:
        CheckpointError: the file cannot be read as tensors alone, or is too large.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path} is larger than {MAX_BYTES >> 30} GiB; it is no checkpoint of CSD.")
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            with torch.serialization.safe_globals(_plain_types()):
                state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}).") from error
    except Exception as error:  # of many kinds, for a damaged file and for one that would run code
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} cannot be read as a file of tensors alone ({reason[:200]}).") from error
    if isinstance(state, dict) and isinstance(state.get("model_state_dict"), dict):
        state = state["model_state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds no table of tensors.")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def _plain_types() -> list[Any]:
    """Types without behaviour that the training of CSD left in its checkpoint: options, and numbers of NumPy."""
    multiarray = np._core.multiarray if hasattr(np, "_core") else np.core.multiarray
    scalar = multiarray.scalar
    kinds = [type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int64)]
    return [argparse.Namespace, np.dtype, *kinds, scalar, (scalar, "numpy.core.multiarray.scalar")]


def convert(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The settings and the tensors of a CLIP vision tower whose projection is CSD's style head.

    Raises:
        CheckpointError: a tensor is missing, unknown, or does not fit the others.
    """
    converted: dict[str, torch.Tensor] = {}
    for name, value in tensors.items():
        if name == CONTENT_HEAD or name.startswith(f"{CONTENT_HEAD}."):
            continue
        if name == STYLE_HEAD:
            converted["visual_projection.weight"] = value.T
            continue
        for new, part in _renamed(name, value):
            converted[f"vision_model.{new}"] = part
    config = _config(converted)
    return config, {name: value.float().contiguous().clone() for name, value in sorted(converted.items())}


def _renamed(name: str, value: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """A tensor of the backbone under transformers' names: three for the three that attention begins with."""
    inner = name.removeprefix("backbone.")
    if inner in PLAIN:
        return [(PLAIN[inner], value)]
    layer, _, kind = inner.rpartition(".")
    if layer in PLAIN and kind in ("weight", "bias"):
        return [(f"{PLAIN[layer]}.{kind}", value)]
    if match := re.fullmatch(r"transformer\.resblocks\.(\d{1,3})\.(.+)", inner):
        place, rest = f"encoder.layers.{int(match[1])}", match[2]
        layer, _, kind = rest.rpartition(".")
        if layer in BLOCK and kind in ("weight", "bias"):
            return [(f"{place}.{BLOCK[layer]}.{kind}", value)]
        if rest in ("attn.in_proj_weight", "attn.in_proj_bias") and len(value) % 3 == 0:
            kind = rest.removeprefix("attn.in_proj_")
            return [(f"{place}.self_attn.{q}_proj.{kind}", part) for q, part in zip("qkv", value.chunk(3), strict=True)]
    raise CheckpointError(f"The tensor {name[:80]!r} is none of CSD's; this is the checkpoint of another model.")


def _config(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """What the shapes say about the tower."""
    try:
        width, _, patch, _ = tensors["vision_model.embeddings.patch_embedding.weight"].shape
        positions = len(tensors["vision_model.embeddings.position_embedding.weight"])
        inner = len(tensors["vision_model.encoder.layers.0.mlp.fc1.weight"])
        projection = len(tensors["visual_projection.weight"])
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"The checkpoint lacks tensors of CSD ({error}); download it again.") from error
    layers = {int(match[1]) for name in tensors if (match := re.search(r"\.layers\.(\d+)\.", name))}
    side = round((positions - 1) ** 0.5)
    if side**2 != positions - 1 or layers != set(range(len(layers))) or width % HEAD_WIDTH:
        raise CheckpointError("The checkpoint's tensors do not fit together; download it again.")
    return {
        "architectures": ["CLIPVisionModelWithProjection"],
        "model_type": "clip_vision_model",
        "hidden_act": "quick_gelu",
        "hidden_size": width,
        "image_size": side * patch,
        "intermediate_size": inner,
        "num_attention_heads": width // HEAD_WIDTH,
        "num_hidden_layers": len(layers),
        "patch_size": patch,
        "projection_dim": projection,
    }


def write_folder(config: Mapping[str, Any], tensors: dict[str, torch.Tensor], out: Path) -> None:
    """The model as ``--features`` reads it."""
    size = config["image_size"]
    preprocessing = {
        "size": {"shortest_edge": size},
        "crop_size": {"height": size, "width": size},
        "image_mean": MEAN,
        "image_std": STD,
    }
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    for name, settings in (("config", config), ("preprocessor_config", preprocessing)):
        (out / f"{name}.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="pytorch_model.bin, checkpoint.pth, or a safetensors file of it")
    parser.add_argument("--out", type=Path, required=True, help="folder that is made")
    arguments = parser.parse_args()
    try:
        config, tensors = convert(read_checkpoint(arguments.checkpoint))
        write_folder(config, tensors, arguments.out)
    except (CheckpointError, OSError) as error:
        sys.exit(str(error))
    sys.stdout.write(f"{arguments.out}: {len(tensors)} tensors, {config['projection_dim']} numbers an image\n")


if __name__ == "__main__":
    main()
