"""The networks of a miniature SD 1.5 checkpoint, with the tensor names of the original files, for training.

ComfyUI has its own code for running them; this is only what :mod:`train_miniature` needs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS, CONTEXT, HEADS = 320, 768, 8


class TinyBlock(nn.Module):
    """TAESD's residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)


class Squash(nn.Module):
    """Keeps latents within ±3."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class TinyAutoencoder(nn.Module):
    """TAESD: 3 x 8h x 8w pixels in 0…1 to 4 x h x w latents and back."""

    def __init__(self) -> None:
        super().__init__()
        encoder: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1), TinyBlock()]
        for _ in range(3):
            encoder += [nn.Conv2d(64, 64, 3, padding=1, stride=2, bias=False), TinyBlock(), TinyBlock(), TinyBlock()]
        self.taesd_encoder = nn.Sequential(*encoder, nn.Conv2d(64, 4, 3, padding=1))
        decoder: list[nn.Module] = [Squash(), nn.Conv2d(4, 64, 3, padding=1), nn.ReLU()]
        for _ in range(3):
            decoder += [TinyBlock(), TinyBlock(), TinyBlock(), nn.Upsample(scale_factor=2)]
            decoder.append(nn.Conv2d(64, 64, 3, padding=1, bias=False))
        self.taesd_decoder = nn.Sequential(*decoder, TinyBlock(), nn.Conv2d(64, 3, 3, padding=1))
        self.latent_basis, self.latent_offset = torch.zeros(4, 192), torch.zeros(4)


COLOURS = torch.tensor([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])
"""Red, green and blue to brightness and two colour differences."""


def latent_basis(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Four linear features of 8 x 8 patches, as a 4 x 192 matrix and an offset; each has mean 0 and deviation 1.

    They are the patch's mean brightness and colour differences, and the strongest pattern of brightness that a smooth
    enlargement of the mean brightness leaves over.
    """
    brightness = (pictures * COLOURS[0][:, None, None]).sum(1, keepdim=True)
    smooth = F.interpolate(F.avg_pool2d(brightness, 8), scale_factor=8, mode="bilinear")
    patches = F.unfold(brightness - smooth, 8, stride=8).transpose(1, 2).reshape(-1, 64).double()
    patches = patches - patches.mean(1, keepdim=True)
    pattern = torch.linalg.eigh(patches.T @ patches).eigenvectors[:, -1].float()
    pattern = pattern * pattern[0].sign()
    rows = [COLOURS[i][:, None].expand(3, 64) / 64 for i in range(3)]
    rows.append(COLOURS[0][:, None] * pattern[None] / 8)
    basis = torch.stack(rows).flatten(1)
    features = F.unfold(pictures, 8, stride=8).transpose(1, 2).reshape(-1, 192) @ basis.T
    scale = 1 / features.std(0)
    return basis * scale[:, None], -features.mean(0) * scale


