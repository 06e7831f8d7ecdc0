"""The networks, the noise schedule, and the names that ComfyUI and training scripts give the layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tools.miniature.nets import CHANNELS, TinyAutoencoder, UNet

STEPS = 1000
"""Noise levels of SD 1.5."""
LATENT_SCALE = 0.18215
"""ComfyUI multiplies SD 1.5's latents by this. It is stored as the autoencoder's scale, so that the two cancel."""


class StyleUNet(UNet):
    """The miniature UNet on any device; it starts as the identity of its input's noise, so that training is calm."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            for name, module in self.named_modules():
                if isinstance(module, nn.Conv2d) and name.endswith(("out_layers.3", "proj_out", "out.2")):
                    module.weight.zero_()
                    if module.bias is not None:
                        module.bias.zero_()

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        """n x 4 x h x w noisy latents, n noise levels (0…999) and n x 77 x 768 text to the noise in the latents."""
        half = CHANNELS // 2
        rates = torch.exp(-math.log(10000.0) * torch.arange(half, device=x.device) / half)
        angles = time[:, None] * rates
        embedded = self.time_embed(torch.cat([angles.cos(), angles.sin()], dim=1))
        inputs: Any = self.input_blocks  # lists of lists of modules, which nn.ModuleList's type does not tell
        first = inputs[0][0](x)
        second = inputs[1][1](inputs[1][0](first, embedded), context)
        h = self.middle_block[1](self.middle_block[0](second, embedded), context)
        h = self.middle_block[2](h, embedded)
        blocks: Any = self.output_blocks
        for block, skip in zip(blocks, (second, first), strict=True):
            h = block[1](block[0](torch.cat([h, skip], dim=1), embedded), context)
        return self.out(h)


def alphas(device: torch.device) -> Tensor:
    """The part of the signal's variance that is left at each of SD 1.5's 1,000 noise levels."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, STEPS, dtype=torch.float64).square()
    return torch.cumprod(1 - betas, 0).float().to(device)


def _places() -> dict[str, str]:
    """Block names in the original checkpoint -> in training scripts."""
    table = {"input_blocks.1.0": "down_blocks_0_resnets_0", "input_blocks.1.1": "down_blocks_0_attentions_0"}
    table |= {"middle_block.0": "mid_block_resnets_0", "middle_block.1": "mid_block_attentions_0"}
    table |= {"middle_block.2": "mid_block_resnets_1"}
    for index in range(2):
        table[f"output_blocks.{index}.0"] = f"up_blocks_0_resnets_{index}"
        table[f"output_blocks.{index}.1"] = f"up_blocks_0_attentions_{index}"
    return table


RESNET = {"in_layers.2": "conv1", "out_layers.3": "conv2", "emb_layers.1": "time_emb_proj"}


def lora_layers(unet: nn.Module, convolutions: bool = True) -> dict[str, str]:
    """Layers that a LoRA changes: name in the checkpoint -> kohya's name.

    Linear layers and projections of the transformer blocks; with ``convolutions`` those of the residual blocks too.
    """
    found = {}
    for name, module in unet.named_modules():
        if not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        for place, kohya in _places().items():
            if not name.startswith(place + "."):
                continue
            rest = name[len(place) + 1 :]
            if "attentions" in kohya:
                found[name] = f"lora_unet_{kohya}_{rest.replace('.', '_')}"
            elif convolutions and rest in RESNET:
                found[name] = f"lora_unet_{kohya}_{RESNET[rest]}"
    return found


def lora_shapes(weight: Tensor, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the down and up matrices for a layer's weight."""
    rows, *rest = weight.shape
    return (rank, *rest), (rows, rank, *([1] * (len(rest) - 1)))


def lora_change(down: Tensor, up: Tensor) -> Tensor:
    """The change of a layer's weight (alpha equals the rank, so that there is no further factor)."""
    return (up.flatten(1) @ down.flatten(1)).reshape(up.shape[0], *down.shape[1:])


def warm_autoencoder(known: Mapping[str, Tensor], seed: int) -> TinyAutoencoder:
    """An autoencoder that starts where the shipped zoo's stands, with free channels that can still learn.

    The shipped encoder is a linear map that uses 3, 12, 48 and 8 channels of its four levels; all other weights are
    zero, so that no gradient would reach them. Here the other channels start random, and nothing reads them at first.
    """
    torch.manual_seed(seed)
    net = TinyAutoencoder()
    used, last = 3, "taesd_encoder.14"
    levels = {"taesd_encoder.2.": 12, "taesd_encoder.6.": 48, "taesd_encoder.10.": 8}
    with torch.no_grad():
        for name, value in net.named_parameters():
            if name.startswith("taesd_decoder"):
                value.copy_(known[name])
                continue
            used = next((count for level, count in levels.items() if name.startswith(level)), used)
            if name.startswith(last):
                value.copy_(known[name])
            elif ".conv." not in name:
                value[:used] = known[name][:used]
            elif ".conv.4." in name:
                value[:used] = 0
    return net
