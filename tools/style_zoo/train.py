"""Train the style zoo: the base model, and the LoRAs of models.json. The same on a CPU and on a GPU.

    python -m tools.style_zoo.train base --steps 6000                             # hours on two cores
    python -m tools.style_zoo.train base --batch 256 --rate 5e-4 --minutes 4      # minutes of a GPU
    python -m tools.style_zoo.train models kitty-1 hokusai-1                      # or: models all, or: --part 1/4

States, models and sample sheets lie in COPYSCOPE_ZOO_CACHE (default ~/.cache/copyscope-zoo), with the pictures that
``python -m tools.style_zoo.data`` gathers. A run that was stopped or killed goes on from its last state; Ctrl-C,
SIGTERM and ``--stop-after`` save first. Another seed, batch or rate needs another cache folder: a state of other
settings is refused.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from .pictures import cache_folder, models
from .stages import SIZES, Device, Workshop
from .text import encode
from .training import Deadline, alone


def device(name: str, half: bool) -> Device:
    """``auto``: CUDA where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    return Device(torch.device(name), half)


def run_base(shop: Workshop, arguments: argparse.Namespace) -> None:
    """Crops, autoencoder, captions, base model."""
    for size in SIZES:
        shop.base_crops(size, arguments.crops)
    if not (shop.models / "autoencoder.safetensors").is_file():
        shop.train_autoencoder(arguments.autoencoder_steps, arguments.autoencoder_batch, arguments.crops)
    if shop.stop():
        return
    encode(shop.cache / "text.safetensors", arguments.comfyui)
    shop.train_base(arguments.crops, arguments.steps, arguments.minutes, arguments.batch, arguments.rate)


def run_models(shop: Workshop, arguments: argparse.Namespace) -> None:
    """The named models, or a part of all."""
    known = {model.name: model for model in models()}
    chosen = list(known) if arguments.names == ["all"] else arguments.names
    if unknown := [name for name in chosen if name not in known]:
        sys.exit(f"There is no model {unknown[0]}; there are {', '.join(known)}.")
    part, parts = (int(number) for number in arguments.part.split("/"))
    for name in chosen[part - 1 :: parts]:
        if shop.stop():
            break
        shop.train_model(known[name], arguments.steps, arguments.batch, arguments.rate, arguments.crops)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument(
        "--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI", help="for the captions, once"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--full", dest="half", action="store_false", help="32-bit products in the place of 16-bit ones")
    parser.add_argument("--threads", type=int, help="CPU threads (default: as PyTorch chooses)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crops", type=int, default=10, help="crops of each base picture, of each size")
    parser.add_argument("--stop-after", type=float, metavar="MINUTES", help="stop after this time, state saved")
    kinds = parser.add_subparsers(dest="kind", required=True)
    base = kinds.add_parser("base")
    base.add_argument("--steps", type=int, help="default: as many as fit into --minutes")
    base.add_argument("--minutes", type=float, default=60)
    base.add_argument("--batch", type=int, default=8, help="at 64 pixels; half of it at 128")
    base.add_argument("--rate", type=float, default=3e-4)
    base.add_argument("--autoencoder-steps", type=int, default=1000)
    base.add_argument("--autoencoder-batch", type=int, default=16)
    sub = kinds.add_parser("models")
    sub.add_argument("names", nargs="+", help="models of models.json, or all")
    sub.add_argument("--part", default="1/1", help="the I-th of N parts of them, as I/N")
    sub.add_argument("--steps", type=int, default=600)
    sub.add_argument("--batch", type=int, default=16, help="at 64 pixels; half of it at 128")
    sub.add_argument("--rate", type=float, default=1e-3)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    cache = arguments.cache.expanduser()
    target = arguments.kind if arguments.kind == "base" else f"models-{arguments.part.replace('/', '-of-')}"
    with alone(cache, target), Deadline(arguments.stop_after).listening() as stop:
        shop = Workshop(cache, device(arguments.device, arguments.half), arguments.seed, stop)
        (run_base if arguments.kind == "base" else run_models)(shop, arguments)


if __name__ == "__main__":
    main()
