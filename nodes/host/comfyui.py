"""What CopyScope needs from the ComfyUI that it runs in: node classes, folders, files, hashes, versions, device."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import comfy.model_management
import comfy.utils
import folder_paths
import torch
from comfy.cli_args import args
from comfy_execution import caching
from comfyui_version import __version__ as comfyui_version
from server import PromptServer

import nodes as comfy_nodes

from ...copyscope_core.comfyui.versions import newer_than_tried, read_version
from ...copyscope_core.errors import HostError, ImageError
from ...copyscope_core.files.hashes import HashCache
from ...copyscope_core.metadata.header import Metadata, common_metadata
from ...copyscope_core.store.keys import RunContext, embedding_names, file_names, launch_flags
from ...copyscope_core.twins.cache import SketchCache
from ...copyscope_core.twins.twins import Fingerprint
from ...copyscope_core.workflow.graph import Graph, Link, Node
from ...copyscope_core.workflow.node_info import EMBEDDING_SUFFIXES, NodeCatalog, is_image_file

RUNS_FOLDER = "copyscope"

CacheMode = Literal["classic", "lru", "ram-pressure", "none"]
"""``classic`` and ``lru`` keep every output until a prompt ends; ``ram-pressure`` drops what no waiting node needs when
memory runs short; ``none`` keeps nothing else."""


class _HostClasses(Mapping[str, Any]):
    """ComfyUI's node classes as ``/object_info`` gives them, made when asked for."""

    def __getitem__(self, name: str) -> dict[str, Any]:
        cls = comfy_nodes.NODE_CLASS_MAPPINGS[name]
        if hasattr(cls, "GET_NODE_INFO_V1"):
            return cls.GET_NODE_INFO_V1()
        return {
            "input": cls.INPUT_TYPES(),
            "output": cls.RETURN_TYPES,
            "display_name": comfy_nodes.NODE_DISPLAY_NAME_MAPPINGS.get(name, name),
            "output_node": getattr(cls, "OUTPUT_NODE", False),
            "api_node": getattr(cls, "API_NODE", False),
        }

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default
        except Exception:  # noqa: BLE001 - another pack's INPUT_TYPES may raise anything; its node is then unknown
            logging.warning("CopyScope: the inputs of the node class %s cannot be read; it counts as unknown.", name)
            return default

    def __contains__(self, name: object) -> bool:
        return name in comfy_nodes.NODE_CLASS_MAPPINGS

    def __iter__(self) -> Iterator[str]:
        return iter(comfy_nodes.NODE_CLASS_MAPPINGS)

    def __len__(self) -> int:
        return len(comfy_nodes.NODE_CLASS_MAPPINGS)


def catalog() -> NodeCatalog:
    """The host's node classes, with its lists of file names."""
    return NodeCatalog(_HostClasses(), live=True)


def runs_folder() -> Path:
    """Where the graph's run folders are: ``copyscope`` in ComfyUI's output folder."""
    return Path(folder_paths.get_output_directory()) / RUNS_FOLDER


def run_context(nodes: Iterable[Node], names: Mapping[str, str], display_id: str) -> RunContext:
    """What the coalitions' images depend on apart from their graphs; hashes every file that their nodes name.

    Args:
        names: the files that nodes name without extension, by these names.

    Raises:
        StoreError: a file cannot be read.
    """
    nodes = list(nodes)
    files = {name: _hash_named(name, display_id) for name in file_names(nodes, names)}
    where = environment({node.class_type for node in nodes})
    if embeddings := _embeddings(embedding_names(nodes), display_id):
        where["embeddings"] = embeddings
    return RunContext(where, files, uuid.uuid4().hex, names)


def environment(classes: Iterable[str] = ()) -> dict[str, Any]:
    """Versions, device and launch flags; with ``classes``, also the packs that these node classes come from."""
    device = comfy.model_management.get_torch_device()
    result = {
        "comfyui": comfyui_version,
        "torch": torch.__version__,
        "device": comfy.model_management.get_torch_device_name(device),
        "launch_flags": launch_flags(sys.argv),
    }
    packs = {pack for name in classes if (pack := _pack(name))}
    return {**result, "packs": dict(sorted(packs))} if packs else result


