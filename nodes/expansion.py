"""The nodes that an enumerator expands to. They are made by CopyScope and not meant to be placed by hand."""

from __future__ import annotations

import io as stdlib_io
import json
from collections.abc import Collection
from typing import Any

import torch
from comfy.cli_args import args
from comfy_api.latest import io
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..copyscope_core.errors import CopyScopeError
from ..copyscope_core.features import FeatureCache
from ..copyscope_core.graph import Link, Node, to_json
from ..copyscope_core.images import as_rgb, pixel_hash, quantise
from ..copyscope_core.node_info import NodeCatalog, type_matches
from . import comfy_host
from .graph_run import GraphRun, Step, open_run
from .inception_host import host_extractor
from .types import Coalitions

CATEGORY = "CopyScope/internal"
HIDDEN: dict[str, Any] = {"is_dev_only" if "is_dev_only" in io.Schema.__dataclass_fields__ else "is_deprecated": True}
"""Keeps a node out of the node library and the search; hosts that know no dev-only nodes hide deprecated ones."""
IMAGES, COLLECT, TURN = "CopyScopeCoalitionImages", "CopyScopeCollectCoalitions", "CopyScopeTurn"
SAMPLER_INPUTS, SAMPLER_OUTPUTS = ("NOISE", "GUIDER", "MODEL"), ("LATENT", "IMAGE")


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
        await run.turn(step)
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
    """Waits for every coalition of the expansion."""

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
    def execute(cls, token: str, **stored: str) -> io.NodeOutput:
        return io.NodeOutput(open_run(token))


def store_images(run: GraphRun, step: Step, images: torch.Tensor) -> None:
    """Write a batch as PNG files, with the coalition's workflow in them, and compute its features."""
    pixels = [as_rgb(quantise(image)) for image in images]
    workflow = json.dumps(to_json(run.graph(step)))
    run.store.write(
        step.key,
        [_png(item, workflow) for item in pixels],
        {
            "members": list(run.plan.members(step.mask)),
            "mask": step.mask,
            "offset": step.offset,
            "again": step.kind is not None,
        },
    )
    cache = FeatureCache(run.store.features_folder, host_extractor())
    cache.features([(item, pixel_hash(item)) for item in pixels])


def expand(run: GraphRun, present: Collection[str]) -> tuple[dict[str, Any], list[Any]]:
    """The graph that makes every coalition that is not stored yet.

    Nodes that are the same as in the user's graph, or that an earlier part of a sample has made, are linked, not
    cloned; of the rest there is one for each distinct class and inputs. A coalition's new samplers wait for its turn;
    where it has none, its last node does.

    Args:
        present: ids of the nodes that are in the prompt already and may be linked.

    Returns:
        The nodes, and the link to the collected coalitions.
    """
    rewriter = run.plan.rewriter
    catalog = comfy_host.catalog()
    prefix = run.prefix
    made: dict[str, Any] = {}
    collect: dict[str, Any] = {"token": run.token}

    def node_id(digest: str) -> str:
        own = rewriter.node_id(digest)
        return own if rewriter.is_original(digest) and own in present else f"{prefix}{digest[:16]}"

    def wait(node: str, name: str, index: int) -> None:
        inputs, turn = made[node]["inputs"], f"{node}.turn"
        made[turn] = {"class_type": TURN, "inputs": {"token": run.token, "step": index, "value": inputs[name]}}
        inputs[name] = [turn, 0]

    for index, step in enumerate(run.missing):
        last = node_id(step.target.node)
        waiting = last in made or last in present
        stack = [step.target.node]
        while stack:
            digest = stack.pop()
            if node_id(digest) in made or node_id(digest) in present:
                continue
            node = rewriter.pool[digest]
            inputs = {
                name: [node_id(value.node), value.slot] if isinstance(value, Link) else value
                for name, value in node.inputs.items()
            }
            made[node_id(digest)] = {"class_type": node.class_type, "inputs": inputs}
            if (name := waiting_input(node, rewriter.seed_input(digest), catalog)) is not None:
                wait(node_id(digest), name, index)
                waiting = True
            stack.extend(link.node for _, link in node.links())
        if not waiting and (link := next(rewriter.pool[step.target.node].links(), None)) is not None:
            wait(last, link[0], index)
        sink = f"{prefix}images.{run.begun + index}"
        made[sink] = {
            "class_type": IMAGES,
            "inputs": {
                "images": [last, step.target.slot],
                "token": run.token,
                "step": index,
                "key": step.key,
            },
        }
        collect[f"stored_{index}"] = [sink, 0]
    made[f"{prefix}{run.part}.collect"] = {"class_type": COLLECT, "inputs": collect}
    return made, [f"{prefix}{run.part}.collect", 0]


def waiting_input(node: Node, seed: str | None, catalog: NodeCatalog) -> str | None:
    """The input at which a node waits for its coalition's turn; None where the node does not sample.

    Several coalitions share a noise node, so a sampler that is given its noise has to wait itself. So does a second
    stage whose first stage is shared.

    Args:
        seed: the node's active seed, if it has one.
    """
    if seed in node.inputs:
        return seed
    info = catalog.get(node.class_type)
    if info is None or not info.has_output(*SAMPLER_OUTPUTS):
        return None
    types = {name: info.input_type(name) or "" for name, _ in node.links()}
    return next((name for kind in SAMPLER_INPUTS for name in types if type_matches(types[name], kind)), None)


def _png(pixels: Any, workflow: str) -> bytes:
    """An image as SaveImage would write it, with its workflow unless ComfyUI was told to leave metadata out."""
    metadata = None
    if not args.disable_metadata:
        metadata = PngInfo()
        metadata.add_text("prompt", workflow)
    buffer = stdlib_io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=metadata, compress_level=4)
    return buffer.getvalue()
