"""Features from a local CLIP, SigLIP or DINOv2 model: a Hugging Face folder, run by the library transformers.

The folder holds ``config.json``, ``preprocessor_config.json`` and safetensors weights. Only these files are read:
nothing is downloaded, no code of the folder is run, and pickled weights are left alone.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import CopyScopeError, describe
from ..files.hashes import file_sha256
from ..files.images import in_threads
from ..files.pixels import Pixels, resize_bicubic
from .extractor import BATCH_SIZE, Features, memory_errors

if TYPE_CHECKING:
    import torch

CONFIG, PREPROCESSOR, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
INDEX = WEIGHTS + ".index.json"
_MAX_JSON_BYTES = 64 << 20
_LEFT_OUT = ("auto_map", "dtype", "torch_dtype")


class Family(NamedTuple):
    """How a kind of model is used.

    Attributes:
        model: class in transformers.
        output: the pooled image embedding among its outputs.
    """

    model: str
    output: str


FAMILIES: dict[str, Family] = {
    "clip_vision_model": Family("CLIPVisionModelWithProjection", "image_embeds"),
    "siglip_vision_model": Family("SiglipVisionModel", "pooler_output"),
    "dinov2": Family("Dinov2Model", "pooler_output"),
    "dinov2_with_registers": Family("Dinov2WithRegistersModel", "pooler_output"),
}
"""``model_type`` of the vision tower → its family."""

Pixel = Annotated[int, Field(ge=1, le=4096)]
Side = Pixel | dict[Literal["height", "width", "shortest_edge"], Pixel]


class Preprocessing(BaseModel):
    """What preprocessor_config.json says: bicubic resize, centre crop, scale, normalise.

    Attributes:
        size: the shorter edge after the resize, or height and width.
        crop_size: what is cut from the middle; None: nothing is cut.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    size: Side
    crop_size: Side | None = None
    do_resize: Literal[True] = True
    do_center_crop: bool | None = None
    do_rescale: Literal[True] = True
    do_normalize: Literal[True] = True
    rescale_factor: float = Field(1 / 255, gt=0)
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]

    @model_validator(mode="after")
    def _one_shape(self) -> Preprocessing:
        """Refuse settings that would not bring all images to one shape."""
        crop = self._crop()
        if crop is None and self._edge() is not None:
            raise ValueError("a shortest edge needs a crop_size")
        if crop is not None and max(crop) > (self._edge() or min(_rectangle(self.size))):
            raise ValueError("crop_size is larger than size")
        return self

    def __call__(self, pixels: Pixels) -> NDArray[np.float32]:
        """An image, uint8 (H, W, 3), as the network takes it: float32 (h, w, 3)."""
        height, width = self._resized(*pixels.shape[:2])
        image = resize_bicubic(pixels, width, height)
        if (crop := self._crop()) is not None:
            top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
            image = image[top : top + crop[0], left : left + crop[1]]
        mean, std = (np.array(values, dtype=np.float32) for values in (self.image_mean, self.image_std))
        return np.asarray((image * np.float32(self.rescale_factor) - mean) / std)

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        edge = self._edge()
        if edge is None:
            return _rectangle(self.size)
        return max(edge, round(height * edge / width)), max(edge, round(width * edge / height))

    def _edge(self) -> int | None:
        return self.size if isinstance(self.size, int) else self.size.get("shortest_edge")

    def _crop(self) -> tuple[int, int] | None:
        return None if self.crop_size is None or self.do_center_crop is False else _rectangle(self.crop_size)


