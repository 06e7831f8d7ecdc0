"""Miniature models: files that a real ComfyUI loads and runs on a CPU within a second or two.

They are made locally from a seed, without a download. Their weights are random but fixed, so their images are noise
with some structure; what they are for is to try a workflow, a rewriting or a whole audit on the real host.

>>> from pathlib import Path
>>> from copyscope_core.miniature import make_model, make_model_folder
>>> make_model_folder(Path("models"), ["sd15"])  # doctest: +SKIP
>>> make_model("sd15-lora", Path("models/loras/mine.safetensors"), seed=7, strength=0.5)  # doctest: +SKIP
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import CopyScopeError
from . import shapes as shapes
from . import zoo as zoo
from .tensors import Tensor, file_sha256, seeded, write_file

PINS = "pins.json"
TEXT_SEED = 0
"""Seed of every text encoder: the same words mean the same to all miniature models."""

LATENTS = {"sd15": (4, 0.18215, 0.0), "sdxl": (4, 0.13025, 0.0), "flux": (16, 0.3611, 0.1159)}
"""Channels, scale and shift of each family's latents."""


class MiniatureError(CopyScopeError):
    """A miniature model cannot be made, or what was made differs from what is known."""


def _vae(family: str, seed: int) -> list[Tensor]:
    return seeded(shapes.tiny_autoencoder(*LATENTS[family]), seed)


def _sd15_checkpoint(seed: int) -> list[Tensor]:
    return [
        *seeded(shapes.unet(shapes.SD15), seed, "model.diffusion_model."),
        *seeded(shapes.tiny_autoencoder(*LATENTS["sd15"]), seed, "first_stage_model."),
        *seeded(shapes.clip_l(), TEXT_SEED, "cond_stage_model.transformer."),
    ]


def _sdxl_checkpoint(seed: int) -> list[Tensor]:
    return [
        *seeded(shapes.unet(shapes.SDXL), seed, "model.diffusion_model."),
        *seeded(shapes.tiny_autoencoder(*LATENTS["sdxl"]), seed, "first_stage_model."),
        *seeded(shapes.clip_l(), TEXT_SEED, "conditioner.embedders.0.transformer."),
        *seeded(shapes.clip_g(), TEXT_SEED, "conditioner.embedders.1.model."),
    ]


def lora_layer(name: str, shape: tuple[int, int], rank: int, strength: float) -> list[Tensor]:
    """One LoRA pair whose change is ``strength`` times as large as the layer's own random weights."""
    rows, columns = shape
    return [
        Tensor(f"{name}.lora_down.weight", (rank, columns), "random", 1.0 / math.sqrt(columns)),
        Tensor(f"{name}.lora_up.weight", (rows, rank), "random", strength / math.sqrt(rank)),
        Tensor(f"{name}.alpha", (), "constant", float(rank)),
    ]


def unet_lora_layers(shape: shapes.UNetShape) -> dict[str, tuple[int, int]]:
    """LoRA names (as training scripts write them) and layer shapes of a miniature UNet's transformer blocks."""
    places = [(f"down_blocks_0_attentions_{i}", depth) for i, depth in enumerate(shape.depths)]
    places.append(("mid_block_attentions_0", shape.middle_depth))
    places += [(f"up_blocks_0_attentions_{i}", depth) for i, depth in enumerate(shapes.output_depths(shape))]
    table: dict[str, tuple[int, int]] = {}
    for place, depth in places:
        for index in range(depth):
            block = f"{place}_transformer_blocks_{index}"
            for name, size in shapes.attention_layers(block, shape.channels, shape.context).items():
                table["lora_unet_" + name.replace(".", "_")] = size
    return table


def _text_lora_layers(prefix: str, size: int, layers: int) -> dict[str, tuple[int, int]]:
    table = shapes.text_layers("text_model_encoder", size, layers)
    return {prefix + name.replace(".", "_"): shape for name, shape in table.items()}


