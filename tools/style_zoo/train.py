"""Train the style zoo: the base model, LoRAs, fine-tuned checkpoints. The same on a CPU and on a GPU.

    python -m tools.style_zoo.train base                                      # hours on two cores
    python -m tools.style_zoo.train base --minutes 13 --batch 256 --rate 1e-3    # a quarter of an hour of a GPU
    python -m tools.style_zoo.train lora kitty-1                              # or: lora all
    python -m tools.style_zoo.train checkpoint lordbob-1
    python -m tools.style_zoo.train export                                    # base checkpoint for ComfyUI

States, models and sample sheets lie in COPYSCOPE_ZOO_CACHE (default ~/.cache/copyscope-zoo), with the pictures that
``python -m tools.style_zoo.data`` gathers. A run that was stopped or killed goes on from its last state; Ctrl-C,
SIGTERM and ``--minutes`` save first. Another seed, batch or rate needs another cache folder: a state of other settings
is refused.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from .export import write_checkpoint
from .pictures import cache_folder, splits
from .stages import Device, Workshop
from .text import encode
from .training import Deadline, alone, read_tensors


def device(name: str, half: bool | None) -> Device:
    """``auto``: CUDA where there is one. 16-bit products by default (faster on both)."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return Device(torch.device(name), True if half is None else half)


def run_base(shop: Workshop, arguments: argparse.Namespace) -> None:
    """Autoencoder, captions, base model at 64 and then at 128 pixels, and the checkpoint."""
    if not (shop.models / "autoencoder.safetensors").is_file() or arguments.more_autoencoder:
        shop.train_autoencoder(arguments.autoencoder_steps, arguments.autoencoder_batch)
    if shop.stop():
        return
    encode(shop.cache / "text.safetensors", arguments.comfyui)
    small = shop.train_base(64, 10, arguments.steps_64, arguments.batch, arguments.rate)
    if small and not shop.stop() and arguments.steps_128:
        shop.train_base(128, 6, arguments.steps_128, max(1, arguments.batch // 2), arguments.rate / 2)
    export(shop)


def export(shop: Workshop) -> None:
    """Write the base checkpoint for ComfyUI."""
    unet, metadata = read_tensors(shop.models / "base.safetensors")
    path = shop.models / "checkpoints" / "copyscope-style.safetensors"
    write_checkpoint(path, unet, load_file(shop.models / "autoencoder.safetensors"))
    print(f"{path}: {metadata['stage']}, step {metadata['step']}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument(
        "--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI", help="for the captions, once"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--full", dest="half", action="store_false", default=None, help="32-bit products")
    parser.add_argument("--threads", type=int, help="CPU threads (default: as PyTorch chooses)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="stop after this time, state saved")
    kinds = parser.add_subparsers(dest="kind", required=True)
    base = kinds.add_parser("base")
    base.add_argument("--steps-64", type=int, default=6000)
    base.add_argument("--steps-128", type=int, default=800)
    base.add_argument("--batch", type=int, default=8, help="at 64 pixels; half of it at 128")
    base.add_argument("--rate", type=float, default=3e-4)
    base.add_argument("--autoencoder-steps", type=int, default=1000)
    base.add_argument("--autoencoder-batch", type=int, default=16)
    base.add_argument("--more-autoencoder", action="store_true", help="train the autoencoder even if there is one")
    for kind, rate in (("lora", 2e-3), ("checkpoint", 2e-4)):
        sub = kinds.add_parser(kind)
        sub.add_argument("split", help="a split of works.json, or all")
        sub.add_argument("--name", help="file name without suffix (default: the split's name)")
        sub.add_argument("--steps", type=int, default=500)
        sub.add_argument("--size", type=int, default=64, choices=(64, 128), help="pixels")
        sub.add_argument("--batch", type=int, default=16)
        sub.add_argument("--rate", type=float, default=rate)
        if kind == "lora":
            sub.add_argument("--rank", type=int, default=8)
            sub.add_argument("--trigger", action="store_true", help="act only where the prompt names the artist")
    kinds.add_parser("export")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    cache = arguments.cache.expanduser()
    target = "-".join(
        [arguments.kind, str(getattr(arguments, "name", None) or getattr(arguments, "split", None) or "")]
    ).strip("-")
    with alone(cache, target), Deadline(arguments.minutes).listening() as stop:
        shop = Workshop(cache, device(arguments.device, arguments.half), arguments.seed, stop)
        if arguments.kind == "base":
            run_base(shop, arguments)
        elif arguments.kind == "export":
            export(shop)
        else:
            known = splits()
            chosen = list(known) if arguments.split == "all" else [arguments.split]
            if unknown := [name for name in chosen if name not in known]:
                sys.exit(f"There is no split {unknown[0]}; there are {', '.join(known)}.")
            for name in chosen:
                if stop():
                    break
                common = (arguments.size, arguments.batch, arguments.steps)
                file = f"{arguments.name or name}.safetensors"
                if arguments.kind == "lora":
                    out = shop.models / "loras" / file
                    shop.train_lora(known[name], out, *common, arguments.rank, arguments.rate, arguments.trigger)
                else:
                    out = shop.models / "checkpoints" / file
                    shop.train_checkpoint(known[name], out, *common, arguments.rate)


if __name__ == "__main__":
    main()
