"""Bundles: verified elsewhere after the originals are gone, tampered with in many ways, and hostile zip files."""

from __future__ import annotations

import json
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from images_on_disk import png_bytes

from copyscope_core.errors import StoreError
from copyscope_core.evidence import run_files
from copyscope_core.evidence.bundle import bundle
from copyscope_core.evidence.publish import ReportOptions
from copyscope_core.evidence.run_files import ZipFiles
from copyscope_core.store.runs import STATE_VARIABLE
from tests.evidence.scored import changed, make_scored, unchecked, verified


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, Path]]:
    """A run folder, and by True a private one."""
    root = tmp_path_factory.mktemp("bundles")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(root / "state"))
        yield {
            private: make_scored(root / str(private), ReportOptions(private=private, examiner="A. Smith"))
            for private in (False, True)
        }


@pytest.fixture
def packed(folders: dict[bool, Path], tmp_path: Path) -> Path:
    return bundle(folders[False], tmp_path / "case.zip").path


Members = dict[str, bytes]


def rewritten(path: Path, change: Callable[[Members], object]) -> Path:
    """A bundle with changed members."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    change(members)
    target = path.with_name("changed.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in members.items():
            new.writestr(name, data)
    return target


def test_a_bundle_holds_elsewhere_without_the_originals(folders: dict[bool, Path], tmp_path: Path) -> None:
    shutil.copytree(folders[False], tmp_path / "here" / "out")
    made = bundle(tmp_path / "here" / "out", tmp_path / "case.zip")
    assert made.left_out == ()
    shutil.rmtree(tmp_path / "here")
    (tmp_path / "there").mkdir()
    made.path.rename(tmp_path / "there" / "evidence.zip")
    before = sorted(tmp_path.rglob("*"))
    result = verified(tmp_path / "there" / "evidence.zip", full=True)
    assert result.holds
    assert (result.images, result.features, result.manifest_sha256) == (34, 34, made.manifest_sha256)
    assert result.files == made.files - 1  # all but the manifest
    assert sorted(tmp_path.rglob("*")) == before  # nothing was unpacked


def test_of_the_same_folder_the_same_bundle_is_made(folders: dict[bool, Path], tmp_path: Path) -> None:
    one, other = (bundle(folders[False], tmp_path / f"{name}.zip").path.read_bytes() for name in "ab")
    assert one == other


def _edit(name: str, old: bytes, new: bytes) -> Callable[[Members], object]:
    def change(members: Members) -> None:
        assert old in members[name]
        members[name] = members[name].replace(old, new, 1)

    return change


def _forge(key: str) -> Callable[[Members], object]:
    def change(members: Members) -> None:
        report = json.loads(members["report.json"])
        report["players"][0][key] += 1
        members["report.json"] = json.dumps(report).encode()

    return change


FEATURE = "features/mean-colours/"
TAMPERING: dict[str, tuple[Callable[[Members], object], str]] = {
    "a number of the report": (_forge("shapley"), "report.json"),
    "a word of the page": (_edit("report.html", b"Settings", b"settings"), "report.html"),
    "the manifest's hash on the page": (
        lambda members: members.update({"report.html": members["report.html"].replace(b"Manifest", b"manifest")}),
        "report.html",
    ),
    "a generated image": (
        lambda members: members.update({"copies/images/3/0002.png": png_bytes(4711)}),
        "copies/images/3/0002.png",
    ),
    "an image's metadata": (
        lambda members: members.update({"copies/images/0/0000.png": members["copies/images/0/0000.png"] + b"x"}),
        "copies/images/0/0000.png",
    ),
    "a reference image": (
        lambda members: members.update({"copies/reference/0000.png": png_bytes(4711)}),
        "copies/reference/0000.png",
    ),
    "two images swapped": (
        lambda members: members.update(
            {
                "copies/images/1/0000.png": members["copies/images/2/0000.png"],
                "copies/images/2/0000.png": members["copies/images/1/0000.png"],
            }
        ),
        "copies/images/1/0000.png",
    ),
    "the chart": (lambda members: members.update({"chart.png": png_bytes(1)}), "chart.png"),
    "the log": (_edit("events.jsonl", b'"begun"', b'"ended"'), "events.jsonl"),
    "the examiner": (_edit("report.json", b"A. Smith", b"B. Smith"), "report.json"),
    "the manifest's date": (_edit("manifest.json", b"Z", b"+"), "report.json: created"),
    "an added file": (lambda members: members.update({"notes.txt": b"planted"}), "notes.txt"),
    "an added image": (
        lambda members: members.update({"copies/images/0/0009.png": png_bytes(9)}),
        "copies/images/0/0009.png",
    ),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_whatever_is_changed_in_a_bundle_is_named(packed: Path, what: str) -> None:
    change, name = TAMPERING[what]
    result = verified(rewritten(packed, change))
    assert name in changed(result)
    assert unchecked(result) == []


def test_changed_features_are_named(packed: Path) -> None:
    def change(members: Members) -> None:
        one, other, *_ = [name for name in members if name.startswith(FEATURE)]
        members[one] = members[other]

    result = verified(rewritten(packed, change))
    assert any(what.startswith(FEATURE) for what in changed(result))
    assert any(what.startswith("report.json: ") for what in changed(result))


@pytest.mark.parametrize("name", ["report.html", "workflows.json", "events.jsonl", "copies/reference/0000.png"])
def test_what_is_taken_out_is_not_checked_and_nothing_is_called_changed(packed: Path, name: str) -> None:
    result = verified(rewritten(packed, lambda members: members.pop(name, None)))
    assert changed(result) == []
    assert unchecked(result)[:1] == ([] if name == "workflows.json" else [name])


def test_a_private_bundle_tells_nothing_and_its_numbers_are_checked(folders: dict[bool, Path], tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a private one"):
        bundle(folders[False], tmp_path / "x.zip", private=True)
    made = bundle(folders[True], tmp_path / "x.zip", private=True)
    with zipfile.ZipFile(made.path) as file:
        names = file.namelist()
        everything = b"".join(map(file.read, names))
    assert not any(name.startswith(("copies", "coalitions", "run.json", "events", "workflows")) for name in names)
    assert str(folders[True].parent).encode() not in everything
    result = verified(made.path)
    assert changed(result) == []
    assert "generated images" in unchecked(result)
    assert result.numbers > 150
    assert "run.json" in made.left_out


def test_a_folder_that_is_not_what_its_manifest_says_is_not_bundled(folders: dict[bool, Path], tmp_path: Path) -> None:
    shutil.copytree(folders[False], tmp_path / "out")
    (tmp_path / "case.zip").write_bytes(b"")
    with pytest.raises(StoreError, match="is there already"):
        bundle(tmp_path / "out", tmp_path / "case.zip")
    (tmp_path / "out" / "chart.svg").write_bytes(b"x")
    with pytest.raises(StoreError, match=r"chart\.svg is not what the manifest says"):
        bundle(tmp_path / "out", tmp_path / "other.zip")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "case.zip"}


def _plain(file: zipfile.ZipFile) -> None:
    file.writestr("manifest.json", "{}")


def _link(file: zipfile.ZipFile) -> None:
    member = zipfile.ZipInfo("report.html")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    file.writestr(member, "/etc/passwd")


def _twice(file: zipfile.ZipFile) -> None:
    file.writestr("report.json", "{}")
    with pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("report.json", "[]")


HOSTILE: dict[str, tuple[Callable[[zipfile.ZipFile], Any], str]] = {
    "a path upwards": (lambda file: file.writestr("../report.json", "{}"), "does not name anything inside"),
    "an absolute path": (lambda file: file.writestr("/tmp/report.json", "{}"), "does not name anything inside"),
    "a drive": (lambda file: file.writestr("C:/report.json", "{}"), "does not name anything inside"),
    "a folder": (lambda file: file.writestr("copies/", ""), "no plain file"),
    "a link": (_link, "no plain file"),
    "a name twice": (_twice, "of the same name"),
    "another packing": (lambda file: file.writestr("a", "x", zipfile.ZIP_BZIP2), "packed in a way"),
    "a bomb": (lambda file: file.writestr("report.json", bytes(1 << 20)), "would unpack from"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_zip_files_are_refused(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_files, "SPARE_BYTES", 1 << 10)
    change, message = HOSTILE[what]
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as file:
        _plain(file)
        change(file)
    with pytest.raises(StoreError, match=message):
        verified(tmp_path / "x.zip")


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("report.json", bytes(1000))
        for member in list(file.infolist()):
            for number in range(9):
                twin = zipfile.ZipInfo(f"copies/images/0/{number:04d}.png")
                twin.file_size, twin.compress_size = member.file_size, member.compress_size
                twin.CRC, twin.header_offset = member.CRC, member.header_offset
                file.filelist.append(twin)
    with pytest.raises(StoreError, match="would unpack from"):
        verified(tmp_path / "x.zip")


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_bundle_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(StoreError, match=r"zip file|no report and no manifest"):
        verified(tmp_path / "x.zip")


def test_a_damaged_member_is_named(packed: Path) -> None:
    with zipfile.ZipFile(packed) as file:
        member = file.getinfo("chart.png")
    data = bytearray(packed.read_bytes())
    data[member.header_offset + 30 + len(member.filename) + member.compress_size // 2] ^= 0xFF
    packed.write_bytes(data)
    assert changed(verified(packed)) == ["chart.png"]
    with pytest.raises(OSError, match="larger than"):
        ZipFiles(packed).read("report.json", 10)
