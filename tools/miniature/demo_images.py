"""Makes ``copyscope_core/demo/images``: small reference images, and the coalition images of a real run of the demo.

    python -m tools.miniature.demo_images COMFYUI_FOLDER

The reference images are the Hokusai works of ``samples/reference/hokusai`` at 320 pixels; see PROVENANCE.md there.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

from copyscope_core.cli.terminal import TerminalObserver
from copyscope_core.demo import demo
from copyscope_core.report.report import Report

SOURCE = Path(__file__).resolve().parents[2] / "samples" / "reference" / "hokusai"
SIDE = 320


def make_reference() -> None:
    """Write the reference images, smaller."""
    shutil.rmtree(demo.REFERENCE, ignore_errors=True)
    demo.REFERENCE.mkdir(parents=True)
    for path in sorted(SOURCE.glob("*.jpg")):
        with Image.open(path) as image:
            small = image.convert("RGB")
        small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        small.save(demo.REFERENCE / path.name, "JPEG", quality=88, optimize=True)


def export(report: Report, run: Path) -> None:
    """Write every coalition's images, without metadata, and ``game.json``."""
    shutil.rmtree(demo.IMAGES, ignore_errors=True)
    rows = []
    for coalition in report.coalitions:
        name = f"{coalition.mask:03b}"
        (demo.IMAGES / name).mkdir(parents=True)
        seeds = []
        for number, record in enumerate(coalition.image_files):
            with Image.open(run / str(coalition.folder) / record.file) as image:
                image.convert("RGB").save(demo.IMAGES / name / f"{number:03d}.png", "PNG", optimize=True)
            seeds.append(record.seed)
        rows.append({"folder": name, "members": coalition.members, "seeds": seeds})
    players = [{"name": player.name, "kind": player.kind} for player in report.players]
    text = json.dumps({"players": players, "coalitions": rows}, ensure_ascii=False, indent=1)
    (demo.IMAGES / "game.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Make both."""
    make_reference()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        report = demo.run_demo(run, Path(sys.argv[1]).expanduser(), TerminalObserver(), "cpu").report
        export(report, run)


if __name__ == "__main__":
    main()
