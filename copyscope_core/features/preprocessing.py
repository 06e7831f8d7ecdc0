"""What a local model's images go through before its network, as its ``preprocessor_config.json`` says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..files.images import in_threads
from ..files.pixels import Pixels, resize_bicubic

Pixel = Annotated[int, Field(ge=1, le=4096)]
Side = Pixel | dict[Literal["height", "width", "shortest_edge"], Pixel]


class Normalisation(BaseModel):
    """Scale and normalise, which all of these models do after a resize.

    Attributes:
        rescale_factor: what 0…255 is multiplied by.
        image_mean, image_std: of each channel, after that.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    do_resize: Literal[True] = True
    do_rescale: Literal[True] = True
    do_normalize: Literal[True] = True
    rescale_factor: float = Field(1 / 255, gt=0)
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]

    def normalised(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """An image of 0…255, float32 (H, W, 3), as the network takes its numbers."""
        mean, std = (np.array(values, dtype=np.float32) for values in (self.image_mean, self.image_std))
        return np.asarray((image * np.float32(self.rescale_factor) - mean) / std)


class Preprocessing(Normalisation):
    """Bicubic resize, centre crop, scale, normalise: images of one shape.

    Attributes:
        size: the shorter edge after the resize, or height and width.
        crop_size: what is cut from the middle; None: nothing is cut.
    """

    size: Side
    crop_size: Side | None = None
    do_center_crop: bool | None = None

    @model_validator(mode="after")
    def _one_shape(self) -> Preprocessing:
        """Refuse settings that would not bring all images to one shape."""
        crop = self._crop()
        if crop is None and self._edge() is not None:
            raise ValueError("a shortest edge needs a crop_size")
        if crop is not None and max(crop) > (self._edge() or min(_rectangle(self.size))):
            raise ValueError("crop_size is larger than size")
        return self

    def __call__(self, pixels: Pixels) -> NDArray[np.float32]:
        """An image, uint8 (H, W, 3), as the network takes it: float32 (h, w, 3)."""
        height, width = self._resized(*pixels.shape[:2])
        image = resize_bicubic(pixels, width, height)
        if (crop := self._crop()) is not None:
            top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
            image = image[top : top + crop[0], left : left + crop[1]]
        return self.normalised(image)

    def inputs(self, images: Sequence[Pixels]) -> dict[str, NDArray[Any]]:
        """What the network is called with: ``pixel_values``, (n, 3, h, w)."""
        return {"pixel_values": np.stack(in_threads(self, images)).transpose(0, 3, 1, 2)}

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        edge = self._edge()
        if edge is None:
            return _rectangle(self.size)
        return max(edge, round(height * edge / width)), max(edge, round(width * edge / height))

    def _edge(self) -> int | None:
        return self.size if isinstance(self.size, int) else self.size.get("shortest_edge")

    def _crop(self) -> tuple[int, int] | None:
        return None if self.crop_size is None or self.do_center_crop is False else _rectangle(self.crop_size)


class PatchPreprocessing(Normalisation):
    """SigLIP2 for images of any aspect: as many square patches as fit, in rows, and zeros after them.

    Attributes:
        patch_size: a patch's side.
        max_num_patches: the resize gives at most so many, of nearly the image's own aspect.
    """

    patch_size: Pixel
    max_num_patches: Pixel

    def inputs(self, images: Sequence[Pixels]) -> dict[str, NDArray[Any]]:
        """What the network is called with: ``pixel_values`` (n, patches, numbers of one), a mask, rows and columns."""
        grids = np.array([self._grid(*pixels.shape[:2]) for pixels in images])
        counts = grids.prod(axis=1)
        values = np.zeros((len(images), self.max_num_patches, 3 * self.patch_size**2), dtype=np.float32)
        for row, patches in zip(values, in_threads(self._patches, images), strict=True):
            row[: len(patches)] = patches
        mask = np.arange(self.max_num_patches) < counts[:, None]
        return {"pixel_values": values, "pixel_attention_mask": mask.astype(np.int32), "spatial_shapes": grids}

    def _patches(self, pixels: Pixels) -> NDArray[np.float32]:
        (rows, columns), side = self._grid(*pixels.shape[:2]), self.patch_size
        image = self.normalised(resize_bicubic(pixels, columns * side, rows * side))
        return image.reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(rows * columns, -1)

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches at the largest scale that does not give too many, as transformers finds it."""

        def at(scale: float) -> tuple[int, int]:
            rows, columns = (max(1, math.ceil(scale * edge / self.patch_size)) for edge in (height, width))
            return rows, columns

        low, high = 1e-6, 100.0
        while high - low >= 1e-5:
            middle = (low + high) / 2
            low, high = (middle, high) if math.prod(at(middle)) <= self.max_num_patches else (low, middle)
        return at(low)


def _rectangle(side: Side) -> tuple[int, int]:
    """Height and width."""
    if isinstance(side, int):
        return side, side
    if "shortest_edge" in side or len(side) != 2:
        raise ValueError("a rectangle has height and width")
    return side["height"], side["width"]
