"""Damaged queues of audits: read, or refused with a sentence; no id leaves the batch's folder."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from copyscope_core.auditing.batch import Batch, read_queue
from copyscope_core.settings import AuditSettings

from .harness import fuzzed, guarded
from .mutations import as_json, damaged, damaged_bytes

LINES = [
    {"workflow": "w.json", "reference": "art"},
    {"id": "a-1", "workflow": "w.json", "reference": "art", "control": "others", "settings": {"seeds": 4}},
    {"id": "B", "workflow": "w.json", "reference": "art", "settings": {"groups": {"x": ["a", "b"]}, "lock": ["vae"]}},
]


async def never(*given: Any) -> Any:
    raise AssertionError("nothing is prepared here")


def read(data: bytes) -> None:
    """Read a queue; every id's folder lies where it should."""
    with guarded() as root:
        (root / "queue.jsonl").write_bytes(data)
        queue = read_queue(root / "queue.jsonl", AuditSettings())
        batch = Batch(queue, root / "out", never)
        for item in queue:
            assert batch._folder(item).resolve().parent == root / "out" / "audits"
            assert batch._record(item).resolve().parent == root / "out" / "finished"


@fuzzed()
@given(st.lists(damaged(LINES), min_size=1, max_size=3))
def test_lines(lines: list[Any]) -> None:
    read(b"\n".join(as_json(line) for line in lines))


@fuzzed(0.5)
@given(damaged_bytes([b"\n".join(as_json(line) for line in LINES)]))
def test_bytes(data: bytes) -> None:
    read(data)