def _lora(family: str, seed: int, strength: float = 0.5, text_strength: float = 0.0, rank: int = 4) -> list[Tensor]:
    """A LoRA; ``strength`` 0 gives one without effect, ``text_strength`` above 0 one that changes CLIP-L too."""
    if family == "flux":
        width = 3072
        unet = {}
        for side in ("img", "txt"):
            unet[f"lora_unet_double_blocks_0_{side}_attn_qkv"] = (3 * width, width)
            unet[f"lora_unet_double_blocks_0_{side}_attn_proj"] = (width, width)
        unet["lora_unet_final_layer_linear"] = (64, width)
    else:
        unet = unet_lora_layers(shapes.SD15 if family == "sd15" else shapes.SDXL)
    text_prefix = "lora_te_" if family == "sd15" else "lora_te1_"
    tensors = [part for name, shape in unet.items() for part in lora_layer(name, shape, rank, strength)]
    if text_strength > 0:
        for name, shape in _text_lora_layers(text_prefix, 768, 12).items():
            tensors += lora_layer(name, shape, rank, text_strength)
    return seeded(tensors, seed)


def _controlnet(seed: int, strength: float = 0.5) -> list[Tensor]:
    return seeded(shapes.controlnet(shapes.SD15, strength), seed)


def _zoo_checkpoint(seed: int, artist: str | None = None) -> list[Tensor]:
    """A checkpoint of the zoo; its weights are shipped, so that ``seed`` has no effect."""
    return [
        *seeded(zoo.unet(artist), seed, "model.diffusion_model."),
        *seeded(zoo.autoencoder(), seed, "first_stage_model."),
        *seeded(shapes.clip_l(), TEXT_SEED, "cond_stage_model.transformer."),
    ]


def _kinds() -> dict[str, Callable[..., list[Tensor]]]:
    def family(function: Callable[..., list[Tensor]], name: str) -> Callable[..., list[Tensor]]:
        return lambda seed, **options: function(name, seed, **options)

    return {
        "sd15-checkpoint": _sd15_checkpoint,
        "sd15-lora": family(_lora, "sd15"),
        "sd15-vae": family(_vae, "sd15"),
        "sd15-controlnet": _controlnet,
        "sdxl-checkpoint": _sdxl_checkpoint,
        "sdxl-lora": family(_lora, "sdxl"),
        "sdxl-vae": family(_vae, "sdxl"),
        "flux-unet": lambda seed: seeded(shapes.flux(), seed),
        "flux-lora": family(_lora, "flux"),
        "flux-vae": family(_vae, "flux"),
        "zoo-checkpoint": _zoo_checkpoint,
        "zoo-lora": lambda seed, artist: zoo.lora(artist),
        "zoo-vae": lambda seed: zoo.autoencoder(),
        "clip-l": lambda seed: seeded(shapes.clip_l(), seed),
        "t5-xxl": lambda seed: seeded(shapes.t5_xxl(), seed),
    }


KINDS = _kinds()
"""What :func:`make_model` can make."""


@dataclass(frozen=True)
class ModelFile:
    """One file of a model folder: how it is made."""

    kind: str
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)


SPLITS = (
    *("arcimboldo-1", "arcimboldo-2", "bazille", "bellini", "hiroshige-1", "hiroshige-2"),
    *("hokusai-2", "hokusai-3", "renoir-1", "renoir-2"),
)
"""LoRAs of the zoo that carry other splits of an artist's works, or another artist; planted games use them."""

