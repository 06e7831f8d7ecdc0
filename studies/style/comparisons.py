"""Who is compared with whom: an artist's works that are held out, and a rival's, by their likeness to a reference.

*Distinct*: any two artists of a kind. *Trap*: the rival's works show the reference's subject, the artist's held-out
works another one, so that whoever sees content alone names the rival.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np

from .works import Collection, Work

Kind = Literal["distinct", "trap"]
COUNTS = (1, 2, 5, 8)
"""References a comparison has."""
MOST = 4
"""Works a side, held out and the rival's, have at most; always equally many."""
DRAWS = 3
"""Choices of works that each pair of artists, and each subject of it, is compared with; the mean counts."""


@dataclass(frozen=True)
class Comparison:
    """Works by id. The right answer is that ``own`` is nearer to ``reference`` than ``other`` is."""

    kind: Kind
    artist: str
    rival: str
    subject: str
    reference: tuple[str, ...]
    own: tuple[str, ...]
    other: tuple[str, ...]

    @property
    def unit(self) -> tuple[str, ...]:
        """What its draws have in common."""
        return self.kind, self.artist, self.rival, self.subject


def comparisons(collection: Collection, role: str, count: int) -> Iterator[Comparison]:
    """All comparisons among the artists of a role, with so many references."""
    works: dict[str, list[Work]] = {}
    for work in collection.of(role):
        works.setdefault(work.artist, []).append(work)
    for artist, rival in permutations(sorted(works), 2):
        if collection.artists[artist].kind == collection.artists[rival].kind:
            yield from _distinct(artist, rival, works[artist], works[rival], count)
            for subject in sorted({str(work.subject) for work in works[artist]}):
                yield from _trap(artist, rival, subject, works[artist], works[rival], count)


def _distinct(artist: str, rival: str, own: Sequence[Work], others: Sequence[Work], count: int) -> Iterator[Comparison]:
    for draw in range(DRAWS if len(own) > count else 0):
        rng = _generator(artist, rival, "", count, draw)
        shuffled = _draw(rng, own, len(own))
        yield _comparison("distinct", artist, rival, "", shuffled[:count], shuffled[count:], _draw(rng, others, MOST))


def _trap(
    artist: str, rival: str, subject: str, own: Sequence[Work], others: Sequence[Work], count: int
) -> Iterator[Comparison]:
    same = [work for work in own if work.subject == subject]
    different = [work for work in own if work.subject != subject]
    shown = [work for work in others if work.subject == subject]
    for draw in range(DRAWS if len(same) >= count and different and shown else 0):
        rng = _generator(artist, rival, subject, count, draw)
        reference, held, theirs = _draw(rng, same, count), _draw(rng, different, MOST), _draw(rng, shown, MOST)
        yield _comparison("trap", artist, rival, subject, reference, held, theirs)


def _comparison(
    kind: Kind,
    artist: str,
    rival: str,
    subject: str,
    reference: Sequence[str],
    own: Sequence[str],
    other: Sequence[str],
) -> Comparison:
    size = min(len(own), len(other), MOST)
    return Comparison(kind, artist, rival, subject, tuple(reference), tuple(own[:size]), tuple(other[:size]))


def _draw(rng: np.random.Generator, works: Sequence[Work], count: int) -> list[str]:
    return [works[place].id for place in rng.permutation(len(works))[:count]]


def _generator(*words: object) -> np.random.Generator:
    """Numbers that depend on what is compared alone, so that other comparisons do not change them."""
    digest = hashlib.sha256("|".join(map(str, words)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))
