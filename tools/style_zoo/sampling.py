"""Drawing samples outside ComfyUI, to look at a model while it trains (the games use ComfyUI's own sampler)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor
from torch.func import functional_call

from .nets import STEPS, StyleUNet, alphas


@torch.no_grad()
def draw(
    unet: StyleUNet, weights: Mapping[str, Tensor], text: Tensor, empty: Tensor, noise: Tensor, steps: int = 20,
    guidance: float = 3.0,
) -> Tensor:  # fmt: skip
    """Latents from n x 4 x h x w standard noise by Euler steps on evenly spaced noise levels (DDIM without noise)."""
    signal, count = alphas(noise.device), len(noise)
    levels = torch.linspace(STEPS - 1, 0, steps + 1).round().long().tolist()
    context = torch.stack([text] * count + [empty] * count)
    x = noise
    for level, following in pairwise(levels):
        time = torch.full((2 * count,), float(level), device=noise.device)
        with_text, without = functional_call(unet, dict(weights), (torch.cat([x, x]), time, context)).float().chunk(2)
        guess = without + guidance * (with_text - without)
        clean = (x - (1 - signal[level]).sqrt() * guess) / signal[level].sqrt()
        clean = clean.clamp(-4, 4)
        guess = (x - signal[level].sqrt() * clean) / (1 - signal[level]).sqrt()
        x = signal[following].sqrt() * clean + (1 - signal[following]).sqrt() * guess
    return clean
