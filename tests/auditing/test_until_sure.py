"""Audits that run until they are sure, against a stand-in server: when they stop, what they spare, what they report."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakecomfy import FakeComfy
from images_on_disk import MeanColours

from copyscope_core.errors import GameError
from copyscope_core.evidence.verify import Verifier
from copyscope_core.report.report import Report
from copyscope_core.report.schema import UntilSureRecord
from tests.auditing.test_audit import Notes, audit
from tests.auditing.test_sampled_audit import WORDS, eight

Paint = Callable[[str, int], np.ndarray[Any, Any]]


def painted(server: FakeComfy, lora: float, prompt: float, shake: float, idle_until: int = 10**6) -> Paint:
    """Pixels of some brightness: 40, and what the LoRA and the prompt add, and chance in the seed.

    The reference is about 127 bright.

    Args:
        idle_until: from this seed on the LoRA adds 40, whatever it added before.
    """

    def paint(digest: str, number: int) -> np.ndarray[Any, Any]:
        nodes = server.prompts[number - 1].values()
        seed = next(node["inputs"]["seed"] for node in nodes if node["class_type"] == "KSampler")
        text = any(node["inputs"].get("text") == "a wave, by hokusai" for node in nodes)
        added = 0.0
        if any(node["class_type"] == "LoraLoader" for node in nodes):
            added += 40 if seed - 5 >= idle_until else lora
        rng = np.random.default_rng(seed)
        mean = 40 + added + prompt * text + shake * rng.normal()
        # What differs between coalitions at one seed, so that φ varies: the prompt's strength.
        mean += prompt * text * 0.2 * rng.normal() + added * 0.2 * rng.normal()
        return np.clip(rng.normal(mean, 8, size=(64, 64, 3)), 0, 255).astype(np.uint8)

    return paint


def ended(report: Report) -> UntilSureRecord:
    assert report.verdict.until_sure is not None
    return report.verdict.until_sure


NUMBERS = {
    "shapley", "share", "leave_one_out", "single", "ablation", "shapley_mean", "shapley_covariance", "kid_shapley",
    "style_shapley", "contrast", "no_effect",
}  # fmt: skip


def numbers(report: Report) -> Any:
    """Everything that is measured, but for intervals."""
    return (
        [player.model_dump(include=NUMBERS) for player in report.players],
        [item.model_dump(exclude={"fid_interval"}) for item in report.coalitions],
        [(item.members, item.sii, item.n_sii) for item in report.interactions],
    )


def test_a_clear_audit_stops_early_and_its_numbers_are_those_of_a_plain_one(server: FakeComfy, tmp_path: Path) -> None:
    server.paint = painted(server, lora=60, prompt=4, shake=2)
    notes = Notes()
    report = audit(server, tmp_path, until_sure=True, seeds=16, observer=notes, canaries=True).report
    found = ended(report)
    assert report.verdict.decided and report.verdict.player == "style"
    assert found.stopped == "decided"
    assert found.looks[-1].seeds == len(report.seeds) < 16
    assert (found.budget, found.runs) == (64, 4 * found.looks[-1].seeds)
    assert len(server.prompts) == found.runs + 1 + 2
    assert sum(1 - look.level for look in found.looks) < 0.05
    assert report.uncertainty is not None and report.uncertainty.level == found.looks[-1].level
    said = [item.sentence for item in report.verdict.reading if item.code == "until_sure"]
    assert "because the verdict was decided" in said[0] and "5 of 100" in said[0]
    assert f"The other {64 - found.runs} runs would have narrowed" in said[1]
    assert sum(note.startswith("Look ") for note in notes.notes) == len(found.looks)
    assert "“style”" in notes.notes[-1] and notes.notes[-1].endswith("Decided.")
    assert Verifier(tmp_path / "out", MeanColours()).run().findings == ()
    path = tmp_path / "out" / "report.json"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace('"error": 0.05', '"error": 0.04'), encoding="utf-8")
    changed = {finding.what for finding in Verifier(tmp_path / "out", MeanColours()).run().findings}
    assert "report.json: verdict.until_sure.looks[0].level" in changed
    path.write_text(whole, encoding="utf-8")
    prompts = len(server.prompts)
    plain = audit(server, tmp_path, seeds=found.looks[-1].seeds, canaries=True)
    assert (len(server.prompts), plain.sampled) == (prompts, 0)
    assert numbers(plain.report) == numbers(report)
    assert plain.report.verdict.until_sure is None
    assert plain.report.uncertainty is not None and plain.report.uncertainty.level == 0.95
    narrow, wide = plain.report.players[0].shapley_interval, report.players[0].shapley_interval
    assert narrow is not None and wide is not None and wide[0] < narrow[0] < narrow[1] < wide[1]


def test_a_tie_is_given_up_before_the_budget(server: FakeComfy, tmp_path: Path) -> None:
    def paint(digest: str, number: int) -> np.ndarray[Any, Any]:
        """Every combination has a brightness of its own by chance alone."""
        seed = int.from_bytes(digest.encode()[:6], "big")
        rng = np.random.default_rng(seed)
        return np.clip(rng.normal(40 + 6 * rng.normal(), 8, size=(64, 64, 3)), 0, 255).astype(np.uint8)

    server.paint = paint
    report = audit(server, tmp_path, until_sure=True, seeds=32).report
    found = ended(report)
    assert (found.stopped, report.verdict.decided) == ("cannot_decide", False)
    assert found.runs < found.budget
    assert found.chance is not None and found.chance < 0.05
    said = [item.sentence for item in report.verdict.reading if item.code == "until_sure"]
    assert "hardly be decided" in said[0] and "would have decided it in" in said[1]


def test_the_budget_may_be_given_in_runs(server: FakeComfy, tmp_path: Path) -> None:
    server.paint = painted(server, lora=14, prompt=12, shake=12)
    report = audit(server, tmp_path, until_sure=True, max_runs=19).report
    found = ended(report)
    assert (found.budget, found.seeds) == (16, 4)
    assert found.runs <= 16
    with pytest.raises(GameError, match="max_runs = 11 is too small for a first look at 4 combinations"):
        audit(server, tmp_path, until_sure=True, max_runs=11)


def test_a_component_without_effect_is_set_aside_and_tried_at_the_end(server: FakeComfy, tmp_path: Path) -> None:
    server.paint = painted(server, lora=0, prompt=30, shake=12)
    report = audit(server, tmp_path, until_sure=True, seeds=16, error=0.001).report
    found, seeds = ended(report), len(report.seeds)
    assert found.set_aside == ["style"]
    assert seeds > 3
    assert found.runs == 4 * 3 + 2 * (seeds - 3)
    assert (found.spared, found.tried) == (2 * (seeds - 3), 1)
    assert len(server.prompts) == found.runs + 1 + found.tried
    style = next(player for player in report.players if player.name == "style")
    assert style.no_effect and style.shapley == 0
    assert all(item.images == seeds for item in report.coalitions)
    assert "was set aside" not in str(report.warnings)
    assert any("changes no pixel" in item.sentence for item in report.verdict.reading)
    assert Verifier(tmp_path / "out", MeanColours()).run().findings == ()
    whole = audit(server, tmp_path, seeds=seeds).report
    assert numbers(whole)[0] == numbers(report)[0]
    assert [item.fid for item in whole.coalitions] == [item.fid for item in report.coalitions]


def test_a_component_that_has_an_effect_after_all_is_put_back(server: FakeComfy, tmp_path: Path) -> None:
    server.paint = painted(server, lora=0, prompt=30, shake=12, idle_until=3)
    notes = Notes()
    report = audit(server, tmp_path, until_sure=True, seeds=16, error=0.001, observer=notes).report
    found, seeds = ended(report), len(report.seeds)
    assert (found.set_aside, found.put_back, found.spared) == ([], ["style"], 0)
    assert found.runs == 4 * seeds
    assert any("changed pixels at a later seed" in note for note in notes.notes)
    whole = audit(server, tmp_path, seeds=seeds).report
    assert numbers(whole) == numbers(report)


def test_a_sample_grows_in_seeds_and_coalitions_within_its_budget(server: FakeComfy, tmp_path: Path) -> None:
    report = audit(server, tmp_path, eight(), key_prompts=WORDS, budget=44, until_sure=True, seeds=5).report
    found = ended(report)
    assert found.budget == 5 * 44
    assert found.runs <= found.budget
    sizes = [(look.seeds, look.coalitions) for look in found.looks]
    assert sizes == sorted(sizes) and len(set(sizes)) == len(sizes)
    assert report.sampling is not None and report.sampling.stopped == "verdict"
    assert sum(1 - look.level for look in found.looks) <= 0.05 + 1e-12
    assert Verifier(tmp_path / "out", MeanColours()).run().findings == ()


def test_ctrl_c_after_a_look_gives_the_report_of_what_is_known(server: FakeComfy, tmp_path: Path) -> None:
    server.paint = painted(server, lora=14, prompt=12, shake=12)

    def press(number: int) -> None:
        if number == 16:  # in the second round
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(0.2)

    server.before = press
    notes = Notes()
    report = audit(server, tmp_path, until_sure=True, seeds=16, observer=notes, canaries=True).report
    found = ended(report)
    assert (found.stopped, found.looks[-1].seeds, report.seeds) == ("user", 3, [0, 1, 2])
    assert any(note.startswith("Stopping: ") for note in notes.notes)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert Verifier(tmp_path / "out", MeanColours()).run().findings == ()


def test_ctrl_c_before_the_first_look_ends_the_audit(server: FakeComfy, tmp_path: Path) -> None:
    server.before = lambda number: os.kill(os.getpid(), signal.SIGINT) if number == 4 else None
    with pytest.raises(KeyboardInterrupt):
        audit(server, tmp_path, until_sure=True, seeds=16)
    assert not (tmp_path / "out" / "report.json").exists()


def test_a_private_report_of_such_an_audit_names_no_prompt(server: FakeComfy, tmp_path: Path) -> None:
    server.paint = painted(server, lora=0, prompt=30, shake=2)
    report = audit(server, tmp_path, until_sure=True, seeds=16, private=True, key_prompts=("a wave",)).report
    assert "a wave" not in report.model_dump_json()
    assert ended(report).looks[0].first != "a wave"
