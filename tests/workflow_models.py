"""The model files that the shipped workflows name, and the miniature model that stands in for each in a test."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from copyscope_core.demo.models import make_model

REPOSITORY = Path(__file__).resolve().parent.parent
UI_FOLDER = REPOSITORY / "workflows"
"""Files in UI format and their pictures. ComfyUI shows the file's name as the template's title and description."""

API_FOLDER = UI_FOLDER / "api"
NAMES = sorted(path.stem for path in API_FOLDER.glob("*.json"))

MODELS: dict[str, tuple[str, int] | None] = {
    "checkpoints/v1-5-pruned-emaonly-fp16.safetensors": ("sd15-checkpoint", 2),
    "checkpoints/dreamshaper_8.safetensors": ("sd15-checkpoint", 1),
    "checkpoints/sd_xl_base_1.0.safetensors": ("sdxl-checkpoint", 3),
    "loras/artist-style-sd15.safetensors": ("sd15-lora", 11),
    "loras/character-sd15.safetensors": ("sd15-lora", 12),
    "loras/artist-style-sdxl.safetensors": ("sdxl-lora", 14),
    "loras/artist-style-flux.safetensors": ("flux-lora", 15),
    "vae/vae-ft-mse-840000-ema-pruned.safetensors": ("sd15-vae", 21),
    "vae/ae.safetensors": ("flux-vae", 22),
    "controlnet/control_v11p_sd15_canny_fp16.safetensors": ("sd15-controlnet", 31),
    "diffusion_models/flux1-dev.safetensors": ("flux-unet", 4),
    "text_encoders/clip_l.safetensors": ("clip-l", 0),
    # ComfyUI builds T5-XXL at full size whatever the file holds (8 GB, a minute a text): no miniature, a dummy.
    "text_encoders/t5xxl_fp8_e4m3fn.safetensors": None,
}
"""Path in ComfyUI's ``models`` folder → kind and seed of a miniature; None: a dummy that is never loaded."""

SMALL = {"seeds": 1, "steps": 1, "width": 64, "height": 64, "batch_size": 1}
"""Inputs that the tests overwrite, so that a run takes a second or two."""

PLAYERS = {
    "quick-start": {"dreamshaper_8", "artist-style-sd15"},
    "two-loras": {"artist-style-sd15", "character-sd15", "prompt: in the style of Jane Artist"},
    "controlnet-lora-prompt": {
        "artist-style-sd15",
        "control_v11p_sd15_canny_fp16",
        "prompt: da Leonardo da vinci",
        "prompt: mona_lisa",
    },
    "separate-vae": {"dreamshaper_8", "artist-style-sd15", "vae-ft-mse-840000-ema-pruned"},
    "sdxl": {"artist-style-sdxl", "prompt: in the style of Jane Artist"},
    "flux": {"artist-style-flux", "prompt: in the style of Jane Artist"},
    "loader-coalitions": {"dreamshaper_8", "artist-style-sd15", "prompt: in the style of Jane Artist"},
}
"""The players that each workflow measures."""


TITLES: dict[str, str] = {
    "quick-start": "Quick start with checkpoint and LoRA, CopyScope audit",
    "two-loras": "Two LoRAs and artist name, CopyScope audit",
    "controlnet-lora-prompt": "ControlNet, LoRA, two phrases, CopyScope audit",
    "separate-vae": "Checkpoint, LoRA and VAE, CopyScope audit",
    "sdxl": "SDXL LoRA and artist name, CopyScope audit",
    "flux": "Flux LoRA and artist name, CopyScope audit",
    "loader-coalitions": "One node without a graph, CopyScope audit",
}
"""Names of the files in UI format and of their pictures: what tells them apart stands first, for lists cut them off."""


def ui_workflow(name: str) -> dict[str, Any]:
    """A shipped workflow in UI format."""
    ui: dict[str, Any] = json.loads((UI_FOLDER / f"{TITLES[name]}.json").read_text(encoding="utf-8"))
    return ui


def api_workflow(name: str) -> dict[str, Any]:
    """A shipped workflow in API format."""
    graph: dict[str, Any] = json.loads((API_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return graph


def small(graph: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The workflow with few seeds, few steps and small images.

    ``DualCLIPLoader`` takes CLIP-L twice, under the type ``sd3``, which runs without T5-XXL.
    """
    result: dict[str, Any] = json.loads(json.dumps(graph))
    for node in result.values():
        inputs = node["inputs"]
        inputs.update({key: value for key, value in {**SMALL, **changes}.items() if isinstance(inputs.get(key), int)})
        if node["class_type"] == "DualCLIPLoader":
            inputs.update(type="sd3", clip_name1="clip_l.safetensors", clip_name2="clip_l.safetensors")
    return result


def make_files(models_dir: Path, names: Iterable[str] = MODELS) -> None:
    """Write the miniatures, and the dummies, into ComfyUI's ``models`` folder."""
    for name in names:
        path = models_dir / name
        known = MODELS[name]
        if path.exists():
            continue
        if known is None:
            make_dummy(path)
        else:
            make_model(known[0], path, known[1])


def make_dummy(path: Path) -> None:
    """A valid safetensors file without tensors, for what only needs the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", 2) + b"{}")


def named_files(graph: dict[str, Any]) -> set[str]:
    """The model files that a workflow names."""
    return {
        value
        for node in graph.values()
        for value in node["inputs"].values()
        if isinstance(value, str) and value.endswith(".safetensors")
    }


def make_reference(input_dir: Path, count: int = 4) -> None:
    """``reference``, a folder of small pictures, and ``example.png``, in ComfyUI's input folder."""
    import numpy as np
    from PIL import Image

    folder = input_dir / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(5)
    for index in range(count + 1):
        small_one = Image.fromarray(random.integers(0, 255, (6, 6, 3), dtype=np.uint8))
        path = folder / f"work-{index + 1}.png" if index < count else input_dir / "example.png"
        small_one.resize((96, 96), Image.Resampling.BICUBIC).save(path)
