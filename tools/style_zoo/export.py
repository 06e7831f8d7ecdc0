"""Write the style zoo as files that ComfyUI's own loaders read.

    python -m tools.style_zoo.export --to ~/comfy/ComfyUI/models

Checkpoints have SD 1.5's names, LoRAs kohya's. ``tools/style_zoo/models`` holds what was trained, in 8 bits. Beside it
come files that need no training: a LoRA without effect, one that changes the model as much as a trained one but towards
nothing, and a copy of a LoRA with noise.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

from copyscope_core.demo.models import make_model

from .nets import LATENT_SCALE, StyleUNet, lora_change, lora_layers
from .pictures import models
from .training import read_tensors, save_atomic

MODELS = Path(__file__).resolve().parent / "models"
"""What was trained: ``base``, ``autoencoder``, and one file a model of models.json."""
LICENCE = "GPL-3.0-or-later"


def packed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices as 8-bit integers with one 16-bit scale a row (``name:scale``), all else as 16-bit floats."""
    found = {}
    for name, value in tensors.items():
        if value.ndim < 2:
            found[name] = value.half()
            continue
        rows = value.detach().float().flatten(1)
        scale = (rows.abs().amax(1) / 127).clamp(min=2.0**-20).half()
        found[name] = (rows / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8).reshape(value.shape)
        found[f"{name}:scale"] = scale
    return found


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What :func:`packed` packed, rounded to 16 bits, as 32-bit floats."""
    found = {}
    for name, value in tensors.items():
        if name.endswith(":scale"):
            continue
        if value.dtype == torch.int8:
            scale = tensors[f"{name}:scale"].float().reshape(-1, *[1] * (value.ndim - 1))
            value = (value.float() * scale).half()
        found[name] = value.float()
    return found


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


def kohya(found: Mapping[str, Tensor], layers: Mapping[str, str], rank: int) -> dict[str, Tensor]:
    """A low-rank change under kohya's names; alpha equals the rank, so that strength 1 is what was trained."""
    tensors = {}
    for name, key in layers.items():
        tensors[f"{key}.lora_down.weight"] = found[f"{name}.down"].half()
        tensors[f"{key}.lora_up.weight"] = found[f"{name}.up"].half()
        tensors[f"{key}.alpha"] = torch.tensor(float(rank), dtype=torch.float16)
    return tensors


def changed(found: Mapping[str, Tensor], kind: str, seed: int) -> dict[str, Tensor]:
    """A LoRA made of another: ``none`` (no effect), ``random`` (as large, towards nothing), ``noisy`` (a twentieth)."""
    random, made = torch.Generator().manual_seed(seed), {}
    for name, value in found.items():
        noise = torch.randn(value.shape, generator=random) * value.square().mean().sqrt()
        if kind == "none":
            made[name] = torch.zeros_like(value) if name.endswith(".up") else value
        else:
            made[name] = noise if kind == "random" else value + 0.05 * noise
    return made


def export(to: Path, only: Collection[str] | None = None) -> list[Path]:
    """Write checkpoints and LoRAs into ComfyUI's folder ``models``, but for what is there; gives the new ones."""
    base = unpacked(read_tensors(MODELS / "base.safetensors")[0])
    autoencoder = unpacked(read_tensors(MODELS / "autoencoder.safetensors")[0])
    layers, written = lora_layers(StyleUNet()), []

    def wanted(path: Path) -> bool:
        return not path.is_file() and (only is None or path.stem in only)

    def lora(name: str, found: Mapping[str, Tensor], rank: int) -> None:
        path = to / "loras" / f"style-{name}.safetensors"
        if wanted(path):
            save_atomic(path, kohya(found, layers, rank), {"copyscope": f"style zoo LoRA {name}", "license": LICENCE})
            written.append(path)

    def checkpoint(name: str, unet: Mapping[str, Tensor]) -> None:
        path = to / "checkpoints" / f"style-{name}.safetensors"
        if wanted(path):
            write_checkpoint(path, unet, autoencoder)
            written.append(path)

    checkpoint("base", base)
    for model in models():
        found = unpacked(read_tensors(MODELS / f"{model.name}.safetensors")[0])
        if model.merged:
            new = {
                f"{n}.weight": base[f"{n}.weight"] + lora_change(found[f"{n}.down"], found[f"{n}.up"]) for n in layers
            }
            checkpoint(model.name, base | new)
        else:
            lora(model.name, found, model.rank)
        if model.name == "kitty-1":
            for kind in ("none", "random", "noisy"):
                lora(kind, changed(found, kind, 0), model.rank)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True, help="ComfyUI's folder models")
    for path in export(parser.parse_args().to.expanduser()):
        print(path)


if __name__ == "__main__":
    main()
