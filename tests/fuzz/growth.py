"""Documents that grow, as hypothesis strategies: values nested, repeated and lengthened, nodes copied."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from .mutations import places

SIZES = [3, 60, 600, 4000]
DEPTHS = [3, 60, 600]
"""Not more: the tests themselves copy documents by recursion."""

PIECES = [
    " ", "\n", "\t", "(", ")", "[", "]", "((", "( ", ":1.1)", ":", "1", ".", ",", ", ", " ,", "，", "\\", "\\(", "{",
    "}", "|", "{a|", "a|b}", "/*", "*/", "/* ", "//", "cat", "cat ", "cat,", "(cat)", "(cat:1.2)", "cat dog",
    "embedding:", "x", "\0",
]  # fmt: skip


@st.composite
def long_texts(draw: st.DrawFn) -> str:
    """A few pieces, each once or many times over."""
    rows = draw(st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from([1, 1, 20, 20_000])), max_size=6))
    return "".join(piece * count for piece, count in rows)


def nested(value: Any, depth: int, inside_objects: bool) -> Any:
    """A value within so many lists or objects."""
    for _ in range(depth):
        value = {"inner": value} if inside_objects else [value]
    return value


@st.composite
def grown(draw: st.DrawFn, corpus: Sequence[Any]) -> Any:
    """A document of the corpus in which one to three values have grown."""
    document = copy.deepcopy(draw(st.sampled_from(corpus)))
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(document))
        container, key = found[draw(st.integers(0, len(found) - 1))]
        value, size = container[key], draw(st.sampled_from(SIZES))
        act = draw(st.sampled_from(["nest", "repeat", "text", "number"]))
        if act == "nest":
            container[key] = nested(value, draw(st.sampled_from(DEPTHS)), draw(st.booleans()))
        elif act == "text":
            container[key] = draw(long_texts())
        elif act == "number":
            container[key] = draw(st.sampled_from([size, 10**400, -size, float(size), 1e308, float("inf")]))
        else:
            container[key] = _repeated(value, size)
    return document


def _repeated(value: Any, size: int) -> Any:
    """Many of the same: of an object's values under new names, a list's items with new ids, a text's letters."""
    if isinstance(value, str):
        return (value or "x") * size
    if isinstance(value, dict) and value:
        items = list(value.items())
        return {**value, **{f"{items[n % len(items)][0]}_{n}": items[n % len(items)][1] for n in range(size)}}
    if isinstance(value, list) and value:
        copies = [value[n % len(value)] for n in range(size)]
        return value + [{**one, "id": 1000 + n} if isinstance(one, dict) else one for n, one in enumerate(copies)]
    return [value] * size
