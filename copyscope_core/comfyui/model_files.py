"""The model files of a ComfyUI folder on this machine: found by the names that workflows give, and hashed.

A server says which names it has, never where the files are. With the folder at hand they are looked for in the places
that ComfyUI itself uses. Where that is not certain (an extra_model_paths.yaml sends it elsewhere), a file counts as not
hashed, because a wrong hash would let images of an older file be reused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..files.hashes import HashCache, Progress
from ..metadata.header import Metadata, common_metadata
from ..twins.cache import SketchCache
from ..twins.twins import Fingerprint

EXTRA_PATHS = "extra_model_paths.yaml"
EXTRA_PATHS_FLAG = "--extra-model-paths-config"
_OUTPUT_MODELS = ("checkpoints", "clip", "vae", "diffusion_models", "loras")


@dataclass(frozen=True)
class LocalModels:
    """Where a ComfyUI on this machine has its models and packs.

    Attributes:
        comfyui: its folder.
        base: its base directory (``--base-directory``, else the folder itself).
        arguments: its launch flags.
        cache: remembers hashes.
    """

    comfyui: Path
    base: Path
    cache: HashCache
    arguments: Sequence[str] = ()

    @property
    def certain(self) -> bool:
        """Whether the places of all models are known."""
        return not (self.comfyui / EXTRA_PATHS).exists() and EXTRA_PATHS_FLAG not in self.arguments

    def find(self, name: str) -> list[Path]:
        """Every file that a workflow may mean by ``name``: one, unless kinds of models share a file name."""
        relative = PurePosixPath(name.replace("\\", "/"))
        if not self.certain or relative.is_absolute() or ".." in relative.parts or ":" in name or "\0" in name:
            return []
        folders = list(self._subfolders(self.base / "models"))
        folders += [self.base / "output" / kind for kind in _OUTPUT_MODELS]
        return [path for folder in folders if _there(path := folder / relative) and path.is_file()]

    def sha256(self, name: str, progress: Progress | None = None) -> str | None:
        """SHA-256 of the file, or of all hashes together where several have the name; None where there is none.

        Raises:
            StoreError: a file cannot be read.
        """
        found = [self.cache.sha256(path, progress) for path in self.find(name)]
        if len(set(found)) <= 1:
            return found[0] if found else None
        return hashlib.sha256("".join(sorted(found)).encode("ascii")).hexdigest()

    def metadata(self, name: str) -> Metadata | None:
        """What the model file says of itself; None where there is none, or it is no safetensors file."""
        return common_metadata(self.find(name))

    def fingerprint(self, name: str, progress: Progress | None = None) -> Fingerprint:
        """What is known of the model file; nothing where there is none, or several differ.

        Raises:
            StoreError: a file cannot be read.
        """
        return SketchCache(self.cache).fingerprint(self.find(name), progress)

    def pack_digest(self, module: str) -> str | None:
        """SHA-256 over the Python files of a custom node pack (``custom_nodes.NAME``); None where it is not found."""
        name = module.partition("custom_nodes.")[2]
        for folder in {self.base / "custom_nodes", self.comfyui / "custom_nodes"}:
            for path in (folder / name, folder / f"{name}.py"):
                if name and _there(path):
                    return _code_digest(path)
        return None

    @staticmethod
    def _subfolders(folder: Path) -> list[Path]:
        try:
            return sorted(path for path in folder.iterdir() if path.is_dir())
        except OSError:
            return []


def _there(path: Path) -> bool:
    """Whether there is such a file or folder; a name that no system takes (too long, say) names none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _code_digest(path: Path) -> str | None:
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*.py") if item.is_file())
    digest = hashlib.sha256()
    try:
        for file in files:
            digest.update(file.relative_to(path.parent).as_posix().encode("utf-8", "surrogatepass") + b"\0")
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    except OSError:
        return None
    return digest.hexdigest()
