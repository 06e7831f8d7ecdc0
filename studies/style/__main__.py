"""Who made it? Style beside content on real works: docs/style.md has the protocol and the figures.

    python -m studies.style --paintings REPO                # measures the artists of the report, a quarter of an hour
    python -m studies.style --role tune --paintings REPO    # those that the recipe was chosen on
    python -m studies.style --tables                        # from studies/style/results.jsonl alone
    python -m studies.style --bank --sizes 256 --paintings REPO    # with CopyScope's control bank as control
    python -m studies.style --features DIR                  # a local model (CLIP, SigLIP, DINO, CSD) instead

The illustrations come from Debian packages (root, apt), the paintings from the repository on GitHub that works.json
names, or from a clone of it. Features are kept in COPYSCOPE_ZOO_CACHE, so that a run goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from copyscope_core.features.choose import choose_extractor
from copyscope_core.features.extractor import FeatureCache
from tools.style_zoo.pictures import cache_folder

from .comparisons import COUNTS, Comparison, comparisons
from .measure import Measured, bank_controls, certainty, control, measure, score, wanted
from .report import read, table, write
from .works import Collection

RESULTS, BANK_RESULTS = (Path(__file__).parent / name for name in ("results.jsonl", "bank.jsonl"))
SIZES = (128, 256, 512)


def compared(
    collection: Collection, role: str, sizes: list[int], cache: FeatureCache, bank: bool
) -> list[dict[str, Any]]:
    """One row a comparison: who with whom, and whether each value function is right."""
    rows = []
    for size in sizes:
        started = time.monotonic()

        def progress(done: int, total: int, size: int = size, started: float = started) -> None:
            if done % 50 == 0 or done == total:
                print(f"{size} px: {done}/{total} works, {time.monotonic() - started:.0f} s", flush=True)

        measured = measure(collection, wanted(collection, role), size, cache, progress)
        for count in COUNTS:
            rows += [
                _row(collection, role, item, measured, size, bank) for item in comparisons(collection, role, count)
            ]
    return rows


def _row(
    collection: Collection, role: str, item: Comparison, measured: Measured, size: int, bank: bool
) -> dict[str, Any]:
    others = bank_controls(measured, item) if bank else control(collection, item, role)
    scores = score(measured, item, others)
    return {
        "size": size,
        "references": len(item.reference),
        "kind": item.kind,
        "artists": collection.artists[item.artist].kind,
        "artist": item.artist,
        "rival": item.rival,
        "subject": item.subject,
        "right": {name: own < other for name, (own, other) in scores.items()},
        "certainty": {
            view: round(certainty(measured, item, others, view), 2)
            for view in ("content", "style")
            if getattr(measured, view)
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--role", choices=("report", "tune"), default="report")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--paintings", help="URL or folder of the repository of paintings")
    parser.add_argument("--features", default="inception", help="folder of a local model")
    parser.add_argument(
        "--bank", action="store_true", help="CopyScope's control bank in the place of other artists' works"
    )
    parser.add_argument("--out", type=Path, help="results (default: results.jsonl, with --bank bank.jsonl)")
    parser.add_argument("--tables", action="store_true", help="print the tables of --out")
    options = parser.parse_args()
    out = options.out or (BANK_RESULTS if options.bank else RESULTS)
    if not options.tables:
        collection = Collection.load(paintings=options.paintings)
        cache = FeatureCache(cache_folder() / "style" / "features", choose_extractor(options.features))
        rows = compared(collection, options.role, [int(size) for size in options.sizes.split(",")], cache, options.bank)
        write(out, options.role, cache.extractor.id, rows)
    sys.stdout.write(table(*read(out)))


if __name__ == "__main__":
    main()
