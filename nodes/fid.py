"""CopyScope FID: every coalition's distance to the reference images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import comfy.utils
from comfy_api.latest import io

from ..copyscope_core.conclude import MeasuredAudit, measure_audit
from ..copyscope_core.errors import ImageError
from ..copyscope_core.features import FeatureCache
from ..copyscope_core.images import ImageFile, read_folder, read_image
from ..copyscope_core.settings import NOTHING
from . import comfy_host
from .graph_run import GraphRun
from .inception_host import host_extractor
from .reference import check_folder, fingerprint, from_tensors
from .types import Coalitions, Game, Reference

_NOT_LINKED = object()


@dataclass(frozen=True)
class MeasuredRun:
    """An audit with its numbers, ready for a report."""

    run: GraphRun
    measured: MeasuredAudit


class FID(io.ComfyNode):
    """Measures the coalitions against the reference."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CopyScopeFID",
            display_name="CopyScope FID",
            category="CopyScope",
            description="Fréchet Inception Distance of every coalition's images to the rights holder's images.",
            inputs=[
                Coalitions.Input("coalitions"),
                io.Combo.Input("reference_folder", options=[NOTHING, *comfy_host.input_subfolders()],
                               tooltip="A subfolder of ComfyUI's input folder with the rights holder's images."),
                io.MultiType.Input("reference", [Reference, io.Image], optional=True,
                                   tooltip="Reference images from a node, instead of the folder."),
            ],
            outputs=[Game.Output("game")],
            is_input_list=True,
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, reference_folder: Any, reference: Any = _NOT_LINKED) -> bool | str:
        folder = _first(reference_folder)
        if reference is not _NOT_LINKED or folder is None:
            return True
        if folder == NOTHING:
            return "Choose a reference_folder of ComfyUI's input folder, or wire images into reference."
        return check_folder(folder)

    @classmethod
    def fingerprint_inputs(cls, reference_folder: Any, **inputs: Any) -> str:
        folder = _first(reference_folder)
        return fingerprint(folder) if folder and folder != NOTHING else ""

    @classmethod
    def execute(cls, coalitions: Any, reference_folder: Any, reference: Any = None) -> io.NodeOutput:
        run: GraphRun = _first(coalitions)
        images = _reference(_first(reference_folder), reference)
        bar = comfy.utils.ProgressBar(1 << len(run.plan.players))
        inputs = {item.node: read_image(comfy_host.input_image_path(item.file)) for item in run.plan.images}
        measured = measure_audit(
            run.stored(),
            images,
            FeatureCache(run.store.features_folder, host_extractor()),
            inputs,
            lambda done, total: bar.update_absolute(done, total),
        )
        return io.NodeOutput(MeasuredRun(run, measured))


def _reference(folder: str | None, linked: Any) -> list[ImageFile]:
    """The reference images: from the socket if it is wired, else from the folder."""
    if linked is not None:
        flat = [item for part in linked for item in (part if isinstance(part, list) else [part])]
        files = [item for item in flat if isinstance(item, ImageFile)]
        images = files or from_tensors(flat)
    else:
        images = read_folder(comfy_host.input_folder(folder or ""))
    if not images:
        raise ImageError("The reference has no images; wire at least one in.")
    return images


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) else value
