"""Content of one extractor with the style of another model beside it, such as a diffusion model's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from ..errors import CopyScopeError
from ..files.pixels import Pixels
from .extractor import INCEPTION_CONTENT_ID, INCEPTION_ID, FeatureExtractor, Features
from .views import CONTENT, STYLE, views_of

STYLE_ID = re.compile(r"introstyle-[A-Za-z0-9-]{1,80}")
"""Ids of the style models that are known."""


class StyleModel(Protocol):
    """What sees style in an image, and nothing else."""

    @property
    def id(self) -> str:
        """Names network, weights and settings; of the form of ``STYLE_ID``."""

    @property
    def dimension(self) -> int:
        """Length of a style vector."""

    def __call__(self, images: Sequence[Pixels]) -> Features:
        """Style of images, uint8 (H, W, 3) of any sizes: float32, (n, dimension)."""


class ContentAndStyle:
    """Vectors of an extractor's content view, followed by a style model's vector.

    Args:
        content: only its content view is used.
        style: takes the place of a style view that ``content`` may have.

    Raises:
        CopyScopeError: the views of ``content`` do not fit.
    """

    def __init__(self, content: FeatureExtractor, style: StyleModel) -> None:
        self._content = content
        self._style = style
        self._columns = views_of(content)[CONTENT]
        size = self._columns.stop - self._columns.start
        self.dimension = size + style.dimension
        self.views = MappingProxyType({CONTENT: slice(0, size), STYLE: slice(size, self.dimension)})
        self.id = f"{_content_id(content)}.{style.id}"

    def __call__(self, images: Sequence[Pixels]) -> Features:
        """Features of images, float32 (n, dimension)."""
        return np.concatenate([self._content(images)[:, self._columns], self._style(images)], axis=1)


@dataclass(frozen=True)
class StoredVectors:
    """An extractor in name only: its vectors are stored, and what made them is not at hand."""

    id: str
    dimension: int
    views: Mapping[str, slice] | None = None

    def __call__(self, images: Sequence[Pixels]) -> Features:
        """Raises CopyScopeError."""
        raise CopyScopeError(f"The model of the features {self.id} is not at hand.")


def is_beside(features: str, content: FeatureExtractor) -> bool:
    """Whether features of this id are the content of an extractor with the style of another model beside it."""
    start = f"{_content_id(content)}."
    return features.startswith(start) and STYLE_ID.fullmatch(features, len(start)) is not None


def has_style_model(features: str) -> bool:
    """Whether the style of features of this id is that of another model."""
    return STYLE_ID.fullmatch(features.rpartition(".")[2]) is not None


def _content_id(extractor: FeatureExtractor) -> str:
    return INCEPTION_CONTENT_ID if extractor.id == INCEPTION_ID else extractor.id