class VisionModelExtractor:
    """The pooled image embedding of a local model: CLIP's projected one, SigLIP's pooling head, DINOv2's class token.

    Its id holds the folder's name, the first digits of the weights' SHA-256, and of that of the two configurations.

    Args:
        folder: a model as it is on Hugging Face.
        device: where it runs, in float32.
        batch_size: images that go through the network at a time.

    Raises:
        CopyScopeError: the library transformers is missing, or the folder does not hold such a model.
    """

    def __init__(self, folder: Path, device: torch.device | str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        config = _vision_config(_read_json(folder / CONFIG))
        family = FAMILIES.get(str(config.get("model_type")))
        if family is None or "quantization_config" in config:
            raise CopyScopeError(
                f"{folder / CONFIG} describes no CLIP, SigLIP or DINOv2 model in full precision "
                f"(its model_type is {str(config.get('model_type'))[:80]!r}); choose the folder of one."
            )
        self.device = device
        self.batch_size = batch_size
        self._output = family.output
        self._preprocessing = _read_preprocessing(folder / PREPROCESSOR)
        weights = _weight_files(folder)
        settings = json.dumps([config, self._preprocessing.model_dump()], sort_keys=True)
        self.id = ".".join(
            (_plain(folder), _combined_sha256(weights)[:16], _sha256(settings)[:8], "clean-bicubic", "f32")
        )
        self._model = _load(family, config, weights, folder).to(device)
        try:
            self.dimension = self([np.zeros((64, 64, 3), dtype=np.uint8)]).shape[1]
        except (ValueError, RuntimeError, ArithmeticError) as error:
            raise _unfit(folder, error) from error

    def __call__(self, images: Sequence[Pixels]) -> Features:
        """Features of images, float32 (n, dimension)."""
        import torch

        from .inception import full_precision

        rows = []
        for start in range(0, len(images), self.batch_size):
            batch = np.stack(in_threads(self._preprocessing, images[start : start + self.batch_size]))
            values = torch.from_numpy(batch).permute(0, 3, 1, 2).to(self.device)
            with full_precision(), memory_errors(self.device):
                rows.append(getattr(self._model(pixel_values=values), self._output).float().cpu().numpy())
        return np.concatenate(rows)


def _vision_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the vision tower, whether the file describes it alone or beside a text tower."""
    inner = config.get("vision_config")
    if not isinstance(inner, dict):
        return dict(config)
    shared = {name: config[name] for name in ("projection_dim", "quantization_config") if name in config}
    return {"model_type": f"{config.get('model_type')}_vision_model", **inner, **shared}


def _load(family: Family, config: Mapping[str, Any], weights: Iterable[Path], folder: Path) -> Any:
    """The model in eval mode, float32, on the CPU. It is given settings and tensors, so it reads no file itself."""
    try:
        transformers = importlib.import_module("transformers")
    except ImportError as error:
        raise CopyScopeError(
            "Features of a local model need the library transformers: pip install 'copyscope[clip]'."
        ) from error
    from safetensors.torch import load_file

    cls = getattr(transformers, family.model)
    kept = {name: value for name, value in config.items() if name not in _LEFT_OUT and not name.startswith("_")}
    logging = transformers.utils.logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # it lists what a text tower leaves over
    try:
        tensors = {name: value.float() for file in weights for name, value in load_file(file).items()}
        model, info = cls.from_pretrained(
            None,
            config=cls.config_class.from_dict(kept),
            state_dict=tensors,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except Exception as error:  # these libraries raise errors of their own on a damaged file
        raise _unfit(folder, error) from error
    finally:
        logging.set_verbosity(verbosity)
    if missing := sorted(info["missing_keys"]):
        raise CopyScopeError(
            f"The weights in {folder} lack {len(missing)} tensors that {CONFIG} asks for, such as {missing[0]}; "
            "download the model again."
        )
    return model.float().eval().requires_grad_(False)


def _unfit(folder: Path, error: Exception) -> CopyScopeError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
    return CopyScopeError(f"The model in {folder} cannot be used ({reason}); download it again.")


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files of the model, which lie in its folder."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        raise CopyScopeError(
            f"{folder} has no {WEIGHTS}; weights are read from safetensors only, never from pickled files."
        )
    table = _read_json(folder / INDEX).get("weight_map")
    names = sorted({str(name) for name in table.values()}) if isinstance(table, dict) else []
    if not names or not all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.safetensors", name) for name in names):
        raise CopyScopeError(f"{folder / INDEX} does not name safetensors files of its folder; download it again.")
    return [folder / name for name in names]


def _combined_sha256(files: Sequence[Path]) -> str:
    """SHA-256 of one file; of several, that of all their SHA-256 in hex digits, in the order of their names."""
    digests = [file_sha256(file) for file in files]
    return digests[0] if len(digests) == 1 else _sha256("".join(digests))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read_preprocessing(path: Path) -> Preprocessing:
    try:
        return Preprocessing.model_validate(_read_json(path))
    except ValidationError as error:
        raise CopyScopeError(f"{path} does not fit: {describe(error)}.") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise CopyScopeError(f"{path} is larger than {_MAX_JSON_BYTES >> 20} MiB; it is no such table.")
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise CopyScopeError(
            f"{path} cannot be read ({error.strerror or error}); give the folder of a CLIP, SigLIP or DINOv2 model as "
            "it is on Hugging Face."
        ) from error
    except (ValueError, RecursionError) as error:
        raise CopyScopeError(f"{path} is no JSON; download it again.") from error
    if not isinstance(data, dict):
        raise CopyScopeError(f"{path} is no JSON object; download it again.")
    return data


def _rectangle(side: Side) -> tuple[int, int]:
    """Height and width."""
    if isinstance(side, int):
        return side, side
    if "shortest_edge" in side or len(side) != 2:
        raise ValueError("a rectangle has height and width")
    return side["height"], side["width"]


def _plain(folder: Path) -> str:
    """A folder's name as part of an id."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-")[:60] or "model"
