"""Images outside the run folder: the same report, nothing decoded again, damage found, and no way out of the URL."""

from __future__ import annotations

import itertools
import pickle
import sys
import zipfile
from pathlib import Path

import pytest
from fakecomfy import FakeComfy
from images_on_disk import MeanColours, png_bytes

from copyscope_core.errors import StoreError
from copyscope_core.evidence.bundle import bundle
from copyscope_core.evidence.verify import Verifier
from copyscope_core.store import run_store as store_module
from copyscope_core.store.run_store import RunStore
from copyscope_core.store.storage import ImageStorage
from tests.auditing.test_audit import audit, results

pytest.importorskip("fsspec", reason="NO FSSPEC FOUND: pip install 'copyscope[ray]'; this test did NOT run")

KEY = "ab" * 32
_NUMBERS = itertools.count()


@pytest.fixture(params=["file", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStorage:
    folder = (tmp_path / "storage").as_uri()
    return ImageStorage(folder if request.param == "file" else f"memory://copyscope-{next(_NUMBERS)}/run")


def images_of(folder: Path) -> list[Path]:
    return list((folder / "out" / "coalitions").glob("*/*.png"))


def test_images_go_to_the_storage_and_the_report_is_the_same(
    server: FakeComfy, storage: ImageStorage, tmp_path: Path
) -> None:
    alone = audit(server, tmp_path / "alone", canaries=True)
    away = audit(server, tmp_path / "away", canaries=True, storage=storage)
    assert results(away.report) == results(alone.report)
    assert away.html_path.read_text("utf-8").count("data:image") == alone.html_path.read_text("utf-8").count(
        "data:image"
    )
    keys = RunStore(tmp_path / "away" / "out", storage).keys()
    assert all("0000.png" in storage.names(key) for key in keys)
    assert len(keys) == len(images_of(tmp_path / "alone")) == 11
    verifier = Verifier(tmp_path / "away" / "out", MeanColours(), full=True, storage=storage)
    assert verifier.run().findings == ()


def test_a_bundle_packs_the_images_of_the_storage_where_it_is_named(
    server: FakeComfy, storage: ImageStorage, tmp_path: Path
) -> None:
    audit(server, tmp_path, storage=storage, seeds=12)
    for image in images_of(tmp_path):
        image.unlink()
    out = audit(server, tmp_path, storage=storage, seeds=12).json_path.parent  # holds those that the page shows
    plain, full = bundle(out, tmp_path / "plain.zip"), bundle(out, tmp_path / "full.zip", storage=storage)
    assert plain.elsewhere > 0
    assert (full.elsewhere, full.files) == (0, plain.files + plain.elsewhere)
    there = Verifier(plain.path, MeanColours(), full=True).run()
    assert (there.findings, [item.what for item in there.unchecked]) == ((), ["generated images"])
    whole = Verifier(full.path, MeanColours(), full=True).run()
    assert whole.holds
    assert whole.images == there.images + plain.elsewhere
    with zipfile.ZipFile(plain.path) as few, zipfile.ZipFile(full.path) as all_of_them:
        _, key, name = min(set(all_of_them.namelist()) - set(few.namelist())).split("/")
    storage.put(key, {name: png_bytes(7)})
    with pytest.raises(StoreError, match=f"{key}/{name} in .* is not what the manifest says"):
        bundle(out, tmp_path / "other.zip", storage=storage)
    assert not (tmp_path / "other.zip").exists()


def test_an_image_that_a_bundle_adds_must_be_one_of_the_manifest(
    server: FakeComfy, storage: ImageStorage, tmp_path: Path
) -> None:
    out = audit(server, tmp_path, storage=storage).json_path.parent
    packed = bundle(out, tmp_path / "full.zip", storage=storage).path
    with zipfile.ZipFile(packed, "a") as file:
        file.writestr(f"coalitions/{KEY}/0000.png", png_bytes(1))
    found = Verifier(packed, MeanColours()).run().findings
    assert [item.what for item in found] == [f"coalitions/{KEY}/0000.png"]


def test_a_storage_belongs_to_one_run_folder(server: FakeComfy, storage: ImageStorage, tmp_path: Path) -> None:
    first = audit(server, tmp_path / "one", storage=storage)
    before = len(server.prompts)
    with pytest.raises(StoreError, match="holds the images of another run folder; give each run folder its own URL"):
        audit(server, tmp_path / "two", storage=storage)
    assert len(server.prompts) == before
    assert results(audit(server, tmp_path / "one", storage=storage).report) == results(first.report)


def test_a_folder_stays_the_same_where_the_current_one_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    storage = ImageStorage("images")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    pickle.loads(pickle.dumps(storage)).put(KEY, {"0000.png": png_bytes(1)})
    assert (tmp_path / "images" / "coalitions" / KEY / "0000.png").exists()


def test_a_repeated_audit_reads_no_image_to_measure(
    server: FakeComfy, storage: ImageStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = audit(server, tmp_path, storage=storage)

    def refuse(path: Path) -> None:
        raise AssertionError(f"{path} was decoded")

    monkeypatch.setattr(store_module, "read_image", refuse)
    again = audit(server, tmp_path, storage=storage)
    assert (again.sampled, again.reused) == (0, 9)
    assert results(again.report) == results(first.report)


def test_what_the_storage_lost_is_made_again(server: FakeComfy, storage: ImageStorage, tmp_path: Path) -> None:
    first = audit(server, tmp_path, storage=storage)
    keys = RunStore(tmp_path / "out").keys()
    for path in images_of(tmp_path):
        path.unlink()
    storage.remove(keys[0])
    again = audit(server, tmp_path, storage=storage)
    assert (again.sampled, again.reused) == (1, 8)
    assert results(again.report) == results(first.report)


def test_what_was_changed_in_the_storage_is_found(storage: ImageStorage, tmp_path: Path) -> None:
    store = RunStore(tmp_path / "out", storage)
    entry = store.write(KEY, [png_bytes(1), png_bytes(2)], {})
    assert store.read(KEY) == entry
    assert [image.pixel_sha256 for image in store.images(entry)] == [image.pixel_sha256 for image in entry.images]
    store.image(KEY, "0001.png", entry.images[1].file_sha256).unlink()
    storage.put(KEY, {"0001.png": png_bytes(3)})
    with pytest.raises(StoreError, match=r"0001.png was changed after it was stored"):
        store.images(entry)
    assert store.read(KEY) is None


def test_verify_names_images_of_the_storage(server: FakeComfy, storage: ImageStorage, tmp_path: Path) -> None:
    report = audit(server, tmp_path, storage=storage).report
    for path in images_of(tmp_path):
        path.unlink()
    file = report.coalitions[0].image_files[0].file
    storage.put(file.partition("/")[0], {"0000.png": png_bytes(99)})
    found = [item.what for item in Verifier(tmp_path / "out", MeanColours(), storage=storage).run().findings]
    assert f"coalitions/{file}" in found
    alone = Verifier(tmp_path / "out", MeanColours()).run()
    assert not alone.holds
    assert alone.findings == () or file in alone.findings[0].what
    assert any(storage.url in item.message for item in alone.unchecked)


@pytest.mark.parametrize(
    ("key", "name"), [("..", "0000.png"), (KEY, "../0000.png"), (KEY, "x.png"), ("A" * 64, "0000.png")]
)
def test_no_name_leads_out_of_the_url(storage: ImageStorage, key: str, name: str) -> None:
    for act in (lambda: storage.put(key, {name: b""}), lambda: storage.get(key, name)):
        with pytest.raises(StoreError, match="no image of a coalition"):
            act()


def test_a_storage_is_pickled_as_its_url(storage: ImageStorage) -> None:
    copy = pickle.loads(pickle.dumps(storage))
    storage.put(KEY, {"0000.png": b"data"})
    assert copy.get(KEY, "0000.png") == b"data"
    assert copy.names(KEY) == {"0000.png"}
    assert copy.names("0" * 64) == set()


def test_a_storage_that_cannot_be_used_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"The storage nosuch://x cannot be used .*; check its address"):
        ImageStorage("nosuch://x")
    with pytest.raises(StoreError, match=r"cannot be read .*; check address and rights"):
        ImageStorage(tmp_path.as_uri()).get(KEY, "0000.png")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(StoreError, match=r"needs fsspec; install it: pip install 'copyscope\[ray\]'"):
        ImageStorage("s3://bucket/prefix")


def test_what_looks_broken_is_told_without_reading_images_again(server: FakeComfy, tmp_path: Path) -> None:
    noise = server.paint
    server.paint = lambda digest, number: noise(digest, number) * (number > 1)
    first = audit(server, tmp_path)
    again = audit(server, tmp_path)
    told = [warning.message for warning in first.report.warnings if warning.code == "defective_images"]
    assert len(told) == 1
    assert "style + prompt, seed +0 is entirely black" in told[0]
    assert results(again.report) == results(first.report)
