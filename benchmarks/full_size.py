"""A models folder of SD 1.5's own size with random weights, under the names of the demo's zoo: for timing only.

    python -m benchmarks.full_size COMFYUI OUT

Two checkpoints (UNet of 860 million weights, CLIP-L, autoencoder; float16, 2.1 GB each) and two LoRAs of rank 16 over
all attention layers. Their images are noise, but sampling them costs what sampling SD 1.5 costs. The shapes are those
of ComfyUI's own classes, so it runs with ComfyUI's Python.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from copyscope_core.demo import shapes
from copyscope_core.demo.tensors import materialise, seeded

CHECKPOINTS = ("copyscope-zoo", "copyscope-zoo-renoir")
LORAS = ("copyscope-zoo-hokusai", "copyscope-zoo-van-gogh")
RANK = 16
UNET = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320, "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4], "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0], "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], "context_dim": 768, "num_heads": 8,
    "use_spatial_transformer": True, "legacy": False,
}  # fmt: skip
AUTOENCODER = {
    "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128,
    "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0,
}  # fmt: skip
ATTENTION = re.compile(r"(.*attn[12]\.(?:to_[qkv]|to_out\.0))\.weight")
Weights = dict[str, torch.Tensor]


def filled(names: Mapping[str, torch.Tensor], prefix: str, generator: torch.Generator) -> Weights:
    """Random weights that keep the size of what goes through: variance 1 / fan in, norms 1, biases 0."""

    def weights(name: str, like: torch.Tensor) -> torch.Tensor:
        if like.ndim < 2:
            value = 1.0 if name.endswith(".weight") else 0.0
            return torch.full(like.shape, value, dtype=torch.float16)
        fan_in = like[0].numel()
        drawn = torch.randn(like.shape, generator=generator, device=generator.device) / math.sqrt(fan_in)
        return drawn.half().cpu()

    return {prefix + name: weights(name, like) for name, like in names.items()}


def networks(comfyui: Path) -> tuple[Mapping[str, torch.Tensor], Mapping[str, torch.Tensor]]:
    """The UNet's and the autoencoder's weights, without values."""
    sys.path.insert(0, str(comfyui))
    from comfy.cli_args import args

    args.cpu = True  # before the next import, which looks for the device; only shapes are read here
    import comfy.ops
    from comfy.ldm.models.autoencoder import AutoencoderKL
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    with torch.device("meta"):
        unet = UNetModel(**UNET, operations=comfy.ops.disable_weight_init)
        autoencoder = AutoencoderKL(ddconfig=AUTOENCODER, embed_dim=4)
    return unet.state_dict(), autoencoder.state_dict()


def lora(unet: Mapping[str, torch.Tensor], generator: torch.Generator) -> Weights:
    """Changes each attention layer by half of its own weights."""
    made = {}
    for name, like in unet.items():
        if (found := ATTENTION.fullmatch(name)) is None:
            continue
        rows, columns = like.shape
        base = "lora_unet_" + found[1].replace(".", "_")
        down = torch.randn(RANK, columns, generator=generator, device=generator.device) / math.sqrt(columns)
        up = torch.randn(rows, RANK, generator=generator, device=generator.device) * 0.5 / math.sqrt(RANK)
        made |= {f"{base}.lora_down.weight": down.half().cpu(), f"{base}.lora_up.weight": up.half().cpu()}
        made[f"{base}.alpha"] = torch.tensor(float(RANK), dtype=torch.float16)
    return made


def make(comfyui: Path, out: Path) -> None:
    """Write the four files."""
    from safetensors.torch import save_file

    unet, autoencoder = networks(comfyui)
    text = {item.name: torch.from_numpy(materialise(item)).half()
            for item in seeded(shapes.clip_l(), 0, "cond_stage_model.transformer.")}  # fmt: skip
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for folder in ("checkpoints", "loras"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(CHECKPOINTS):
        generator = torch.Generator(device).manual_seed(seed)
        weights = filled(unet, "model.diffusion_model.", generator)
        weights |= filled(autoencoder, "first_stage_model.", generator)
        save_file({**weights, **text}, out / "checkpoints" / f"{name}.safetensors")
    for seed, name in enumerate(LORAS):
        save_file(lora(unet, torch.Generator(device).manual_seed(10 + seed)), out / "loras" / f"{name}.safetensors")


if __name__ == "__main__":
    make(Path(sys.argv[1]).expanduser(), Path(sys.argv[2]))
