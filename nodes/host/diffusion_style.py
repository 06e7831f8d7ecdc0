"""Style as a diffusion model sees it (IntroStyle), with ComfyUI's own loading, encoding, noise levels and sampling."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import comfy.model_management
import comfy.sample
import numpy as np
import torch
from comfy.samplers import KSAMPLER
from torch import Tensor, nn

from ...copyscope_core.errors import CopyScopeError
from ...copyscope_core.features.extractor import Features
from ...copyscope_core.features.inception import full_precision
from ...copyscope_core.features.introstyle import DRAWS, SIZE, TIME, noise, style_vector
from ...copyscope_core.files.pixels import Pixels, resize_bicubic
from .diffusion_blocks import TOKENS, Block, chosen_block

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import VAE

_digests: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()


class DiffusionStyle:
    """The style vector of images: the channel means of a block's activations, then their standard deviations.

    The prompt is an embedding of zeros in place of the empty text's, for no text encoder is at hand.

    Args:
        model: as ComfyUI's loaders give it, without LoRAs or other patches.
        vae: the one that belongs to it.

    Raises:
        CopyScopeError: the model is patched, has no block that is known, or the VAE is another family's.
    """

    def __init__(self, model: ModelPatcher, vae: VAE) -> None:
        if _is_patched(model) or vae.patcher.patches:
            raise CopyScopeError(
                "The style model is patched, by a LoRA for one, so that it is no fixed yardstick; wire style_model and "
                "style_vae straight from their loader."
            )
        self._model, self._vae = model, vae
        self._block = chosen_block(model.model)
        network = model.model.diffusion_model
        comfy.model_management.load_models_gpu([model, vae.patcher])  # takes other clones' patches out of the weights
        weights = hashlib.sha256(f"{_digest(network)} {_digest(vae.first_stage_model)}".encode()).hexdigest()
        self.id = f"introstyle-{weights[:16]}-{self._block.name}-t{TIME}-{SIZE}px-{DRAWS}"
        self.dimension = 2 * self._block.channels

    def __call__(self, images: Sequence[Pixels]) -> Features:
        """Style of images, float32 (n, dimension): of each alone, so that none depends on those beside it."""
        return np.stack([self._vector(pixels) for pixels in images])

    def _vector(self, pixels: Pixels) -> np.ndarray:
        comfy.model_management.throw_exception_if_processing_interrupted()
        image = torch.from_numpy(resize_bicubic(pixels, SIZE, SIZE))[None] / 255
        with full_precision():
            latent = self._vae.encode(image)
            channels = self._model.model.latent_format.latent_channels
            if latent.shape[1] != channels:
                raise CopyScopeError(
                    f"The style VAE gives {latent.shape[1]} channels, where the style model takes {channels}; wire the "
                    "VAE that belongs to the model."
                )
            return style_vector(self._activations(latent)).cpu().numpy()

    def _activations(self, latent: Tensor) -> Tensor:
        """The block's activations of one latent under each draw of noise, float32 (draws, channels, places)."""
        model = self._model
        sigma = float(model.model.model_sampling.percent_to_sigma(1 - TIME / 1000))
        prompt = torch.zeros(1, TOKENS, self._block.context)
        pooled = {"pooled_output": torch.zeros(1, self._block.pooled)}
        with _outputs_of(self._block) as outputs:
            comfy.sample.sample_custom(
                model,
                noise(latent.shape[1:]).to(latent.dtype),
                cfg=1.0,
                sampler=KSAMPLER(_called_once),
                sigmas=torch.tensor([sigma, 0.0]),
                positive=[[prompt, pooled]],
                negative=[[prompt, pooled]],
                latent_image=latent.expand(DRAWS, *latent.shape[1:]).contiguous(),
                disable_pbar=True,
                seed=0,
            )
        if len(outputs) != 1 or len(outputs[0]) != DRAWS:
            raise CopyScopeError(
                "The style model did not see all draws of noise in one call; free memory, queue again."
            )
        return outputs[0]


def _called_once(model, x, sigmas, extra_args=None, callback=None, disable=None):  # type: ignore[no-untyped-def]
    """A sampler, as ComfyUI calls one, that calls the model at the first noise level and stops."""
    return model(x, sigmas[0] * x.new_ones([len(x)]), **(extra_args or {}))


@contextlib.contextmanager
def _outputs_of(block: Block) -> Iterator[list[Tensor]]:
    """What the block gives while the context lasts, as float32 (batch, channels, places)."""
    outputs: list[Tensor] = []
    hook = block.module.register_forward_hook(lambda module, given, output: outputs.append(block.image_part(output)))
    try:
        yield outputs
    finally:
        hook.remove()


def _is_patched(model: ModelPatcher) -> bool:
    options = {name: value for name, value in model.model_options.items() if name != "transformer_options"}
    wrapped = [item for kinds in model.wrappers.values() for item in kinds.values() if item]
    changed = (model.patches, model.object_patches, model.hook_patches, model.injections, model.additional_models)
    return any(changed) or bool(wrapped or options or model.model_options.get("transformer_options"))


def _digest(module: nn.Module) -> str:
    """SHA-256 of weights as they are in memory, where the launch flags decide their precision.

    Raises:
        CopyScopeError: a weight is of a kind whose bytes cannot be read.
    """
    if module not in _digests:
        digest = hashlib.sha256()
        for name, tensor in sorted(module.state_dict().items()):
            comfy.model_management.throw_exception_if_processing_interrupted()
            digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
            try:
                digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
            except (RuntimeError, TypeError, NotImplementedError) as error:
                raise CopyScopeError(
                    f"The weight {name} of the style model cannot be hashed ({type(error).__name__}); wire a model "
                    "that is not quantised."
                ) from error
        _digests[module] = digest.hexdigest()
    return _digests[module]
