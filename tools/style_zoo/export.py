"""Files that ComfyUI's own loaders read: a checkpoint in SD 1.5's names, a LoRA in kohya's."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from copyscope_core.demo.models import make_model

from .nets import LATENT_SCALE
from .training import read_tensors, save_atomic

LICENCE = "GPL-3.0-or-later"


def text_encoder() -> dict[str, Tensor]:
    """The random but fixed CLIP-L of all miniature models, in 16-bit floats."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip-l.safetensors"
        make_model("clip-l", path)
        return read_tensors(path)[0]


def checkpoint_tensors(unet: Mapping[str, Tensor], autoencoder: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """UNet and autoencoder under the names of an SD 1.5 checkpoint."""
    found = {f"model.diffusion_model.{name}": value.half() for name, value in unet.items()}
    found |= {f"first_stage_model.{name}": value.half() for name, value in autoencoder.items()}
    found["first_stage_model.vae_scale"] = torch.tensor(LATENT_SCALE)
    found["first_stage_model.vae_shift"] = torch.tensor(0.0)
    return found


def write_checkpoint(path: Path, unet: Mapping[str, Tensor], autoencoder: Mapping[str, Tensor]) -> None:
    """A whole checkpoint: UNet, autoencoder, text encoder (some 290 MB)."""
    tensors = checkpoint_tensors(unet, autoencoder)
    tensors |= {f"cond_stage_model.transformer.{name}": value for name, value in text_encoder().items()}
    save_atomic(path, tensors, {"copyscope": "style zoo checkpoint", "license": LICENCE})


def write_lora(path: Path, found: Mapping[str, Tensor], layers: Mapping[str, str], rank: int, split: str) -> None:
    """A LoRA; alpha equals the rank, so that strength 1 is the change that was trained."""
    tensors = {}
    for name, kohya in layers.items():
        tensors[f"{kohya}.lora_down.weight"] = found[f"{name}.down"].half()
        tensors[f"{kohya}.lora_up.weight"] = found[f"{name}.up"].half()
        tensors[f"{kohya}.alpha"] = torch.tensor(float(rank), dtype=torch.float16)
    save_atomic(path, tensors, {"copyscope": f"style zoo LoRA, split {split}", "license": LICENCE})
