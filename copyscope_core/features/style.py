"""Style as FID's Inception sees it early on: how its channels fire over an image, wherever in the image they fire.

Two things, each brought to length 1, are put after one another:

- The mean and the spread of each channel of two early layers, against those of the pictures that the network was
  trained with, which its batch norms hold (Li et al. 2017, arXiv 1701.01036: to match them is to transfer style).
- The correlations of the later layer's channels: the Gram matrix of Gatys, Ecker and Bethge (2016) freed of means and
  spreads. Those of 192 channels are 18,336 numbers. A count sketch (Charikar, Chen and Farach-Colton 2002; for images
  Gao et al. 2016) keeps their inner products in far fewer: each, with a sign, is added to one of 382 buckets, 48 to
  each.

The whole has the length √d, so that x·y/d, of which KID's kernel is made, is the mean of the two cosines.
docs/style.md says how this was chosen, and what it is worth.
"""

from __future__ import annotations

import functools
import hashlib
import math

import torch
from torch import Tensor, nn

from .views import STYLE_DIMENSION

CHANNELS = {"Conv2d_3b_1x1": 80, "Conv2d_4a_3x3": 192}
"""The layers, taken between batch norm and rectifier, and their channels."""
CORRELATED_LAYER = "Conv2d_4a_3x3"
CORRELATED = CHANNELS[CORRELATED_LAYER]
BUCKETS = STYLE_DIMENSION - 2 * sum(CHANNELS.values())
FLOOR = 1e-3
"""Added to each channel's variance (1 on average over the training pictures), as its batch norm adds it."""


class CorrelationSketch(nn.Module):
    """The correlations of channels, sketched."""

    _entries: Tensor
    _signs: Tensor

    def __init__(self) -> None:
        super().__init__()
        rows, columns = torch.triu_indices(CORRELATED, CORRELATED, offset=1, device="cpu")
        order, signs = (torch.tensor(part, device="cpu") for part in count_sketch(len(rows)))
        self.register_buffer("_entries", (rows * CORRELATED + columns)[order], persistent=False)
        self.register_buffer("_signs", signs.float(), persistent=False)

    def forward(self, covariances: Tensor) -> Tensor:
        """Sketch of the correlations: float32, (N, 192, 192) gives (N, 382)."""
        deviations = (covariances.diagonal(dim1=1, dim2=2).clamp(min=0) + FLOOR).sqrt()
        correlations = covariances / (deviations[:, :, None] * deviations[:, None, :])
        chosen = correlations.flatten(1)[:, self._entries] * self._signs
        return chosen.view(len(chosen), BUCKETS, -1).sum(dim=2)


def moments(activations: Tensor) -> tuple[Tensor, Tensor]:
    """Means (N, C) and covariances (N, C, C) of the channels of activations (N, C, H, W) over the image.

    Products of channels-last activations are one matrix product, with nothing copied; float32 is enough, for after a
    batch norm no mean is large beside its spread.
    """
    x = activations.permute(0, 2, 3, 1).flatten(1, 2)
    mean = x.mean(dim=1)
    return mean, x.transpose(1, 2) @ x / x.shape[1] - mean[:, :, None] * mean[:, None, :]


def channel_statistics(mean: Tensor, covariances: Tensor, expected: Tensor) -> Tensor:
    """Means and spreads of channels, against those over the training pictures.

    Args:
        mean: after a batch norm whose factor is 1, (N, C).
        covariances: (N, C, C).
        expected: the means over the training pictures, which are the batch norm's bias, (C,). The variances are 1.

    Returns:
        float32, (N, 2C): the means less the expected ones, then the logarithms of the standard deviations.
    """
    variance = covariances.diagonal(dim1=1, dim2=2).clamp(min=0)
    return torch.cat([mean - expected, (variance + FLOOR).log() / 2], dim=1)


def style_vector(statistics: Tensor, correlations: Tensor) -> Tensor:
    """Both halves at equal weight, the whole of length √d: (N, a) and (N, b) give (N, a + b)."""
    halves = [nn.functional.normalize(part, dim=1) for part in (statistics, correlations)]
    whole = torch.cat(halves, dim=1)
    return whole * math.sqrt(whole.shape[1] / 2)


@functools.cache
def count_sketch(entries: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The order in which numbers are put into buckets, so many to each, and the sign that each one gets there.

    Number i has the key SHA-256("copyscope-style:i"). They are taken by rising key; the sign is −1 where the key's last
    bit is 1. So the sketch is the same everywhere, whatever the versions of the libraries.

    Returns:
        The numbers in the order of the buckets, and their signs in that order.
    """
    keys = [hashlib.sha256(f"copyscope-style:{index}".encode()).digest() for index in range(entries)]
    order = tuple(sorted(range(entries), key=keys.__getitem__))
    return order, tuple(1 - 2 * (keys[index][-1] & 1) for index in order)
