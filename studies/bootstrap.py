"""How long intervals take: 5 players, 32 images a combination, 30 references, d = 2048.

    python -m studies.bootstrap [--players 5] [--images 32] [--references 30] [--dimension 2048] [--resamples 1000]

First checks that resampled distances equal those of the images written out, then times (median of three)

- the intervals as the report has them (jackknife over seeds and references, 10,000 draws for the probabilities);
- a paired bootstrap of seeds and references together, as a user might write it: FID of every coalition for every
  resample, by weights;
- the same with every resample written out and its distance computed by ``frechet.frechet_distance``, from a few
  resamples.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks.timing import heading
from copyscope_core.distances.frechet import frechet_distance
from copyscope_core.evaluation.evaluate import evaluate
from copyscope_core.evaluation.resampling import resampled_frechet
from copyscope_core.game.shapley import shapley_values

FEW = 20


def median_time(work: Callable[[], object], times: int = 3) -> float:
    """Median of several runs, in seconds."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    """Check, time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--players", type=int, default=5)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--references", type=int, default=30)
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    heading()
    rng = np.random.default_rng(0)
    p, n, m, d = options.players, options.images, options.references, options.dimension
    common = rng.normal(size=(n, d))
    x = np.stack([common + rng.normal(size=(n, d)) + 1 - 0.1 * mask.bit_count() for mask in range(2**p)])
    y = rng.normal(size=(m, d))
    names = [f"player {i}" for i in range(p)]
    features = dict(enumerate(x))
    seeds = {mask: list(range(n)) for mask in features}
    rows = rng.multinomial(n, np.full(n, 1 / n), size=options.resamples).astype(np.float64)
    columns = rng.multinomial(m, np.full(m, 1 / m), size=options.resamples).astype(np.float64)

    def written_out() -> np.ndarray:
        result = []
        for a, b in zip(rows[:FEW].astype(int), columns[:FEW].astype(int), strict=True):
            other = np.repeat(y, b, axis=0)
            result.append([frechet_distance(np.repeat(one, a, axis=0), other).distance for one in x])
        return np.array(result)

    def by_weights(count: int) -> np.ndarray:
        return np.stack([resampled_frechet(one, y, rows[:count], columns[:count]).sum(axis=1) for one in x], axis=1)

    def bootstrap() -> np.ndarray:
        distances = by_weights(options.resamples)
        return np.quantile(shapley_values(distances[:, :1] - distances), [0.025, 0.975], axis=0)

    error = np.abs(by_weights(FEW) / written_out() - 1).max()
    print(f"largest relative difference of a resampled FID from the one written out: {error:.1e}")
    plain = median_time(lambda: evaluate(names, features, y))
    whole = median_time(lambda: evaluate(names, features, y, seeds=seeds))
    weighted = median_time(bootstrap)
    slow = median_time(written_out, 1) / FEW * options.resamples
    print(f"{p} players, {n} images, {m} references, d = {d}")
    print(f"evaluation without intervals: {plain:.2f} s")
    print(f"evaluation with intervals: {whole:.2f} s")
    print(f"paired bootstrap, {options.resamples} resamples, by weights: {weighted:.2f} s")
    print(f"the same, written out (from {FEW} resamples): {slow:.0f} s, {slow / weighted:.0f} times as long")


if __name__ == "__main__":
    main()
