"""CopyScope Settings: how much is run, which players belong together, how many frames are measured."""

from __future__ import annotations

from typing import Any, get_args

from comfy_api.latest import io

from ..copyscope_core.game.design import Estimator
from ..copyscope_core.planning.own_nodes import from_settings_node
from ..copyscope_core.settings import AuditSettings
from .types import SettingsChoice


class Settings(io.ComfyNode):
    """For workflows with many players; without it every coalition is run."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CopyScopeSettings",
            display_name="CopyScope Settings",
            category="CopyScope",
            description=(
                "Run no more than it takes to be sure. For many LoRAs: run a sample of the combinations, and group "
                "models of one author. For videos: how many frames are measured."
            ),
            inputs=[
                io.Int.Input("budget", default=0, min=0, max=2**16,
                             tooltip="At most so many combinations are run, where an exact result needs more. "
                             "0: all of them."),
                io.Float.Input("target_width", default=0.0, min=0.0, max=2.0, step=0.01,
                               tooltip="With a budget: stop as soon as no share's 95% interval is wider than this, "
                               "such as 0.1. 0: go on to the budget."),
                io.Combo.Input("estimator", options=list(get_args(Estimator)), default="regression",
                               tooltip="How contributions follow from a sample of the combinations."),
                io.String.Input("groups", multiline=True, default="",
                                placeholder="groups: author = player, player, one group a line; empty: none",
                                tooltip="groups: players that join together, such as all LoRAs of one author, one "
                                "group a line: name = player, player. Their shares are then Owen values. "
                                "The line auto lets copies of one LoRA join."),
                io.Int.Input("frames", default=8, min=0, max=4096, optional=True,
                             tooltip="Where the images are the frames of a video that the workflow saves: how many of "
                             "each clip are measured, evenly spaced. 0: all of them."),
                io.Boolean.Input("until_sure", default=False, optional=True,
                                 tooltip="Add seeds in rounds, up to the enumerator's seeds, and stop as soon as the "
                                 "verdict is decided, or can hardly be decided any more."),
                io.Float.Input("error", default=0.05, min=0.001, max=0.5, step=0.01, optional=True,
                               tooltip="With until_sure: how often all looks together may name a wrong component."),
                io.Int.Input("max_runs", default=0, min=0, max=2**20, optional=True,
                             tooltip="With until_sure: at most so many runs of the sampler, in the place of the "
                             "enumerator's seeds. 0: seeds × combinations."),
            ],
            outputs=[SettingsChoice.Output("settings")],
        )  # fmt: skip

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        chosen = from_settings_node(inputs)
        AuditSettings.of(chosen)  # a value that does not fit is named here, not by the enumerator
        return io.NodeOutput(chosen)
