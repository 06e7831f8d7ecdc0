from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from copyscope_core.errors import ImageError, StoreError
from copyscope_core.files import atomic as files
from copyscope_core.files.atomic import open_log
from copyscope_core.files.pixels import pixel_hash
from copyscope_core.store import runs
from copyscope_core.store.run_store import RunStore
from copyscope_core.store.runs import clean_run, list_runs, register_run

REPOSITORY = Path(__file__).resolve().parents[2]
KEY = "ab" * 32
OTHER = "cd" * 32


def png(seed: int, width: int = 5, height: int = 3) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "out")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv(runs.STATE_VARIABLE, str(folder))
    return folder


def test_what_is_written_is_read(store: RunStore) -> None:
    assert not store.has(KEY)
    assert store.read(KEY) is None
    assert store.keys() == []
    assert not store.folder.exists()
    written = store.write(KEY, [png(1), png(2)], {"label": "checkpoint + LoRA ✓", "offset": 3, "list": (1, 2)})
    assert store.read(KEY) == written
    assert [image.name for image in written.images] == ["0000.png", "0001.png"]
    assert (written.images[0].width, written.images[0].height) == (5, 3)
    assert written.meta["list"] == [1, 2]
    assert store.has(KEY)
    assert store.keys() == [KEY]
    images = store.images(written)
    assert [pixel_hash(image.pixels) for image in images] == [image.pixel_sha256 for image in written.images]
    assert sorted(path.name for path in store.coalitions_folder.iterdir()) == [KEY]


@pytest.mark.parametrize("key", ["", "..", "../x", "AB" * 32, "ab" * 31, "ab" * 33, KEY + "\n", "/" + "a" * 63])
def test_only_hex_forms_a_path(store: RunStore, key: str) -> None:
    for act in (store.has, store.read, lambda key: store.write(key, [png(1)], {})):
        with pytest.raises(StoreError, match="64 hex digits"):
            act(key)
    assert not store.folder.exists()


def test_the_first_whole_entry_is_kept(store: RunStore) -> None:
    first = store.write(KEY, [png(1)], {})
    assert store.write(KEY, [png(2)], {}) == first
    assert [path.name for path in store.coalitions_folder.iterdir()] == [KEY]


def test_what_is_no_image_leaves_nothing(store: RunStore) -> None:
    with pytest.raises(ImageError):
        store.write(KEY, [png(1), b"<html>"], {})
    with pytest.raises(StoreError, match="no image"):
        store.write(KEY, [], {})
    assert not store.coalitions_folder.exists()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def relabel(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace('"label"', '"lapel"'), encoding="utf-8")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "image bit": lambda folder: flip(folder / "0000.png"),
    "image cut": lambda folder: (folder / "0001.png").write_bytes((folder / "0001.png").read_bytes()[:-9]),
    "image empty": lambda folder: (folder / "0001.png").write_bytes(b""),
    "image gone": lambda folder: (folder / "0000.png").unlink(),
    "image a folder": lambda folder: ((folder / "0000.png").unlink(), (folder / "0000.png").mkdir()),
    "entry bit": lambda folder: flip(folder / "entry.json"),
    "entry meta": lambda folder: relabel(folder / "entry.json"),
    "entry cut": lambda folder: (folder / "entry.json").write_bytes((folder / "entry.json").read_bytes()[:-9]),
    "entry empty": lambda folder: (folder / "entry.json").write_bytes(b""),
    "entry list": lambda folder: (folder / "entry.json").write_text("[]", encoding="utf-8"),
    "entry deep": lambda folder: (folder / "entry.json").write_text("[" * 100_000, encoding="utf-8"),
    "entry gone": lambda folder: (folder / "entry.json").unlink(),
    "all gone": lambda folder: [path.unlink() for path in folder.iterdir()],
    "a file": lambda folder: (shutil.rmtree(folder), folder.write_bytes(b"x")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_named_removed_and_made_again(
    store: RunStore, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = store.write(KEY, [png(1), png(2)], {"label": "x"})
    store.write(OTHER, [png(3)], {})
    DAMAGES[damage](store.entry_folder(KEY))
    assert store.read(KEY) is None
    assert KEY in caplog.text
    assert "damaged" in caplog.text
    assert not store.entry_folder(KEY).exists()
    assert store.write(KEY, [png(1), png(2)], {"label": "x"}) == first
    assert store.read(OTHER) is not None
    assert sorted(path.name for path in store.coalitions_folder.iterdir()) == [KEY, OTHER]


@pytest.mark.parametrize("damage", DAMAGES)
def test_writing_over_a_damaged_entry_replaces_it(store: RunStore, damage: str) -> None:
    store.write(KEY, [png(1), png(2)], {"label": "x"})
    DAMAGES[damage](store.entry_folder(KEY))
    written = store.write(KEY, [png(4)], {})
    assert store.read(KEY) == written
    assert written.images[0].file_sha256 != ""
    assert len(written.images) == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10_000), value=st.integers(1, 255))
