"""Features of local CLIP, SigLIP and DINO models: against transformers itself, and what is refused.

The models are tiny and random; their folders are made by transformers, as those on Hugging Face are.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from images_on_disk import image_folder
from typer.testing import CliRunner

from copyscope_core.cli import main as cli
from copyscope_core.distances.frechet import frechet_distance
from copyscope_core.errors import CopyScopeError
from copyscope_core.features import local_models
from copyscope_core.features.extractor import FeatureCache
from copyscope_core.features.local_models import VisionModelExtractor
from copyscope_core.features.preprocessing import PatchPreprocessing, Preprocessing
from copyscope_core.files.folders import read_folder
from copyscope_core.files.pixels import pixel_hash
from copyscope_core.store.runs import STATE_VARIABLE
from tests.features.test_extractor import picture

transformers = pytest.importorskip("transformers", reason="transformers, the extra copyscope[clip], is not installed")

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
CROPPED = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}
SIZES = [(40, 40), (64, 20), (20, 64), (31, 47), (500, 9), (1, 1)]
MEAN_STD = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.25]}


def _model(family: str) -> Any:
    vision = {**TOWER, "image_size": 32, "patch_size": 8}
    if family == "clip":
        text = {**TOWER, "vocab_size": 99, "max_position_embeddings": 8}
        return transformers.CLIPModel(
            transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
        )
    if family == "clip_vision_model":
        return transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**vision, projection_dim=24))
    if family == "siglip_vision_model":
        return transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**vision))
    if family == "siglip2":
        text = {**TOWER, "vocab_size": 99, "max_position_embeddings": 8, "bos_token_id": 1, "eos_token_id": 2}
        return transformers.Siglip2Model(
            transformers.Siglip2Config(text_config=text, vision_config={**TOWER, "patch_size": 8, "num_patches": 16})
        )
    if family == "dinov3_vit":
        return transformers.DINOv3ViTModel(
            transformers.DINOv3ViTConfig(**vision, num_register_tokens=2, layerscale_value=0.5)
        )
    if family == "dinov3_convnext":
        return transformers.DINOv3ConvNextModel(
            transformers.DINOv3ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], image_size=32)
        )
    return transformers.Dinov2Model(
        transformers.Dinov2Config(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8
        )
    )


SHAPES = {
    "clip": (CROPPED, 24),
    "clip_vision_model": ({"size": 36, "crop_size": 32}, 24),
    "siglip_vision_model": ({"size": {"height": 32, "width": 32}}, 32),
    "siglip2": ({"patch_size": 8, "max_num_patches": 16}, 32),
    "dinov2": (CROPPED, 32),
    "dinov3_vit": ({"size": {"height": 32, "width": 32}}, 32),
    "dinov3_convnext": ({"size": {"height": 32, "width": 32}}, 32),
}
NAMES = {
    "clip_vision_model": "CLIPVisionModelWithProjection",
    "siglip_vision_model": "SiglipVisionModel",
    "dinov2": "Dinov2Model",
    "dinov3_vit": "DINOv3ViTModel",
    "dinov3_convnext": "DINOv3ConvNextModel",
}


@pytest.fixture(scope="module", params=SHAPES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each kind of model, named after it."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("hf") / request.param
    _model(request.param).save_pretrained(path)
    write_preprocessor(path, **SHAPES[request.param][0])
    return path


@pytest.fixture(scope="module")
def _clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(2)
    path = tmp_path_factory.mktemp("hf") / "clip"
    _model("clip_vision_model").save_pretrained(path)
    write_preprocessor(path, **CROPPED)
    return path


@pytest.fixture
def clip(_clip: Path, tmp_path: Path) -> Path:
    """A folder of a CLIP vision model that the test may spoil."""
    return Path(shutil.copytree(_clip, tmp_path / "My CLIP (v1.0)"))


def write_preprocessor(folder: Path, **settings: Any) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps({**MEAN_STD, **settings}), encoding="utf-8")


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **values}), encoding="utf-8")


def by_hand(folder: Path, pixels: np.ndarray) -> np.ndarray:
    """What transformers itself gives for an image of the network's own size."""
    if folder.name == "clip":
        embed = transformers.CLIPModel.from_pretrained(folder).get_image_features
    elif folder.name == "siglip2":
        processed = transformers.Siglip2ImageProcessor(**MEAN_STD, **SHAPES["siglip2"][0])(pixels, return_tensors="pt")
        model = transformers.Siglip2Model.from_pretrained(folder).vision_model
        with torch.inference_mode():
            return np.asarray(model(**processed).pooler_output[0])
    else:
        embed = getattr(transformers, NAMES[folder.name]).from_pretrained(folder)
    mean, std = (np.array(MEAN_STD[name], dtype=np.float32) for name in ("image_mean", "image_std"))
    values = torch.from_numpy((pixels.astype(np.float32) / 255 - mean) / std).permute(2, 0, 1)[None]
    with torch.inference_mode():
        found = embed(pixel_values=values)
    for name in ("image_embeds", "pooler_output"):
        found = getattr(found, name, found)
    return np.asarray(found[0])


