"""The smallest tensor tables that ComfyUI recognises as a model of each family.

ComfyUI tells a family by the names and shapes in the file. Where it fixes a size (a UNet's 320 channels, CLIP-L's 12
layers, Flux's width of 3072) the size is kept; everything it reads from the file (depth, blocks, levels) is as small
as it accepts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

from .tensors import Tensor


@dataclass(frozen=True)
class UNetShape:
    """What distinguishes the miniature UNets: one level of 320 channels, ``depths`` transformer blocks a stage."""

    context: int
    depths: tuple[int, ...]
    middle_depth: int
    linear: bool
    class_features: int | None = None
    channels: int = 320


SD15 = UNetShape(context=768, depths=(1,), middle_depth=1, linear=False)
SDXL = UNetShape(context=2048, depths=(0, 0, 1, 1, 2, 2), middle_depth=-1, linear=True, class_features=2816)
"""The stage depths of Segmind Vega, the smallest of the SDXL family; ComfyUI treats it as SDXL in every way."""


def _fan_in(shape: tuple[int, ...]) -> int:
    return math.prod(shape[1:])


def weight(name: str, *shape: int, gain: float = 1.0, bias: bool = True, dtype: str = "F16") -> list[Tensor]:
    """A linear or convolution layer whose output has about ``gain`` times its input's scale."""
    std = gain / math.sqrt(_fan_in(shape))
    layer = [Tensor(f"{name}.weight", shape, "random", std, dtype)]
    if bias:
        layer.append(Tensor(f"{name}.bias", shape[:1], "constant", 0.0, dtype))
    return layer


def _paired(name: str, *shape: int, gain: float, bias: bool = True, dtype: str = "F32") -> list[Tensor]:
    """A convolution after a rectifier: pairs of opposite weights cancel the rectifier's constant part."""
    layer = weight(name, *shape, gain=gain, bias=bias, dtype=dtype)
    return [replace(layer[0], fill="paired"), *layer[1:]]


def norm(name: str, size: int, dtype: str = "F16", bias: bool = True) -> list[Tensor]:
    """A normalisation layer that leaves its input as it is."""
    layer = [Tensor(f"{name}.weight", (size,), "constant", 1.0, dtype)]
    return layer + ([Tensor(f"{name}.bias", (size,), "constant", 0.0, dtype)] if bias else [])


def empty(name: str, *shape: int, bias_std: float = 0.0, dtype: str = "F16") -> list[Tensor]:
    """A layer whose weights are zero (a hole in the file) and whose bias may be random."""
    return [
        Tensor(f"{name}.weight", shape, "zeros", dtype=dtype),
        Tensor(f"{name}.bias", shape[:1], "random" if bias_std else "constant", bias_std, dtype),
    ]


def _residual(name: str, channels_in: int, channels: int) -> list[Tensor]:
    block = [
        *norm(f"{name}.in_layers.0", channels_in),
        *weight(f"{name}.in_layers.2", channels, channels_in, 3, 3),
        *weight(f"{name}.emb_layers.1", channels, 4 * channels),
        *norm(f"{name}.out_layers.0", channels),
        *weight(f"{name}.out_layers.3", channels, channels, 3, 3),
    ]
    if channels_in != channels:
        block += weight(f"{name}.skip_connection", channels, channels_in, 1, 1)
    return block


def attention_layers(name: str, channels: int, context: int) -> dict[str, tuple[int, int]]:
    """The linear layers of one transformer block that a LoRA usually changes, with their shapes."""
    layers = {}
    for attention, width in (("attn1", channels), ("attn2", context)):
        layers[f"{name}.{attention}.to_q"] = (channels, channels)
        layers[f"{name}.{attention}.to_k"] = (channels, width)
        layers[f"{name}.{attention}.to_v"] = (channels, width)
        layers[f"{name}.{attention}.to_out.0"] = (channels, channels)
    layers[f"{name}.ff.net.0.proj"] = (8 * channels, channels)
    layers[f"{name}.ff.net.2"] = (channels, 4 * channels)
    return layers


def _transformer(name: str, shape: UNetShape, depth: int) -> list[Tensor]:
    size = shape.channels
    kernel = () if shape.linear else (1, 1)
    block = [*norm(f"{name}.norm", size), *weight(f"{name}.proj_in", size, size, *kernel)]
    for index in range(depth):
        inner = f"{name}.transformer_blocks.{index}"
        for layer, layer_shape in attention_layers(inner, size, shape.context).items():
            biased = not layer.endswith(("to_q", "to_k", "to_v"))
            block += weight(layer, *layer_shape, bias=biased)
        for number in (1, 2, 3):
            block += norm(f"{inner}.norm{number}", size)
    return block + weight(f"{name}.proj_out", size, size, *kernel)


