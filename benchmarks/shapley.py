"""Exact Shapley values beside shapiq's exact computer, from a table of coalition values.

    python -m benchmarks.shapley [--players 14] [--larger 20,24] [--rounds 5]

First checks that both agree; then times them in alternation, and CopyScope alone on larger games. shapiq's time holds
its 2**n look-ups in the table, which is its contract. Needs the extra ``dev``.
"""

from __future__ import annotations

import argparse
import resource

import numpy as np
from shapiq import ExactComputer

from benchmarks.timing import alternate, heading
from copyscope_core.game.shapley import shapley_values


def by_shapiq(n: int, values: np.ndarray) -> np.ndarray:
    weights = 1 << np.arange(n)
    computer = ExactComputer(lambda rows: values[np.asarray(rows, dtype=np.int64) @ weights], n_players=n)
    return np.asarray(computer("SV", order=1).get_n_order_values(1))


def main() -> None:
    """Check, time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--players", type=int, default=14)
    parser.add_argument("--larger", default="20,24")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    heading("shapiq")
    rng = np.random.default_rng(0)
    n = options.players
    values = rng.normal(size=2**n)
    values[0] = 0
    shapley_values(values)
    timed = alternate(
        {"CopyScope": lambda: shapley_values(values), "shapiq": lambda: by_shapiq(n, values)}, options.rounds
    )
    own, peer = timed["CopyScope"], timed["shapiq"]
    difference = np.abs(own.result - peer.result).max()
    assert difference < 1e-10
    print(
        f"{n} players: CopyScope {own.seconds:.4f} s, shapiq {peer.seconds:.3f} s, {peer.seconds / own.seconds:.0f} ×"
    )
    print(f"  processor {own.processor:.4f} s and {peer.processor:.3f} s; largest difference {difference:.0e}")
    for n in map(int, filter(None, options.larger.split(","))):
        table = rng.normal(size=2**n)
        larger = alternate({"CopyScope": lambda table=table: shapley_values(table)}, options.rounds)["CopyScope"]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{n} players: CopyScope {larger.seconds:.3f} s, processor {larger.processor:.3f} s", flush=True)
        print(f"  memory of the whole process at most {peak:.2f} GiB")


if __name__ == "__main__":
    main()
