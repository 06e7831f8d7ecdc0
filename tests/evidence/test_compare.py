"""Several reports side by side: what they have in common, and when they may not be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reports import report_of

from copyscope_core.errors import CopyScopeError
from copyscope_core.evaluation.evaluate import evaluate
from copyscope_core.evidence.compare import compare, comparison_text, read_reports, write_comparison
from copyscope_core.report.build import write_report
from copyscope_core.report.report import Report

EVIL = "<img src=x onerror=alert(1)>"


def made(
    names: tuple[str, ...] = ("lora", "prompt"),
    step: float = 0.4,
    reference: str = "a",
    images: str = "w",
    count: int = 6,
    size: str = "x:64x64",
    preprocessing: str = "net",
    distance: Any = "fid",
) -> Report:
    """A report; letters stand for which reference and which generated images it is made from."""
    rng = np.random.default_rng(0)
    noise, works = rng.normal(size=(count, 8)), rng.normal(size=(9, 8))
    masks = range(1 << len(names))
    evaluation = evaluate(
        names,
        {m: noise + 0.3 * rng.normal(size=noise.shape) + 3 - step * m.bit_count() for m in masks},
        works,
        seeds={m: list(range(count)) for m in masks},
        distance=distance,
    )
    return report_of(
        evaluation,
        coalitions={m: [{"file": f"{k}", "pixel_sha256": f"{images}{m}{k}"} for k in range(count)] for m in masks},
        reference={
            "count": 9,
            "images": [{"file": f"{k}", "pixel_sha256": f"{reference}{k}"} for k in range(9)],
            "preprocessing": {"method": size},
        },
        preprocessing=preprocessing,
    )


def test_one_reference_against_several_workflows() -> None:
    found = compare({"near": made(step=0.6), "far": made(("lora", "style"), step=0.1, images="v")})
    assert found.comparable
    assert found.what == "The same reference against several workflows."
    known = {row.name: [cell is not None for cell in row.cells] for row in found.rows}
    assert known == {"lora": [True, True], "prompt": [True, False], "style": [False, True]}
    assert found.notes[0].startswith("The images of “near” come nearest to the reference: FID ")


def test_none_of_two_equal_reports_is_called_nearest() -> None:
    note = compare({"mine": made(), "theirs": made()}).notes[0]
    assert note.startswith("The images of all reports come equally near to the reference: FID ")


def test_one_workflow_against_several_artists() -> None:
    found = compare({"hokusai": made(step=0.6), "renoir": made(step=0.05, reference="b")})
    assert found.what == "One workflow against several references."
    assert found.comparable
    assert "different scales" in found.notes[0]


def test_what_the_verdicts_say_is_put_together() -> None:
    alone = made(("lora",), step=0.6, count=12)
    assert alone.verdict.decided
    found = compare({"hokusai": alone, "renoir": made(("lora",), step=0.0, reference="b", count=12)})
    assert "“lora” is named by the verdict of “hokusai”." in found.notes
    assert "Not decided: “renoir”." in found.notes


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"distance": "kid"}, "distance"),
        ({"preprocessing": "other"}, "preprocessing"),
        ({"size": "x:512x512"}, "size of the images"),
        ({"count": 8}, "number of images"),
    ],
)
def test_reports_that_may_not_be_compared_say_why(change: dict[str, Any], what: str) -> None:
    found = compare({"one": made(), "other": made(**change)})
    assert not found.comparable
    assert len(found.reasons) == 1
    assert what in found.reasons[0]
    assert "one: " in found.reasons[0]
    assert not any("named" in note or "nearest" in note for note in found.notes)


def test_written_and_read_from_folders(tmp_path: Path) -> None:
    for name, report in (("one", made((EVIL, "prompt"))), ("other", made((EVIL, "prompt"), step=0.2, reference="b"))):
        (tmp_path / name).mkdir()
        write_report(report, tmp_path / name)
    found = compare(read_reports([tmp_path / "one", tmp_path / "other" / "report.json"]))
    assert [column.name for column in found.columns] == ["one", "other"]
    header, rows = comparison_text(found)
    assert header == ["component", "kind", "one", "other"]
    assert len(rows) == 2 + 3
    page = write_comparison(found, tmp_path / "c.html").read_text(encoding="utf-8")
    assert EVIL not in page
    assert "&lt;img src=x" in page
    assert "<script" not in page
    data = found.as_json()
    assert data["comparable"] is True
    assert data["rows"][0]["cells"][0]["shapley"] == pytest.approx(found.rows[0].cells[0].shapley)  # type: ignore[union-attr]


def test_folders_of_one_name_are_told_apart_and_one_report_is_refused(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        (tmp_path / parent / "out").mkdir(parents=True)
        write_report(made(), tmp_path / parent / "out")
    names = list(read_reports([tmp_path / "a" / "out", tmp_path / "b" / "out"]))
    assert names == [str(tmp_path / parent / "out" / "report.json") for parent in ("a", "b")]
    with pytest.raises(CopyScopeError, match="at least two"):
        read_reports([tmp_path / "a" / "out"])
    with pytest.raises(CopyScopeError, match="named twice"):
        read_reports([tmp_path / "a" / "out", tmp_path / "a" / "out" / "report.json"])
    with pytest.raises(CopyScopeError, match="cannot be read"):
        read_reports([tmp_path / "a" / "out", tmp_path / "c"])
