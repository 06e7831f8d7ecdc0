from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path

import pytest

from copyscope_core.errors import StoreError
from copyscope_core.files import hashes
from copyscope_core.files.hashes import HashCache, autov2, file_sha256


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("unpickled",))


def test_sha256_of_known_bytes(tmp_path: Path) -> None:
    file = tmp_path / "modèle ✓.safetensors"
    file.write_bytes(b"abc")
    digest = file_sha256(file)
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert autov2(digest) == "BA7816BF8F"


def test_autov2_refuses_what_is_no_hash() -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        autov2("BA7816BF8F")


def test_progress_counts_up_and_may_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "CHUNK", 10)
    file = tmp_path / "a"
    file.write_bytes(bytes(25))
    seen: list[tuple[int, int]] = []
    assert file_sha256(file, lambda done, total: seen.append((done, total))) == hashlib.sha256(bytes(25)).hexdigest()
    assert seen == [(0, 25), (10, 25), (20, 25), (25, 25)]

    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done:
            raise Stop

    cache = HashCache(tmp_path / "cache.json")
    with pytest.raises(Stop):
        cache.sha256(file, stop)
    assert cache.get(file) is None


def test_missing_file_gives_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        file_sha256(tmp_path / "none")


def test_cache_knows_a_file_until_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    cache = HashCache(tmp_path / "deep" / "cache.json")
    first = cache.sha256(file)
    reads: list[int] = []
    assert HashCache(cache.path).sha256(file, lambda done, total: reads.append(done)) == first
    assert reads == []
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert cache.get(file) is None
    assert cache.sha256(file) == hashlib.sha256(b"two").hexdigest()
    file.write_bytes(b"longer")
    os.utime(file, ns=(1, 1))
    assert cache.sha256(file) == hashlib.sha256(b"longer").hexdigest()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe\x00",
        b'{"version": 1, "files": []}',
        b'{"version": 2, "files": {}}',
        b"[" * 100_000,
        b"null",
    ],
)
def test_damaged_cache_counts_as_empty(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    cache = HashCache(tmp_path / "cache.json")
    cache.path.write_bytes(damage)
    assert autov2(cache.sha256(file)) == "BA7816BF8F"
    assert cache.get(file) is not None


@pytest.mark.parametrize("digest", ["", "xyz", 5, None, "A" * 64, "../../etc/passwd"])
def test_a_cached_hash_that_is_none_is_ignored(tmp_path: Path, digest: object) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    cache = HashCache(tmp_path / "cache.json")
    status = file.stat()
    entry = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": digest}
    cache.path.write_text(json.dumps({"version": 1, "files": {str(file.resolve()): entry}}), encoding="utf-8")
    assert cache.get(file) is None


def test_an_unwritable_cache_does_not_stop_the_hash(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    (tmp_path / "not-a-folder").write_bytes(b"")
    assert autov2(HashCache(tmp_path / "not-a-folder" / "cache.json").sha256(file)) == "BA7816BF8F"


def test_pickles_are_hashed_and_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "evil.ckpt"
    file.write_bytes(pickle.dumps(_Bomb()))
    HashCache(tmp_path / "cache.json").sha256(file)
    assert not (tmp_path / "unpickled").exists()
