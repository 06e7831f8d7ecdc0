"""Do 95% intervals hold the true value in 95 of 100 games? Simulated games with known Shapley values.

    python -m studies.calibration [--games 300] [--seeds 4,8,16,32] [--references 1,4,8,30] [--dimension 64]
        [--players 3] [--skewed] [--bootstrap 0] [--jobs 2]

Each game draws its own Gaussian features: a spectrum with a random decay, a reference with another spectrum, a start at
a random distance, and players that shift the mean towards the reference or away from it, shrink the covariance, add
noise alone (new pixels, same distribution) or do nothing at all. Seeds are common random numbers with a random
correlation between coalitions. True values: the mean part of FID and all of KID in closed form, FID's nuclear norm by
simulation (`TRUTH` draws). With fewer than 8 references the truth is for the references at hand, else for references
drawn anew, as ``copyscope_core.uncertainty`` promises.

Prints one row a cell: how often each kind of interval holds the truth, in per cent, with the standard error of an
independent 95%; `pair` is the interaction of two players that do something, `MMD φ` that of the Gaussian kernel (not
with ``--skewed``); `largest` is how often the player called most probable is the largest, beside the mean probability
given; `no effect` counts players that do nothing and have an interval other than [0, 0]. With ``--bootstrap R`` the
percentile, basic and BCa bootstrap intervals of φ are shown too. With ``--skewed`` features are squared and signed
Gaussians (heavier tails), for which KID's truth is simulated too. The contrast has a study of its own, `contrast.py`.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray

from copyscope_core.distances.kernel import Kernel, gaussian_kernel, kernel_value, polynomial_kernel
from copyscope_core.evaluation.evaluate import evaluate
from copyscope_core.evaluation.resampling import resampled_frechet, resampled_kernel
from copyscope_core.evaluation.uncertainty import REFERENCE_IMAGES
from copyscope_core.game.interactions import pair_interactions
from copyscope_core.game.shapley import shapley_values, shares
from copyscope_core.game.statistics import difference_intervals, probability_largest

Floats = NDArray[np.float64]
TRUTH = 200
KINDS = ("shift", "away", "shrink", "noise", "nothing")


@dataclass
class SimulatedGame:
    """A game whose coalitions' feature distributions are known."""

    means: Floats
    scales: Floats
    sources: NDArray[np.int64]
    spread: Floats
    reference_spread: Floats
    correlation: float
    kinds: list[str]
    skewed: bool

    @classmethod
    def make(cls, seed: int, players: int, d: int, skewed: bool) -> SimulatedGame:
        rng = np.random.default_rng(seed)
        k = np.arange(1, d + 1)
        spectrum = k ** -rng.uniform(0.5, 1.5)
        spectrum *= rng.uniform(50, 200) / spectrum.sum()
        shuffled = spectrum[np.argsort(np.argsort(k + rng.normal(0, rng.choice([0, 5, 30]), d)))]

        def direction() -> Floats:
            u = rng.normal(size=d) * np.sqrt(spectrum) ** rng.choice([0, 1])
            return u / np.linalg.norm(u)

        start = direction() * np.sqrt(rng.uniform(20, 250))
        kinds = list(rng.choice(KINDS, players, p=[0.4, 0.15, 0.2, 0.15, 0.1]))
        shifts, factors = np.zeros((players, d)), np.ones(players)
        for i, kind in enumerate(kinds):
            size = rng.uniform(0.1, 0.7)
            if kind in ("shift", "away"):
                along = -size if kind == "shift" else 0.4 * size
                shifts[i] = along * start + 0.3 * size * np.linalg.norm(start) * direction()
            elif kind == "shrink":
                factors[i] = rng.uniform(0.6, 0.95)
        member = (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)
        changing = np.array([kind != "nothing" for kind in kinds])
        return cls(
            means=start + member @ shifts,
            scales=np.where(member, factors, 1.0).prod(axis=1),
            sources=(member & changing) @ (1 << np.arange(players)),
            spread=np.sqrt(spectrum),
            reference_spread=np.sqrt(shuffled) * rng.uniform(0.6, 1.4),
            correlation=rng.uniform(0.2, 0.95),
            kinds=kinds,
            skewed=skewed,
        )

    def images(self, rng: np.random.Generator, n: int) -> Floats:
        """Features of every coalition, (2**p, n, d)."""
        own = rng.normal(size=(len(self.means), n, self.means.shape[1]))[self.sources]
        z = self.correlation * rng.normal(size=own.shape[1:]) + np.sqrt(1 - self.correlation**2) * own
        return self.means[:, None] + self.scales[:, None, None] * self.spread * self._shape(z)

    def references(self, rng: np.random.Generator, m: int) -> Floats:
        """Features of m reference images around 0, (m, d)."""
        return self.reference_spread * self._shape(rng.normal(size=(m, len(self.spread))))

    def _shape(self, z: Floats) -> Floats:
        """Skewed: (z + (z² − 1)/2)/√1.5, still with mean 0 and variance 1."""
        return (z + (z * z - 1) / 2) / np.sqrt(1.5) if self.skewed else z

    def true_fid(self, rng: np.random.Generator, n: int, m: int, given: Floats | None) -> Floats:
        """Expected d² of n images, (2**p,), to ``given`` references, or to m drawn anew."""
        variances = self.scales**2 * (self.spread**2).sum()
        center = np.zeros(self.means.shape[1]) if given is None else given.mean(axis=0)
        total = (self.reference_spread**2).sum() if given is None else given.var(axis=0, ddof=len(given) > 1).sum()
        mean = ((self.means - center) ** 2).sum(axis=1) + variances / n + (total / m if given is None else 0)
        nuclear = np.zeros(len(self.means))
        for _ in range(TRUTH):
            y = self.references(rng, m) if given is None else given
            nuclear += nuclear_norms(self.images(rng, n), y) / TRUTH
        return np.asarray(mean + variances * (n > 1) + total - 2 * nuclear)

    def true_mmd(self, rng: np.random.Generator, n: int, given: Floats | None) -> Floats:
        """Expected Gaussian-kernel value, (2**p,), to ``given`` references, or to all of them.

        By simulation with at least 100 times as many images as the n that the intervals come from.
        """
        return self._simulated(rng, given, gaussian_kernel, max(2, n // 4))

    def _simulated(self, rng: np.random.Generator, given: Floats | None, kernel: Kernel, draws: int) -> Floats:
        big = 400
        values = [
            [
                kernel_value(x, self.references(rng, big) if given is None else given, kernel)
                for x in self.images(rng, big)
            ]
            for _ in range(draws)
        ]
        return np.mean(np.array(values, dtype=np.float64), axis=0)

    def true_kid(self, rng: np.random.Generator, given: Floats | None) -> Floats:
        """Expected kernel value, (2**p,), to ``given`` references, or to all of them."""
        if self.skewed:
            return self._simulated(rng, given, polynomial_kernel, 5)
        result = []
        for mean, scale in zip(self.means, self.scales, strict=True):
            own = scale**2 * self.spread**2
            if given is None:
                across = cubic(mean, own, np.zeros_like(mean), self.reference_spread**2)
            else:
                across = float(np.mean([cubic(mean, own, y, np.zeros_like(mean)) for y in given]))
            result.append(cubic(mean, own, mean, own) - 2 * across)
        return np.array(result)


def cubic(mu: Floats, s: Floats, nu: Floats, t: Floats) -> float:
    """E (x·y/d + 1)³ for independent x ~ N(mu, diag s) and y ~ N(nu, diag t), by Isserlis."""
    d = len(mu)
    first = mu @ nu
    q = nu @ (s * nu) + s @ t
    second = first**2 + mu @ (t * mu) + q
    third = first**3 + 3 * first * (mu @ (t * mu)) + 3 * (first * q + 2 * mu @ (t * s * nu))
    return float(third / d**3 + 3 * second / d**2 + 3 * first / d + 1)


def nuclear_norms(x: Floats, y: Floats) -> Floats:
    """tr (Σ₁Σ₂)^½ of each of (…, n, d) with (m, d)."""
    n, m = x.shape[-2], len(y)
    if min(n, m) < 2:
        return np.zeros(x.shape[:-2])
    a = (x - x.mean(axis=-2, keepdims=True)) / np.sqrt(n - 1)
    return np.asarray(np.linalg.svd(a @ ((y - y.mean(axis=0)) / np.sqrt(m - 1)).T, compute_uv=False).sum(axis=-1))


def phi_of(distances: Floats) -> Floats:
    return shapley_values(distances[..., :1] - distances)


def one_game(job: tuple[int, int, int, int, int, bool, int]) -> dict[str, list[float]]:
    """Whether each interval of one simulated audit holds the truth: kind of interval → 0s and 1s."""
    seed, players, n, m, d, skewed, bootstrap = job
    game = SimulatedGame.make(seed, players, d, skewed)
    rng = np.random.default_rng([seed, n, m, 7])
    y, x = game.references(rng, m), game.images(rng, n)
    given = None if m >= REFERENCE_IMAGES else y
    fid = game.true_fid(rng, n, m, given)
    names = [f"{kind} {i}" for i, kind in enumerate(game.kinds)]
    masks = range(2**players)
    images, seeds = {k: x[k] for k in masks}, {k: list(range(n)) for k in masks}
    result = evaluate(names, images, y, seeds=seeds)
    found: dict[str, list[float]] = {}
    live = np.array([kind != "nothing" for kind in game.kinds])

    def note(key: str, ends: Floats, truth: Floats, keep: NDArray[np.bool_] | None = None) -> None:
        held = (ends[..., 0] <= truth + 1e-9) & (truth - 1e-9 <= ends[..., 1])
        found.setdefault(key, []).extend((held if keep is None else held[keep]).astype(float).ravel())

    intervals = result.uncertainty
    if intervals is None:
        return found
    phi = phi_of(fid)
    note("φ", intervals.shapley, phi, live)
    found["no effect"] = [float(np.any(ends != 0)) for ends in intervals.shapley[~live]]
    for kind in KINDS[:-1]:
        note(kind, intervals.shapley, phi, np.array([k == kind for k in game.kinds]))
    pairs = np.triu(live[:, None] | live[None, :], 1)
    note("φᵢ−φⱼ", difference_intervals(result.shapley, intervals.chance.all), phi[:, None] - phi[None, :], pairs)
    note("FID", intervals.fid, fid)
    share = shares(phi)
    likely = probability_largest(result.shapley, intervals.chance.all)
    if intervals.share is not None and share is not None and live.any():
        note("share", intervals.share, share, live)
        found["share width"] = list((intervals.share[:, 1] - intervals.share[:, 0])[live])
        ranked = np.sort(phi)[::-1]
        if players > 1 and ranked[0] > ranked[1] + 1e-9:
            found["largest"] = [float(likely.argmax() == phi.argmax())]
            found["given"] = [float(likely.max())]
    if intervals.pairs is not None:
        truth = pair_interactions(fid[0] - fid)
        note("pair", intervals.pairs, truth, np.triu(live[:, None] & live[None, :], 1))
    if not skewed:
        mmd = evaluate(names, images, y, seeds=seeds, distance="mmd").uncertainty
        if mmd is not None:
            note("MMD φ", mmd.shapley, phi_of(game.true_mmd(rng, n, given)), live)
    if intervals.kid_shapley is not None:
        note("KID φ", intervals.kid_shapley, phi_of(game.true_kid(rng, given)), live)
    if bootstrap:
        for name, ends in bootstrap_intervals(x, y, bootstrap, np.random.default_rng(seed)).items():
            truth = phi if name.startswith("FID") else phi_of(game.true_kid(rng, given))
            note(name, ends, truth, live)
    return found


def bootstrap_intervals(x: Floats, y: Floats, count: int, rng: np.random.Generator) -> dict[str, Floats]:
    """Percentile, basic and BCa intervals of φ, (p, 2), from paired resamples of seeds and references."""
    n, m = x.shape[1], len(y)
    rows = rng.multinomial(n, np.full(n, 1 / n), size=count).astype(np.float64)
    rows = rows[(rows > 0).sum(axis=1) > 1]
    columns = None
    if m >= REFERENCE_IMAGES:
        columns = rng.multinomial(m, np.full(m, 1 / m), size=len(rows)).astype(np.float64)
    result = {}
    for name in ("FID", "KID"):

        def distances(weights: Floats | None, others: Floats | None, name: str = name) -> Floats:
            if name == "FID":
                return np.stack([resampled_frechet(one, y, weights, others).sum(axis=1) for one in x], axis=1)
            return np.stack([resampled_kernel(one, y, polynomial_kernel, weights, others) for one in x], axis=1)

        phi, star = phi_of(distances(None, None))[0], phi_of(distances(rows, columns))
        low, high = np.quantile(star, [0.025, 0.975], axis=0)
        result[f"{name} percentile"] = np.stack([low, high], axis=1)
        result[f"{name} basic"] = np.stack([2 * phi - high, 2 * phi - low], axis=1)
        jack = phi_of(distances(1 - np.eye(n), None))
        influence = jack.mean(axis=0) - jack
        squares = np.maximum((influence**2).sum(axis=0), 1e-90)
        acceleration = (influence**3).sum(axis=0) / (6 * squares**1.5)
        below = np.clip((star < phi).mean(axis=0) + (star == phi).mean(axis=0) / 2, 1 / count, 1 - 1 / count)
        ends = []
        for level in (-1.959964, 1.959964):
            z0 = np.array([normal_quantile(float(p)) for p in below])
            z = z0 + (z0 + level) / (1 - acceleration * (z0 + level))
            at = [(1 + erf(value / sqrt(2))) / 2 for value in z]
            ends.append([np.quantile(star[:, i], min(max(p, 0.0), 1.0)) for i, p in enumerate(at)])
        result[f"{name} BCa"] = np.array(ends).T
    return result


def normal_quantile(p: float) -> float:
    """By bisection."""
    low, high = -10.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 + erf(middle / sqrt(2))) / 2 < p else (low, middle)
    return low


def main() -> None:
    """Run all cells and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--games", type=int, default=300)
    parser.add_argument("--seeds", default="4,8,16,32")
    parser.add_argument("--references", default="1,4,8,30")
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--players", type=int, default=3)
    parser.add_argument("--skewed", action="store_true")
    parser.add_argument("--bootstrap", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    print("python -m studies.calibration", *sys.argv[1:])
    started = time.monotonic()
    header: list[str] | None = None
    with ProcessPoolExecutor(options.jobs) as pool:
        for n in map(int, options.seeds.split(",")):
            for m in map(int, options.references.split(",")):
                jobs = [
                    (seed, options.players, n, m, options.dimension, options.skewed, options.bootstrap)
                    for seed in range(options.games)
                ]
                total: dict[str, list[float]] = {}
                for found in pool.map(one_game, jobs, chunksize=5):
                    for key, values in found.items():
                        total.setdefault(key, []).extend(values)
                if header is None:
                    header = list(total) + [key for key in ("KID φ",) if key not in total]
                    print("| seeds | references | " + " | ".join(header) + " |")
                    print("| --- | --- |" + " --- |" * len(header))
                cells = [
                    "–"
                    if not total.get(key)
                    else f"{int(sum(total[key]))}"
                    if key == "no effect"
                    else f"{np.mean(total[key]):.2f}"
                    if key == "share width"
                    else f"{100 * np.mean(total[key]):.1f}"
                    for key in header
                ]
                print(f"| {n} | {m} | " + " | ".join(cells) + " |", flush=True)
    print(
        f"{options.games} games a cell, d = {options.dimension}, {options.players} players; "
        f"{time.monotonic() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
