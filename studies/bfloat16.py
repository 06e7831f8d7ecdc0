"""What bfloat16 would do to the features: its rate beside float32's, and how far it moves FIDs of real images.

    python -m studies.bfloat16 [--device cpu]

The network's folded weights and its activations are rounded to bfloat16; the pixels are scaled and the last pooling is
done in float32. The images are those of the demo (each coalition against the reference, and v(N)) and crops of
scikit-learn's photographs (one half against the other). Needs the extra ``bench``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.extraction import INPUT_SIZE, write_images
from benchmarks.timing import heading
from copyscope_core.demo.demo import IMAGES, REFERENCE
from copyscope_core.distances.frechet import frechet_distance
from copyscope_core.features.extractor import BATCH_SIZE
from copyscope_core.features.inception import FIDInception, full_precision, load_inception
from copyscope_core.features.views import CONTENT_DIMENSION
from copyscope_core.files.folders import read_folder
from copyscope_core.files.images import in_threads, read_image
from copyscope_core.files.pixels import Pixels, match_reference, resize_bicubic

Array = np.ndarray


class Halved(torch.nn.Module):
    """The network in bfloat16; takes what the network does and gives its content, pool3."""

    def __init__(self, network: FIDInception) -> None:
        super().__init__()
        self.network = network.to(torch.bfloat16)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = ((images - 128.0) / 128.0).to(torch.bfloat16)
        for _, layer in self.network.layers():
            x = layer(x)
        return x.float().mean(dim=(2, 3))


def features(model: torch.nn.Module, images: Sequence[Pixels], device: str) -> tuple[Array, float]:
    """Features (n, d) and the network's images a second."""
    rows, seconds = [], 0.0
    for start in range(0, len(images), BATCH_SIZE):
        part = images[start : start + BATCH_SIZE]
        resized = np.stack(in_threads(lambda pixels: resize_bicubic(pixels, INPUT_SIZE, INPUT_SIZE), part))
        batch = torch.from_numpy(resized).permute(0, 3, 1, 2).to(device)
        begun = time.perf_counter()
        with full_precision():
            rows.append(model(batch)[:, :CONTENT_DIMENSION].cpu().numpy())
        seconds += time.perf_counter() - begun
    return np.concatenate(rows), len(images) / seconds


class Compared(NamedTuple):
    """Both precisions, float32 first.

    Attributes:
        rates: images a second of the network.
        fids: what is measured → its FID; v(N) too.
    """

    rates: list[float]
    fids: dict[str, list[float]]


def compare(device: str, most: int | None = None) -> Compared:
    """The demo's images and photographs in both precisions; of each set at most so many."""
    networks = {"float32": load_inception(device), "bfloat16": Halved(load_inception(device))}

    with tempfile.TemporaryDirectory() as name:
        photographs = [read_image(path).pixels for path in write_images(Path(name), 64, 512)]
    sets = {folder.name: [i.pixels for i in read_folder(folder)] for folder in IMAGES.iterdir() if folder.is_dir()}
    height, width = next(iter(sets.values()))[0].shape[:2]
    sets["reference"] = [match_reference(image.pixels, width, height) for image in read_folder(REFERENCE)]
    sets |= {"photographs": photographs[:32], "others": photographs[32:]}
    sets = {name: images[:most] for name, images in sets.items()}
    measured: dict[str, dict[str, Array]] = {}
    rates = []
    for precision, network in networks.items():
        features(network, photographs[:BATCH_SIZE], device)
        found = {name: features(network, images, device) for name, images in sets.items()}
        measured[precision] = {name: rows for name, (rows, _) in found.items()}
        rates.append(found["photographs"][1])
    pairs = [(f"coalition {name}", name, "reference") for name in sorted(sets) if name.isdigit()]
    fids = {}
    for what, one, other in [*pairs, ("photographs", "photographs", "others")]:
        fids[what] = [frechet_distance(rows[one], rows[other]).distance for rows in measured.values()]
    first, *_, last = [what for what, _, _ in pairs]
    fids["v(N)"] = [a - b for a, b in zip(fids[first], fids[last], strict=True)]
    return Compared(rates, fids)


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args().device
    heading("torchvision")
    compared = compare(device)
    for precision, rate in zip(("float32", "bfloat16"), compared.rates, strict=True):
        print(f"{precision}: {rate:.2f} images/s")
    print("FID in float32 and bfloat16")
    for what, (plain, short) in compared.fids.items():
        print(f"  {what:24s} {plain:10.4f} {short:10.4f}   moved by {short / plain - 1:+.2%}")


if __name__ == "__main__":
    main()
