"""The rules for packs' nodes, run on a real ComfyUI with stand-ins of the same classes and inputs (``standins.py``).

Each coalition must give, pixel for pixel, what a workflow of ComfyUI's own nodes gives in which the component is not.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostutil import Server, start_server
from images_on_disk import MeanColours
from PIL import Image

import copyscope_core as cs
from copyscope_core.planning.plan import Plan, make_plan
from copyscope_core.planning.video import chosen_frames
from copyscope_core.settings import AuditSettings
from copyscope_core.store.runs import STATE_VARIABLE
from copyscope_core.workflow.graph import to_json
from copyscope_core.workflow.node_info import NodeCatalog

from .audits import BASELINE, CHECKPOINT, CONTROLNET, LORA_A, Workflow, node, plain
from .conftest import make_base
from .test_video import own_frames

pytestmark = pytest.mark.host

LORA_B = "copyscope-mini-lora-b.safetensors"
A, B = LORA_A.removesuffix(".safetensors"), LORA_B.removesuffix(".safetensors")
TEXT = "a wave, by hokusai"


@pytest.fixture(scope="module")
def server(mini_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = make_base(tmp_path_factory.mktemp("packs") / "base", mini_models)
    shutil.copy(Path(__file__).parent / "standins.py", base / "custom_nodes" / "copyscope_standins.py")
    Image.new("RGB", (64, 64), (200, 90, 20)).save(base / "input" / "hint.png")
    with start_server(base, pack=False) as running:
        yield running


def pixels(server: Server, graph: dict[str, Any], save: str) -> str:
    """SHA-256 of the pixels that a workflow saves."""
    entry = server.run(graph)
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"]
    (image,) = entry["outputs"][save]["images"]
    with urllib.request.urlopen(f"{server.url}/view?{urllib.parse.urlencode(image)}") as answer:
        return hashlib.sha256(Image.open(io.BytesIO(answer.read())).convert("RGB").tobytes()).hexdigest()


def core(*loras: str, text: str = TEXT, checkpoint: str = CHECKPOINT, control: bool = False) -> Workflow:
    """The same of ComfyUI's own nodes: with these LoRAs, this text and checkpoint."""
    workflow = plain(None)
    workflow["4"]["inputs"]["ckpt_name"] = checkpoint
    last = "4"
    for number, name in enumerate(loras, 50):
        workflow[str(number)] = node("LoraLoader", model=[last, 0], clip=[last, 1], lora_name=name, strength_model=1.0,
                                     strength_clip=1.0)  # fmt: skip
        last = str(number)
    workflow["3"]["inputs"]["model"] = [last, 0]
    for encoder in ("6", "7"):
        workflow[encoder]["inputs"]["clip"] = [last, 1]
    workflow["6"]["inputs"]["text"] = text
    if control:
        workflow["60"] = node("LoadImage", image="hint.png")
        workflow["61"] = node("ControlNetLoader", control_net_name=CONTROLNET)
        workflow["62"] = node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], control_net=["61", 0],
                              image=["60", 0], strength=1.0, start_percent=0.0, end_percent=1.0)  # fmt: skip
        workflow["3"]["inputs"].update(positive=["62", 0], negative=["62", 1])
    return workflow


def on_model(*changed: dict[str, Any], clip: bool = True, source: str = "10") -> Workflow:
    """``plain`` with node 10 (and further ones) in the place of its LoRA."""
    workflow = plain()
    for number, one in enumerate(changed, 10):
        workflow[str(number)] = one
    workflow["3"]["inputs"]["model"] = [source, 0]
    for encoder in ("6", "7"):
        workflow[encoder]["inputs"]["clip"] = [source, 1] if clip else ["4", 1]
    return workflow


