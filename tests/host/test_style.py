"""Style by a diffusion model on a real host: in a graph and by the command, of every kind of model, and refusals.

Pictures are small here; the models are the miniatures.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostutil import REPOSITORY, Server, host_python, require_host, start_server
from images_on_disk import png_bytes

from copyscope_core.auditing.servers import ServerChoice
from copyscope_core.auditing.session import run_audit
from copyscope_core.auditing.shared_style import SharedStyle
from copyscope_core.comfyui.style_prompt import STYLE_NODE, Style, style_prompt, told_style
from copyscope_core.demo.models import make_model_folder
from copyscope_core.evaluation.measure import Works
from copyscope_core.evidence.verify import Verifier
from copyscope_core.features.extractor import InceptionExtractor
from copyscope_core.files.folders import read_folder
from copyscope_core.settings import AuditSettings
from copyscope_core.store.runs import STATE_VARIABLE

from .audits import BASELINE, CHECKPOINT, LORA_A, Workflow, audited, error_of, node, plain, report_of, values
from .conftest import make_base

FLUX = "copyscope-mini-flux.safetensors"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    require_host()
    folder = tmp_path_factory.mktemp("style")
    make_model_folder(folder / "models", ["sd15", "flux"])
    base = make_base(folder / "base", folder / "models")
    shutil.copy(Path(__file__).parent / "small_style.py", base / "custom_nodes")
    with start_server(base) as running:
        running.run({"1": node("CopyScopeTestSmallStyle", size=64)})
        yield running


def audit(style: bool = True, **wired: Any) -> Workflow:
    """An audit of one LoRA, with the style of a checkpoint that is none of the workflow's."""
    workflow = audited(plain(), seeds=2, lock="prompt")
    if style:
        workflow["30"] = node("CheckpointLoaderSimple", ckpt_name=BASELINE)
        workflow["22"]["inputs"].update({"style_model": ["30", 0], "style_vae": ["30", 2], **wired})
    return workflow


def style_of(server: Server, prompt: Workflow) -> Style:
    entry = server.run(prompt)
    assert entry["status"]["status_str"] == "success", error_of(entry)
    return told_style(entry)


def flux(image: bytes, vae: str) -> Workflow:
    prompt: Workflow = style_prompt("", image)
    prompt["1"] = node("UNETLoader", unet_name=FLUX, weight_dtype="default")
    prompt["3"] = node("VAELoader", vae_name=vae)
    prompt["2"]["inputs"]["vae"] = ["3", 0]
    return prompt


def files(server: Server, *folders: str) -> set[Path]:
    return {path for folder in folders for path in (server.base_dir / folder).rglob("*") if path.is_file()}


