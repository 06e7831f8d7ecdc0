"""Sketches of LoRA files: a few numbers from which the cosine of two LoRAs' weight changes can be estimated.

A LoRA adds D = s·B·A, of rank r, to a weight. The sketch's k-th number is Σ uₖᵀ·D·vₖ over all modules, with signs uₖ
and vₖ drawn from the module's shape alone. So the expected product of two sketches is ⟨D₁, D₂⟩, with changes summed
over modules of one shape (random bilinear projections; Achlioptas 2003). The numbers do not depend on names, on the
order of modules, on the rank or on how a factor is shared between B and A; no d × d matrix is made.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ..errors import CopyScopeError

SKETCH_ID = "shape-signs-256.1"
"""Names this way of making sketches; others do not compare."""
LENGTH = 256

MAX_BYTES = 8 << 30
MAX_TENSORS = 20_000
MAX_SIDE = 1 << 17
MAX_RANK = 4096
MAX_NUMBERS = 1 << 30
"""Of all matrices of one file."""
MAX_SECONDS = 120.0

_FACTOR = re.compile(
    r"(?P<module>.+?)[._](?P<which>lora_up|lora_down|lora_A|lora_B|lora\.up|lora\.down|lora_linear_layer\.up|"
    r"lora_linear_layer\.down)(?:\.default)?\.weight\Z"
)
_UP = ("up", "B")
_SEED = 0x53_4B_45_54

Floats = NDArray[np.float64]


class SketchError(CopyScopeError):
    """A file has no sketch: it is no LoRA of low-rank pairs, damaged, or too large."""


@dataclass(frozen=True)
class _Pair:
    """One module: names of its tensors."""

    up: str
    down: str
    alpha: str | None


def lora_sketch(path: Path, seconds: float = MAX_SECONDS) -> Floats:
    """The sketch of a safetensors file with low-rank pairs (kohya's, diffusers' and PEFT's names).

    Alphas count; a magnitude of DoRA does not. Modules that are no pair of matrices (LoHa, LoKr, ``lora_mid``) are left
    out; a file of nothing else has no sketch. Nothing is unpickled.

    Args:
        seconds: after which it gives up.

    Returns:
        (256,) of length 1.

    Raises:
        SketchError: the file cannot be read, is none of these, is damaged or too large, or takes too long.
    """
    end = time.monotonic() + seconds
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SketchError(f"{path.name} is larger than {MAX_BYTES >> 30} GiB; it is no LoRA.")
        with safe_open(path, framework="pt") as tensors, np.errstate(all="ignore"):
            return _sketch(tensors, path.name, end)
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise SketchError(f"{path.name} has no sketch: {str(error)[:200]}.") from error


def cosine(one: Floats, other: Floats) -> float:
    """The estimated cosine of the changes that two LoRAs make, from their sketches, to nine digits.

    In which order a matrix library adds up, and so the last digits, is its own affair.
    """
    return round(min(1.0, max(-1.0, math.fsum(one * other))), 9)


def _sketch(tensors: Any, name: str, end: float) -> Floats:
    by_shape: dict[tuple[int, int], list[_Pair]] = {}
    numbers = 0
    for pair in _pairs(list(tensors.keys()), name):
        sides = _sides(*(tuple(tensors.get_slice(key).get_shape()) for key in (pair.up, pair.down)))
        if sides is None:
            continue
        outer, rank, inner = sides
        numbers += (outer + inner) * rank
        by_shape.setdefault((outer, inner), []).append(pair)
    if not by_shape:
        raise SketchError(f"{name} holds no pairs of low-rank matrices, as a LoRA does.")
    if numbers > MAX_NUMBERS:
        raise SketchError(f"{name} holds more than {MAX_NUMBERS:,} numbers in its pairs; it is no LoRA.")
    total = np.zeros(LENGTH)
    for (outer, inner), pairs in sorted(by_shape.items()):
        draws = np.random.default_rng([_SEED, outer, inner])
        left, right = _signs(draws, outer), _signs(draws, inner)
        for pair in pairs:
            if time.monotonic() > end:
                raise SketchError(f"The sketch of {name} takes too long.")
            up = tensors.get_tensor(pair.up).float().numpy().reshape(outer, -1)
            down = tensors.get_tensor(pair.down).float().numpy().reshape(-1, inner)
            probed = np.einsum("kr,rk->k", left @ up, down @ right.T, dtype=np.float64)
            total += _scale(tensors, pair.alpha, up.shape[1]) * probed
    length = float(np.linalg.norm(total))
    if not math.isfinite(length) or length == 0:
        raise SketchError(f"The changes that {name} makes are all 0, or not finite.")
    return total / length


def _pairs(keys: list[str], name: str) -> Iterator[_Pair]:
    """The modules that have both matrices, in the order of their names, whatever the file's order."""
    if len(keys) > MAX_TENSORS:
        raise SketchError(f"{name} has more than {MAX_TENSORS:,} tensors; it is no LoRA.")
    known = set(keys)
    modules: dict[str, dict[bool, str]] = {}
    for key in sorted(known):
        if match := _FACTOR.fullmatch(key):
            modules.setdefault(match["module"], {})[match["which"].endswith(_UP)] = key
    for module, sides in modules.items():
        if len(sides) == 2 and not known & {f"{module}.lora_mid.weight"}:
            alpha = f"{module}.alpha"
            yield _Pair(sides[True], sides[False], alpha if alpha in known else None)


def _sides(up: tuple[int, ...], down: tuple[int, ...]) -> tuple[int, int, int] | None:
    """out, r and in of a linear or convolutional module; None: its matrices are not (out, r) and (r, in)."""
    if not (2 <= len(up) <= 5 and 2 <= len(down) <= 5) or up[1] != down[0] or math.prod(up[2:]) != 1:
        return None
    outer, rank, inner = up[0], up[1], math.prod(down[1:])
    fits = 0 < outer <= MAX_SIDE and 0 < inner <= MAX_SIDE and 0 < rank <= MAX_RANK
    return (outer, rank, inner) if fits else None


def _scale(tensors: Any, alpha: str | None, rank: int) -> float:
    """alpha / r; 1 where there is no alpha."""
    if alpha is None or math.prod(tensors.get_slice(alpha).get_shape()) != 1:
        return 1.0
    return float(tensors.get_tensor(alpha).float().reshape(())) / rank


def _signs(draws: np.random.Generator, columns: int) -> NDArray[np.float32]:
    """(256, columns) of 1 and −1."""
    bits = np.unpackbits(draws.integers(0, 256, (LENGTH, -(-columns // 8)), dtype=np.uint8), axis=1, count=columns)
    return bits.astype(np.float32) * 2 - 1
