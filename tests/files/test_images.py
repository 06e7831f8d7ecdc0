"""Images: SaveImage's rounding, odd files, bad folders, clean-fid's resize."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from images_on_disk import image_folder
from PIL import Image, ImageCms

from copyscope_core.errors import ImageError
from copyscope_core.files import decode, images
from copyscope_core.files.folders import check_folder, list_folder, read_folder
from copyscope_core.files.images import ImageFile, in_threads, read_image
from copyscope_core.files.pixels import (
    as_rgb,
    describe_defects,
    match_record,
    match_reference,
    pixel_hash,
    quantise,
    resize_bicubic,
)


def picture(seed: int = 0, height: int = 24, width: int = 40) -> np.ndarray:
    """A smooth image with colour, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / rng.uniform(2, 9) + y / rng.uniform(2, 9) + rng.uniform(0, 6)) for _ in range(3)]
    return ((np.stack(waves, axis=2) + 1) * 127).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]
    return path


# --- quantising and hashing


@given(st.integers(0, 1000), st.sampled_from(["float16", "float32", "float64"]))
@settings(max_examples=20, deadline=None)
def test_quantises_as_save_image_does(seed: int, dtype: str) -> None:
    image = np.random.default_rng(seed).uniform(-0.2, 1.2, size=(2, 5, 4, 3)).astype(dtype)
    i = 255.0 * image  # ComfyUI's nodes.py, SaveImage.save_images
    assert np.array_equal(quantise(image), np.clip(i, 0, 255).astype(np.uint8))


def test_every_8_bit_value_survives_the_way_through_float() -> None:
    """ComfyUI's LoadImage divides by 255 in float32; times 255 must give the value back, not one less."""
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    assert np.array_equal(quantise(values.astype(np.float32) / 255.0), values)


def test_quantises_tensors() -> None:
    torch = pytest.importorskip("torch")
    image = torch.rand(2, 4, 5, 3, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(quantise(image), quantise(image.numpy()))
    assert np.array_equal(quantise(image.bfloat16()), quantise(image.bfloat16().float().numpy()))
    assert quantise(image.requires_grad_()).shape == (2, 4, 5, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(value: float) -> None:
    image = np.full((1, 4, 4, 3), 0.5, dtype=np.float32)
    image[0, 2, 1, 0] = value
    with pytest.raises(ImageError, match="NaN or infinite"):
        quantise(image)


def test_integers_are_not_quantised() -> None:
    with pytest.raises(ImageError, match="uint8"):
        quantise(picture())


def test_pixel_hash_is_of_shape_and_bytes() -> None:
    pixels = picture()
    assert pixel_hash(pixels) == hashlib.sha256(b"24x40x3\n" + pixels.tobytes()).hexdigest()
    assert pixel_hash(pixels) == pixel_hash(np.asfortranarray(pixels))
    assert pixel_hash(pixels) != pixel_hash(pixels.reshape(40, 24, 3))
    changed = pixels.copy()
    changed[3, 4, 1] ^= 1
    assert pixel_hash(pixels) != pixel_hash(changed)


def test_as_rgb() -> None:
    pixels = picture()
    assert np.array_equal(as_rgb(pixels), pixels)
    assert np.array_equal(as_rgb(pixels[:, :, :1]), np.repeat(pixels[:, :, :1], 3, axis=2))
    alpha = np.zeros((24, 40, 1), dtype=np.uint8)
    assert (as_rgb(np.concatenate([pixels, alpha], axis=2)) == 255).all()
    for bad in (pixels[:, :, 0], pixels[:, :, :2], pixels[:0]):
        with pytest.raises(ImageError, match="is no image"):
            as_rgb(bad)


# --- reading a file


def test_reads_a_png_to_the_pixel(tmp_path: Path) -> None:
    path = save(tmp_path / "é.png", picture())
    image = read_image(path)
    assert np.array_equal(image.pixels, picture())
    assert image.pixels.dtype == np.uint8
    assert (image.name, image.path) == ("é.png", path)
    assert image.pixel_sha256 == pixel_hash(picture())
    assert image.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert image == read_image(path)


def test_turns_as_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90°
    path = save(tmp_path / "a.png", picture(), exif=exif)
    assert np.array_equal(read_image(path).pixels, np.rot90(picture(), k=-1))


def test_puts_transparency_on_white(tmp_path: Path) -> None:
    rgba = np.dstack([picture(), np.full((24, 40), 255, dtype=np.uint8)])
    rgba[:12, :, 3] = 0
    rgba[12, :, 3] = 128
    pixels = read_image(save(tmp_path / "a.png", rgba)).pixels
    assert (pixels[:12] == 255).all()
    assert np.array_equal(pixels[13:], picture()[13:])
    mixed = picture()[12] * (128 / 255) + 255 * (127 / 255)
    assert np.abs(pixels[12] - mixed).max() <= 1


def test_puts_palette_and_keyed_transparency_on_white(tmp_path: Path) -> None:
    palette = Image.fromarray(np.array([[0, 1], [1, 0]], dtype=np.uint8), mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "p.png", transparency=0)
    white, colour = [255, 255, 255], [40, 50, 60]
    assert read_image(tmp_path / "p.png").pixels.tolist() == [[white, colour], [colour, white]]
    Image.fromarray(np.array([[7, 9]], dtype=np.uint8)).save(tmp_path / "l.png", transparency=7)
    assert read_image(tmp_path / "l.png").pixels.tolist() == [[white, [9, 9, 9]]]


def test_rounds_16_bit_grey(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65407, 65535]], dtype=np.uint16)
    for name in ("a.png", "a.tif"):
        pixels = read_image(save(tmp_path / name, values)).pixels
        assert pixels[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255, 255]
        assert (pixels[:, :, :1] == pixels).all()


