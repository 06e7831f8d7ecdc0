"""What is published with a report: reference images are opened one by one, and only where they are shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from images_on_disk import image_folder
from PIL import Image

from copyscope_core.evidence.publish import ReportOptions, publish
from copyscope_core.files import images
from copyscope_core.files.folders import list_folder
from copyscope_core.files.images import ImageFile
from tests.report.test_page import certain_report


def test_reference_images_are_opened_when_they_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = certain_report()
    reference = list_folder(image_folder(tmp_path / "reference", 30))
    pictures = {item.mask: [Image.new("RGB", (8, 8), "red")] for item in report.coalitions}
    monkeypatch.setattr(images, "_decode", None)  # nothing decodes a whole image
    page = publish(report, tmp_path / "open", pictures, reference, ReportOptions()).html_path.read_text("utf-8")
    assert 'alt="Reference image 1"' in page
    assert "could not be read" not in page
    for path in (tmp_path / "reference").iterdir():
        path.unlink()
    for options in (ReportOptions(private=True), ReportOptions(show_reference=False)):
        html = publish(report, tmp_path / "closed", pictures, reference, options).html_path.read_text("utf-8")
        assert 'alt="Reference image' not in html


def test_an_image_without_a_file_is_shown_by_its_pixels(tmp_path: Path) -> None:
    report = certain_report()
    pictures = {item.mask: [Image.new("RGB", (8, 8), "red")] for item in report.coalitions}
    (one, *_) = list_folder(image_folder(tmp_path / "reference", 1))
    socket = ImageFile("image 1", Path(), one.pixels, one.pixel_sha256, "")
    html = publish(report, tmp_path / "out", pictures, [socket], ReportOptions()).html_path.read_text("utf-8")
    assert 'alt="Reference image 1"' in html
