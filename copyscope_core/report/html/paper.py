"""The foot of each printed page: the file's name and time, the SHA-256 of the manifest, and the page's number.

It is a style sheet of its own, for it holds what the report says; a content security policy names each by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import re

FILE = "report.html"


NO_DIGEST = "0" * 64
"""What a page shows for the SHA-256 of its manifest until there is one."""
_FOOT = re.compile(r"<style>(@page [^<]*)</style>")


def page_foot(created: str, manifest_sha256: str) -> str:
    """The rule for ``@page``.

    Args:
        created: when the report was made.
        manifest_sha256: of the ``manifest.json`` beside the report.
    """
    text = _css_string(f"{FILE} of {created}") + r' "\A" ' + _css_string(f"manifest.json: {manifest_sha256}")
    return (
        f"@page {{ @bottom-left {{ content: {text}; width: 80%; text-align: left; }} "
        '@bottom-right { content: "Page " counter(page) " of " counter(pages); } }'
    )


def resealed(page: bytes, old: str, new: str) -> bytes:
    """A page with another SHA-256 of its manifest: in its text, in the foot, and the policy lets the new foot stand."""
    text = page.decode("latin-1")
    if found := _FOOT.search(text):
        foot = found[1]
        text = text.replace(policy_hash(foot), policy_hash(foot.replace(old, new)), 1)
    return text.replace(old, new).encode("latin-1")


def policy_hash(text: str) -> str:
    """How a content security policy names an inline style or script."""
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _css_string(text: str) -> str:
    """Text as a string of a style sheet: whatever is no plain character is escaped by its number."""
    return f'"{re.sub(r"[^A-Za-z0-9 .:-]", lambda match: f"{chr(92)}{ord(match[0]):x} ", text)}"'
