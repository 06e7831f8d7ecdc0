"""What a coalition's images depend on beside its graph: file contents, versions, device, launch flags."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from ..comfyui.client import ComfyClient
from ..comfyui.errors import ImageMissingError, one_line
from ..comfyui.http import HashedFile
from ..comfyui.model_files import LocalModels
from ..errors import HostError
from ..metadata.header import Metadata
from ..observer import Observer
from ..planning.plan import Plan
from ..store.keys import RunContext, embedding_names, file_names, launch_flags
from ..twins.twins import Fingerprint
from ..workflow.graph import Node
from ..workflow.node_info import EMBEDDING_SUFFIXES, is_image_file, mapping

_CUSTOM = "custom_nodes"


@dataclass(frozen=True)
class ServerContext:
    """A server as an audit sees it.

    Attributes:
        run: keys of coalitions.
        environment: versions and device, for the report.
        models: model file name → SHA-256, or None where it could not be hashed.
        images: image file name → its bytes, for those the server has.
        unhashed: what keeps coalitions from being reused in a later run.
        metadata: model file name → what the file says of itself, where that is known.
    """

    run: RunContext
    environment: dict[str, Any]
    models: dict[str, str | None]
    images: dict[str, bytes] = field(repr=False)
    unhashed: tuple[str, ...] = ()
    metadata: dict[str, Metadata] = field(default_factory=dict, repr=False)


async def server_context(
    client: ComfyClient, plan: Plan, local: LocalModels | None, observer: Observer
) -> ServerContext:
    """Ask the server what it is, fetch the input images and hash the model files.

    Raises:
        HostError: the server cannot be reached.
        StoreError: a model file cannot be read.
    """
    stats = await client.system_stats()
    info = await client.object_info()
    for mask in plan.design.masks:
        plan.rewriter.target(mask)
    nodes = list(plan.rewriter.pool.values())
    names = file_names(nodes, plan.model_names)
    images = await _input_images(client, [name for name in names if is_image_file(name)])
    model_names = [name for name in names if not is_image_file(name)]
    inversions = {name: [name + suffix for suffix in EMBEDDING_SUFFIXES] for name in embedding_names(nodes)}
    read = await _read_models(client, [*model_names, *itertools.chain(*inversions.values())], local, observer)
    hashed = {name: file.sha256 for name, file in read.items()}
    models = {name: hashed[name] for name in model_names}
    metadata = {name: file.metadata for name, file in read.items() if name in models and file.metadata is not None}
    embeddings = {
        name: next((hashed[file] for file in files if hashed[file]), None) for name, files in inversions.items()
    }
    packs = {
        module: None if local is None else local.pack_digest(module) for module in sorted(_custom_modules(nodes, info))
    }
    system, devices = mapping(stats["system"]), stats.get("devices")
    device = mapping(devices[0] if isinstance(devices, list) and devices else None)
    environment = {
        "comfyui": system.get("comfyui_version"),
        "comfyui_pytorch": system.get("pytorch_version"),
        "comfyui_os": system.get("os"),
        "device": f"{device.get('type', '?')} {device.get('name', '?')}",
        "launch_flags": launch_flags(_words(system.get("argv"))),
        "node_packs": packs,
        "embeddings": embeddings,
    }
    files: dict[str, str | None] = {**models}
    files.update({name: hashlib.sha256(data).hexdigest() for name, data in images.items()})
    unhashed = [name for name in names if not files.get(name)]
    unhashed += [name for name, digest in [*packs.items(), *embeddings.items()] if digest is None]
    token = secrets.token_hex(16)
    unknown = None in [*packs.values(), *embeddings.values()]
    keyed = {**environment, "packs_token": token} if unknown else environment
    return ServerContext(
        RunContext(keyed, files, token, plan.model_names), environment, models, images, tuple(unhashed), metadata
    )


def common_context(contexts: Mapping[str, ServerContext]) -> ServerContext:
    """What several servers have in common, by their addresses; images are comparable only where that is everything.

    A model that one of them could not hash counts as not hashed.

    Raises:
        HostError: they differ in versions, device, launch flags, node packs, or in the contents of a file.
    """
    (first, result), *others = contexts.items()
    for url, context in others:
        for has, lacks, names in (
            (first, url, result.images.keys() - context.images.keys()),
            (url, first, context.images.keys() - result.images.keys()),
        ):
            if names:
                raise HostError(
                    f"The server {has} has the input image {one_line(min(names), 120)!r} and {lacks} has not; put it "
                    "into both servers' input folders."
                )
        sides = [{**context.environment, **context.run.files} for context in (result, context)]
        for name, value in sides[0].items():
            other = sides[1].get(name)
            if value != other and not (name in result.run.files and None in (value, other)):
                raise HostError(
                    f"The servers {first} and {url} differ in {name} ({_short(value)}, {_short(other)}), so their "
                    "images cannot be compared; give servers that are alike."
                )
    unhashed = tuple(dict.fromkeys(name for context in contexts.values() for name in context.unhashed))
    models = {name: None if name in unhashed else digest for name, digest in result.models.items()}
    files = {name: None if name in unhashed else digest for name, digest in result.run.files.items()}
    metadata = {name: told for context in contexts.values() for name, told in context.metadata.items()}
    run = replace(result.run, files=files)
    return replace(result, run=run, models=models, unhashed=unhashed, metadata=metadata)


def split_image_name(name: str) -> tuple[str, str, str]:
    """File name, subfolder and kind (input, output, temp) of an image as ComfyUI's inputs name it."""
    kind = "input"
    for candidate in ("input", "output", "temp"):
        if name.endswith(f" [{candidate}]"):
            name, kind = name[: -len(candidate) - 3], candidate
    path = PurePosixPath(name.replace("\\", "/"))
    folder = path.parent.as_posix()
    return path.name, "" if folder == "." else folder, kind


