"""``copyscope repeat``: the stored workflows of a run folder run again, and which pixels come out the same.

Whoever doubts that the images came from the workflow runs them on a ComfyUI of their own. The workflows are those of
``workflows.json``, whose hashes the manifest holds; each is run at the seed offsets of the report.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..comfyui.client import ComfyClient
from ..comfyui.host import ManagedHost
from ..errors import CopyScopeError, HostError, StoreError
from ..evidence.manifest import Manifest, read_manifest, read_report, workflow_sha256
from ..evidence.run_files import RunFiles, open_run
from ..files.images import MAX_FILE_BYTES, image_of
from ..game.coalitions import label
from ..observer import Observer, Quiet
from ..planning.video import chosen_frames
from ..report.report import Report
from ..report.schema import CoalitionResult, ImageRecord
from ..report.text import listed
from ..store.run_store import MAX_JSON_BYTES
from ..store.runs import WORKFLOWS_FILE
from ..workflow.graph import Graph, Link, parse_graph, to_json
from ..workflow.node_info import NodeCatalog
from ..workflow.noise import noise_inputs
from .output_nodes import image_nodes, shown_images
from .servers import ServerChoice, connected, started_host


@dataclass(frozen=True)
class Repeated:
    """One image that was made again.

    Attributes:
        coalition: as messages call it.
        file: of the image that the report is made from.
        seed: its offset.
        same: whether all pixels are.
        difference: a channel's largest difference, 0…255; None: the image of the report is not at hand, or of another
            size.
    """

    coalition: str
    file: str
    seed: int
    same: bool
    difference: int | None


@dataclass(frozen=True)
class Repetition:
    """What came of running an audit's workflows again.

    Attributes:
        images: each image, by coalition and seed.
        notes: in what the server differs from the one of the report, as sentences.
    """

    images: tuple[Repeated, ...]
    notes: tuple[str, ...]

    @property
    def same(self) -> int:
        """How many images came out the same."""
        return sum(image.same for image in self.images)

    def as_json(self) -> dict[str, Any]:
        """What ``copyscope repeat --json`` prints."""
        return {
            "same": self.same,
            "of": len(self.images),
            "images": [asdict(image) for image in self.images],
            "notes": list(self.notes),
        }


def repeat(path: Path, choice: ServerChoice, seeds: int | None = None, observer: Observer | None = None) -> Repetition:
    """Run the workflows of a run folder, or of a bundle, again on the first of the chosen servers.

    Args:
        seeds: of how many of the report's seed offsets; None: of all.

    Raises:
        StoreError: there is no manifest, report or workflow, or a workflow is not that of the manifest.
        HostError: the server cannot be reached, or cannot run one of them; it is named.
    """
    observer = observer or Quiet()
    run = open_run(path)
    manifest, _ = read_manifest(run)
    report = read_report(run)
    graphs = _workflows(run, manifest, report)

    async def work(host: ManagedHost | None) -> Repetition:
        async with connected(choice, host, observer) as servers:
            client = servers[0].client
            notes = await _differences(client, report)
            return Repetition(tuple(await _run_all(run, report, graphs, client, seeds, observer)), notes)

    with started_host(choice, None, observer) as host:
        return asyncio.run(work(host))


def _workflows(run: RunFiles, manifest: Manifest, report: Report) -> dict[int, Graph]:
    """Each coalition's stored workflow, if all of them are those of the manifest.

    Raises:
        StoreError: they are not there, or one of them is another.
    """
    try:
        stored = json.loads(run.read(WORKFLOWS_FILE, MAX_JSON_BYTES))
    except FileNotFoundError as error:
        raise StoreError(
            f"{run.path} holds no {WORKFLOWS_FILE}: its images were scored as they are, or it is a private bundle; "
            "only an audit's own folder can be repeated."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{WORKFLOWS_FILE} of {run.path} cannot be read ({error}).") from error
    known = {item.mask: item.workflow_sha256 for item in manifest.coalitions}
    graphs = {}
    for item in report.coalitions:
        graph = stored.get(str(item.mask)) if isinstance(stored, dict) else None
        if graph is None or workflow_sha256(graph) != known.get(item.mask):
            raise StoreError(f"The workflow of {_name(report, item)} is not that of the manifest, so it is not run.")
        graphs[item.mask] = parse_graph(graph)
    return graphs


async def _differences(client: ComfyClient, report: Report) -> tuple[str, ...]:
    """In what a server differs from the one that the report was made on, as far as it tells."""
    stats = await client.system_stats()
    version, noted = stats["system"].get("comfyui_version"), report.environment.get("comfyui")
    notes = [f"The report was made with ComfyUI {noted}; this is {version}."] if version != noted else []
    devices = stats.get("devices")
    first = devices[0] if isinstance(devices, list) and devices and isinstance(devices[0], dict) else {}
    device, made_on = f"{first.get('type', '?')} {first.get('name', '?')}", str(report.environment.get("device"))
    if made_on not in device:
        notes.append(f"The report was made on {made_on}; this is {device}.")
    unknown = []
    for model in report.models:
        told = await client.pack_hash(model.file)
        digest = None if told is None else told.sha256
        if digest is None or model.sha256 is None:
            unknown.append(model.file)
        elif digest != model.sha256:
            notes.append(f"The model {listed([model.file])} is another file here: its SHA-256 is {digest}.")
    if unknown:
        notes.append(f"Whether these models are the same files is not known: {listed(unknown)}.")
    return tuple(notes)


async def _run_all(
    run: RunFiles,
    report: Report,
    graphs: Mapping[int, Graph],
    client: ComfyClient,
    seeds: int | None,
    observer: Observer,
) -> list[Repeated]:
    catalog = NodeCatalog(await client.object_info(), live=True)
    offsets = sorted(report.seeds)[:seeds]
    found: list[Repeated] = []
    observer.stage("Running workflows again", len(graphs) * len(offsets))
    for item in report.coalitions:
        name, graph = _name(report, item), graphs[item.mask]
        target = _target(graph, catalog)
        for offset in offsets:
            observer.step(len(found), name)
            prompt = {**to_json(_shifted(graph, catalog, offset)), **(shown := image_nodes(target))}
            try:
                entry = await client.run(prompt, forget=True)
                images = [await client.fetch_image(*place) for place in shown_images(entry, shown)]
            except HostError as error:
                raise type(error)(f"{name} (seed offset {offset}) cannot be run again: {error}") from error
            if report.clips is not None:
                images = [images[place] for place in chosen_frames(len(images), report.clips.frames)]
            found += _compared(run, item, name, offset, images)
    observer.step(len(graphs) * len(offsets))
    return found


def _compared(run: RunFiles, item: CoalitionResult, name: str, offset: int, images: Sequence[bytes]) -> list[Repeated]:
    """The images of a coalition at a seed beside those of the report; where there are fewer, the others differ."""
    records = [record for record in item.image_files if record.seed == offset]
    result = []
    for place, record in enumerate(records):
        same, difference = False, None
        if place < len(images):
            again = image_of(images[place], Path(record.file))
            same = again.pixel_sha256 == record.pixel_sha256
            difference = 0 if same else _difference(run, item, record, again.pixels)
        result.append(Repeated(name, record.file, offset, same, difference))
    return result


def _difference(run: RunFiles, item: CoalitionResult, record: ImageRecord, pixels: Any) -> int | None:
    try:
        earlier = image_of(run.read(f"{item.folder}/{record.file}", MAX_FILE_BYTES), Path(record.file)).pixels
    except (CopyScopeError, OSError):
        return None
    if earlier.shape != pixels.shape:
        return None
    return int(np.abs(earlier.astype(np.int16) - pixels).max())


def _target(graph: Graph, catalog: NodeCatalog) -> Link:
    """The image output that a stored workflow ends in: of the one node that no other takes anything from.

    Raises:
        HostError: the server does not know that node, or it gives no images.
    """
    used = {link.node for node in graph.values() for _, link in node.links()}
    last = next((node_id for node_id in reversed(list(graph)) if node_id not in used), "")
    info = catalog.get(graph[last].class_type) if last else None
    slots = [] if info is None else [slot for slot, kind in enumerate(info.outputs) if kind == "IMAGE"]
    if not slots:
        raise HostError(f"The server has no node {listed([graph[last].class_type]) if last else ''} that gives images.")
    return Link(last, slots[0])


def _shifted(graph: Graph, catalog: NodeCatalog, offset: int) -> Graph:
    """The graph at a seed offset, as audits shift it."""
    shifted = dict(graph)
    for noise in noise_inputs(graph, catalog) if offset else ():
        node = shifted[noise.node]
        shifted[noise.node] = replace(node, inputs={**node.inputs, noise.input: noise.shifted(offset)})
    return shifted


def _name(report: Report, item: CoalitionResult) -> str:
    return label(item.mask, [player.name for player in report.players])
