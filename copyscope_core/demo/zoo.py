"""The miniature zoo: models that carry known pictures, put together from small shipped parts.

``zoo_models`` holds what tools/miniature/train.py made: the UNet's weights that are not zero, the autoencoder, one LoRA
an artist, and the memory of a checkpoint fine-tuned on an artist. What is random but fixed, the text encoder, is made
from its seed, so that the shipped parts stay small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from ..errors import CopyScopeError
from . import shapes as shapes
from .tensors import Tensor

Arrays = dict[str, "np.ndarray[Any, Any]"]
FOLDER = Path(__file__).resolve().parent / "zoo_models"
MEMORY = "output_blocks.1.1.transformer_blocks.0.ff.net.0.proj.weight"
"""The UNet's layer that holds its pictures."""


def read_part(name: str) -> Arrays:
    """One shipped file's arrays."""
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        raise CopyScopeError(
            f"The miniature zoo's part {path} is missing; install CopyScope again, or make the parts with "
            "tools/miniature/train.py."
        )
    return dense(load_file(path))


def sparse(arrays: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
    """Arrays that are mostly zeros as places and values."""
    found: Arrays = {}
    for name, array in arrays.items():
        places = np.flatnonzero(array)
        if 4 * len(places) < array.size:
            found[name + ":places"] = places.astype(np.int32)
            found[name + ":values"] = array.ravel()[places]
            found[name + ":shape"] = np.array(array.shape, np.int32)
        else:
            found[name] = array
    return found


def dense(arrays: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
    """The arrays that :func:`sparse` took apart."""
    found: Arrays = {}
    for name, array in arrays.items():
        stem, _, kind = name.partition(":")
        if not kind:
            found[stem] = array
        elif kind == "values":
            full = np.zeros(tuple(arrays[stem + ":shape"].tolist()), array.dtype)
            full.ravel()[arrays[stem + ":places"]] = array
            found[stem] = full
    return found


def as_tensors(arrays: Mapping[str, np.ndarray[Any, Any]], prefix: str = "") -> list[Tensor]:
    """Arrays as the tensors of a file."""
    kinds = {"float16": "F16", "float32": "F32", "int32": "I32"}
    return [Tensor(prefix + n, a.shape, "data", dtype=kinds[a.dtype.name], data=a) for n, a in arrays.items()]


def _fill(tensor: Tensor, part: Arrays) -> Tensor:
    """A shipped tensor's numbers; a weight that was not shipped is zero, a normalisation leaves its input alone."""
    if tensor.name in part:
        return replace(tensor, fill="data", data=part[tensor.name].astype(np.float16), dtype="F16")
    return tensor if tensor.fill == "constant" else replace(tensor, fill="zeros", dtype="F16")


def unet(artist: str | None = None) -> list[Tensor]:
    """The UNet, or the one fine-tuned on an artist: the same but for the pictures that it holds."""
    part = read_part("unet")
    if artist:
        rows = read_part(f"checkpoint-{artist}")["rows"]
        part[MEMORY] = np.concatenate([rows, part[MEMORY][len(rows) :]])
    return [_fill(tensor, part) for tensor in shapes.unet(shapes.SD15)]


def autoencoder() -> list[Tensor]:
    """The zoo's autoencoder."""
    part = read_part("autoencoder")
    tensors = [_fill(replace(t, fill="zeros"), part) for t in shapes.tiny_autoencoder(4, 1.0, 0.0)]
    return [t if t.shape else replace(t, fill="constant", value=float(part[t.name]), dtype="F32") for t in tensors]


def lora(artist: str) -> list[Tensor]:
    """The LoRA that holds an artist's works."""
    return as_tensors(read_part(f"lora-{artist}"))
