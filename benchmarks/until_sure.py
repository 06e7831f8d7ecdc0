"""Does an audit until it is sure say what the whole audit says, at a third of its runs? Synthetic games of known truth.

    OMP_NUM_THREADS=1 python -m benchmarks.until_sure [--games 400] [--large 100] [--jobs 2]

Protocol, written before the run that docs/sampling.md shows. The two numbers that the method has to choose (ρ of the
spending function, and how improbable a decision must be for giving up) were chosen on other games, numbers 100,000 to
100,199: ρ of 1 to 3 and 1 to 10% were tried there, and 2 and 2% taken. So was Lan and DeMets' bound instead of
Bonferroni's, and the seeds' variance that is drawn along with the results.

- A game has 2 to 4 players and up to 16 seeds, one image each, of features with a content and a style view of 24
  numbers. Of a component some part moves the images towards the reference, some part elsewhere, and pairs interact; the
  strongest moves by 0.05 to 3 times the distance from the control's mean to the reference's (drawn on a logarithmic
  scale), the others by −0.3 to 0.9 times as much. In 15% of games nobody moves anything, in 10% two are exactly alike,
  8% of components change no pixel. In one game of five content has effects of its own, not those of style. Noise is
  common to the coalitions of a seed in part (20 to 95%). There are 1, 3, 8 or 20 reference images, and 24 or (a third)
  no control images.
- Distances, contrasts, intervals and verdicts are those of the audit's own code: FID (content) and the linear kernel of
  a diffusion model's style, which is what decides, so that its true contrast, or φ where there is no control, follows
  from the means in closed form.
- *Exhaustive* is 16 seeds of every coalition, looked at once at 5%. A verdict is the *same* where both name the same
  component, or neither names one. It is *wrong* where a component is named that is not strictly the first by the truth,
  or whose truth is not above 0. Runs are those of a coalition at a seed, by the exhaustive audit's; what is run again
  as a check (the second run, two canaries, a trial for each component set aside) comes on top, and is in the largest.
- *Intervals hold*: how often a component's interval of what decides holds the truth, at all looks of an audit.
- Goals: same verdict in 95% or more; wrong in no more than the error asked for; a third of the runs or less in the
  median, and never more than 1.05 times.
- Beside it 4 and 8 seeds, fixed. Then, with 6 players, samples of the coalitions: 40 of 64 at 16 seeds, the same until
  sure, and shapiq's estimators with as many runs as that (coalitions at 16 seeds). They have no intervals, so they name
  their largest wherever it is above 0.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from copyscope_core.distances.kernel import kernel_value, linear_kernel
from copyscope_core.evaluation.evaluate import Evaluation, evaluate
from copyscope_core.evaluation.race import Race
from copyscope_core.evaluation.sampling import next_design
from copyscope_core.game.choose import smallest_sample
from copyscope_core.game.design import Design, Exact
from copyscope_core.game.shapley import shapley_values
from copyscope_core.game.statistics import LEVEL
from copyscope_core.settings import AuditSettings

Floats = NDArray[np.float64]
D = 24
"""Numbers of each view, content and style."""
APART, TRACE = 6.0, 100.0
"""Distance of the reference's mean from the control's, and the trace of the works' covariance."""
SEEDS, SAMPLE = 16, 40
VIEWS = {"content": slice(0, D), "style": slice(D, 2 * D)}
STYLE = VIEWS["style"]
LINEAR_STYLE = "synthetic.introstyle-synthetic"
"""An id of features whose style distance is linear, so that its true values are known in closed form."""
EXHAUSTIVE, PEERS = "exhaustive, 16 seeds", ("KernelSHAP, paired", "SVARM", "permutations")


