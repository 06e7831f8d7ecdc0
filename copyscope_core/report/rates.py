"""How often verdicts were decided, and right, on planted games whose truth is known (docs/trust.md).

16 images a combination. The first two kinds of reference are of models that store pictures, and as soft as these can
paint (``studies/planted``); the others are of models that learned a style, 5 works, both runs (``studies/trained``).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from ..distances.registry import DistanceName
from ..features.extractor import INCEPTION_ID

Control = Literal["control", "bank", "none"]
"""What there was to compare with: other artists' works, the control bank, nothing."""

LEVEL = 0.95


class Rate(NamedTuple):
    """Verdicts on planted games of one sort.

    Attributes:
        works: what the reference works are to the component that is to be named.
        games, decided, right: how many there were, were decided, and named a component that carries the artist.
    """

    control: Control
    works: str
    games: int
    decided: int
    right: int

    @property
    def of_hundred(self) -> tuple[float, float, float] | None:
        """Right of 100 decided, with the ends of the 95% interval (Wilson); None: none was decided, or can be right."""
        if self.decided == 0 or self.works == NOBODY:
            return None
        from scipy.stats import binomtest

        ends = binomtest(self.right, self.decided).proportion_ci(LEVEL, method="wilson")
        return 100 * self.right / self.decided, 100 * float(ends.low), 100 * float(ends.high)


CARRIED = "works that it was made from"
HELD_OUT = "other works of the artist"
LEARNED = "works that it never saw, by an artist from whom it learned"
NOBODY = "works by an artist from whom no component learned"

RATES: tuple[Rate, ...] = (
    Rate("control", CARRIED, 94, 12, 12),
    Rate("control", HELD_OUT, 41, 0, 0),
    Rate("control", LEARNED, 166, 10, 7),
    Rate("control", NOBODY, 131, 5, 0),
    Rate("bank", CARRIED, 94, 32, 29),
    Rate("bank", HELD_OUT, 41, 1, 1),
    Rate("bank", LEARNED, 166, 18, 15),
    Rate("bank", NOBODY, 131, 8, 0),
    Rate("none", CARRIED, 94, 78, 74),
    Rate("none", HELD_OUT, 41, 16, 14),
    Rate("none", LEARNED, 166, 40, 38),
    Rate("none", NOBODY, 131, 45, 0),
)
"""Content by FID and style, both of FID's Inception."""

WHEN_TO_BELIEVE: tuple[str, ...] = (
    "Believe a verdict that names a component only with a control: without one, a component was named in 45 of 131 "
    "games in which none had learned from the artist.",
    "With a control of the same kind such a false verdict came in 5 of 131 games, with CopyScope's own bank in 8.",
    "“Not decided” is the usual answer for a style that was learned, and clears nobody: 156 of 166 games with a "
    "culprit ended so.",
    "Where content and style disagree, the reference's subjects are at work: give works that show other subjects, or "
    "read style's contrast, which ranked the culprit first in 74 of 100 games where chance gives 43.",
    "Models that repeat pictures are found more surely than models that learned a style.",
)
"""Five sentences of docs/trust.md, from games with trained models."""


def rates_for(control: Control, distance: DistanceName, preprocessing: str) -> list[Rate]:
    """What is known of verdicts on such a basis; nothing of value functions that the games were not measured with."""
    if distance != "fid" or preprocessing != INCEPTION_ID:
        return []
    return [rate for rate in RATES if rate.control == control]


def rate_sentence(rates: list[Rate]) -> str:
    """The rates as a sentence."""
    parts = [
        f"{rate.right} of {rate.decided} decided (of {rate.games}) where the reference is {rate.works}"
        if rate.decided
        else f"none of {rate.games} decided where it is {rate.works}"
        for rate in rates
        if rate.works != NOBODY
    ]
    wrong = "".join(
        f"; it named a component in {rate.decided} of {rate.games} games in which none had learned from the artist"
        for rate in rates
        if rate.works == NOBODY
    )
    return f"On planted games, whose truth is known, such a verdict was right in {', and '.join(parts)}{wrong}."
