"""Put the public-domain pictures of Debian's ``gcompris-qt-data`` together again.

The package holds about two dozen famous works cut into jigsaw pieces (WebP with transparent edges) inside a Qt
resource file. Each board of the puzzle names its pieces and where their centres go on a 702 x 515 canvas, rounded to
three digits. This script reads the resource file, places the pieces, corrects the rounding by moving each piece by
whole pixels until its transparent edge complements its neighbours', blends the edges and crops the frame away.

    apt-get download gcompris-qt-data
    python -m tools.miniature.extract_paintings gcompris-qt-data_*.deb --out samples/reference
"""

from __future__ import annotations

import argparse
import re
import struct
import subprocess
import tempfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

CANVAS = (702, 515)
MARGIN = 40
RESOURCE = "usr/share/gcompris-qt/rcc/paintings.rcc"
FOLDER = "/gcompris/src/activities/paintings/resource/"


@dataclass(frozen=True)
class Work:
    """One picture: its board in the puzzle, and what is known about it."""

    board: int
    artist: str
    name: str
    title: str
    year: str


ARTISTS = {
    "arcimboldo": ("Giuseppe Arcimboldo", 1593),
    "bazille": ("Frédéric Bazille", 1870),
    "bellini": ("Giovanni Bellini", 1516),
    "bruegel": ("Pieter Bruegel the Elder", 1569),
    "cassatt": ("Mary Cassatt", 1926),
    "durer": ("Albrecht Dürer", 1528),
    "hiroshige": ("Utagawa Hiroshige", 1858),
    "hokusai": ("Katsushika Hokusai", 1849),
    "kandinsky": ("Wassily Kandinsky", 1944),
    "leonardo": ("Leonardo da Vinci", 1519),
    "renoir": ("Pierre-Auguste Renoir", 1919),
    "van-gogh": ("Vincent van Gogh", 1890),
}
"""Folder name -> name and year of death. All died more than 70 years ago."""


WORKS = (
    Work(1, "renoir", "bal-du-moulin-de-la-galette", "Bal du moulin de la Galette", "1876"),
    Work(2, "arcimboldo", "spring", "Spring", "1573"),
    Work(3, "arcimboldo", "librarian", "The Librarian", "about 1566"),
    Work(4, "hokusai", "oiran-and-kamuro", "Oiran and Kamuro", "undated"),
    Work(5, "hokusai", "woman-holding-a-fan", "Woman Holding a Fan", "undated"),
    Work(6, "hokusai", "ejiri-in-suruga", "Ejiri in Suruga Province", "about 1830-1833"),
    Work(7, "hokusai", "great-wave", "The Great Wave off Kanagawa", "about 1830-1832"),
    Work(8, "hiroshige", "inokashira-in-snow", "The Benzaiten Shrine at Inokashira in Snow", "about 1840-1850"),
    Work(9, "hiroshige", "horse-mackerel-and-prawns", "Horse-mackerel and Prawns", "about 1840"),
    Work(10, "hokusai", "ryogoku-bridge", "Viewing Sunset over the Ryogoku Bridge from the Ommaya Embankment", "1830"),
    Work(11, "hokusai", "poppies", "Poppies", "1833-1834"),
    Work(12, "hokusai", "kazusa-sea-route", "Kazusa Sea Route", "1830"),
    Work(14, "leonardo", "mona-lisa", "Mona Lisa", "1503-1519"),
    Work(15, "bellini", "pesaro-altarpiece-detail", "La Pala di Pesaro (detail)", "1475-1485"),
    Work(16, "durer", "lion", "Lion", "1494"),
    Work(17, "bruegel", "harvesters", "The Harvesters", "1565"),
    Work(18, "renoir", "girls-at-the-piano", "Girls at the Piano", "1892"),
    Work(19, "kandinsky", "composition-viii", "Composition VIII", "1923"),
    Work(20, "bazille", "ramparts-at-aigues-mortes", "The Ramparts at Aigues-Mortes", "1867"),
    Work(21, "cassatt", "summertime", "Summertime", "1894"),
    Work(22, "van-gogh", "village-street-in-auvers", "Village Street in Auvers", "1890"),
)
"""The flat works. Board 13, the Pietà, is left out: it is a photograph of a sculpture, with a right of its own."""


