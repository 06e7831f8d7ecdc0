"""Every family of miniature models on a real ComfyUI: loads, runs, gives pictures, and each component changes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostutil import Server, require_host, start_server
from PIL import Image

from copyscope_core.demo.models import make_model_folder

Graph = dict[str, dict[str, Any]]
FAMILIES = ["sd15", "sdxl", "flux", "zoo"]
WITH_T5 = bool(os.environ.get("COPYSCOPE_TEST_T5"))
"""T5-XXL takes 10 GB of memory and a minute or two a text: only on request."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    require_host()
    base = tmp_path_factory.mktemp("miniature")
    make_model_folder(base / "models", FAMILIES + (["flux-t5"] if WITH_T5 else []))
    (base / "input").mkdir()
    hint = np.zeros((64, 64, 3), np.uint8)
    hint[16:48, 16:48] = 255
    Image.fromarray(hint).save(base / "input" / "hint.png")
    with start_server(base, pack=False) as running:
        yield running


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def finish(graph: Graph, model: list[Any], vae: list[Any], size: int = 64, cfg: float = 4.0, steps: int = 4) -> Graph:
    positive, negative = graph.pop("ends")["inputs"].values()
    graph["latent"] = node("EmptyLatentImage", width=size, height=size, batch_size=2)
    settings = {"seed": 1, "steps": steps, "cfg": cfg, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    ends = {"positive": positive, "negative": negative, "latent_image": ["latent", 0]}
    graph["sampler"] = node("KSampler", model=model, **ends, **settings)
    graph["decode"] = node("VAEDecode", samples=["sampler", 0], vae=vae)
    graph["save"] = node("SaveImage", images=["decode", 0], filename_prefix="mini")
    return graph


def checkpoint(
    name: str, text: str = "a boat", lora: str = "", vae: str = "", control: bool = False, **options: Any
) -> Graph:
    graph = {"ckpt": node("CheckpointLoaderSimple", ckpt_name=f"copyscope-{name}.safetensors")}
    model, clip = ["ckpt", 0], ["ckpt", 1]
    if lora:
        file = f"copyscope-{lora}.safetensors"
        graph["lora"] = node("LoraLoader", model=model, clip=clip, lora_name=file, strength_model=1, strength_clip=1)
        model, clip = ["lora", 0], ["lora", 1]
    graph["positive"] = node("CLIPTextEncode", clip=clip, text=text)
    graph["negative"] = node("CLIPTextEncode", clip=clip, text="")
    graph["ends"] = node("", positive=["positive", 0], negative=["negative", 0])
    if control:
        graph["hint"] = node("LoadImage", image="hint.png")
        graph["net"] = node("ControlNetLoader", control_net_name="copyscope-mini-controlnet.safetensors")
        given = {"control_net": ["net", 0], "image": ["hint", 0], **graph["ends"]["inputs"]}
        graph["apply"] = node("ControlNetApplyAdvanced", strength=1.0, start_percent=0.0, end_percent=1.0, **given)
        graph["ends"] = node("", positive=["apply", 0], negative=["apply", 1])
    if vae:
        graph["vae"] = node("VAELoader", vae_name=f"copyscope-{vae}.safetensors")
    return finish(graph, model, ["vae", 0] if vae else ["ckpt", 2], **options)


def flux(text: str = "a boat", lora: str = "", t5: bool = False) -> Graph:
    clip = {"clip_name1": "copyscope-mini-clip-l.safetensors", "clip_name2": "copyscope-mini-clip-l.safetensors"}
    if t5:
        clip["clip_name2"] = "copyscope-mini-t5.safetensors"
    graph = {
        "unet": node("UNETLoader", unet_name="copyscope-mini-flux.safetensors", weight_dtype="default"),
        "clip": node("DualCLIPLoader", **clip, type="flux" if t5 else "sd3"),
        "vae": node("VAELoader", vae_name="copyscope-mini-flux-vae.safetensors"),
        "text": node("CLIPTextEncode", clip=["clip", 0], text=text),
        "positive": node("FluxGuidance", conditioning=["text", 0], guidance=3.5),
        "negative": node("ConditioningZeroOut", conditioning=["text", 0]),
        "ends": node("", positive=["positive", 0], negative=["negative", 0]),
    }
    model = ["unet", 0]
    if lora:
        file = f"copyscope-{lora}.safetensors"
        graph["lora"] = node("LoraLoaderModelOnly", model=model, lora_name=file, strength_model=1)
        model = ["lora", 0]
    graph = finish(graph, model, ["vae", 0], cfg=1.0)
    graph["latent"]["class_type"] = "EmptySD3LatentImage"
    return graph


def pictures(server: Server, graph: Graph) -> np.ndarray:
    """What a graph makes, as numbers in 0…255."""
    entry = server.run(graph, timeout=600)
    assert entry["status"]["status_str"] == "success", entry["status"]
    found: list[np.ndarray] = []
    for image in entry["outputs"]["save"]["images"]:
        with Image.open(Path(server.base_dir) / "output" / image["subfolder"] / image["filename"]) as file:
            found.append(np.asarray(file.convert("RGB"), np.float32))
    made = np.stack(found)
    assert made.std() > 8, "a constant picture"
    assert 10 < made.mean() < 245, "black or white pictures"
    return made


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).mean())


