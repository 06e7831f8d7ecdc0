"""An audit of a video: what `docs/video.md` tells. Frames as what they are beside frames taken for images of their own.

    python -m studies.video --comfyui ~/comfy/ComfyUI --out video-audit

A miniature checkpoint and a LoRA that carries pictures by Hokusai make clips of 8 frames: a picture is sampled, and
each frame is sampled a little further from it with noise of its own, so frames of one clip resemble each other as those
of a video do. The audit is what `copyscope audit` does with the workflow that is written to the folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from copyscope_core.auditing.servers import ServerChoice
from copyscope_core.auditing.session import run_audit
from copyscope_core.cli.terminal import observer
from copyscope_core.demo.demo import CHECKPOINT, LORA, REFERENCE
from copyscope_core.demo.models import make_model
from copyscope_core.evaluation.evaluate import Evaluation, evaluate
from copyscope_core.evaluation.measure import Works
from copyscope_core.evidence.verify_numbers import stored_features
from copyscope_core.features.extractor import FeatureCache, InceptionExtractor
from copyscope_core.files.folders import check_folder
from copyscope_core.report.report import Report
from copyscope_core.report.text import summary_text
from copyscope_core.settings import AuditSettings
from copyscope_core.store.run_store import FEATURES

LENGTH = 8
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    f"checkpoints/{CHECKPOINT}": ("zoo-checkpoint", {}),
    f"loras/{LORA}": ("zoo-lora", {"artist": "hokusai"}),
}


def workflow() -> dict[str, Any]:
    """Checkpoint, LoRA, prompt; one picture, eight frames from it, a video."""

    def node(class_type: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": class_type, "inputs": inputs}

    sampling = {"model": ["2", 0], "positive": ["3", 0], "negative": ["4", 0], "seed": 1831, "cfg": 1.0,
                "sampler_name": "euler", "scheduler": "normal"}  # fmt: skip
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "2": node("LoraLoader", model=["1", 0], clip=["1", 1], lora_name=LORA, strength_model=1.0, strength_clip=1.0),
        "3": node("CLIPTextEncode", text="a puppy in a street", clip=["2", 1]),
        "4": node("CLIPTextEncode", text="", clip=["2", 1]),
        "5": node("EmptyLatentImage", width=128, height=128, batch_size=1),
        "6": node("KSampler", **sampling, latent_image=["5", 0], steps=8, denoise=1.0),
        "7": node("RepeatLatentBatch", samples=["6", 0], amount=LENGTH),
        "8": node("KSampler", **sampling, latent_image=["7", 0], steps=2, denoise=0.4),
        "9": node("VAEDecode", samples=["8", 0], vae=["1", 2]),
        "10": node("CreateVideo", images=["9", 0], fps=8.0),
        "11": node("SaveVideo", video=["10", 0], filename_prefix="video/clip", format="auto", codec="auto"),
    }


def again(report: Report, folder: Path, clips: bool) -> Evaluation:
    """The numbers of a report's stored features, with frames as frames or as images of their own."""
    cache = FeatureCache(folder / FEATURES, InceptionExtractor())
    features = stored_features(report, cache.stored)
    seeds: dict[int, list[int | None]] = {}
    for item in report.coalitions:
        seeds[item.mask] = [image.seed if clips else place for place, image in enumerate(item.image_files)]
    names = [player.name for player in report.players]
    return evaluate(
        names, features.coalitions, features.reference,
        seeds=seeds, clips=clips, views=InceptionExtractor.views, preprocessing=InceptionExtractor.id,
    )  # fmt: skip


def main() -> None:
    """Run the audit and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--frames", type=int, default=4)
    given = parser.parse_args()
    for name, (kind, options) in MODELS.items():
        if not (path := given.out / "base" / "models" / name).exists():
            make_model(kind, path, **options)
    file = given.out / "workflow.json"
    file.write_text(json.dumps(workflow(), indent=1), encoding="utf-8")
    run = given.out / "run"
    choice = ServerChoice(
        comfyui=given.comfyui, base_directory=given.out / "base", arguments=("--cpu", "--disable-all-custom-nodes")
    )
    settings = AuditSettings(seeds=given.seeds, frames=given.frames)
    with observer() as shown:
        report = run_audit(file, Works(check_folder(REFERENCE)), run, settings, choice, observer=shown).report
    print(summary_text(report))
    for clips in (True, False):
        found = again(report, run, clips)
        assert found.uncertainty is not None
        assert np.allclose(found.shapley, [player.shapley for player in report.players])
        print("frames of clips" if clips else "\nframes as images of their own")
        for place, name in enumerate(found.players):
            low, high = found.uncertainty.shapley[place]
            kid = None if found.kid_shapley is None else found.kid_shapley[place]
            print(f"  {name}: φ {found.shapley[place]:.2f}, 95% {low:.2f} to {high:.2f}, KID φ {kid:.5f}")
        print(f"  KID of the whole workflow {found.kid[-1]:.5f}")


if __name__ == "__main__":
    main()
