"""LoRA tags in texts, such as ``<lora:style:0.8>``: some packs load a LoRA where a text says so."""

from __future__ import annotations

import re

TAG = re.compile(r"<(?:lora|lyco):([^<>:]{1,255})((?::[^<>:]{0,255}){0,8})>", re.IGNORECASE)
"""A tag: the LoRA's name, and its weights and options."""


def tags(text: str) -> list[str]:
    """The names of the LoRAs that a text loads, each once; one whose weights are all 0 is none.

    >>> tags("a wave <lora:style:0.8> <lora:off:0>")
    ['style']
    """
    found: dict[str, None] = {}
    for match in TAG.finditer(text):
        weights = [float(part) for part in match.group(2).split(":") if _is_number(part)]
        if not weights or any(weights):
            found[match.group(1).strip()] = None
    return list(found)


def only_tags(text: str) -> list[str]:
    """The tags of a text, as they stand there."""
    return [match.group() for match in TAG.finditer(text)]


def without_tags(text: str, name: str) -> str:
    """The text without the tags of one LoRA, and without the spaces before them."""
    return re.sub(
        rf"(?:(?<!\s)\s+|){TAG.pattern}",
        lambda match: "" if match.group(1).strip() == name else match.group(),
        text,
        flags=re.IGNORECASE,
    ).lstrip(" ")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
