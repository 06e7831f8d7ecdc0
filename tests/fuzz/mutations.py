"""Damage to JSON documents and to files, as hypothesis strategies, and the values that damage puts in."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

DEEP: Any = [[[[]]]]
for _ in range(200):
    DEEP = [DEEP]

EVIL = "<copyscope-evil onerror=alert(1)>\"'</script></style></pre><img src=x onerror=alert(1)>"
"""Markup that must come out as text wherever it goes."""

TEXTS = [
    "", " ", "\0", "a\nb", "\x1b[31m", "../../../../etc/passwd", "..\\..\\windows\\win.ini", "/etc/passwd", "~",
    "C:\\Windows\\win.ini", "file:///etc/passwd", "http://127.0.0.1:9/", EVIL, "{{ 7*7 }}", "%s%n%x", "\ud800",
    "\udfff\ud800", "\u202eabc", "\ufeff", "é\u0301", "x" * 10_000, "CON", "NaN", "null", "__proto__", "(((((a:1.1)",
    "{a|b|{c", "embedding:../../secret", "a.safetensors", "a.ckpt", "a.png [output]", ", , ,", "-1", "1e999", "..",
]  # fmt: skip
NUMBERS = [
    0, -1, 1, 2, 24, 25, 255, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, -(2**64), 10**400, 0.1, -0.0, 1e308, 5e-324,
    float("nan"), float("inf"), float("-inf"),
]  # fmt: skip

hostile: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(TEXTS),
    st.sampled_from(NUMBERS),
    st.sampled_from(
        [None, True, False, [], {}, [[]], {"": None}, DEEP, ["1", 0], ["1", -1], ["1", 2**70], ["nowhere", 0]]
    ),
    st.text(max_size=40),
    st.integers(),
    st.floats(),
    st.lists(st.integers(-3, 300), max_size=5),
    st.dictionaries(st.text(max_size=6), st.integers(), max_size=3),
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a JSON document; iterative."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            keys: list[Any] = list(item)
        elif isinstance(item, list):
            keys = list(range(len(item)))
        else:
            continue
        for key in keys:
            yield item, key
            stack.append(item[key])


@st.composite
def damaged(draw: st.DrawFn, corpus: Sequence[Any], most: int = 6) -> Any:
    """A document of the corpus after 1 to ``most`` changes: values replaced, removed, doubled, swapped, renamed."""
    document = copy.deepcopy(draw(st.sampled_from(corpus)))
    for _ in range(draw(st.integers(1, most))):
        found = list(places(document))
        if not found:
            break
        container, key = found[draw(st.integers(0, len(found) - 1))]
        act = draw(st.sampled_from(["replace", "replace", "remove", "copy", "swap", "rename"]))
        if act == "replace":
            container[key] = copy.deepcopy(draw(hostile))
        elif act == "remove":
            del container[key]
        elif act == "rename" and isinstance(container, dict):
            container[draw(st.sampled_from(TEXTS))] = container.pop(key)
        else:
            other, place = found[draw(st.integers(0, len(found) - 1))]
            if act == "swap":
                container[key], other[place] = copy.deepcopy(other[place]), copy.deepcopy(container[key])
            else:
                container[key] = copy.deepcopy(other[place])
    return document


@st.composite
def damaged_bytes(draw: st.DrawFn, corpus: Sequence[bytes], most: int = 8) -> bytes:
    """A file of the corpus after 1 to ``most`` changes: bytes changed, cut, doubled, put in, sizes made absurd."""
    data = bytearray(draw(st.sampled_from(corpus)))
    for _ in range(draw(st.integers(1, most))):
        where = draw(st.integers(0, max(0, len(data) - 1)))
        act = draw(st.sampled_from(["flip", "set", "number", "cut", "double", "insert", "end"]))
        if act == "flip" and data:
            data[where] ^= 1 << draw(st.integers(0, 7))
        elif act == "set" and data:
            data[where] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
        elif act == "number":
            size = draw(st.sampled_from([2, 4, 8]))
            value = draw(
                st.sampled_from([0, 1, (1 << (8 * size - 1)) - 1, (1 << 8 * size) - 1, 0x10000 % (1 << 8 * size)])
            )
            data[where : where + size] = value.to_bytes(size, draw(st.sampled_from(["little", "big"])))
        elif act == "cut":
            del data[where : where + draw(st.integers(1, 64))]
        elif act == "double":
            data[where:where] = data[where : where + draw(st.integers(1, 64))]
        elif act == "insert":
            data[where:where] = draw(st.binary(max_size=16))
        elif act == "end":
            del data[where:]
    return bytes(data)


def as_json(document: Any) -> bytes:
    """The document as a JSON file, with what JSON does not allow (NaN, lone surrogates) as Python writes it."""
    return json.dumps(document).encode("ascii")