def test_a_graph_and_the_command_give_the_same_style(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    without, graph = report_of(server.run(audit(style=False))), report_of(server.run(audit()))
    assert re.fullmatch(
        r"fid-inception-2015-12-05\.clean-bicubic-299\.folded-f32\.introstyle-[0-9a-f]{16}-out1-t25-64px-4",
        graph["preprocessing"],
    )
    assert graph["views"] == {"content": [0, 2048], "style": [2048, 2048 + 640]}
    assert values(graph) == values(without)  # content stays FID's
    assert "other_features" not in [warning["code"] for warning in graph["warnings"]]
    here, there = (report["players"][0]["style_shapley"] for report in (graph, without))
    assert here != 0
    assert here != pytest.approx(there, rel=1e-3)

    (tmp_path / "workflow.json").write_text(json.dumps(plain()), encoding="utf-8")
    works = Works(read_folder(server.base_dir / "input" / "ref"))
    settings, out, before = AuditSettings(seeds=2, lock=("prompt",)), tmp_path / "out", files(server, "input", "output")
    report = run_audit(
        tmp_path / "workflow.json", works, out, settings, ServerChoice((server.url,)), style=SharedStyle(BASELINE, True)
    ).report
    assert report.preprocessing == graph["preprocessing"]
    assert values(report.model_dump())["pixels"] == values(graph)["pixels"]
    assert report.players[0].style_shapley == here
    assert files(server, "input", "output") == before
    assert STYLE_NODE not in json.dumps(server.get("/history"))
    checked = Verifier(out, InceptionExtractor(), reference=server.base_dir / "input" / "ref").run()
    assert checked.findings == ()


def test_style_is_that_of_the_image_and_of_no_lora_that_was_run_before(server: Server) -> None:
    one, other = (style_prompt(CHECKPOINT, png_bytes(seed)) for seed in (1, 2))
    first, second = style_of(server, one), style_of(server, other)
    assert first.id == second.id
    assert np.linalg.norm(np.subtract(first.numbers, second.numbers)) > 0.01
    assert style_of(server, one) == first
    assert style_of(server, style_prompt(BASELINE, png_bytes(1))).id != first.id
    sampled = plain()  # its LoRA is in the weights of the loader's model, which the next prompt takes over
    server.run(sampled)
    again: Workflow = {"4": sampled["4"], "2": node(STYLE_NODE, model=["4", 0], vae=["4", 2])}
    again["2"]["inputs"]["image"] = one["2"]["inputs"]["image"]
    assert style_of(server, again) == first


def test_a_model_and_a_vae_from_loaders_of_their_own(server: Server) -> None:
    style = style_of(server, flux(png_bytes(1), "copyscope-mini-flux-vae.safetensors"))
    assert ("-double0-" in style.id, len(style.numbers)) == (True, 2 * 3072)
    assert all(deviation >= 0 for deviation in style.numbers[3072:])


def test_every_architecture_shows_its_block_and_of_that_the_image() -> None:
    """UNets of three levels: the end of up-block 1, brought back to the latent's 8 × 8.

    Transformers of four blocks, with patches of 2 × 2: 16 places of the third block, without the prompt's 77 tokens.
    """
    host = require_host()
    script = Path(__file__).parent / "style_in_process.py"
    done = subprocess.run(
        [str(host_python(host)), str(script), str(host), str(REPOSITORY)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    seen = json.loads(done.stdout.strip().rpartition("\n")[2])
    refused = seen.pop("pixart")
    assert "not known which block of a PixArt model shows style" in refused
    assert seen == {
        "sd15": ["out3", 64, [4, 64, 64], 0, True],
        "sdxl": ["out3", 64, [4, 64, 64], 0, True],
        "flux": ["single1", 64, [4, 64, 16], 0, True],
        "sd3": ["joint2", 128, [4, 128, 16], 0, True],
        "qwen": ["block2", 64, [4, 64, 16], 0, True],
    }


def test_what_is_no_fixed_yardstick_or_does_not_fit_is_refused(server: Server) -> None:
    patched: Workflow = style_prompt(BASELINE, png_bytes(1))
    patched["3"] = node("LoraLoaderModelOnly", model=["1", 0], lora_name=LORA_A, strength_model=1.0)
    patched["2"]["inputs"]["model"] = ["3", 0]
    assert "patched, by a LoRA for one" in error_of(server.run(patched))
    shifted: Workflow = style_prompt(BASELINE, png_bytes(1))
    shifted["3"] = node("ModelSamplingDiscrete", model=["1", 0], sampling="v_prediction", zsnr=False)
    shifted["2"]["inputs"]["model"] = ["3", 0]
    assert "no fixed yardstick" in error_of(server.run(shifted))
    wrong = flux(png_bytes(1), "copyscope-mini-vae.safetensors")
    assert "wire the VAE that belongs to the model" in error_of(server.run(wrong))


def test_an_image_that_is_none_is_refused(server: Server) -> None:
    prompt: Workflow = style_prompt(BASELINE, b"no image")
    assert "sent.png is not an image" in error_of(server.run(prompt))
    prompt["2"]["inputs"]["image"] = "***"
    assert "no base64" in error_of(server.run(prompt))
    svg = base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode()
    prompt["2"]["inputs"]["image"] = svg
    assert "is not an image" in error_of(server.run(prompt))


@pytest.mark.parametrize("missing", ["style_model", "style_vae"])
def test_one_of_the_two_sockets_is_not_enough(server: Server, missing: str) -> None:
    workflow = audit()
    del workflow["22"]["inputs"][missing], workflow["9"]
    status, answer = server.post("/prompt", {"prompt": workflow})
    assert status == 400
    assert "style_model and style_vae go together" in json.dumps(answer["node_errors"]["22"])
