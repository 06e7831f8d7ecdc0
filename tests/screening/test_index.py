"""Indexes: what is kept, and what is refused."""

from __future__ import annotations

import io
import pickle
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from images_on_disk import MeanColours, image_folder

from copyscope_core.errors import CopyScopeError
from copyscope_core.features.extractor import FeatureCache
from copyscope_core.files.folders import check_folder
from copyscope_core.observer import Quiet
from copyscope_core.screening.index import check_extractor, load_index, save_index
from copyscope_core.screening.panel import Panel, negative_groups
from copyscope_core.screening.session import Artists
from copyscope_core.store.runs import STATE_VARIABLE


def panel(**changed: object) -> Panel:
    reference, control = np.zeros((9, 3), dtype=bool), np.zeros((9, 3), dtype=bool)
    for column in range(3):
        reference[column, column] = True
        control[3:, column] = True
    features = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    fields = {"artists": ("a", "b", "works 1"), "named": 2, "features": features, "reference": reference,
              "control": control, "extractor": "mean-colours", "size": (64, 48)}  # fmt: skip
    return Panel(**{**fields, **changed})  # type: ignore[arg-type]


def test_an_index_gives_back_what_it_was_given_to_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "artists.npz"
    save_index(panel(), path)
    found, given = load_index(path), panel()
    assert (found.artists, found.named, found.extractor, found.size) == (
        given.artists, given.named, given.extractor, given.size,
    )  # fmt: skip
    for name in ("features", "reference", "control"):
        assert np.array_equal(getattr(found, name), getattr(given, name))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_index_of_artists_holds_no_pictures_and_file_names_only_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    works = check_folder(image_folder(tmp_path / "secret", 3))
    made = Artists({"jane": works}).panel((32, 32), FeatureCache(None, MeanColours()), Quiet())
    assert made.named == 1
    assert made.counts[0] == 3
    assert len(made.artists) - 1 > 10
    assert made.control.sum(axis=0).min() > 1
    assert not (made.control & made.reference).any()
    save_index(made, tmp_path / "private.npz")
    save_index(made, tmp_path / "named.npz", [[image.name for image in works]])
    assert b"000.png" not in (tmp_path / "private.npz").read_bytes()
    assert b"000.png" in (tmp_path / "named.npz").read_bytes()


def test_an_index_of_other_features_is_refused() -> None:
    with pytest.raises(CopyScopeError, match="holds features of mean-colours, and another is in use"):
        check_extractor(panel(), "another", Path("x.npz"))


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("unpickled",))


def damaged(path: Path, how: str) -> None:
    save_index(panel(), path)
    with np.load(path) as held:
        arrays = dict(held)
    if how == "pickle":
        arrays["features"] = np.array([Trap()], dtype=object)
    elif how == "numbers":
        arrays["features"][0, 0] = np.nan
    elif how == "shape":
        arrays["reference"] = arrays["reference"][:, :2]
    elif how == "extra":
        arrays["more"] = np.zeros(1)
    elif how == "version":
        arrays["about"] = np.frombuffer(bytes(arrays["about"]).replace(b'index": 1', b'index": 2'), dtype=np.uint8)
    elif how == "lonely":
        arrays["control"][4:] = False
    stream = io.BytesIO()
    (np.savez_compressed if how == "compressed" else np.savez)(stream, **arrays)
    path.write_bytes(stream.getvalue()[:-40] if how == "cut" else stream.getvalue())
    if how == "text":
        path.write_text("no index", encoding="utf-8")
    elif how == "pickled file":
        path.write_bytes(pickle.dumps(Trap()))
    elif how == "header":
        with zipfile.ZipFile(path, "w") as made:
            for name in ("about", "features", "reference", "control"):
                made.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4'}")


@pytest.mark.parametrize(
    "how",
    ["pickle", "numbers", "shape", "extra", "version", "lonely", "compressed", "cut", "text", "pickled file", "header"],
)
def test_what_is_no_index_is_refused_in_a_sentence(
    tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "artists.npz"
    damaged(path, how)
    with pytest.raises(CopyScopeError, match=r"artists\.npz"):
        load_index(path)
    assert "unpickled" not in capsys.readouterr().out


def test_a_missing_index_and_a_link_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CopyScopeError, match="cannot be read"):
        load_index(tmp_path / "none.npz")
    save_index(panel(), tmp_path / "artists.npz")
    (tmp_path / "link.npz").symlink_to(tmp_path / "artists.npz")
    with pytest.raises(CopyScopeError, match="cannot be read"):
        load_index(tmp_path / "link.npz")


def test_negative_controls_are_works_of_one_kind_that_resemble_each_other() -> None:
    features = np.array([[0.0], [0.1], [0.2], [9.0], [9.1], [5.0], [5.1], [5.2]])
    groups = negative_groups(["a"] * 5 + ["b"] * 3, [features], 2)
    assert ("a 1", (0, 1)) in groups
    assert (3, 4) in [places for _, places in groups]
    assert all(max(places) < 5 or min(places) >= 5 for _, places in groups)
    assert len({places for _, places in groups}) == len(groups)