def test_reads_grey_bilevel_and_grey_with_alpha(tmp_path: Path) -> None:
    grey = picture()[:, :, 0]
    assert np.array_equal(read_image(save(tmp_path / "l.png", grey)).pixels, np.dstack([grey] * 3))
    Image.fromarray(grey).convert("1").save(tmp_path / "1.png")
    assert set(np.unique(read_image(tmp_path / "1.png").pixels)) == {0, 255}
    Image.merge("LA", [Image.fromarray(grey), Image.new("L", (40, 24), 0)]).save(tmp_path / "la.png")
    assert (read_image(tmp_path / "la.png").pixels == 255).all()


def test_reads_cmyk(tmp_path: Path) -> None:
    Image.fromarray(picture()).convert("CMYK").save(tmp_path / "a.tif")
    assert np.abs(read_image(tmp_path / "a.tif").pixels.astype(int) - picture()).max() <= 1
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red.save(tmp_path / "red.jpg", quality=100)
    assert np.abs(read_image(tmp_path / "red.jpg").pixels.astype(int) - [255, 0, 0]).max() <= 4


def test_images_read_at_once_show_no_warning_and_leave_the_filters_of_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """Two are read at a time, and the one that began first ends first."""
    path = save(tmp_path / "image.png", picture())
    begun, ended = threading.Barrier(2), threading.Event()
    convert = decode._to_rgb

    def warn(image: Image.Image) -> Image.Image:
        place = begun.wait(timeout=30)
        if place:
            assert ended.wait(timeout=30)
        warnings.warn("Corrupt EXIF data", stacklevel=1)
        return convert(image)

    monkeypatch.setattr(decode, "_to_rgb", warn)
    before = list(warnings.filters)
    with ThreadPoolExecutor(2) as pool:
        reading = [pool.submit(read_image, path) for _ in range(2)]
        wait(reading, return_when=FIRST_COMPLETED)
        ended.set()
    assert [item.result().name for item in reading] == ["image.png"] * 2
    assert list(warnings.filters) == before
    assert not recwarn.list


def test_threads_give_results_in_order_and_raise_what_the_first_failure_was() -> None:
    assert in_threads(lambda number: number * number, range(40)) == [number * number for number in range(40)]
    assert in_threads(str, []) == []
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda number: 1 // number, [3, 2, 1, 0])


