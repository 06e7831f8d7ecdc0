"""LoRA files for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

Module = tuple[np.ndarray, np.ndarray]
"""B (out, r) and A (r, in)."""

SHAPES = ((64, 48), (64, 48), (96, 64), (96, 64), (48, 128), (64, 64))


def factors(seed: int, rank: int = 4) -> dict[str, Module]:
    """A LoRA's pairs, by modules as kohya names them."""
    draws = np.random.default_rng(seed)
    return {
        f"lora_unet_down_blocks_{place}_attn2_to_k": (
            draws.normal(size=(outer, rank)).astype(np.float32),
            draws.normal(size=(rank, inner)).astype(np.float32),
        )
        for place, (outer, inner) in enumerate(SHAPES)
    }


def write_kohya(path: Path, modules: Mapping[str, Module], alpha: float | None = None) -> Path:
    tensors = {}
    for name, (up, down) in modules.items():
        tensors[f"{name}.lora_up.weight"] = up
        tensors[f"{name}.lora_down.weight"] = down
        if alpha is not None:
            tensors[f"{name}.alpha"] = np.array(alpha, dtype=np.float32)
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, path)
    return path


def write_diffusers(path: Path, modules: Mapping[str, Module], dora: bool = False) -> Path:
    """The same under other names, with other names' order."""
    tensors = {}
    for place, (up, down) in enumerate(modules.values()):
        name = f"transformer.blocks.{9 - place}.attn.to_k"
        tensors[f"{name}.lora_B.weight"] = up
        tensors[f"{name}.lora_A.weight"] = down
        if dora:
            tensors[f"{name}.lora_magnitude_vector"] = np.ones(len(up), dtype=np.float32)
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, path)
    return path


def exact_cosine(one: Mapping[str, Module], other: Mapping[str, Module]) -> float:
    """Cosine of the changes, from Gram matrices: ⟨B₁A₁, B₂A₂⟩ = tr((B₂ᵀB₁)(A₁A₂ᵀ))."""

    def inner(x: Mapping[str, Module], y: Mapping[str, Module]) -> float:
        return sum(float(np.trace((y[k][0].T @ x[k][0]) @ (x[k][1] @ y[k][1].T))) for k in x)

    return inner(one, other) / np.sqrt(inner(one, one) * inner(other, other))