@dataclass
class SyntheticGame:
    """A game whose coalitions' features have a known distribution, by its number."""

    number: int
    players: int | None = None

    def __post_init__(self) -> None:
        rng = np.random.default_rng([231112847, self.number])
        n = self.n = self.players or int(rng.integers(2, 5))
        kind = str(rng.choice(["effect", "none", "tie"], p=[0.75, 0.15, 0.1]))
        self.references, controls = int(rng.choice([1, 3, 8, 20])), int(rng.choice([0, 24, 24]))
        self.correlation = rng.uniform(0.2, 0.95)
        live = self.live = (rng.random(n) >= 0.08) | (kind == "tie")
        size = 0.0 if kind == "none" else float(np.exp(rng.uniform(np.log(0.05), np.log(3.0))))
        style = size * np.concatenate([[1.0], rng.uniform(-0.3, 0.9, n - 1)])
        if kind == "tie":
            style[1] = style[0]
        content = style * rng.uniform(0.5, 1.5)
        if rng.random() < 0.2:
            content = size * rng.permutation(np.concatenate([[1.0], rng.uniform(-0.3, 0.9, n - 1)]))
        order = rng.permutation(n)
        member = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(np.float64)
        self.sources = (member.astype(bool) & live) @ (1 << np.arange(n))
        spectrum = np.arange(1, D + 1) ** -0.7
        self.spread = np.tile(np.sqrt(spectrum * TRACE / spectrum.sum()), 2)
        lines, means = [], []
        for effects in (content, style):
            line = rng.normal(size=D)
            line *= APART / np.linalg.norm(line)
            elsewhere = 0.3 * size * rng.normal(size=(n, D))
            if kind == "tie":
                elsewhere[1] = elsewhere[0]
            joint = ((member @ np.triu(0.2 * size * rng.uniform(-1, 1, (n, n)) / n, 1)) * member).sum(axis=1)
            if kind == "tie" or not live.all():
                joint = np.zeros(1 << n)
            moved = (member * live) @ (effects[:, None] * line + elsewhere)[order] + joint[:, None] * line
            lines.append(line)
            means.append(rng.normal(size=D) + moved)
        self.line, self.means = lines[1], means[1]
        draw = np.random.default_rng([231112847, self.number, 1])
        self.reference = self.spread * draw.normal(size=(self.references, 2 * D)) + np.concatenate(lines)
        self.control = self.spread * draw.normal(size=(controls, 2 * D)) if controls else None
        own = draw.normal(size=(1 << n, SEEDS, 2 * D))[self.sources]
        noise = self.correlation**0.5 * draw.normal(size=(SEEDS, 2 * D)) + (1 - self.correlation) ** 0.5 * own
        self.features = np.concatenate(means, axis=1)[:, None] + self.spread * noise
        """(2**n, seeds, 2 D)"""

    @cached_property
    def truth(self) -> Floats:
        """What the verdict is about, (n,): the style's contrast, or φ where there is no control."""
        if self.control is not None:
            return shapley_values(2 * (self.means - self.means[0]) @ self.line)
        works = self.line if self.references >= 8 else self.reference[:, STYLE].mean(axis=0)
        distance = ((self.means - works) ** 2).sum(axis=1)
        return shapley_values(distance[0] - distance)

    def evaluate(self, design: Design, seeds: int, level: float) -> Evaluation:
        """What an audit of so many seeds says."""
        masks = design.masks
        return evaluate(
            [f"player {i}" for i in range(self.n)],
            {mask: self.features[mask, :seeds] for mask in masks},
            self.reference,
            {mask: [f"{self.sources[mask]}/{seed}" for seed in range(seeds)] for mask in masks},
            seeds={mask: list(range(seeds)) for mask in masks},
            control=self.control,
            design=design,
            views=VIEWS,
            preprocessing=LINEAR_STYLE,
            level=level,
        )

    def wrong(self, name: int | None) -> bool:
        """Whether a component is named that is not strictly the first, or does not bring the images nearer."""
        if name is None:
            return False
        others = np.delete(self.truth, name)
        return bool(self.truth[name] <= 1e-9 or self.truth[name] <= others.max() + 1e-9)

    def held(self, found: Evaluation) -> NDArray[np.bool_]:
        """Whether the interval of each player that changes something holds the truth."""
        style = found.functions[-1]
        ends = style.shapley_interval if self.control is None else style.contrast_interval
        if ends is None:
            raise SystemExit("There are no intervals.")
        return np.asarray((ends[:, 0] <= self.truth) & (self.truth <= ends[:, 1]))[self.live]

    def values(self) -> Floats:
        """v(S) of what decides, from all seeds, (2**n,)."""
        images = self.features[..., STYLE]
        means = images.mean(axis=1)
        if self.control is not None:
            works = self.reference[:, STYLE].mean(axis=0) - self.control[:, STYLE].mean(axis=0)
            return np.asarray(2 * (means - means[0]) @ works)
        distance = np.array([kernel_value(x, self.reference[:, STYLE], linear_kernel) for x in images], dtype=float)
        return np.asarray(distance[0] - distance)


class Outcome(NamedTuple):
    """What an audit says of a game.

    Attributes:
        name: the player that is named, or None.
        wrong: whether that is wrong.
        runs: of a coalition at a seed.
        checks: what is run again on top.
        why: how it ended, where it ran until it was sure.
        held: for each player that changes something, whether its interval of what decides held the truth at all looks.
    """

    name: int | None
    wrong: bool
    runs: int
    checks: int = 3
    why: str = ""
    held: tuple[bool, ...] = ()


def fixed(game: SyntheticGame, design: Design, seeds: int) -> Outcome:
    """All coalitions of a design with some seeds, looked at once at 5%."""
    found = game.evaluate(design, seeds, LEVEL)
    name = named(found)
    return Outcome(name, game.wrong(name), len(design.masks) * seeds, held=tuple(game.held(found)))


def until_sure(game: SyntheticGame, design: Design, error: float, budget: int | None = None) -> Outcome:
    """An audit until it is sure, of at most 16 seeds."""
    race = Race.start(design, SEEDS, error, budget, None)
    held = np.ones(int(game.live.sum()), dtype=bool)
    while True:
        found = game.evaluate(race.size.design, race.size.seeds, race.level)
        held &= game.held(found)
        race = race.after(found)
        if race.stopped is not None:
            name, checks = named(found), 3 + len(race.trials())
            return Outcome(name, game.wrong(name), race.looks[-1].runs, checks, race.stopped, tuple(held))


