"""Sampled Shapley values: error against budget, beside shapiq's estimators and plain permutation sampling.

    python -m studies.estimators [--games 50] [--players 8,12,16] [--json FILE]

Games, each drawn anew by its number, with exact Shapley values by enumeration:

- ``bent``: like an audit. Features move with the players and saturate; v is the fall of a squared distance to a target.
- ``soum``: sums of 40 unanimity games of random sizes, the synthetic game of shapiq's own benchmarks.
- ``pairs``: single effects, pairwise interactions, and 5% of noise on every coalition.
- ``random``: every coalition's value is independent noise, where no structure can help.
- ``planted``: real audits of LoRAs on a real ComfyUI, by FID (planted_many.py); five players with ``--players 5,8``.

Every estimator gets the same number of coalitions. Error: mean |φ̂ − φ| over the players, by the mean |φ|. Printed are
means over the games, the mean paired difference to ours with its 95% interval, and how many times as many coalitions
the peer needs for our error (by interpolation of its errors over the budgets; ``>`` where the largest is not enough).
`cover` is how often our 95% intervals hold the exact value. Needs ``pip install -e ".[bench]"``.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from shapiq import approximator as peers

from copyscope_core.evaluation.sampling import growth
from copyscope_core.game.choose import smallest_sample
from copyscope_core.game.design import Design
from copyscope_core.game.shapley import shapley_values
from copyscope_core.game.statistics import intervals, student_quantile

Floats = NDArray[np.float64]
TABLES = Path(__file__).resolve().parent / "planted" / "many.json"
BUDGETS = {5: (16, 22, 28), 8: (40, 80, 160), 12: (64, 128, 256, 512), 16: (96, 192, 384, 768)}


def bent(n: int, rng: np.random.Generator) -> Floats:
    moves = rng.normal(size=(n, 8)) * rng.exponential(size=(n, 1))
    distance = ((3 * np.tanh(_present(n) @ moves / 2) - 2 * rng.normal(size=8)) ** 2).sum(axis=1)
    return np.asarray(distance[0] - distance)


def soum(n: int, rng: np.random.Generator) -> Floats:
    values, masks = np.zeros(2**n), np.arange(2**n)
    for _ in range(40):
        team = sum(1 << int(i) for i in rng.permutation(n)[: rng.integers(1, n + 1)])
        values += rng.normal() * ((masks & team) == team)
    return values


def pairs(n: int, rng: np.random.Generator) -> Floats:
    present = _present(n)
    values = present @ rng.normal(size=n) + ((present @ rng.normal(size=(n, n)) / n) * present).sum(axis=1)
    noise = 0.05 * values.std() * rng.normal(size=2**n)
    noise[0] = 0.0
    return np.asarray(values + noise)


def random(n: int, rng: np.random.Generator) -> Floats:
    values = rng.normal(size=2**n)
    values[0] = 0.0
    return values


GAMES: dict[str, Callable[[int, np.random.Generator], Floats]] = {
    "bent": bent,
    "soum": soum,
    "pairs": pairs,
    "random": random,
}


def draw(kind: str, n: int, games: int) -> list[Floats]:
    """v of all coalitions of so many games; of the planted ones, all that there are.

    Ours always draws the same coalitions of n players. Planted games of one workflow are much alike, so each has its
    players in an order of its own.
    """
    if kind == "planted":
        rows = [row for row in json.loads(TABLES.read_text(encoding="utf-8")) if row["players"] == n]
        orders = [np.random.default_rng([231112847, game]).permutation(n) for game in range(len(rows))]
        tables = [np.reshape(row["values"], (2,) * n) for row in rows]
        return [table.transpose(order).ravel() for table, order in zip(tables, orders, strict=True)]
    return [GAMES[kind](n, np.random.default_rng([231112847, game, n])) for game in range(games)]


def _present(n: int) -> NDArray[np.int64]:
    return np.arange(2**n)[:, None] >> np.arange(n) & 1


def grown(n: int, values: Floats, budget: int, estimator: str) -> Design:
    """What an audit's rounds come to."""
    design = smallest_sample(n, (), estimator)  # type: ignore[arg-type]
    while True:
        known = values[list(design.masks)]
        chance = design.sampling(known)
        if not chance:
            return design
        ends = intervals(design.shapley(known), chance)
        larger = design.grow(known, int((ends[:, 1] - ends[:, 0]).argmax()), growth(design, budget))
        if larger == design:
            return design
        design = larger


def ours(estimator: str, values: Floats, n: int, budget: int, game: int) -> tuple[Floats, Floats | None]:
    design = grown(n, values, budget, estimator)
    known = values[list(design.masks)]
    phi, chance = design.shapley(known), design.sampling(known)
    return phi, intervals(phi, chance) if chance else None


