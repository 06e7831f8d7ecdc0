"""Do 95% intervals hold the exact value where a sample of coalitions stops by itself?

    python -m studies.stopping [--games 200] [--players 8,10] [--targets 0.05,0.1,0.2] [--budget 256]

Games of `estimators.py`, with exact values by enumeration. A sample grows by CopyScope's own rule
(`evaluation.sampling`) until the widest share interval is as narrow as the target. Printed for games that stopped so:
how often the intervals of φ hold the exact value where it stopped, in per cent, and how many coalitions were run on
average; and the same for the rule without its one exception, that the smallest sample is never enough.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from copyscope_core.evaluation.sampling import growth
from copyscope_core.game.regression import Regression
from copyscope_core.game.shapley import shapley_values
from copyscope_core.game.statistics import intervals, share_intervals
from studies.estimators import GAMES

Floats = NDArray[np.float64]


class Stopped(NamedTuple):
    """Where a sample stopped by itself."""

    shapley: Floats
    ends: Floats
    coalitions: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=200)
    parser.add_argument("--players", default="8,10")
    parser.add_argument("--targets", default="0.05,0.1,0.2")
    parser.add_argument("--budget", type=int, default=256)
    arguments = parser.parse_args()
    print("| game | players | target | stopped | holds | coalitions | holds, smallest allowed | coalitions |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for kind in ("pairs", "bent", "soum"):
        for n in map(int, arguments.players.split(",")):
            games = [GAMES[kind](n, np.random.default_rng([number, n])) for number in range(arguments.games)]
            for target in map(float, arguments.targets.split(",")):
                columns = []
                for first in (2, 1):
                    found = [(v, play(v, n, target, arguments.budget, first)) for v in games]
                    done = [(v, stop) for v, stop in found if stop is not None]
                    held = np.mean([holds(v, stop) for v, stop in done])
                    columns += [f"{held:.0%}", f"{np.mean([stop.coalitions for _, stop in done]):.0f}"]
                print(f"| {kind} | {n} | {target} | {len(done)} | {' | '.join(columns)} |", flush=True)


def play(v: Floats, n: int, target: float, budget: int, first: int) -> Stopped | None:
    """Grow a sample until it stops by the target; None where the budget ends first.

    Args:
        first: the first look that may stop it.
    """
    design, look = Regression.smallest(n), 1
    while True:
        values = v[list(design.masks)]
        phi, sources = design.shapley(values), design.sampling(values)
        if not sources:
            return Stopped(phi, np.stack([phi, phi], axis=-1), len(design.masks))
        ends, shares = intervals(phi, sources), share_intervals(phi, sources)
        if look >= first and float((shares[:, 1] - shares[:, 0]).max()) <= target:
            return Stopped(phi, ends, len(design.masks))
        larger = design.grow(values, int((ends[:, 1] - ends[:, 0]).argmax()), growth(design, budget))
        if larger == design:
            return None
        design, look = larger, look + 1


def holds(v: Floats, stop: Stopped) -> float:
    """The share of players whose interval holds the exact value."""
    truth = shapley_values(v)
    return float(np.mean((stop.ends[:, 0] <= truth + 1e-9) & (truth - 1e-9 <= stop.ends[:, 1])))


if __name__ == "__main__":
    main()
