"""CopyScope Shapley Report: divides the change among the players and writes the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import io
from PIL import Image

from ..copyscope_core.graph import to_json
from ..copyscope_core.hashes import autov2
from ..copyscope_core.report import build_report, describe_environment, summary_text, write_report
from ..copyscope_core.report_html import write_html
from ..copyscope_core.report_schema import Report
from . import comfy_host
from .fid import MeasuredRun
from .types import Game


class ShapleyReport(io.ComfyNode):
    """Writes ``report.json`` and ``report.html`` and shows the result on the node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CopyScopeShapleyReport",
            display_name="CopyScope Shapley Report",
            category="CopyScope",
            description="Divides the change of the distance among the components by the Shapley value.",
            inputs=[
                Game.Input("game"),
                io.Boolean.Input("show_reference", default=True,
                                 tooltip="Embed small copies of the reference images in the HTML report."),
            ],
            outputs=[io.String.Output("report", tooltip="The report as JSON."), io.String.Output("summary")],
            is_output_node=True,
        )  # fmt: skip

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> float:
        return float("nan")  # every prompt gets its report in /history, a repeated one too

    @classmethod
    def execute(cls, game: MeasuredRun, show_reference: bool) -> io.NodeOutput:
        report = _report(game)
        folder = game.run.store.folder
        write_report(report, folder)
        reference = [Image.fromarray(image.pixels) for image in game.reference] if show_reference else []
        write_html(report, folder, _pictures(game), reference)
        text = summary_text(report)
        subfolder = folder.relative_to(comfy_host.runs_folder().parent).as_posix()
        return io.NodeOutput(
            report.model_dump_json(),
            text,
            ui={
                "copyscope_report": [report.model_dump(mode="json")],
                "copyscope_files": [
                    {"filename": name, "subfolder": subfolder, "type": "output"}
                    for name in ("report.html", "report.json")
                ],
                "text": [text],
            },
        )


def _report(game: MeasuredRun) -> Report:
    run = game.run
    plan = run.plan.summary()
    hashes = {file: digest for file, digest in run.context.files.items() if digest and "+" not in digest}
    keys = run.keys()
    return build_report(
        game.measurement.evaluation,
        reference=game.measurement.reference,
        players=[_with_file(item) for item in plan["players"]],
        locked=[_with_file(item) for item in plan["locked"]],
        unmeasured=plan["unmeasured"],
        models=[
            {"file": file, "sha256": hashes.get(file), "autov2": autov2(hashes[file]) if file in hashes else None}
            for file in run.context.files
        ],
        folders={mask: f"coalitions/{keys[mask, 0]}" for mask in game.measurement.images},
        images=game.measurement.images,
        seeds=range(run.plan.seeds),
        settings=run.plan.settings,
        preprocessing=game.preprocessing,
        environment=describe_environment(**comfy_host.environment(n.class_type for n in run.plan.graph.values())),
        workflow=to_json(run.plan.graph),
        deterministic=game.deterministic,
        warnings=[*({"code": "plan", "message": text} for text in plan["warnings"]), *game.warnings],
    )


def _with_file(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "file": item["files"][0] if item["files"] else None}


def _pictures(game: MeasuredRun) -> dict[int, list[Path]]:
    """The stored images of every coalition, in the order of the seeds."""
    run = game.run
    pictures: dict[int, list[Path]] = {}
    for (mask, _), key in sorted(run.keys().items()):
        entry = run.store.read(key)
        folder = run.store.entry_folder(key)
        pictures.setdefault(mask, []).extend(folder / image.name for image in (entry.images if entry else ()))
    return pictures
