"""The style zoo's tables, crops, training loop and file names. Nothing here trains a real model or needs the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from copyscope_core.demo import shapes as shapes
from copyscope_core.demo.models import unet_lora_layers
from copyscope_core.demo.zoo import read_part
from copyscope_core.files.hashes import file_sha256
from tools.miniature.nets import TinyAutoencoder
from tools.style_zoo import data, pictures, text
from tools.style_zoo.export import MODELS, checkpoint_tensors, export, kohya, packed, unpacked
from tools.style_zoo.gates import gate, sheet_images
from tools.style_zoo.nets import StyleUNet, alphas, lora_change, lora_layers, lora_shapes, warm_autoencoder
from tools.style_zoo.sampling import draw
from tools.style_zoo.training import Deadline, Schedule, alone, read_tensors, save_atomic, train


def test_base_pictures_hold_no_work_of_a_listed_artist() -> None:
    base, works = pictures.table("base"), pictures.table("works")
    hashes = [row["sha256"] for row in base["pictures"]]
    assert len(hashes) == len(set(hashes)) > 500
    assert not {row["sha256"] for row in works["works"]} & set(hashes)
    assert not [row["path"] for row in base["pictures"] if "wesnoth" in row["path"] or "hokusai" in row["path"]]
    assert {row["package"] for row in base["pictures"]} == set(base["packages"])


def test_the_artist_of_the_independent_check_is_nowhere() -> None:
    rows = pictures.table("works")["works"]
    kept_out = (
        "dwarves/lord",
        "dwarves/guard",
        "drakes/",
        "saurians/",
        "gryphon-rider",
        "ancient-wose",
        "death-knight",
    )
    assert not [row["path"] for row in rows if any(name in row["path"] for name in kept_out)]


def test_splits_hold_out_other_works_and_at_least_six_artists() -> None:
    rows = {row["id"]: row for row in pictures.table("works")["works"]}
    roles = pictures.table("works")["artists"]
    artists: dict[str, int] = {}
    for name, split in pictures.splits().items():
        assert split.train, name
        assert split.held, name
        assert not set(split.train) & set(split.held), name
        if not name.startswith("control"):
            (artist,) = {rows[work]["artist"] for work in (*split.train, *split.held)}
            artists[artist] = artists.get(artist, 0) + 1
            assert roles[artist]["role"] != "control"
    assert roles["hokusai"]["role"] == "tune"
    assert len(artists) >= 6
    assert sum(count > 1 for count in artists.values()) >= 3


def test_crops_come_again_with_the_seed_and_keep_to_the_figure() -> None:
    image = Image.new("RGBA", (200, 100), (0, 0, 0, 0))
    image.paste((200, 30, 30, 255), (0, 0, 120, 100))
    image.paste((10, 10, 10, 255), (195, 0, 200, 100))
    made = pictures.crops(image, 6, 16, np.random.default_rng(3))
    assert made.shape == (6, 16, 16, 3)
    assert made.dtype == np.uint8
    assert (made == pictures.crops(image, 6, 16, np.random.default_rng(3))).all()
    assert float((made[..., 0] > 150).mean()) > pictures.COVER


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(b"other")
    with pytest.raises(data.DataError, match="differs"):
        data.checked(path, "0" * 64)
    with pytest.raises(data.DataError, match="missing"):
        data.checked(tmp_path / "none", "0" * 64)


def _fit(path: Path, stops: list[int], steps: int = 30) -> dict[str, Tensor]:
    """Fit a few numbers; the run is stopped at each of ``stops`` and started anew."""
    for end in [*stops, steps]:
        weights = {"a": torch.full((5,), 2.0, requires_grad=True), "b": torch.ones(2, 3, requires_grad=True)}
        done = [0]

        def loss_at(step: int, weights: dict[str, Tensor] = weights, done: list[int] = done) -> Tensor:
            done[0] = step + 1
            noise = torch.randn(5, generator=torch.Generator().manual_seed(step))
            return (weights["a"] - noise).square().mean() + (weights["b"].sum() - noise[0]).square()

        def stop(end: int = end, done: list[int] = done) -> bool:
            return done[0] >= end

        average, _ = train("fit", path, weights, loss_at, Schedule(steps, 0.05, warmup=3), {"seed": 1}, stop)
    return average


def test_training_resumes_to_the_same_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = _fit(tmp_path / "whole.safetensors", [])
    parts = _fit(tmp_path / "parts.safetensors", [7, 19])
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert not list(tmp_path.glob("*.part"))
    said = capsys.readouterr().out
    assert "resumed at step 19/30" in said
    assert "min left" in said


def test_a_state_of_other_settings_is_refused(tmp_path: Path) -> None:
    _fit(tmp_path / "state.safetensors", [], steps=2)
    weights = {"a": torch.zeros(5, requires_grad=True), "b": torch.zeros(2, 3, requires_grad=True)}
    with pytest.raises(ValueError, match="other settings"):
        train(
            "fit",
            tmp_path / "state.safetensors",
            weights,
            lambda step: weights["a"].sum(),
            Schedule(3, 0.1),
            {"seed": 2},
            lambda: False,
        )


def test_saving_never_leaves_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.safetensors"
    save_atomic(path, {"a": torch.ones(3)}, {"step": "1"})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tools.style_zoo.training.os.fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        save_atomic(path, {"a": torch.zeros(3)}, {"step": "2"})
    tensors, metadata = read_tensors(path)
    assert metadata["step"] == "1"
    assert torch.equal(tensors["a"], torch.ones(3))


def test_two_trainers_never_train_the_same_model(tmp_path: Path) -> None:
    with alone(tmp_path, "base"), pytest.raises(SystemExit, match="Another run trains base"), alone(tmp_path, "base"):
        pass
    with alone(tmp_path, "base"), alone(tmp_path, "lora-kitty-1"):
        pass


def test_a_deadline_ends_a_run() -> None:
    assert not Deadline(None)()
    assert Deadline(1e-9)()


def test_lora_layers_have_the_names_that_comfyui_knows() -> None:
    unet = StyleUNet()
    layers, shapes_ = lora_layers(unet), dict(unet.named_parameters())
    known = unet_lora_layers(shapes.SD15)
    assert set(known) <= set(layers.values())
    for name, key in layers.items():
        down, up = lora_shapes(shapes_[f"{name}.weight"], 8)
        assert lora_change(torch.zeros(down), torch.zeros(up)).shape == shapes_[f"{name}.weight"].shape
        if key in known:
            assert (up[0], down[1]) == known[key]
    parts = {}
    for name in layers:
        down, up = lora_shapes(shapes_[f"{name}.weight"], 8)
        parts |= {f"{name}.down": torch.ones(down), f"{name}.up": torch.ones(up)}
    made = kohya(parts, layers, 8)
    assert len(made) == 3 * len(layers)
    assert float(made["lora_unet_mid_block_resnets_1_conv2.alpha"]) == 8


def test_a_checkpoint_has_the_tensors_of_the_miniature_one() -> None:
    made = checkpoint_tensors(StyleUNet().state_dict(), TinyAutoencoder().state_dict())
    wanted = {f"model.diffusion_model.{t.name}": t.shape for t in shapes.unet(shapes.SD15)}
    wanted |= {f"first_stage_model.{t.name}": t.shape for t in shapes.tiny_autoencoder(4, 1.0, 0.0)}
    assert {name: tuple(value.shape) for name, value in made.items()} == wanted


def test_the_autoencoder_starts_where_the_shipped_one_stands() -> None:
    known = {name: torch.from_numpy(np.asarray(a, np.float32)) for name, a in read_part("autoencoder").items()}
    zeros = {name: torch.zeros_like(value) for name, value in TinyAutoencoder().named_parameters()}
    shipped, warm = TinyAutoencoder(), warm_autoencoder(zeros | known, 0)
    shipped.load_state_dict({name: (zeros | known)[name] for name in zeros})
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(warm.taesd_encoder(picture), shipped.taesd_encoder(picture), atol=1e-4)
    warm.taesd_encoder(picture).square().sum().backward()
    last = warm.taesd_encoder[14].weight.grad
    assert last is not None
    assert float(last[:, 8:].abs().sum()) > 0


def test_a_fresh_unet_adds_nothing_and_draws_its_own_shape() -> None:
    unet = StyleUNet()
    made = draw(
        unet, dict(unet.named_parameters()), torch.ones(77, 768), torch.zeros(77, 768), torch.randn(2, 4, 2, 2), steps=2
    )
    assert made.shape == (2, 4, 2, 2)
    assert torch.isfinite(made).all()
    signal = alphas(torch.device("cpu"))
    assert len(signal) == 1000
    assert float(signal[0]) == pytest.approx(0.99915, abs=1e-5)
    assert float(signal[-1]) == pytest.approx(0.0047, abs=1e-4)


def test_texts_are_few_and_distinct() -> None:
    texts = text.texts()
    assert len(texts) == len(set(texts)) < 250
    assert "" in texts
    assert "a woman in the style of kitty" in texts


def test_eight_bits_keep_a_model_and_nothing_more_is_lost_by_packing_again() -> None:
    unet = {name: value.detach() for name, value in StyleUNet().named_parameters()}
    again = unpacked(packed(unet))
    assert set(again) == set(unet)
    for name, value in unet.items():
        assert float((again[name] - value).norm()) <= 0.012 * float(value.norm()) + 1e-6, name
    twice = packed(again)
    assert all(
        torch.equal(twice[name], kept) for name, kept in packed(unpacked(twice)).items() if kept.dtype == torch.int8
    )


def test_what_was_trained_is_what_the_list_of_hashes_says() -> None:
    lines = (MODELS / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    listed = {name: digest for digest, name in (line.split() for line in lines)}
    assert set(listed) == {f"{model.name}.safetensors" for model in pictures.models()} | {
        "base.safetensors",
        "autoencoder.safetensors",
    }
    assert all(file_sha256(MODELS / name) == digest for name, digest in listed.items())


def test_export_writes_what_comfyui_reads_and_leaves_alone_what_is_there(tmp_path: Path) -> None:
    written = export(tmp_path, only={"style-kitty-1", "style-none", "style-noisy"})
    assert {path.name for path in written} == {f"style-{name}.safetensors" for name in ("kitty-1", "none", "noisy")}
    one, none, noisy = (
        load_file(tmp_path / "loras" / f"style-{name}.safetensors") for name in ("kitty-1", "none", "noisy")
    )
    assert all(name.startswith("lora_unet_") for name in one)
    assert all(float(value.abs().max()) == 0 for name, value in none.items() if name.endswith("lora_up.weight"))
    name = "lora_unet_mid_block_resnets_1_conv2.lora_up.weight"
    assert 0 < float((one[name] - noisy[name]).float().norm()) < 0.1 * float(one[name].float().norm())
    assert export(tmp_path, only={"style-kitty-1"}) == []


def test_a_gate_needs_style_and_refuses_stored_pictures() -> None:
    rng = np.random.default_rng(0)

    def rows(centre: float, count: int = 12) -> np.ndarray:
        return (rng.normal(size=(count, 2974)) + centre * np.linspace(-1, 1, 2974)).astype(np.float32)

    base, held, trained = rows(0), rows(3), rows(3)
    found = gate("learned", rows(3), base, held, trained)
    assert found["learned"]
    stored = np.concatenate([rows(3), trained[:1]])
    assert not gate("stored", stored, base, held, trained)["stored_nothing"]
    assert not gate("idle", rows(0), rows(1), held, trained)["learned"]


def test_the_images_of_a_sample_sheet_come_back(tmp_path: Path) -> None:
    images = torch.rand(16, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    pictures.contact_sheet(images, tmp_path / "sheet.png", 8, 2)
    wanted = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert (sheet_images(tmp_path / "sheet.png") == wanted).all()