def read_resources(data: bytes) -> dict[str, bytes]:
    """The files of a Qt resource file (``rcc --binary``), by path."""
    if data[:4] != b"qres":
        raise ValueError("this is not a Qt resource file")
    version, tree, contents, names = struct.unpack(">IIII", data[4:20])
    size = 22 if version >= 2 else 14
    files: dict[str, bytes] = {}

    def visit(index: int, path: str) -> None:
        node = tree + index * size
        name_offset, flags = struct.unpack(">IH", data[node : node + 6])
        if index:
            (length,) = struct.unpack(">H", data[names + name_offset : names + name_offset + 2])
            start = names + name_offset + 6
            path = f"{path}/{data[start : start + 2 * length].decode('utf-16-be')}"
        if flags & 2:
            count, first = struct.unpack(">II", data[node + 6 : node + 14])
            for child in range(first, first + count):
                visit(child, path)
            return
        (offset,) = struct.unpack(">I", data[node + 10 : node + 14])
        (length,) = struct.unpack(">I", data[contents + offset : contents + offset + 4])
        content = data[contents + offset + 4 : contents + offset + 4 + length]
        if flags & 4:
            raise ValueError(f"{path} is compressed with zstd, which this script does not read")
        files[path] = zlib.decompress(content[4:]) if flags & 1 else content

    visit(0, "")
    return files


def read_board(text: str) -> list[tuple[str, float, float]]:
    """Piece file, and the place of its centre as parts of the canvas."""
    pattern = r'"pixmapfile"\s*:\s*"([^"]+\.webp)"\s*,\s*"x"\s*:\s*"([\d.]+)"\s*,\s*"y"\s*:\s*"([\d.]+)"'
    return [(name, float(x), float(y)) for name, x, y in re.findall(pattern, text)]


class Puzzle:
    """Pieces on a canvas, as sums of coverage and of colour times coverage."""

    def __init__(self, pieces: list[tuple[np.ndarray, float, float]]) -> None:
        self.pieces = [piece / np.float32(255) for piece, _, _ in pieces]
        self.places = [
            [round(y * CANVAS[1] - p.shape[0] / 2) + MARGIN, round(x * CANVAS[0] - p.shape[1] / 2) + MARGIN]
            for p, x, y in pieces
        ]
        self.coverage = np.zeros((CANVAS[1] + 2 * MARGIN, CANVAS[0] + 2 * MARGIN), np.float32)
        self.colour = np.zeros((*self.coverage.shape, 3), np.float32)
        for index in range(len(pieces)):
            self._add(index, 1)

    def _window(self, index: int, dy: int = 0, dx: int = 0) -> tuple[slice, slice]:
        (y, x), (height, width) = self.places[index], self.pieces[index].shape[:2]
        return slice(y + dy, y + dy + height), slice(x + dx, x + dx + width)

    def _add(self, index: int, sign: int) -> None:
        alpha = self.pieces[index][..., 3]
        self.coverage[self._window(index)] += sign * alpha
        self.colour[self._window(index)] += sign * alpha[..., None] * self.pieces[index][..., :3]

    def _misfit(self, index: int, dy: int, dx: int) -> float:
        """How far coverage is from 1 around a piece moved by (dy, dx); only what the piece changes counts."""
        window = self._window(index, dy, dx)
        before = self.coverage[window]
        after = before + self.pieces[index][..., 3]
        # Covering what nobody covers gains, covering twice costs.
        return float((np.square(after - 1) - np.square(before - 1)).sum())

    def _seam(self, index: int, dy: int, dx: int) -> float:
        """Colour difference to the neighbours where both cover a pixel in part."""
        window = self._window(index, dy, dx)
        alpha, other = self.pieces[index][..., 3], self.coverage[window]
        both = np.minimum(alpha, other)
        both[both < 0.05] = 0
        if both.sum() < 1:
            return 0.0
        mean = self.colour[window] / np.maximum(other, 1e-3)[..., None]
        return float((both[..., None] * np.abs(mean - self.pieces[index][..., :3])).sum())

    def settle(self, reach: int = 2, rounds: int = 6) -> int:
        """Move each piece to where it fits best; gives the number of moves."""
        moves = 0
        steps = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
        for _ in range(rounds):
            moved = 0
            for index in range(len(self.pieces)):
                self._add(index, -1)
                best = min(
                    steps, key=lambda s: (self._misfit(index, *s) + self._seam(index, *s), abs(s[0]) + abs(s[1]))
                )
                self.places[index][0] += best[0]
                self.places[index][1] += best[1]
                moved += best != (0, 0)
                self._add(index, 1)
            moves += moved
            if not moved:
                break
        return moves

    def picture(self) -> np.ndarray:
        """The blended picture without its ragged frame, as 8-bit RGB."""
        solid = self.coverage > 0.6
        rows, columns = np.flatnonzero(solid.mean(1) > 0.3), np.flatnonzero(solid.mean(0) > 0.3)
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        while solid[top, left:right].mean() < 0.97:
            top += 1
        while solid[bottom - 1, left:right].mean() < 0.97:
            bottom -= 1
        while solid[top:bottom, left].mean() < 0.97:
            left += 1
        while solid[top:bottom, right - 1].mean() < 0.97:
            right -= 1
        window = slice(top + 2, bottom - 2), slice(left + 2, right - 2)
        coverage, colour = self.coverage[window], self.colour[window]
        colour = fill_gaps(colour / np.maximum(coverage, 1e-3)[..., None], coverage > 0.25)
        return np.clip(colour * 255 + 0.5, 0, 255).astype(np.uint8)


