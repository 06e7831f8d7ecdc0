"""What a private report may keep: forms of text that tell nothing, and sentences that CopyScope wrote itself."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..workflow.node_info import bundled_catalog, is_model_file

HIDDEN = "[left out]"


KINDS = (
    "component", "checkpoint", "unet", "clip", "vae", "lora", "hypernetwork", "controlnet", "ip_adapter", "unclip",
    "style", "gligen", "model_patch", "prompt", "image", "embedding", "input",
)  # fmt: skip


SECRET_KINDS = ("prompt", "image", "embedding")
"""Kinds of components whose names are words of a prompt or names of the user's files."""


HASH = re.compile(r"[0-9A-Fa-f]{10,64}")


NODE = re.compile(r"[0-9]+(?:[.:][0-9]+)*")


TIME = re.compile(r"[0-9T:.+-]+Z?")


IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .:+()_-]{0,80}")


PLAIN_NAME = re.compile(r"\w[\w .()+-]{0,80}")
"""A name that its user chose for a player or a group: letters of any script, but no sign of a path or a quotation."""


CASE = re.compile(r"\w(?:[\w .,:()+-]|(?<=\d)/(?=\d)){0,80}")
"""The name of an examiner or the number of a case: a stroke stands between digits only."""


NODE_SUFFIX = re.compile(r" \(node [0-9.:]+(?:, [0-9]+)?\)\Z")


FLAG, NUMBER = re.compile(r"--[a-z0-9][a-z0-9-]*"), re.compile(r"[0-9]+(?:\.[0-9]+)?")


STORED_IMAGE = re.compile(r"[0-9a-f]{64}/[0-9]{4,9}\.png")


COALITIONS = "coalitions"


ENVIRONMENT = (
    "copyscope", "python", "numpy", "platform", "torch", "torchvision", "pillow", "scipy", "safetensors",
    "transformers", "comfyui", "comfyui_pytorch",
    "comfyui_os", "device",
)  # fmt: skip
"""Versions and devices; of the rest of the environment only numbers and the names of launch flags are kept."""


ABSENCE = {
    "bypassed": "bypassed: each output takes the input of its type",
    "replaced by the baseline": "replaced by the baseline",
    "replaced by the VAE": "replaced by the VAE of the checkpoint, the baseline's where that is absent too",
    "its merge": "its merge is bypassed: the merge's other model stands alone",
    "entry ": "its entry of the stack is switched off",
    "replaced by a neutral grey": "replaced by a neutral grey image of the same size",
    "the positive text": "the positive text is removed or replaced",
    "the phrase": "the phrase is removed or replaced",
}
"""How an absence rule begins → what a private report says of it."""


REASONS = {
    "locked by the user": "locked by the user",
    "not among": "not among the chosen players",
    "the baseline is": "the baseline is this very file, so its absence would change nothing; name another baseline",
    "no baseline": "no baseline was named, so its own share was not measured; name one to measure it",
    "the workflow has no": "the workflow has no checkpoint whose own VAE could stand in; name a baseline VAE",
    "it cannot be bypassed": "it cannot be bypassed: no input can stand in for one of its outputs",
    "the positive text": "the positive text is the neutral text already",
    "a model in a node": "a model in a node with no absence rule",
    "a textual": "a textual inversion in a text that stays",
    "an input image": "an input image; make it a player to measure it",
}
"""The same of why a component is locked or not measured."""


NUMBERS_ONLY = (
    "unequal_counts", "one_reference", "one_image", "few_images", "few_seeds", "one_seed", "no_interval", "no_change",
    "sampled", "few_orders", "non_deterministic",
)  # fmt: skip
"""Codes of warnings that CopyScope writes from numbers alone."""


WARNINGS = {
    "canary_mismatch": "Run again at the end, a combination gave other pixels than in its turn (see the canaries): "
    "something of one combination stayed in the server and reached another, so these contributions cannot be relied "
    "on. Restart the server and run the audit again in a new folder.",
    "defective_images": "Some images look broken (black, or of one flat colour), and they count in the distances.",
    "same_model": "Some components are copies of one model, so each has about its part of what the model contributes; "
    "read their sum.",
    "plan": "A note on the workflow is left out of this private report.",
    "conversion": "A note on the conversion of the workflow is left out of this private report.",
}


def in_form(form: re.Pattern[str], text: str | None) -> str | None:
    """The text if all of it has a form, else None."""
    return text if text is not None and form.fullmatch(text) else None


def known_sentence(sentences: Mapping[str, str], text: str) -> str:
    """The sentence of a private report for one of CopyScope's own, recognised by how it begins."""
    return next((known for begin, known in sentences.items() if text.startswith(begin)), HIDDEN if text else "")


def known_kind(kind: str) -> str:
    """A kind of component, or a node class of ComfyUI's own."""
    return kind if kind in KINDS or kind in bundled_catalog() else "component"


def base_name(name: str | None) -> str | None:
    """A model file's name without its folders; other files and folders are left out."""
    if name is None:
        return None
    base = name.replace("\\", "/").rpartition("/")[2]
    return base if is_model_file(base) else HIDDEN


def flag_name(text: str) -> str | None:
    """A launch flag's name, with its value if that is a number."""
    name, *values = text.replace("=", " ", 1).split(" ")
    if not FLAG.fullmatch(name):
        return None
    return f"{name} {values[0]}" if len(values) == 1 and NUMBER.fullmatch(values[0]) else name
