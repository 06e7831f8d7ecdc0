"""Reading, quantising, hashing and resizing images.

Pixels are 8-bit RGB everywhere: what ComfyUI's SaveImage would write, so that the graph, ``audit`` and ``score`` agree.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps

from ..errors import ImageError

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""One RGB image, uint8, (H, W, 3)."""

MAX_IMAGE_PIXELS = 100_000_000
MAX_FILE_BYTES = 1 << 30
MATCH_METHOD = "centre-crop.clean-bicubic.u8"
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA")
"""Formats that are tried. Others that Pillow knows are left out on purpose: EPS starts Ghostscript, for one."""

_MOST_THREADS = 16
_PREFIX_BYTES = 16
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_Image = TypeVar("_Image", bound="ImageFile")
_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini"})
_MOST_NAMED = 5
# What Pillow raises on files that are damaged or no images, found by feeding it damaged files.
_DECODE_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    zlib.error,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class ImageFile:
    """An image with its pixels; two are equal if their names, paths and hashes are."""

    name: str
    path: Path
    pixels: Pixels = field(compare=False, repr=False)
    pixel_sha256: str
    file_sha256: str

    def decoded(self) -> ImageFile:
        """The image with its pixels in memory.

        Raises:
            ImageError: see :meth:`ImageOnDisk.decoded`.
        """
        return self


class ImageOnDisk(ImageFile):
    """An image that is decoded each time its pixels are asked for, so that a large folder takes no memory.

    Its hashes are remembered once it has been decoded. Whoever needs pixels and hashes calls :meth:`decoded` once.
    """

    def __init__(self, path: Path) -> None:
        object.__setattr__(self, "name", path.name)
        object.__setattr__(self, "path", path)

    def __repr__(self) -> str:
        return f"ImageOnDisk({str(self.path)!r})"

    def decoded(self) -> ImageFile:
        """The image with its pixels in memory.

        Raises:
            ImageError: the file is missing, is not an image, or was changed since it was decoded before.
        """
        image = read_image(self.path)
        if self.__dict__.setdefault("_hashes", (image.pixel_sha256, image.file_sha256)) != (
            image.pixel_sha256,
            image.file_sha256,
        ):
            raise ImageError(f"The image {self.path} was changed while it was in use; run again.")
        return image

    @property
    def pixels(self) -> Pixels:  # type: ignore[override]
        """The decoded pixels; nothing keeps them. Raises ImageError, as `decoded`."""
        return self.decoded().pixels

    @property
    def pixel_sha256(self) -> str:  # type: ignore[override]
        """SHA-256 of the pixels. Raises ImageError, as `decoded`."""
        return self._known()[0]

    @property
    def file_sha256(self) -> str:  # type: ignore[override]
        """SHA-256 of the file. Raises ImageError, as `decoded`."""
        return self._known()[1]

    def _known(self) -> tuple[str, str]:
        if "_hashes" not in self.__dict__:
            self.decoded()
        hashes: tuple[str, str] = self.__dict__["_hashes"]
        return hashes


def in_threads(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """The function of each item, in order, on all cores: Pillow and hashlib let other threads work meanwhile.

    Raises:
        BaseException: what the function raised for the first item that failed, or what interrupted it; items that were
            not begun by then are skipped.
    """
    threads = min(len(items), os.cpu_count() or 1, _MOST_THREADS)
    if threads < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads, thread_name_prefix="copyscope-images") as pool:
        return list(pool.map(function, items))


def quantise(image: npt.NDArray[Any] | torch.Tensor) -> npt.NDArray[np.uint8]:
    """Round an image to 8 bits exactly as ComfyUI's SaveImage does: times 255, clipped, fraction dropped.

    Args:
        image: (…, H, W, C), floating point, 0…1; a tensor may live on any device.

    Raises:
        ImageError: a value is NaN or infinite, which SaveImage would turn into a black or white pixel.
    """
    array = image if isinstance(image, np.ndarray) else _to_numpy(image)
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(f"An image of type {array.dtype} cannot be quantised; floating-point values 0…1 are expected.")
    if not np.isfinite(array).all():
        raise ImageError(
            "An image has NaN or infinite values, as a VAE in half precision often gives; "
            "run the VAE in float32 (--fp32-vae) or in bfloat16."
        )
    pixels: npt.NDArray[np.uint8] = np.clip(255.0 * array, 0, 255).astype(np.uint8)
    return pixels


