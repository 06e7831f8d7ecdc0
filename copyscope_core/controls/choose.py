"""Which works of the bank stand in as control images: of the reference's kinds, and none that resembles it.

Whole kinds are chosen, never single works. The works nearest to the reference would make a contrast too strict, since
a component that moves the images towards the artist moves them towards the artist's look-alikes too; and works of other
kinds make it too lax, since "more like a painting" would count as "more like this painter". ``studies/control_bank.py``
measures all three.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import GameError
from ..files.pixels import Pixels
from .bank import BankWork

Floats: TypeAlias = npt.NDArray[np.floating]
Bits: TypeAlias = npt.NDArray[np.bool_]
Reason: TypeAlias = Literal["same_picture", "resembles_reference", "same_artist"]

FEWEST = 20
"""Works that a choice has at least, where the bank has so many: kinds are added, nearest first."""

SAME_BITS = 10
"""Of 64: two pictures that differ in no more bits are the same one. No two works of the bank are."""

_COLUMNS, _ROWS = 9, 8


@dataclass(frozen=True)
class Choice:
    """Which works are used.

    Attributes:
        used: their places in the bank, ascending.
        kinds: theirs, nearest to the reference first.
        left_out: place of a work that resembles the reference → why it is left out, whatever its kind.
    """

    used: tuple[int, ...]
    kinds: tuple[str, ...]
    left_out: dict[int, Reason]


def picture_bits(pixels: Pixels) -> Bits:
    """A picture as 64 bits that scaling, compression and a change of brightness keep: whether it gets lighter from
    each cell of an 8 × 9 grid to the next (Krawetz's dHash).

    Args:
        pixels: uint8, (H, W, 3).

    Returns:
        (64,).
    """
    grey = Image.fromarray(pixels).convert("L").resize((_COLUMNS, _ROWS), Image.Resampling.BOX)
    cells = np.asarray(grey, dtype=np.int16)
    bits: Bits = (cells[:, 1:] > cells[:, :-1]).ravel()
    return bits


def same_pictures(bank: Bits, reference: Bits) -> tuple[int, ...]:
    """Places of the bank's pictures that are a reference's, mirrored ones too.

    Args:
        bank, reference: :func:`picture_bits` of each, (b, 64) and (m, 64).
    """
    grid = reference.reshape(len(reference), _ROWS, _COLUMNS - 1)
    sides = np.concatenate([reference, ~grid[:, :, ::-1].reshape(len(reference), -1)])
    away = np.count_nonzero(bank[:, None] != sides[None], axis=2).min(axis=1)
    return tuple(int(place) for place in np.flatnonzero(away <= SAME_BITS))


def choose_controls(
    works: Sequence[BankWork], features: Floats, reference: Floats, same: Collection[int] = (), fewest: int = FEWEST
) -> Choice:
    """Choose works of the kinds that are nearest to the reference.

    A work is left out where it is the same picture as a reference, nearer to one than any two works of the bank are to
    each other, or by the same hand as such a work. Kinds are ordered by the energy distance between their works and the
    reference (Székely and Rizzo 2013), and taken until there are ``fewest`` works.

    Args:
        works: b of them.
        features: (b, d) theirs.
        reference: (m, d) features of the reference.
        same: places of works that :func:`same_pictures` found.

    Raises:
        GameError: the shapes do not fit, or no work is left.
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(works) or not len(y) or x.shape[1] != y.shape[1]:
        raise GameError(f"Features of shapes {x.shape} and {y.shape} do not fit a bank of {len(works)} works.")
    among, across = _distances(x, x), _distances(x, y)
    left_out = _left_out(works, among, across, same)
    free = np.array([place not in left_out for place in range(len(works))])
    kinds = np.array([work.kind for work in works])
    scores = {
        str(kind): _energy(among, across, np.flatnonzero(free & (kinds == kind)))
        for kind in np.unique(kinds)
        if np.any(free & (kinds == kind))
    }
    chosen: list[str] = []
    used = np.zeros(len(works), dtype=bool)
    for kind in sorted(scores, key=lambda name: (scores[name], name)):
        if np.count_nonzero(used) >= fewest:
            break
        chosen.append(kind)
        used |= free & (kinds == kind)
    if not chosen:
        raise GameError("Every work of the control bank resembles the reference; give control images of your own.")
    return Choice(tuple(int(place) for place in np.flatnonzero(used)), tuple(chosen), left_out)


def _left_out(works: Sequence[BankWork], among: Floats, across: Floats, same: Collection[int]) -> dict[int, Reason]:
    """Place → why the work is left out."""
    pairs = among[np.triu_indices(len(works), 1)]
    nearest = pairs.min() if pairs.size else 0.0
    found: dict[int, Reason] = {int(place): "resembles_reference" for place in np.flatnonzero(across.min(1) < nearest)}
    found.update(dict.fromkeys(same, "same_picture"))
    hands = {works[place].hand for place in found} - {None}
    for place, work in enumerate(works):
        if work.hand in hands:
            found.setdefault(place, "same_artist")
    return dict(sorted(found.items()))


def _energy(among: Floats, across: Floats, places: npt.NDArray[np.intp]) -> float:
    """2 E‖x − y‖ − E‖x − x′‖ of some works and the reference; E‖y − y′‖, the same for all kinds, is left out."""
    within = among[np.ix_(places, places)].sum() / max(1, len(places) * (len(places) - 1))
    return float(2 * across[places].mean() - within)


def _distances(x: Floats, y: Floats) -> Floats:
    """Euclidean distances of all pairs of rows, (n₁, n₂)."""
    squared = (x * x).sum(1)[:, None] + (y * y).sum(1)[None] - 2 * x @ y.T
    distances: Floats = np.sqrt(np.maximum(squared, 0.0))
    return distances
