"""``copyscope demo``: the main job on input that ships with the package.

With a ComfyUI on this machine it is a real audit: miniature models that carry known pictures are put together, ComfyUI
is started, and all 8 coalitions of a checkpoint, a LoRA and a prompt are run. With none, the images of such a run,
which ship with the package, are scored. The reference images are public-domain works by Hokusai either way, and the
LoRA is the component that carries some of them.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..auditing.audit import AuditResult
from ..auditing.score import Score, ScoreResult
from ..auditing.servers import ServerChoice
from ..auditing.session import run_audit
from ..comfyui.host import comfyui_version
from ..controls.bank import load_bank
from ..errors import HostError
from ..evaluation.measure import Works
from ..features.extractor import InceptionExtractor
from ..files.folders import check_folder
from ..observer import Observer
from ..settings import AuditSettings
from .models import make_model

DATA = Path(__file__).parent / "images"
REFERENCE = DATA / "reference"
IMAGES = DATA / "coalitions"
COMFYUI_VARIABLE = "COMFYUI_PATH"

CHECKPOINT, BASELINE = "copyscope-zoo.safetensors", "copyscope-zoo-renoir.safetensors"
LORA = "copyscope-zoo-hokusai.safetensors"
SETTINGS = AuditSettings(seeds=4, baseline_checkpoint=BASELINE)
_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    f"checkpoints/{CHECKPOINT}": ("zoo-checkpoint", {}),
    f"checkpoints/{BASELINE}": ("zoo-checkpoint", {"artist": "renoir"}),
    f"loras/{LORA}": ("zoo-lora", {"artist": "hokusai"}),
}


MODELS_SIZE = "0.6 GB"


def find_comfyui(named: Path | None = None) -> Path | None:
    """A usable ComfyUI folder: the one named, else ``COMFYUI_PATH``, else the usual places; None where there is none.

    Raises:
        HostError: the named folder, or that of ``COMFYUI_PATH``, is no ComfyUI or too old.
    """
    chosen = named or (Path(os.environ[COMFYUI_VARIABLE]) if os.environ.get(COMFYUI_VARIABLE) else None)
    if chosen is not None:
        comfyui_version(chosen.expanduser())
        return chosen.expanduser()
    for path in _usual_places():
        try:
            comfyui_version(path)
        except HostError:
            continue
        return path
    return None


def workflow() -> dict[str, Any]:
    """The demo's workflow, API format: checkpoint, LoRA, prompt, eight steps at 128×128."""
    return {
        "1": _node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "2": _node(
            "LoraLoader", model=["1", 0], clip=["1", 1], lora_name=LORA, strength_model=1.0, strength_clip=1.0
        ),
        "3": _node("CLIPTextEncode", text="a puppy in a street", clip=["2", 1]),
        "4": _node("CLIPTextEncode", text="", clip=["2", 1]),
        "5": _node("EmptyLatentImage", width=128, height=128, batch_size=1),
        "6": _node(
            "KSampler", model=["2", 0], positive=["3", 0], negative=["4", 0], latent_image=["5", 0], seed=1831, steps=8,
            cfg=1.0, sampler_name="euler", scheduler="normal", denoise=1.0,
        ),
        "7": _node("VAEDecode", samples=["6", 0], vae=["1", 2]),
        "8": _node("SaveImage", images=["7", 0], filename_prefix="copyscope-demo"),
    }  # fmt: skip


def run_demo(out: Path, comfyui: Path | None, observer: Observer, device: str) -> AuditResult | ScoreResult:
    """Audit on the ComfyUI, or score the shipped images where there is none.

    Raises:
        CopyScopeError: as an audit or a scoring.
    """
    reference = check_folder(REFERENCE)
    if comfyui is None:
        observer.note(
            f"No ComfyUI was found (set {COMFYUI_VARIABLE} or give --comfyui), so the images of an earlier run, which "
            "ship with CopyScope, are scored instead. Nothing is downloaded."
        )
        return Score(IMAGES, Works(reference, bank=load_bank()), out, InceptionExtractor(device), observer).run()
    with tempfile.TemporaryDirectory(prefix="copyscope-demo-", ignore_cleanup_errors=True) as scratch:
        base = Path(scratch)
        observer.note(
            f"Nothing is downloaded: the demo's models ({MODELS_SIZE}) are made here, and removed at the end."
        )
        observer.stage("Making miniature models", len(_MODELS))
        for number, (name, (kind, options)) in enumerate(_MODELS.items(), start=1):
            make_model(kind, base / "models" / name, **options)
            observer.step(number, name)
        file = base / "workflow.json"
        file.write_text(json.dumps(workflow()), encoding="utf-8")
        choice = ServerChoice(comfyui=comfyui, base_directory=base, arguments=("--disable-all-custom-nodes",))
        extractor = InceptionExtractor(device)
        return run_audit(
            file, Works(reference, bank=load_bank()), out, SETTINGS, choice, extractor=extractor, observer=observer
        )


def _usual_places() -> Iterator[Path]:
    home = Path.home()
    yield from (home / "comfy" / "ComfyUI", home / "ComfyUI", home / "Documents" / "ComfyUI")
    repository = Path(__file__).resolve().parents[2]
    if repository.parent.name == "custom_nodes":
        yield repository.parent.parent


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}