def test_any_changed_byte_of_an_entry_file_is_found(tmp_path: Path, position: int, value: int) -> None:
    store = RunStore(tmp_path / "any")
    entry = store.write(KEY, [png(1)], {"text": "é 模"})
    path = store.entry_folder(KEY) / "entry.json"
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= value
    path.write_bytes(data)
    read = store.read(KEY)
    assert read is None or read == entry


def test_links_inside_an_entry_are_not_followed(store: RunStore, tmp_path: Path) -> None:
    entry = store.write(KEY, [png(1)], {})
    outside = tmp_path / "outside"
    outside.mkdir()
    image = store.entry_folder(KEY) / "0000.png"
    shutil.move(image, outside / "0000.png")
    try:
        image.symlink_to(outside / "0000.png")
    except OSError:
        pytest.skip("this system makes no links")
    assert store.read(KEY) is None
    assert (outside / "0000.png").exists()
    store.write(KEY, [png(1)], {})
    shutil.move(store.entry_folder(KEY), outside / KEY)
    store.entry_folder(KEY).symlink_to(outside / KEY, target_is_directory=True)
    assert store.read(KEY) is None
    assert (outside / KEY / "entry.json").exists()
    assert store.write(KEY, [png(1)], {}).images == entry.images


def write_many(folder: str, start: float) -> None:
    store = RunStore(Path(folder))
    time.sleep(max(0.0, start - time.time()))
    for seed in range(25):
        store.write(f"{seed:064x}", [png(seed)], {})


