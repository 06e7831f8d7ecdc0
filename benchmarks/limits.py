"""What this machine can do at most: multiplications of large matrices, memory, and what the network needs of them.

    python -m benchmarks.limits [--size 4096]

The other benchmarks' figures can be held against these. Needs the extra ``dev``.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import alternate, heading
from copyscope_core.features.inception import INPUT_SIZE, full_precision, load_inception


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=4096)
    options = parser.parse_args()
    heading()
    n = options.size
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(n, n))
    narrow = wide.astype(np.float32)
    tensor = torch.from_numpy(narrow)
    source, target = np.ones(2**25), np.ones(2**25)
    work = {
        "float64, NumPy": partial(np.matmul, wide, wide),
        "float32, NumPy": partial(np.matmul, narrow, narrow),
        "float32, PyTorch": partial(torch.matmul, tensor, tensor),
        "copy": partial(np.copyto, target, source),
    }
    timed = alternate(work, 3)
    for name in list(work)[:-1]:
        print(f"  {n}×{n} matrices, {name}: {2 * n**3 / timed[name].seconds / 1e9:.0f} GFLOP/s")
    print(f"  copying 256 MiB: {2 * source.nbytes / timed['copy'].seconds / 1e9:.1f} GB/s read and written")
    with full_precision(), FlopCounterMode(display=False) as counter:
        load_inception()(torch.zeros(1, 3, INPUT_SIZE, INPUT_SIZE))
    need = counter.get_total_flops()
    rate = 2 * n**3 / min(value.seconds for name, value in timed.items() if name.startswith("float32"))
    print(f"  Inception: {need / 1e9:.1f} GFLOP an image, so at most {rate / need:.1f} images/s")


if __name__ == "__main__":
    main()