def check_expansion() -> None:
    """ComfyUI's first cache behind ``--cache-none`` fails on every node that expands; its NullCache does not.

    Raises:
        HostError: this ComfyUI runs with that cache.
    """
    if args.cache_none and hasattr(caching, "DependencyAwareCache"):
        raise HostError(
            f"ComfyUI {comfyui_version} cannot run audits in a graph with --cache-none; start it without that flag, "
            "update ComfyUI, or use the copyscope command."
        )


def restless_nodes(graph: Graph) -> list[str]:
    """Nodes that ask to run at every prompt (their fingerprint is never the same), so that images may not repeat."""
    found = []
    for node_id, node in graph.items():
        cls = comfy_nodes.NODE_CLASS_MAPPINGS.get(node.class_type)
        constants = {name: value for name, value in node.inputs.items() if not isinstance(value, Link)}
        for name in ("IS_CHANGED", "fingerprint_inputs"):
            try:
                value = getattr(cls, name)(**constants)
            except Exception:  # noqa: BLE001, S112 - another pack's code; ComfyUI itself only warns then
                continue
            if isinstance(value, float) and value != value:
                found.append(f"{node_id} ({node.class_type})")
    return found


def hash_cache() -> HashCache:
    """The SHA-256 of model files, kept in ComfyUI's user folder by path, size and time."""
    return HashCache(Path(folder_paths.get_user_directory()) / "copyscope" / "hashes.json")


def fingerprint(name: str, display_id: str | None = None) -> Fingerprint:
    """What tells copies of a model file. Raises StoreError where it cannot be read.

    Args:
        display_id: the node that shows how far it is, where a user may interrupt; None: nobody waits.
    """
    if display_id is None:
        return SketchCache(hash_cache()).fingerprint(model_paths(name))
    say(f"Looking for copies of {name}", display_id)
    return SketchCache(hash_cache()).fingerprint(model_paths(name), _hashing(name, display_id))


def file_metadata(name: str) -> Metadata | None:
    """What a model file says of itself; None where there is none, or it is no safetensors file."""
    return common_metadata(model_paths(name))


def model_paths(name: str) -> list[Path]:
    """Every file of this name in ComfyUI's model folders; names that leave the folders are in none."""
    found = []
    for folder in sorted(folder_paths.folder_names_and_paths):
        if folder in ("custom_nodes", "configs"):
            continue
        if name in folder_paths.get_filename_list(folder) and (path := folder_paths.get_full_path(folder, name)):
            found.append(Path(path))
    return list(dict.fromkeys(found))


def input_image_path(name: str) -> Path:
    """The path of an image that a loader names, inside ComfyUI's own folders.

    Raises:
        HostError: it is not there, or leaves them.
    """
    path = Path(folder_paths.get_annotated_filepath(name))
    roots = (
        folder_paths.get_input_directory(), folder_paths.get_output_directory(), folder_paths.get_temp_directory(),
    )  # fmt: skip
    if not path.is_file() or not any(path.resolve().is_relative_to(Path(root).resolve()) for root in roots):
        raise HostError(f"The image {name!r} is not in ComfyUI's input folder; put it there and choose it again.")
    return path


def input_folder(name: str) -> Path:
    """A subfolder of ComfyUI's input folder.

    Raises:
        ImageError: there is no such subfolder, or it leads out of the input folder.
    """
    root = Path(folder_paths.get_input_directory()).resolve()
    path = root / name
    if not name or not path.is_dir() or not path.resolve().is_relative_to(root) or path.resolve() == root:
        raise ImageError(f"The folder {name!r} is not in ComfyUI's input folder; make it there and put the images in.")
    return path.resolve()


def input_subfolders() -> list[str]:
    """The subfolders of ComfyUI's input folder; links are not followed."""
    root = folder_paths.get_input_directory()
    folders = (Path(folder, name) for folder, names, _ in os.walk(root) for name in names)
    return sorted(path.relative_to(root).as_posix() for path in folders if not path.is_symlink())


def running_prompt() -> Mapping[str, Any] | None:
    """The nodes of the prompt that runs; None where ComfyUI's queue does not tell.

    For fingerprints, which ComfyUI asks for without showing the prompt.
    """
    running = _running()
    return None if running is None else running[2]


def running_prompt_id() -> str | None:
    """The id of the prompt that runs; None where ComfyUI's queue does not tell."""
    running = _running()
    return None if running is None else running[1]


