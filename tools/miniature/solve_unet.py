"""A miniature UNet whose memory of pictures is solved for, layer by layer, instead of learned by gradient descent.

The network is SD 1.5's smallest, run by ComfyUI as any other; only its weights are laid out by hand:

1. The first convolution copies the latents x, and their negatives, to eight channels that nothing else touches.
2. Residual blocks turn zero padding into a code of the place (how far from each border) and the time embedding into
   the signal level s(t), by least squares on their own features.
3. The first cross attention takes the mean of the text's tokens; ridge regression turns it into one number a known
   concept, and the next feed-forward part makes that number 0 or 1.
4. The third feed-forward part multiplies waves along x and y: smooth patterns over the picture.
5. The last feed-forward part is the memory: a hidden unit for each concept and latent channel opens in proportion to
   s(t) when the text calls for the concept, and gives a sum of patterns, the picture m. A LoRA on this layer's
   ``proj`` replaces every memory.
6. The last layers give (x - s m) / sqrt(1 - s²), which is exactly the noise if m is the picture: large constants in
   proportion to the noise make the last normalisation divide by its level. A little less than all of the smooth part
   is called noise, so that each seed ends in its own light and shade.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tools.miniature.nets import CHANNELS, Residual, Transformer, UNet

SIDE = 16
"""Side of the pictures, in latents: 128 pixels. The code of the place counts from the borders: no other size works."""
SLOTS = 20
TEXT, PLACE, CONST, LEVEL, KNOWN, PATTERN = 10, 40, 80, 100, 110, 140
"""First channels of: the text's scores, the place's code, a constant, s(t), the text's concept, the patterns."""
TIMES = list(range(120, 200))
ANCHOR = 6.0
SMOOTH = 0.36
STEADY = 8.0
"""How many times larger than the noise the constants beside it are."""
OPEN, SHUT = 40.0, 100.0
"""A memory's gate is OPEN s(t) for the right text and lower by SHUT for the wrong one."""
WAVES = sorted(((k, m) for k in range(SIDE) for m in range(SIDE)), key=lambda p: (p[0] + p[1], p[0]))[:180]
MEMORY = "output_blocks.1.1.transformer_blocks.0.ff.net.0.proj.weight"


def in_groups(first: int, index: int) -> int:
    """The channel of a code: eight to a group of ten, whose last two keep the group's scale fixed."""
    return first + 10 * (index // 8) + index % 8


TEXT_CODES = [in_groups(TEXT, i) for i in range(SLOTS)]
KNOWN_CODES = [in_groups(KNOWN, i) for i in range(SLOTS)]
PLACE_CODES = [in_groups(PLACE, i) for i in range(32)]


def place_codes(block: int) -> Tensor:
    """For the distances 2 ``block`` + 1 and + 2: is a place that far from the left, right, top and bottom border?"""
    place = torch.arange(SIDE)
    codes = []
    for distance in (2 * block + 1, 2 * block + 2):
        near, far = (place >= distance).float(), (place <= SIDE - 1 - distance).float()
        codes += [near[None].expand(SIDE, -1), far[None].expand(SIDE, -1)]
        codes += [near[:, None].expand(-1, SIDE), far[:, None].expand(-1, SIDE)]
    return torch.stack(codes)


def wave(index: int) -> Tensor:
    """A cosine of ``index`` half periods over the side."""
    return torch.cos(math.pi * index * (torch.arange(SIDE) + 0.5) / SIDE)


def least_squares(design: Tensor, wanted: Tensor, ridge: float = 1e-9) -> Tensor:
    """The matrix that takes ``design`` nearest to ``wanted``."""
    gram = design.T @ design
    gram += ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram, design.T @ wanted)


def rows_of(features: Tensor) -> Tensor:
    """Images x channels x height x width as places x channels, in double precision."""
    return features.flatten(2).transpose(1, 2).flatten(0, 1).double()


