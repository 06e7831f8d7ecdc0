"""Features of images: the extractor's contract, FID's Inception behind it, and a cache by pixel hash."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ..errors import CopyScopeError, ImageError
from ..files.atomic import read_plain, write_bytes_atomic
from ..files.images import ImageFile
from ..files.pixels import Pixels
from .batches import Batches
from .views import CONTENT, CONTENT_DIMENSION, STYLE, STYLE_DIMENSION

if TYPE_CHECKING:
    import torch

    from .inception import FIDInception

log = logging.getLogger(__name__)

Features: TypeAlias = npt.NDArray[np.float32]
"""One row an image, float32, (n, dimension)."""
Progress: TypeAlias = Callable[[int, int], None]
"""Called with how many of how many distinct images are done; may raise to interrupt."""

BATCH_SIZE = 8
"""Activations of more images leave a CPU's caches (docs/performance.md), and a GPU may be full of a host's models."""

CUDA_BATCH_SIZE = 64
"""Of a network that has a CUDA device to itself: fewer images leave it idle in part (docs/performance.md)."""
SUFFIX = ".safetensors"
"""Of the files that hold a feature vector each."""

INCEPTION_CONTENT_ID = "fid-inception-2015-12-05.clean-bicubic-299.folded-f32"
"""The part of an id that names the features which FID is made of."""
INCEPTION_ID = f"{INCEPTION_CONTENT_ID}.style-3b-4a-926"

_TENSOR, _CHECKSUM = "features", "sha256"
_MAX_HEADER_BYTES = 1024


def require_torch() -> None:
    """Make sure that features can be computed here; what is stored is read without PyTorch.

    Raises:
        CopyScopeError: PyTorch or torchvision is not installed.
    """
    missing = [name for name in ("torch", "torchvision") if importlib.util.find_spec(name) is None]
    if missing:
        raise CopyScopeError(
            f"Features of images are computed with {' and '.join(missing)}, not installed here; run: pip install "
            "'copyscope[torch]', in a clone '.[torch]' (README.md says how to get the small build for CPUs)."
        )


class FeatureExtractor(Protocol):
    """What turns images into vectors. The row of an image must not depend on the images beside it.

    It may have ``views``, a mapping of names to slices, where a vector is several things after one another, such as
    content and style; see :func:`copyscope_core.features.views.views_of`. It may have ``batch_size``, how many images
    it had best be given at a time.
    """

    @property
    def id(self) -> str:
        """Names network, weights and preprocessing; a folder name, so letters, digits, ``.``, ``_`` and ``-``."""

    @property
    def dimension(self) -> int:
        """Length of a feature vector."""

    def __call__(self, images: Sequence[Pixels]) -> Features:
        """Features of a few images, uint8 (H, W, 3) of any sizes: float32, (n, dimension)."""


class InceptionExtractor:
    """FID's Inception: 2048 numbers of content and 926 of style an image; the network is loaded at the first call.

    Args:
        device: where the network runs; the bundled network is put there, a ``model`` that is passed in must be there.
            What does not fit into its memory goes to the CPU (:class:`Batches`).
        batch_size: images that go through the network at a time; None: :data:`CUDA_BATCH_SIZE` on a CUDA device, else
            :data:`BATCH_SIZE`.
        model: a network to use instead of loading one.
        run: called instead of the network with each batch, as :func:`copyscope_core.features.inception.network_input`
            gives it for the device, and gives what the network gives, (n, 2974), on any device. A host with its own
            model management loads the network here.
    """

    id = INCEPTION_ID
    dimension = CONTENT_DIMENSION + STYLE_DIMENSION
    views = MappingProxyType(
        {CONTENT: slice(0, CONTENT_DIMENSION), STYLE: slice(CONTENT_DIMENSION, CONTENT_DIMENSION + STYLE_DIMENSION)}
    )

    def __init__(
        self,
        device: torch.device | str = "cpu",
        batch_size: int | None = None,
        model: FIDInception | None = None,
        run: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self.device = device
        self._model = model
        self._run = run or self._on_device
        size = batch_size if batch_size is not None else CUDA_BATCH_SIZE if _is(device, "cuda") else BATCH_SIZE
        self._batches = Batches(self._rows, None if run is None and _is(device, "cpu") else self._rows_on_cpu, size)

    @property
    def batch_size(self) -> int:
        """Images that go through the network at a time, where memory allows it."""
        return self._batches.size

    def __call__(self, images: Sequence[Pixels]) -> Features:
        """Features of images, float32 (n, 2974); never holds more than two batches of resized images.

        Raises:
            CopyScopeError: see :func:`require_torch` and :class:`Batches`.
        """
        require_torch()
        return self._batches(images) if len(images) else np.empty((0, self.dimension), dtype=np.float32)

    def _rows(self, images: Sequence[Pixels]) -> torch.Tensor:
        from .inception import full_precision, network_input

        with full_precision():
            return self._run(network_input(images, self.device))

    def _on_device(self, batch: torch.Tensor) -> torch.Tensor:
        if self._model is None:
            from .inception import load_inception

            self._model = load_inception(self.device)
        output: torch.Tensor = self._model(batch.to(self.device))
        return output

    def _rows_on_cpu(self, images: Sequence[Pixels]) -> torch.Tensor:
        """From now on the network runs on the CPU; a ``model`` that was passed in is moved there."""
        if self._model is not None:
            self._model.to("cpu")
        self.device, self._run = "cpu", self._on_device
        return self._rows(images)


def _is(device: torch.device | str, kind: str) -> bool:
    return str(device).partition(":")[0] == kind


class FeatureCache:
    """Features by pixel hash: each distinct image is computed once.

    Vectors are in ``folder/<extractor id>/<pixel sha-256>.safetensors``, each with its checksum; without a folder they
    are kept in memory.

    Args:
        batch_size: distinct images that are computed and kept at a time; None: as many as the extractor says that it
            takes (``batch_size``), else :data:`BATCH_SIZE`.
        pool: a second such folder, shared by many caches: what it has is copied, what is computed is added to it.

    Raises:
        ValueError: the extractor's id is no plain folder name.
    """

    def __init__(
        self,
        folder: Path | None,
        extractor: FeatureExtractor,
        batch_size: int | None = None,
        pool: Path | None = None,
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", extractor.id):
            raise ValueError(f"The extractor id {extractor.id!r} is no plain folder name.")
        self.extractor = extractor
        taken = getattr(extractor, "batch_size", None)
        self.batch_size = batch_size or (taken if isinstance(taken, int) and taken > 0 else BATCH_SIZE)
        self.folder = None if folder is None else Path(folder) / extractor.id
        self.pool = None if pool is None else FeatureCache(pool, extractor)
        self._memory: dict[str, npt.NDArray[np.float32]] = {}

    def features(
        self, images: Sequence[ImageFile | tuple[Pixels, str]], progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Features in the order of ``images``, from the cache where it has them.

        Args:
            images: image files, or pairs of pixels and their ``pixel_hash``.
            progress: called once for what the cache had, then after each batch. If it raises, what was finished
                before is kept.

        Returns:
            float32, (n, dimension).

        Raises:
            ImageError: the extractor gave NaN or infinite numbers for an image.
            StoreError: a vector cannot be written.
        """
        decoded = [item.decoded() if isinstance(item, ImageFile) else item for item in images]
        pairs = [(item.pixels, item.pixel_sha256) if isinstance(item, ImageFile) else item for item in decoded]
        pixels_of = {key: pixels for pixels, key in pairs}
        found = {key: row for key in pixels_of if (row := self.stored(key)) is not None}
        missing = [key for key in pixels_of if key not in found]
        if progress is not None and found:
            progress(len(found), len(pixels_of))
        for start in range(0, len(missing), self.batch_size):
            keys = missing[start : start + self.batch_size]
            for key, row in zip(keys, self._compute([pixels_of[key] for key in keys]), strict=True):
                self._add(key, row)
                found[key] = row
            if progress is not None:
                progress(len(found), len(pixels_of))
        if not pairs:
            return np.empty((0, self.extractor.dimension), dtype=np.float32)
        return np.stack([found[key] for _, key in pairs])

    def stored(self, key: str) -> npt.NDArray[np.float32] | None:
        """What the cache has for a ``pixel_hash``, computing nothing; None where it has nothing that is whole.

        Raises:
            ValueError: ``key`` is no SHA-256.
            StoreError: a vector of the pool cannot be written.
        """
        row = self._read(key)
        if row is None and self.pool is not None and (row := self.pool._read(key)) is not None:
            self._write(key, row)
        return row

    def keep(self, features: Mapping[str, Features]) -> None:
        """Take over vectors, by ``pixel_hash``, that this cache's extractor gave elsewhere.

        Raises:
            ValueError: a key is no SHA-256.
            ImageError: a vector is not of the extractor's length, or has NaN or infinite numbers.
            StoreError: a vector cannot be written.
        """
        for key, row in features.items():
            if row.shape != (self.extractor.dimension,) or not np.isfinite(row).all():
                raise ImageError(f"The features of {key} are not those of the extractor {self.extractor.id}.")
            self._add(key, row)

    def _add(self, key: str, row: Features) -> None:
        self._write(key, row)
        if self.pool is not None:
            self.pool._write(key, row)

    def _compute(self, images: list[Pixels]) -> npt.NDArray[np.float32]:
        rows = np.asarray(self.extractor(images), dtype=np.float32)
        if rows.shape != (len(images), self.extractor.dimension):
            raise ImageError(
                f"The extractor {self.extractor.id} gave an array of shape {rows.shape} for {len(images)} images; "
                f"it must be ({len(images)}, {self.extractor.dimension})."
            )
        if not np.isfinite(rows).all():
            raise ImageError(
                f"The extractor {self.extractor.id} gave NaN or infinite features; "
                "run it on another device or in float32."
            )
        return rows

    def _path(self, key: str) -> Path | None:
        if not re.fullmatch(r"[0-9a-f]{64}", key):
            raise ValueError(f"{key!r} is no SHA-256.")
        return None if self.folder is None else self.folder / f"{key}{SUFFIX}"

    def _read(self, key: str) -> npt.NDArray[np.float32] | None:
        path = self._path(key)
        if path is None:
            return self._memory.get(key)
        try:
            row = decode_vector(read_plain(path, vector_bytes(self.extractor.dimension)), self.extractor.dimension)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("The stored features %s cannot be read (%s); they are computed again.", path, error)
            return None
        if row is None:
            log.warning("The stored features %s are damaged; they are computed again.", path)
        return row

    def _write(self, key: str, row: npt.NDArray[np.float32]) -> None:
        path = self._path(key)
        if path is None:
            self._memory[key] = row.copy()
            return
        write_bytes_atomic(path, _encode(row))


def _encode(row: Features) -> bytes:
    """A vector as a safetensors file, with the SHA-256 of its bytes in the metadata."""
    vector = row.astype("<f4")
    return save({_TENSOR: vector}, {_CHECKSUM: hashlib.sha256(vector.tobytes()).hexdigest()})


def vector_bytes(dimension: int) -> int:
    """The most bytes that a stored vector of this length takes."""
    return 4 * dimension + _MAX_HEADER_BYTES


def decode_vector(data: bytes, dimension: int) -> Features | None:
    """The vector that a cache's file of these bytes holds; None where it holds anything else or was changed."""
    try:
        vector = load(data)[_TENSOR]
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__") or {}
    except (SafetensorError, KeyError, TypeError, ValueError):  # the last three: types that NumPy does not have
        return None
    if vector.dtype != np.float32 or vector.shape != (dimension,) or not np.isfinite(vector).all():
        return None
    intact = metadata.get(_CHECKSUM) == hashlib.sha256(vector.astype("<f4").tobytes()).hexdigest()
    return vector if intact else None
