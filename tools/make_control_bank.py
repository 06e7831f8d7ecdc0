"""Make the pictures of the control bank from the packages that its table names.

    python -m tools.make_control_bank            # all pictures, their hashes in the table, LICENCES.md
    python -m tools.make_control_bank --check    # says which pictures a fresh making would change; writes nothing

The table is ``copyscope_core/controls/works.json``, which ships with the pictures. A work is added to it by
hand, after a look at the copyright file of its package, with what may be done to it; ``sha256`` is written here. A
work's ``path`` is a file of its package, ``file.rcc#name`` a file of a Qt resource file in it, and ``….qml`` a board of
GCompris whose pieces are put on their background again.

Not in it: works and artists that the project's own evaluations test on (``tools/style_zoo/works.json``,
``studies/planted``), artists who asked for it, and anything whose licence forbids changes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from copyscope_core.controls.bank import PICTURES, TABLE_FILE

from .miniature.extract_paintings import read_resources
from .style_zoo.data import DataError, unpack
from .style_zoo.pictures import cache_folder

SIDE = 384
"""Longest side of a picture, in pixels."""
QUALITY = 84
LICENCES_FILE = TABLE_FILE.parent / "LICENCES.md"
_PIECE = re.compile(r'"pixmapfile"\s*:\s*"([^"]+)"(?:[^}]*?"x"\s*:\s*"([\d.]+)"[^}]*?"y"\s*:\s*"([\d.]+)")?')

LICENCE_TEXTS = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY-1.0": "https://creativecommons.org/licenses/by/1.0/",
    "CC-BY-2.0": "https://creativecommons.org/licenses/by/2.0/",
    "CC-BY-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-2.0": "https://creativecommons.org/licenses/by-sa/2.0/",
    "CC-BY-SA-2.5": "https://creativecommons.org/licenses/by-sa/2.5/",
    "CC-BY-SA-3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "GPL-2.0-or-later": "https://www.gnu.org/licenses/old-licenses/gpl-2.0.html",
    "GPL-3.0-or-later": "https://www.gnu.org/licenses/gpl-3.0.html",
    "MIT": "https://opensource.org/license/mit",
    "public domain": "no rights reserved, as the package says",
}


class Packages:
    """The files of the packages, each package unpacked and each resource file read once."""

    def __init__(self, table: dict[str, Any], folder: Path) -> None:
        self.places = {
            name: unpack(name, package, _files_of(table, name), folder) for name, package in table["packages"].items()
        }
        self._resources: dict[Path, dict[str, bytes]] = {}

    def read(self, package: str, path: str) -> bytes:
        """A file of a package. Raises DataError where it has none."""
        name, _, inner = path.partition("#")
        file = self.places[package] / name
        try:
            if not inner:
                return file.read_bytes()
            if file not in self._resources:
                self._resources[file] = read_resources(file.read_bytes())
            return self._resources[file][inner]
        except (OSError, KeyError) as error:
            raise DataError(f"{package} has no {path}: another version than the table says.") from error

    def picture(self, package: str, path: str) -> Image.Image:
        """A picture, RGBA; of a board, its background with all pieces."""
        if not path.endswith(".qml"):
            with Image.open(BytesIO(self.read(package, path))) as image:
                return image.convert("RGBA")
        folder = path.rpartition("/board/")[0]
        pieces = _PIECE.findall(self.read(package, path).decode())
        whole = self.picture(package, f"{folder}/{pieces[0][0]}")
        for name, x, y in pieces[1:]:
            piece = self.picture(package, f"{folder}/{name}")
            corner = round(float(x) * whole.width - piece.width / 2), round(float(y) * whole.height - piece.height / 2)
            whole.alpha_composite(piece, (max(0, corner[0]), max(0, corner[1])))
        return whole


def make(work: dict[str, Any], packages: Packages) -> bytes:
    """A work as the bank has it: cropped, on white, at most ``SIDE`` pixels, WebP."""
    picture = packages.picture(work["package"], work["path"])
    left, top, right, bottom = work.get("crop", (0, 0, 1, 1))
    width, height = picture.size
    picture = picture.crop((round(left * width), round(top * height), round(right * width), round(bottom * height)))
    flat = Image.new("RGBA", picture.size, "white")
    flat.alpha_composite(picture)
    flat = flat.convert("RGB")
    flat.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    stream = BytesIO()
    flat.save(stream, "WEBP", quality=QUALITY, method=6)
    return stream.getvalue()


def changes(work: dict[str, Any]) -> str:
    """What was done to a work, in words."""
    done = ["pieces put together"] if work["path"].endswith(".qml") else []
    return ", ".join(
        [*done, *(["cropped"] if "crop" in work else []), f"scaled to at most {SIDE} pixels, saved as WebP"]
    )


def licences(table: dict[str, Any]) -> str:
    """Who made each picture, where it comes from, what may be done with it and what was done to it."""
    used = sorted({work["licence"].partition(" (")[0] for work in table["works"]})
    rows = [
        f"| `{w['file']}` | {w['title']} | {w['artist']} | {w['kind']} | `{w['package']}` "
        f"{table['packages'][w['package']]['version']}: `{w['path']}`{' ' + w['source'] if 'source' in w else ''} | "
        f"{w['licence']} | {changes(w)} |"
        for w in table["works"]
    ]
    return "\n".join(
        [
            "# The pictures of the control bank",
            "",
            "Each keeps its own licence; the others are redistributed under the terms below, with the changes that the",
            "table names. Nobody named here endorses CopyScope. Made by `python -m tools.make_control_bank`.",
            "",
            *(f"- {name}: {LICENCE_TEXTS[name]}" for name in used),
            "",
            "| file | title | artist | kind | source | licence | changes |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def as_text(table: dict[str, Any]) -> str:
    """The table as JSON, one package or work a line."""
    packages = ",\n".join(f"  {json.dumps(name)}: {json.dumps(item)}" for name, item in table["packages"].items())
    works = ",\n".join(f"  {json.dumps(work, ensure_ascii=False)}" for work in table["works"])
    return f'{{\n "packages": {{\n{packages}\n }},\n "works": [\n{works}\n ]\n}}\n'


def _files_of(table: dict[str, Any], package: str) -> list[str]:
    return [work["path"].partition("#")[0] for work in table["works"] if work["package"] == package]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, default=cache_folder() / "packages", help="folder for packages")
    parser.add_argument("--check", action="store_true", help="compare and write nothing")
    arguments = parser.parse_args()
    table = json.loads(TABLE_FILE.read_text(encoding="utf-8"))
    try:
        packages = Packages(table, arguments.packages.expanduser())
        made = {work["file"]: make(work, packages) for work in table["works"]}
    except (DataError, OSError) as error:
        sys.exit(f"The bank could not be made: {error}")
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in made.items()}
    if arguments.check:
        other = [work["file"] for work in table["works"] if work.get("sha256") != hashes[work["file"]]]
        sys.exit(f"{len(other)} pictures would change: {', '.join(other)}" if other else 0)
    for old in PICTURES.glob("*.webp"):
        if old.name not in made:
            old.unlink()
    for work in table["works"]:
        work["sha256"] = hashes[work["file"]]
        (PICTURES / work["file"]).write_bytes(made[work["file"]])
    TABLE_FILE.write_text(as_text(table), encoding="utf-8", newline="\n")
    LICENCES_FILE.write_text(licences(table), encoding="utf-8", newline="\n")
    print(f"{len(made)} pictures, {sum(map(len, made.values())):,} bytes, in {PICTURES}")


if __name__ == "__main__":
    main()