def plain_permutations(values: Floats, n: int, budget: int, game: int) -> tuple[Floats, None]:
    """Castro, Gómez and Tejada (2009): whole orders, n − 1 new coalitions each besides ∅ and N."""
    rng = np.random.default_rng([7, game])
    orders = max((budget - 2) // (n - 1), 1)
    phi = np.zeros(n)
    for _ in range(orders):
        mask = 0
        for player in rng.permutation(n):
            phi[player] += values[mask | 1 << int(player)] - values[mask]
            mask |= 1 << int(player)
    return phi / orders, None


def shapiq_estimator(name: str, values: Floats, n: int, budget: int, game: int) -> tuple[Floats, None]:
    kinds = {
        "shapiq KernelSHAP": lambda: peers.KernelSHAP(n, random_state=game),
        "shapiq KernelSHAP, paired": lambda: peers.KernelSHAP(n, pairing_trick=True, random_state=game),
        "shapiq UnbiasedKernelSHAP": lambda: peers.UnbiasedKernelSHAP(n, pairing_trick=True, random_state=game),
        "shapiq SVARM": lambda: peers.SVARM(n, random_state=game),
        "shapiq permutations": lambda: peers.PermutationSamplingSV(n, random_state=game),
        "shapiq stratified": lambda: peers.StratifiedSamplingSV(n, random_state=game),
    }

    def value(coalitions: NDArray[np.bool_]) -> Floats:
        masks = (np.asarray(coalitions, dtype=np.int64) << np.arange(n)).sum(axis=-1)
        return np.atleast_1d(values[masks])

    found = kinds[name]().approximate(budget, value)
    return np.array([found[(i,)] if (i,) in found.interaction_lookup else 0.0 for i in range(n)]), None


ESTIMATORS: dict[str, Callable[[Floats, int, int, int], tuple[Floats, Floats | None]]] = {
    "regression (ours)": lambda *a: ours("regression", *a),
    "antithetic permutations (ours)": lambda *a: ours("permutation", *a),
    "plain permutations": plain_permutations,
    **{
        name: (lambda *a, name=name: shapiq_estimator(name, *a))
        for name in (
            "shapiq KernelSHAP", "shapiq KernelSHAP, paired", "shapiq UnbiasedKernelSHAP", "shapiq SVARM",
            "shapiq permutations", "shapiq stratified",
        )
    },
}  # fmt: skip


def measure(drawn: list[Floats], n: int) -> Iterator[tuple[int, str, Floats, float]]:
    """(budget, estimator, error of each game, share of players whose interval holds φ)."""
    exact = [shapley_values(values) for values in drawn]
    for budget in BUDGETS[n]:
        for name, estimate in ESTIMATORS.items():
            if name.startswith("antithetic") and len(smallest_sample(n, (), "permutation").masks) > budget:
                continue
            errors, cover = [], []
            for game, (values, phi) in enumerate(zip(drawn, exact, strict=True)):
                found, ends = estimate(values, n, budget, game)
                errors.append(np.abs(found - phi).mean() / np.abs(phi).mean())
                if ends is not None:
                    cover.append(((ends[:, 0] <= phi) & (phi <= ends[:, 1])).mean())
            yield budget, name, np.array(errors), float(np.mean(cover)) if cover else float("nan")


def needed(errors: dict[int, float], target: float) -> tuple[float, bool]:
    """At which budget a falling error reaches the target, and whether only beyond the largest budget."""
    budgets = sorted(errors)
    logs = np.log([max(errors[b], 1e-12) for b in budgets])
    if np.log(target) < logs.min():
        return float(budgets[-1]), True
    return float(np.exp(np.interp(-np.log(target), -np.minimum.accumulate(logs), np.log(budgets)))), False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=50)
    parser.add_argument("--players", default="8,12,16")
    parser.add_argument("--kinds", default=",".join([*GAMES, "planted"]))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(f"shapiq {metadata.version('shapiq')}")
    rows = []
    for kind in options.kinds.split(","):
        for n in map(int, options.players.split(",")):
            games = draw(kind, n, options.games)
            if not games:
                continue
            found = list(measure(games, n))
            own = {budget: errors for budget, name, errors, _ in found if name == "regression (ours)"}
            print(f"\n{kind}, {n} players ({2**n:,} coalitions), {len(games)} games")
            for name in dict.fromkeys(name for _, name, _, _ in found):
                mine = {budget: errors for budget, other, errors, _ in found if other == name}
                means = {budget: float(errors.mean()) for budget, errors in mine.items()}
                for budget, errors in mine.items():
                    cover = next(c for b, other, _, c in found if (b, other) == (budget, name))
                    gap = errors - own[budget]
                    half = float(student_quantile(0.975, len(gap) - 1)) * gap.std(ddof=1) / np.sqrt(len(gap))
                    reach, beyond = needed(means, float(own[budget].mean()))
                    verdict = (
                        "worse than ours"
                        if gap.mean() > half
                        else "better than ours"
                        if gap.mean() < -half
                        else "no difference"
                    )
                    row = {"game": kind, "n": n, "budget": budget, "estimator": name, "error": means[budget],
                           "difference": float(gap.mean()), "half": half, "cover": cover,
                           "factor": reach / budget, "beyond": beyond}  # fmt: skip
                    rows.append(row)
                    tail = f" cover {100 * cover:.1f}%" if cover == cover else ""
                    if name != "regression (ours)":
                        tail = (f"  {gap.mean():+.4f} ± {half:.4f} ({verdict})  "
                                f"{'>' if beyond else ''}{reach / budget:.2f}× the coalitions") + tail  # fmt: skip
                    print(f"  {budget:4d}  {name:32s} {means[budget]:.4f}{tail}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
