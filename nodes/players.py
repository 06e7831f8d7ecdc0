"""CopyScope Players: baselines, key prompts and locks chosen by hand."""

from __future__ import annotations

import folder_paths
from comfy_api.latest import io

from ..copyscope_core.settings import NOTHING, from_players_node
from .types import PlayerChoice


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
                io.Combo.Input("baseline_checkpoint", options=[NOTHING, *folder_paths.get_filename_list("checkpoints")],
                               default=NOTHING, tooltip="Stands in where the workflow's checkpoint is absent. "
                               "With none, the checkpoint is locked and its own share is not measured."),
                io.Combo.Input("baseline_vae", options=[NOTHING, *folder_paths.get_filename_list("vae")],
                               default=NOTHING,
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
    def execute(cls, **inputs: str) -> io.NodeOutput:
        return io.NodeOutput(from_players_node(inputs))
