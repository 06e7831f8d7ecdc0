"""How often does CopyScope name the culprit? Games on the miniature zoo in which it is known, on a real ComfyUI.

    pip install -e ".[bench]"
    python -m studies.planted [--comfyui ~/comfy/ComfyUI] [--work /tmp/planted] [--images 32] [--seed 0]
    python -m studies.planted --tables      # from studies/planted/planted.json alone, without ComfyUI

Draws the games from a seed (planted_games.py), runs each as an audit (planted_run.py), measures them and the rivals on
the same images (planted_measure.py), and prints the tables and draws the charts of docs/trust.md (planted_report.py).
Interrupted, the same command goes on. ``--images`` caps the images a coalition: run with 8, then 16, then 32, and
what was made before is kept.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from studies.planted.games import draw_games
from studies.planted.report import charts, tables

HERE = Path(__file__).resolve().parent
FIGURES = HERE / "planted.json"
CHARTS = HERE.parents[1] / "docs" / "trust"


def measure(work: Path, comfyui: Path, seed: int, most: int) -> None:
    """Run what has not been run, measure all games and write their figures."""
    from studies.planted.measure import Measure
    from studies.planted.run import images_done, run_games

    games = draw_games(seed)
    run_games(games, work, comfyui, most)
    measuring = Measure(work)
    rows = [measuring.game(game) for game in games if images_done(work, game)]
    CHARTS.mkdir(parents=True, exist_ok=True)
    shown = next(game for game in games if game.kind == "single" and len(game.players) == 3 and len(game.works) == 1)
    measuring.sheet(shown, CHARTS / "planted-game.jpg")
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    FIGURES.write_text(f'{{"seed": {seed}, "games": [\n{lines}\n]}}\n', encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--work", type=Path, default=Path("/tmp/planted"), help="run folder, models and reports")
    parser.add_argument("--images", type=int, default=32, help="at most so many images a coalition")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", action="store_true", help="run and measure nothing")
    arguments = parser.parse_args()
    if not arguments.tables:
        measure(arguments.work, arguments.comfyui, arguments.seed, arguments.images)
    games = json.loads(FIGURES.read_text(encoding="utf-8"))["games"]
    charts(games, CHARTS)
    print(tables(games))


if __name__ == "__main__":
    main()
