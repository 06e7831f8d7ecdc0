"""CopyScope Shapley Report: divides the change among the players and writes the report."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..copyscope_core.settings import words_of
from .fid import MeasuredRun
from .host import comfyui
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
                io.Boolean.Input("private", default=False, optional=True,
                                 tooltip="Leave prompts, paths and images of the reference out of the report; hashes "
                                         "remain."),
                io.String.Input("artist", default="", optional=True,
                                tooltip="The artist's name, pen names or other words, with ; between them: the report "
                                        "says where a model file's own metadata has them. No number depends on it."),
                io.String.Input("examiner", default="", optional=True, tooltip="Who makes the report."),
                io.String.Input("case", default="", optional=True, tooltip="Number of the case that it is made for."),
            ],
            outputs=[io.String.Output("report", tooltip="The report as JSON."), io.String.Output("summary")],
            is_output_node=True,
        )  # fmt: skip

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> float:
        return float("nan")  # every prompt gets its report in /history, a repeated one too

    @classmethod
    def execute(
        cls, game: MeasuredRun, show_reference: bool, private: bool = False, artist: str = "", examiner: str = "",
        case: str = "",
    ) -> io.NodeOutput:  # fmt: skip
        from ..copyscope_core.auditing.reporting import publish_audit, report_audit
        from ..copyscope_core.evidence.publish import ReportOptions
        from ..copyscope_core.report.text import manifest_text, summary_text

        classes = (node.class_type for node in game.run.plan.graph.values())
        measured = game.measured.looking_for(words_of(artist))
        report = report_audit(
            measured, game.run.model_hashes(), comfyui.environment(classes), game.run.model_metadata()
        )
        options = ReportOptions(show_reference, private, examiner=examiner.strip() or None, case=case.strip() or None)
        published = publish_audit(measured, report, options, game.run.custody)
        report = published.report
        folder = game.run.store.folder
        subfolder = folder.relative_to(comfyui.runs_folder().parent).as_posix()
        text = f"{summary_text(report)}\n{manifest_text(published.manifest_sha256)}"
        return io.NodeOutput(
            report.model_dump_json(),
            text,
            ui={
                "copyscope_report": [report.model_dump(mode="json")],
                "copyscope_files": [
                    {"filename": name, "subfolder": subfolder, "type": "output"}
                    for name in ("report.html", "report.json")
                ],
                "copyscope_manifest": [published.manifest_sha256],
                "text": [text],
            },
        )
