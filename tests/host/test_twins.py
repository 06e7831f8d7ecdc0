"""Copies of one LoRA on a real host: the pack's route for sketches, the plan over it, and the report of a graph."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostutil import Server
from safetensors.numpy import load_file, save_file

from copyscope_core.auditing.servers import ServerChoice
from copyscope_core.auditing.session import run_plan
from copyscope_core.settings import AuditSettings

from .audits import LORA_A, Workflow, audited, node, plain, report_of

COPY = "copyscope-mini-renamed.safetensors"


@pytest.fixture
def copied(mini_server: Server, mini_models: Path) -> Iterator[Workflow]:
    """A workflow with a LoRA and its copy, whose alphas are written into its matrices."""
    folder = next(path.parent for path in (mini_server.base_dir / "models").rglob(LORA_A))
    tensors = load_file(folder / LORA_A)
    plain_names = {name: value for name, value in tensors.items() if not name.endswith(".alpha")}
    for name, value in tensors.items():
        if name.endswith(".alpha"):
            up, down = (f"{name.removesuffix('.alpha')}.lora_{side}.weight" for side in ("up", "down"))
            plain_names[up] = plain_names[up] * (value / len(plain_names[down]))
    save_file(plain_names, folder / COPY)
    workflow = plain()
    workflow["30"] = node("LoraLoader", model=["10", 0], clip=["10", 1], lora_name=COPY, strength_model=1.0,
                          strength_clip=1.0)  # fmt: skip
    workflow["3"]["inputs"]["model"] = ["30", 0]
    for text in ("6", "7"):
        workflow[text]["inputs"]["clip"] = ["30", 1]
    yield workflow
    (folder / COPY).unlink()


def test_copies_are_told_over_the_route_and_in_a_graph(mini_server: Server, copied: Workflow, tmp_path: Path) -> None:
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(copied), encoding="utf-8")
    plan = run_plan(path, AuditSettings(groups={"auto": ()}), ServerChoice((mini_server.url,)))
    (twins,) = plan.twins
    assert twins.names == ("copyscope-mini-lora-a", "copyscope-mini-renamed")
    assert twins.cosine == pytest.approx(1, abs=1e-3)
    assert "copies of copyscope-mini-lora-a" in plan.group_names

    report = report_of(mini_server.run(audited(copied, seeds=1, only="lora\n")))
    assert "same_model" in [warning["code"] for warning in report["warnings"]]
