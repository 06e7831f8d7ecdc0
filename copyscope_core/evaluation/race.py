"""Until sure: an audit that grows in rounds and is looked at after each, until its verdict is decided.

A round adds seeds or, where the coalitions are a sample, coalitions: whichever takes more off the chance in the lead of
the first over the second, for each run. It ends where the verdict is decided, where a decision within the budget has
become improbable, or with the budget (``looks.py`` has the error that each look may make). A component that changes no
pixel in any coalition at the first look is *set aside*: from then on the images of coalitions with it are taken to be
those without it, which is tried on some of them at the end.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from ..errors import GameError
from ..game.design import Design, Exact
from .evaluate import Evaluation
from .looks import FUTILE, Outlook, levels_of, outlook, seed_looks
from .sampling import growth
from .standing import Chance

Stop = Literal["decided", "cannot_decide", "budget", "user"]
"""Why an audit ended that runs until it is sure. ``decided``: the verdict is. ``cannot_decide``: a decision within the
budget had become improbable. ``budget``: there was none left. ``user``: somebody stopped it."""

MOST_SEEDS = 4096
_DRAW_SEED = 20231129


@dataclass(frozen=True)
class Aside:
    """Players that were set aside.

    Attributes:
        players: a bitmask; 0: none.
        since: the first seed offset at which coalitions with them are not run.
    """

    players: int = 0
    since: int = 0

    def maker(self, mask: int, offset: int) -> int:
        """The coalition whose images a coalition has at a seed offset: its own, or without the players set aside."""
        return mask if offset < self.since else mask & ~self.players


@dataclass(frozen=True)
class Size:
    """How much of an audit is run: each coalition of the design with each seed."""

    design: Design
    seeds: int

    @property
    def runs(self) -> int:
        """How many runs that are, where none is set aside."""
        return len(self.design.masks) * self.seeds


@dataclass(frozen=True)
class Look:
    """What was seen after a round.

    Attributes:
        size: what had been run.
        runs: how many runs that were; those that were spared because players are set aside do not count.
        level: of the intervals and of the verdict.
        first, second: places of the two units that come first by what decides; None: nothing changes, or one unit.
        estimate, interval: of the first; None: it is not defined.
        decided: whether the verdict was.
    """

    size: Size
    runs: int
    level: float
    first: int | None
    second: int | None
    estimate: float | None
    interval: tuple[float, float] | None
    decided: bool


@dataclass(frozen=True)
class Race:
    """An audit until it is sure, between two rounds.

    Attributes:
        error: that all looks together may make.
        seeds, coalitions: most of them.
        runs: the budget.
        size: what is to be run and looked at next; at the end, what was looked at last.
        aside: players that were set aside.
        put_back: those that were and had an effect after all, a bitmask.
        looks: what was seen.
        stopped: why the audit ended; None: it goes on.
        outlook: what the rest of the budget would bring, as of the last look; None: nothing was left of it.
    """

    error: float
    seeds: int
    coalitions: int
    runs: int
    size: Size
    aside: Aside = field(default_factory=Aside)
    put_back: int = 0
    looks: tuple[Look, ...] = ()
    stopped: Stop | None = None
    outlook: Outlook | None = None

    @classmethod
    def start(cls, design: Design, seeds: int, error: float, budget: int | None, runs: int | None) -> Race:
        """The race before its first round.

        Args:
            design: the coalitions, or the smallest sample of them.
            seeds: most of them, unless ``runs`` are given.
            error: that all looks together may make.
            budget: most coalitions of a sample.
            runs: most runs; None: ``seeds`` times the coalitions.

        Raises:
            GameError: the runs are too few for a first look.
        """
        most = len(design.masks) if design.complete or budget is None else budget
        if runs is not None and seeds > 1:
            seeds = min(MOST_SEEDS, runs // len(design.masks))
            if seeds < seed_looks(MOST_SEEDS)[0]:
                raise GameError(
                    f"max_runs = {runs:,} is too small for a first look at {len(design.masks):,} combinations with "
                    f"{seed_looks(MOST_SEEDS)[0]} seeds each, {seed_looks(MOST_SEEDS)[0] * len(design.masks):,} runs; "
                    "raise it, or lock some components."
                )
        whole = seeds * most if design.complete or runs is None else runs
        return cls(error, seeds, most, whole, Size(design, seed_looks(seeds)[0]))

    @property
    def level(self) -> float:
        """Of the intervals at the look that is next, or was last."""
        others = self.looks if self.stopped is None else self.looks[:-1]
        return self._level(*(look.size.runs for look in others), self.size.runs)

    @property
    def made(self) -> int:
        """How many coalitions are to be run at a seed in all, for the size."""
        own = sum(not mask & self.aside.players for mask in self.size.design.masks)
        early = min(self.size.seeds, self.aside.since) if self.aside.players else self.size.seeds
        return len(self.size.design.masks) * early + own * (self.size.seeds - early)

    @property
    def saved(self) -> int:
        """How many runs less that is, because players were set aside."""
        return self.size.runs - self.made

    def after(self, evaluation: Evaluation) -> Race:
        """The race after a look at its size."""
        looked = replace(self, looks=(*self.looks, self._look(evaluation)))
        following = looked._following(evaluation)
        more = self.coalitions / len(self.size.design.masks)
        ahead = None
        if following is not None:
            level = self._level(*(look.size.runs for look in looked.looks), self.runs)
            ahead = outlook(evaluation, self.seeds, level, more)
        looked = replace(looked, outlook=ahead)
        if evaluation.verdict.decided:
            return replace(looked, stopped="decided")
        if following is None or ahead is None:
            return replace(looked, stopped="budget")
        if ahead.chance is not None and ahead.chance < FUTILE:
            return replace(looked, stopped="cannot_decide")
        return replace(looked, size=following, aside=self._aside(evaluation))

    def stop(self) -> Race:
        """The race where the user stops it: it ends with its last look, at which nobody may have been aside yet."""
        size = self.looks[-1].size
        aside = self.aside if self.aside.since < size.seeds else Aside()
        return replace(self, size=size, aside=aside, stopped="user")

    def without(self, players: int) -> Race:
        """The race with players put back that had been set aside; the last look is taken again."""
        left = replace(self.aside, players=self.aside.players & ~players)
        return replace(
            self, aside=left, put_back=self.put_back | players, looks=self.looks[:-1], stopped=None, outlook=None
        )

    def trials(self) -> dict[int, tuple[int, int]]:
        """For each player set aside, (mask, seed offset) of a coalition with it that is run after all, at the end."""
        last = self.size.seeds - 1
        if not self.aside.players or last < self.aside.since:
            return {}
        drawn = random.Random(_DRAW_SEED)  # noqa: S311 - to be repeatable
        found = {}
        for player in range(self.size.design.n):
            if self.aside.players >> player & 1:
                masks = [mask for mask in self.size.design.masks if mask & self.aside.players == 1 << player]
                found[player] = (drawn.choice(masks), last)
        return found

    def _level(self, *runs: int) -> float:
        """Of the last of some looks, at so many runs each."""
        return levels_of(self.error, tuple(count / self.runs for count in runs))[-1]

    def _look(self, evaluation: Evaluation) -> Look:
        lead = evaluation.functions[-1]
        place, first = lead.standing, evaluation.verdict.first
        order = [] if lead.ranked is None else np.argsort(-lead.ranked, kind="stable").tolist()
        second = next((unit for unit in order if unit != first), None)
        return Look(
            self.size,
            self.made,
            evaluation.level,
            first,
            None if first is None else second,
            None if place is None else place.estimate,
            None if place is None else place.interval,
            evaluation.verdict.decided,
        )

    def _aside(self, evaluation: Evaluation) -> Aside:
        """The players set aside from now on: those of before, or after the first look those without effect."""
        if self.looks or not isinstance(self.size.design, Exact) or self.put_back:
            return self.aside
        idle = sum(1 << place for place, idle in enumerate(evaluation.no_effect or ()) if idle)
        return Aside(idle, self.size.seeds) if idle else self.aside

    def _following(self, evaluation: Evaluation) -> Size | None:
        """What the next round makes of the size; None: the budget has no room for more."""
        design, seeds = self.size.design, self.size.seeds
        room = min(self.seeds, self.runs // len(design.masks))
        next_seeds = next((count for count in seed_looks(room) if count > seeds), None) if room > seeds else None
        ways = [] if next_seeds is None else [Size(design, next_seeds)]
        lead = evaluation.functions[-1]
        if not design.complete and evaluation.verdict.first is not None:
            left = min(self.coalitions, self.runs // seeds)
            larger = design.grow(evaluation.values, evaluation.verdict.first, growth(design, left))
            if larger != design:
                ways.append(Size(larger, seeds))
        if len(ways) < 2 or lead.ranked is None or lead.chance is None:
            return ways[0] if ways else None
        of_seeds, of_coalitions = _lead_variances(lead.ranked, lead.chance)
        by_seeds = of_seeds * (1 - seeds / ways[0].seeds) / (ways[0].runs - self.size.runs)
        share = len(design.masks) / len(ways[1].design.masks)
        by_coalitions = of_coalitions * (1 - share) / (ways[1].runs - self.size.runs)
        return ways[0] if by_seeds >= by_coalitions else ways[1]


def with_effect(trials: Mapping[int, tuple[int, int]], same: Iterable[bool]) -> int:
    """The players, a bitmask, whose trial did not give the images that were taken for it."""
    return sum(1 << player for player, held in zip(trials, same, strict=True) if not held)


def _lead_variances(ranked: np.ndarray, chance: Chance) -> Sequence[float]:
    """Variance of the lead of the first over the second, from the seeds and from the choice of coalitions."""
    order = np.argsort(-ranked, kind="stable")
    row = np.zeros((1, len(ranked)))
    row[0, order[0]] = 1.0
    if len(order) > 1:
        row[0, order[1]] = -1.0
    moved = chance.apply(row)
    return [sum(float((source.deviations**2).sum()) for source in part) for part in (moved.seeds, moved.coalitions)]
