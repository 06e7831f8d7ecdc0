"""Cosine similarity corrected for hubs by a control: cross-domain similarity local scaling (Lample et al. 2018).

In a space of many dimensions some vectors, hubs, are near to almost everything, so that a high cosine says little. CSLS
takes from twice the cosine what each of the two has with its own nearest neighbours; here these are neighbours in a
control, unrelated images of the same kind. For cosine-type features, such as those of CSD, the correction repairs most
artists for whom the raw cosine fails (arXiv 2605.09030).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import GameError
from .frechet import Matrix, feature_pair

NEIGHBOURS = 10
"""k of Lample et al."""


def csls(x: npt.ArrayLike, y: npt.ArrayLike, control: npt.ArrayLike, neighbours: int = NEIGHBOURS) -> Matrix:
    """2·cos(x, y) − r(x) − r(y) of all pairs, where r is the mean cosine with the nearest neighbours in the control.

    Args:
        x: features, (n₁, d).
        y: features, (n₂, d).
        control: features of unrelated images, (m, d).
        neighbours: how many count; a control of fewer counts whole.

    Returns:
        (n₁, n₂), between −4 and 4; higher is more alike. A feature of zeros has the cosine 0 with all.

    Raises:
        GameError: a matrix is empty or not finite, the dimensions differ, or ``neighbours`` is below 1.
    """
    if neighbours < 1:
        raise GameError(f"CSLS needs at least 1 neighbour, not {neighbours}.")
    first, second = feature_pair(x, y)
    _, unrelated = feature_pair(x, control)
    a, b, c = (_unit(rows) for rows in (first, second, unrelated))
    return np.asarray(2 * a @ b.T - _nearness(a, c, neighbours)[:, None] - _nearness(b, c, neighbours)[None, :])


def _unit(rows: Matrix) -> Matrix:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float64).tiny))


def _nearness(rows: Matrix, control: Matrix, neighbours: int) -> Matrix:
    """Mean cosine of unit rows (n, d) with their nearest in the control (m, d): (n,)."""
    k = min(neighbours, len(control))
    return np.asarray(np.partition(rows @ control.T, -k, axis=1)[:, -k:].mean(axis=1))
