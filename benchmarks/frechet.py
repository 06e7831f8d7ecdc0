"""The Fréchet distance beside pytorch-fid, clean-fid, torch-fidelity and torchmetrics: from features to the number.

    python -m benchmarks.frechet [--counts 32,256,2048,10000] [--dimension 2048] [--rounds 3] [--peers NAME,…]

First checks all of them against 60-digit arithmetic on small sets, then that all agree on each large one; then times
them in alternation. Needs the extra ``bench``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import mpmath
import numpy as np
import torch
from cleanfid.fid import frechet_distance as clean_fid
from pytorch_fid.fid_score import calculate_frechet_distance as pytorch_fid
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchmetrics.image.fid import _compute_fid

from benchmarks.timing import alternate, heading
from copyscope_core.distances.frechet import frechet_distance

Array = np.ndarray
SMALL = [(3, 40, 40), (8, 5, 12), (12, 40, 30), (12, 4, 6), (16, 100, 20)]
AGREEMENT = 1e-5
"""Peers take roots of eigenvalues that are rounding, so singular covariances put them off by 1e-8 and more."""


def ours(x: Array, y: Array) -> float:
    return frechet_distance(x, y).distance


def _statistics(x: Array) -> tuple[Array, Array]:
    return x.mean(axis=0), np.cov(x, rowvar=False)


def by_pytorch_fid(x: Array, y: Array) -> float:
    return float(pytorch_fid(*_statistics(x), *_statistics(y)))


def by_clean_fid(x: Array, y: Array) -> float:
    return float(clean_fid(*_statistics(x), *_statistics(y)))


def by_torch_fidelity(x: Array, y: Array) -> float:
    parts = [fid_features_to_statistics(torch.from_numpy(side)) for side in (x, y)]
    return float(fid_statistics_to_metric(*parts, verbose=False)["frechet_inception_distance"])


def by_torchmetrics(x: Array, y: Array) -> float:
    sides = [torch.from_numpy(side) for side in (x, y)]
    parts = [part for side in sides for part in (side.mean(dim=0), torch.cov(side.T))]
    return float(_compute_fid(*parts))


PEERS: dict[str, Callable[[Array, Array], float]] = {
    "pytorch-fid": by_pytorch_fid,
    "clean-fid": by_clean_fid,
    "torch-fidelity": by_torch_fidelity,
    "torchmetrics": by_torchmetrics,
}


def exact(x: Array, y: Array) -> float:
    """By the definition, in 60 digits: eigenvalues of Σ₁Σ₂."""
    with mpmath.workdps(60):
        means, covariances = [], []
        for side in (x, y):
            rows = mpmath.matrix(side.tolist())
            mean = (mpmath.ones(1, rows.rows) * rows) / rows.rows
            centred = rows - mpmath.ones(rows.rows, 1) * mean
            means.append(mean)
            covariances.append(centred.T * centred / (rows.rows - 1))
        values = mpmath.eig(covariances[0] * covariances[1], left=False, right=False)
        root = sum(mpmath.sqrt(max(mpmath.re(value), 0)) for value in values)
        difference = means[0] - means[1]
        traces = sum(matrix[i, i] for matrix in covariances for i in range(matrix.rows))
        return float((difference * difference.T)[0] + traces - 2 * root)


def features(rng: np.random.Generator, n: int, d: int) -> Array:
    """Correlated and positive, with a spectrum that falls as Inception's does."""
    scales = (1 + np.arange(d)) ** -0.5
    return np.abs((rng.normal(size=(n, d)) * scales) @ (rng.normal(size=(d, d)) / np.sqrt(d)) + 0.3)


def check_accuracy() -> None:
    """Largest relative error of each against 60 digits."""
    rng = np.random.default_rng(0)
    errors: dict[str, list[float]] = {}
    for d, n, m in SMALL * 3:
        x, y = features(rng, n, d), features(rng, m, d)
        truth = exact(x, y)
        for name, function in {"CopyScope": ours, **PEERS}.items():
            errors.setdefault(name, []).append(abs(function(x, y) / truth - 1))
    print("largest relative error against 60 digits, d = 3 to 16:")
    for name, values in errors.items():
        print(f"  {name:15s} {max(values):.1e}")
    assert max(errors["CopyScope"]) < 1e-8


def main() -> None:
    """Check, time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--counts", default="32,256,2048,10000")
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default=",".join(PEERS))
    options = parser.parse_args()
    heading("scipy", "pytorch-fid", "clean-fid", "torch-fidelity", "torchmetrics")
    check_accuracy()
    rng = np.random.default_rng(1)
    for n in map(int, options.counts.split(",")):
        x, y = features(rng, n, options.dimension), features(rng, n, options.dimension) * 1.1
        ours(x, y)
        chosen = {"CopyScope": ours, **{name: PEERS[name] for name in options.peers.split(",")}}
        work = {name: partial(function, x, y) for name, function in chosen.items()}
        timed = alternate(work, options.rounds)
        own = timed["CopyScope"]
        print(f"n = {n}, d = {options.dimension}: FID {own.result:.6f}")
        for name, (seconds, processor, result) in timed.items():
            difference = abs(result / own.result - 1)
            print(
                f"  {name:15s} {seconds:9.4f} s {seconds / own.seconds:8.1f} ×   processor {processor:9.4f} s "
                f"{processor / own.processor:8.1f} ×   differs by {difference:.0e}"
            )
            assert difference < AGREEMENT
        fastest = min(value.seconds for name, value in timed.items() if name != "CopyScope")
        print(f"  the fastest peer takes {fastest / own.seconds:.1f} times as long", flush=True)


if __name__ == "__main__":
    main()
