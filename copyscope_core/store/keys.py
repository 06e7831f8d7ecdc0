"""Keys of stored coalitions: everything that a coalition's images depend on, as one SHA-256.

The key holds the rewritten graph (by its structural digest), the SHA-256 of every model and input-image file in it,
and where it ran: versions, device, launch flags. A file that could not be hashed is replaced by a token of the run, so
that nothing is reused across runs where a file may have changed unseen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..workflow.graph import Link, Node
from ..workflow.lora_tags import tags
from ..workflow.node_info import EMBEDDING, is_image_file, is_model_file

IRRELEVANT_FLAGS = {
    "--listen": 1, "--port": 1, "--tls-keyfile": 1, "--tls-certfile": 1, "--enable-cors-header": 1,
    "--max-upload-size": 1, "--base-directory": 1, "--extra-model-paths-config": 1, "--output-directory": 1,
    "--temp-directory": 1, "--input-directory": 1, "--user-directory": 1, "--auto-launch": 0,
    "--disable-auto-launch": 0, "--preview-method": 1, "--preview-size": 1, "--dont-print-server": 0,
    "--windows-standalone-build": 0, "--disable-metadata": 0, "--multi-user": 0, "--verbose": 1, "--log-stdout": 0,
    "--front-end-version": 1, "--front-end-root": 1, "--database-url": 1, "--enable-compress-response-body": 0,
    "--cache-classic": 0, "--cache-lru": 1, "--cache-none": 0, "--cache-ram": 1, "--enable-manager": 0,
    "--quick-test-for-ci": 0, "--cuda-device": 1, "--default-device": 1,
}  # fmt: skip
"""Launch flags that do not change images, with the number of their values."""


@dataclass(frozen=True)
class RunContext:
    """Where coalitions run.

    Attributes:
        environment: versions of ComfyUI, of PyTorch and of node packs, device, launch flags.
        files: file name as the workflow gives it → SHA-256, or None where it could not be hashed.
        token: stands for files that were not hashed; unique to the run.
        names: the files that the workflow names without their extension, such as LoRAs in tags, by these names.
    """

    environment: Mapping[str, Any]
    files: Mapping[str, str | None]
    token: str
    names: Mapping[str, str] = field(default_factory=dict)

    def key(self, target: Link, nodes: Iterable[Node], frames: int | None = None) -> str:
        """The key of a coalition.

        Args:
            target: the coalition's output in the rewriter's pool: a structural digest and a slot.
            nodes: of its rewritten graph, for the files that they name.
            frames: how many frames of each clip are kept (0: all); None: the images are no frames.
        """
        files = {name: self.files.get(name) or self.token for name in file_names(nodes, self.names)}
        text = json.dumps(
            [list(target), files, dict(self.environment), frames], sort_keys=True, ensure_ascii=False, default=str
        )
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def file_names(nodes: Iterable[Node], names: Mapping[str, str] | None = None) -> list[str]:
    """The model and image files that nodes name, sorted; ``names`` says what names without extension mean."""
    found: set[str] = set()
    for value in (value for node in nodes for value in _strings(node)):
        if is_model_file(value) or is_image_file(value):
            found.add(value)
        elif names:
            found.update(names[name] for name in (value, *tags(value)) if name in names)
    return sorted(found)


def embedding_names(nodes: Iterable[Node]) -> list[str]:
    """The textual inversions that the texts of nodes name as ``embedding:NAME``, sorted."""
    return sorted({name for node in nodes for value in _strings(node) for name in EMBEDDING.findall(value)})


def launch_flags(argv: Sequence[str]) -> list[str]:
    """The launch flags of a ComfyUI (``sys.argv``) that may change images, sorted."""
    flags: list[str] = []
    skip = 0
    for word in argv[1:]:
        name = word.split("=", 1)[0]
        if skip and not word.startswith("--"):
            skip -= 1
        elif name in IRRELEVANT_FLAGS:
            skip = 0 if "=" in word else IRRELEVANT_FLAGS[name]
        elif word.startswith("--"):
            skip = 0
            flags.append(word)
        elif flags:
            flags[-1] += f" {word}"
    return sorted(flags)


def _strings(node: Node) -> Iterator[str]:
    """The texts in a node's inputs, also those in lists and objects."""
    waiting = [value for value in node.inputs.values() if not isinstance(value, Link)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple)):
            waiting.extend(value)
