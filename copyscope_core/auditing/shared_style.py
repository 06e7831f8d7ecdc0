"""Style as a diffusion model on the audited server sees it, where the user allows that the images go there."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..comfyui.client import ComfyClient
from ..comfyui.style_prompt import STYLE_NODE, Style, style_prompt, told_style
from ..errors import CopyScopeError, HostError
from ..features.beside import STYLE_ID, ContentAndStyle
from ..features.extractor import FeatureExtractor, Features
from ..files.pixels import Pixels
from ..workflow.node_info import NodeCatalog
from .machine import Machine
from .runner import Server

LOADER, NAME = "CheckpointLoaderSimple", "ckpt_name"


@dataclass(frozen=True)
class SharedStyle:
    """What a user says of style on the audited server.

    Attributes:
        checkpoint: one on the server that sees the images' style; None: the audit's baseline checkpoint.
        share_reference: the reference and control images may be sent there; without it nothing is.
    """

    checkpoint: str | None = None
    share_reference: bool = False


def allowed_style(wish: SharedStyle, baseline: str | None) -> str | None:
    """The checkpoint that is to see style; None: none is.

    Args:
        baseline: the audit's baseline checkpoint, a plain model of the family.

    Raises:
        CopyScopeError: one was named without leave to send it the reference, or leave was given for nothing.
    """
    checkpoint, share_reference = wish.checkpoint, wish.share_reference
    if checkpoint is not None and not share_reference:
        raise CopyScopeError(
            "--style-checkpoint sends every image, those of the reference and the control among them, to the server; "
            "give --share-reference too if they may go there."
        )
    if not share_reference:
        return None
    if checkpoint is None and baseline is None:
        raise CopyScopeError(
            "--share-reference sends images to see their style: name a --style-checkpoint or a --baseline-checkpoint "
            "too."
        )
    return checkpoint or baseline


async def with_shared_style(machine: Machine, checkpoint: str, content: FeatureExtractor) -> ServerStyleExtractor:
    """An extractor whose style is computed on a server. One empty image is sent to it, so that faults come first.

    Args:
        machine: a server that this process talks to.
        checkpoint: as the server lists it.
        content: of the content view, computed here.

    Raises:
        CopyScopeError: the machine is a cluster's.
        HostError: the server lacks the pack or the checkpoint, or cannot run it.
    """
    if not isinstance(machine, Server):
        raise CopyScopeError("--style-checkpoint needs a server of its own, so it does not go with --ray.")
    catalog = NodeCatalog(await machine.object_info(), live=True)
    if catalog.get(STYLE_NODE) is None:
        raise HostError(
            f"{machine.name} cannot compute style: install this version of the CopyScope pack there, or leave out "
            "--style-checkpoint."
        )
    loader = catalog.get(LOADER)
    names = None if loader is None else loader.input(NAME)
    name = checkpoint if names is None else str(names.spelling(checkpoint))
    if names is None or names.lacks(name):
        has = ", ".join((names.options or ())[:20]) if names is not None else ""
        raise HostError(f"{machine.name} lacks the checkpoint {checkpoint!r}; it has: {has or 'none'}.")
    style = ServerStyle(machine.client, name, asyncio.get_running_loop())
    await style.begin()
    return ServerStyleExtractor(content, style)


class ServerStyle:
    """The style vectors of images, each by a prompt of its own.

    Args:
        client: open on ``loop``.
        checkpoint: as the server lists it.
        loop: runs in another thread than the one that asks for style.
    """

    def __init__(self, client: ComfyClient, checkpoint: str, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._checkpoint = checkpoint
        self._loop = loop
        self.id = ""
        self.dimension = 0

    async def begin(self) -> None:
        """Learn from a black image which model it is and how long its vectors are.

        Raises:
            HostError: the server cannot run it.
        """
        self.id, numbers = await self._style(np.zeros((8, 8, 3), dtype=np.uint8))
        if not STYLE_ID.fullmatch(self.id):
            raise HostError(f"{self._client.url} names no style model that is known; install this version of the pack.")
        self.dimension = len(numbers)

    def __call__(self, images: Sequence[Pixels]) -> Features:
        """Style of images, float32 (n, dimension); never called on the loop's own thread.

        Raises:
            HostError: the server cannot be reached or run it, or its model has changed.
        """
        rows = [asyncio.run_coroutine_threadsafe(self._style(pixels), self._loop).result() for pixels in images]
        for row in rows:
            if row.id != self.id or len(row.numbers) != self.dimension:
                raise HostError(f"The checkpoint {self._checkpoint!r} changed on the server in mid-audit; run again.")
        return np.array([row.numbers for row in rows], dtype=np.float32).reshape(len(rows), self.dimension)

    async def _style(self, pixels: Pixels) -> Style:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=4)
        prompt = style_prompt(self._checkpoint, buffer.getvalue())
        try:
            return told_style(await self._client.run(prompt, forget=True))
        except HostError as error:
            raise type(error)(f"The style of an image could not be computed on {self._client.url}: {error}") from error


class ServerStyleExtractor(ContentAndStyle):
    """Content computed here, style on the server that samples.

    An audit computes these features when the coalitions are done: in between, the server would load its models anew for
    each of them.
    """
