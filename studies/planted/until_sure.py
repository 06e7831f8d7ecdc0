"""Does an audit until it is sure say what the whole audit says, on planted games of real images?

    python -m studies.planted.until_sure [--work /tmp/planted] [--jobs 2]

Needs the images and features of ``python -m studies.planted --images 16`` in its work folder; samples nothing.

Protocol, written before the only run, with nothing to choose: the method is that of ``benchmarks/until_sure.py``.

- All games of seed 0 but the ladders, which have 8 images: 16 images a coalition, one a seed; of one culprit or two,
  and two to five players. Each is measured against its works as they are (sharp) and as the zoo's autoencoder shows
  them (soft), and with three controls: works of the other artists, the bank that an audit takes by itself, and none.
- *Exhaustive* is 16 seeds of every coalition, looked at once at 5%. A verdict is the *same* where both name the same
  component, or neither names one. It is *wrong* where a component is named that is no culprit. Runs are those of a
  coalition at a seed, by the exhaustive audit's; a component that changes no pixel is set aside, and what is run again
  as a check comes on top, in the largest. Beside it 4 and 8 seeds, fixed.
- Goals, over all games with the control of other artists, sharp and soft: same verdict in 95% or more; wrong in no more
  than the error asked for, 5%; a third of the runs or less in the median, and never more than 1.05 times. The same is
  shown for the games that the exhaustive audit decides, and for the other controls.
- Intervals are not judged: nobody knows the true values here.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.until_sure import EXHAUSTIVE, Outcome, named, show
from copyscope_core.evaluation.evaluate import Evaluation
from copyscope_core.evaluation.race import Race
from copyscope_core.game.design import Exact
from copyscope_core.game.statistics import LEVEL
from studies.planted.games import Game, draw_games
from studies.planted.measure import Measure
from studies.planted.run import images_done

SEEDS = 16
CONTROLS = {"others": "works of the other artists", "bank": "CopyScope's bank", "none": "no control"}


class Stored:
    """A game whose images are at hand, against one kind of works and with one control."""

    def __init__(self, measure: Measure, game: Game, kind: str, control: str) -> None:
        self.measure, self.game = measure, game
        self.parts, self.rows = measure.images(game)
        self.works = measure.references[kind]
        self.control = None
        if control == "others":
            self.control = measure.others(game, self.works)
        elif control == "bank":
            self.control = measure.bank(game, kind, self.works)

    def evaluate(self, seeds: int, level: float) -> Evaluation:
        """What an audit of so many seeds says."""
        first = {mask: files[:seeds] for mask, files in self.rows.items()}
        return self.measure.evaluate(self.game, self.parts, first, self.works, self.control, level)

    def wrong(self, name: int | None) -> bool:
        """Whether a component is named that is no culprit."""
        return name is not None and self.game.cast.parts.index(self.parts[name]) not in self.game.culprits

    def fixed(self, seeds: int) -> Outcome:
        """All coalitions with some seeds, looked at once at 5%."""
        name = named(self.evaluate(seeds, LEVEL))
        return Outcome(name, self.wrong(name), len(self.rows) * seeds)

    def until_sure(self, error: float) -> Outcome:
        """An audit until it is sure, of at most 16 seeds."""
        race = Race.start(Exact(len(self.parts)), SEEDS, error, None, None)
        while True:
            found = self.evaluate(race.size.seeds, race.level)
            race = race.after(found)
            if race.stopped is not None:
                name = named(found)
                return Outcome(name, self.wrong(name), race.looks[-1].runs, 3 + len(race.trials()), race.stopped)


def play(work: Path, game: Game) -> dict[tuple[str, str], dict[str, Outcome]]:
    """A game by each design, against each kind of works and with each control."""
    measure = Measure(work)
    found = {}
    for kind in measure.references:
        for control in CONTROLS:
            stored = Stored(measure, game, kind, control)
            found[kind, control] = {
                EXHAUSTIVE: stored.fixed(SEEDS),
                "8 seeds": stored.fixed(8),
                "4 seeds": stored.fixed(4),
                "until sure, 5%": stored.until_sure(0.05),
                "until sure, 1%": stored.until_sure(0.01),
            }
    return found


def main() -> None:
    """Play all games and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("/tmp/planted"))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    games = [game for game in draw_games(0) if images_done(options.work, game) >= SEEDS]
    with ProcessPoolExecutor(options.jobs) as pool:
        played = list(pool.map(partial(play, options.work), games))
    for control, name in CONTROLS.items():
        show(name.capitalize(), [found[kind, control] for kind in ("sharp", "soft") for found in played])


if __name__ == "__main__":
    main()