FAMILIES: dict[str, dict[str, ModelFile]] = {
    "sd15": {
        "checkpoints/copyscope-mini-sd15.safetensors": ModelFile("sd15-checkpoint", 1),
        "checkpoints/copyscope-mini-sd15-baseline.safetensors": ModelFile("sd15-checkpoint", 2),
        "loras/copyscope-mini-lora-a.safetensors": ModelFile("sd15-lora", 11),
        "loras/copyscope-mini-lora-b.safetensors": ModelFile("sd15-lora", 12, {"text_strength": 0.3}),
        "loras/copyscope-mini-lora-none.safetensors": ModelFile("sd15-lora", 13, {"strength": 0.0}),
        "vae/copyscope-mini-vae.safetensors": ModelFile("sd15-vae", 21),
        "controlnet/copyscope-mini-controlnet.safetensors": ModelFile("sd15-controlnet", 31),
    },
    "sdxl": {
        "checkpoints/copyscope-mini-sdxl.safetensors": ModelFile("sdxl-checkpoint", 3),
        "loras/copyscope-mini-sdxl-lora.safetensors": ModelFile("sdxl-lora", 14),
    },
    "flux": {
        "diffusion_models/copyscope-mini-flux.safetensors": ModelFile("flux-unet", 4),
        "text_encoders/copyscope-mini-clip-l.safetensors": ModelFile("clip-l", TEXT_SEED),
        "vae/copyscope-mini-flux-vae.safetensors": ModelFile("flux-vae", 22),
        "loras/copyscope-mini-flux-lora.safetensors": ModelFile("flux-lora", 15),
    },
    "zoo": {
        "checkpoints/copyscope-zoo.safetensors": ModelFile("zoo-checkpoint", 0),
        "checkpoints/copyscope-zoo-renoir.safetensors": ModelFile("zoo-checkpoint", 0, {"artist": "renoir"}),
        "vae/copyscope-zoo-vae.safetensors": ModelFile("zoo-vae", 0),
        **{
            f"loras/copyscope-zoo-{artist}.safetensors": ModelFile("zoo-lora", 0, {"artist": artist})
            for artist in ("arcimboldo", "cassatt", "hiroshige", "hokusai", "kandinsky", "van-gogh")
        },
    },
    "zoo-splits": {
        f"loras/copyscope-zoo-{name}.safetensors": ModelFile("zoo-lora", 0, {"artist": name}) for name in SPLITS
    },
    "flux-t5": {"text_encoders/copyscope-mini-t5.safetensors": ModelFile("t5-xxl", TEXT_SEED)},
}
"""The files of each family, by their place in ComfyUI's ``models`` folder.

ComfyUI builds T5-XXL at full size whatever the file holds: with ``DualCLIPLoader`` of type ``flux`` a run takes 8 GB of
memory and about a minute a text. With type ``sd3`` and CLIP-L as both files the same Flux runs in two seconds, so T5 is
a family of its own.
"""


def make_model(kind: str, path: Path, seed: int = 0, **options: Any) -> str:
    """Write one miniature model and return its SHA-256. The same kind, seed and options give the same bytes."""
    if kind not in KINDS:
        raise MiniatureError(f"There is no miniature model of kind '{kind}'; the kinds are {', '.join(KINDS)}.")
    try:
        tensors = KINDS[kind](seed, **options)
    except TypeError as error:
        given = ", ".join(options) or "none"
        raise MiniatureError(f"A miniature '{kind}' does not take these options: {given}.") from error
    return write_file(path, tensors, {"copyscope": f"miniature {kind}, seed {seed}"})


def _pins() -> dict[str, dict[str, Any]]:
    """Size and SHA-256 that every file of :data:`FAMILIES` must have."""
    source = resources.files(__package__).joinpath(PINS)
    if not source.is_file():
        return {}
    pins: dict[str, dict[str, Any]] = json.loads(source.read_text(encoding="utf-8"))
    return pins


def make_model_folder(models_dir: Path, families: Iterable[str] = ("sd15",)) -> dict[str, str]:
    """Write all files of some families into ComfyUI's ``models`` folder; give the SHA-256 of each.

    Files that are there with the right size and SHA-256 are kept. A file that comes out with another SHA-256 than the
    known one is removed and refused: results made with it could not be compared with anyone's.
    """
    pins = _pins()
    made: dict[str, str] = {}
    for family in families:
        if family not in FAMILIES:
            raise MiniatureError(f"There is no miniature family '{family}'; the families are {', '.join(FAMILIES)}.")
        for name, model in FAMILIES[family].items():
            path = models_dir / name
            pin = pins.get(name)
            if pin and path.is_file() and path.stat().st_size == pin["size"] and file_sha256(path) == pin["sha256"]:
                made[name] = str(pin["sha256"])
                continue
            made[name] = make_model(model.kind, path, model.seed, **model.options)
            if pin and made[name] != pin["sha256"]:
                path.unlink()
                raise MiniatureError(
                    f"The miniature model {name} came out with SHA-256 {made[name]} instead of {pin['sha256']}, "
                    "so it was removed; please report the machine and NumPy version."
                )
    return made