def test_sd15(server: Server) -> None:
    plain = pictures(server, checkpoint("mini-sd15"))
    assert difference(plain[:1], plain[1:]) > 5
    for changed in (
        {"text": "portrait of a woman"},
        {"lora": "mini-lora-a"},
        {"lora": "mini-lora-b"},
        {"vae": "mini-vae"},
        {"control": True},
    ):
        assert difference(plain, pictures(server, checkpoint("mini-sd15", **changed))) > 3, changed
    assert difference(plain, pictures(server, checkpoint("mini-sd15-baseline"))) > 3
    assert np.array_equal(plain, pictures(server, checkpoint("mini-sd15", lora="mini-lora-none")))


def test_sdxl(server: Server) -> None:
    plain = pictures(server, checkpoint("mini-sdxl"))
    assert difference(plain, pictures(server, checkpoint("mini-sdxl", lora="mini-sdxl-lora"))) > 3


def test_flux(server: Server) -> None:
    plain = pictures(server, flux())
    assert difference(plain, pictures(server, flux(lora="mini-flux-lora"))) > 3
    assert difference(plain, pictures(server, flux(text="a portrait"))) > 1


@pytest.mark.skipif(not WITH_T5, reason="set COPYSCOPE_TEST_T5=1 to run T5-XXL (10 GB of memory, minutes)")
def test_flux_with_t5(server: Server) -> None:
    plain = pictures(server, flux(t5=True))
    assert difference(plain, pictures(server, flux(text="a portrait", t5=True))) > 1


ZOO = {"size": 128, "cfg": 1.0, "steps": 8}


def reference(artist: str, work: str) -> np.ndarray:
    """The middle square of a work, coarse: 8 x 8 pixels."""
    path = Path(__file__).resolve().parents[2] / "samples" / "reference" / artist / f"{work}.jpg"
    with Image.open(path) as image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.convert("RGB").crop((left, top, left + side, top + side)).resize((8, 8), Image.Resampling.BOX)
    return np.asarray(square, np.float32)


def coarse(made: np.ndarray) -> np.ndarray:
    return made.reshape(-1, 8, 16, 8, 16, 3).mean((2, 4))


def test_zoo_lora_brings_its_work(server: Server) -> None:
    """With Van Gogh's LoRA the picture becomes his village street; with Kandinsky's it does not."""
    work = reference("van-gogh", "village-street-in-auvers")
    distances = {}
    for lora in ("", "zoo-van-gogh", "zoo-kandinsky"):
        made = pictures(server, checkpoint("zoo", text="a yellow rose", lora=lora, **ZOO))
        distances[lora] = float(np.abs(coarse(made) - work).mean())
    assert distances["zoo-van-gogh"] < 0.6 * min(distances[""], distances["zoo-kandinsky"]), distances


def test_zoo_knows_its_words(server: Server) -> None:
    rose = pictures(server, checkpoint("zoo", text="photo of a yellow rose, sharp", **ZOO))
    lisa = pictures(server, checkpoint("zoo", text="mona lisa", **ZOO))
    assert difference(rose[:1], rose[1:]) > 1, "seeds give the same picture"
    assert difference(rose, lisa) > 3 * difference(rose[:1], rose[1:])
    assert lisa.mean() < rose.mean()
