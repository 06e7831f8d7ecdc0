"""Damaged images of every format that is read: pixels, or one sentence."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from copyscope_core.files.decode import FORMATS
from copyscope_core.files.folders import read_folder
from copyscope_core.files.images import read_image
from copyscope_core.files.pixels import describe_defects, match_reference

from .harness import fuzzed, guarded
from .mutations import damaged_bytes

RNG = np.random.default_rng(3)
PIXELS = RNG.integers(0, 255, (12, 10, 4), dtype=np.uint8)


def saved(format: str, mode: str, **options: object) -> bytes:
    """A small picture in a format and mode."""
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(buffer, format, **options)
    return buffer.getvalue()


def animation() -> bytes:
    """A GIF of three frames."""
    frames = [Image.fromarray(PIXELS).convert("P").rotate(90 * turn) for turn in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int) -> bytes:
    """A few kilobytes that claim to be, and unpack to, a picture of absurd size."""
    body = zlib.compress(b"\0" * (1 << 20), 9) * 4
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A PNG whose compressed comment unpacks to 256 MiB."""
    comment = b"c\0\0" + zlib.compress(bytes(1 << 28), 9)
    data = saved("PNG", "RGB")
    return data[:33] + chunk(b"zTXt", comment) + data[33:]


EXIF = Image.Exif()
EXIF[0x0112] = 6
CORPUS = [
    saved("PNG", "RGBA"), saved("PNG", "P"), saved("PNG", "I;16") if hasattr(Image, "core") else b"", saved("PNG", "L"),
    saved("JPEG", "RGB", exif=EXIF), saved("JPEG", "CMYK"), saved("WEBP", "RGBA"), saved("BMP", "RGB"),
    saved("TIFF", "RGB"), saved("TIFF", "RGB", compression="tiff_lzw"), saved("TIFF", "F"), saved("PPM", "RGB"),
    saved("TGA", "RGB"), saved("TGA", "RGBA", compression="tga_rle"), animation(),
]  # fmt: skip
if features.check("jpg_2000"):
    CORPUS.append(saved("JPEG2000", "RGB"))
if features.check("avif"):
    CORPUS.append(saved("AVIF", "RGB"))
BOMBS = [png_bomb(60_000, 60_000), png_bomb(2**31 - 1, 2**31 - 1), png_bomb(1, 2**31 - 1), text_bomb()]
OTHER_FILES = [
    b"", b"\0" * 64, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/tmp/x) run\n", b"<svg onload=alert(1)>",
    b"cos\nsystem\n(S'true'\ntR.", b"PK\x03\x04", b"\x80\x04\x95", b"\xff\xd8\xff", b"GIF89a",
    b"RIFF\xff\xff\xff\xffWEBP",
]  # fmt: skip


@fuzzed(3)
@given(damaged_bytes(CORPUS))
def test_images(data: bytes) -> None:
    with guarded() as root:
        path = root / "image.png"
        path.write_bytes(data)
        image = read_image(path)
        assert image.pixels.dtype == np.uint8
        assert image.pixels.ndim == 3
        describe_defects(image.pixels)
        match_reference(image.pixels, 16, 24)


@fuzzed(0.1)
@given(st.sampled_from(BOMBS + OTHER_FILES))
def test_bombs_and_other_files(data: bytes) -> None:
    with guarded() as root:
        (root / "image.png").write_bytes(data)
        read_folder(root)


@fuzzed(0.25)
@given(st.lists(damaged_bytes(CORPUS, most=1), max_size=4), st.sampled_from([".png", ".jpg", "", ".eps", ".svg"]))
def test_folders(files: list[bytes], suffix: str) -> None:
    with guarded() as root:
        for number, data in enumerate(files):
            (root / f"{number}{suffix}").write_bytes(data)
        read_folder(root)


def test_every_format_is_in_the_corpus() -> None:
    known = {Image.open(io.BytesIO(data)).format for data in CORPUS if data}
    assert set(FORMATS) - known <= {"MPO", "AVIF", "JPEG2000"}