def test_an_unusable_cmyk_profile_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(picture()).convert("CMYK")
    for name, profile in (("rgb.tif", srgb), ("rubbish.tif", b"no profile")):
        image.save(tmp_path / name, icc_profile=profile)
        assert np.abs(read_image(tmp_path / name).pixels.astype(int) - picture()).max() <= 1
    assert caplog.text.count("colour profile is not usable") == 2


def test_takes_the_first_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(picture(seed)) for seed in range(3)]
    for name in ("a.png", "a.webp", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert np.array_equal(read_image(tmp_path / name).pixels, picture(0))
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert np.abs(read_image(tmp_path / "a.gif").pixels.astype(int) - picture(0)).mean() < 12


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", picture()[:, :, 0].astype(np.float32))
    with pytest.raises(ImageError, match=r"a\.tif has floating-point pixels"):
        read_image(tmp_path / "a.tif")


def test_decompression_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.png", picture())
    monkeypatch.setattr(decode, "MAX_IMAGE_PIXELS", 24 * 40 - 1)
    with pytest.raises(ImageError, match="more than 959 pixels"):
        read_image(tmp_path / "a.png")
    monkeypatch.undo()
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(ImageError, match="more than 100,000,000 pixels"):
        read_image(tmp_path / "bomb.png")


def test_too_large_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.png", picture())
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 100)
    with pytest.raises(ImageError, match="larger than"):
        read_image(tmp_path / "a.png")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"absent\.png cannot be read \(No such file"):
        read_image(tmp_path / "absent.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "tif", "bmp", "tga", "ppm"])
def test_damaged_files_give_a_sentence_and_nothing_else(tmp_path: Path, suffix: str) -> None:
    buffer = io.BytesIO()
    formats = {"jpg": "JPEG", "tif": "TIFF"}
    Image.fromarray(picture()).save(buffer, formats.get(suffix, suffix.upper()))
    sound = buffer.getvalue()
    rng = np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(sound)
        for place in rng.integers(0, min(len(data), 400), size=rng.integers(1, 6)):
            data[place] = rng.integers(0, 256)
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(bytes(data[: rng.integers(1, len(data) + 1)]))
        try:
            assert read_image(path).pixels.shape[2] == 3
        except ImageError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("data", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\x80\x04."])
def test_other_files_are_not_images(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ImageError, match="is not an image"):
        read_image(tmp_path / "a.png")


# --- reading a folder


def test_reads_a_folder_by_name_without_system_files_and_subfolders(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, name in enumerate(["b.png", "a.PNG", "Z.png", "10.png", "9.png"]):
        save(tmp_path / name, picture(number), format="PNG")
    for name in (".DS_Store", ".hidden.png", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"\0")
    (tmp_path / "more").mkdir()
    assert [image.name for image in read_folder(tmp_path)] == ["10.png", "9.png", "Z.png", "a.PNG", "b.png"]
    assert "more" in caplog.text


def test_one_image_is_a_folder_of_images(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture())
    assert len(read_folder(tmp_path)) == 1


def test_a_missing_or_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"absent does not exist"):
        read_folder(tmp_path / "absent")
    with pytest.raises(ImageError, match="has no images; put"):
        read_folder(tmp_path)
    (tmp_path / "inside").mkdir()
    with pytest.raises(ImageError, match=r"subfolders are not searched: inside"):
        read_folder(tmp_path)
    with pytest.raises(ImageError, match="is not a folder"):
        read_folder(save(tmp_path / "a.png", picture()))


def test_files_that_are_not_images_are_all_named_up_to_a_handful(tmp_path: Path) -> None:
    save(tmp_path / "good.png", picture())
    (tmp_path / "notes.txt").write_text("caption", encoding="utf-8")
    (tmp_path / "bad.JPG").write_bytes(b"no")
    with pytest.raises(ImageError, match=r"bad\.JPG is not an image"):
        read_folder(tmp_path)
    (tmp_path / "bad.JPG").unlink()
    for number in range(7):
        (tmp_path / f"bad{number}.png").write_bytes(b"no")
    with pytest.raises(ImageError, match=r"bad0\.png, bad1\.png, bad2\.png, bad3\.png, bad4\.png and 2 more; remove"):
        read_folder(tmp_path)


@pytest.mark.parametrize("read", [read_folder, list_folder, check_folder])
def test_files_that_are_no_images_by_name_and_content_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, read: Callable[[Path], list[ImageFile]]
) -> None:
    for name in ("notes.txt", "README", "works.csv"):
        (tmp_path / name).write_text("title,year", encoding="utf-8")
    with pytest.raises(ImageError, match=r"no images \(what is there is none: README, notes\.txt, works\.csv\); put"):
        read(tmp_path)
    save(tmp_path / "a.png", picture())
    save(tmp_path / "0123abcd", picture(1), format="PNG")  # as downloads are named
    caplog.clear()
    assert [image.name for image in read(tmp_path)] == ["0123abcd", "a.png"]
    assert [record.getMessage() for record in caplog.records] == [
        f"Files of {tmp_path} that are no images are passed over: README, notes.txt, works.csv."
    ]


def test_a_damaged_image_is_named_whatever_its_name(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture())
    (tmp_path / "0123abcd").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(ImageError, match="0123abcd is not an image"):
        read_folder(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_listing_a_folder_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.jpg", "c.webp", "d.bmp", "e.tif", "f.gif", "g.tga", "h.jp2", "i.ppm"):
        save(tmp_path / name, picture())
    expected = read_folder(tmp_path)
    (tmp_path / "b.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:200])  # the signature is whole, the rest is not
    with monkeypatch.context() as patch:
        patch.setattr(images, "decode_pixels", None)
        listed = list_folder(tmp_path)
        assert [image.name for image in listed] == [image.name for image in expected]
    del expected[1], listed[1]
    for image, whole in zip(listed, expected, strict=True):
        assert isinstance(image, ImageFile)
        assert np.array_equal(image.pixels, whole.pixels)
        assert (image.path, image.pixel_sha256, image.file_sha256) == (
            whole.path, whole.pixel_sha256, whole.file_sha256
        )  # fmt: skip
    with pytest.raises(ImageError, match=r"b\.jpg is not an image"):
        list_folder(tmp_path)[1].decoded()


def test_listing_a_folder_names_what_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="has no images"):
        list_folder(tmp_path)
    save(tmp_path / "a.png", picture())
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"empty\.png is not an image"):
        list_folder(tmp_path)
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(ImageError, match=r"empty\.png, photo\.heic; remove them"):
        list_folder(tmp_path)


def test_an_image_on_disk_is_decoded_once_for_its_hashes_and_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "a.png", picture())
    (image,) = list_folder(tmp_path)
    decodes: list[Path] = []
    plain = images.decode_pixels
    monkeypatch.setattr(images, "decode_pixels", lambda data, path: (decodes.append(path), plain(data, path))[1])
    whole = image.decoded()
    assert (image.pixel_sha256, image.file_sha256) == (whole.pixel_sha256, whole.file_sha256)
    assert decodes == [tmp_path / "a.png"]
    save(tmp_path / "a.png", picture(1))
    with pytest.raises(ImageError, match="was changed while it was in use"):
        image.decoded()


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    save(folder / "a.png", picture())
    save(tmp_path / "secret.png", picture(1))
    (folder / "inside.png").symlink_to("a.png")
    assert len(read_folder(folder)) == 2
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ImageError, match=r"lead out of it: out\.png"):
        read_folder(folder)
    (folder / "out.png").unlink()
    (folder / "up").symlink_to(tmp_path)
    with pytest.raises(ImageError, match="lead out of it: up"):
        read_folder(folder)
    (folder / "up").unlink()
    (folder / "loop.png").symlink_to("loop.png")
    with pytest.raises(ImageError):
        read_folder(folder)
    linked = tmp_path / "linked"
    (folder / "loop.png").unlink()
    linked.symlink_to(folder)
    assert len(read_folder(linked)) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_named_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match=r"pipe\.png is not a file"):
        read_folder(tmp_path)


