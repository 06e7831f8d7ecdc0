"""Damaged model files: hashed as bytes and never opened as pickles; headers of safetensors that lie are refused."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from copyscope_core.comfyui.model_files import LocalModels
from copyscope_core.features.local_models import VisionModelExtractor
from copyscope_core.files.hashes import HashCache, file_sha256

from .harness import fuzzed, guarded
from .mutations import TEXTS, as_json, damaged, damaged_bytes

CONFIG = {
    "model_type": "dinov2", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "mlp_ratio": 1,
    "image_size": 14, "patch_size": 14, "num_channels": 3, "auto_map": {"AutoModel": "evil.Model"},
}  # fmt: skip
PREPROCESSOR = {"size": {"shortest_edge": 14}, "crop_size": {"height": 14, "width": 14}, "image_mean": [0.5, 0.5, 0.5],
                "image_std": [0.5, 0.5, 0.5], "resample": 3}  # fmt: skip
WEIGHTS = save({"embeddings.cls_token": np.ones((1, 1, 8), np.float32), "layernorm.weight": np.ones(8, np.float32)})


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("unpickled"),))


def pickled_zip() -> bytes:
    """A checkpoint as torch.save writes it: a zip with a pickle in it, and a member that would leave its folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
        archive.writestr("../../outside.txt", "slipped")
    return buffer.getvalue()


def header(fields: object, length: int | None = None) -> bytes:
    """A safetensors file whose header says what it likes."""
    text = as_json(fields)
    return struct.pack("<Q", (len(text) if length is None else length) % 2**64) + text + bytes(64)


LIES = [
    header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
    header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}}),
    header({"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}),
    header({"a": {"dtype": "X", "shape": [], "data_offsets": [0, 0]}}),
    header({}, 2**63), header({}, 2**64 - 1), header([]), b"", b"\0" * 7, WEIGHTS,
]  # fmt: skip
MODELS = [WEIGHTS, pickle.dumps(Evil()), pickled_zip(), *LIES]


@fuzzed(2)
@given(damaged_bytes(MODELS), st.sampled_from(["a.ckpt", "a.pt", "a.safetensors", "a.pth", "a.bin", "a.gguf"]))
def test_model_files_are_only_hashed(data: bytes, name: str) -> None:
    with guarded() as root:
        folder = root / "models" / "checkpoints"
        folder.mkdir(parents=True)
        (folder / name).write_bytes(data)
        local = LocalModels(root, root, HashCache(root / "hashes.json"))
        assert local.sha256(name) == file_sha256(folder / name)
        assert sorted(path.name for path in root.iterdir()) == ["hashes.json", "models"]


@fuzzed(0.5)
@given(st.one_of(st.sampled_from(TEXTS), st.text(max_size=30)))
def test_names_find_nothing_outside(name: str) -> None:
    with guarded() as root:
        (root / "secret.safetensors").write_bytes(b"secret")
        (root / "base" / "models" / "loras").mkdir(parents=True)
        local = LocalModels(root / "base", root / "base", HashCache(root / "hashes.json"))
        for guess in (name, f"../../../{name}", f"../../../secret.safetensors{name}", str(root / "secret.safetensors")):
            for path in local.find(guess):
                assert path.resolve().is_relative_to(root / "base")
        local.pack_digest(f"custom_nodes.{name}")


@fuzzed(0.5)
@given(st.data())
def test_folders_of_local_models(data: st.DataObject) -> None:
    for module in ("transformers.models.dinov2.modeling_dinov2", "transformers.models.clip.modeling_clip"):
        pytest.importorskip(module)
    config = data.draw(damaged([CONFIG], most=3))
    preprocessor = data.draw(damaged([PREPROCESSOR], most=2))
    weights = data.draw(st.one_of(st.sampled_from(MODELS), damaged_bytes([WEIGHTS])))
    index = data.draw(st.sampled_from([None, {"weight_map": {"a": "../secret.safetensors"}}, {"weight_map": 3}, []]))
    with guarded() as root:
        folder = root / "model"
        folder.mkdir()
        (root / "secret.safetensors").write_bytes(WEIGHTS)
        (folder / "config.json").write_bytes(as_json(config))
        (folder / "preprocessor_config.json").write_bytes(as_json(preprocessor))
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
        if index is None:
            (folder / "model.safetensors").write_bytes(weights)
        else:
            (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
        VisionModelExtractor(folder)