def test_features_are_those_that_transformers_gives(folder: Path) -> None:
    write_preprocessor(folder, **{**SHAPES[folder.name][0], "size": {"height": 32, "width": 32}})
    extractor = VisionModelExtractor(folder, batch_size=2)
    images = [picture(seed, 32)[:, :32] for seed in (1, 2, 3)]
    rows = extractor(images)
    assert rows.dtype == np.float32
    assert rows.shape == (3, SHAPES[folder.name][1]) == (3, extractor.dimension)
    assert np.abs(rows[0] - rows[1]).max() > 1e-3
    for row, image in zip(rows, images, strict=True):
        assert row == pytest.approx(by_hand(folder, image), abs=1e-5)


def test_images_of_any_size_are_brought_to_one_shape(folder: Path) -> None:
    write_preprocessor(folder, **SHAPES[folder.name][0])
    images = [picture(1, 20), picture(2, 64)[:40], picture(3, 50)[:, :37]]
    extractor = VisionModelExtractor(folder)
    together, alone = extractor(images), [extractor([image])[0] for image in images]
    assert together == pytest.approx(np.stack(alone), abs=1e-5)


def test_preprocessing_is_the_models_own_up_to_the_resizer() -> None:
    settings = {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 30}, **MEAN_STD}
    smooth = np.linspace(0, 255, 120 * 90 * 3).reshape(120, 90, 3).astype(np.uint8)
    theirs = transformers.CLIPImageProcessor(**settings)(smooth, return_tensors="np")["pixel_values"][0]
    ours = Preprocessing.model_validate(settings)(smooth)
    assert ours.shape == (32, 30, 3)
    assert np.abs(ours.transpose(2, 0, 1) - theirs).max() < 2 / 255 / 0.2  # they round to 8 bits in between


def test_patches_are_those_of_transformers() -> None:
    """Any aspect. Each image is of one colour, for the resizers differ."""
    settings = {"patch_size": 8, "max_num_patches": 40, **MEAN_STD}
    theirs = transformers.Siglip2ImageProcessor(**settings)
    ours = PatchPreprocessing.model_validate(settings)
    images = [np.full((height, width, 3), 7 * height % 256, dtype=np.uint8) for height, width in SIZES]
    found = ours.inputs(images)
    for row, image in enumerate(images):
        expected = theirs(image, return_tensors="np", input_data_format="channels_last")
        for name, values in found.items():
            assert values[row] == pytest.approx(expected[name][0], abs=1e-5), (name, image.shape)


def test_rows_of_patches_do_not_depend_on_the_images_beside_them(tmp_path: Path) -> None:
    torch.manual_seed(3)
    _model("siglip2").save_pretrained(tmp_path)
    write_preprocessor(tmp_path, **SHAPES["siglip2"][0])
    extractor = VisionModelExtractor(tmp_path)
    wide, tall = picture(1, 64)[:20], picture(2, 64)[:, :20]
    assert np.abs(extractor([wide])[0] - extractor([tall])[0]).max() > 1e-3
    assert extractor([wide, tall]) == pytest.approx(np.stack([extractor([wide])[0], extractor([tall])[0]]), abs=1e-5)


