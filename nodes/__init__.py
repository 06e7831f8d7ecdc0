"""The list of CopyScope's nodes, and what ComfyUI loads."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .enumerator import CoalitionEnumerator
from .fid import FID
from .internal import CoalitionImages, CollectCoalitions, Turn
from .loader_coalitions import LoaderCoalitions
from .players import Players
from .reference import LoadReference
from .report import ShapleyReport
from .routes import add_routes
from .settings import Settings
from .style import StyleOfImage

NODES: list[type[io.ComfyNode]] = [
    CoalitionEnumerator,
    LoaderCoalitions,
    Players,
    Settings,
    LoadReference,
    FID,
    ShapleyReport,
    CoalitionImages,
    CollectCoalitions,
    Turn,
    StyleOfImage,
]


__all__ = ["NODES", "CopyScopeExtension", "add_routes"]


class CopyScopeExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