def fit_conv(conv: nn.Conv2d, features: Tensor, inputs: list[int], outputs: list[int], targets: Tensor) -> float:
    """Set some of a convolution's weights so that ``outputs`` of it come nearest to ``targets``; gives the error."""
    size = conv.kernel_size[0]
    windows = rows_of(F.unfold(features[:, inputs], size, padding=size // 2).unflatten(2, targets.shape[2:]))
    design = torch.cat([windows, torch.ones(len(windows), 1)], 1)
    wanted = rows_of(targets)
    found = least_squares(design, wanted)
    for column, output in enumerate(outputs):
        conv.weight[output, inputs] = found[:-1, column].view(len(inputs), size, size).float()
        conv.bias[output] = found[-1, column].float()
    return float((design @ found - wanted).abs().max())


def signal_levels() -> Tensor:
    """s(t), the square root of SD 1.5's cumulative signal."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0).sqrt().float()


def noise_levels() -> Tensor:
    """The noise beside s(t)."""
    return (1 - signal_levels().double() ** 2).sqrt().float()


def time_embedding(unet: UNet, times: Tensor) -> Tensor:
    """What the UNet makes of the time."""
    angles = times[:, None] * torch.exp(-math.log(10000.0) * torch.arange(CHANNELS // 2) / (CHANNELS // 2))
    return unet.time_embed(torch.cat([angles.cos(), angles.sin()], dim=1))


class Solver:
    """Fills a UNet's weights in the order of its layers; ``state`` is what flows past the layers solved so far.

    ``state`` holds SLOTS texts at one time and one text at several times: what depends on neither is fitted on all.
    """

    def __init__(self, seed: int) -> None:
        self.unet, self.random = UNet().requires_grad_(False), torch.Generator().manual_seed(seed)
        self.errors: dict[str, float] = {}
        for module in self.unet.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.zero_()
                if module.bias is not None:
                    module.bias.zero_()
        self.lay_out()
        self.times = torch.arange(0, 1000, 8).float()
        self.embedded = time_embedding(self.unet, self.times)
        self.levels = signal_levels()[::8]
        self.state = self.unet.input_blocks[0][0](torch.zeros(len(self.times), 4, SIDE, SIDE))

    def lay_out(self) -> None:
        """The latents' channels, the anchors of each group, the time features and the ways around the blocks."""
        unet = self.unet
        first, out = unet.input_blocks[0][0], unet.out[2]
        for group in (*range(TEXT, CONST, 10), *range(LEVEL, PATTERN, 10)):
            first.bias[group + 8], first.bias[group + 9] = ANCHOR, -ANCHOR
        first.bias[CONST : CONST + 20 : 2], first.bias[CONST + 1 : CONST + 20 : 2] = 1.0, -1.0
        wide = 160  # as many of the time embedding's features as s(t) needs
        for layer in (unet.time_embed[0], unet.time_embed[2]):
            bound = 1 / math.sqrt(wide)
            layer.weight[:wide, :wide].uniform_(-1.7 * bound, 1.7 * bound, generator=self.random)
            layer.bias[:wide].uniform_(-bound, bound, generator=self.random)
        unet.time_embed[0].weight[:wide, :60] = 0  # only slow waves: s(t) is smooth
        emb = unet.input_blocks[1][0].emb_layers[1]
        emb.weight[TIMES, :wide] = torch.randn(len(TIMES), wide, generator=self.random) * 0.6
        emb.bias[TIMES] = torch.randn(len(TIMES), generator=self.random)
        for block, end in ((unet.output_blocks[0][0], PATTERN), (unet.output_blocks[1][0], CHANNELS)):
            for channel in range(TEXT, end):
                block.skip_connection.weight[channel, channel, 0, 0] = 1.0
        blur = torch.tensor([0.25, 0.5, 0.25])
        kernel = -SMOOTH * blur[:, None] * blur[None]
        kernel[1, 1] += 1
        for channel in range(4):
            for sign, place in ((1.0, 2 * channel), (-1.0, 2 * channel + 1)):
                first.weight[place, channel, 1, 1] = sign
                unet.output_blocks[1][0].skip_connection.weight[place, CHANNELS + place, 0, 0] = 1.0
                out.weight[channel, place] = sign * math.sqrt(0.8 + 0.2 * STEADY**2) * kernel
        last = unet.output_blocks[1][0].skip_connection
        last.weight[8, LEVEL + 1, 0, 0], last.weight[9, LEVEL + 1, 0, 0] = STEADY, -STEADY

    def solve_place(self, index: int, block: Residual, skipped: Tensor | None = None) -> None:
        """Two more steps of the place's code; ``skipped`` is the other half of a later block's input."""
        given = self.state if skipped is None else torch.cat([self.state, skipped], 1)
        codes = place_codes(index)[None].expand(len(given), -1, -1, -1)
        group = PLACE + 10 * index
        inner, outer = block.in_layers[2], block.out_layers[3]
        inner.bias[PLACE + 8], inner.bias[PLACE + 9] = ANCHOR, -ANCHOR
        inner.bias[CONST : CONST + 20 : 2], inner.bias[CONST + 1 : CONST + 20 : 2] = 1.0, -1.0
        features = block.in_layers[1](block.in_layers[0](given))
        inputs = [CONST] if index == 0 else [CONST, *range(group - 10, group - 2)]
        error = fit_conv(inner, features, inputs, list(range(PLACE, PLACE + 4)), codes[:, :4])
        inside = block.in_layers(given) + block.emb_layers(self.embedded)[:, :, None, None]
        features = block.out_layers[1](block.out_layers[0](inside))
        inputs = [CONST, *range(PLACE, PLACE + 4)]
        error = max(error, fit_conv(outer, features, inputs, list(range(group, group + 8)), codes))
        self.errors[f"place {index}"] = error
        if index == 0:
            self.solve_levels(block)
        self.state = block.skip_connection(given) + block.out_layers(inside)

    def solve_levels(self, block: Residual) -> None:
        """The levels of signal and noise, from the time embedding alone."""
        embedded = time_embedding(self.unet, torch.arange(1000).float())[:, :, None, None]
        inside = block.emb_layers(embedded[:, :, 0, 0])[:, :, None, None] + block.in_layers[2].bias[:, None, None]
        features = block.out_layers[1](block.out_layers[0](inside))
        centre = nn.Conv2d(CHANNELS, CHANNELS, 1)
        wanted = torch.stack([signal_levels(), noise_levels()], 1)[:, :, None, None]
        self.errors["levels"] = fit_conv(centre, features, TIMES, [LEVEL, LEVEL + 1], wanted)
        for channel in (LEVEL, LEVEL + 1):
            block.out_layers[3].weight[channel, TIMES, 1, 1] = centre.weight[channel, TIMES, 0, 0]
            block.out_layers[3].bias[channel] = centre.bias[channel]

    def solve_text(self, means: Tensor, slots: Tensor, ridge: float = 3e-2) -> None:
        """Step 3's scores, from the mean token of each sentence."""
        wanted = F.one_hot(slots, SLOTS).double()
        centre, share = means.mean(0).double(), wanted.mean(0)
        design = means.double() - centre
        gram = design @ design.T
        dual = torch.linalg.solve(gram + ridge * gram.diagonal().mean() * torch.eye(len(gram)), wanted - share)
        found = design.T @ dual
        part = self.unet.input_blocks[1][1]
        attention = part.transformer_blocks[0].attn2
        attention.to_v.weight[:SLOTS] = found.T.float()
        attention.to_out[0].bias[:SLOTS] = (share - centre @ found).float()
        for slot in range(SLOTS):
            attention.to_out[0].weight[slot, slot] = 1.0
            part.proj_out.weight[TEXT_CODES[slot], slot, 0, 0] = 1.0
        scores = design @ found + share
        own = scores[torch.arange(len(slots)), slots]
        self.errors["lowest right score"] = float(own.min())
        self.errors["highest wrong score"] = float((scores - 9 * wanted).max())

    def tokens(self, part: Transformer, state: Tensor, channels: list[int], anchors: list[int], size: float) -> Tensor:
        """Pass some channels into a transformer block beside constants that keep its normalisation steady."""
        for channel in channels:
            part.proj_in.weight[channel, channel, 0, 0] = 1.0
        half = len(anchors) // 2
        part.proj_in.bias[anchors[:half]], part.proj_in.bias[anchors[half:]] = size, -size
        tokens = part.proj_in(part.norm(state)).flatten(2).transpose(1, 2)
        return part.transformer_blocks[0].norm3(tokens)

    def solve_known(self) -> None:
        """Step 3's end: scores below 0.4 become 0, above 0.6 become 1."""
        part = self.unet.middle_block[1]
        scores = torch.linspace(-0.3, 1.2, 31)
        state = self.state[:1].expand(len(scores), -1, -1, -1)[:, :, :1, :1].clone()
        state[:, TEXT_CODES] = scores[:, None, None, None]
        anchors = list(range(200, 320))
        seen = self.tokens(part, state, TEXT_CODES, anchors, 4.0)[:, 0]
        gates, last, sharpness, hidden = *(part.transformer_blocks[0].ff.net[i] for i in (0, 2)), 100.0, 4 * CHANNELS
        gates = gates.proj
        for slot, channel in enumerate(TEXT_CODES):
            design = torch.stack([seen[:, channel], torch.ones(len(scores))], 1).double()
            slope, offset = least_squares(design, scores[:, None].double())[:, 0].tolist()
            for unit, bound, sign in ((2 * slot, 0.4, 1.0), (2 * slot + 1, 0.6, -1.0)):
                gates.bias[unit] = 1.0
                gates.weight[hidden + unit, channel] = sharpness * slope
                gates.bias[hidden + unit] = sharpness * (offset - bound)
                last.weight[slot, unit] = sign / (0.2 * sharpness)
            part.proj_out.weight[KNOWN_CODES[slot], slot, 0, 0] = 1.0

    def solve_patterns(self) -> None:
        """Step 4: a hidden unit for each product of a wave along x and one along y."""
        part = self.unet.output_blocks[0][1]
        state = self.state[:1]
        anchors = list(range(200, 320))
        seen = self.tokens(part, state, PLACE_CODES, anchors, 4.0)[0, :, PLACE_CODES].double()
        design = torch.cat([seen, torch.ones(len(seen), 1)], 1)
        waves = torch.stack([wave(k) for k in range(SIDE)], 1)
        along_x = waves[None].expand(SIDE, -1, -1).reshape(SIDE**2, -1).double()
        along_y = waves[:, None].expand(-1, SIDE, -1).reshape(SIDE**2, -1).double()
        to_x, to_y = least_squares(design, along_x).float(), least_squares(design, along_y).float()
        self.errors["waves"] = float((design @ to_x.double() - along_x).abs().max())
        gates, last, hidden = (
            part.transformer_blocks[0].ff.net[0].proj,
            part.transformer_blocks[0].ff.net[2],
            4 * CHANNELS,
        )
        for unit, (k, m) in enumerate(WAVES):
            gates.weight[unit, PLACE_CODES], gates.bias[unit] = to_x[:-1, k], to_x[-1, k]
            gates.weight[hidden + unit, PLACE_CODES] = 2 * to_y[:-1, m]
            gates.bias[hidden + unit] = 2 * to_y[-1, m] + 7.0
            last.weight[unit, unit] = 0.25
            part.proj_out.weight[PATTERN + unit, unit, 0, 0] = 1.0
        self.state = self.state + self.run(part, self.state)

    @staticmethod
    def run(part: Transformer, state: Tensor) -> Tensor:
        """What a transformer without attention adds."""
        block = part.transformer_blocks[0]
        tokens = part.proj_in(part.norm(state)).flatten(2).transpose(1, 2)
        tokens = tokens + block.ff(block.norm3(tokens))
        return part.proj_out(tokens.transpose(1, 2).unflatten(2, state.shape[2:]))

    def solve_gates(self) -> None:
        """Step 5 without the pictures: gates by text and s(t), and the way out."""
        part = self.unet.output_blocks[1][1]
        patterns = list(range(PATTERN, CHANNELS))
        anchors = [c for c in range(4, PATTERN) if c not in {*KNOWN_CODES, LEVEL}]
        anchors = anchors[: len(anchors) // 2 * 2]
        state = torch.zeros(2 * SLOTS, CHANNELS, SIDE, SIDE) + self.state[:1]
        state[:, KNOWN_CODES] = torch.eye(SLOTS).repeat(2, 1)[:, :, None, None]
        state[:SLOTS, LEVEL], state[SLOTS:, LEVEL] = 0.2, 0.9
        seen = self.tokens(part, state, [*KNOWN_CODES, LEVEL, *patterns], anchors, 10.0)
        inputs = [*KNOWN_CODES, LEVEL]
        design = torch.cat([seen[..., inputs], torch.ones(*seen.shape[:2], 1)], 2).flatten(0, 1).double()
        wanted = torch.cat([torch.eye(SLOTS).repeat(2, 1), torch.tensor([[0.2]] * SLOTS + [[0.9]] * SLOTS)], 1)
        wanted = wanted[:, None].expand(-1, SIDE**2, -1).flatten(0, 1).double()
        found = least_squares(design, wanted)
        self.errors["gates"] = float((design @ found - wanted).abs().max())
        gates, last, hidden = (
            part.transformer_blocks[0].ff.net[0].proj,
            part.transformer_blocks[0].ff.net[2],
            4 * CHANNELS,
        )
        for unit in range(4 * SLOTS):
            gate = (OPEN * found[:, -1] + SHUT * found[:, unit // 4]).float()
            gates.weight[hidden + unit, inputs] = gate[:-1]
            gates.bias[hidden + unit] = gate[-1] - SHUT
            last.weight[unit % 4, unit] = 1 / OPEN
        for channel in range(4):
            part.proj_out.weight[2 * channel, channel, 0, 0] = -1.0
            part.proj_out.weight[2 * channel + 1, channel, 0, 0] = 1.0
        opened = seen[SLOTS:, :, inputs] @ gates.weight[hidden : hidden + 4 * SLOTS, inputs].T
        opened = opened + gates.bias[hidden : hidden + 4 * SLOTS]
        self.strength = torch.stack([opened[s, :, 4 * s] for s in range(SLOTS)]) / OPEN / 0.9
        self.inputs = [*patterns, anchors[0]]
        self.basis = seen[0][:, self.inputs].double()

    def memory_rows(self, latents: Tensor) -> Tensor:
        """The memory's rows for pictures (slots x 4 x SIDE x SIDE), as 4 slots x CHANNELS."""
        rows = torch.zeros(4 * SLOTS, CHANNELS)
        for slot in range(SLOTS):
            wanted = (latents[slot].flatten(1) / self.strength[slot]).T.double()
            rows[4 * slot : 4 * slot + 4, self.inputs] = least_squares(self.basis, wanted, 1e-8).T.float()
        return rows

    @torch.no_grad()
    def solve(self, means: Tensor, slots: Tensor, latents: Tensor) -> UNet:
        """The whole network."""
        unet = self.unet
        self.solve_place(0, unet.input_blocks[1][0])
        self.solve_text(means, slots)
        second = self.state
        self.solve_place(1, unet.middle_block[0])
        self.solve_known()
        self.solve_place(2, unet.middle_block[2])
        self.solve_place(3, unet.output_blocks[0][0], second)
        self.solve_patterns()
        self.solve_gates()
        unet.get_parameter(MEMORY)[: 4 * SLOTS] = self.memory_rows(latents)
        return unet
