"""The conversion of CSD: the same numbers as its own code gives, from random weights, and nothing that runs code."""

from __future__ import annotations

import argparse
import json
import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from copyscope_core.features.local_models import VisionModelExtractor
from copyscope_core.features.preprocessing import Preprocessing
from tests.features.test_extractor import picture
from tools import convert_csd
from tools.convert_csd import CheckpointError, convert, read_checkpoint, write_folder

pytest.importorskip("transformers", reason="transformers, the extra copyscope[clip], is not installed")

WIDTH, LAYERS, PATCH, SIDE, STYLE = 128, 2, 8, 4, 24


class QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """A residual block of OpenAI's CLIP."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(WIDTH, WIDTH // 64)
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        layers = [("c_fc", nn.Linear(WIDTH, 4 * WIDTH)), ("gelu", QuickGELU()), ("c_proj", nn.Linear(4 * WIDTH, WIDTH))]
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Backbone(nn.Module):
    """OpenAI's vision transformer, its projection left out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(WIDTH))
        self.positional_embedding = nn.Parameter(torch.randn(SIDE**2 + 1, WIDTH))
        self.ln_pre, self.ln_post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.Sequential(*(Block() for _ in range(LAYERS)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1) + self.positional_embedding
        x = self.transformer.resblocks(self.ln_pre(x).transpose(0, 1)).transpose(0, 1)
        return self.ln_post(x[:, 0])


class CSD(nn.Module):
    """CSD as it is published: a backbone and two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.last_layer_style = nn.Parameter(torch.randn(WIDTH, STYLE))
        self.last_layer_content = nn.Parameter(torch.randn(WIDTH, STYLE))

    def forward(self, x: Tensor) -> Tensor:
        return self.backbone(x) @ self.last_layer_style


@pytest.fixture(scope="module")
def csd() -> CSD:
    torch.manual_seed(7)
    model = CSD().eval().requires_grad_(False)
    for layer in model.modules():
        if isinstance(layer, nn.LayerNorm):
            nn.init.normal_(layer.weight, 1, 0.1)
            nn.init.normal_(layer.bias, 0, 0.1)
    return model


@pytest.fixture
def checkpoint(csd: CSD, tmp_path: Path) -> Path:
    """A file like the published one: names with ``module.``, options and an optimiser beside the tensors."""
    content: dict[str, Any] = {
        "model_state_dict": {f"module.{name}": value for name, value in csd.state_dict().items()},
        "opt_bb": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": np.float64(0.1)}]},
        "iter": 80000,
        "args": argparse.Namespace(arch="vit_large", eval_k=[1, 5, 100]),
    }
    torch.save(content, tmp_path / "pytorch_model.bin")
    return tmp_path / "pytorch_model.bin"


def test_the_folder_gives_what_csd_gives(csd: CSD, checkpoint: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["convert_csd", str(checkpoint), "--out", str(tmp_path / "csd")])
    convert_csd.main()
    extractor = VisionModelExtractor(tmp_path / "csd")
    images = [picture(1, 40), picture(2, 64)[:50], picture(3, 33)]
    settings = json.loads((tmp_path / "csd" / "preprocessor_config.json").read_text(encoding="utf-8"))
    inputs = Preprocessing.model_validate(settings).inputs(images)["pixel_values"]
    assert inputs.shape == (3, 3, 32, 32)
    rows = extractor(images)
    assert rows.shape == (3, STYLE)
    assert rows == pytest.approx(csd(torch.from_numpy(inputs)).numpy(), abs=1e-4)
    assert np.abs(rows[0] - rows[1]).max() > 0.1


def test_the_published_shapes_give_a_vit_l_14() -> None:
    """Widths of the real model; no memory is used for them."""
    sizes = {
        "class_embedding": (1024,),
        "positional_embedding": (257, 1024),
        "conv1.weight": (1024, 3, 14, 14),
        **{f"ln_{place}.{kind}": (1024,) for place in ("pre", "post") for kind in ("weight", "bias")},
    }
    for block in range(24):
        name = f"transformer.resblocks.{block}"
        sizes |= {f"{name}.attn.in_proj_weight": (3072, 1024), f"{name}.attn.in_proj_bias": (3072,)}
        sizes |= {f"{name}.mlp.c_fc.weight": (4096, 1024)}
    tensors = {f"backbone.{name}": torch.empty(size, device="meta") for name, size in sizes.items()}
    config, converted = convert({**tensors, "last_layer_style": torch.empty(1024, 768, device="meta")})
    assert config["num_attention_heads"] == 16
    assert (config["image_size"], config["patch_size"], config["num_hidden_layers"]) == (224, 14, 24)
    assert (config["intermediate_size"], config["projection_dim"]) == (4096, 768)
    assert converted["visual_projection.weight"].shape == (768, 1024)


def test_safetensors_and_bare_tables_are_read_too(csd: CSD, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(csd.state_dict(), tmp_path / "csd.safetensors")
    torch.save(csd.state_dict(), tmp_path / "bare.pth")
    for name in ("csd.safetensors", "bare.pth"):
        assert torch.equal(read_checkpoint(tmp_path / name)["last_layer_style"], csd.last_layer_style)


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path) -> None:
    torch.save({"model_state_dict": {"last_layer_style": Bomb(tmp_path / "ran")}}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    for name in ("a.pth", "b.pth"):
        with pytest.raises(CheckpointError, match="as a file of tensors alone"):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_what_is_no_checkpoint_of_csd_is_one_sentence(
    csd: CSD, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(tmp_path / "absent.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds no table of tensors"):
        read_checkpoint(tmp_path / "list.pth")
    state = csd.state_dict()
    with pytest.raises(CheckpointError, match="is none of CSD's"):
        convert({**state, "logit_scale": torch.ones(1)})
    for name in ("last_layer_style", "backbone.conv1.weight"):
        with pytest.raises(CheckpointError, match="lacks tensors"):
            convert({key: value for key, value in state.items() if key != name})
    with pytest.raises(CheckpointError, match="do not fit together"):
        convert({**state, "backbone.positional_embedding": torch.zeros(4, WIDTH)})
    monkeypatch.setattr(convert_csd, "MAX_BYTES", 3)
    with pytest.raises(CheckpointError, match="is larger than"):
        read_checkpoint(tmp_path / "list.pth")


def test_a_folder_is_written_whole(csd: CSD, tmp_path: Path) -> None:
    write_folder(*convert(csd.state_dict()), tmp_path / "new" / "folder")
    names = {path.name for path in (tmp_path / "new" / "folder").iterdir()}
    assert names == {"config.json", "model.safetensors", "preprocessor_config.json"}