def efficient() -> Workflow:
    workflow = plain(None)
    workflow["4"] = node(
        "Efficient Loader", ckpt_name=CHECKPOINT, vae_name="Baked VAE", lora_name=LORA_A, lora_model_strength=1.0,
        lora_clip_strength=1.0, positive=TEXT, negative="blurry", empty_latent_width=64, empty_latent_height=64,
        batch_size=1, lora_stack=["11", 0],
    )  # fmt: skip
    workflow["11"] = node("LoRA Stacker", input_mode="simple", lora_count=1, lora_name_1=LORA_B, lora_wt_1=1.0,
                          lora_name_2=LORA_A, lora_wt_2=1.0, lora_name_3="None", lora_wt_3=1.0)  # fmt: skip
    workflow["3"]["inputs"].update(positive=["4", 1], negative=["4", 2], latent_image=["4", 3])
    workflow["8"]["inputs"]["vae"] = ["4", 4]
    return {key: one for key, one in workflow.items() if key not in ("5", "6", "7")}


def comfyroll() -> Workflow:
    stack = {f"{key}_{n}": value for n in (1, 2, 3)
             for key, value in (("model_weight", 1.0), ("clip_weight", 1.0), ("switch", "On"))}  # fmt: skip
    names = {"lora_name_1": LORA_A, "lora_name_2": LORA_B, "lora_name_3": LORA_A, "switch_3": "Off"}
    return on_model(
        node("CR Apply LoRA Stack", model=["4", 0], clip=["4", 1], lora_stack=["11", 0]),
        node("CR LoRA Stack", **{**stack, **names}),
    )


def control_stack() -> Workflow:
    workflow = core()
    workflow["60"] = node("LoadImage", image="hint.png")
    workflow["61"] = node("CR Multi-ControlNet Stack", switch_1="On", controlnet_1=CONTROLNET,
                          controlnet_strength_1=1.0, image_1=["60", 0], switch_2="Off", controlnet_2=CONTROLNET,
                          controlnet_strength_2=1.0, image_2=["60", 0])  # fmt: skip
    workflow["62"] = node("CR Apply Multi-ControlNet", base_positive=["6", 0], base_negative=["7", 0], switch="On",
                          controlnet_stack=["61", 0])  # fmt: skip
    workflow["3"]["inputs"].update(positive=["62", 0], negative=["62", 1])
    return workflow


def manager() -> Workflow:
    rows = [{"name": name, "strength": 1.0, "active": True, "clipStrength": 1.0} for name in (A, B)]
    text = f"<lora:{A}:1.0> <lora:{B}:1.0>"
    loader = node("Lora Loader (LoraManager)", model=["4", 0], clip=["4", 1], text=text, loras={"__value__": rows})
    return on_model(loader)


def wildcard() -> Workflow:
    text = f"{TEXT} <lora:{A}:1.0>"
    workflow = on_model(node("ImpactWildcardEncode", model=["4", 0], clip=["4", 1], wildcard_text=text,
                             populated_text=text, mode="fixed", seed=1))  # fmt: skip
    workflow["3"]["inputs"]["positive"] = ["10", 2]
    return workflow


def easy() -> Workflow:
    return {
        "1": node("easy fullLoader", ckpt_name=CHECKPOINT, vae_name="Baked VAE", lora_name=LORA_A,
                  lora_model_strength=1.0, lora_clip_strength=1.0, positive=TEXT, negative="blurry"),
        "2": node("easy preSampling", pipe=["1", 0], seed=5),
        "3": node("easy kSampler", pipe=["2", 0], image_output="Hide"),
        "9": node("SaveImage", images=["3", 1], filename_prefix="own"),
    }  # fmt: skip


def any_switch() -> Workflow:
    workflow = on_model(
        node("Any Switch (rgthree)", any_01=["11", 0], any_02=["12", 0]),
        node("LoraLoader", model=["4", 0], clip=["4", 1], lora_name=LORA_A, strength_model=1.0, strength_clip=1.0),
        node("LoraLoader", model=["4", 0], clip=["4", 1], lora_name=LORA_B, strength_model=1.0, strength_clip=1.0),
        clip=False,
    )
    for encoder in ("6", "7"):
        workflow[encoder]["inputs"]["clip"] = ["11", 1]
    return workflow


