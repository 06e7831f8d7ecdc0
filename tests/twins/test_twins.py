import json
from pathlib import Path

import numpy as np
import pytest

from copyscope_core.errors import StoreError
from copyscope_core.files.hashes import HashCache
from copyscope_core.twins import cache as module
from copyscope_core.twins.cache import SketchCache
from copyscope_core.twins.sketch import LENGTH
from copyscope_core.twins.twins import NEAR, Fingerprint, as_sketch, find_twins

from .loras import factors, write_diffusers, write_kohya


def unit(*values: float) -> np.ndarray:
    sketch = np.zeros(LENGTH)
    sketch[: len(values)] = values
    return sketch / np.linalg.norm(sketch)


def at(likeness: float) -> np.ndarray:
    """A sketch whose cosine with ``unit(1)`` is this."""
    return unit(likeness, np.sqrt(1 - likeness**2))


def test_equal_files_and_near_loras_are_twins_and_others_are_not() -> None:
    known = {
        "a": Fingerprint("1" * 64),
        "b": Fingerprint("2" * 64, unit(1)),
        "c": Fingerprint("1" * 64),
        "d": Fingerprint("3" * 64, at(NEAR + 0.005)),
        "e": Fingerprint("4" * 64, at(NEAR - 0.005) * np.where(np.arange(LENGTH) == 1, -1, 1)),
        "f": Fingerprint(),
        "g": Fingerprint(),
    }
    first, second = find_twins(known)
    assert (first.names, first.cosine) == (("a", "c"), 1.0)
    assert second.names == ("b", "d")
    assert second.cosine == pytest.approx(NEAR + 0.005)


def test_a_lora_that_is_near_to_two_sets_joins_them() -> None:
    known = {"a": Fingerprint(sketch=unit(1)), "b": Fingerprint(sketch=at(0.965)), "c": Fingerprint(sketch=at(0.991))}
    (found,) = find_twins(known)
    assert found.names == ("a", "b", "c")
    assert found.cosine == pytest.approx(min(0.991, float(at(0.965) @ at(0.991))))
    assert find_twins({"a": known["a"], "b": known["b"]}) == ()


@pytest.mark.parametrize(
    "numbers",
    [None, [], [1.0] * 255, ["1"] * LENGTH, [True] * LENGTH, [float("nan")] * LENGTH, [10**400] * LENGTH,
     [0] * LENGTH, {"0": 1}],
)  # fmt: skip
def test_what_is_no_sketch_is_none(numbers: object) -> None:
    assert as_sketch(numbers) is None


def test_files_are_fingerprinted_once_and_what_differs_under_one_name_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_kohya(tmp_path / "a.safetensors", factors(1))
    other = write_diffusers(tmp_path / "b.safetensors", factors(1))
    cache = SketchCache(HashCache(tmp_path / "state" / "hashes.json"))
    marks = {path.name: cache.fingerprint([path]) for path in (first, other)}
    (found,) = find_twins(marks)
    assert found.cosine > 0.9999
    monkeypatch.setattr(module, "lora_sketch", lambda path: pytest.fail("a sketch was made again"))
    np.testing.assert_allclose(cache.fingerprint([first]).sketch, marks[first.name].sketch)
    assert cache.fingerprint([first, other]).sha256 is None
    assert cache.fingerprint([]).sha256 is None
    with pytest.raises(StoreError):
        cache.fingerprint([tmp_path / "absent.safetensors"])


def test_a_damaged_sketch_is_made_again_and_a_file_that_is_no_lora_has_its_hash_alone(tmp_path: Path) -> None:
    path = write_kohya(tmp_path / "a.safetensors", factors(1))
    cache = SketchCache(HashCache(tmp_path / "state" / "hashes.json"))
    first = cache.fingerprint([path])
    (stored,) = cache.folder.iterdir()
    stored.write_text("[1, 2]", encoding="utf-8")
    np.testing.assert_array_equal(cache.fingerprint([path]).sketch, first.sketch)
    plain = tmp_path / "plain.safetensors"
    plain.write_bytes(b"no tensors")
    mark = cache.fingerprint([plain])
    assert mark.sha256 is not None
    assert mark.sketch is None


def test_a_sketch_that_was_stored_keeps_every_bit() -> None:
    """Else an audit that reads it would give another cosine than the one that made it."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        numbers = rng.normal(size=LENGTH)
        sketch = numbers / np.linalg.norm(numbers)
        again = as_sketch(json.loads(json.dumps(sketch.tolist())))
        assert again is not None and again.tobytes() == sketch.tobytes()
    other = as_sketch([3.0, 4.0, *[0.0] * (LENGTH - 2)])
    assert other is not None and other[:2].tolist() == [0.6, 0.8]
