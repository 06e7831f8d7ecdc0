"""How near are copies, noisy copies and other LoRAs to each other, and how well does a sketch tell?

    python -m studies.twins [--loras 40] [--modules 24] [--rank 8]

LoRAs of random factors (modules of 320 × 768 and 320 × 320). Each is changed in one way: noise on both factors, of so
many parts of their size; 8 bits (256 levels a tensor); half precision; or another LoRA altogether. Printed are the
exact cosine of the two files' changes, summed over modules of one shape as the sketch has them, and the mean and the
largest error of the cosine that the sketches of ``copyscope_core/twins`` give.

And the miniature zoo's LoRAs: Hokusai's three, fitted on other splits of his works, and the nearest pair of artists.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from copyscope_core.demo.models import make_model_folder
from copyscope_core.twins.sketch import cosine, lora_sketch

Tensors = dict[str, NDArray[np.float32]]
SIDES = ((320, 768), (320, 320))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loras", type=int, default=40)
    parser.add_argument("--modules", type=int, default=24)
    parser.add_argument("--rank", type=int, default=8)
    arguments = parser.parse_args()
    print("| the other file | exact cosine | mean error of the sketch | largest |")
    print("| --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for name, change in changes().items():
            exact, errors = [], []
            for number in range(arguments.loras):
                rng = np.random.default_rng(number)
                one = drawn(rng, arguments.modules, arguments.rank)
                other = change(one, rng)
                exact.append(exact_cosine(one, other))
                errors.append(abs(sketched(one, other, Path(folder)) - exact[-1]))
            print(f"| {name} | {np.mean(exact):.4f} | {np.mean(errors):.4f} | {max(errors):.4f} |", flush=True)
        zoo(Path(folder) / "models")


def changes() -> dict[str, Callable[[Tensors, np.random.Generator], Tensors]]:
    """What is done to a LoRA."""

    def noise(part: float) -> Callable[[Tensors, np.random.Generator], Tensors]:
        return lambda one, rng: {
            key: (x + part * x.std() * rng.normal(size=x.shape)).astype(np.float32) for key, x in one.items()
        }

    return {
        "noise of 0.03": noise(0.03),
        "noise of 0.1": noise(0.1),
        "noise of 0.3": noise(0.3),
        "8 bits": lambda one, _: {key: eight_bits(x) for key, x in one.items()},
        "half precision": lambda one, _: {key: x.astype(np.float16).astype(np.float32) for key, x in one.items()},
        "another LoRA": lambda one, rng: {key: rng.normal(size=x.shape).astype(np.float32) for key, x in one.items()},
    }


def drawn(rng: np.random.Generator, modules: int, rank: int) -> Tensors:
    """A LoRA of random factors under kohya's names."""
    tensors: Tensors = {}
    for number in range(modules):
        outer, inner = SIDES[number % len(SIDES)]
        tensors[f"lora_unet_{number}.lora_up.weight"] = rng.normal(size=(outer, rank)).astype(np.float32)
        tensors[f"lora_unet_{number}.lora_down.weight"] = rng.normal(size=(rank, inner)).astype(np.float32)
    return tensors


def eight_bits(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The tensor in 256 levels between its smallest and its largest number."""
    low, span = float(x.min()), float(x.max() - x.min())
    return np.asarray(low + np.round((x - low) / span * 255) * (span / 255), dtype=np.float32)


def exact_cosine(one: Tensors, other: Tensors) -> float:
    """Cosine of the changes, summed over modules of one shape."""
    sums = [_sums(one), _sums(other)]
    dot = [
        sum(float((sums[a][shape] * sums[b][shape]).sum()) for shape in sums[a]) for a, b in ((0, 1), (0, 0), (1, 1))
    ]
    return float(dot[0] / np.sqrt(dot[1] * dot[2]))


def _sums(tensors: Tensors) -> dict[tuple[int, ...], NDArray[np.float64]]:
    found: dict[tuple[int, ...], NDArray[np.float64]] = {}
    for key in (key for key in tensors if key.endswith(".lora_up.weight")):
        up, down = (tensors[key.replace("up", which)].astype(np.float64) for which in ("up", "down"))
        change = up @ down
        found[change.shape] = found.get(change.shape, np.zeros(change.shape)) + change
    return found


def sketched(one: Tensors, other: Tensors, folder: Path) -> float:
    """The cosine by the files' sketches."""
    paths = folder / "one.safetensors", folder / "other.safetensors"
    for path, tensors in zip(paths, (one, other), strict=True):
        save_file(tensors, path)
    return cosine(lora_sketch(paths[0]), lora_sketch(paths[1]))


def zoo(models: Path) -> None:
    """The miniature zoo's LoRAs by pairs."""
    make_model_folder(models, ["zoo", "zoo-splits"])
    files = sorted((models / "loras").glob("copyscope-zoo-*.safetensors"))
    sketches = {path.stem.removeprefix("copyscope-zoo-"): lora_sketch(path) for path in files}
    pairs = {pair: cosine(*(sketches[name] for name in pair)) for pair in itertools.combinations(sketches, 2)}
    same = {pair: value for pair, value in pairs.items() if len({name.rstrip("-123") for name in pair}) == 1}
    others = {pair: value for pair, value in pairs.items() if pair not in same}
    for title, found in (("one artist, other works", same), ("two artists", others)):
        pair, value = max(found.items(), key=lambda item: item[1])
        print(f"Zoo, {title}: {len(found)} pairs, nearest {' and '.join(pair)} {value:.3f}")


if __name__ == "__main__":
    main()
