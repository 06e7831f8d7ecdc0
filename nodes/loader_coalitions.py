"""CopyScope Loader Coalitions: a whole text-to-image workflow in one node, for people without a graph."""

from __future__ import annotations

from typing import Any

import comfy.samplers
import folder_paths
from comfy_api.latest import io

from ..copyscope_core.planning.own_nodes import NOTHING, from_players_node
from ..copyscope_core.settings import MAX_COALITIONS, AuditSettings
from ..copyscope_core.workflow.graph import Link
from .run.start import start_run
from .types import Coalitions, SettingsChoice

LORA_SLOTS = 6


class LoaderCoalitions(io.ComfyNode):
    """Builds checkpoint → LoRAs → prompts → sampler → VAE from ComfyUI's own nodes and expands to all coalitions."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        checkpoints = folder_paths.get_filename_list("checkpoints")
        loras = [NOTHING, *folder_paths.get_filename_list("loras")]
        stack: list[io.Input] = []
        for slot in range(1, LORA_SLOTS + 1):
            stack.append(io.Combo.Input(f"lora_{slot}", options=loras, default=NOTHING, tooltip="A LoRA, or (none)."))
            stack.append(io.Float.Input(f"strength_{slot}", default=1.0, min=-20.0, max=20.0, step=0.01))
        return io.Schema(
            node_id="CopyScopeLoaderCoalitions",
            display_name="CopyScope Loader Coalitions",
            category="CopyScope",
            description="Audits a checkpoint with LoRAs without building a graph: pick the models, write the prompt.",
            inputs=[
                io.Combo.Input("checkpoint", options=checkpoints),
                io.Combo.Input("baseline_checkpoint", options=[NOTHING, *checkpoints], default=NOTHING,
                               tooltip="Stands in where the checkpoint is absent. With none, it is locked."),
                io.Combo.Input("vae", options=[NOTHING, *folder_paths.get_filename_list("vae")], default=NOTHING,
                               tooltip="A separate VAE, or (none) for the checkpoint's own."),
                io.String.Input("positive", multiline=True, default=""),
                io.String.Input("negative", multiline=True, default=""),
                io.String.Input("key_prompts", multiline=True, default="",
                                tooltip="Phrases of the positive prompt, one a line. Empty: the whole text."),
                io.Int.Input("width", default=512, min=16, max=8192, step=8),
                io.Int.Input("height", default=512, min=16, max=8192, step=8),
                io.Int.Input("batch_size", default=1, min=1, max=64),
                io.Int.Input("seed", default=0, min=0, max=2**64 - 1),
                io.Int.Input("seeds", default=8, min=1, max=4096,
                             tooltip="Seeds per coalition: the one above and the ones after it."),
                io.Int.Input("steps", default=20, min=1, max=1000),
                io.Float.Input("cfg", default=7.0, min=0.0, max=100.0, step=0.1),
                io.Combo.Input("sampler_name", options=comfy.samplers.KSampler.SAMPLERS, default="euler"),
                io.Combo.Input("scheduler", options=comfy.samplers.KSampler.SCHEDULERS, default="normal"),
                *stack,
                io.Int.Input("max_coalitions", default=MAX_COALITIONS, min=2, max=2**16),
                SettingsChoice.Input("settings", optional=True,
                                     tooltip="From CopyScope Settings: a sample of the combinations, groups."),
            ],
            outputs=[Coalitions.Output("coalitions", tooltip="Every coalition's images, stored.")],
            hidden=[io.Hidden.dynprompt, io.Hidden.unique_id],
            enable_expand=True,
        )  # fmt: skip

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> float:
        return float("nan")  # always look at the run folder: what is stored there may have been removed

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        chosen = {name: inputs[name] for name in ("baseline_checkpoint", "key_prompts")}
        settings = AuditSettings.of(
            {
                **(inputs.get("settings") or {}),
                "seeds": inputs["seeds"],
                "max_coalitions": inputs["max_coalitions"],
                **from_players_node(chosen),
            }
        )
        return start_run(build_workflow(inputs), Link("image", 0), settings, set(), cls.hidden)


def build_workflow(inputs: dict[str, Any]) -> dict[str, Any]:
    """The API-format workflow that the node's choices stand for; its image is node ``image``."""

    def node(class_type: str, **values: Any) -> dict[str, Any]:
        return {"class_type": class_type, "inputs": values}

    graph = {"checkpoint": node("CheckpointLoaderSimple", ckpt_name=inputs["checkpoint"])}
    last = "checkpoint"
    for slot in range(1, LORA_SLOTS + 1):
        name, strength = inputs[f"lora_{slot}"], inputs[f"strength_{slot}"]
        if name != NOTHING:
            graph[f"lora_{slot}"] = node(
                "LoraLoader", model=[last, 0], clip=[last, 1], lora_name=name,
                strength_model=strength, strength_clip=strength,
            )  # fmt: skip
            last = f"lora_{slot}"
    vae = ["checkpoint", 2]
    if inputs["vae"] != NOTHING:
        graph["vae"] = node("VAELoader", vae_name=inputs["vae"])
        vae = ["vae", 0]
    size = {name: inputs[name] for name in ("width", "height", "batch_size")}
    sampling = {name: inputs[name] for name in ("seed", "steps", "cfg", "sampler_name", "scheduler")}
    return {
        **graph,
        "positive": node("CLIPTextEncode", text=inputs["positive"], clip=[last, 1]),
        "negative": node("CLIPTextEncode", text=inputs["negative"], clip=[last, 1]),
        "latent": node("EmptyLatentImage", **size),
        "sampler": node("KSampler", model=[last, 0], positive=["positive", 0], negative=["negative", 0],
                        latent_image=["latent", 0], denoise=1.0, **sampling),
        "image": node("VAEDecode", samples=["sampler", 0], vae=vae),
    }  # fmt: skip