# --- resizing


@pytest.mark.parametrize(("height", "width"), [(512, 640), (299, 299), (64, 64), (1, 7)])
def test_resize_equals_clean_fids(height: int, width: int) -> None:
    resize = pytest.importorskip("cleanfid.resize", reason="clean-fid is not installed")
    pixels = picture(1, height, width)
    pixels[: height // 2] = np.random.default_rng(1).integers(0, 256, size=(height // 2, width, 3))
    theirs = resize.build_resizer("clean")(pixels)
    ours = resize_bicubic(pixels, 299, 299)
    assert ours.dtype == theirs.dtype == np.float32
    assert np.array_equal(ours, theirs)


def test_resize_does_not_round_and_stays_in_range() -> None:
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[:, 8:] = 255
    resized = resize_bicubic(pixels, 37, 21)
    assert resized.shape == (21, 37, 3)
    assert resized.min() == 0
    assert resized.max() == 255
    assert (resized % 1 != 0).any()


def test_a_reference_is_cropped_about_its_centre_and_resized() -> None:
    wide = np.zeros((100, 300, 3), dtype=np.uint8)
    wide[:, 100:200] = 255
    assert (match_reference(wide, 64, 64) == 255).all()
    tall = wide.transpose(1, 0, 2)
    assert (match_reference(tall, 32, 32) == 255).all()
    assert match_reference(picture(0, 50, 70), 48, 96).shape == (96, 48, 3)
    assert match_reference(picture(0, 1, 1), 8, 4).shape == (4, 8, 3)
    assert match_reference(picture(0, 3, 500), 16, 512).shape == (512, 16, 3)


@pytest.mark.parametrize(
    ("have", "want", "crop"),
    [
        ((60, 60), (40, 20), (60, 30)), ((60, 60), (20, 40), (30, 60)), ((90, 60), (30, 60), (30, 60)),
        ((60, 90), (60, 30), (60, 30)), ((80, 60), (40, 20), (80, 40)), ((40, 120), (20, 40), (40, 80)),
    ],
)  # fmt: skip
def test_the_crop_has_the_wanted_aspect(have: tuple[int, int], want: tuple[int, int], crop: tuple[int, int]) -> None:
    """Sizes are (width, height); the crop is as large as the picture allows, and in its middle."""
    (width, height), (crop_width, crop_height) = have, crop
    pixels = picture(1, height, width)
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    expected = resize_bicubic(pixels[top : top + crop_height, left : left + crop_width], *want)
    assert np.array_equal(match_reference(pixels, *want), np.rint(expected))


def test_a_reference_of_the_right_shape_stays_to_the_pixel() -> None:
    assert match_reference(picture(), 40, 24) is not None
    assert np.array_equal(match_reference(picture(), 40, 24), picture())


def test_match_rounds_the_float_resize() -> None:
    pixels = picture(2, 60, 60)
    assert np.array_equal(match_reference(pixels, 32, 32), np.rint(resize_bicubic(pixels, 32, 32)))
    assert match_record(32, 48) == "centre-crop.clean-bicubic.u8:32x48"


# --- defects


def test_flat_images_are_described() -> None:
    flat = np.zeros((4, 4, 3), dtype=np.uint8)
    assert describe_defects(flat) == ["is entirely black"]
    assert describe_defects(flat + np.array([1, 2, 3], dtype=np.uint8)) == [
        "is one flat colour (red 1, green 2, blue 3)"
    ]
    flat[1, 2, 0] = 1
    assert describe_defects(flat) == []
    assert describe_defects(picture()) == []


def test_a_checked_folder_is_whole_and_holds_no_pixels(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "reference", 3)
    checked = check_folder(folder)
    assert [image.pixel_sha256 for image in checked] == [image.pixel_sha256 for image in read_folder(folder)]
    assert not any("pixels" in vars(image) for image in checked)
    damaged = folder / "zz.png"
    damaged.write_bytes((folder / "000.png").read_bytes()[:-40])
    assert list_folder(folder)[-1].name == "zz.png"  # its first bytes are those of an image
    with pytest.raises(ImageError, match=r"zz\.png"):
        check_folder(folder)