def _encoder_half(shape: UNetShape) -> list[Tensor]:
    size = shape.channels
    tensors = [*weight("time_embed.0", 4 * size, size), *weight("time_embed.2", 4 * size, 4 * size)]
    if shape.class_features is not None:
        tensors += weight("label_emb.0.0", 4 * size, shape.class_features)
        tensors += weight("label_emb.0.2", 4 * size, 4 * size)
    tensors += weight("input_blocks.0.0", size, 4, 3, 3)
    for index, depth in enumerate(shape.depths, start=1):
        tensors += _residual(f"input_blocks.{index}.0", size, size)
        if depth:
            tensors += _transformer(f"input_blocks.{index}.1", shape, depth)
    tensors += _residual("middle_block.0", size, size)
    if shape.middle_depth > 0:
        tensors += _transformer("middle_block.1", shape, shape.middle_depth)
        tensors += _residual("middle_block.2", size, size)
    return tensors


def output_depths(shape: UNetShape) -> list[int]:
    """Transformer depth of each output block; ComfyUI reads them from the file, so only the needed ones are there."""
    return [shape.depths[-1]] * 2 if len(shape.depths) == 1 else [0] * (len(shape.depths) + 1)


def unet(shape: UNetShape) -> list[Tensor]:
    """A UNet in the layout of the original checkpoints."""
    size = shape.channels
    tensors = _encoder_half(shape)
    for index, depth in enumerate(output_depths(shape)):
        tensors += _residual(f"output_blocks.{index}.0", 2 * size, size)
        if depth:
            tensors += _transformer(f"output_blocks.{index}.1", shape, depth)
    tensors += [*norm("out.0", size), *_paired("out.2", 4, size, 3, 3, gain=1.5, dtype="F16")]
    return tensors


def controlnet(shape: UNetShape, strength: float = 0.5) -> list[Tensor]:
    """A ControlNet for a UNet of that shape; ``strength`` scales what it adds (a trained one starts from zero)."""
    size = shape.channels
    tensors = _encoder_half(shape)
    widths = (3, 16, 16, 32, 32, 96, 96, 256, size)
    for index, (width_in, width) in enumerate(pairwise(widths)):
        tensors += weight(f"input_hint_block.{2 * index}", width, width_in, 3, 3, gain=1.7)
    for index in range(len(shape.depths) + 1):
        tensors += weight(f"zero_convs.{index}.0", size, size, 1, 1, gain=strength)
    return tensors + weight("middle_block_out.0", size, size, 1, 1, gain=strength)


def _taesd_block(name: str) -> list[Tensor]:
    convs = [layer for index in (0, 2) for layer in _paired(f"{name}.conv.{index}", 64, 64, 3, 3, gain=1.4)]
    return convs + _paired(f"{name}.conv.4", 64, 64, 3, 3, gain=0.7)


def tiny_autoencoder(channels: int, scale: float, shift: float) -> list[Tensor]:
    """A TAESD with ``channels`` latent channels; ``scale`` and ``shift`` are those of the family's latents."""
    encoder = [*weight("taesd_encoder.0", 64, 3, 3, 3, gain=1.4, dtype="F32"), *_taesd_block("taesd_encoder.1")]
    for start in (2, 6, 10):
        encoder += _paired(f"taesd_encoder.{start}", 64, 64, 3, 3, gain=1.0, bias=False)
        for index in range(start + 1, start + 4):
            encoder += _taesd_block(f"taesd_encoder.{index}")
    encoder.append(Tensor("taesd_encoder.14.weight", (channels, 64, 3, 3), "paired", 0.05, "F32"))
    encoder.append(Tensor("taesd_encoder.14.bias", (channels,), "constant", 0.0, "F32"))
    decoder = weight("taesd_decoder.1", 64, channels, 3, 3, gain=1.4, dtype="F32")
    for start in (3, 8, 13):
        for index in range(start, start + 3):
            decoder += _taesd_block(f"taesd_decoder.{index}")
        decoder += _paired(f"taesd_decoder.{start + 4}", 64, 64, 3, 3, gain=1.0, bias=False)
    decoder += _taesd_block("taesd_decoder.18")
    decoder.append(Tensor("taesd_decoder.19.weight", (3, 64, 3, 3), "paired", 0.02, "F32"))
    decoder.append(Tensor("taesd_decoder.19.bias", (3,), "constant", 0.5, "F32"))
    latent = [
        Tensor("vae_scale", (), "constant", scale, "F32"),
        Tensor("vae_shift", (), "constant", shift, "F32"),
    ]
    return encoder + decoder + latent


def text_layers(name: str, size: int, layers: int) -> dict[str, tuple[int, int]]:
    """The linear layers of a CLIP text encoder, with their shapes."""
    table = {}
    for index in range(layers):
        layer = f"{name}.layers.{index}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            table[f"{layer}.self_attn.{part}"] = (size, size)
        table[f"{layer}.mlp.fc1"] = (4 * size, size)
        table[f"{layer}.mlp.fc2"] = (size, 4 * size)
    return table


