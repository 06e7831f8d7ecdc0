"""The works: whose they are, what they show, where they come from, and the squares that stand for generated images.

``works.json`` lists them with the SHA-256 of each file. The paintings are public-domain scans of the Art Institute of
Chicago (CC0), which a repository on GitHub carries, and ``samples/reference``; the illustrations are those of the
style zoo, from Debian's Wesnoth packages.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from copyscope_core.files.pixels import Pixels, match_reference
from tools.style_zoo.data import DataError, checked, unpack
from tools.style_zoo.pictures import cache_folder

SQUARES = 3
"""Of each work: the whole, and parts of it."""
PART = (0.6, 0.9)
"""Side of a part, as a share of the work's shorter side."""
FIGURE_PART = (0.35, 0.7)
"""The same of a figure that was cut out, which has no whole: all its squares are parts that it fills."""
COVER = 0.85
TRIES = 60
"""A part of a figure is the first of so many that it covers to this share, else the most covered one."""
GREY = 128
"""Behind a figure that was cut out."""


@dataclass(frozen=True)
class Work:
    """A work, by an artist, of a subject (None: it is only ever a control)."""

    id: str
    artist: str
    subject: str | None
    package: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Artist:
    """An artist: painter or illustrator, and whether for tuning, for the report, or only ever a control."""

    id: str
    name: str
    kind: str
    role: str


@dataclass(frozen=True, eq=False)
class Collection:
    """All works and artists, and where the packages lie."""

    artists: dict[str, Artist]
    works: dict[str, Work]
    packages: dict[str, dict[str, Any]]
    folder: Path
    paintings: str

    @classmethod
    def load(cls, folder: Path | None = None, paintings: str | None = None) -> Collection:
        """From ``works.json``.

        Args:
            folder: for the packages; None: the style zoo's.
            paintings: URL or folder of the repository of paintings; None: that of the table.
        """
        table = json.loads((Path(__file__).parent / "works.json").read_text(encoding="utf-8"))
        return cls(
            {key: Artist(key, **value) for key, value in table["artists"].items()},
            {item["id"]: Work(**{name: item[name] for name in Work.__annotations__}) for item in table["works"]},
            table["packages"],
            folder or cache_folder() / "packages",
            paintings or table["packages"]["paintings"]["source"],
        )

    def of(self, role: str) -> list[Work]:
        """Works of the artists of a role."""
        return [work for work in self.works.values() if self.artists[work.artist].role == role]

    @cached_property
    def counts(self) -> Counter[str]:
        """How many works each artist has."""
        return Counter(work.artist for work in self.works.values())

    @cached_property
    def _places(self) -> dict[str, Path]:
        places = {}
        for name, package in self.packages.items():
            paths = [work.path for work in self.works.values() if work.package == name]
            places[name] = self._repository(package) if package["kind"] == "git" else self._unpacked(name, paths)
        return places

    def _unpacked(self, name: str, paths: Iterable[str]) -> Path:
        return unpack(name, self.packages[name], paths, self.folder)

    def _repository(self, package: dict[str, Any]) -> Path:
        """The git directory that has the commit: a folder that was given, or one that is fetched into."""
        if Path(self.paintings).is_dir():
            return Path(self.paintings)
        place = self.folder / "paintings.git"
        if not place.is_dir():
            subprocess.run(["git", "init", "-q", "--bare", str(place)], check=True)
        held = subprocess.run(["git", "-C", str(place), "cat-file", "-e", package["version"]], check=False)
        if held.returncode:
            fetch = ["git", "-C", str(place), "fetch", "-q", "--depth", "1", self.paintings, package["version"]]
            subprocess.run(fetch, check=True)
        return place

    def squares(self, work: Work, size: int) -> list[Pixels]:
        """What stands for generated images of one size, uint8 (size, size, 3); the first also for a reference.

        It is the whole work, brought to that size as a reference is, and parts of it; of a figure that was cut out,
        parts that it fills.
        """
        pixels, cover = self._picture(work)
        height, width = pixels.shape[:2]
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(work.id.encode()).digest()[:8], "little"))

        def part(share: tuple[float, float]) -> tuple[slice, slice]:
            side = int(min(height, width) * rng.uniform(*share))
            top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
            return slice(top, top + side), slice(left, left + side)

        if cover.mean() > COVER:
            places = [np.s_[:, :], *(part(PART) for _ in range(SQUARES - 1))]
        else:
            places = []
            for _ in range(SQUARES):
                tried = [part(FIGURE_PART) for _ in range(TRIES)]
                shares = [cover[place].mean() for place in tried]
                places.append(tried[next((k for k, share in enumerate(shares) if share > COVER), np.argmax(shares))])
        return [match_reference(pixels[place], size, size) for place in places]

    def _picture(self, work: Work) -> tuple[Pixels, NDArray[np.bool_]]:
        """A work on grey, uint8 (H, W, 3), and where it is not transparent; what is empty around it is left out."""
        package, place = self.packages[work.package], self._places[work.package]
        if package["kind"] == "git":
            blob = ["git", "-C", str(place), "cat-file", "blob", f"{package['version']}:{work.path}"]
            data = subprocess.run(blob, check=True, capture_output=True).stdout
            if hashlib.sha256(data).hexdigest() != work.sha256:
                raise DataError(f"{work.path} differs from the file in the table (SHA-256 {work.sha256}).")
        else:
            data = checked(place / work.path, work.sha256)
        with Image.open(BytesIO(data)) as image:
            picture = image.convert("RGBA")
        picture = picture.crop(picture.getchannel("A").point(lambda alpha: 255 * (alpha > 16)).getbbox())
        flat = Image.new("RGBA", picture.size, (GREY, GREY, GREY, 255))
        flat.alpha_composite(picture)
        return np.asarray(flat.convert("RGB")), np.asarray(picture.getchannel("A")) > 127
