"""Verification of run folders: whatever is tampered with, one thing at a time, is named."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from images_on_disk import MeanColours, png_bytes

from copyscope_core.auditing.score import Score
from copyscope_core.errors import CopyScopeError
from copyscope_core.evaluation.measure import Works
from copyscope_core.evidence.manifest import make_manifest, read_manifest, write_manifest
from copyscope_core.evidence.publish import ReportOptions
from copyscope_core.evidence.run_files import FolderFiles
from copyscope_core.evidence.verify import Verification, Verifier
from copyscope_core.evidence.verify_numbers import compare_numbers, evaluate_again, stored_features
from copyscope_core.features.extractor import FeatureCache
from copyscope_core.files.folders import read_folder
from copyscope_core.report.html.paper import NO_DIGEST, resealed
from copyscope_core.report.report import Report
from copyscope_core.store.run_store import RunStore
from copyscope_core.store.runs import STATE_VARIABLE, clean_run
from tests.evidence.scored import changed, make_scored, unchecked


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A scored folder with all that belongs to it: images, reference, control, out."""
    root = tmp_path_factory.mktemp("scored")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(root / "state"))
        make_scored(root)
        yield root


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def verify(run: Path, **options: Any) -> Verification:
    return Verifier(run / "out", MeanColours(), images=run / "images", **options).run()


def stored(run: Path) -> FeatureCache:
    return FeatureCache(run / "out" / "features", MeanColours())


def rewrite(path: Path, change: Callable[[Any], None]) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def forge(run: Path, change: Callable[[Any], None]) -> None:
    """Change report.json and make the manifest agree, as a forger would."""
    rewrite(run / "out" / "report.json", change)
    page, manifest = run / "out" / "report.html", run / "out" / "manifest.json"
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    page.write_bytes(resealed(page.read_bytes(), digest, NO_DIGEST))
    report = Report.load(run / "out" / "report.json")
    write_manifest(make_manifest(report, run / "out", {}), run / "out")


def test_an_untouched_folder_holds(run: Path) -> None:
    result = verify(run, reference=run / "reference", control=run / "control", full=True)
    assert result.findings == ()
    assert result.notes == ()
    assert result.holds
    assert result.images == 16 + 9 + 9
    assert result.features == 16 + 9 + 9
    assert result.numbers > 150
    assert result.files == len(list((run / "out" / "features").rglob("*.safetensors"))) + 16 + 9 + 9 + 6
    assert result.as_json()["holds"] is True


def test_nothing_is_written(run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    verify(run, reference=run / "reference", full=True)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


@pytest.mark.parametrize("name", ["report.json", "report.html", "chart.svg", "chart.png", "run.json", "events.jsonl"])
@pytest.mark.parametrize("how", ["changed", "missing"])
def test_every_file_is_watched(run: Path, name: str, how: str) -> None:
    path = run / "out" / name
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"a", b"b", 1) + b" ")
    result = verify(run)
    assert not result.holds
    assert name in [item.what for item in (result.unchecked if how == "missing" else result.findings)]
    if how == "missing":
        assert not result.findings


def test_a_missing_manifest_is_said(run: Path) -> None:
    (run / "out" / "manifest.json").unlink()
    result = verify(run)
    assert result.findings == ()
    assert unchecked(result) == ["manifest.json"]
    assert result.manifest_sha256 is None
    assert result.numbers > 150


def test_an_added_file_is_changed(run: Path) -> None:
    added = run / "out" / "features" / "mean-colours" / ("0" * 64 + ".safetensors")
    stored(run).keep({"0" * 64: np.zeros(24, dtype=np.float32)})
    assert changed(verify(run)) == [added.relative_to(run / "out").as_posix()]


@pytest.mark.parametrize("name", ["notes.txt", "report (1).html", "features/mean-colours/x.txt", "coalitions/y/0.png"])
def test_a_file_that_is_none_of_ours_is_named_too(run: Path, name: str) -> None:
    path = run / "out" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("planted", encoding="utf-8")
    (run / "out" / ".DS_Store").touch()
    assert changed(verify(run)) == [name]


def test_an_image_added_to_what_was_scored_is_changed(run: Path) -> None:
    folder = run / "images" / "a"
    shutil.copy(folder / "000.png", folder / "zz.png")
    (run / "images" / "b" / "new.png").write_bytes(png_bytes(7))
    assert changed(verify(run)) == ["images of base: new.png", "images of style: zz.png"]


def test_a_damaged_image_of_what_was_scored_is_changed(run: Path) -> None:
    (run / "images" / "a" / "001.png").write_bytes(b"no image")
    (finding,) = verify(run).findings
    assert "001.png" in finding.message
    assert "--images" not in finding.message


