"""What a LoRA says of itself, on a real host: over the pack's route, and in the report of a graph."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostutil import Server
from safetensors.numpy import load_file, save_file

from tests.metadata.planted import KOHYA

from .audits import LORA_A, Workflow, audited, plain, report_of
from .test_attacks import ask

TOLD = "copyscope-mini-told.safetensors"


@pytest.fixture
def telling(mini_server: Server, mini_models: Path) -> Iterator[Workflow]:
    """A workflow with a LoRA whose header names the artist."""
    folder = next(path.parent for path in (mini_server.base_dir / "models").rglob(LORA_A))
    save_file(load_file(folder / LORA_A), folder / TOLD, metadata=KOHYA)
    workflow = plain()
    workflow["10"]["inputs"]["lora_name"] = TOLD
    yield workflow
    (folder / TOLD).unlink()


def test_metadata_over_the_route_and_in_a_graph(mini_server: Server, telling: Workflow) -> None:
    def hashes(**asked: object) -> tuple[int, bytes]:
        return ask(mini_server, "/copyscope/hashes", json.dumps(asked).encode())

    status, answer = hashes(files=[TOLD, "../../secret.safetensors"], metadata=True)
    found = json.loads(answer)["files"]
    assert (status, found["../../secret.safetensors"]) == (200, None)
    assert found[TOLD]["metadata"] == {"fields": KOHYA, "cut": False}
    assert "metadata" not in json.loads(hashes(files=[TOLD])[1])["files"][TOLD]
    assert hashes(files=["a"] * 17, metadata=True)[0] == 400

    workflow = audited(telling, seeds=1, only="lora\n")
    workflow["23"]["inputs"]["artist"] = "Jane Doe\nJ. D."
    report = report_of(mini_server.run(workflow))
    told = next(item for item in report["metadata"] if item["file"] == TOLD)
    assert told["mentions"][0]["sentence"] == "its own metadata names 43 images tagged “jane doe”"
    assert report["settings"]["artists"] == ["Jane Doe", "J. D."]