def _to_numpy(tensor: torch.Tensor) -> npt.NDArray[Any]:
    tensor = tensor.detach().cpu()
    # NumPy has no bfloat16; every bfloat16 is a float32.
    array: npt.NDArray[Any] = (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    return array


def as_rgb(array: npt.NDArray[np.uint8]) -> Pixels:
    """One 8-bit image of 1 (grey), 3 (RGB) or 4 (RGBA, put on white) channels, (H, W, C), as RGB.

    Raises:
        ImageError: the shape is another one.
    """
    if array.ndim != 3 or 0 in array.shape or array.shape[2] not in (1, 3, 4):
        raise ImageError(f"An array of shape {array.shape} is no image; (height, width, 1, 3 or 4) is expected.")
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    if array.shape[2] == 4:
        return np.array(_on_white(Image.fromarray(np.ascontiguousarray(array))))
    return np.ascontiguousarray(array)


def pixel_hash(pixels: Pixels) -> str:
    """SHA-256 (hex) of an image's shape, as ``HxWxC`` and a line feed, followed by its bytes in row order."""
    digest = hashlib.sha256("x".join(str(size) for size in pixels.shape).encode() + b"\n")
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def read_image(path: Path) -> ImageFile:
    """Read one image as 8-bit RGB: the first frame, turned as its EXIF says, alpha on white.

    16-bit grey is rounded to 8 bits, CMYK goes through its colour profile if it has one, else through Pillow's plain
    formula; other colour profiles are ignored, as ComfyUI's LoadImage and the FID packages do.

    Raises:
        ImageError: the file is missing, unreadable, too large, or not an image.
    """
    path = Path(path)
    with _reading(path):
        _check_size(path)
        data = path.read_bytes()
    return image_of(data, path)


def _check_size(path: Path) -> None:
    """Raises ImageError where a path is no file or too large a one, OSError where it cannot be looked at."""
    if path.exists() and not path.is_file():
        raise ImageError(f"{path} is not a file.")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ImageError(f"The image {path} is larger than {MAX_FILE_BYTES >> 20} MiB; make it smaller.")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into an ImageError."""
    try:
        yield
    except OSError as error:
        raise ImageError(f"The image {path} cannot be read ({error.strerror}); check its name and rights.") from error


def image_of(data: bytes, path: Path) -> ImageFile:
    """The image that a file's bytes are, as :func:`read_image` reads them.

    Raises:
        ImageError: they are not an image, or too large a one.
    """
    pixels = _decode(data, path)
    return ImageFile(
        name=path.name,
        path=path,
        pixels=pixels,
        pixel_sha256=pixel_hash(pixels),
        file_sha256=hashlib.sha256(data).hexdigest(),
    )


class _Silence:
    """While any thread is in it, Pillow's warnings on size and metadata are not shown; the size is checked here.

    ``warnings.catch_warnings`` alone is not for threads: they share one list of filters, and each would put back what
    it found.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.close()


_SILENCE = _Silence()


def _formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _no_image(name: str) -> ImageError:
    return ImageError(f"{name} is not an image that can be read (PNG, JPEG, WebP, GIF, TIFF, BMP …).")


def _decode(data: bytes, path: Path) -> Pixels:
    with _decode_errors(str(path)), _SILENCE, Image.open(io.BytesIO(data), formats=_formats()) as image:
        return _pixels(image)


def rgb_pixels(image: Image.Image, name: str) -> Pixels:
    """An image that Pillow has opened, as :func:`read_image` gives its file.

    Args:
        name: what messages call it.

    Raises:
        ImageError: it cannot be decoded, is too large, or has pixels whose range is not known.
    """
    with _decode_errors(name), _SILENCE:
        return _pixels(image)


def _pixels(image: Image.Image) -> Pixels:
    if image.width * image.height > MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError
    return np.array(_to_rgb(ImageOps.exif_transpose(image)))


@contextlib.contextmanager
def _decode_errors(name: str) -> Iterator[None]:
    """Say in a sentence, with the image's name, why the block cannot decode it."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"The image {name} {error}.") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"The image {name} has more than {MAX_IMAGE_PIXELS:,} pixels; make it smaller before it is compared."
        ) from error
    except _DECODE_ERRORS as error:
        raise _no_image(name) from error


def _check_kind(path: Path) -> ImageOnDisk:
    """An image whose file is one by its first bytes, of which no more is read.

    Raises:
        ImageError: it is missing, too large, or of no format that is known.
    """
    with _reading(path):
        _check_size(path)
        with path.open("rb") as stream:
            start = stream.read(_PREFIX_BYTES)
    if not any(_starts_as(name, start) for name in _formats()):
        try:
            with _SILENCE, Image.open(path, formats=_formats()):  # formats without a signature: their header is read
                pass
        except _DECODE_ERRORS as error:
            raise _no_image(str(path)) from error
    return ImageOnDisk(path)


def _starts_as(name: str, start: bytes) -> bool:
    """Whether a file that starts so has the signature of a format."""
    accept = Image.OPEN[name][1]
    try:
        return accept is not None and accept(start) is True
    except (SyntaxError, IndexError, TypeError, struct.error):  # as Pillow itself takes them
        return False


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ImageError("has floating-point pixels, whose range is not known; save it with 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.mode == "CMYK":
        return _from_cmyk(image)
    if image.has_transparency_data:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError("has 32-bit pixels outside 0…65535; save it with 8 or 16 bits")
    grey = ((values * 255 + 32767) // 65535).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _from_cmyk(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile:
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
        except (ImageCms.PyCMSError, OSError) as error:
            log.warning("A CMYK image's colour profile is not usable (%s); it is converted without.", error)
        else:
            if converted is not None:
                return converted
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def read_folder(folder: Path) -> list[ImageFile]:
    """All images of a folder, decoded, sorted by name (by code point, so alike on every system).

    Hidden and system files are left out, and so are subfolders, with a warning.

    Raises:
        ImageError: the folder is missing, unreadable or empty, a link leaves it, or files in it are not images (named).
    """
    return _of_each(folder, read_image)


def list_folder(folder: Path) -> list[ImageOnDisk]:
    """The images that :func:`read_folder` reads, not decoded: of each file only the size and the first bytes are read.

    Raises:
        ImageError: as :func:`read_folder`, but for files that are damaged behind their first bytes.
    """
    return _of_each(folder, _check_kind)


def check_folder(folder: Path) -> list[ImageOnDisk]:
    """The images that :func:`read_folder` reads, each decoded once to see that it is whole, and not kept in memory.

    Raises:
        ImageError: as :func:`read_folder`.
    """

    def check(path: Path) -> ImageOnDisk:
        image = _check_kind(path)
        image.decoded()
        return image

    return _of_each(folder, check)


def _of_each(folder: Path, look: Callable[[Path], _Image]) -> list[_Image]:
    """What ``look`` makes of each file of a folder, as :func:`read_folder` says."""
    folder = Path(folder)
    try:
        if not folder.exists():
            raise ImageError(f"The image folder {folder} does not exist; check its name.")
        if not folder.is_dir():
            raise ImageError(f"{folder} is not a folder; name the folder that holds the images.")
        root = folder.resolve()
        entries = sorted((path for path in folder.iterdir() if not _is_hidden(path)), key=lambda path: path.name)
        _refuse_links_out(entries, folder, root)
        folders = [path.name for path in entries if path.is_dir()]
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, up to Python 3.12
        raise ImageError(f"The image folder {folder} cannot be read ({error}); check its rights.") from error

    paths = [path for path in entries if path.name not in folders]

    def look_or_error(path: Path) -> _Image | ImageError:
        try:
            return look(path)
        except ImageError as error:
            return error

    found = in_threads(look_or_error, paths)
    images = [image for image in found if not isinstance(image, ImageError)]
    failures = {path.name: error for path, error in zip(paths, found, strict=True) if isinstance(error, ImageError)}
    if failures:
        first = next(iter(failures.values()))
        if len(failures) == 1:
            raise first
        raise ImageError(
            f"The image folder {folder} has files that are not images or cannot be read: {_some(list(failures))}; "
            "remove them."
        ) from first
    if not images:
        hint = f" (its subfolders are not searched: {_some(folders)})" if folders else ""
        raise ImageError(f"The image folder {folder} has no images{hint}; put PNG, JPEG or WebP files there.")
    if folders:
        log.warning("Subfolders of %s are not searched: %s.", folder, _some(folders))
    return images


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in _SYSTEM_FILES


def _refuse_links_out(entries: Sequence[Path], folder: Path, root: Path) -> None:
    outside = [path.name for path in entries if not path.resolve().is_relative_to(root)]
    if outside:
        raise ImageError(
            f"The image folder {folder} has links that lead out of it: {_some(outside)}; "
            "put the files themselves there."
        )


def _some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def resize_bicubic(pixels: Pixels, width: int, height: int) -> npt.NDArray[np.float32]:
    """clean-fid's resize: each channel as float, Pillow's antialiased bicubic, clipped to 0…255, not rounded.

    Returns:
        float32, (height, width, 3), 0…255.
    """
    channels = [
        np.asarray(
            Image.fromarray(pixels[:, :, channel].astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
        )
        for channel in range(3)
    ]
    return np.stack(channels, axis=2).clip(0, 255)


def match_reference(pixels: Pixels, width: int, height: int) -> Pixels:
    """Bring a reference image to the generated images' shape: centre crop to their aspect, bicubic, 8 bits.

    Without it, blur dominates the distance. An image that has the shape already is returned as it is.

    Returns:
        uint8, (height, width, 3).
    """
    have_height, have_width = pixels.shape[:2]
    if (have_width, have_height) == (width, height):
        return pixels
    crop_width = min(have_width, max(1, round(have_height * width / height)))
    crop_height = min(have_height, max(1, round(have_width * height / width)))
    left, top = (have_width - crop_width) // 2, (have_height - crop_height) // 2
    crop = pixels[top : top + crop_height, left : left + crop_width]
    return np.rint(resize_bicubic(crop, width, height)).astype(np.uint8)


def match_record(width: int, height: int) -> str:
    """What ``match_reference`` does, for the report: ``centre-crop.clean-bicubic.u8:512x768``."""
    return f"{MATCH_METHOD}:{width}x{height}"


def describe_defects(pixels: Pixels) -> list[str]:
    """What is plainly wrong with an image, as words that follow "the image …"; empty for a sound one.

    A failed decode (NaN, a VAE that overflowed) is saved as one flat colour, mostly black. NaN itself is refused by
    ``quantise``, since 8 bits cannot hold it.
    """
    low, high = pixels.min(axis=(0, 1)), pixels.max(axis=(0, 1))
    if high.max() == 0:
        return ["is entirely black"]
    if (low == high).all():
        red, green, blue = (int(value) for value in low)
        return [f"is one flat colour (red {red}, green {green}, blue {blue})"]
    return []