def in_context() -> Workflow:
    workflow = core(LORA_A)
    workflow["70"] = node("Context (rgthree)", model=["50", 0], positive=["6", 0], negative=["7", 0], seed=["72", 0])
    workflow["71"] = node("Context (rgthree)", base_ctx=["70", 0])
    workflow["72"] = node("PrimitiveInt", value=5)
    workflow["3"]["inputs"].update(model=["71", 1], positive=["71", 4], negative=["71", 5], seed=["71", 8])
    return workflow


def face_id() -> Workflow:
    return on_model(
        node("IPAdapterFaceID", model=["11", 0], ipadapter=["11", 1]),
        node("IPAdapterUnifiedLoaderFaceID", model=["4", 0], preset="FACEID PLUS V2"),
        clip=False,
    )


def tag_loader() -> Workflow:
    return on_model(node("LoraTagLoader", model=["4", 0], clip=["4", 1], text=f"<lora:{A}:1.0> <lora:{B}:1.0>"))


STAND_INS: dict[str, tuple[Workflow, dict[tuple[str, ...], Workflow]]] = {
    "efficiency": (efficient(), {
        (): core(LORA_A, LORA_B), (A,): core(LORA_B), (B,): core(LORA_A), (A, B): core(),
        ("prompt",): core(LORA_A, LORA_B, text=""), (CHECKPOINT.removesuffix(".safetensors"),): core(
            LORA_A, LORA_B, checkpoint=BASELINE),
    }),
    "comfyroll": (comfyroll(), {(): core(LORA_A, LORA_B), (A,): core(LORA_B), (A, B): core()}),
    "comfyroll-controlnet": (control_stack(), {
        (): core(control=True), (CONTROLNET.removesuffix(".safetensors"),): core(),
    }),
    "lora-manager": (manager(), {(): core(LORA_A, LORA_B), (A,): core(LORA_B), (A, B): core()}),
    "lora-tags": (tag_loader(), {(): core(LORA_A, LORA_B), (B,): core(LORA_A), (A, B): core()}),
    "impact": (wildcard(), {(A,): core(text=f"{TEXT}"), (A, "prompt"): core(text="")}),
    "easy-use": (easy(), {(): core(LORA_A), (A,): core(), ("prompt",): core(LORA_A, text="")}),
    "rgthree-switch": (any_switch(), {(): core(LORA_A), (A,): core()}),
    "rgthree-context": (in_context(), {(): core(LORA_A), (A,): core()}),
    "ipadapter": (face_id(), {("FACEID PLUS V2",): core()}),
}  # fmt: skip


@pytest.mark.parametrize("name", STAND_INS)
def test_each_coalition_is_what_its_name_says(server: Server, name: str) -> None:
    workflow, right = STAND_INS[name]
    settings = AuditSettings(baseline_checkpoint=BASELINE)
    plan: Plan = make_plan(workflow, NodeCatalog(server.get("/object_info"), live=True), settings)
    for absent, same in right.items():
        mask = plan.full
        for player in absent:
            mask &= ~(1 << plan.names.index(player))
        graph, target = plan.rewriter.graph(mask)
        sent = {**to_json(graph), "save": node("SaveImage", images=list(target), filename_prefix="coalition")}
        assert pixels(server, sent, "save") == pixels(server, same, "9"), absent


def test_a_packs_video_is_audited_by_its_frames(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    workflow = plain(LORA_A)
    workflow["5"]["inputs"]["batch_size"] = 3
    workflow["9"] = node("VHS_VideoCombine", images=["8", 0], frame_rate=8.0, loop_count=0, filename_prefix="own",
                         format="image/webp", pingpong=False, save_output=True)  # fmt: skip
    given: dict[str, Any] = {"seeds": 1, "frames": 2, "lock": ("prompt",)}
    reference = server.base_dir / "input" / "ref"
    report = cs.audit(
        workflow, reference, tmp_path / "out", server=server.url, control=False, features=MeanColours(), **given
    )
    assert report.clips is not None
    assert report.clips.model_dump() == {"frames": 2, "length": 3}
    made = [image.pixel_sha256 for image in report.coalitions[-1].image_files]
    own = own_frames(server, workflow)
    assert made == [own[place] for place in chosen_frames(3, 2)]
