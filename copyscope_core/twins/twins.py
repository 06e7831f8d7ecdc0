"""Twins: model files that are one model, or nearly so, under several names.

Players that are copies share what the model does, so that each one's contribution is about its part of it: splitting a
source into many must not pay (Faithful Group Shapley, arXiv 2505.19013). Read their sum, or let them join as one group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .sketch import LENGTH, Floats, cosine

NEAR = 0.98
"""Cosine from which two LoRAs count as one. Noise of a tenth of a LoRA's factors leaves 0.99, 8 bits 0.9999; the demo's
LoRAs of one artist's other works reach 0.84, unrelated random ones are about 0 (``studies/twins.py``)."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What is known of a model file, without the file.

    Attributes:
        sha256: of its bytes; None: unknown.
        sketch: of a LoRA; None: it is none, or its server does not tell.
    """

    sha256: str | None = None
    sketch: Floats | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Twins:
    """Names of what is one model.

    Attributes:
        names: two or more.
        cosine: the smallest of those by which one was told; 1 where files are the same, byte for byte.
    """

    names: tuple[str, ...]
    cosine: float


def find_twins(known: Mapping[str, Fingerprint]) -> tuple[Twins, ...]:
    """Names whose files are equal, or whose LoRAs are nearly, in the order in which they were given.

    Args:
        known: name → its file. A name that is near to one of a set joins the set.
    """
    sets: list[tuple[list[str], float]] = []
    for name, mark in known.items():
        near = [(likeness, one) for one, (names, _) in enumerate(sets)
                if (likeness := max(_alike(mark, known[other]) for other in names)) >= NEAR]  # fmt: skip
        joined = [sets[one] for _, one in near]
        sets = [item for one, item in enumerate(sets) if one not in {place for _, place in near}]
        names = [other for names, _ in joined for other in names]
        sets.append(([*names, name], min([1.0, *(likeness for likeness, _ in near), *(least for _, least in joined)])))
    order = list(known)
    found = [Twins(tuple(sorted(names, key=order.index)), least) for names, least in sets if len(names) > 1]
    return tuple(sorted(found, key=lambda twins: order.index(twins.names[0])))


def find_copies(known: Mapping[str, Fingerprint]) -> dict[str, tuple[str, float]]:
    """Names whose file is that of an earlier name, or nearly: name → the earlier name, and the cosine (1: the bytes).

    Unlike :func:`find_twins` each is near to the very one that it is a copy of, not by way of others, and of many
    thousands of names each costs one product of a matrix and a vector.
    """
    kept = np.empty((max(1, len(known)), LENGTH))
    names: list[str] = []
    by_hash: dict[str, str] = {}
    copies: dict[str, tuple[str, float]] = {}
    for name, mark in known.items():
        if mark.sha256 is not None and (first := by_hash.setdefault(mark.sha256, name)) != name:
            copies[name] = copies.get(first, (first, 1.0))
            continue
        if mark.sketch is None:
            continue
        if names:
            best = int((kept[: len(names)] @ mark.sketch).argmax())
            if (likeness := cosine(kept[best], mark.sketch)) >= NEAR:
                copies[name] = names[best], likeness
                continue
        kept[len(names)] = mark.sketch
        names.append(name)
    return copies


def as_sketch(numbers: object) -> Floats | None:
    """A sketch as it came from elsewhere, to the last bit if its length is 1; None where it is none."""
    if not isinstance(numbers, list) or len(numbers) != LENGTH or not all(type(n) in (int, float) for n in numbers):
        return None
    try:
        sketch = np.array(numbers, dtype=np.float64)
    except OverflowError:
        return None
    length = float(np.linalg.norm(sketch))
    if not np.isfinite(length) or length == 0:
        return None
    return sketch if abs(length - 1) < 1e-9 else sketch / length


def _alike(one: Fingerprint, other: Fingerprint) -> float:
    if one.sha256 is not None and one.sha256 == other.sha256:
        return 1.0
    if one.sketch is None or other.sketch is None:
        return 0.0
    return cosine(one.sketch, other.sketch)
