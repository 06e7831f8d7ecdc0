from pathlib import Path

import numpy as np
import pytest
from images_on_disk import MeanColours, image_folder

from copyscope_core.controls.bank import load_bank
from copyscope_core.evaluation.bank_control import bank_control, bank_features
from copyscope_core.evaluation.measure import GeneratedImage, Works, measure
from copyscope_core.features.extractor import FeatureCache
from copyscope_core.files.folders import read_folder
from copyscope_core.files.images import read_image
from copyscope_core.report.schema import ControlRecord
from copyscope_core.store.runs import STATE_VARIABLE

SIZE = (48, 32)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    return tmp_path / "state"


def chosen(reference, cache):
    features = cache.features([(image.pixels, image.pixel_sha256) for image in reference])
    return bank_control(load_bank(), reference, features, SIZE, cache)


def test_a_work_of_the_bank_as_reference_is_left_out_with_its_artists_others(tmp_path: Path) -> None:
    bank = load_bank()
    place = next(k for k, work in enumerate(bank.works) if work.file == "illustration-impaler-bera.webp")
    found = chosen([read_image(bank.images[place].path)], FeatureCache(tmp_path, MeanColours()))
    left_out = {item["file"]: item["reason"] for item in found.record["left_out"]}
    assert left_out["illustration-impaler-bera.webp"] == "same_picture"
    assert left_out["illustration-rouser-bera.webp"] == "same_artist"
    assert not left_out.keys() & {image["file"] for image in found.record["images"]}


def test_the_record_and_the_features_are_of_the_works_that_are_used(tmp_path: Path) -> None:
    bank, cache = load_bank(), FeatureCache(tmp_path, MeanColours())
    found = chosen(read_folder(image_folder(tmp_path / "reference", 3)), cache)
    record = ControlRecord.model_validate(found.record)
    assert (record.source, record.bank) == ("bank", bank.version)
    assert record.count == len(record.images) == len(found.features) >= 20
    kinds = {work.file: work.kind for work in bank.works}
    assert {kinds[image.file] for image in record.images} == set(record.kinds)
    assert [cache.stored(str(image.matched_sha256)) for image in record.images] == pytest.approx(found.features)
    assert record.preprocessing["width"], record.preprocessing["height"] == SIZE


def test_the_bank_is_measured_once_a_size_on_a_machine() -> None:
    bank, extractor = load_bank(), MeanColours()
    first = bank_features(bank, SIZE, extractor)
    assert extractor.images == len(bank.works)
    np.testing.assert_array_equal(first, bank_features(bank, SIZE, extractor))
    assert extractor.images == len(bank.works)
    bank_features(bank, (32, 48), extractor)
    assert extractor.images == 2 * len(bank.works)


def test_a_machine_whose_state_cannot_be_written_measures_all_the_same(state: Path) -> None:
    state.write_text("a file, where a folder would be")
    assert len(bank_features(load_bank(), SIZE, MeanColours())) == len(load_bank().works)


def test_a_control_of_ones_own_goes_first_and_without_a_bank_there_is_none(tmp_path: Path) -> None:
    reference = read_folder(image_folder(tmp_path / "reference", 3))
    own = read_folder(image_folder(tmp_path / "own", 4, seed=50))
    images = {mask: read_folder(image_folder(tmp_path / str(mask), 3, seed=100 * mask)) for mask in (0, 1)}

    def control(works: Works):
        cache = FeatureCache(None, MeanColours())
        return measure(
            ["one"], lambda mask: [GeneratedImage(x, k) for k, x in enumerate(images[mask])], works, cache
        ).control

    assert control(Works(reference, own, load_bank()))["count"] == 4
    assert control(Works(reference, bank=load_bank()))["source"] == "bank"
    assert control(Works(reference)) is None


def test_progress_is_told_once_and_not_where_the_features_are_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    told: list[tuple[int, int]] = []
    bank, extractor = load_bank(), MeanColours()
    for _ in range(2):
        bank_features(bank, SIZE, extractor, lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (len(bank.images), len(bank.images))
