"""The examples of docs/api.md, run from top to bottom, with a stand-in ComfyUI for the audit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from example_workflows import with_lora
from fakecomfy import FakeComfy

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"
SERVER = "http://127.0.0.1:8188"


def examples() -> list[tuple[int, str]]:
    """Each fenced block of Python: the line on which it starts, and its code."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)) + 1, match[1]) for match in found]


def test_the_page_has_examples_of_every_function() -> None:
    code = "".join(block for _, block in examples())
    for name in ("fid", "frechet_distance", "kernel_distance", "shapley", "plan", "score", "audit", "Report.load"):
        assert f"cs.{name}(" in code
    assert SERVER in code


def test_the_examples_run(
    tmp_path: Path, server: FakeComfy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed").use("Agg")
    monkeypatch.chdir(tmp_path)
    Path("workflow.json").write_text(json.dumps(with_lora()), encoding="utf-8")
    names: dict[str, object] = {}
    for line, code in examples():
        # Blank lines before it give errors the line of the page.
        exec(compile("\n" * (line - 1) + code.replace(SERVER, server.url), str(PAGE), "exec"), names)
    shown = capsys.readouterr().out
    assert "The table lacks 2 of 4 coalitions: {MonaLisa}, {Davinci, MonaLisa}" in shown
    assert (tmp_path / "shapley.png").stat().st_size > 0
    assert (tmp_path / "audit-out" / "report.html").is_file()
