"""Does the contrast hold the truth where reference and control have unequal numbers of images? Games with known truth.

    python -m studies.contrast [--games 400] [--tail 0] [--seed 0]
    python -m studies.contrast --beside [--games 120]     # other unbiased contrasts, on the same games

Features have 64 numbers with a falling spectrum. The player scales how far images are from their mean (`spread` 0.7 or
1.4) and, in the second half of the table, moves them along the line from the control's mean to the reference's. In the
first half reference and control are drawn from one distribution, so the truth is 0, though the Fréchet distance to each
changes by a lot. `--tail K`: works and images with heavy tails (Student's t with K degrees of freedom).

Prints for each number of references and controls, images and spread: the mean contrast beside the truth, how often its
95% interval holds the truth and how often it lies wholly above or below it, in per cent; and for comparison the mean of
φ of FID to the reference less φ of FID to the control, which is biased where the numbers differ.

`--beside` prints for games with a shift how many standard deviations the contrast's mean is from 0: of FID's mean part,
which is in use, of KID's kernel, and of FID itself averaged over subsets of the control (and reference) of equal size.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from copyscope_core.distances.frechet import frechet_distance
from copyscope_core.distances.kernel import linear_kernel, polynomial_kernel
from copyscope_core.distances.registry import Coalitions
from copyscope_core.evaluation.contrast import contrast
from copyscope_core.evaluation.evaluate import evaluate
from copyscope_core.game.design import Exact

Floats = NDArray[np.float64]
D = 64
COUNTS = ((1, 20), (2, 20), (5, 20), (8, 20), (8, 100), (20, 20))
IMAGES = (8, 32)
SPREADS = (0.7, 1.4)
SUBSETS = 12
APART = 6.0
"""Distance of the reference's mean from the control's in the second half, where the trace of a covariance is 100."""


class Cell(NamedTuple):
    """What is measured in one row."""

    apart: float
    references: int
    controls: int
    images: int
    spread: float


class Row(NamedTuple):
    """A row's results over its games."""

    truth: float
    mean: float
    held: float
    above: float
    below: float
    of_fid: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=400)
    parser.add_argument("--tail", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--beside", action="store_true")
    arguments = parser.parse_args()
    if arguments.beside:
        print_beside(arguments.games, arguments.tail, arguments.seed)
        return
    print("| refs / controls | images | spread | truth | contrast | holds | above | below | φ FID − φ FID control |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for cell in cells():
        row = measure(cell, arguments.games, arguments.tail, arguments.seed)
        print(
            f"| {cell.references} / {cell.controls} | {cell.images} | {cell.spread} | {row.truth:.1f} | {row.mean:.1f} "
            f"| {row.held:.0%} | {row.above:.1%} | {row.below:.1%} | {row.of_fid:.1f} |",
            flush=True,
        )


def cells() -> Iterator[Cell]:
    """Every row of the table."""
    for apart, (references, controls), images, spread in product((0.0, APART), COUNTS, IMAGES, SPREADS):
        yield Cell(apart, references, controls, images, spread)


class Played(NamedTuple):
    """A game's features."""

    tables: dict[int, Floats]
    reference: Floats
    control: Floats
    truth: float


def play(cell: Cell, number: int, tail: float, seed: int) -> Played:
    """A game of a cell, by its number."""
    spectrum = 1 / np.arange(1, D + 1) ** 0.7
    spectrum *= 100 / spectrum.sum()
    rng = np.random.default_rng([seed, number, cell.references, cell.controls, cell.images, int(10 * cell.spread)])

    def draw(count: int) -> Floats:
        scale = np.sqrt((tail - 2) / rng.chisquare(tail, size=(count, 1))) if tail else 1.0
        return np.asarray(scale * rng.normal(size=(count, D)) * np.sqrt(spectrum))

    line = rng.normal(size=D)
    line *= cell.apart / max(float(np.linalg.norm(line)), 1e-300)
    start, images = rng.normal(size=D), draw(cell.images)
    reference, control = draw(cell.references) + line, draw(cell.controls)
    tables = {0: start + images, 1: start + cell.spread * images + 0.5 * line + 0.3 * draw(cell.images)}
    return Played(tables, reference, control, float(line @ line))


def measure(cell: Cell, games: int, tail: float, seed: int) -> Row:
    """Play a cell's games."""
    found = []
    for number in range(games):
        game = play(cell, number, tail, seed)
        seeds = {mask: list(range(cell.images)) for mask in game.tables}
        said = evaluate(["player"], game.tables, game.reference, control=game.control, seeds=seeds).functions[0]
        if said.contrast is None or said.contrast_interval is None:
            raise SystemExit("There is no contrast.")
        low, high = said.contrast_interval[0]
        fid = fid_gain(game, game.reference) - fid_gain(game, game.control)
        found.append(
            (game.truth, said.contrast[0], low <= game.truth <= high, low > game.truth, high < game.truth, fid)
        )
    return Row(*np.array(found, dtype=np.float64).mean(axis=0).tolist())


def fid_gain(game: Played, works: Floats) -> float:
    """v of the player by FID."""
    return frechet_distance(game.tables[0], works).distance - frechet_distance(game.tables[1], works).distance


def fid_over_subsets(game: Played, rng: np.random.Generator) -> float:
    """The contrast of FID with both sides at the size of the smaller one, averaged over random subsets."""
    size = min(len(game.reference), len(game.control))
    sides = []
    for works in (game.reference, game.control):
        parts = [works] if len(works) == size else [works[rng.permutation(len(works))[:size]] for _ in range(SUBSETS)]
        sides.append(float(np.mean([fid_gain(game, part) for part in parts])))
    return sides[0] - sides[1]


def print_beside(games: int, tail: float, seed: int) -> None:
    """How sharp each unbiased contrast is."""
    print("| refs / controls | images | spread | mean part of FID | KID | FID over subsets |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for cell in (cell for cell in cells() if cell.apart and cell.images == IMAGES[-1]):
        found = []
        for number in range(games):
            game = play(cell, number, tail, seed)
            coalitions = Coalitions.of([game.tables[0], game.tables[1]])
            sides = (coalitions, game.reference, game.control)
            row = [
                contrast(*sides, kernel, Exact(1), None).estimate[0] for kernel in (linear_kernel, polynomial_kernel)
            ]
            found.append([*row, fid_over_subsets(game, np.random.default_rng([seed, number]))])
        table = np.array(found)
        sharp = " | ".join(f"{value:.1f}" for value in table.mean(axis=0) / table.std(axis=0))
        print(f"| {cell.references} / {cell.controls} | {cell.images} | {cell.spread} | {sharp} |", flush=True)


if __name__ == "__main__":
    main()