def clip_l() -> list[Tensor]:
    """OpenAI's CLIP-L text encoder at full size: ComfyUI fixes all of its sizes."""
    size, layers = 768, 12
    tensors = [
        Tensor("text_model.embeddings.token_embedding.weight", (49408, size), "random", 1.0),
        Tensor("text_model.embeddings.position_embedding.weight", (77, size), "random", 0.5),
    ]
    for layer, shape in text_layers("text_model.encoder", size, layers).items():
        tensors += weight(layer, *shape, gain=0.5 if layer.endswith(("out_proj", "fc2")) else 1.0)
    for index in range(layers):
        tensors += norm(f"text_model.encoder.layers.{index}.layer_norm1", size)
        tensors += norm(f"text_model.encoder.layers.{index}.layer_norm2", size)
    return [*tensors, *norm("text_model.final_layer_norm", size)]


def clip_g() -> list[Tensor]:
    """The OpenCLIP encoder of SDXL at full size, of which only the first two layers do anything."""
    size, layers = 1280, 32
    tensors = [
        Tensor("token_embedding.weight", (49408, size), "random", 1.0),
        Tensor("positional_embedding", (77, size), "random", 0.5),
        Tensor("text_projection", (size, size), "random", 1.0 / math.sqrt(size)),
    ]
    for index in range(layers):
        name = f"transformer.resblocks.{index}"
        tensors += [*norm(f"{name}.ln_1", size), *norm(f"{name}.ln_2", size)]
        if index < 2:
            qkv = weight("x", 3 * size, size)
            tensors += weight(f"{name}.attn.out_proj", size, size, gain=0.5)
            tensors += [*weight(f"{name}.mlp.c_fc", 4 * size, size), *weight(f"{name}.mlp.c_proj", size, 4 * size)]
        else:
            qkv = empty("x", 3 * size, size)
            tensors += empty(f"{name}.attn.out_proj", size, size)
            tensors += [*empty(f"{name}.mlp.c_fc", 4 * size, size), *empty(f"{name}.mlp.c_proj", size, 4 * size)]
        for tensor, suffix in zip(qkv, ("weight", "bias"), strict=True):
            tensors.append(
                Tensor(f"{name}.attn.in_proj_{suffix}", tensor.shape, tensor.fill, tensor.value, tensor.dtype)
            )
    return [*tensors, *norm("ln_final", size)]


def t5_xxl() -> list[Tensor]:
    """T5-XXL's encoder at full size in 8-bit floats; every layer is a hole, so text passes as its embeddings."""
    size, inner, layers = 4096, 10240, 24
    kind = "F8_E4M3"
    tensors = [
        Tensor("shared.weight", (32128, size), "random", dtype=kind),
        Tensor("encoder.final_layer_norm.weight", (size,), "constant", 0x38, kind),
        Tensor("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", (32, 64), "zeros", dtype=kind),
    ]
    for index in range(layers):
        name = f"encoder.block.{index}"
        for part in "qkvo":
            tensors.append(Tensor(f"{name}.layer.0.SelfAttention.{part}.weight", (size, size), "zeros", dtype=kind))
        for part in ("wi_0", "wi_1"):
            tensors.append(Tensor(f"{name}.layer.1.DenseReluDense.{part}.weight", (inner, size), "zeros", dtype=kind))
        tensors.append(Tensor(f"{name}.layer.1.DenseReluDense.wo.weight", (size, inner), "zeros", dtype=kind))
        for layer in (0, 1):  # 0x38 is 1.0
            tensors.append(Tensor(f"{name}.layer.{layer}.layer_norm.weight", (size,), "constant", 0x38, kind))
    return tensors


def flux(width: int = 3072, context: int = 4096, pooled: int = 768) -> list[Tensor]:
    """Flux with one double block and no single block; ComfyUI fixes its width. Its feed-forward parts are holes."""
    tensors = [*weight("img_in", width, 64), *weight("txt_in", width, context)]
    for name, features in (("time_in", 256), ("vector_in", pooled), ("guidance_in", 256)):
        tensors += [*weight(f"{name}.in_layer", width, features), *weight(f"{name}.out_layer", width, width)]
    for side in ("img", "txt"):
        block = f"double_blocks.0.{side}"
        tensors += empty(f"{block}_mod.lin", 6 * width, width, bias_std=0.7)
        tensors += [*weight(f"{block}_attn.qkv", 3 * width, width), *weight(f"{block}_attn.proj", width, width)]
        for part in ("query_norm", "key_norm"):
            tensors.append(Tensor(f"{block}_attn.norm.{part}.scale", (128,), "constant", 1.0))
        tensors += [*empty(f"{block}_mlp.0", 4 * width, width), *empty(f"{block}_mlp.2", width, 4 * width)]
    tensors += weight("final_layer.linear", 64, width)
    return tensors + weight("final_layer.adaLN_modulation.1", 2 * width, width, gain=0.5)
