"""The nodes that an enumerator expands to. They are made by CopyScope and not meant to be placed by hand."""

from __future__ import annotations

import io as stdlib_io
import json
from typing import Any

import torch
from comfy.cli_args import args
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..copyscope_core.errors import CopyScopeError
from ..copyscope_core.features.extractor import FeatureCache
from ..copyscope_core.files.pixels import as_rgb, pixel_hash, quantise
from ..copyscope_core.planning.steps import Step
from ..copyscope_core.planning.video import chosen_frames
from ..copyscope_core.store.entry import clip_meta
from ..copyscope_core.workflow.graph import to_json
from .host.inception import host_extractor
from .run.expansion import COLLECT, IMAGES, TURN
from .run.graph_run import GraphRun, open_run
from .types import Coalitions

CATEGORY = "CopyScope/internal"
HIDDEN: dict[str, Any] = {"is_dev_only" if "is_dev_only" in io.Schema.__dataclass_fields__ else "is_deprecated": True}
"""Keeps a node out of the node library and the search; hosts that know no dev-only nodes hide deprecated ones."""


class Turn(io.ComfyNode):
    """Passes a value on when it is its coalition's turn, so that coalitions are sampled and stored one by one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=TURN,
            display_name="CopyScope Turn (internal)",
            category=CATEGORY,
            **HIDDEN,
            description="Made by the coalition enumerators; keeps coalitions in order.",
            inputs=[io.String.Input("token"), io.Int.Input("step"), io.AnyType.Input("value")],
            outputs=[io.AnyType.Output("value_in_turn")],
        )

    @classmethod
    async def execute(cls, token: str, step: int, value: Any) -> io.NodeOutput:
        run = open_run(token)
        if not await run.turn(step):
            return io.NodeOutput(ExecutionBlocker(None))
        run.say(f"Running {step + 1} of {run.total}: {run.label(run.missing[step])}")
        return io.NodeOutput(value)


class CoalitionImages(io.ComfyNode):
    """Stores one coalition's images and their features at once."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=IMAGES,
            display_name="CopyScope Coalition Images (internal)",
            category=CATEGORY,
            **HIDDEN,
            description="Made by the coalition enumerators; stores a coalition's images and features.",
            inputs=[io.Image.Input("images"), io.String.Input("token"), io.Int.Input("step"), io.String.Input("key")],
            outputs=[io.String.Output("stored_key")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: torch.Tensor, token: str, step: int, key: str) -> io.NodeOutput:
        run = open_run(token)
        done = run.step(key)
        try:
            store_images(run, done, images)
        except CopyScopeError as error:  # the host blames the enumerator, so the message names the coalition
            raise type(error)(f"Coalition {run.label(done)}: {error}") from error
        run.finished(step)
        run.say(f"{step + 1} of {run.total}: {run.label(done)}")
        return io.NodeOutput(key)


class CollectCoalitions(io.ComfyNode):
    """Waits for every coalition of the expansion, or until the rest is left out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=COLLECT,
            display_name="CopyScope Collect Coalitions (internal)",
            category=CATEGORY,
            **HIDDEN,
            description="Made by the coalition enumerators; gathers the stored coalitions.",
            inputs=[io.String.Input("token")],
            outputs=[Coalitions.Output("coalitions")],
        )

    @classmethod
    async def execute(cls, token: str) -> io.NodeOutput:
        run = open_run(token)
        await run.end()
        return io.NodeOutput(run)


def store_images(run: GraphRun, step: Step, images: torch.Tensor) -> None:
    """Write a batch, of a clip the chosen frames, as PNG files that hold the workflow, and compute features."""
    clip: dict[str, Any] = {}
    if run.plan.clip is not None:
        places = chosen_frames(len(images), run.plan.clip.frames)
        clip, images = clip_meta(places, len(images)), images[places]
    pixels = [as_rgb(quantise(image)) for image in images]
    workflow = json.dumps(to_json(run.graph(step)))
    run.store.write(
        run.keys[step],
        [_png(item, workflow) for item in pixels],
        {
            "members": list(run.plan.members(step.mask)),
            "mask": step.mask,
            "offset": step.offset,
            "purpose": step.purpose,
            **clip,
        },
    )
    run.custody.images_made(
        key=run.keys[step], members=list(run.plan.members(step.mask)), offset=step.offset, purpose=step.purpose
    )
    cache = FeatureCache(run.store.features_folder, host_extractor())
    cache.features([(item, pixel_hash(item)) for item in pixels])


def _png(pixels: Any, workflow: str) -> bytes:
    """An image as SaveImage would write it, with its workflow unless ComfyUI was told to leave metadata out."""
    metadata = None
    if not args.disable_metadata:
        metadata = PngInfo()
        metadata.add_text("prompt", workflow)
    buffer = stdlib_io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=metadata, compress_level=4)
    return buffer.getvalue()
