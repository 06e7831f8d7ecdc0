"""Queues of audits: what is read, shared, finished, failed and written."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from example_workflows import node, with_lora
from fakecomfy import FakeComfy
from images_on_disk import MeanColours, image_folder
from PIL import Image, PngImagePlugin
from pyarrow import parquet

from copyscope_core.auditing.batch import Batch, read_queue
from copyscope_core.auditing.servers import ServerChoice
from copyscope_core.auditing.session import run_batch
from copyscope_core.comfyui.errors import ServerLostError
from copyscope_core.controls.bank import load_bank
from copyscope_core.errors import CopyScopeError, StoreError
from copyscope_core.evidence.verify import Verifier
from copyscope_core.settings import AuditSettings
from tests.auditing.test_audit import Notes

PER_AUDIT = 4 * 2 + 1
CANARIES = 2


def queue_of(tmp_path: Path, *lines: dict[str, Any]) -> Path:
    """A queue of two artists and one workflow."""
    for number, name in enumerate(("hokusai", "hiroshige")):
        if not (tmp_path / name).exists():
            image_folder(tmp_path / name, 3, seed=50 * number, size=(48, 64))
    (tmp_path / "workflow.json").write_text(json.dumps(with_lora()), encoding="utf-8")
    path = tmp_path / "queue.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def line(name: str, reference: str = "hokusai", **more: Any) -> dict[str, Any]:
    return {"id": name, "workflow": "workflow.json", "reference": reference, **more}


def run(
    server: FakeComfy, tmp_path: Path, queue: Path, observer: Notes | None = None, extractor: MeanColours | None = None
) -> Batch:
    listed = read_queue(queue, AuditSettings(seeds=2))
    choice = ServerChoice((server.url,))
    return run_batch(
        listed, tmp_path / "out", choice, observer=observer or Notes(), extractor=extractor or MeanColours()
    )


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    return parquet.read_table(tmp_path / "out" / "results.parquet").to_pylist()


def test_audits_of_one_workflow_share_its_coalitions(server: FakeComfy, tmp_path: Path) -> None:
    extractor = MeanColours()
    batch = run(server, tmp_path, queue_of(tmp_path, line("a"), line("b", "hiroshige")), extractor=extractor)
    assert batch.done == ["a", "b"]
    assert len(server.prompts) == PER_AUDIT + CANARIES
    assert (batch.sampled, batch.reused) == (PER_AUDIT, PER_AUDIT)
    assert extractor.images == 8 + 2 * 3 + len(load_bank().works)
    table = rows(tmp_path)
    assert [(row["audit"], row["status"]) for row in table] == [("a", "done")] * 2 + [("b", "done")] * 2
    report = json.loads((tmp_path / "out" / "audits" / "b" / "report.json").read_text(encoding="utf-8"))
    first = max(report["players"], key=lambda player: player["shapley"])
    row = table[2]
    assert (row["player"], row["shapley"], row["sha256"]) == (first["name"], first["shapley"], first["sha256"])
    assert [row["shapley_low"], row["shapley_high"]] == first["shapley_interval"]
    assert row["distance_none"] - row["distance_all"] == pytest.approx(sum(r["shapley"] for r in table[2:]))
    assert row["reference"] == "hiroshige"
    for name in ("a", "b"):
        assert Verifier(tmp_path / "out" / "audits" / name, MeanColours()).run().holds


def test_an_image_that_holds_its_workflow_is_a_line_like_others(server: FakeComfy, tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps({key: {**item, "is_changed": [math.nan]} for key, item in with_lora().items()}))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    queue = queue_of(tmp_path, {**line("a"), "workflow": "a.png"}, line("b"))
    batch = run(server, tmp_path, queue)
    assert (batch.done, batch.reused) == (["a", "b"], PER_AUDIT)
    assert run(server, tmp_path, queue).skipped == ["a", "b"]


def test_a_second_run_of_the_queue_does_only_what_is_new(server: FakeComfy, tmp_path: Path) -> None:
    run(server, tmp_path, queue_of(tmp_path, line("a"), line("b", "hiroshige")))
    before = len(server.prompts)
    queue = queue_of(tmp_path, line("a"), line("b", "hiroshige"), line("c", "hiroshige", settings={"seeds": 3}))
    batch = run(server, tmp_path, queue)
    assert (batch.skipped, batch.done) == (["a", "b"], ["c"])
    assert len(server.prompts) == before + 4 + CANARIES
    assert {row["audit"] for row in rows(tmp_path)} == {"a", "b", "c"}


@pytest.mark.parametrize("what", ["reference", "workflow", "settings", "report"])
def test_an_audit_is_made_again_when_what_it_was_made_from_has_changed(
    server: FakeComfy, tmp_path: Path, what: str
) -> None:
    run(server, tmp_path, queue_of(tmp_path, line("a"), line("b", "hiroshige")))
    more = {}
    if what == "reference":
        image_folder(tmp_path / "hokusai", 4, seed=9, size=(48, 64))
    elif what == "settings":
        more = {"settings": {"lock": ["prompt"]}}
    elif what == "report":
        (tmp_path / "out" / "audits" / "a" / "report.json").write_text("{", encoding="utf-8")
    queue = queue_of(tmp_path, line("a", **more), line("b", "hiroshige"))
    if what == "workflow":
        changed = with_lora()
        changed["3"]["inputs"]["seed"] = 6
        (tmp_path / "workflow.json").write_text(json.dumps(changed), encoding="utf-8")
    batch = run(server, tmp_path, queue)
    assert batch.done == (["a", "b"] if what == "workflow" else ["a"])


def test_an_audit_that_cannot_be_made_is_told_and_the_others_go_on(server: FakeComfy, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    queue = queue_of(tmp_path, line("bad", "empty"), line("gone", workflow="gone.json"), line("good"))
    notes = Notes()
    batch = run(server, tmp_path, queue, notes)
    assert batch.done == ["good"]
    assert "has no images" in batch.failed["bad"]
    assert "gone.json cannot be read" in batch.failed["gone"]
    assert [row["error"] for row in rows(tmp_path)][:2] == [batch.failed["bad"], batch.failed["gone"]]
    assert any("bad failed" in note for note in notes.notes)


def test_a_dead_server_ends_the_batch_and_what_is_finished_is_in_the_table(server: FakeComfy, tmp_path: Path) -> None:
    changed = with_lora()
    changed["3"]["inputs"]["seed"] = 6
    queue = queue_of(tmp_path, line("a"), line("b", workflow="other.json"))
    (tmp_path / "other.json").write_text(json.dumps(changed), encoding="utf-8")
    server.before = lambda number: server.die() if number == PER_AUDIT + CANARIES + 2 else None
    with pytest.raises(ServerLostError):
        run(server, tmp_path, queue)
    assert {row["audit"] for row in rows(tmp_path)} == {"a"}


def test_the_table_of_an_interrupted_batch_has_no_results_of_other_lines(server: FakeComfy, tmp_path: Path) -> None:
    run(server, tmp_path, queue_of(tmp_path, line("a"), line("b", "hiroshige")))
    queue = queue_of(tmp_path, line("new", settings={"seeds": 3}), line("a", "hiroshige"), line("b", "hiroshige"))
    before = len(server.prompts)
    server.before = lambda number: server.stop() if number > before else None
    with pytest.raises(ServerLostError):
        run(server, tmp_path, queue)
    assert {row["audit"] for row in rows(tmp_path)} == {"b"}


def test_a_default_that_is_given_counts_against_what_the_workflow_says(server: FakeComfy, tmp_path: Path) -> None:
    queue_of(tmp_path, line("a"))
    workflow = {**with_lora(), "20": node("CopyScopeCoalitionEnumerator", image=["8", 0], seeds=3, max_coalitions=256)}
    (tmp_path / "workflow.json").write_text(json.dumps(workflow), encoding="utf-8")
    for settings, seeds in (({}, 3), ({"seeds": AuditSettings().seeds}, AuditSettings().seeds)):
        queue = tmp_path / "queue.jsonl"
        queue.write_text(json.dumps(line("a", settings=settings)), encoding="utf-8")
        choice = ServerChoice((server.url,))
        run_batch(
            read_queue(queue, AuditSettings()), tmp_path / "out", choice, observer=Notes(), extractor=MeanColours()
        )
        report = json.loads((tmp_path / "out" / "audits" / "a" / "report.json").read_text(encoding="utf-8"))
        assert len(report["seeds"]) == seeds


def test_a_folder_that_cannot_be_written_ends_the_batch(server: FakeComfy, tmp_path: Path) -> None:
    (tmp_path / "out" / "audits").mkdir(parents=True)
    (tmp_path / "out" / "audits" / "b").write_text("in the way", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot be written"):
        run(server, tmp_path, queue_of(tmp_path, line("a"), line("b", "hiroshige"), line("c")))
    assert {row["audit"] for row in rows(tmp_path)} == {"a"}


def test_coalitions_of_models_that_were_not_hashed_are_not_shared(server: FakeComfy, tmp_path: Path) -> None:
    server.hashes = None
    run(server, tmp_path, queue_of(tmp_path, line("a"), line("b", "hiroshige")))
    assert len(server.prompts) == 2 * (PER_AUDIT + CANARIES)


def test_a_damaged_coalition_of_the_pool_is_made_again(server: FakeComfy, tmp_path: Path) -> None:
    run(server, tmp_path, queue_of(tmp_path, line("a")))
    before = len(server.prompts)
    image = next((tmp_path / "out" / "shared" / "coalitions").glob("*/0000.png"))
    image.write_bytes(image.read_bytes()[:-9])
    batch = run(server, tmp_path, queue_of(tmp_path, line("a"), line("b", "hiroshige")))
    assert batch.done == ["b"]
    assert len(server.prompts) - before in (1, 1 + CANARIES)  # 1: the damaged one was a canary


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "Line 1 of .* does not fit"),
        ('{"workflow": "w.json"}', "reference: Field required"),
        ('{"workflow": "w", "reference": "r", "speed": 1}', "speed: Extra inputs"),
        ('{"workflow": "w", "reference": "r", "settings": {"seeds": 0}}', "seeds"),
        ('{"workflow": "w", "reference": "r", "id": "../x"}', "is to name a folder"),
        ('{"workflow": "w", "reference": "r", "id": ".x"}', "is to name a folder"),
        ('{"workflow": "w", "reference": "r", "id": "a"}\n{"workflow": "w", "reference": "r", "id": "A"}', "Line 2"),
        ("\n\n", "has no lines"),
    ],
)
def test_a_queue_that_does_not_fit_is_refused_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "queue.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CopyScopeError, match=told):
        read_queue(path, AuditSettings())


def test_a_line_has_a_control_of_its_own_that_of_the_bank_or_none(server: FakeComfy, tmp_path: Path) -> None:
    image_folder(tmp_path / "own", 4, seed=7000)
    lines = (line("bank"), line("none", control=False), line("own", control="own"))
    batch = run(server, tmp_path, queue_of(tmp_path, *lines))
    assert batch.done == ["bank", "none", "own"]
    controls = {}
    for name in batch.done:
        report = json.loads((tmp_path / "out" / "audits" / name / "report.json").read_text(encoding="utf-8"))
        controls[name] = report["control"]
    assert controls["bank"]["source"] == "bank"
    assert controls["none"] is None
    assert (controls["own"]["source"], controls["own"]["count"]) == ("given", 4)
    assert Verifier(tmp_path / "out" / "audits" / "bank", MeanColours()).run().holds


def test_lines_without_an_id_are_numbered_and_settings_are_laid_over_those_of_the_batch(tmp_path: Path) -> None:
    path = tmp_path / "queue.jsonl"
    path.write_text('\n{"workflow": "w", "reference": "r", "settings": {"lock": ["vae"]}}\n', encoding="utf-8")
    (item,) = read_queue(path, AuditSettings(seeds=3))
    assert (item.id, item.settings.seeds, item.settings.lock) == ("000002", 3, ("vae",))
    assert item.workflow == tmp_path / "w"


def test_without_pyarrow_nothing_is_run(server: FakeComfy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = queue_of(tmp_path, line("a"))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(CopyScopeError, match=r"copyscope\[batch\]"):
        run(server, tmp_path, queue)
    assert not server.prompts