def _running() -> tuple[Any, ...] | None:
    queue = getattr(PromptServer.instance, "prompt_queue", None)
    running = list(getattr(queue, "currently_running", {}).values())
    return running[0] if len(running) == 1 else None


def check_interrupt() -> None:
    """Stop if the user has interrupted."""
    comfy.model_management.throw_exception_if_processing_interrupted()


def say(text: str, display_id: str) -> None:
    """Show a line of progress on a node, and stop if the user has interrupted."""
    check_interrupt()
    server = PromptServer.instance
    if server is not None:
        server.send_progress_text(text, display_id, server.client_id)


def tell(event: str, data: Mapping[str, Any]) -> None:
    """Send whoever queued the prompt, and nobody else, a message of the pack's own."""
    server = PromptServer.instance
    if server is not None and server.client_id is not None:
        server.send_sync(event, dict(data), server.client_id)


def cache_mode() -> CacheMode:
    """How this ComfyUI keeps the outputs of nodes, as its ``main.py`` decides it.

    Since 0.33 ``--cache-ram`` is a list and the RAM-pressure cache the default; before it was a number, or not there.
    """
    if args.cache_none:
        return "none"
    if args.cache_lru > 0:
        return "lru"
    ram = getattr(args, "cache_ram", 0)
    return "ram-pressure" if not args.cache_classic and (isinstance(ram, list) or ram > 0) else "classic"


def say_if_newer() -> None:
    """Say in the log that this ComfyUI, or its front end, is newer than any that was tried."""
    note = newer_than_tried(comfyui_version, front_end_version())
    if note is not None:
        logging.warning("CopyScope: %s", note)


def front_end_version() -> str | None:
    """The version of the front end: the one that a flag names, else that of the installed package; None: unknown."""
    if getattr(args, "front_end_root", None):
        return None
    named = str(getattr(args, "front_end_version", "")).rpartition("@")[2]
    if read_version(named) is not None:
        return named
    try:
        return metadata.version("comfyui-frontend-package")
    except metadata.PackageNotFoundError:
        return None


def free_memory_bytes() -> int:
    """Memory of the machine that is free, in bytes."""
    return int(comfy.model_management.get_free_memory(torch.device("cpu")))


def _hash_named(name: str, display_id: str) -> str | None:
    if not is_image_file(name):
        return _hash_files(name, model_paths(name), display_id)
    try:
        path = input_image_path(name)
    except (HostError, ValueError, OSError):  # no such image: most likely a text that ends like a file's name
        return None
    return hash_cache().sha256(path)


def _embeddings(names: Sequence[str], display_id: str) -> dict[str, str | None]:
    """SHA-256 of textual inversions; None where there is none, as ComfyUI allows.

    ComfyUI looks into the subfolders too, and takes a name without its suffix.
    """
    listed = folder_paths.get_filename_list("embeddings") if names else []
    result = {}
    for name in names:
        ends = tuple(f"/{name}{suffix}" for suffix in EMBEDDING_SUFFIXES)
        files = [file for file in listed if f"/{file}".replace("\\", "/").endswith(ends)]
        paths = [Path(path) for file in files if (path := folder_paths.get_full_path("embeddings", file))]
        result[name] = _hash_files(name, paths, display_id)
    return result


def _hashing(name: str, display_id: str) -> Callable[[int, int], None]:
    """Shows how much of a file is hashed."""
    return lambda done, total: say(f"Hashing {name}: {100 * done // max(total, 1)}%", display_id)


def _hash_files(name: str, paths: list[Path], display_id: str) -> str | None:
    """SHA-256 of the file of a name, of all, joined, where several have it; None where none has."""
    if not paths:
        return None
    digests = [hash_cache().sha256(path, _hashing(name, display_id)) for path in paths]
    return digests[0] if len(set(digests)) == 1 else "+".join(sorted(set(digests)))


def _pack(class_type: str) -> tuple[str, str] | None:
    """A custom node class's pack and its version, as far as one can tell; None for ComfyUI's own."""
    cls = comfy_nodes.NODE_CLASS_MAPPINGS.get(class_type)
    module = getattr(cls, "RELATIVE_PYTHON_MODULE", None)
    if cls is None or not module or not module.startswith("custom_nodes."):
        return None
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return module, str(Path(file).stat().st_mtime_ns) if file else "unknown"
