"""Run by a ComfyUI's Python: features on a device with memory for so many images, as JSON; COMFYUI REPOSITORY."""

import importlib
import json
import sys
import types

import numpy as np
import torch

comfyui, repository = sys.argv[1:]
sys.argv = ["main.py", "--cpu"]
sys.path.insert(0, comfyui)

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

IMAGES = [np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8) for seed in range(5)]


def pack_module(name):
    """A module of the pack, without what needs a server."""
    for package, path in (("pack", repository), ("pack.nodes", f"{repository}/nodes")):
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [path]
    return importlib.import_module(f"pack.nodes.host.{name}")


module = pack_module("inception")
expected = module.host_extractor()(IMAGES)
network = module._patcher().model
found = {}
for most in (8, 2, 0):
    calls = []

    def full(network, given, most=most, calls=calls):
        """The network's device has memory for so many images."""
        calls.append(len(given[0]))
        if len(given[0]) > most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    hook = network.register_forward_pre_hook(full)
    rows = module.host_extractor()(IMAGES)
    hook.remove()
    found[most] = [calls, float(np.abs(rows - expected).max())]
print(json.dumps(found))