def fill_gaps(colour: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Give pixels that no piece covers the mean of their known neighbours, from the rim inwards."""
    colour, known = colour.copy(), known.copy()
    while not known.all():
        padded = np.pad(colour * known[..., None], ((1, 1), (1, 1), (0, 0)))
        counts = np.pad(known.astype(np.float32), 1)
        height, width = known.shape
        windows = [(slice(dy, dy + height), slice(dx, dx + width)) for dy in range(3) for dx in range(3)]
        total, count = sum(padded[w] for w in windows), sum(counts[w] for w in windows)
        rim = ~known & (count > 0)
        if not rim.any():
            raise ValueError("no piece covers any of the picture")
        colour[rim] = (total / np.maximum(count, 1)[..., None])[rim]
        known |= rim
    return colour


def unpack(package: Path) -> bytes:
    """The resource file, from the Debian package or as it is."""
    if package.suffix != ".deb":
        return package.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["dpkg-deb", "-x", str(package), folder], check=True)
        return (Path(folder) / RESOURCE).read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="gcompris-qt-data_*.deb or paintings.rcc")
    parser.add_argument("--out", type=Path, required=True, help="folder for <artist>/<work>.jpg")
    parser.add_argument("--size", type=int, default=512, help="longest side")
    parser.add_argument("--all", action="store_true", help="write every board under its number, for a look")
    arguments = parser.parse_args()
    files = read_resources(unpack(arguments.package))
    works = {work.board: work for work in WORKS}
    for number in range(1, 23):
        if number not in works and not arguments.all:
            continue
        board = files[f"{FOLDER}board/board{number}_0.qml"].decode()
        pieces = []
        for name, x, y in read_board(board):
            with Image.open(BytesIO(files[FOLDER + name])) as image:
                pieces.append((np.asarray(image.convert("RGBA"), np.float32), x, y))
        puzzle = Puzzle(pieces)
        moves = puzzle.settle()
        image = Image.fromarray(puzzle.picture())
        image.thumbnail((arguments.size, arguments.size), Image.Resampling.LANCZOS)
        if arguments.all:
            path = arguments.out / f"board{number:02d}.png"
        else:
            path = arguments.out / works[number].artist / f"{works[number].name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=90, subsampling=0, optimize=True)
        print(f"{path}: {image.width} x {image.height} from {len(pieces)} pieces, {moves} moves")


if __name__ == "__main__":
    main()
