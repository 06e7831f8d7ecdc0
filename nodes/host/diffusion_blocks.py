"""Which block of a diffusion model shows style: IntroStyle's in a UNet, the one at the same depth in a transformer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comfy.ldm.flux.model import Flux
from comfy.ldm.modules.diffusionmodules.mmdit import MMDiT
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.ldm.qwen_image.model import QwenImageTransformer2DModel
from torch import Tensor, nn

from ...copyscope_core.errors import CopyScopeError
from ...copyscope_core.features.introstyle import at_depth, last_of_up_block

if TYPE_CHECKING:
    from comfy.model_base import BaseModel

TOKENS = 77
"""Tokens of the prompt that the model is given."""
UNET_POOLED = 1280
"""Width of the pooled text of SDXL and its refiner; other UNets do not look at it."""


@dataclass(frozen=True)
class Block:
    """A block and what its model wants of a prompt.

    Attributes:
        name: as a part of an id.
        module: gives the block's output last.
        image_part: the activations of the image in that output, as float32 (batch, channels, places).
        channels: of those activations.
        context: width of the prompt's tokens.
        pooled: width of the pooled text.
    """

    name: str
    module: nn.Module
    image_part: Callable[[Any], Tensor]
    channels: int
    context: int
    pooled: int = UNET_POOLED


def chosen_block(model: BaseModel) -> Block:
    """The block of a model.

    Raises:
        CopyScopeError: the model is of an architecture that is not known here.
    """
    network = model.diffusion_model
    if isinstance(network, UNetModel) and isinstance(context := _unet_context(model), int):
        index, level = last_of_up_block(network.num_res_blocks)
        last_layer = network.output_blocks[index][-1]  # ComfyUI calls the layers of a block, never the block
        channels = network.model_channels * network.channel_mult[level]
        return Block(f"out{index}", last_layer, _map, channels, context)
    if isinstance(network, Flux):
        place = at_depth(len(network.double_blocks) + len(network.single_blocks))
        pooled = 1 if network.vector_in is None else network.vector_in.in_layer.in_features
        if place < len(network.double_blocks):
            module, part, name = network.double_blocks[place], _first, f"double{place}"
        else:
            place -= len(network.double_blocks)
            module, part, name = network.single_blocks[place], _after_text, f"single{place}"
        return Block(name, module, part, network.hidden_size, network.txt_in.in_features, pooled)
    if isinstance(network, MMDiT) and isinstance(network.context_embedder, nn.Linear):
        place = at_depth(len(network.joint_blocks))
        pooled = 1 if network.y_embedder is None else network.y_embedder.mlp[0].in_features
        context = network.context_embedder.in_features
        return Block(f"joint{place}", network.joint_blocks[place], _second, network.hidden_size, context, pooled)
    if isinstance(network, QwenImageTransformer2DModel):
        place = at_depth(len(network.transformer_blocks))
        context = network.txt_in.in_features
        return Block(f"block{place}", network.transformer_blocks[place], _second, network.inner_dim, context)
    raise CopyScopeError(
        f"It is not known which block of a {type(model).__name__} model shows style; wire Stable Diffusion 1.5, 2.1, "
        "XL or 3, Flux or Qwen-Image into style_model."
    )


def _unet_context(model: BaseModel) -> Any:
    """Width of the prompt's tokens; None for a UNet of videos, or one without a prompt."""
    config = model.model_config.unet_config
    return None if config.get("use_temporal_attention") else config.get("context_dim")


def _map(output: Any) -> Tensor:
    return output.float().flatten(2)


def _tokens(tokens: Tensor) -> Tensor:
    return tokens.float().transpose(1, 2)


def _first(output: Any) -> Tensor:
    """Of image and text."""
    return _tokens(output[0])


def _second(output: Any) -> Tensor:
    """Of text and image."""
    return _tokens(output[1])


def _after_text(output: Any) -> Tensor:
    """Of text and image in one row."""
    return _tokens(output[:, TOKENS:])