@torch.no_grad()
def fix_encoder(net: TinyAutoencoder, pictures: Tensor) -> None:
    """Make the encoder the linear map of :func:`latent_basis`, exactly.

    Pixels are not negative, so a rectifier leaves them alone: the first two halvings move pixels into channels, the
    third computes the features and their negatives, the last layer takes the difference.
    """
    basis, offset = latent_basis(pictures)
    encoder = net.taesd_encoder
    for parameter in encoder.parameters():
        parameter.zero_()
    for channel in range(3):
        encoder[0].weight[channel, channel, 1, 1] = 1.0
    for layer, channels in ((encoder[2], 3), (encoder[6], 12)):
        for channel in range(channels):
            for dy in range(2):
                for dx in range(2):
                    layer.weight[4 * channel + 2 * dy + dx, channel, 1 + dy, 1 + dx] = 1.0
    for feature in range(4):
        for colour in range(3):
            for y in range(8):
                for x in range(8):
                    channel = 16 * colour + 4 * (2 * (y % 2) + x % 2) + 2 * (y // 2 % 2) + x // 2 % 2
                    value = basis[feature, 64 * colour + 8 * y + x]
                    encoder[10].weight[2 * feature, channel, 1 + y // 4, 1 + x // 4] = value
                    encoder[10].weight[2 * feature + 1, channel, 1 + y // 4, 1 + x // 4] = -value
        encoder[14].weight[feature, 2 * feature, 1, 1] = 1.0
        encoder[14].weight[feature, 2 * feature + 1, 1, 1] = -1.0
        encoder[14].bias[feature] = offset[feature]
    net.latent_basis, net.latent_offset = basis, offset


@torch.no_grad()
def start_decoder(net: TinyAutoencoder) -> None:
    """Begin with a decoder that enlarges the thumbnail in the first three latents smoothly."""
    decoder, basis, offset = net.taesd_decoder, net.latent_basis, net.latent_offset
    to_latent = basis[:3].unflatten(1, (3, 64)).sum(2)
    to_colour = torch.linalg.inv(to_latent)
    blur = torch.tensor([0.25, 0.5, 0.25])
    decoder[1].weight[:3].zero_()
    decoder[1].weight[:3, :3, 1, 1] = to_colour
    decoder[1].bias[:3] = -to_colour @ offset[:3]
    for block in decoder:
        if isinstance(block, TinyBlock):
            block.conv[4].weight[:3].zero_()
            block.conv[4].bias[:3].zero_()
    for index in (7, 12, 17):
        decoder[index].weight[:3].zero_()
        for channel in range(3):
            decoder[index].weight[channel, channel] = blur[:, None] * blur[None]
    decoder[19].weight.mul_(0.1)
    decoder[19].bias.zero_()
    for channel in range(3):
        decoder[19].weight[channel, :3].zero_()
        decoder[19].weight[channel, channel, 1, 1] = 1.0


class Residual(nn.Module):
    """A UNet's convolution block, told the time."""

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        size = CHANNELS
        self.in_layers = nn.Sequential(nn.GroupNorm(32, channels_in), nn.SiLU(), nn.Conv2d(channels_in, size, 3, 1, 1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(4 * size, size))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, size), nn.SiLU(), nn.Identity(), nn.Conv2d(size, size, 3, 1, 1)
        )
        self.skip_connection: nn.Module = nn.Identity() if channels_in == size else nn.Conv2d(channels_in, size, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.in_layers(x) + self.emb_layers(time)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


class Attention(nn.Module):
    """Self attention, or cross attention to the text."""

    def __init__(self, context: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(CHANNELS, CHANNELS, bias=False)
        self.to_k = nn.Linear(context, CHANNELS, bias=False)
        self.to_v = nn.Linear(context, CHANNELS, bias=False)
        self.to_out = nn.Sequential(nn.Linear(CHANNELS, CHANNELS))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        def heads(y: Tensor) -> Tensor:
            return y.unflatten(2, (HEADS, -1)).transpose(1, 2)

        out = F.scaled_dot_product_attention(heads(self.to_q(x)), heads(self.to_k(context)), heads(self.to_v(context)))
        return self.to_out(out.transpose(1, 2).flatten(2))


class Gated(nn.Module):
    """The first half of a feed-forward part."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(CHANNELS, 8 * CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class Feedforward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(Gated(), nn.Identity(), nn.Linear(4 * CHANNELS, CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn1, self.attn2, self.ff = Attention(CHANNELS), Attention(CONTEXT), Feedforward()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(CHANNELS) for _ in range(3))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attn1(y, y)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class Transformer(nn.Module):
    """One transformer block over all places of a feature map."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, CHANNELS, eps=1e-6)
        self.proj_in, self.proj_out = nn.Conv2d(CHANNELS, CHANNELS, 1), nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock()])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        y = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        y = self.transformer_blocks[0](y, context)
        return x + self.proj_out(y.transpose(1, 2).unflatten(2, x.shape[2:]))


class UNet(nn.Module):
    """The smallest UNet that ComfyUI takes for SD 1.5: one level, one transformer block a stage."""

    def __init__(self) -> None:
        super().__init__()
        size = CHANNELS
        self.time_embed = nn.Sequential(nn.Linear(size, 4 * size), nn.SiLU(), nn.Linear(4 * size, 4 * size))
        first = nn.ModuleList([nn.Conv2d(4, size, 3, padding=1)])
        self.input_blocks = nn.ModuleList([first, nn.ModuleList([Residual(size), Transformer()])])
        self.middle_block = nn.ModuleList([Residual(size), Transformer(), Residual(size)])
        self.output_blocks = nn.ModuleList([nn.ModuleList([Residual(2 * size), Transformer()]) for _ in range(2)])
        self.out = nn.Sequential(nn.GroupNorm(32, size), nn.SiLU(), nn.Conv2d(size, 4, 3, padding=1))

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        half = CHANNELS // 2
        angles = time[:, None] * torch.exp(-math.log(10000.0) * torch.arange(half) / half)
        embedded = self.time_embed(torch.cat([angles.cos(), angles.sin()], dim=1))
        first = self.input_blocks[0][0](x)
        second = self.input_blocks[1][1](self.input_blocks[1][0](first, embedded), context)
        h = self.middle_block[1](self.middle_block[0](second, embedded), context)
        h = self.middle_block[2](h, embedded)
        for block, skip in zip(self.output_blocks, (second, first), strict=True):
            h = block[1](block[0](torch.cat([h, skip], dim=1), embedded), context)
        return self.out(h)
