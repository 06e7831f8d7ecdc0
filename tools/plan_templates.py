"""Plan every official ComfyUI template that makes images and costs nothing, and write the table of docs/workflows.md.

    python -m tools.plan_templates --comfyui ~/comfy/ComfyUI --templates ENVIRONMENT [--write]

``ENVIRONMENT`` is a folder into which ``comfyui-workflow-templates`` is installed (a virtual environment, say). The
models that the templates name stand as empty files in a folder of their own, so that the server lists them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from copyscope_core.errors import PlayerError, WorkflowError
from copyscope_core.planning.plan import Plan, make_plan
from copyscope_core.settings import AuditSettings
from copyscope_core.workflow.graph import parse_graph
from copyscope_core.workflow.node_info import NodeCatalog
from copyscope_core.workflow.ui.convert import convert

DOCS = Path(__file__).resolve().parent.parent / "docs" / "workflows.md"
BEGIN, END = "<!-- templates: begin -->", "<!-- templates: end -->"
MOST_PLAYERS = 2**40
FRONT_END_ONLY = frozenset({"Note", "MarkdownNote", "Reroute", "PrimitiveNode", "SetNode", "GetNode"})

PLANNED, SEVERAL, BASELINE = "planned", "planned, with the output named", "planned, with a baseline named"
NO_SAMPLER, VIDEO, VALUE = "makes no image with a sampler", "makes a video", "needs what this ComfyUI lacks: a value"
NODES, PAID, FAILED = "needs what this ComfyUI lacks: nodes", "calls paid services", "not planned"
REASONS = {
    PLANNED: "the right output, every component accounted for",
    SEVERAL: "it saves several images; each of them is planned with `--output`",
    BASELINE: "all its components are loaders, and none can be absent without `--baseline-model`",
    NO_SAMPLER: "it edits, measures or cuts out images; there is no component to measure",
    VIDEO: "it ends in a video",
    VALUE: "such as a model type or an attention backend that only a newer one, or one on a GPU, has",
    NODES: "nodes of a newer version, or of packs",
    PAID: "not planned unless allowed",
    FAILED: "",
}
GOOD = (PLANNED, SEVERAL, BASELINE)


@dataclass(frozen=True)
class Template:
    """An official template: its UI-format workflow, and the ids of the output nodes that its index names."""

    name: str
    workflow: Mapping[str, Any]
    outputs: tuple[str, ...]

    def nodes(self) -> Iterator[Mapping[str, Any]]:
        """Its nodes, those in subgraphs included."""
        waiting: list[Mapping[str, Any]] = [self.workflow]
        while waiting:
            scope = waiting.pop()
            yield from scope.get("nodes") or ()
            waiting.extend((scope.get("definitions") or {}).get("subgraphs") or ())

    def classes(self) -> set[str]:
        """The node classes that it needs of a server."""
        subgraphs: set[str] = set()
        waiting: list[Mapping[str, Any]] = [self.workflow]
        while waiting:
            inner = (waiting.pop().get("definitions") or {}).get("subgraphs") or ()
            subgraphs |= {str(one["id"]) for one in inner}
            waiting.extend(inner)
        return {str(node["type"]) for node in self.nodes()} - subgraphs - FRONT_END_ONLY

    def models(self) -> set[str]:
        """The model files that it names, as folder/name."""
        named = (node.get("properties") or {} for node in self.nodes())
        return {f"{one['directory']}/{one['name']}" for item in named for one in item.get("models") or ()}


@dataclass(frozen=True)
class Outcome:
    """What came of a template.

    Attributes:
        sentence: the refusal, if it was refused.
        seconds: how long converting and planning took, the server's answer not counted.
        graph: its API-format graph, if it could be converted.
        plans: its plans, by output node; none if it was refused.
    """

    template: Template
    reason: str
    sentence: str = ""
    seconds: float = 0.0
    graph: Mapping[str, Any] | None = None
    plans: Mapping[str, Plan] | None = None


def templates_in(environment: Path) -> Path | None:
    """The folder of template files in an environment; None where the package is not installed."""
    found = sorted(environment.glob("**/comfyui_workflow_templates_json/templates/index.json"))
    return found[0].parent if found else None


def image_templates(folder: Path) -> list[Template]:
    """The templates of the index that are listed as making images."""
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    found: dict[str, Template] = {}
    for item in (item for group in index if group["type"] == "image" for item in group["templates"]):
        workflow = json.loads((folder / f"{item['name']}.json").read_text(encoding="utf-8"))
        outputs = (item.get("io") or {}).get("outputs") or ()
        found[item["name"]] = Template(item["name"], workflow, tuple(str(one["nodeId"]) for one in outputs))
    return list(found.values())


def make_models(templates: list[Template], models: Path) -> None:
    """Empty files for all models that templates name."""
    for name in {name for template in templates for name in template.models()}:
        path = models / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def outcome(template: Template, info: Mapping[str, Any]) -> Outcome:
    """Convert and plan a template; ``info`` is the server's ``/object_info``."""
    classes = template.classes()
    if any(info.get(name, {}).get("api_node") for name in classes):
        return Outcome(template, PAID)
    if missing := sorted(name for name in classes if name not in info):
        return Outcome(template, NODES, ", ".join(missing))
    begin = time.perf_counter()
    graph: Mapping[str, Any] = {}
    try:
        graph = convert(template.workflow, info).graph
        plan = _plan(graph, info)
    except (WorkflowError, PlayerError) as error:
        seconds = time.perf_counter() - begin
        return _refused(template, graph, info, str(error), seconds)
    return Outcome(template, PLANNED, "", time.perf_counter() - begin, graph, {"": plan})


