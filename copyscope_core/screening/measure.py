"""What a model's images say about each artist of a panel, in content and in style."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..distances.kernel import linear_kernel
from ..evaluation.value_functions import style_kernel
from ..features.views import CONTENT, STYLE
from .contrasts import Effects, Floats, Sides
from .panel import Panel


@dataclass(frozen=True, eq=False)
class Measured:
    """One model against all artists of a panel.

    Attributes:
        views: effects in content, and in style where the features have it, each (A,).
        p: (A,) of the better view, times the number of views (Bonferroni); 1 where a view says that the model moves
            the images away from the artist, as an audit's verdict asks that content and style agree.
        view: (A,) place of that view.
    """

    views: tuple[Effects, ...]
    p: Floats
    view: NDArray[np.int8]


class Meter:
    """Measures models against a panel.

    Args:
        views: columns of content, and of style where the features have it (``features.views.views_of``).
    """

    def __init__(self, panel: Panel, views: dict[str, slice]) -> None:
        self.panel = panel
        self.names = tuple(name for name in (CONTENT, STYLE) if name in views)
        self._columns = [views[name] for name in self.names]
        kernels = {CONTENT: linear_kernel, STYLE: style_kernel(panel.extractor)}
        works = panel.features.astype(np.float64)
        self._sides = [
            Sides(np.ascontiguousarray(works[:, columns]), panel.reference, panel.control, kernels[name])
            for name, columns in zip(self.names, self._columns, strict=True)
        ]

    def places(self, images: NDArray[np.float32], seeds: int) -> list[Floats]:
        """Where images lie, a table (K, W) for each view.

        Args:
            images: (K·b, D) features, seed by seed.
            seeds: K.
        """
        rows = images.astype(np.float64)
        return [side.places(rows[:, part], seeds) for side, part in zip(self._sides, self._columns, strict=True)]

    def measure(self, images: NDArray[np.float32], without: list[Floats]) -> Measured:
        """The effects of one model.

        Args:
            images: (K·b, D) features of the images with it, seed by seed.
            without: :meth:`places` of the images without it.
        """
        having = self.places(images, len(without[0]))
        views = tuple(
            side.effects(2 * (own - other)) for side, own, other in zip(self._sides, having, without, strict=True)
        )
        p = np.stack([view.p for view in views])
        agree = np.all([view.effect > 0 for view in views], axis=0)
        best = np.where(agree, np.minimum(p.min(axis=0) * len(views), 1.0), 1.0)
        return Measured(views, best, p.argmin(axis=0).astype(np.int8))
