"""CopyScope Players: baselines, key prompts and locks chosen by hand."""

from __future__ import annotations

import folder_paths
from comfy_api.latest import io

from .types import PlayerChoice

NONE = "(none)"


class Players(io.ComfyNode):
    """Chooses what the enumerator measures and what stands in for absent components."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CopyScopePlayers",
            display_name="CopyScope Players",
            category="CopyScope",
            description="Baselines, key prompts and locks. Components are named by name, node id, kind or file name.",
            inputs=[
                io.Combo.Input("baseline_checkpoint", options=[NONE, *folder_paths.get_filename_list("checkpoints")],
                               default=NONE, tooltip="Stands in where the workflow's checkpoint is absent. "
                               "With none, the checkpoint is locked and its own share is not measured."),
                io.Combo.Input("baseline_vae", options=[NONE, *folder_paths.get_filename_list("vae")], default=NONE,
                               tooltip="Stands in where the VAE is absent. With none, the checkpoint's own VAE does."),
                io.String.Input("key_prompts", multiline=True, default="",
                                tooltip="Phrases of the positive prompt, one a line. Empty: the whole text."),
                io.String.Input("neutral_prompt", multiline=True, default="",
                                tooltip="Text that stands where the prompt is absent."),
                io.String.Input("only", multiline=True, default="",
                                tooltip="Only these components are players, one a line. Empty: all."),
                io.String.Input("lock", multiline=True, default="",
                                tooltip="Components that are always present, one a line."),
                io.String.Input("image_players", multiline=True, default="", optional=True,
                                tooltip="Node ids of image loaders that are players too, one a line."),
                io.String.Input("baseline_models", multiline=True, default="", optional=True,
                                tooltip="Other baselines, one a line: node id = file name."),
            ],
            outputs=[PlayerChoice.Output("players")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        baseline_checkpoint: str,
        baseline_vae: str,
        key_prompts: str,
        neutral_prompt: str,
        only: str,
        lock: str,
        image_players: str = "",
        baseline_models: str = "",
    ) -> io.NodeOutput:
        pairs = (line.partition("=") for line in _lines(baseline_models))
        return io.NodeOutput(
            {
                "baseline_checkpoint": None if baseline_checkpoint == NONE else baseline_checkpoint,
                "baseline_vae": None if baseline_vae == NONE else baseline_vae,
                "key_prompts": _lines(key_prompts),
                "neutral_prompt": neutral_prompt.strip(),
                "players": _lines(only),
                "lock": _lines(lock),
                "image_players": _lines(image_players),
                "baseline_models": {node.strip(): file.strip() for node, _, file in pairs},
            }
        )


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())
