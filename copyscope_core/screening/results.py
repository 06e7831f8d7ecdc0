"""From the effects of all pairs of a model and an artist to verdicts.

q is Benjamini and Yekutieli's (2001), over all pairs of a screen, which holds whatever the pairs have to do with each
other. It takes p as it is; whether p is right is told by the negative controls, artists from whom nobody learned: at
each p the share of their pairs that come out as small is what the screen would find where there is nothing (target and
decoy, Elias and Gygi 2007). A pair is *found* where both agree. How far that holds is measured in
``studies/screening.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metadata.claims import find_mentions, read_claims
from ..metadata.header import Metadata
from .contrasts import Floats
from .measure import Measured

FALSE_DISCOVERIES = 0.05
"""Of the pairs that are found, at most this share is expected to be false."""

FOUND, UNDECIDED, NOTHING, NO_EFFECT, FAILED = "found", "undecided", "not found", "no effect", "failed"
VERDICTS = {
    FOUND: "nearer to the artist's works than chance explains, also by the negative controls",
    UNDECIDED: "nearer, but artists from whom nobody learned come out as near too often in this screen",
    NOTHING: "no more than chance may explain, which clears nobody",
    NO_EFFECT: "the model changed no pixel of this workflow's images",
    FAILED: "the model could not be run",
}
MOST_SAID = 200
"""Characters of what a file says of itself that stand in the table."""


@dataclass(frozen=True)
class ScreenedModel:
    """One model of a screen.

    Attributes:
        name: as the server has it.
        sha256: of its file; None: not hashed.
        same_as: the model that was run in its place, for it is the same or nearly so.
        cosine: of their changes; 1: the same file.
        says: what its file says of itself, in short.
        mentions: artists whom its file names.
        no_effect: it changed no pixel.
        error: why it could not be run.
        images: entry and name of its first images in the run folder, seed by seed.
    """

    name: str
    sha256: str | None = None
    same_as: str | None = None
    cosine: float | None = None
    says: str = ""
    mentions: frozenset[str] = frozenset()
    no_effect: bool = False
    error: str | None = None
    images: tuple[tuple[str, str], ...] = ()


@dataclass
class Screened:
    """All results of a screen: M models against A artists, of whom the first ``named`` are no negative controls.

    Attributes:
        views: names of the value functions.
        effect, low, high: (M, V, A); NaN for a model that failed.
        p, q, empirical: (M, A); q and the empirical rate are not defined (NaN) for negative controls.
        view: (M, A) which view p is of.
    """

    artists: tuple[str, ...]
    named: int
    works: list[int]
    views: tuple[str, ...]
    models: list[ScreenedModel]
    effect: Floats
    low: Floats
    high: Floats
    p: Floats
    view: NDArray[np.int8]
    q: Floats = field(init=False)
    empirical: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.q, self.empirical = (np.full(self.p.shape, np.nan) for _ in range(2))
        tested = self.tested
        if not tested:
            return
        own, negative = self.p[tested, : self.named], self.p[tested, self.named :]
        self.q[tested, : self.named] = discovery_rates(own)
        self.empirical[tested, : self.named] = empirical_rates(own, negative)
        places = {model.name: place for place, model in enumerate(self.models)}
        for place, model in enumerate(self.models):
            if model.same_as is not None and model.error is None:
                source = places[model.same_as]
                self.q[place], self.empirical[place] = self.q[source], self.empirical[source]

    @property
    def tested(self) -> list[int]:
        """Places of the models that were run and measured themselves."""
        return [place for place, model in enumerate(self.models) if model.same_as is None and model.error is None]

    @property
    def pairs(self) -> int:
        """How many pairs were tested: of models that were run and named artists."""
        return len(self.tested) * self.named

    @property
    def negatives(self) -> Floats:
        """p of all pairs with negative controls, (models run, A − named)."""
        return np.asarray(self.p[self.tested, self.named :])

    def verdict(self, model: int, artist: int) -> str:
        """The verdict on a pair."""
        about = self.models[model]
        if about.error is not None:
            return FAILED
        if about.no_effect:
            return NO_EFFECT
        if not self.q[model, artist] <= FALSE_DISCOVERIES:  # NaN: a negative control
            return NOTHING
        return FOUND if self.empirical[model, artist] <= FALSE_DISCOVERIES else UNDECIDED

    def strongest(self) -> Iterator[tuple[int, int]]:
        """Pairs of models that were run and named artists, as places, the smallest p first."""
        tested = np.array(self.tested, dtype=np.intp)
        for place in np.argsort(self.p[tested, : self.named], axis=None, kind="stable"):
            row, column = divmod(int(place), self.named)
            yield int(tested[row]), column

    def found(self) -> list[tuple[int, int]]:
        """The pairs that were found, copies' rows included, the smallest p first."""
        pairs = [(m, a) for m in range(len(self.models)) for a in range(self.named) if self.verdict(m, a) == FOUND]
        return sorted(pairs, key=lambda pair: (self.p[pair], pair))

    def pair(self, model: int, artist: int) -> dict[str, Any]:
        """The verdict on a pair, and what it is made of, as plain data."""
        view, effect, low, high = self.best(model, artist)
        return {
            "verdict": self.verdict(model, artist),
            "view": view,
            "effect": effect,
            "low": low,
            "high": high,
            "p": float(self.p[model, artist]),
        }

    def best(self, model: int, artist: int) -> tuple[str, float, float, float]:
        """The view that p is of, and its effect with its interval."""
        view = int(self.view[model, artist])
        at = (model, view, artist)
        return self.views[view], float(self.effect[at]), float(self.low[at]), float(self.high[at])


