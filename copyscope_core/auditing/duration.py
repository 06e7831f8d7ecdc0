"""How long an audit may take: by what such prompts took in stored runs, or by a probe."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from ..features.extractor import InceptionExtractor
from ..observer import Observer
from ..planning.cost import Duration
from ..planning.plan import Plan
from ..planning.steps import Step
from ..store.run_store import RunStore
from ..store.runs import list_runs
from ..workflow.graph import to_json
from ..workflow.node_info import is_model_file
from .machine import Machine

MOST_READ = 64
"""Stored prompts that are looked at."""


def prompts_of(plan: Plan) -> int:
    """How many prompts an audit sends at most, with those that are run again."""
    again = 1 + len(plan.canaries()) if plan.noise else 0
    return plan.cost.coalitions * plan.seeds + again


def stored_duration(plan: Plan, servers: int = 1) -> Duration | None:
    """By the newest stored run of a workflow that is like the plan's but for texts and seeds; None: there is none.

    Args:
        servers: how many share the work.
    """
    wanted = _likeness(to_json(plan.graph))
    for info in reversed(list_runs()):
        store = RunStore(info.folder)
        workflow = (store.read_run() or {}).get("workflow")
        if not isinstance(workflow, Mapping) or _likeness(workflow) != wanted:
            continue
        entries = (store.read(key) for key in islice(store.keys(), MOST_READ))
        took: list[Any] = [entry.meta.get("seconds") for entry in entries if entry is not None]
        seconds = [float(value) for value in took if type(value) in (float, int) and 0 < value < math.inf]
        if seconds:
            each, prompts = sum(seconds) / len(seconds), prompts_of(plan)
            return Duration(each * prompts / servers, prompts, each, "stored", len(seconds), str(info.folder))
    return None


async def probe_duration(plan: Plan, machine: Machine, servers: int, observer: Observer) -> Duration:
    """By running the full coalition at two seeds: the first loads the models, the second tells what a prompt takes.

    Raises:
        HostError, StoreError: see ``Runner.make``.
    """
    steps = [Step(plan.full, offset, "canary" if plan.noise else "coalition") for offset in range(min(2, plan.seeds))]
    observer.stage("Running one combination", len(steps))
    took = []
    with tempfile.TemporaryDirectory(prefix="copyscope-probe-") as folder:
        store = RunStore(Path(folder))
        runner = machine.runner(plan, InceptionExtractor(), observer)
        for number, step in enumerate(steps):
            begun = time.monotonic()
            await runner.make(store, step, hashlib.sha256(str(step).encode()).hexdigest(), {})
            took.append(time.monotonic() - begun)
            observer.step(number + 1)
    prompts = prompts_of(plan)
    return Duration(took[0] + took[-1] * (prompts - 1) / servers, prompts, took[-1], "probe", len(took), machine.name)


def _likeness(workflow: Mapping[str, Any]) -> list[str]:
    """What a prompt's time depends on: classes, numbers but for seeds, and model files."""
    nodes = []
    for node in workflow.values():
        inputs = node.get("inputs") if isinstance(node, Mapping) else None
        kept = {
            name: value
            for name, value in (inputs.items() if isinstance(inputs, Mapping) else ())
            if "seed" not in str(name) and (isinstance(value, int | float) or is_model_file(value))
        }
        nodes.append(json.dumps([node.get("class_type") if isinstance(node, Mapping) else None, kept], sort_keys=True))
    return sorted(nodes)
