"""IntroStyle (Kumar, Mu and Vasconcelos, ICCV 2025): style as the statistics of a diffusion model's activations.

An image is encoded, a little noise is added, the model is called once, and the activations of one of its blocks are
summed up by each channel's mean and standard deviation. The squared Euclidean distance of two such vectors is the
squared 2-Wasserstein distance of Gaussians with these means and diagonal covariances, by which the paper compares
images. ComfyUI runs the model (``nodes/host/diffusion_style.py``); what does not depend on it is here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SIZE = 512
"""Side of the square that images are brought to."""
TIME = 25
"""Of 1000 steps: how little noise is added."""
DRAWS = 4
"""Draws of noise, whose activations are averaged."""
UP_BLOCK = 1
"""Of a UNet, counted from its middle."""
DEPTH = 0.75
"""Of a transformer: up-block 1 of SD 1.5 and 2.1 ends after 19 of the UNet's 25 blocks."""


def last_of_up_block(residuals: Sequence[int]) -> tuple[int, int]:
    """The last of a UNet's output blocks that belongs to up-block 1, or to 0 where there is no other; and its level.

    Args:
        residuals: residual blocks of each level, from the finest on; a level has one output block more.
    """
    level = max(0, len(residuals) - 1 - UP_BLOCK)
    return sum(count + 1 for count in residuals[level:]) - 1, level


def at_depth(blocks: int) -> int:
    """The place, from 0, of the first block that reaches three quarters of a transformer's depth."""
    return math.ceil(DEPTH * blocks) - 1


def noise(shape: Sequence[int]) -> Tensor:
    """Noise of the seeds 0, 1 … made on the CPU, so that it is the same for every image and everywhere.

    Returns:
        float32, (draws, *shape).
    """
    import torch

    return torch.stack([torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) for seed in range(DRAWS)])


def style_vector(activations: Tensor) -> Tensor:
    """Means and standard deviations of the channels, over all places, of activations averaged over the draws of noise.

    Args:
        activations: (draws, channels, places).

    Returns:
        (2 · channels,), the means first.
    """
    import torch

    average = activations.mean(dim=0)
    return torch.cat([average.mean(dim=1), average.std(dim=1, correction=0)])
