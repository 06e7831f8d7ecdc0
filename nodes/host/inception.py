"""FID's Inception under ComfyUI's model management: loaded, offloaded and interrupted like any model."""

from __future__ import annotations

import functools

import comfy.model_management
import comfy.model_patcher
import torch

from ...copyscope_core.features.extractor import BATCH_SIZE, InceptionExtractor

_BYTES_PER_IMAGE = 64 * 2**20
"""Working memory of the network per image: its largest activations, several times over."""


@functools.lru_cache(maxsize=1)
def _patcher() -> comfy.model_patcher.ModelPatcher:
    from ...copyscope_core.features.inception import load_inception

    device = comfy.model_management.get_torch_device()
    return comfy.model_patcher.ModelPatcher(
        load_inception("cpu", device),
        load_device=device,
        offload_device=comfy.model_management.unet_offload_device(),
    )


def host_extractor() -> InceptionExtractor:
    """The extractor on the device that ComfyUI chose; where that is full, in smaller batches or on the CPU."""
    return InceptionExtractor(comfy.model_management.get_torch_device(), BATCH_SIZE, run=_run)


def _run(batch: torch.Tensor) -> torch.Tensor:
    comfy.model_management.throw_exception_if_processing_interrupted()
    patcher = _patcher()
    comfy.model_management.load_models_gpu(
        [patcher], memory_required=len(batch) * _BYTES_PER_IMAGE, force_full_load=True
    )
    with torch.inference_mode():
        return patcher.model(batch.to(patcher.load_device))
