"""The texts in the metadata of video files: MP4 and QuickTime (ISO/IEC 14496-12 boxes), WebM and Matroska (RFC 8794).

ComfyUI writes the workflow into its videos as the tags ``prompt`` and ``workflow``, and VideoHelperSuite both into one
comment. PyAV would read them, but it brings
FFmpeg's libraries for what is a walk over lengths and names. Frames are passed over, never read or decoded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

MAX_ELEMENTS = 200_000
MAX_LEVELS = 8
MAX_KEYS = 1_000

_ITUNES = {b"\xa9cmt": "comment"}
_EBML, _SEGMENT, _TAGS, _TAG, _SIMPLE = 0x1A45DFA3, 0x18538067, 0x1254C367, 0x7373, 0x67C8
_TAG_NAME, _TAG_STRING = 0x45A3, 0x4487


class ClipError(ValueError):
    """A video file is damaged: a length points outside, or there are too many elements."""


def is_clip(start: bytes) -> bool:
    """Whether a file that begins so is a video file of a kind that is read here."""
    return start[4:8] == b"ftyp" or start[:4] == _EBML.to_bytes(4, "big")


def clip_texts(stream: BinaryIO, most: int) -> dict[str, str]:
    """The metadata of a video file, by lower-case names.

    Args:
        most: a text with more bytes is left out.

    Raises:
        ClipError: the file is damaged.
    """
    end = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    is_matroska = stream.read(4) == _EBML.to_bytes(4, "big")
    reader = _Reader(stream, most)
    found: dict[str, str] = {}
    for name, text in reader.matroska(0, end) if is_matroska else reader.mp4(0, end):
        found.setdefault(name.lower(), text)
    return found


class _Reader:
    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream = stream
        self._most = most
        self._elements = 0

    def _read(self, place: int, count: int) -> bytes:
        self._stream.seek(place)
        data = self._stream.read(count)
        if len(data) < count:
            raise ClipError("the file ends in the middle of its metadata")
        return data

    def _text(self, begin: int, end: int) -> str | None:
        return self._read(begin, end - begin).decode("utf-8", "replace") if end - begin <= self._most else None

    def _count(self) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise ClipError(f"the file has more than {MAX_ELEMENTS:,} elements")

    # MP4 ----------------------------------------------------------------------------------------------------------

    def _boxes(self, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        """The boxes in a range: kind, and where the content begins and ends."""
        while begin + 8 <= end:
            self._count()
            header = self._read(begin, 8)
            size, start = int.from_bytes(header[:4], "big"), begin + 8
            if size == 1:
                size, start = int.from_bytes(self._read(start, 8), "big"), begin + 16
            stop = end if size == 0 else begin + size
            if stop > end or stop < start:
                raise ClipError("a box is longer than what it lies in")
            yield header[4:], start, stop
            begin = stop

    def mp4(self, begin: int, end: int, level: int = 0) -> Iterator[tuple[str, str]]:
        """The metadata in ``moov/meta`` and ``moov/udta/meta``."""
        for kind, start, stop in self._boxes(begin, end):
            if kind in (b"moov", b"udta") and level < MAX_LEVELS:
                yield from self.mp4(start, stop, level + 1)
            elif kind == b"meta" and level:
                yield from self._meta(start, stop)

    def _meta(self, begin: int, end: int) -> Iterator[tuple[str, str]]:
        if end - begin >= 8 and self._read(begin + 4, 4) != b"hdlr":
            begin += 4  # version and flags, which QuickTime leaves out
        names: list[str] = []
        for kind, start, stop in self._boxes(begin, end):
            if kind == b"keys":
                names = [self._text(first, last) or "" for _, first, last in self._keys(start + 8, stop)]
            elif kind == b"ilst":
                for place, first, last in self._boxes(start, stop):
                    number = int.from_bytes(place, "big") - 1
                    name = names[number] if 0 <= number < len(names) else _ITUNES.get(place, "")
                    for inner, data, data_end in self._boxes(first, last):
                        if inner == b"data" and name and data_end - data >= 8:
                            text = self._text(data + 8, data_end)
                            if text is not None:
                                yield name, text

    def _keys(self, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        for number, box in enumerate(self._boxes(begin, end)):
            if number >= MAX_KEYS:
                raise ClipError(f"the file has more than {MAX_KEYS:,} names of metadata")
            yield box

    # Matroska -----------------------------------------------------------------------------------------------------

    def _number(self, place: int, marker: bool) -> tuple[int, int, bool]:
        """A number of variable length: its value, the place after it, and whether it stands for an unknown length."""
        first = self._read(place, 1)[0]
        length = 9 - first.bit_length()
        if length > 8:
            raise ClipError("an element has no valid length")
        data = self._read(place, length)
        value = int.from_bytes(data, "big")
        bits = (1 << 7 * length) - 1
        return (value if marker else value & bits), place + length, value & bits == bits

    def _elements_in(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        while begin < end:
            self._count()
            kind, begin, _ = self._number(begin, True)
            size, begin, unknown = self._number(begin, False)
            stop = end if unknown else begin + size
            if stop > end:
                raise ClipError("an element is longer than what it lies in")
            yield kind, begin, stop
            begin = stop

    def matroska(self, begin: int, end: int, level: int = 0) -> Iterator[tuple[str, str]]:
        """The texts of ``Segment/Tags/Tag/SimpleTag``."""
        for kind, start, stop in self._elements_in(begin, end):
            if kind == _SEGMENT and not level:
                yield from self.matroska(start, stop, 1)
            elif kind == _TAGS and level:
                for inner, first, last in self._elements_in(start, stop):
                    if inner == _TAG:
                        yield from self._simple_tags(first, last)

    def _simple_tags(self, begin: int, end: int) -> Iterator[tuple[str, str]]:
        for kind, start, stop in self._elements_in(begin, end):
            if kind != _SIMPLE:
                continue
            texts = {inner: self._text(*span) for inner, *span in self._elements_in(start, stop)
                     if inner in (_TAG_NAME, _TAG_STRING)}  # fmt: skip
            name, text = texts.get(_TAG_NAME), texts.get(_TAG_STRING)
            if name is not None and text is not None:
                yield name.rstrip("\0"), text.rstrip("\0")