def test_what_lay_there_before_is_not_called_added(run: Path) -> None:
    before = run / "out" / "artist" / "work.png"
    before.parent.mkdir()
    before.touch()
    forge(run, lambda report: None)
    assert verify(run).holds
    assert "artist" not in (run / "out" / "manifest.json").read_text(encoding="utf-8")


def test_a_changed_feature_is_named_with_the_numbers_that_it_moves(run: Path) -> None:
    report = Report.load(run / "out" / "report.json")
    digest = report.coalitions[1].image_files[0].pixel_sha256
    stored(run).keep({digest: stored(run).stored(digest) + 1})
    found = changed(verify(run, full=True))
    assert f"features/mean-colours/{digest}.safetensors" in found
    assert "report.json: coalitions.1.fid" in found
    assert "report.json: coalitions.0.fid" not in found


def test_a_feature_that_a_forged_manifest_covers_is_not_what_its_image_gives(run: Path) -> None:
    report = Report.load(run / "out" / "report.json")
    digest = report.reference.images[0].matched_sha256
    stored(run).keep({digest: stored(run).stored(digest) * np.float32(1.01)})
    forge(run, lambda data: None)
    result = verify(run, reference=run / "reference")
    finding = next(item for item in result.findings if item.what == f"features/mean-colours/{digest}.safetensors")
    assert finding.message == "is not what its image gives"


@pytest.mark.parametrize("change", ["pixels", "bytes", "gone"])
def test_a_changed_image_is_changed(run: Path, change: str) -> None:
    path = run / "images" / "ab" / "002.png"
    if change == "pixels":
        path.write_bytes(png_bytes(4711))
    elif change == "bytes":
        path.write_bytes(path.read_bytes() + b"tail")
    else:
        path.unlink()
    result = verify(run)
    assert (unchecked if change == "gone" else changed)(result) == ["images of base + style: 002.png"]
    assert len(result.findings) + len(result.unchecked) == 1


@pytest.mark.parametrize("which", ["reference", "control"])
def test_a_changed_reference_or_control_image_is_changed(run: Path, which: str) -> None:
    (run / which / "003.png").write_bytes(png_bytes(4711))
    assert verify(run).holds  # by its copy
    result = verify(run, **{which: run / which})
    assert changed(result) == [f"{which} 003.png"]
    (run / which / "003.png").unlink()
    result = verify(run, **{which: run / which})
    assert (changed(result), unchecked(result)) == ([], [f"{which} 003.png"])


COPIED = ("copies/reference/0003.png", "copies/control/0003.png", "copies/images/3/0002.png")


@pytest.mark.parametrize("name", COPIED)
@pytest.mark.parametrize("change", ["pixels", "bytes", "gone", "no image"])
def test_a_folder_stands_alone_and_its_copies_are_watched(run: Path, name: str, change: str) -> None:
    for folder in ("images", "reference", "control"):
        shutil.rmtree(run / folder)
    (run / "out").rename(run / "moved")
    path = run / "moved" / name
    whole = Verifier(run / "moved", MeanColours(), full=True).run()
    assert whole.holds
    assert (whole.images, whole.features) == (34, 34)
    if change == "gone":
        path.unlink()
    else:
        new = {"pixels": png_bytes(4711), "bytes": path.read_bytes() + b"tail", "no image": b"x"}[change]
        path.write_bytes(new)
    result = Verifier(run / "moved", MeanColours()).run()
    assert name in (unchecked if change == "gone" else changed)(result)
    assert bool(result.findings) == (change != "gone")


def test_copies_that_were_left_out_are_not_checked_and_nothing_is_called_changed(run: Path) -> None:
    shutil.rmtree(run / "out" / "copies")
    result = Verifier(run / "out", MeanColours()).run()
    assert result.findings == ()
    assert unchecked(result) == ["copies/", "generated images", "reference images", "control images"]
    assert result.unchecked[0].message == "34 of 34 files are not there"
    assert result.numbers > 150


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (ReportOptions(copy=False), set()),
        (ReportOptions(private=True), {"images"}),
        (ReportOptions(show_reference=False), {"images"}),
        (ReportOptions(), {"images", "reference", "control"}),
    ],
)
def test_which_copies_are_kept(
    run: Path, options: ReportOptions, kept: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(run / "state"))
    works = Works(read_folder(run / "reference"), read_folder(run / "control"))
    Score(run / "images", works, run / "out", MeanColours(), options=options).run()
    assert {path.parts[0] for path in found_files(run / "out" / "copies")} == kept
    result = Verifier(run / "out", MeanColours()).run()
    assert result.findings == ()
    assert result.holds == (len(kept) == 3)