def test_two_processes_may_write_the_same_keys(store: RunStore) -> None:
    context = multiprocessing.get_context("spawn")
    start = time.time() + 3
    workers = [context.Process(target=write_many, args=(str(store.folder), start)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    keys = store.keys()
    assert len(keys) == 25
    assert all(store.read(key) is not None for key in keys)
    assert all(not path.name.startswith(".") for path in store.coalitions_folder.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL at random moments")
def test_a_writer_that_is_killed_leaves_whole_entries_only(store: RunStore) -> None:
    script = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from test_run_store import *\n"
        "store = RunStore(Path(sys.argv[3])); data = png(0, 400, 400); print('go', flush=True)\n"
        "for n in range(100000): store.write(f'{int(sys.argv[4]) * 100000 + n:064x}', [data, data], {'n': n})\n"
    )
    for round_number in range(4):
        worker = subprocess.Popen(
            [
                sys.executable,
                "-c",
                script,
                str(REPOSITORY),
                str(Path(__file__).parent),
                store.folder,
                str(round_number),
            ],
            stdout=subprocess.PIPE,
        )
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"go\n"
        time.sleep(0.05 + 0.07 * round_number)
        deadline = time.monotonic() + 60
        while round_number == 3 and not store.keys() and time.monotonic() < deadline:  # a machine that does much else
            time.sleep(0.05)
        worker.kill()
        worker.wait()
        worker.stdout.close()
    keys = store.keys()
    assert keys
    assert all(store.read(key) is not None for key in keys)
    for path in store.coalitions_folder.iterdir():
        if path.name.startswith("."):
            os.utime(path, (1, 1))
    with store.lock():
        assert sorted(path.name for path in store.coalitions_folder.iterdir()) == keys


def test_a_full_disk_is_a_sentence_and_leaves_nothing(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(OTHER, [png(1)], {})

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StoreError, match="disk is full"):
        store.write(KEY, [png(1)], {})
    with pytest.raises(StoreError, match="disk is full"):
        store.write_run({})
    monkeypatch.undo()
    assert [path.name for path in store.coalitions_folder.iterdir()] == [OTHER]
    assert [path.name for path in store.folder.iterdir()] == ["coalitions"]
    assert store.read(OTHER) is not None


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file size limit")
def test_a_really_full_file_system(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys; sys.path[:0] = sys.argv[1:3]\n"
        "from test_run_store import *\n"
        "data = png(0, 600, 600)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: RunStore(Path(sys.argv[3])).write(KEY, [data], {})\n"
        "except StoreError as error: print(error)\n"
    )
    arguments = [sys.executable, "-c", script, str(REPOSITORY), str(Path(__file__).parent), str(tmp_path / "out")]
    answer = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "cannot be written (File too large)" in answer.stdout
    assert list((tmp_path / "out" / "coalitions").iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = RunStore(tmp_path / "file" / "out")
    assert store.read(KEY) is None
    assert store.keys() == []
    for act in (lambda: store.write(KEY, [png(1)], {}), lambda: store.write_run({}), lambda: store.lock().__enter__()):
        with pytest.raises(StoreError, match="cannot be written"):
            act()


def test_run_file_keeps_its_time_and_survives_damage(store: RunStore, caplog: pytest.LogCaptureFixture) -> None:
    assert store.read_run() is None
    store.write_run({"players": ["é"], "created": "2020-01-01T00:00:00+00:00"})
    store.write_run({"players": ["b"]})
    run = store.read_run()
    assert run is not None
    assert (run["created"], run["players"]) == ("2020-01-01T00:00:00+00:00", ["b"])
    (store.folder / "run.json").write_bytes(b"\xff{")
    assert store.read_run() is None
    assert "damaged" in caplog.text
    (store.folder / "run.json").write_text('{"not": "ours"}', encoding="utf-8")
    assert store.read_run() is None


def test_two_audits_in_one_folder(store: RunStore) -> None:
    with store.lock():
        with pytest.raises(StoreError, match="Another audit is running in"), RunStore(store.folder).lock():
            pass
        store.write(KEY, [png(1)], {})
    with RunStore(store.folder).lock():
        pass


@pytest.mark.parametrize("part", ["coalitions", "features"])
def test_a_part_that_is_a_link_is_refused(store: RunStore, tmp_path: Path, part: str) -> None:
    store.folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "outside").mkdir()
    (store.folder / part).symlink_to(tmp_path / "outside", target_is_directory=True)
    with pytest.raises(StoreError, match="is a link"), store.lock():
        pass


def test_the_lock_of_a_killed_process_is_free(store: RunStore) -> None:
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from copyscope_core.store.run_store import RunStore\n"
        "with RunStore(Path(sys.argv[2])).lock():\n"
        "    print('held', flush=True); time.sleep(600)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, str(REPOSITORY), store.folder], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == b"held"
    with pytest.raises(StoreError, match="Another audit"), store.lock():
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with store.lock():
        pass


def finished_run(folder: Path) -> RunStore:
    store = RunStore(folder)
    store.write_run({"workflow": {}})
    store.write(KEY, [png(1)], {})
    features = store.features_folder / "fid-inception-2015"
    features.mkdir(parents=True)
    (features / f"{OTHER}.safetensors").write_bytes(b"x" * 100)
    (folder / "report.json").write_text("{}", encoding="utf-8")
    (folder / "report.html").write_text("<p>", encoding="utf-8")
    register_run(folder)
    return store


def test_runs_are_listed_and_cleaned(tmp_path: Path, state: Path) -> None:
    assert list_runs() == []
    store = finished_run(tmp_path / "a")
    register_run(tmp_path / "a")
    RunStore(tmp_path / "b").write_run({})
    register_run(tmp_path / "b")
    listed = {run.folder.name: run for run in list_runs()}
    assert listed["a"].coalitions == 1
    assert listed["a"].finished
    assert listed["a"].bytes == sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file())
    assert (listed["b"].coalitions, listed["b"].finished) == (0, False)
    assert clean_run(tmp_path / "a") == listed["a"].bytes
    assert not (tmp_path / "a").exists()
    assert [run.folder.name for run in list_runs()] == ["b"]
    shutil.rmtree(tmp_path / "b")
    assert list_runs() == []
    (state / "runs.json").write_bytes(b"{")
    assert list_runs() == []
    finished_run(tmp_path / "c")
    assert [run.folder.name for run in list_runs()] == ["c"]


def test_clean_spares_what_is_not_copyscopes(tmp_path: Path) -> None:
    store = finished_run(tmp_path / "run")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "0000.png").write_bytes(png(1))
    spared = [
        store.folder / "thesis.docx",
        store.entry_folder(KEY) / "notes.txt",
        store.coalitions_folder / "mine" / "0000.png",
        store.features_folder / "fid-inception-2015" / "my.safetensors",
    ]
    for path in spared:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
    try:
        (store.coalitions_folder / OTHER).symlink_to(outside, target_is_directory=True)
        (store.features_folder / "link").symlink_to(outside, target_is_directory=True)
    except OSError:
        pass
    clean_run(store.folder)
    assert all(path.read_bytes() == b"mine" for path in spared)
    assert (outside / "0000.png").exists()
    rest = {path.name for path in store.folder.rglob("*") if path.is_file() and not path.is_symlink()}
    assert rest == {path.name for path in spared} | (
        {"0000.png"} if (store.coalitions_folder / OTHER).exists() else set()
    )


