"""Features from a local CLIP, SigLIP or DINO model: a Hugging Face folder, run by the library transformers.

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
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from ..errors import CopyScopeError, describe
from ..files.hashes import file_sha256
from ..files.pixels import Pixels
from .batches import Batches
from .extractor import BATCH_SIZE, Features
from .preprocessing import PatchPreprocessing, Preprocessing

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
        preprocessing: what its images go through.
        attention: how it computes attention, as transformers calls it.
    """

    model: str
    output: str = "pooler_output"
    preprocessing: type[Preprocessing | PatchPreprocessing] = Preprocessing
    attention: str = "sdpa"


FAMILIES: dict[str, Family] = {
    "clip_vision_model": Family("CLIPVisionModelWithProjection", "image_embeds"),
    "siglip_vision_model": Family("SiglipVisionModel"),
    "siglip2_vision_model": Family("Siglip2VisionModel", preprocessing=PatchPreprocessing),
    "dinov2": Family("Dinov2Model"),
    "dinov2_with_registers": Family("Dinov2WithRegistersModel"),
    "dinov3_vit": Family("DINOv3ViTModel"),
    "dinov3_convnext": Family("DINOv3ConvNextModel", attention="eager"),
}
"""``model_type`` of the vision tower → its family."""


class VisionModelExtractor:
    """The pooled image embedding of a local model: CLIP's projected one, SigLIP's pooling head, DINO's class token.

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
                f"{folder / CONFIG} describes no CLIP, SigLIP or DINO model in full precision "
                f"(its model_type is {str(config.get('model_type'))[:80]!r}); choose the folder of one."
            )
        self.device = device
        self._batches = Batches(self._rows, None if str(device) == "cpu" else self._rows_on_cpu, batch_size)
        self._output = family.output
        self._preprocessing = _read_preprocessing(folder / PREPROCESSOR, family.preprocessing)
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
        return self._batches(images)

    def _rows(self, images: Sequence[Pixels]) -> torch.Tensor:
        import torch

        from .inception import full_precision

        inputs = self._preprocessing.inputs(images)
        tensors = {name: torch.from_numpy(values).to(self.device) for name, values in inputs.items()}
        with full_precision():
            rows: torch.Tensor = getattr(self._model(**tensors), self._output)
        return rows

    def _rows_on_cpu(self, images: Sequence[Pixels]) -> torch.Tensor:
        self.device = "cpu"
        self._model.to("cpu")
        return self._rows(images)


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

    cls = getattr(transformers, family.model, None)
    if cls is None:
        raise CopyScopeError(
            f"The model in {folder} needs a later version of the library transformers than {transformers.__version__}: "
            "pip install --upgrade transformers."
        )
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
            attn_implementation=family.attention,
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


def _read_preprocessing(
    path: Path, kind: type[Preprocessing | PatchPreprocessing]
) -> Preprocessing | PatchPreprocessing:
    try:
        return kind.model_validate(_read_json(path))
    except ValidationError as error:
        raise CopyScopeError(f"{path} does not fit: {describe(error)}.") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise CopyScopeError(f"{path} is larger than {_MAX_JSON_BYTES >> 20} MiB; it is no such table.")
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise CopyScopeError(
            f"{path} cannot be read ({error.strerror or error}); give the folder of a CLIP, SigLIP or DINO model as "
            "it is on Hugging Face."
        ) from error
    except (ValueError, RecursionError) as error:
        raise CopyScopeError(f"{path} is no JSON; download it again.") from error
    if not isinstance(data, dict):
        raise CopyScopeError(f"{path} is no JSON object; download it again.")
    return data


def _plain(folder: Path) -> str:
    """A folder's name as part of an id."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-")[:60] or "model"
