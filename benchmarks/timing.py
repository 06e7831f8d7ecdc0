"""What the benchmarks share: timing several things in alternation, and a heading that says what was run where."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent


def heading(*packages: str) -> None:
    """Print the command, the processor's cores, the load of the machine, and versions."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "torch", *packages))
    print("python", *sys.argv)
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"Python {platform.python_version()}, {versions}; {os.cpu_count()} cores, {load}", flush=True)


class Timed(NamedTuple):
    """Median seconds of several runs on the clock and of the processor (all threads), and what the last one gave.

    Processor time says what the work costs where other load on the machine stretches the clock's.
    """

    seconds: float
    processor: float
    result: Any


def alternate(work: Mapping[str, Callable[[], Any]], rounds: int = 3) -> dict[str, Timed]:
    """Times each; all are run once a round in turn, so that other load on the machine meets them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    processor: dict[str, list[float]] = {name: [] for name in work}
    results = {}
    for _ in range(rounds):
        for name, run in work.items():
            start, used = time.perf_counter(), time.process_time()
            results[name] = run()
            seconds[name].append(time.perf_counter() - start)
            processor[name].append(time.process_time() - used)
    return {
        name: Timed(statistics.median(seconds[name]), statistics.median(processor[name]), results[name])
        for name in work
    }