def sampled(game: SyntheticGame, budget: int) -> Outcome:
    """A sample of the coalitions with 16 seeds, grown as an audit grows it."""
    design, settings = smallest_sample(game.n), AuditSettings(budget=budget)
    while True:
        found = game.evaluate(design, SEEDS, LEVEL)
        larger = next_design(found, settings)
        if larger is None:
            name = named(found)
            return Outcome(name, game.wrong(name), len(design.masks) * SEEDS, held=tuple(game.held(found)))
        design = larger


def peer(game: SyntheticGame, kind: str, runs: int) -> Outcome:
    """What one of shapiq's estimators names with so many runs."""
    from shapiq import approximator as peers

    n, values = game.n, game.values()
    weights = 1 << np.arange(n)
    estimators: dict[str, Callable[[], Any]] = {
        "KernelSHAP, paired": lambda: peers.KernelSHAP(n, pairing_trick=True, random_state=game.number),
        "SVARM": lambda: peers.SVARM(n, random_state=game.number),
        "permutations": lambda: peers.PermutationSamplingSV(n, random_state=game.number),
    }
    coalitions = max(runs // SEEDS, n + 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = estimators[kind]().approximate(
            coalitions, lambda members: values[np.atleast_2d(members).astype(int) @ weights]
        )
    phi = np.array([found[(player,)] for player in range(n)])
    name = int(phi.argmax()) if phi.max() > 0 else None
    return Outcome(name, game.wrong(name), coalitions * SEEDS)


def named(evaluation: Evaluation) -> int | None:
    """The player that a verdict names."""
    return evaluation.verdict.first if evaluation.verdict.decided else None


def small(number: int) -> dict[str, Outcome]:
    """A game of 2 to 4 players, by each design."""
    game = SyntheticGame(number)
    whole = Exact(game.n)
    return {
        EXHAUSTIVE: fixed(game, whole, SEEDS),
        "8 seeds": fixed(game, whole, 8),
        "4 seeds": fixed(game, whole, 4),
        "until sure, 5%": until_sure(game, whole, 0.05),
        "until sure, 1%": until_sure(game, whole, 0.01),
    }


def large(number: int) -> dict[str, Outcome]:
    """A game of 6 players, by each design."""
    game = SyntheticGame(number, 6)
    whole = Exact(game.n)
    grown = until_sure(game, smallest_sample(game.n), 0.05, SAMPLE)
    return {
        EXHAUSTIVE: fixed(game, whole, SEEDS),
        "8 seeds": fixed(game, whole, 8),
        "4 seeds": fixed(game, whole, 4),
        f"sample of {SAMPLE}, 16 seeds": sampled(game, SAMPLE),
        "until sure, 5%": until_sure(game, whole, 0.05),
        f"until sure, 5%, sample of {SAMPLE}": grown,
        **{f"shapiq {kind}, as many runs": peer(game, kind, grown.runs) for kind in PEERS},
    }


def show(title: str, games: list[dict[str, Outcome]]) -> None:
    """Print a table; `of those` are the games that the exhaustive audit decides."""
    clear = np.array([game[EXHAUSTIVE].name is not None for game in games])
    print(f"\n{title}: {len(games)} games, of which the exhaustive audit decides {clear.sum()}\n")
    print("| design | decided | wrong | same | of those | intervals hold | runs, median | of those | mean | most |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for design in games[0]:
        pairs = [(game[design], game[EXHAUSTIVE]) for game in games]
        same = np.array([one.name == other.name for one, other in pairs])
        parts = np.array([one.runs / other.runs for one, other in pairs])
        held = [item for one, _ in pairs for item in one.held]
        most = max((one.runs + one.checks) / (other.runs + other.checks) for one, other in pairs)
        print(
            f"| {design} | {np.mean([one.name is not None for one, _ in pairs]):.0%} | "
            f"{np.mean([one.wrong for one, _ in pairs]):.1%} | {same.mean():.1%} | {same[clear].mean():.1%} | "
            f"{f'{np.mean(held):.1%}' if held else '–'} | {np.median(parts):.2f} | {np.median(parts[clear]):.2f} | "
            f"{parts.mean():.2f} | {most:.2f} |"
        )
    for design in games[0]:
        if why := Counter(game[design].why for game in games if game[design].why):
            print(f"\n{design}: " + ", ".join(f"{code} {count}" for code, count in why.most_common()))


def main() -> None:
    """Play all games and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=400)
    parser.add_argument("--large", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="number of the first game")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    begun = time.monotonic()
    print("python -m benchmarks.until_sure", *sys.argv[1:])
    with ProcessPoolExecutor(options.jobs) as pool:
        for title, play, count in (("2 to 4 players", small, options.games), ("6 players", large, options.large)):
            if count:
                numbers = range(options.first, options.first + count)
                show(title, list(pool.map(play, numbers, chunksize=4)))
    print(f"\n{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