def test_clean_refuses_what_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "home" / "coalitions").mkdir(parents=True)
    (tmp_path / "home" / "report.json").write_text("{}", encoding="utf-8")
    with pytest.raises(StoreError, match="not a run folder"):
        clean_run(tmp_path / "home")
    (tmp_path / "home" / "run.json").write_text('{"version": 1}', encoding="utf-8")
    with pytest.raises(StoreError, match="not a run folder"):
        clean_run(tmp_path / "home")
    with pytest.raises(StoreError, match="not a run folder"):
        clean_run(tmp_path / "none")
    store = finished_run(tmp_path / "real")
    try:
        (tmp_path / "link").symlink_to(store.folder, target_is_directory=True)
        shutil.copy(store.folder / "run.json", tmp_path / "run.json")
        (tmp_path / "home" / "run.json").unlink()
        (tmp_path / "home" / "run.json").symlink_to(tmp_path / "run.json")
    except OSError:
        pytest.skip("this system makes no links")
    for name in ("link", "home"):
        with pytest.raises(StoreError, match="not a run folder"):
            clean_run(tmp_path / name)
    assert (store.folder / "report.json").exists()
    assert (tmp_path / "home" / "report.json").exists()


def test_clean_waits_for_no_audit(tmp_path: Path) -> None:
    store = finished_run(tmp_path / "run")
    with store.lock(), pytest.raises(StoreError, match="Another audit is running"):
        clean_run(store.folder)
    assert store.read(KEY) is not None


def test_a_state_folder_that_cannot_be_written_does_not_stop_an_audit(
    tmp_path: Path, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state.write_bytes(b"a file")
    register_run(tmp_path / "a")
    assert "list of runs" in caplog.text
    assert list_runs() == []


def test_odd_entries_in_the_list_of_runs(state: Path) -> None:
    state.mkdir()
    for content in ([], {"folders": 3}, {"folders": [1, None, "\0", "x" * 5000, ".."]}):
        (state / "runs.json").write_text(json.dumps(content), encoding="utf-8")
        assert list_runs() == []


@pytest.mark.skipif(os.name != "posix", reason="makes a pipe")
def test_a_log_is_not_written_through_a_link_or_into_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    log = tmp_path / "comfyui.log"
    for make in (lambda: log.symlink_to(tmp_path / "mine"), lambda: os.mkfifo(log)):
        log.unlink(missing_ok=True)
        make()
        for line in (b"one", b"two"):
            with open_log(log) as sink:
                sink.write(line)
        assert log.read_bytes() == b"onetwo"
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "mine"
