"""The distances that a value function can be made of, and every coalition's distance to a set of images.

``fid`` is the Fréchet distance, ``kid`` the unbiased polynomial kernel distance, ``mmd`` the unbiased Gaussian kernel
distance of CMMD, ``fid_infinity`` FID extrapolated to infinitely many generated images. All use the same features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import CopyScopeError, GameError
from .frechet import Frechet, covariance_factor, covariance_part, frechet_distance
from .kernel import Clips, Kernel, gaussian_kernel, kernel_distance, kernel_value, polynomial_kernel

DistanceName = Literal["fid", "kid", "mmd", "fid_infinity"]

INFINITY_IMAGES = 5_000
"""Fewer images a coalition than this are refused for ``fid_infinity``."""

INFINITY_POINTS = 15
INFINITY_SMALLEST = 2_000
_SHUFFLE_SEED = 191107023

Floats = NDArray[np.float64]


class DistanceInfo(NamedTuple):
    """How a distance is called in a report.

    Attributes:
        label: its short name.
        unit: of differences of it, in the plural.
        digits: decimals worth showing.
    """

    label: str
    unit: str
    digits: int


DISTANCES: dict[DistanceName, DistanceInfo] = {
    "fid": DistanceInfo("FID", "FID points", 1),
    "kid": DistanceInfo("KID", "KID units", 4),
    "mmd": DistanceInfo("MMD", "MMD units", 3),
    "fid_infinity": DistanceInfo("FID∞", "FID points", 1),
}

STYLE_INFO = DistanceInfo("KID of style", "style units", 3)
"""How the style distance is shown; it stands beside the distance in use and cannot be chosen for it."""

KERNELS: dict[DistanceName, Kernel] = {"kid": polynomial_kernel, "mmd": gaussian_kernel}
"""The kernels of the distances that have one."""


def distance_named(name: str) -> DistanceName:
    """The distance of that name.

    Raises:
        CopyScopeError: there is none.
    """
    for known in DISTANCES:
        if name == known:
            return known
    raise CopyScopeError(f"There is no distance {name!r}; choose one of {', '.join(DISTANCES)}.")


@dataclass(frozen=True, eq=False)
class Coalitions:
    """Features of all coalitions, equal ones kept once.

    Attributes:
        distinct: feature matrices (k, d) in float64.
        index: (2**n,) which of them each coalition has.
        clips: the clip of each of the k images, the same in all coalitions; None: each is one of its own.
    """

    distinct: tuple[Floats, ...]
    index: NDArray[np.intp]
    clips: Clips | None = None

    @classmethod
    def of(cls, features: Sequence[Floats], clips: Clips | None = None) -> Coalitions:
        """From the features of each coalition, by bitmask."""
        known: dict[tuple[tuple[int, ...], bytes], int] = {}
        distinct: list[Floats] = []
        index = []
        for x in features:
            key = (x.shape, hashlib.sha256(x.tobytes()).digest())
            if key not in known:
                known[key] = len(distinct)
                distinct.append(x)
            index.append(known[key])
        return cls(tuple(distinct), np.array(index, dtype=np.intp), clips)


@dataclass(frozen=True, eq=False)
class Distances:
    """Every coalition's distances to one set of images; arrays are (2**n,), NaN where undefined.

    Attributes:
        mean, covariance: the parts of the Fréchet distance.
        kid: unbiased kernel distance.
        kid_part: kid without the set's own term, which cancels in v(S); defined for a set of one image too.
        chosen: the distance that the value function is made of.
        part: its part that differs between coalitions: v(S) = part(∅) − part(S).
    """

    mean: Floats
    covariance: Floats
    kid: Floats
    kid_part: Floats
    chosen: Floats
    part: Floats

    @property
    def fid(self) -> Floats:
        """The Fréchet distance d²."""
        return self.mean + self.covariance


def measure_distances(coalitions: Coalitions, y: Floats, name: DistanceName) -> Distances:
    """Distances of every coalition to the images y (m, d).

    Raises:
        GameError: there are too few images for ``fid_infinity``.
    """
    rows = []
    clips = coalitions.clips
    for x in coalitions.distinct:
        frechet = frechet_distance(x, y)
        kid, kid_part = kernel_distance(x, y, clips=clips), kernel_value(x, y, clips=clips)
        chosen: float | None
        part: float | None
        if name == "fid":
            chosen = part = frechet.distance
        elif name == "kid":
            chosen, part = kid, kid_part
        elif name == "mmd":
            chosen, part = kernel_distance(x, y, gaussian_kernel, clips), kernel_value(x, y, gaussian_kernel, clips)
        else:
            chosen = part = frechet_infinity(x, y).distance
        rows.append((frechet.mean, frechet.covariance, kid, kid_part, chosen, part))
    table = np.array(rows, dtype=np.float64)[coalitions.index]
    return Distances(*table.T)


def frechet_infinity(x: Floats, y: Floats) -> Frechet:
    """FID as it would be with infinitely many images on the side of x (Chong and Forsyth 2020).

    FID is linear in 1/n but for small terms, so it is measured on growing parts of x and a straight line is put through
    them; its value at 1/n = 0 is the result. The reference's own bias stays, but is the same for every coalition.

    Args:
        x: (n, d), n ≥ 5,000. The order in which images join is random but fixed, the same in every coalition.
        y: (m, d).

    Raises:
        GameError: x has fewer images.
    """
    n = len(x)
    if n < INFINITY_IMAGES:
        raise GameError(
            f"FID extrapolated to infinitely many images needs at least {INFINITY_IMAGES:,} images a combination; "
            f"there are {n:,}. Use kid, which is unbiased for any number."
        )
    order = np.random.default_rng(_SHUFFLE_SEED).permutation(n)
    b = covariance_factor(y)
    if len(b) > b.shape[1]:
        b = np.asarray(np.linalg.qr(b, mode="r"))
    center = y.mean(axis=0)
    sizes = np.linspace(min(INFINITY_IMAGES, max(n // 10, INFINITY_SMALLEST)), n, INFINITY_POINTS).astype(int)
    points = []
    for size in sizes:
        part = x[order[:size]]
        difference = part.mean(axis=0) - center
        points.append((float(difference @ difference), covariance_part(covariance_factor(part), b)))
    design = np.stack([1 / sizes, np.ones(len(sizes))], axis=1)
    intercept = np.linalg.lstsq(design, np.array(points), rcond=None)[0][1]
    return Frechet(float(intercept[0]), float(intercept[1]))


def check_table(array: NDArray[np.floating], what: str, width: int | None) -> Floats:
    """Features (k, d) in float64.

    Raises:
        GameError: the array is empty, not ``width`` wide, or not finite.
    """
    x = np.asarray(array, dtype=np.float64)
    if x.ndim != 2 or 0 in x.shape:
        raise GameError(f"The features of {what} must be a table of images × numbers; got shape {x.shape}.")
    if width is not None and x.shape[1] != width:
        raise GameError(
            f"The features of {what} have {x.shape[1]} numbers an image, those of the reference {width}; "
            "compute both with the same extractor."
        )
    if not np.isfinite(x).all():
        bad = int((~np.isfinite(x).all(axis=1)).sum())
        raise GameError(f"{bad} of {len(x)} images of {what} have features that are not finite; check those images.")
    return x
