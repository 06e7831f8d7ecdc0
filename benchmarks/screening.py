"""Time and memory of a screen's own work, without images: 2,000 models × 100 artists on synthetic features.

    OMP_NUM_THREADS=1 python -m benchmarks.screening [--models 2000] [--artists 100] [--works 10] [--seeds 8]

Features have the length of Inception's (2,048 of content, 926 of style) and are random. Every twentieth model is moved
towards one artist, so that there is something to find. Making the features is not counted; reading them from a run
folder is measured apart, from 400 files. Seconds are of the processor, which other load does not stretch.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import heading
from copyscope_core.features.extractor import INCEPTION_ID, FeatureCache, InceptionExtractor
from copyscope_core.features.views import STYLE, views_of
from copyscope_core.screening.measure import Meter
from copyscope_core.screening.page import Facts, write_page
from copyscope_core.screening.panel import MOST_NEGATIVE, Panel
from copyscope_core.screening.results import Collector, ScreenedModel
from copyscope_core.screening.table import write_tables
from copyscope_core.twins.sketch import LENGTH
from copyscope_core.twins.twins import Fingerprint, find_copies

CONTROL = 118
LEARNED = 20
"""One model in so many has learned from an artist."""
FILES = 400
Features = NDArray[np.float32]


def drawn(rng: np.random.Generator, count: int) -> Features:
    """Features as Inception's are: content not negative, style of the length √926."""
    rows = rng.gamma(0.5, 0.8, (count, InceptionExtractor.dimension)).astype(np.float32)
    style = rows[:, InceptionExtractor.views[STYLE]]
    style -= style.mean(axis=1, keepdims=True)
    style *= np.sqrt(style.shape[1]) / np.linalg.norm(style, axis=1, keepdims=True)
    return rows


def panel(rng: np.random.Generator, artists: int, works: int) -> Panel:
    """Artists whose works resemble each other, and negative controls."""
    columns = artists + MOST_NEGATIVE
    rows = [drawn(rng, CONTROL)]
    reference, control = (np.zeros((CONTROL + artists * works, columns), dtype=bool) for _ in range(2))
    for column in range(columns):
        if column < artists:
            rows.append(0.7 * drawn(rng, works) + 0.3 * drawn(rng, 1))
            reference[CONTROL + column * works : CONTROL + (column + 1) * works, column] = True
        else:
            reference[rng.permutation(CONTROL)[:works], column] = True
        control[rng.permutation(CONTROL)[:28], column] = True
    control &= ~reference
    names = tuple(f"artist {column}" for column in range(columns))
    return Panel(names, artists, np.concatenate(rows), reference, control, INCEPTION_ID, (64, 64))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("models", 2000), ("artists", 100), ("works", 10), ("seeds", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    heading("scipy", "pyarrow")
    rng = np.random.default_rng(0)
    made = panel(rng, arguments.artists, arguments.works)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds: dict[str, float] = {}

    def count(name: str, started: float) -> None:
        seconds[name] = seconds.get(name, 0.0) + time.process_time() - started

    started = time.process_time()
    meter = Meter(made, dict(views_of(InceptionExtractor())))
    without_rows = drawn(rng, arguments.seeds)
    without = meter.places(without_rows, arguments.seeds)
    collector = Collector(made.artists, made.named, made.counts, meter.names, arguments.models)
    count("preparing", started)
    models = []
    for place in range(arguments.models):
        rows = 0.9 * without_rows + 0.1 * drawn(rng, arguments.seeds)
        if place % LEARNED == 0:
            rows = 0.7 * rows + 0.3 * made.features[made.reference[:, place % arguments.artists]].mean(axis=0)
        started = time.process_time()
        collector.add(place, meter.measure(rows.astype(np.float32), without))
        count("measuring", started)
        models.append(ScreenedModel(f"folder/model-{place:05}.safetensors", f"{place:064x}"))
    started = time.process_time()
    found = collector.finish(models)
    count("false discovery rates", started)
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        parquet, csv = write_tables(found, Path(folder))
        count("tables", started)
        started = time.process_time()
        page = write_page(found, Facts("workflow.json", "lora loader (node 1)", arguments.seeds), Path(folder))
        count("page", started)
        sizes = {path.name: path.stat().st_size for path in (parquet, csv, page)}
        cache = FeatureCache(Path(folder), InceptionExtractor())
        keys = [f"{place:064x}" for place in range(FILES)]
        cache.keep(dict(zip(keys, drawn(rng, FILES), strict=True)))
        started = time.process_time()
        for key in keys:
            cache.stored(key)
        reading = (time.process_time() - started) / FILES
    marks = rng.normal(size=(arguments.models, LENGTH))
    marks /= np.linalg.norm(marks, axis=1, keepdims=True)
    started = time.process_time()
    find_copies({model.name: Fingerprint(None, mark) for model, mark in zip(models, marks, strict=True)})
    count("looking for copies", started)
    print(f"{arguments.models:,} models × {arguments.artists:,} artists of {arguments.works} works,")
    print(f"{MOST_NEGATIVE} negative controls, {len(made.features):,} works in all; {len(found.found()):,} pairs found")
    for name, taken in seconds.items():
        print(f"{name:24}{taken:9.2f} s {1000 * taken / arguments.models:9.2f} ms a model")
    print(f"{'reading features':24}{reading * arguments.seeds * arguments.models:9.2f} s "
          f"{1000 * reading * arguments.seeds:9.2f} ms a model (from {FILES} files)")  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory {peak / 1024:.0f} MB, {before / 1024:.0f} MB of it before the screen began")
    print({name: f"{size / 1e6:.1f} MB" for name, size in sizes.items()})


if __name__ == "__main__":
    main()
