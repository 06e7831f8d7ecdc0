"""CopyScope FID: every coalition's distance to the reference images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import comfy.utils
from comfy.clip_vision import ClipVisionModel
from comfy_api.latest import io

from ..copyscope_core.distances.registry import DISTANCES
from ..copyscope_core.errors import HostError, ImageError
from ..copyscope_core.features.beside import ContentAndStyle
from ..copyscope_core.features.extractor import FeatureCache, FeatureExtractor
from ..copyscope_core.files.folders import list_folder
from ..copyscope_core.files.images import ImageFile, read_image
from ..copyscope_core.planning.own_nodes import NOTHING
from ..copyscope_core.planning.plan import Plan
from ..copyscope_core.planning.rounds import next_plan, put_back, stopped
from .host import comfyui
from .host.clip_vision import ClipVisionExtractor
from .host.diffusion_style import DiffusionStyle
from .host.inception import host_extractor
from .reference import check_folder, fingerprint, from_tensors
from .run.graph_run import GraphRun
from .run.start import continue_run
from .types import Coalitions, Game, Reference

if TYPE_CHECKING:
    from ..copyscope_core.auditing.reporting import MeasuredAudit

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
        folders = [NOTHING, *comfyui.input_subfolders()]
        return io.Schema(
            node_id="CopyScopeFID",
            display_name="CopyScope FID",
            category="CopyScope",
            description="Distance of every coalition's images to the rights holder's: Fréchet Inception, or another.",
            inputs=[
                Coalitions.Input("coalitions"),
                io.Combo.Input("reference_folder", options=folders,
                               tooltip="A subfolder of ComfyUI's input folder with the rights holder's images."),
                io.MultiType.Input("reference", [Reference, io.Image], optional=True,
                                   tooltip="Reference images from a node, instead of the folder."),
                io.Combo.Input("control_folder", options=folders, default=NOTHING, optional=True,
                               tooltip="A subfolder with unrelated works of the same kind, to tell “looks like a "
                                       "painting” from “looks like this artist”."),
                io.Combo.Input("distance", options=list(DISTANCES), default="fid", optional=True,
                               tooltip="What contributions are made of; fid_infinity needs 5,000 images a coalition."),
                io.ClipVision.Input("clip_vision", optional=True,
                                    tooltip="A CLIP, SigLIP or DINOv2 model whose features are compared instead of "
                                            "those of FID's Inception."),
                io.Boolean.Input("control_bank", default=True, optional=True,
                                 tooltip="Without a control_folder, compare with works of CopyScope's own bank: of the "
                                         "reference's kind, and none that resembles it."),
                io.Model.Input("style_model", optional=True,
                               tooltip="A diffusion model that sees the images' style (IntroStyle), straight from its "
                                       "loader: a plain checkpoint, not the audited one. Needs style_vae too."),
                io.Vae.Input("style_vae", optional=True, tooltip="The VAE of style_model."),
            ],
            outputs=[Game.Output("game")],
            hidden=[io.Hidden.dynprompt, io.Hidden.unique_id],
            is_input_list=True,
            enable_expand=True,
        )  # fmt: skip

    @classmethod
    def validate_inputs(
        cls,
        reference_folder: Any,
        reference: Any = _NOT_LINKED,
        control_folder: Any = NOTHING,
        distance: Any = None,
        style_model: Any = _NOT_LINKED,
        style_vae: Any = _NOT_LINKED,
    ) -> bool | str:
        if (style_model is _NOT_LINKED) != (style_vae is _NOT_LINKED):
            return "style_model and style_vae go together: wire both from one loader, or neither."
        if (chosen := _first(distance)) is not None and chosen not in DISTANCES:  # ComfyUI 0.3.64 does not look
            return f"There is no distance {chosen!r}; choose one of {', '.join(DISTANCES)}."
        folder, control = _first(reference_folder), _chosen(control_folder)
        if reference is _NOT_LINKED and folder is not None:
            if folder == NOTHING:
                return "Choose a reference_folder of ComfyUI's input folder, or wire images into reference."
            if (answer := check_folder(folder)) is not True:
                return answer
        return True if control is None else check_folder(control)

    @classmethod
    def fingerprint_inputs(cls, reference_folder: Any, control_folder: Any = NOTHING, **inputs: Any) -> str:
        folders = (_chosen(reference_folder), _chosen(control_folder))
        return " ".join("-" if folder is None else fingerprint(folder) for folder in folders)

    @classmethod
    def execute(
        cls,
        coalitions: Any,
        reference_folder: Any,
        reference: Any = None,
        control_folder: Any = NOTHING,
        distance: Any = "fid",
        clip_vision: Any = None,
        control_bank: Any = True,
        style_model: Any = None,
        style_vae: Any = None,
    ) -> io.NodeOutput:
        from ..copyscope_core.auditing.reporting import measure_audit  # when used: ComfyUI's start stays short
        from ..copyscope_core.controls.bank import load_bank
        from ..copyscope_core.evaluation.measure import Works

        run: GraphRun = _first(coalitions)
        images = _reference(_first(reference_folder), reference)
        control = _chosen(control_folder)
        extractor = _extractor(_first(clip_vision), cls.hidden)
        if style_model is not None and style_vae is not None:
            extractor = ContentAndStyle(extractor, DiffusionStyle(_first(style_model), _first(style_vae)))
        bar = comfy.utils.ProgressBar(len(run.plan.design.masks))
        inputs = {item.node: read_image(comfyui.input_image_path(item.file)) for item in run.plan.images}
        plan = replace(run.plan, settings=run.plan.settings.model_copy(update={"distance": _first(distance)}))
        if run.left_out and not run.complete:
            halted = stopped(plan)
            run.show_race(halted)
            return _with_more(run, halted, False, cls.hidden)
        stored = run.stored()
        measured = measure_audit(
            replace(stored, plan=plan),
            Works(
                images,
                () if control is None else list_folder(comfyui.input_folder(control)),
                load_bank() if _first(control_bank) else None,
            ),
            FeatureCache(run.store.features_folder, extractor),
            inputs,
            bar.update_absolute,
            bar.update_absolute,
        )
        following, more = next_plan(plan, measured.measurement.evaluation)
        if more and run.asked.is_set():
            following, more = stopped(following), False
        if following is not plan:
            run.show_race(following)
        if more or not run.closed:
            return _with_more(run, following, more, cls.hidden, growing=following.race is not None)
        if (again := put_back(following, stored.entries)) is not None:
            return _with_more(run, again, True, cls.hidden)
        return io.NodeOutput(MeasuredRun(run, replace(measured, audit=replace(measured.audit, plan=following))))


def _with_more(run: GraphRun, plan: Plan, more: bool, hidden: Any, growing: bool = False) -> io.NodeOutput:
    """Expand to what the plan has not run yet, and to a node like this one that measures it too.

    Raises:
        HostError: another node has done so.
    """
    dynprompt, own = hidden.dynprompt, _first(hidden.unique_id)
    if run.continued_by not in (None, own):
        raise HostError(
            "Two CopyScope FID nodes measure these coalitions, and with until_sure or a budget the measure decides "
            "what is run next; give each a CopyScope Coalition Enumerator of its own, or run all combinations."
        )
    run.continued_by = own
    nodes, link = continue_run(run, plan, more, set(dynprompt.all_node_ids()), more and growing)
    again = f"{run.prefix}{run.part}.fid"
    inputs = {**dynprompt.get_node(own)["inputs"], "coalitions": link}
    nodes[again] = {"class_type": dynprompt.get_node(own)["class_type"], "inputs": inputs}
    return io.NodeOutput([again, 0], expand=nodes)


def _extractor(clip_vision: ClipVisionModel | None, hidden: Any) -> FeatureExtractor:
    """FID's Inception, or the model that is wired in, by the name that its loader was given."""
    if clip_vision is None:
        return host_extractor()
    dynprompt, loader = hidden.dynprompt, None
    link = dynprompt.get_node(_first(hidden.unique_id))["inputs"].get("clip_vision")
    if isinstance(link, list):
        loader = dynprompt.get_node(link[0])["inputs"].get("clip_name")
    return ClipVisionExtractor(clip_vision, loader if isinstance(loader, str) else "clip-vision")


def _reference(folder: str | None, linked: Any) -> Sequence[ImageFile]:
    """The reference images: from the socket if it is wired, else from the folder, where they are not decoded yet."""
    if linked is not None:
        flat = [item for part in linked for item in (part if isinstance(part, list) else [part])]
        files = [item for item in flat if isinstance(item, ImageFile)]
        images: Sequence[ImageFile] = files or from_tensors(flat)
    else:
        images = list_folder(comfyui.input_folder(folder or ""))
    if not images:
        raise ImageError("The reference has no images; wire at least one in.")
    return images


def _chosen(value: Any) -> str | None:
    """The folder that was chosen; None for no choice, or one that a link will bring."""
    folder = _first(value)
    return None if not folder or folder == NOTHING else folder


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) else value
