"""CopyScope Players: baselines, key prompts and locks chosen by hand."""

from __future__ import annotations

import folder_paths
from comfy_api.latest import io

from ..copyscope_core.planning.own_nodes import NOTHING, from_players_node
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
                                placeholder="key_prompts: phrases that are players, one a line; empty: the whole text",
                                tooltip="Phrases of the positive prompt that are players, one a line. "
                                "Empty: the whole text is one player."),
                io.String.Input("neutral_prompt", multiline=True, default="",
                                placeholder="neutral_prompt: text where the prompt is absent; empty: none",
                                tooltip="Stands where the whole positive prompt is absent. "
                                "Empty: no text."),
                io.String.Input("only", multiline=True, default="",
                                placeholder="only: the components to measure, one a line; empty: all",
                                tooltip="Just these components are players, all others are locked. One a line: "
                                "name, node id, kind or file name. Empty: all are players."),
                io.String.Input("lock", multiline=True, default="",
                                placeholder="lock: components that are always present, one a line; empty: none",
                                tooltip="Components that are present in every coalition and not measured. "
                                "One a line: name, node id, kind (such as prompt) or file name."),
                io.String.Input("image_players", multiline=True, default="", optional=True,
                                placeholder="image_players: node ids of image loaders to measure, one a line",
                                tooltip="Node ids of image loaders that are players too, one a line. "
                                "A grey image stands where one is absent."),
                io.String.Input("baseline_models", multiline=True, default="", optional=True,
                                placeholder="baseline_models: node id = file name, one a line",
                                tooltip="What stands where a loader's model is absent, one a line: "
                                "node id = file name, such as 12 = flux1-dev.safetensors."),
            ],
            outputs=[PlayerChoice.Output("players")],
        )  # fmt: skip

    @classmethod
    def execute(cls, **inputs: str) -> io.NodeOutput:
        return io.NodeOutput(from_players_node(inputs))