async def _input_images(client: ComfyClient, names: Iterable[str]) -> dict[str, bytes]:
    found = {}
    for name in names:
        with contextlib.suppress(ImageMissingError):
            found[name] = await client.fetch_image(*split_image_name(name))
    return found


async def _read_models(
    client: ComfyClient, names: list[str], local: LocalModels | None, observer: Observer
) -> dict[str, HashedFile]:
    """Hashes and metadata of model files: by the pack's route where the server has it, else from the folder at hand."""
    observer.stage("Hashing model files", len(names))
    result: dict[str, HashedFile] = {}
    has_route = True
    for number, name in enumerate(names):
        observer.step(number, name)
        told = await client.pack_hash(name) if has_route else None
        has_route = told is not None
        found = told or HashedFile()
        if found.sha256 is None and local is not None:
            digest = await asyncio.to_thread(local.sha256, name)
            found = HashedFile(digest, await asyncio.to_thread(local.metadata, name))
        result[name] = found
    observer.step(len(names))
    return result


async def model_fingerprints(
    client: ComfyClient, names: Iterable[str], local: LocalModels | None
) -> dict[str, Fingerprint]:
    """What tells copies of model files: by the pack's route where the server has it, else from the folder at hand.

    Raises:
        HostError: the server cannot be reached.
        StoreError: a model file cannot be read.
    """
    result, has_route = {}, True
    for name in names:
        found = await client.pack_fingerprint(name) if has_route else None
        has_route = found is not None
        if (found is None or found.sha256 is None) and local is not None:
            found = await asyncio.to_thread(local.fingerprint, name)
        if found is not None and (found.sha256 is not None or found.sketch is not None):
            result[name] = found
    return result


def _custom_modules(nodes: Iterable[Node], info: dict[str, Any]) -> set[str]:
    modules = set()
    for node in nodes:
        described = info.get(node.class_type)
        module = str(described.get("python_module", "")) if isinstance(described, dict) else ""
        if module.startswith(_CUSTOM):
            modules.add(module)
    return modules


def _short(value: Any) -> str:
    return one_line(value, 80)


def _words(argv: Any) -> list[str]:
    return [str(word) for word in argv] if isinstance(argv, list) else []
