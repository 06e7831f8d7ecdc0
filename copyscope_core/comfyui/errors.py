"""What can go wrong at a ComfyUI server, as errors a caller can tell apart and sentences a user can read."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import HostError
from ..workflow.node_info import mapping

NAMES_SHOWN = 10
_TEXT_CAP = 600
_NODES_SHOWN = 5
_NO_MEMORY = ("out of memory", "out_of_memory", "out_of_device_memory", "can't allocate memory", "not enough memory")
"""How CUDA, ROCm and Apple's GPUs, Intel's GPUs, and PyTorch's CPU allocator say that memory is used up."""


class ServerUnreachableError(HostError):
    """The server does not answer at all."""


class ServerLostError(HostError):
    """The server died, or was restarted, while it had our prompt."""


class ServerHangError(HostError):
    """The server answers no more, or reports no progress for too long."""


class HostDiedError(HostError):
    """A ComfyUI of our own dies or hangs again and again, or cannot be started again."""


class PromptRefusedError(HostError):
    """The server's validation refused the prompt; running it again cannot help."""


class PromptFailedError(HostError):
    """A node raised an error while the prompt ran."""

    def __init__(self, message: str, node_id: str = "", node_class: str = "", exception_type: str = "") -> None:
        super().__init__(message)
        self.node_id = node_id
        self.node_class = node_class
        self.exception_type = exception_type

    @property
    def out_of_memory(self) -> bool:
        """Whether the server ran out of memory."""
        text = str(self).lower()
        return "OutOfMemory" in self.exception_type or any(words in text for words in _NO_MEMORY)


class ImageMissingError(HostError):
    """The server does not have an image that was asked for."""


class PromptInterruptedError(HostError):
    """Somebody pressed the server's stop button while our prompt ran."""


def one_line(text: object, cap: int = _TEXT_CAP) -> str:
    """Text on one line, cut at ``cap`` characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= cap else line[: cap - 1] + "…"


def shown_names(names: list[str], wanted: object = None) -> str:
    """The first names of a list (those most like ``wanted`` first) and how many more there are."""
    if not names:
        return "none"
    near = difflib.get_close_matches(str(wanted), names, n=3, cutoff=0.5) if wanted is not None else []
    ordered = [*near, *(name for name in names if name not in near)]
    text = ", ".join(one_line(name, 120) for name in ordered[:NAMES_SHOWN])
    return text if len(ordered) <= NAMES_SHOWN else f"{text} and {len(ordered) - NAMES_SHOWN} more"


def options_of(node_info: Mapping[str, Any], input_name: str) -> list[str] | None:
    """The names a node's input offers, from its ``/object_info``; None where the input is no list."""
    for group in ("required", "optional"):
        spec = mapping(mapping(mapping(node_info).get("input")).get(group)).get(input_name)
        if isinstance(spec, list) and spec:
            options = spec[0]
            if options == "COMBO" and len(spec) > 1 and isinstance(spec[1], Mapping):
                options = spec[1].get("options")
            if isinstance(options, list):
                return [str(option) for option in options]
    return None


def refused(answer: Mapping[str, Any], node_info: Callable[[str], Mapping[str, Any] | None]) -> PromptRefusedError:
    """The error for what ``POST /prompt`` found wrong; ``node_info`` gives a class's ``/object_info``."""
    parts = []
    for node_id, found in mapping(answer.get("node_errors")).items():
        node_class = str(mapping(found).get("class_type", "?"))
        errors = mapping(found).get("errors")
        texts = [
            _node_error(mapping(error), node_info(node_class)) for error in (errors if isinstance(errors, list) else ())
        ]
        if texts:
            parts.append(f"node {node_id} ({node_class}): {'; '.join(texts)}")
    if len(parts) > _NODES_SHOWN:
        parts = [*parts[:_NODES_SHOWN], f"and {len(parts) - _NODES_SHOWN} more nodes"]
    if not parts:
        error = answer.get("error")
        if isinstance(error, Mapping):
            parts = [one_line(f"{error.get('message', '')} {error.get('details', '')}")]
        else:
            parts = [one_line(error or "it gave no reason")]
    return PromptRefusedError(f"ComfyUI refused the workflow: {' | '.join(parts)}")


def _node_error(error: Mapping[str, Any], info: Mapping[str, Any] | None) -> str:
    extra = mapping(error.get("extra_info"))
    if error.get("type") == "value_not_in_list":
        name, value = str(extra.get("input_name")), extra.get("received_value")
        names = options_of(info, name) if info is not None else None
        if names is not None:
            has = shown_names(names, value)
            return f"{name} is {one_line(value, 120)!r}, which the server does not have; it has {has}"
    return one_line(f"{error.get('message', '')}: {error.get('details', '')}".strip(": "))


def failed(messages: object, where: str) -> HostError:
    """The error for a history entry that is not a success, from its status messages."""
    for message in messages if isinstance(messages, list) else ():
        if not (isinstance(message, list) and len(message) == 2 and isinstance(message[1], Mapping)):
            continue
        kind, data = message
        node_id, node_class = str(data.get("node_id", "?")), str(data.get("node_type", "?"))
        if kind == "execution_interrupted":
            return PromptInterruptedError(
                f"The run was stopped at {where}, at node {node_id} ({node_class}); run the same command to go on."
            )
        if kind == "execution_error":
            exception = str(data.get("exception_type", ""))
            text = one_line(data.get("exception_message", ""))
            return PromptFailedError(
                f"ComfyUI failed at node {node_id} ({node_class}): {exception}: {text}", node_id, node_class, exception
            )
    return PromptFailedError(f"ComfyUI at {where} reports that the workflow failed, without saying where; see its log.")
