"""``copyscope_core.audit`` of a program with a real ComfyUI: in a script, and where an event loop is running."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hostutil import Server, require_host
from images_on_disk import MeanColours, image_folder

import copyscope_core as cs
from copyscope_core.files.hashes import file_sha256
from copyscope_core.store.runs import STATE_VARIABLE

from .audits import LORA_A, plain, values
from .conftest import make_base


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))


def test_an_audit_in_a_script_and_in_a_notebook(tmp_path: Path, mini_server: Server, mini_models: Path) -> None:
    reference = image_folder(tmp_path / "reference", 3)

    def audit(out: str, **servers: Any) -> cs.Report:
        return cs.audit(plain(), reference, tmp_path / out, seeds=1, features=MeanColours(), **servers)

    async def notebook() -> cs.Report:
        """As in a notebook's cell; ComfyUI is started and stopped from the thread of its own."""
        base = make_base(tmp_path / "base", mini_models)
        return audit("notebook", comfyui=require_host(), base_directory=base, comfyui_args=["--cpu"])

    plan = cs.plan(plain(), server=mini_server.url, seeds=1)
    report = audit("script", server=mini_server.url)
    assert plan.names == ("copyscope-mini-lora-a", "prompt") == tuple(player.name for player in report.players)
    assert len(report.coalitions) == plan.cost.coalitions == 4
    assert report.deterministic is True
    loras = mini_server.base_dir / "models" / "loras"
    assert next(m.sha256 for m in report.models if m.file == LORA_A) == file_sha256(loras / LORA_A)
    assert cs.Report.load(tmp_path / "script") == report
    assert values(asyncio.run(notebook()).model_dump()) == values(report.model_dump())