def test_a_kind_of_model_that_transformers_lacks_is_named(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(local_models.FAMILIES, "clip_vision_model", local_models.Family("CLIPOfTheFuture"))
    with pytest.raises(CopyScopeError, match=r"needs a later version of the library transformers than \d"):
        VisionModelExtractor(clip)


def test_the_id_tells_models_weights_and_settings_apart(clip: Path, tmp_path: Path) -> None:
    first = VisionModelExtractor(clip)
    name, weights, settings, *rest = first.id.split(".")
    assert (name, rest) == ("My-CLIP-v1-0", ["clean-bicubic", "f32"])
    assert VisionModelExtractor(clip).id == first.id
    write_preprocessor(clip, size={"height": 32, "width": 32})
    other = VisionModelExtractor(clip).id.split(".")
    assert other[1] == weights
    assert other[2] != settings
    from safetensors.torch import load_file, save_file

    tensors = load_file(clip / "model.safetensors")
    tensors["visual_projection.weight"][0, 0] += 1
    save_file(tensors, clip / "model.safetensors")
    assert VisionModelExtractor(clip).id.split(".")[1] != weights
    cache = FeatureCache(tmp_path / "features", first)
    cache.features([(picture(1, 40), pixel_hash(picture(1, 40)))])
    assert [path.name for path in (tmp_path / "features").iterdir()] == [first.id]


def test_weights_in_parts_give_the_same_features(clip: Path, tmp_path: Path) -> None:
    model = transformers.CLIPVisionModelWithProjection.from_pretrained(clip)
    model.save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    shutil.copy(clip / "preprocessor_config.json", tmp_path / "parts")
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    images = [picture(1, 40)]
    assert np.array_equal(VisionModelExtractor(tmp_path / "parts")(images), VisionModelExtractor(clip)(images))


def test_half_precision_weights_run_in_float32(clip: Path) -> None:
    model = transformers.CLIPVisionModelWithProjection.from_pretrained(clip)
    model.half().save_pretrained(clip)
    rows = VisionModelExtractor(clip)([picture(1, 32)])
    assert not np.array_equal(rows, rows.astype(np.float16))


def test_nothing_is_fetched_and_no_code_or_pickle_is_run(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*args: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(torch, "load", connect)
    (clip / "evil.py").write_text("raise AssertionError('code of the folder was run')\n", encoding="utf-8")
    (clip / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}', encoding="utf-8")
    expected = VisionModelExtractor(clip)([picture(1, 32)])
    change(
        clip / "config.json",
        auto_map={"AutoModel": "evil.CLIP"},
        _attn_implementation="someone/kernel",
        dtype="float16",
    )
    assert np.array_equal(VisionModelExtractor(clip)([picture(1, 32)]), expected)


def _no_projection(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, folder / "model.safetensors")


def _index(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": name}}), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: shutil.rmtree(folder), r"config\.json cannot be read"),
        (lambda folder: (folder / "config.json").write_text("{"), "is no JSON"),
        (lambda folder: (folder / "config.json").write_text("[1]"), "is no JSON object"),
        (lambda folder: change(folder / "config.json", model_type="bert"), "no CLIP, SigLIP or DINO .*'bert'"),
        (lambda folder: change(folder / "config.json", quantization_config={}), "in full precision"),
        (lambda folder: change(folder / "config.json", hidden_size=64), "cannot be used"),
        (lambda folder: change(folder / "config.json", hidden_size="big"), "cannot be used"),
        (lambda folder: change(folder / "config.json", num_hidden_layers=3), "lack .* tensors"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), r"preprocessor_config\.json cannot be read"),
        (lambda folder: change(folder / "preprocessor_config.json", image_mean=[1, 2]), "does not fit: image_mean"),
        (lambda folder: change(folder / "preprocessor_config.json", do_resize=False), "does not fit: do_resize"),
        (lambda folder: change(folder / "preprocessor_config.json", crop_size=None), "needs a crop_size"),
        (lambda folder: change(folder / "preprocessor_config.json", crop_size=99), "larger than size"),
        (lambda folder: change(folder / "preprocessor_config.json", size=40, crop_size=40), "cannot be used"),
        (lambda folder: change(folder / "preprocessor_config.json", size={"height": 9}), "height and width"),
        (_no_projection, r"lack 1 tensors .* visual_projection\.weight"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"rubbish"), "cannot be used"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "never from pickled"),
        (lambda folder: _index(folder, "../outside.safetensors"), "files of its folder"),
        (lambda folder: _index(folder, "absent.safetensors"), "cannot be read for hashing"),
    ],
)
def test_a_folder_that_does_not_fit_is_one_sentence(clip: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(clip)
    with pytest.raises(CopyScopeError, match=message) as found:
        VisionModelExtractor(clip)
    assert "\n" not in str(found.value)
    assert str(clip) in str(found.value)


def test_fid_on_the_command_line(clip: Path, tmp_path: Path) -> None:
    a, b = (image_folder(tmp_path / name, 3, value) for name, value in (("a", 10), ("b", 200)))
    shown = CliRunner().invoke(cli.app, ["fid", str(a), str(b), "--features", str(clip), "--json"])
    result = json.loads(shown.stdout)
    extractor = VisionModelExtractor(clip)
    rows = [extractor([image.pixels for image in read_folder(folder)]) for folder in (a, b)]
    assert result["preprocessing"] == extractor.id
    assert result["fid"] == pytest.approx(frechet_distance(*rows).distance, rel=1e-6)
    assert "not the FID and KID" in CliRunner().invoke(cli.app, ["fid", str(a), str(b), "--features", str(clip)]).stdout


def test_a_score_names_the_model_in_its_report(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    game = tmp_path / "game"
    for name in ("none", "style"):
        image_folder(game / name, 2, len(name))
    coalitions = [{"folder": "none", "members": []}, {"folder": "style", "members": ["style"]}]
    (game / "game.json").write_text(json.dumps({"players": ["style"], "coalitions": coalitions}), encoding="utf-8")
    reference = image_folder(tmp_path / "reference", 3)
    words = ["score", game, "--reference", reference, "--out", tmp_path / "out", "--features", clip, "--json"]
    report = json.loads(CliRunner().invoke(cli.app, [str(word) for word in words]).stdout)
    assert report["preprocessing"] == VisionModelExtractor(clip).id
    assert [w["code"] for w in report["warnings"]].count("other_features") == 1


def test_without_transformers_a_sentence_says_what_to_install(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(CopyScopeError, match=r"pip install 'copyscope\[clip\]'"):
        VisionModelExtractor(clip)


def test_importing_the_command_line_imports_no_transformers() -> None:
    code = "import sys, copyscope_core.cli.main, copyscope_core.features.local_models;"
    code += "sys.exit('transformers' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