def _plan(graph: Mapping[str, Any], info: Mapping[str, Any], **settings: Any) -> Plan:
    catalog = NodeCatalog(info, live=True)
    return make_plan(parse_graph(graph), catalog, AuditSettings(max_coalitions=MOST_PLAYERS, **settings))


def _refused(
    template: Template, graph: Mapping[str, Any], info: Mapping[str, Any], sentence: str, seconds: float
) -> Outcome:
    if "in several places" in sentence:
        saved = [name for name, node in graph.items() if node["class_type"].startswith("SaveImage")]
        plans = {name: _plan(graph, info, output=name) for name in saved}
        return Outcome(template, SEVERAL, sentence, seconds, graph, plans)
    if "all components are locked" in sentence:
        models = info["UNETLoader"]["input"]["required"]["unet_name"][0]
        loaders = [name for name, node in graph.items() if node["class_type"] == "UNETLoader"]
        named = {name: next(one for one in models if one != graph[name]["inputs"]["unet_name"]) for name in loaders}
        return Outcome(template, BASELINE, sentence, seconds, graph, {"": _plan(graph, info, baseline_models=named)})
    reason = FAILED
    if "made by a sampler" in sentence or ("has no node that saves" in sentence and not _has_video(graph)):
        reason = NO_SAMPLER
    elif "has no node that saves" in sentence:
        reason = VIDEO
    elif sentence.startswith("The server lacks ") and not any(one in sentence for one in template.models()):
        reason = VALUE
    return Outcome(template, reason, sentence, seconds, graph)


def _has_video(graph: Mapping[str, Any]) -> bool:
    return any("Video" in node["class_type"] for node in graph.values())


def table(outcomes: list[Outcome], host: str, version: str) -> str:
    """The table of docs/workflows.md."""
    counts = Counter(one.reason for one in outcomes)
    runnable = [one for one in outcomes if one.reason in (*GOOD, FAILED)]
    good = sum(one.reason in GOOD for one in runnable)
    slowest = max(one.seconds for one in outcomes)
    lines = [
        f"Of the {len(outcomes)} image templates of `comfyui-workflow-templates` {version}, on ComfyUI {host}:",
        "",
        "| templates | outcome | |",
        "| --- | --- | --- |",
        *(f"| {counts[reason]} | {reason} | {why} |" for reason, why in REASONS.items() if counts[reason]),
        "",
        f"So {good} of the {len(runnable)} that cost nothing, that this ComfyUI runs and that make an image with a "
        f"sampler are planned ({good / len(runnable):.0%}). The slowest took {slowest:.2f} s to convert and plan.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, required=True)
    parser.add_argument("--templates", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="put the table into docs/workflows.md")
    args = parser.parse_args()
    from tests.hostutil import start_server

    folder = templates_in(args.templates)
    if folder is None:
        raise SystemExit(f"comfyui-workflow-templates is not installed in {args.templates}")
    templates = image_templates(folder)
    with tempfile.TemporaryDirectory() as base:
        make_models(templates, Path(base) / "models")
        with start_server(Path(base), pack=False, comfyui=args.comfyui.expanduser()) as server:
            info = server.get("/object_info")
            host = server.get("/system_stats")["system"]["comfyui_version"]
    outcomes = [outcome(template, info) for template in templates]
    for one in outcomes:
        if one.reason not in (PLANNED, PAID):
            print(f"{one.template.name}: {one.reason}. {one.sentence[:200]}")
    text = table(outcomes, host, package_version(folder))
    print(text)
    if args.write:
        page = DOCS.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        DOCS.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8", newline="\n")


def package_version(folder: Path) -> str:
    """The version of the templates package around a folder of template files."""
    found = [*folder.parent.parent.glob("comfyui_workflow_templates-*.dist-info")]
    return found[0].name.partition("-")[2].removesuffix(".dist-info") if found else "?"


if __name__ == "__main__":
    main()
