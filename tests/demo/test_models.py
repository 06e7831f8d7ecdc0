"""Miniature models: same bytes everywhere, readable files, known sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from copyscope_core.demo import models as miniature
from copyscope_core.demo.models import FAMILIES, KINDS, MiniatureError, make_model, make_model_folder
from copyscope_core.demo.tensors import Tensor, file_sha256, materialise, write_file
from copyscope_core.demo.zoo import dense, sparse
from copyscope_core.errors import CopyScopeError


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    first = make_model("sd15-vae", tmp_path / "a.safetensors", seed=3)
    second = make_model("sd15-vae", tmp_path / "b.safetensors", seed=3)
    other = make_model("sd15-vae", tmp_path / "c.safetensors", seed=4)
    assert first == second != other
    assert file_sha256(tmp_path / "a.safetensors") == first


def test_bytes_are_the_pinned_ones(tmp_path: Path) -> None:
    """The small files of every family; a difference means that results are not comparable between machines."""
    pins = miniature._pins()
    assert set(pins) == {name for files in FAMILIES.values() for name in files}
    small = [(n, m) for files in FAMILIES.values() for n, m in files.items() if pins[n]["size"] < 50e6]
    assert len(small) >= 7
    for name, model in small:
        path = tmp_path / name
        assert make_model(model.kind, path, model.seed, **model.options) == pins[name]["sha256"]
        assert path.stat().st_size == pins[name]["size"]


def test_random_numbers_have_the_wanted_scale() -> None:
    numbers = materialise(Tensor("x", (400, 300), "random", 0.05, "F32"))
    assert abs(numbers.mean()) < 1e-3
    assert numbers.std() == pytest.approx(0.05, rel=0.01)
    paired = materialise(Tensor("x", (8, 10, 3, 3), "paired", 0.05, "F32"))
    assert np.array_equal(paired[:, 1::2], -paired[:, 0::2])


def test_eight_bit_floats_are_finite() -> None:
    raw = materialise(Tensor("x", (1000,), "random", dtype="F8_E4M3"))
    assert not np.any((raw & 0x7F) == 0x7F)


def test_holes_read_as_zeros_and_are_hashed(tmp_path: Path) -> None:
    path = tmp_path / "holes.safetensors"
    tensors = [
        Tensor("a", (300, 3000), "zeros"),
        Tensor("b", (5,), "constant", 2.0, "F32"),
        Tensor("z", (7, 7), "zeros", dtype="F8_E4M3"),
    ]
    digest = write_file(path, tensors)
    assert digest == file_sha256(path)
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == {"a", "b", "z"}
        assert file.get_tensor("a").abs().sum() == 0
        assert file.get_tensor("b").tolist() == [2.0] * 5


def test_lora_without_strength_changes_nothing(tmp_path: Path) -> None:
    make_model("sd15-lora", tmp_path / "none.safetensors", strength=0.0)
    make_model("sd15-lora", tmp_path / "some.safetensors", strength=0.5, text_strength=0.2)
    none, some = load_file(tmp_path / "none.safetensors"), load_file(tmp_path / "some.safetensors")
    assert all(not tensor.any() for name, tensor in none.items() if name.endswith("lora_up.weight"))
    assert "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight" in some
    assert "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight" in some
    assert not any(name.startswith("lora_te_") for name in none)


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MiniatureError, match="no miniature model of kind 'sd9'"):
        make_model("sd9", tmp_path / "x.safetensors")
    with pytest.raises(MiniatureError, match="no miniature family 'sd9'"):
        make_model_folder(tmp_path, ["sd9"])
    with pytest.raises(MiniatureError, match="does not take these options: colour"):
        make_model("sd15-vae", tmp_path / "x.safetensors", colour="red")
    assert not list(tmp_path.iterdir())
    assert "sd15-checkpoint" in KINDS


def test_folder_keeps_good_files_and_mends_bad_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {n: m for n, m in FAMILIES["sd15"].items() if n.startswith(("loras/", "vae/"))}
    monkeypatch.setitem(miniature.FAMILIES, "sd15", small)
    made = make_model_folder(tmp_path)
    assert set(made) == set(small)
    path = tmp_path / "vae/copyscope-mini-vae.safetensors"
    kept = path.stat().st_mtime_ns
    lora = tmp_path / "loras/copyscope-mini-lora-a.safetensors"
    lora.write_bytes(b"cut off")
    assert make_model_folder(tmp_path) == made
    assert path.stat().st_mtime_ns == kept
    assert file_sha256(lora) == made["loras/copyscope-mini-lora-a.safetensors"]


def test_folder_refuses_another_sha256(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "vae/copyscope-mini-vae.safetensors"
    monkeypatch.setitem(miniature.FAMILIES, "sd15", {name: FAMILIES["sd15"][name]})
    monkeypatch.setattr(miniature, "_pins", lambda: {name: {"size": 1, "sha256": "0" * 64}})
    with pytest.raises(MiniatureError, match="instead of 0000"):
        make_model_folder(tmp_path)
    assert not (tmp_path / name).exists()


def test_sparse_arrays_come_back() -> None:
    arrays = {"thin": np.zeros((40, 3), np.float16), "full": np.ones((2, 2), np.float16)}
    arrays["thin"][7, 1] = 3
    packed = sparse(arrays)
    assert "thin" not in packed
    assert "full" in packed
    back = dense(packed)
    assert set(back) == set(arrays)
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)


def test_zoo_lora_has_a_standard_name(tmp_path: Path) -> None:
    make_model("zoo-lora", tmp_path / "lora.safetensors", artist="hokusai")
    layer = "lora_unet_up_blocks_0_attentions_1_transformer_blocks_0_ff_net_0_proj"
    assert set(load_file(tmp_path / "lora.safetensors")) == {
        f"{layer}.{end}" for end in ("lora_up.weight", "lora_down.weight", "alpha")
    }
    with pytest.raises(CopyScopeError, match=r"part .* is missing"):
        make_model("zoo-lora", tmp_path / "x.safetensors", artist="nobody")