class Collector:
    """Takes the models of a screen one by one, in any order; numbers are kept in tables of fixed size."""

    def __init__(
        self, artists: tuple[str, ...], named: int, works: list[int], views: tuple[str, ...], models: int
    ) -> None:
        shape = (models, len(views), len(artists))
        self._about = (artists, named, works, views)
        self._numbers = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
        self._p = np.full((models, len(artists)), np.nan)
        self._view = np.zeros(self._p.shape, dtype=np.int8)

    def add(self, place: int, measured: Measured) -> None:
        """The effects of a model."""
        for view, effects in enumerate(measured.views):
            for table, values in zip(self._numbers, (effects.effect, effects.low, effects.high), strict=True):
                table[place, view] = values
        self._p[place], self._view[place] = measured.p, measured.view

    def copy(self, place: int, source: int) -> None:
        """A model has the effects of another one."""
        for table in (*self._numbers, self._p, self._view):
            table[place] = table[source]

    def finish(self, models: list[ScreenedModel]) -> Screened:
        """The results, with q."""
        return Screened(*self._about, models, *self._numbers, self._p, self._view)


def discovery_rates(p: Floats) -> Floats:
    """Benjamini and Yekutieli's q of all p together, whatever their shape."""
    from scipy.stats import false_discovery_control  # when used: it takes a second to import

    return np.asarray(false_discovery_control(p.ravel(), method="by")).reshape(p.shape)


def empirical_rates(p: Floats, negative: Floats) -> Floats:
    """At each p the share of findings that would be false if named artists were like the negative controls.

    It is (share of the negative pairs with such a p or a smaller one) × (all pairs) ÷ (pairs with such a p or a smaller
    one), at most 1, and made to rise with p. Where there are no negative controls it is 0: they say nothing.
    """
    if not negative.size:
        return np.zeros(p.shape)
    flat = p.ravel()
    order = np.argsort(flat, kind="stable")
    ranked = flat[order]
    share = np.searchsorted(np.sort(negative, axis=None), ranked, side="right") / negative.size
    as_small = np.searchsorted(ranked, ranked, side="right")
    rates = np.minimum(share * len(flat) / as_small, 1.0)
    result = np.empty(len(flat))
    result[order] = np.minimum.accumulate(rates[::-1])[::-1]
    return result.reshape(p.shape)


def told_by(metadata: Metadata | None, artists: Sequence[str]) -> tuple[str, frozenset[str]]:
    """What a file says of itself, in a line, and which artists it names."""
    if metadata is None:
        return "", frozenset()
    claims = read_claims(metadata)
    parts = [
        ("trigger words", ", ".join(claims.trigger_words[:5])),
        ("author", claims.author),
        ("title", claims.name),
        ("base model", claims.base_model or claims.base_version),
        ("tags", ", ".join(f"{tag} ({count})" if count else tag for tag, count in claims.tags[:5])),
    ]
    said = "; ".join(f"{name}: {value}" for name, value in parts if value)
    known = [artist for artist in artists if any(sign.isalnum() for sign in artist)]
    named = frozenset(mention.word for mention in find_mentions(metadata, known))
    return " ".join(said.split())[:MOST_SAID], named
