"""Finds a name in text however it is written: “Jane Doe” also as ``10_jane-doe``, ``JANEDOE`` or ``by Jané Doe``."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata

EXCERPT = 160
"""Characters of a text that are shown."""

_ACCENTS = range(0x300, 0x370)
_SPACE = r"[\W_]{0,8}"


class Name:
    """A name, or another word, that is looked for.

    Letters count, whatever their case and accents; between its parts any other signs may stand, or none. It is a word
    of its own: *Doe* is not in *does*. In scripts that write words without spaces it may stand anywhere.
    """

    def __init__(self, text: str) -> None:
        parts = re.findall(r"[^\W_]+", _folded(text))
        if not parts:
            raise ValueError(f"{text!r} has no letter or digit")
        begin = "" if _unspaced(parts[0][0]) else r"(?<![^\W\d_])"
        end = "" if _unspaced(parts[-1][-1]) else r"(?![^\W\d_])"
        self.text = text
        self._pattern = re.compile(begin + _SPACE.join(map(re.escape, parts)) + end)

    def excerpt(self, text: str) -> str | None:
        """The part of a text that has the name, with what stands around it; None where it is not there."""
        folded = _folded(text)
        found = self._pattern.search(folded)
        if found is None:
            return None
        if len(text) <= EXCERPT:
            return text
        ends = list(itertools.accumulate(len(_fold(char)) for char in text))
        first = next(place for place, end in enumerate(ends) if end > found.start())
        begin = max(0, min(first - EXCERPT // 4, len(text) - EXCERPT))
        return f"{'…' if begin else ''}{text[begin : begin + EXCERPT]}{'…' if begin + EXCERPT < len(text) else ''}"


def _folded(text: str) -> str:
    return "".join(map(_fold, text))


@functools.lru_cache(maxsize=1 << 16)
def _fold(char: str) -> str:
    """A character without case and accents."""
    parts = unicodedata.normalize("NFKD", char)
    return "".join(part for part in parts if ord(part) not in _ACCENTS).casefold()


def _unspaced(char: str) -> bool:
    return unicodedata.east_asian_width(char) in "WF"
