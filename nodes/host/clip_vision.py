"""Features from a model that ComfyUI loaded as CLIP-vision (CLIP, SigLIP or DINOv2), run as ComfyUI runs it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from itertools import groupby
from weakref import WeakKeyDictionary

import comfy.model_management
import numpy as np
import torch
from comfy.clip_vision import ClipVisionModel

from ...copyscope_core.features.batches import Batches
from ...copyscope_core.features.extractor import BATCH_SIZE, Features
from ...copyscope_core.features.inception import full_precision
from ...copyscope_core.files.pixels import Pixels

_known: WeakKeyDictionary[ClipVisionModel, tuple[str, int]] = WeakKeyDictionary()
"""Digest and dimension of the models that were used."""


class ClipVisionExtractor:
    """The pooled image embedding after ComfyUI's own preprocessing with a centre crop.

    Where a batch does not fit into memory, smaller ones are tried; on which device is ComfyUI's choice.

    For CLIP it is the projected embedding, for DINOv2 the normalised class token. ComfyUI does not load SigLIP's
    pooling head, so there it is the mean over the patches' normalised embeddings.

    Args:
        model: as ``CLIPVisionLoader`` gives it.
        name: what the user calls it; part of the id, beside the SHA-256 of the weights as they are loaded.
    """

    def __init__(self, model: ClipVisionModel, name: str) -> None:
        self._model = model
        self._batches = Batches(self._rows, None, BATCH_SIZE)
        if model not in _known:
            _known[model] = _digest(model), self([np.zeros((8, 8, 3), dtype=np.uint8)]).shape[1]
        digest, self.dimension = _known[model]
        self.id = f"{_plain(name)}.{digest[:16]}.comfy-crop-{model.image_size}"

    def __call__(self, images: Sequence[Pixels]) -> Features:
        """Features of images, float32 (n, dimension)."""
        return self._batches(images)

    def _rows(self, images: Sequence[Pixels]) -> torch.Tensor:
        rows = []
        for _, group in groupby(images, key=np.shape):
            comfy.model_management.throw_exception_if_processing_interrupted()
            batch = torch.from_numpy(np.stack(list(group))).float() / 255
            with full_precision():
                embeds = self._model.encode_image(batch)["image_embeds"].float()
            rows.append((embeds if embeds.ndim == 2 else embeds.mean(dim=1)).cpu())
        return torch.cat(rows)


def _digest(model: ClipVisionModel) -> str:
    """SHA-256 of the weights in memory, whose precision the launch flags decide, and of the preprocessing."""
    digest = hashlib.sha256(json.dumps([model.image_size, model.image_mean, model.image_std]).encode())
    for name, tensor in sorted(model.get_sd().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def _plain(name: str) -> str:
    """A file name without its ending as part of an id."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name.removesuffix(".safetensors")).strip("-")[:60] or "clip-vision"
