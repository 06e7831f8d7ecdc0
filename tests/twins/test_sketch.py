import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from copyscope_core.twins import sketch as module
from copyscope_core.twins.sketch import LENGTH, SketchError, cosine, lora_sketch

from .loras import exact_cosine, factors, write_diffusers, write_kohya


def noisy(modules: dict, size: float, seed: int = 99) -> dict:
    """Pairs with noise of a size in proportion to their own."""
    draws = np.random.default_rng(seed)
    return {
        name: tuple((m + size * m.std() * draws.normal(size=m.shape)).astype(np.float32) for m in pair)
        for name, pair in modules.items()
    }


def test_a_sketch_has_length_one_and_is_the_same_again(tmp_path: Path) -> None:
    path = write_kohya(tmp_path / "a.safetensors", factors(1))
    sketch = lora_sketch(path)
    assert sketch.shape == (LENGTH,)
    assert np.linalg.norm(sketch) == pytest.approx(1)
    np.testing.assert_array_equal(sketch, lora_sketch(path))


def test_equal_changes_have_one_sketch_under_whatever_names_scale_rank_and_precision(tmp_path: Path) -> None:
    modules = factors(1)
    first = lora_sketch(write_kohya(tmp_path / "a.safetensors", modules))
    turned = {}
    for name, (up, down) in modules.items():
        mix = np.random.default_rng(5).normal(size=(4, 4))
        wide = np.concatenate([up @ mix, np.zeros((len(up), 2))], axis=1)
        turned[name] = (wide.astype(np.float32), np.concatenate([np.linalg.inv(mix) @ down, down[:2]]).astype("f4"))
    half = {name: tuple(matrix.astype(np.float16) for matrix in pair) for name, pair in modules.items()}
    others = {
        "names": write_diffusers(tmp_path / "b.safetensors", modules),
        "a magnitude of DoRA": write_diffusers(tmp_path / "c.safetensors", modules, dora=True),
        "alpha": write_kohya(tmp_path / "d.safetensors", modules, alpha=1.5),
        "rank 6 for 4": write_kohya(tmp_path / "e.safetensors", turned),
        "16 bits": write_kohya(tmp_path / "f.safetensors", half),
    }
    for path in others.values():
        assert cosine(first, lora_sketch(path)) > 0.9999
    brain = {f"{k}.lora_{'up' if i == 0 else 'down'}.weight": torch.from_numpy(m).bfloat16()
             for k, pair in modules.items() for i, m in enumerate(pair)}  # fmt: skip
    save_torch(brain, tmp_path / "g.safetensors")
    assert cosine(first, lora_sketch(tmp_path / "g.safetensors")) > 0.9995


@pytest.mark.parametrize("size", [0.03, 0.1, 0.2, 0.5])
def test_the_cosine_is_that_of_the_changes(tmp_path: Path, size: float) -> None:
    one, other = factors(1), noisy(factors(1), size)
    exact = exact_cosine(one, other)
    found = cosine(
        lora_sketch(write_kohya(tmp_path / "a.safetensors", one)),
        lora_sketch(write_kohya(tmp_path / "b.safetensors", other)),
    )
    assert found == pytest.approx(exact, abs=0.5 * (1 - exact))


def test_unrelated_loras_are_far_apart(tmp_path: Path) -> None:
    sketches = [lora_sketch(write_kohya(tmp_path / f"{k}.safetensors", factors(k))) for k in range(8)]
    pairs = [cosine(sketches[i], sketches[j]) for i in range(8) for j in range(i)]
    assert max(np.abs(pairs)) < 0.5


def test_a_convolution_is_read_as_a_matrix(tmp_path: Path) -> None:
    up, down = np.random.default_rng(1).normal(size=(32, 4, 1, 1)), np.random.default_rng(2).normal(size=(4, 16, 3, 3))
    save_file({"conv.lora_up.weight": up.astype("f4"), "conv.lora_down.weight": down.astype("f4")},
              tmp_path / "a.safetensors")  # fmt: skip
    flat = {"other": (up.reshape(32, 4).astype("f4"), down.reshape(4, -1).astype("f4"))}
    assert (
        cosine(lora_sketch(tmp_path / "a.safetensors"), lora_sketch(write_kohya(tmp_path / "b.safetensors", flat)))
        > 0.9999
    )


def raw(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


UP, DOWN = "m.lora_up.weight", "m.lora_down.weight"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04K\x01.",
        raw(b"{" * 50_000),
        struct.pack("<Q", 1 << 60) + b"{}",
        raw({UP: {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 4]}}, b"\0" * 4),
        raw({UP: {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 1 << 40]}}, b"\0" * 16),
        raw({UP: {"dtype": "F32", "shape": [0, 2], "data_offsets": [0, 0]},
             DOWN: {"dtype": "F32", "shape": [2, 0], "data_offsets": [0, 0]}}),
        raw({UP: {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
             DOWN: {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"\0" * 8),
        raw({UP: {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]},
             DOWN: {"dtype": "F32", "shape": [1, 1], "data_offsets": [4, 8]}}, struct.pack("<ff", 1, float("nan"))),
        raw({UP: {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]},
             DOWN: {"dtype": "F32", "shape": [1, 1], "data_offsets": [4, 8]}}, b"\0" * 8),
        raw({"checkpoint.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
        raw({f"m{k}.lora_up.weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [4 * k, 4 * k + 4]}
             for k in range(20_001)}, b"\0" * 4 * 20_001),
    ],
    ids=["empty", "a pickle", "deep", "endless header", "huge shape", "past the end", "no numbers", "scalars", "nan",
         "zeros", "no lora", "many tensors"],
)  # fmt: skip
def test_hostile_files_have_no_sketch_and_a_sentence_says_so(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "lora.safetensors"
    path.write_bytes(data)
    with pytest.raises(SketchError, match=r"lora\.safetensors|m\.lora"):
        lora_sketch(path)


def test_a_missing_file_a_large_one_and_one_that_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SketchError, match="absent"):
        lora_sketch(tmp_path / "absent.safetensors")
    path = write_kohya(tmp_path / "a.safetensors", factors(1))
    with pytest.raises(SketchError, match="takes too long"):
        lora_sketch(path, seconds=0)
    monkeypatch.setattr(module, "MAX_NUMBERS", 1000)
    with pytest.raises(SketchError, match="more than 1,000 numbers"):
        lora_sketch(path)
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    with pytest.raises(SketchError, match="is larger than"):
        lora_sketch(path)


def test_the_order_of_adding_up_changes_no_digit() -> None:
    """Tables of one server and of many are compared byte for byte."""
    rng = np.random.default_rng(3)
    one, other = (vector / np.linalg.norm(vector) for vector in rng.normal(size=(2, LENGTH)))
    orders = [rng.permutation(LENGTH) for _ in range(200)]
    assert len({float(one[order] @ other[order]) for order in orders}) > 1
    assert {cosine(one[order], other[order]) for order in orders} == {cosine(one, other)}
    assert cosine(one, one * (1 + 2e-16)) == cosine(one, one) == 1.0
    assert cosine(one, -one) == -1.0