def found_files(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]


def test_the_page_shows_the_manifests_hash_and_no_other(run: Path) -> None:
    digest = hashlib.sha256((run / "out" / "manifest.json").read_bytes()).hexdigest()
    page = run / "out" / "report.html"
    text = page.read_text("utf-8")
    assert verify(run).manifest_sha256 == digest
    assert digest in text
    for other in (NO_DIGEST, "1" * 64):
        page.write_text(text.replace(digest, other), encoding="utf-8")
        assert changed(verify(run)) == ["report.html"]


def _numbers(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every number of a report that is computed."""
    if isinstance(data, dict):
        for key, item in data.items():
            yield from _numbers(item, (*path, key))
    elif isinstance(data, list):
        for place, item in enumerate(data):
            yield from _numbers(item, (*path, place))
    elif isinstance(data, float | int) and not isinstance(data, bool):
        yield path


COMPUTED = ("players", "coalitions", "differences", "interactions", "uncertainty", "efficiency_gap")
NOT_NUMBERS = ("seed", "mask")


def test_every_forged_number_is_found(made: Path, run: Path) -> None:
    """Each number of the report is changed alone, the manifest made to agree, and the number is named."""
    original = json.loads((made / "out" / "report.json").read_text(encoding="utf-8"))
    paths = [
        path
        for path in _numbers({key: original[key] for key in COMPUTED})
        if path[-1] not in NOT_NUMBERS and "image_files" not in path
    ]
    assert len(paths) > 90
    cache = stored(run)
    for path in paths:
        data = json.loads(json.dumps(original))
        place: Any = data
        for key in path[:-1]:
            place = place[key]
        old = place[path[-1]]
        place[path[-1]] = old + 1 if isinstance(old, int) else old * 1.013 + 0.0017
        (run / "out" / "report.json").write_text(json.dumps(data), encoding="utf-8")
        report = Report.load(run / "out" / "report.json")
        features = stored_features(report, cache.stored)
        _, found = compare_numbers(report, features, evaluate_again(report, features))
        wanted = str(path[-2] if isinstance(path[-1], int) else path[-1])
        assert any(wanted in finding.what for finding in found), (path, found)


def _nearest(data: Any) -> None:
    data["coalitions"][0]["image_files"][0]["nearest_distance"] += 1


def _headline(data: Any) -> None:
    data["verdict"]["sentence"] = "“base” (component) did it."


def _warnings(data: Any) -> None:
    data["warnings"] = []


def _effect(data: Any) -> None:
    data["players"][0]["no_effect"] = True


def _seed(data: Any) -> None:
    for coalition in data["coalitions"]:
        coalition["image_files"][0]["seed"] = 1


def _swap(data: Any) -> None:
    one, other = data["coalitions"][0], data["coalitions"][3]
    one["image_files"], other["image_files"] = other["image_files"], one["image_files"]


def _drop(data: Any) -> None:
    data["reference"]["images"].pop()


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (_nearest, "nearest"),
        (_headline, "verdict.sentence"),
        (_warnings, "warnings"),
        (_effect, "no_effect"),
        (_seed, "shapley_interval"),
        (_swap, "coalitions.0.fid"),
        (_drop, "coalitions.0.fid"),
    ],
)
def test_a_forged_report_with_a_manifest_to_match_is_found(
    run: Path, change: Callable[[Any], None], place: str
) -> None:
    forge(run, change)
    assert any(place in what for what in changed(verify(run))), changed(verify(run))


@pytest.mark.parametrize("key", ["created", "preprocessing", "seeds", "environment", "models", "reference", "files"])
def test_a_changed_manifest_is_found(run: Path, key: str) -> None:
    def change(data: Any) -> None:
        if key == "files":
            data[key]["report.html"]["sha256"] = "0" * 64
        elif isinstance(data[key], str):
            data[key] += "x"
        elif isinstance(data[key], dict):
            data[key]["copyscope"] = "9.9"
        else:
            data[key] = data[key][1:] or [{"file": "new.safetensors"}]

    rewrite(run / "out" / "manifest.json", change)
    found = verify(run).findings
    assert found[0].message.endswith("shows the SHA-256 of another one")
    assert [item.what for item in found] == ["report.html", *([] if key == "files" else [f"report.json: {key}"])]


def test_a_report_of_another_network_is_refused(run: Path) -> None:
    forge(run, lambda data: data.update(preprocessing="other-network"))
    with pytest.raises(CopyScopeError, match="--features"):
        verify(run)


def test_a_folder_without_evidence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CopyScopeError, match="no report and no manifest"):
        Verifier(tmp_path, MeanColours()).run()


def test_links_and_paths_that_leave_the_folder_are_not_followed(run: Path) -> None:
    secret = run / "secret.png"
    secret.write_bytes(png_bytes(1))
    (run / "images" / "a").rename(run / "elsewhere")
    (run / "images" / "a").symlink_to(run / "elsewhere")
    assert any("images of style" in what for what in changed(verify(run)))
    html = run / "out" / "report.html"
    html.rename(run / "page.html")
    html.symlink_to(run / "page.html")
    assert "report.html" in changed(verify(run))


def test_a_sample_of_features_is_computed_again_unless_all_are_asked_for(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copyscope_core.evidence.verify_images.SAMPLE", 5)
    result = verify(run)
    assert result.features == 5 + 9 + 9
    assert any("5 of 16" in note for note in result.notes)
    assert verify(run, full=True).features == 16 + 9 + 9


def test_without_an_extractor_all_is_checked_but_the_features(run: Path) -> None:
    def unseen() -> Verification:
        return Verifier(run / "out", None, images=run / "images").run()

    result, whole = unseen(), verify(run)
    assert result.holds
    assert result.features == 0
    assert (result.files, result.images, result.numbers) == (whole.files, whole.images, whole.numbers)
    assert any("No features were computed again" in note for note in result.notes)
    path = next((run / "out" / "features" / "mean-colours").iterdir())
    path.unlink()
    assert any(what.startswith("report.json: numbers") for what in unchecked(unseen()))


@pytest.mark.parametrize("change", [{"preprocessing": "../out"}, {"views": {}}, {"views": {"content": [0, 1 << 40]}}])
def test_without_an_extractor_a_report_that_does_not_say_what_its_features_are_is_refused(
    run: Path, change: dict[str, Any]
) -> None:
    forge(run, lambda data: data.update(change))
    with pytest.raises(CopyScopeError, match="how long its features"):
        Verifier(run / "out", None).run()


def test_the_manifest_holds_everything_and_is_cleaned_up(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(run / "state"))
    manifest, _ = read_manifest(FolderFiles(run / "out"))
    on_disk = {path.relative_to(run / "out").as_posix() for path in (run / "out").rglob("*") if path.is_file()}
    assert on_disk - set(manifest.files) == {"manifest.json", ".copyscope.lock"}
    assert [len(item.images) for item in manifest.coalitions] == [4, 4, 4, 4]
    assert all(image.matched_sha256 for image in [*manifest.reference, *manifest.control])
    clean_run(run / "out")
    assert not (run / "out").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"copyscope_manifest": 2}', "null", '{"files": 5}'])
@pytest.mark.parametrize("name", ["manifest.json", "report.json", "run.json"])
def test_odd_files_are_findings(run: Path, name: str, text: str) -> None:
    (run / "out" / name).write_text(text, encoding="utf-8")
    assert any(what.startswith(name) for what in changed(verify(run)))


@pytest.mark.parametrize("rows", [None, 5, [5, {}], [{"mask": 0, "folder": "../elsewhere"}], {"mask": 1}])
def test_odd_lists_of_folders_are_findings(run: Path, rows: Any) -> None:
    rewrite(run / "out" / "run.json", lambda data: data.update(coalitions=rows))
    found = changed(verify(run))
    assert "run.json" in found
    assert "images of base + style" in unchecked(verify(run))


OPENING = ("open", "os.listdir", "os.scandir", "os.readlink")
_watching: list[list[str]] = []


def _note_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in OPENING:
        _watching[-1].append(os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | Path) else "")


sys.addaudithook(_note_opened)


@contextlib.contextmanager
def only_inside(run: Path) -> Iterator[None]:
    """The block opens and lists nothing in ``run/elsewhere``."""
    _watching.append([])
    try:
        yield
    finally:
        opened = _watching.pop()
    assert [path for path in opened if "elsewhere" in path or "host" in path] == []
    assert any(str(run / "out") in path for path in opened)  # guards the line above


@pytest.fixture
def stored_run(run: Path) -> Path:
    """A run folder that holds its images, as an audit leaves it; what it was made from is in ``elsewhere``."""
    report = Report.load(run / "out" / "report.json")
    folders = {0: "none", 1: "b", 2: "a", 3: "ab"}
    keys = {mask: f"{mask:064x}" for mask in folders}
    store = RunStore(run / "out")
    for mask, folder in folders.items():
        store.write(keys[mask], [path.read_bytes() for path in sorted((run / "images" / folder).iterdir())], {})

    def change(data: Any) -> None:
        for coalition in data["coalitions"]:
            coalition["folder"] = "coalitions"
            for place, image in enumerate(coalition["image_files"]):
                image["file"] = f"{keys[coalition['mask']]}/{place:04d}.png"

    rewrite(run / "out" / "run.json", lambda data: data.pop("score"))
    forge(run, change)
    (run / "images").rename(run / "elsewhere")
    assert len(report.coalitions) == 4
    return run


def test_an_audits_folder_holds(stored_run: Path) -> None:
    with only_inside(stored_run):
        result = Verifier(stored_run / "out", MeanColours()).run()
    assert result.holds
    assert (result.images, result.features) == (34, 34)


@pytest.mark.parametrize("place", ["{run}/elsewhere", "../elsewhere", "elsewhere", r"\\host\share", "//host/share", 5])
def test_a_scored_folder_that_nobody_named_is_not_opened(run: Path, place: Any) -> None:
    """``run.json`` comes with the folder, so it may name any place of the reader's machine."""
    (run / "images").rename(run / "elsewhere")
    where = place.format(run=run) if isinstance(place, str) else place
    rewrite(run / "out" / "run.json", lambda data: data.update(score=where))
    shutil.rmtree(run / "out" / "copies")
    forge(run, lambda report: None)
    with only_inside(run):
        result = Verifier(run / "out", MeanColours()).run()
    assert result.findings == ()
    assert result.images == result.features == 0
    assert result.numbers > 150
    assert any("--images DIR checks them" in item.message for item in result.unchecked)
    assert Verifier(run / "out", MeanColours(), images=run / "elsewhere").run().images == 16


OUT = ["..", "../elsewhere", "a/../../elsewhere/a", "{run}/elsewhere/a", r"\\host\share", "//host/share", "C:/a",
       "C:a", r"\a", r"..\elsewhere", "a\0b", "", "."]  # fmt: skip


@pytest.mark.parametrize("name", OUT)
def test_folders_of_a_table_lie_in_the_folder_that_was_changed(run: Path, name: str) -> None:
    shutil.copytree(run / "images" / "a", run / "elsewhere" / "a")
    folder = name.format(run=run)

    def change(data: Any) -> None:
        data["coalitions"][2]["folder"] = folder

    rewrite(run / "out" / "run.json", change)
    forge(run, lambda report: None)
    with only_inside(run):
        assert changed(verify(run)) == ["images of style"]


@pytest.mark.parametrize("name", [*OUT, "0/0000.png", f"{2:064x}/0000.png/../../../../elsewhere/a/000.png"])
def test_names_of_images_lie_in_the_run_folder(stored_run: Path, name: str) -> None:
    file = name.format(run=stored_run)

    def change(data: Any) -> None:
        data["coalitions"][2]["image_files"][0]["file"] = file

    forge(stored_run, change)
    with only_inside(stored_run):
        (finding,) = Verifier(stored_run / "out", MeanColours()).run().findings
    assert finding == (f"coalitions/{file}", "is no image of a run folder")


@pytest.mark.parametrize(
    "place",
    ["coalitions", f"coalitions/{2:064x}", f"coalitions/{2:064x}/0000.png", "features", "features/mean-colours"],
)
def test_links_in_a_run_folder_are_not_followed(stored_run: Path, place: str) -> None:
    path = stored_run / "out" / place
    kept = stored_run / "elsewhere" / "kept"
    path.rename(kept)
    path.symlink_to(kept, target_is_directory=kept.is_dir())
    with only_inside(stored_run):
        result = Verifier(stored_run / "out", MeanColours()).run()
    assert any(what.startswith(place) for what in changed(result))


@pytest.mark.parametrize("size", [{}, {"width": 0}, {"width": "x"}, {"width": 10**9, "height": 10**9}, {"width": True}])
def test_an_odd_size_of_the_reference_is_a_finding(run: Path, size: dict[str, Any]) -> None:
    def change(data: Any) -> None:
        shape = data["reference"]["preprocessing"]
        data["reference"]["preprocessing"] = {**shape, **size} if size else {}

    forge(run, change)
    assert "report.json: reference.preprocessing" in changed(verify(run, reference=run / "reference"))


def test_a_manifest_that_knows_other_control_images_is_found(run: Path) -> None:
    rewrite(run / "out" / "manifest.json", lambda data: data["control"].pop())
    assert changed(verify(run)) == ["report.html", "report.json: control"]
