"""Tensors made from a seed, and the safetensors files that hold them.

The same seed gives the same bytes on every machine: numbers come from the raw bit stream of PCG64 (NumPy keeps it
stable), and only exactly rounded operations are done on them. Files are written here rather than by a library so that
their bytes do not depend on a library's version, and so that long runs of zeros become holes that take no disk space.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

DTYPES: dict[str, tuple[np.dtype[Any], int]] = {
    "F32": (np.dtype("<f4"), 4),
    "I32": (np.dtype("<i4"), 4),
    "F16": (np.dtype("<f2"), 2),
    "F8_E4M3": (np.dtype("u1"), 1),
}
"""safetensors name -> NumPy type, bytes. NumPy has no 8-bit float: those tensors are raw bytes."""

_CHUNK = 1 << 22
_ZERO_BLOCK = bytes(1 << 20)


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file: its name, shape and how it is filled.

    ``fill`` is ``"random"`` (uniform, with standard deviation ``value``), ``"paired"`` (random, with every second
    number along the second axis the negative of the one before, so that a constant input gives zero), ``"constant"``
    (every number is ``value``), ``"zeros"`` (a hole in the file) or ``"data"`` (the array in ``data``). Random numbers
    depend on ``seed`` and ``origin`` (the name before any prefix), so that the same part is the same in every file.
    """

    name: str
    shape: tuple[int, ...]
    fill: str = "random"
    value: float = 0.0
    dtype: str = "F16"
    data: np.ndarray[Any, Any] | None = None
    origin: str = ""
    seed: int = 0

    @property
    def count(self) -> int:
        """How many numbers the tensor holds."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes the tensor takes in a file."""
        return self.count * DTYPES[self.dtype][1]


def random_bits(seed: int, name: str, words: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """``words`` 64-bit words that depend on ``seed`` and ``name`` alone."""
    digest = hashlib.sha256(f"copyscope miniature:{seed}:{name}".encode()).digest()
    generator = np.random.PCG64(int.from_bytes(digest[:16], "little"))
    words_array: np.ndarray[Any, np.dtype[np.uint64]] = np.asarray(generator.random_raw(words), dtype="<u8")
    return words_array


def seeded(tensors: Sequence[Tensor], seed: int, prefix: str = "") -> list[Tensor]:
    """The same tensors with their seed set, under longer names."""
    return [replace(t, name=prefix + t.name, origin=t.origin or t.name, seed=seed) for t in tensors]


def materialise(tensor: Tensor) -> np.ndarray[Any, Any]:
    """The tensor's numbers as an array (raw bytes for an 8-bit float)."""
    dtype, _ = DTYPES[tensor.dtype]
    if tensor.fill == "data":
        if tensor.data is None or tensor.data.shape != tensor.shape:
            raise ValueError(f"tensor {tensor.name} has no data of shape {tensor.shape}")
        return np.ascontiguousarray(tensor.data, dtype=dtype)
    if tensor.fill == "zeros":
        return np.zeros(tensor.shape, dtype=dtype)
    if tensor.fill == "constant":
        return np.full(tensor.shape, tensor.value, dtype=dtype)
    if tensor.dtype == "F8_E4M3":
        # With the top exponent bit clear, no byte is a NaN and no number exceeds 1.875.
        raw = random_bits(tensor.seed, tensor.origin or tensor.name, -(-tensor.count // 8)).view("u1")[: tensor.count]
        raw8: np.ndarray[Any, Any] = (raw & np.uint8(0xBF)).reshape(tensor.shape)
        return raw8
    raw16 = random_bits(tensor.seed, tensor.origin or tensor.name, -(-tensor.count // 4)).view("<i2")[: tensor.count]
    scale = np.float32(tensor.value * math.sqrt(3.0) / 32768.0)
    numbers: np.ndarray[Any, Any] = np.empty(tensor.count, dtype=dtype)
    for start in range(0, tensor.count, _CHUNK):
        part = raw16[start : start + _CHUNK].astype("<f4")
        numbers[start : start + _CHUNK] = part * scale
    numbers = numbers.reshape(tensor.shape)
    if tensor.fill == "paired":
        even = numbers.shape[1] // 2 * 2
        numbers[:, 1:even:2] = -numbers[:, 0:even:2]
    return numbers


def _header(tensors: Sequence[Tensor], metadata: dict[str, str]) -> bytes:
    table: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    offset = 0
    for tensor in tensors:
        table[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    return text + b" " * (-len(text) % 8)


def _order(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Wide types first, then by name: every tensor starts at a multiple of its own size."""
    names = [tensor.name for tensor in tensors]
    if len(set(names)) != len(names):
        raise ValueError("two tensors of one file share a name")
    return sorted(tensors, key=lambda tensor: (-DTYPES[tensor.dtype][1], tensor.name))


def _parts(tensors: Sequence[Tensor], metadata: dict[str, str]) -> Iterator[bytes | int]:
    """The file's content in order: bytes, or a number of zero bytes."""
    header = _header(tensors, metadata)
    yield len(header).to_bytes(8, "little")
    yield header
    for tensor in tensors:
        if tensor.fill == "zeros":
            yield tensor.nbytes
        else:
            yield materialise(tensor).tobytes()


def write_file(path: Path, tensors: Sequence[Tensor], metadata: dict[str, str] | None = None) -> str:
    """Write a safetensors file and return its SHA-256; the file appears under its name only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    digest = hashlib.sha256()
    try:
        with temporary.open("wb") as file:
            for part in _parts(_order(tensors), {"format": "pt", **(metadata or {})}):
                if isinstance(part, int):
                    file.seek(part, os.SEEK_CUR)
                    for start in range(0, part, len(_ZERO_BLOCK)):
                        digest.update(_ZERO_BLOCK[: min(len(_ZERO_BLOCK), part - start)])
                else:
                    file.write(part)
                    digest.update(part)
            file.truncate(file.tell())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
