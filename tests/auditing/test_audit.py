"""Whole audits against a stand-in server: what is sent, kept, reused and reported, and what survives faults."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import json
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_workflows import HASHES, Workflow, node, with_lora
from fakecomfy import FakeComfy, fake_comfy
from images_on_disk import MeanColours, image_folder, png_bytes

from copyscope_core.auditing.audit import Audit, AuditResult
from copyscope_core.auditing.context import split_image_name
from copyscope_core.auditing.runner import Server
from copyscope_core.comfyui.client import ComfyClient
from copyscope_core.comfyui.errors import ServerHangError, ServerLostError
from copyscope_core.comfyui.model_files import LocalModels
from copyscope_core.errors import HostError, ImageError, StoreError
from copyscope_core.evaluation.measure import Works
from copyscope_core.evidence.publish import ReportOptions
from copyscope_core.evidence.verify import Verifier
from copyscope_core.features.extractor import BATCH_SIZE
from copyscope_core.files.folders import read_folder
from copyscope_core.files.hashes import HashCache
from copyscope_core.observer import Quiet
from copyscope_core.planning.plan import make_plan
from copyscope_core.report.report import Report
from copyscope_core.settings import AuditSettings
from copyscope_core.store.run_store import RunStore
from copyscope_core.store.runs import list_runs
from copyscope_core.store.storage import ImageStorage
from copyscope_core.workflow.node_info import NodeCatalog
from tests.metadata.planted import KOHYA, lora_that_says

EVIL = {"fields": {"ss_output_name": ["<b>"]}, "cut": "x" * 1000}


class Notes(Quiet):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def audit(
    server: FakeComfy | Sequence[FakeComfy],
    tmp_path: Path,
    workflow: Workflow | None = None,
    local: LocalModels | None = None,
    observer: Notes | None = None,
    timeout: float = 30,
    extractor: MeanColours | None = None,
    canaries: bool = False,
    private: bool = False,
    storage: ImageStorage | None = None,
    **settings: Any,
) -> AuditResult:
    """One audit of two players (LoRA and prompt) into ``tmp_path/out``."""
    reference = read_folder(image_folder(tmp_path / "reference", 3, size=(48, 64)))

    async def main() -> AuditResult:
        options = {"poll_seconds": 0.05, "dead_after": 0.3, "request_timeout": 5, "no_progress_timeout": timeout}
        async with contextlib.AsyncExitStack() as stack:
            fakes = [server] if isinstance(server, FakeComfy) else server
            clients = [await stack.enter_async_context(ComfyClient(fake.url, **options)) for fake in fakes]
            catalog = NodeCatalog(await clients[0].object_info(), live=True)
            plan = make_plan(workflow or with_lora(), catalog, AuditSettings(**{"seeds": 2, **settings}))
            servers = [Server(client, local=local) for client in clients]
            run = Audit(plan, servers, tmp_path / "out", Works(reference), extractor or MeanColours())
            run.observer, run.canaries, run.options = observer or Notes(), canaries, ReportOptions(private=private)
            run.storage = storage
            return await run.run()

    return asyncio.run(main())


def results(report: Report) -> dict[str, Any]:
    """What must not change from run to run."""
    return report.model_dump(mode="json", exclude={"created", "custody"})


def test_every_coalition_is_run_once_per_seed_and_the_whole_one_twice(server: FakeComfy, tmp_path: Path) -> None:
    result = audit(server, tmp_path)
    report = result.report
    assert len(server.prompts) == 4 * 2 + 1
    assert (result.sampled, result.reused) == (9, 0)
    assert report.deterministic is True
    assert report.environment["run_difference"] == 0
    assert [player.name for player in report.players] == ["style", "prompt"]
    assert [item.images for item in report.coalitions] == [2, 2, 2, 2]
    assert report.seeds == [0, 1]
    assert report.reference.count == 3
    assert report.preprocessing == "mean-colours"
    assert {player.name: player.autov2 for player in report.players} == {"style": "B" * 10, "prompt": None}
    assert {item.file: item.sha256 for item in report.models} == HASHES
    for coalition in report.coalitions:
        for image in coalition.image_files:
            assert (tmp_path / "out" / str(coalition.folder) / image.file).is_file()
    first = server.prompts[0]
    assert first["copyscope_output"] == {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
    assert first["3"]["inputs"]["seed"] == 5
    assert "9" not in first
    assert sum("copyscope_rerun" in json.dumps(prompt) for prompt in server.prompts) == 1
    assert json.loads(result.json_path.read_text(encoding="utf-8")) == json.loads(report.model_dump_json())
    assert "Content-Security-Policy" in result.html_path.read_text(encoding="utf-8")
    run = RunStore(tmp_path / "out").read_run()
    assert run is not None
    assert next(item["members"] for item in run["coalitions"]) == ["style", "prompt"]
    assert [item.folder for item in list_runs()] == [tmp_path / "out"]


class WaitsForPrompts(MeanColours):
    """Waits, at its first images, for the server to get another prompt; notes how many they were, and if it did."""

    def __init__(self, server: FakeComfy, seconds: float) -> None:
        super().__init__()
        self.server, self.seconds = server, seconds
        self.first, self.another = 0, False

    def __call__(self, images: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        before, end = len(self.server.prompts), time.monotonic() + self.seconds
        while not self.images and not self.another and time.monotonic() < end:
            time.sleep(0.01)
            self.another = len(self.server.prompts) > before
        self.first = self.first or len(images)
        return super().__call__(images)


@pytest.mark.parametrize(("device", "seconds"), [("cuda", 30), ("cpu", 1)])
def test_features_are_computed_beside_a_gpu_and_in_turn_with_a_cpu(
    server: FakeComfy, tmp_path: Path, device: str, seconds: float
) -> None:
    server.device = device
    extractor = WaitsForPrompts(server, seconds)
    result = audit(server, tmp_path, extractor=extractor)
    assert extractor.another is (device == "cuda")
    # On a CPU a batch is waited for; the whole coalition and its repeat are the same image.
    assert extractor.first == (1 if device == "cuda" else BATCH_SIZE - 1)
    assert result.sampled == 9


def prompts_at_each_fetch(server: FakeComfy) -> list[int]:
    """How many prompts the server had been given when each image was fetched, in order, as they come."""
    given: list[int] = []

    def note(path: str) -> bool:
        if path == "/view":
            given.append(len(server.prompts))
        return False

    server.gateway = note
    return given


def test_a_gpu_has_the_next_prompt_while_the_images_of_the_last_are_fetched(server: FakeComfy, tmp_path: Path) -> None:
    server.device, server.seconds = "cuda", 0.1
    given = prompts_at_each_fetch(server)
    assert audit(server, tmp_path).sampled == 9
    assert given == [2, 3, 4, 5, 6, 7, 8, 9, 9]
    assert len({json.dumps(prompt) for prompt in server.prompts}) == 9


def test_a_cpu_has_the_next_prompt_but_for_the_one_before_a_batch_of_features(
    server: FakeComfy, tmp_path: Path
) -> None:
    server.seconds = 0.1
    given = prompts_at_each_fetch(server)
    audit(server, tmp_path)
    expected = [number + (number % BATCH_SIZE != 0) for number in range(1, 9)]
    assert given == [*expected, 9]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_an_interruption_cancels_the_prompt_queued_ahead_too(server: FakeComfy, tmp_path: Path, device: str) -> None:
    undisturbed = audit(server, tmp_path)
    shutil.rmtree(tmp_path / "out")
    server.prompts.clear()
    server.busy.clear()
    server.device, server.seconds = device, 30

    class Stop(Notes):
        def stage(self, name: str, total: int) -> None:
            if name == "Running coalitions":
                threading.Timer(1.0, _thread.interrupt_main).start()

    with pytest.raises(KeyboardInterrupt):
        audit(server, tmp_path, observer=Stop())
    assert len(server.prompts) == 2
    assert (len(server.interrupted), len(server.deleted)) == (1, 1)
    server.seconds, server.device = 0, "cpu"
    again = audit(server, tmp_path)
    assert (again.reused, again.sampled) == (0, 9)
    assert results(again.report) == results(undisturbed.report)


def test_a_fault_leaves_only_the_step_in_hand_on_the_server(server: FakeComfy, tmp_path: Path) -> None:
    server.device, server.seconds = "cuda", 0.2
    failures = iter(["CUDA out of memory"])
    server.fail = lambda prompt: next(failures, None)
    given = prompts_at_each_fetch(server)
    assert audit(server, tmp_path).sampled == 9
    assert len(server.interrupted + server.deleted) == 1
    assert given == [
        3,
        *range(5, 12),
        11,
    ]  # first, the one queued ahead that was dropped, first again, from then on two


def test_a_repeated_audit_runs_and_measures_nothing_again(server: FakeComfy, tmp_path: Path) -> None:
    first = audit(server, tmp_path)
    extractor = MeanColours()
    again = audit(server, tmp_path, extractor=extractor)
    assert len(server.prompts) == 9
    assert (again.sampled, again.reused) == (0, 9)
    assert extractor.images == 0
    assert results(again.report) == results(first.report)


def test_more_seeds_and_another_reference_reuse_what_is_there(server: FakeComfy, tmp_path: Path) -> None:
    audit(server, tmp_path)
    assert audit(server, tmp_path, seeds=3).sampled == 4
    image_folder(tmp_path / "reference", 5, seed=77)
    assert audit(server, tmp_path, seeds=3).sampled == 0


@pytest.mark.parametrize("change", ["model", "version", "flag"])
def test_what_changed_on_the_server_is_run_again(server: FakeComfy, tmp_path: Path, change: str) -> None:
    audit(server, tmp_path)
    if change == "model":
        server.hashes = {**HASHES, "style.safetensors": "c" * 64}
        expected = 5  # the LoRA is absent from half of the coalitions
    elif change == "version":
        server.version, expected = "0.8.1", 9
    else:
        server.argv, expected = ["main.py", "--cpu", "--force-fp16", "--port", "1234"], 9
    assert audit(server, tmp_path).sampled == expected


def test_without_hashes_nothing_is_reused_and_the_old_is_removed(server: FakeComfy, tmp_path: Path) -> None:
    server.hashes = None
    observer = Notes()
    report = audit(server, tmp_path, observer=observer).report
    assert "Not hashed" in observer.notes[0]
    assert report.environment["not_hashed"] == ["dream.safetensors", "style.safetensors"]
    assert all(model.sha256 is None for model in report.models)
    assert audit(server, tmp_path).sampled == 9
    assert len(RunStore(tmp_path / "out").keys()) == 9


def test_model_files_at_hand_are_hashed_by_the_client(server: FakeComfy, tmp_path: Path) -> None:
    server.hashes = None
    models = tmp_path / "comfy" / "models"
    for folder, name in (("checkpoints", "dream"), ("loras", "style")):
        (models / folder).mkdir(parents=True)
        (models / folder / f"{name}.safetensors").write_bytes(name.encode())
    local = LocalModels(tmp_path / "comfy", tmp_path / "comfy", HashCache(tmp_path / "hashes.json"))
    report = audit(server, tmp_path, local=local).report
    assert report.environment["not_hashed"] == []
    assert audit(server, tmp_path, local=local).sampled == 0
    (models / "loras" / "style.safetensors").write_bytes(b"another file")
    assert audit(server, tmp_path, local=local).sampled == 5
    (tmp_path / "comfy" / "extra_model_paths.yaml").write_text("a:", encoding="utf-8")
    assert audit(server, tmp_path, local=local).report.environment["not_hashed"] != []


def test_local_names_cannot_leave_the_model_folders(tmp_path: Path) -> None:
    (tmp_path / "models" / "loras" / "sub").mkdir(parents=True)
    (tmp_path / "models" / "loras" / "sub" / "a.safetensors").write_bytes(b"a")
    (tmp_path / "models" / "checkpoints").mkdir()
    (tmp_path / "secret.safetensors").write_bytes(b"s")
    local = LocalModels(tmp_path, tmp_path, HashCache(tmp_path / "hashes.json"))
    assert len(local.find("sub/a.safetensors")) == len(local.find("sub\\a.safetensors")) == 1
    for name in (
        "../secret.safetensors",
        "../../secret.safetensors",
        str(tmp_path / "secret.safetensors"),
        "\0",
        "c:x",
    ):
        assert local.find(name) == []
    assert local.sha256("none.safetensors") is None
    one = local.sha256("sub/a.safetensors")
    (tmp_path / "models" / "checkpoints" / "sub").mkdir()
    (tmp_path / "models" / "checkpoints" / "sub" / "a.safetensors").write_bytes(b"b")
    assert local.sha256("sub/a.safetensors") not in (None, one)


def test_a_custom_node_pack_without_a_version_keeps_results_from_being_reused(
    server: FakeComfy, tmp_path: Path
) -> None:
    server.info["KSampler"] = {**server.info["KSampler"], "python_module": "custom_nodes.fancy"}
    assert audit(server, tmp_path).report.environment["not_hashed"] == ["custom_nodes.fancy"]
    assert audit(server, tmp_path).sampled == 9
    pack = tmp_path / "comfy" / "custom_nodes" / "fancy"
    pack.mkdir(parents=True)
    (pack / "__init__.py").write_text("a = 1", encoding="utf-8")
    local = LocalModels(tmp_path / "comfy", tmp_path / "comfy", HashCache(tmp_path / "hashes.json"))
    audit(server, tmp_path, local=local)
    assert audit(server, tmp_path, local=local).sampled == 0
    (pack / "__init__.py").write_text("a = 2", encoding="utf-8")
    assert audit(server, tmp_path, local=local).sampled == 9


@pytest.mark.parametrize("by", ["pack", "folder", "nobody"])
def test_a_textual_inversion_counts_like_a_model(server: FakeComfy, tmp_path: Path, by: str) -> None:
    workflow = with_lora("a wave, (embedding:neg:1.2)")
    folder = tmp_path / "comfy" / "models"
    (folder / "embeddings").mkdir(parents=True)
    local = None
    if by == "pack":
        server.hashes = {**HASHES, "neg.pt": "c" * 64}
    elif by == "folder":
        (folder / "embeddings" / "neg.pt").write_bytes(b"1")
        local = LocalModels(folder.parent, folder.parent, HashCache(tmp_path / "hashes.json"))
    first = audit(server, tmp_path, workflow, local)
    assert first.report.environment["not_hashed"] == (["neg"] if by == "nobody" else [])
    assert audit(server, tmp_path, workflow, local).sampled == (9 if by == "nobody" else 0)
    if by == "pack":
        server.hashes["neg.pt"] = "d" * 64
    (folder / "embeddings" / "neg.pt").write_bytes(b"22")
    assert audit(server, tmp_path, workflow, local).sampled == 9


@pytest.mark.parametrize("number", [1, 2, 5, 9])
def test_a_server_that_dies_loses_at_most_what_was_in_flight(server: FakeComfy, tmp_path: Path, number: int) -> None:
    undisturbed = audit(server, tmp_path)
    shutil.rmtree(tmp_path / "out")
    with fake_comfy() as dying:
        dying.hashes = dict(HASHES)
        dying.before = lambda count: dying.die() if count == number else None
        with pytest.raises(ServerLostError, match=r"The coalition .* was not finished: .* died while it ran prompt"):
            audit(dying, tmp_path)
    before = len(server.prompts)
    again = audit(server, tmp_path)
    assert len(server.prompts) - before == 9 - (number - 1)
    assert results(again.report) == results(undisturbed.report)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_failing_coalition_is_named_with_its_component_and_the_rest_is_kept(
    server: FakeComfy, tmp_path: Path, device: str
) -> None:
    server.device = device

    def lora_first(prompt: dict[str, Any]) -> str | None:
        text = json.dumps(prompt)
        return "sizes do not match" if "style.safetensors" in text and "hokusai" not in text else None

    server.fail = lora_first
    with pytest.raises(
        HostError, match=r"The coalition style \(seed offset 0\) cannot be run because of dream \(checkpoint\).*sizes"
    ):
        audit(server, tmp_path)
    assert RunStore(tmp_path / "out").keys() != []
    server.fail = lambda prompt: None
    assert audit(server, tmp_path).reused >= 3


def test_running_out_of_memory_is_tried_once_again(server: FakeComfy, tmp_path: Path) -> None:
    failures = iter([None, "CUDA out of memory", None, None, None, None, None, None, None, None])
    server.fail = lambda prompt: next(failures)
    observer = Notes()
    assert audit(server, tmp_path, observer=observer).sampled == 9
    assert any("out of memory" in note for note in observer.notes)
    server.fail = lambda prompt: "CUDA out of memory"
    with pytest.raises(HostError, match="out of memory"):
        audit(server, tmp_path, seeds=4)


def test_a_hanging_server_is_tried_once_again_then_reported(server: FakeComfy, tmp_path: Path) -> None:
    audit(server, tmp_path)
    server.seconds = 60
    observer = Notes()
    with pytest.raises(ServerHangError, match=r"The coalition .* was not finished: .* no sign of progress"):
        audit(server, tmp_path, seeds=3, timeout=0.3, observer=observer)
    assert len(observer.notes) == 1
    assert len(server.prompts) == 9 + 3  # the first, the one ahead of it, the first again
    assert len(server.interrupted + server.deleted) == 3


def test_a_workflow_that_changes_from_run_to_run_says_so(server: FakeComfy, tmp_path: Path) -> None:
    def drift(digest: str, number: int) -> np.ndarray[Any, Any]:
        return np.full((32, 32, 3), 100, np.uint8) + np.arange(32, dtype=np.uint8)[:, None, None] + np.uint8(number)

    server.paint = drift
    report = audit(server, tmp_path).report
    assert report.deterministic is False
    assert report.environment["run_difference"] == 1
    assert any(warning.code == "non_deterministic" for warning in report.warnings)


def test_images_of_unequal_sizes_are_refused(server: FakeComfy, tmp_path: Path) -> None:
    server.paint = lambda digest, number: np.full((32 + number, 32, 3), number, np.uint8)
    with pytest.raises(ImageError, match="one size"):
        audit(server, tmp_path)


def test_black_images_are_reported(server: FakeComfy, tmp_path: Path) -> None:
    server.paint = lambda digest, number: np.zeros((32, 32, 3), np.uint8)
    report = audit(server, tmp_path).report
    assert any("black" in warning.message for warning in report.warnings)


def test_an_input_image_that_is_a_reference_raises_a_warning(server: FakeComfy, tmp_path: Path) -> None:
    workflow = with_lora()
    workflow["5"] = node("VAEEncode", pixels=["4", 0], vae=["1", 2])
    workflow["4"] = node("LoadImage", image="sub/init.png [input]")
    server.inputs["init.png"] = (image_folder(tmp_path / "reference", 3, size=(48, 64)) / "001.png").read_bytes()
    report = audit(server, tmp_path, workflow).report
    assert report.warnings[0].code == "input_matches_reference"
    assert "001.png" in report.warnings[0].message
    assert audit(server, tmp_path, workflow).sampled == 0
    server.inputs["init.png"] = png_bytes(5)
    assert audit(server, tmp_path, workflow).sampled == 9
    server.inputs.clear()
    assert audit(server, tmp_path, workflow).report.environment["not_hashed"] == ["sub/init.png [input]"]


def test_image_names_are_split_as_comfyui_does() -> None:
    assert split_image_name("a.png") == ("a.png", "", "input")
    assert split_image_name("sub/deep/a.png [output]") == ("a.png", "sub/deep", "output")
    assert split_image_name("sub\\a.png") == ("a.png", "sub", "input")


def test_a_workflow_without_noise_is_run_once_per_coalition(server: FakeComfy, tmp_path: Path) -> None:
    workflow = with_lora()
    workflow["3"] = {
        "class_type": "KSamplerAdvanced",
        "inputs": {**with_lora()["3"]["inputs"], "add_noise": "disable", "noise_seed": 3},
    }
    report = audit(server, tmp_path, workflow, seeds=8).report
    assert len(server.prompts) == 4
    assert report.deterministic is None
    assert any(warning.code == "plan" for warning in report.warnings)


def test_two_audits_in_one_folder_at_once(server: FakeComfy, tmp_path: Path) -> None:
    with RunStore(tmp_path / "out").lock(), pytest.raises(StoreError, match="Another audit is running"):
        audit(server, tmp_path)
    assert server.prompts == []


@pytest.mark.parametrize("what", ["image", "entry", "feature", "run", "report"])
def test_damage_in_the_run_folder_is_repaired(server: FakeComfy, tmp_path: Path, what: str) -> None:
    first = audit(server, tmp_path)
    out = tmp_path / "out"
    pattern = {
        "image": "coalitions/*/0000.png",
        "entry": "coalitions/*/entry.json",
        "feature": "features/*/*.safetensors",
        "run": "run.json",
        "report": "report.json",
    }[what]
    for path in list(out.glob(pattern))[:2]:
        path.write_bytes(path.read_bytes()[:-20])
    again = audit(server, tmp_path)
    assert again.sampled == (2 if what in ("image", "entry") else 0)
    assert results(again.report) == results(first.report)


def test_an_interrupted_audit_goes_on(server: FakeComfy, tmp_path: Path) -> None:
    undisturbed = audit(server, tmp_path)
    shutil.rmtree(tmp_path / "out")

    class Stop(Notes):
        def step(self, done: int, text: str = "") -> None:
            if done == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit(server, tmp_path, observer=Stop())
    again = audit(server, tmp_path)
    assert again.reused == 4
    assert results(again.report) == results(undisturbed.report)


def rerun_words(server: FakeComfy) -> list[str]:
    """What the prompts carry so that the server runs them again, in order."""
    found = [node["inputs"].get("copyscope_rerun") for prompt in server.prompts for node in prompt.values()]
    return [word for word in found if word is not None]


def test_canaries_run_again_at_the_end_past_the_cache(server: FakeComfy, tmp_path: Path) -> None:
    result = audit(server, tmp_path, canaries=True)
    assert len(server.prompts) == 4 * 2 + 1 + 2
    assert (result.sampled, result.reused) == (9, 0)
    words = rerun_words(server)
    assert len(set(words)) == 3
    assert sum(word.startswith("canary ") for word in words) == 2
    canaries = result.report.canaries
    assert [item.holds for item in canaries] == [True, True]
    assert canaries[-1].members == []
    assert len(canaries[0].members) == 1
    assert not any(warning.code == "canary_mismatch" for warning in result.report.warnings)
    for item in canaries:
        first = result.report.coalitions[item.mask].image_files[0]
        assert item.pixel_sha256 == [first.pixel_sha256]


def test_a_repeated_audit_runs_no_canary_and_a_larger_one_does_with_new_words(
    server: FakeComfy, tmp_path: Path
) -> None:
    first = audit(server, tmp_path, canaries=True)
    assert audit(server, tmp_path, canaries=True).report.canaries == first.report.canaries
    assert len(server.prompts) == 11
    audit(server, tmp_path, canaries=True, seeds=3)
    assert len(server.prompts) == 11 + 4 + 2
    assert len({word for word in rerun_words(server) if word.startswith("canary ")}) == 4


def test_a_component_that_leaks_is_found_by_the_canaries(server: FakeComfy, tmp_path: Path) -> None:
    """From its tenth prompt on, the server answers as if something of an earlier one had stayed in it."""
    paint = server.paint
    server.paint = lambda digest, number: paint(digest + ("leak" if number >= 9 else ""), number)
    report = audit(server, tmp_path, canaries=True).report
    assert report.deterministic is True
    assert [item.holds for item in report.canaries] == [False, False]
    warning = report.warnings[0]
    assert warning.code == "canary_mismatch"
    assert "∅" in warning.message
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert html.index("Run again at the end") < html.index("How far each component moves")


def test_an_audit_verifies_and_every_workflow_is_kept(server: FakeComfy, tmp_path: Path) -> None:
    audit(server, tmp_path, canaries=True)
    out = tmp_path / "out"
    assert set(json.loads((out / "workflows.json").read_text(encoding="utf-8"))) == {"0", "1", "2", "3"}
    check = Verifier(out, MeanColours(), reference=tmp_path / "reference", full=True)
    result = check.run()
    assert result.findings == ()
    assert result.images == 8 + 3
    image = next(out.glob("coalitions/*/0000.png"))
    image.write_bytes(png_bytes(5))
    data = json.loads((out / "workflows.json").read_text(encoding="utf-8"))
    next(item for item in data["2"].values() if item["class_type"] == "KSampler")["inputs"]["steps"] = 99
    (out / "workflows.json").write_text(json.dumps(data), encoding="utf-8")
    named = [item.what for item in Verifier(out, MeanColours()).run().findings]
    assert image.relative_to(out).as_posix() in named
    assert {"workflows.json", "workflows.json: 2"} <= set(named)
    assert "workflows.json: 1" not in named


def test_what_is_not_hashed_leaves_no_trace_in_the_manifest(server: FakeComfy, tmp_path: Path) -> None:
    server.hashes = {}
    for _ in range(2):
        audit(server, tmp_path, canaries=True)
        assert Verifier(tmp_path / "out", MeanColours()).run().findings == ()


def test_a_private_audit_tells_no_prompt(server: FakeComfy, tmp_path: Path) -> None:
    workflow = with_lora(text="a moonlit heron, by quokka")
    report = audit(server, tmp_path, workflow, private=True, key_prompts=("moonlit heron", "quokka")).report
    assert [player.name for player in report.players] == ["style", "prompt 1", "prompt 2"]
    for name in ("report.json", "report.html", "manifest.json", "chart.svg"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert not any(word in text for word in ("heron", "quokka", str(tmp_path), '"000.png"', ">000.png<")), name
    result = Verifier(tmp_path / "out", MeanColours(), reference=tmp_path / "reference").run()
    assert result.findings == ()


def test_what_model_files_say_of_themselves_is_reported(server: FakeComfy, tmp_path: Path) -> None:
    """By the pack's route of a remote server."""
    lora = next(name for name in HASHES if "style" in name)
    server.metadata = {lora: {"fields": KOHYA, "cut": False}, **{name: EVIL for name in HASHES if name != lora}}
    result = audit(server, tmp_path, artists=["Jane Doe"])
    told, other = sorted(result.report.metadata, key=lambda item: -item.fields)
    assert (told.file, told.components, other.fields) == (lora, ["style"], 0)
    assert told.mentions[0].sentence == "its own metadata names 43 images tagged “jane doe”"
    html = result.html_path.read_text(encoding="utf-8")
    assert "its own metadata names 43 images tagged “jane doe”" in html
    again = audit(server, tmp_path, artists=["Somebody Else"])
    assert again.sampled == 0
    assert [item.mentions for item in again.report.metadata] == [[], []]
    assert again.report.players == result.report.players


def test_what_local_model_files_say_is_read_from_the_folder(server: FakeComfy, tmp_path: Path) -> None:
    server.hashes = None
    lora = next(name for name in HASHES if "style" in name)
    lora_that_says(tmp_path / "comfy" / "models" / "loras" / lora, KOHYA)
    local = LocalModels(tmp_path / "comfy", tmp_path / "comfy", HashCache(tmp_path / "hashes.json"))
    report = audit(server, tmp_path, local=local, artists=["jane doe"]).report
    assert [(item.file, item.mentions_in_all) for item in report.metadata] == [(lora, 3)]
