"""Every shipped API workflow on a real ComfyUI, with miniature models under the names that the workflows use."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import workflow_models as shipped
from hostutil import Server, require_host, start_server

from copyscope_core.workflow.ui.convert import to_api


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A ComfyUI with all models; they are removed afterwards, for they are large.

    One thread is as fast as several for models this small, and much faster on a machine that is busy.
    """
    require_host()
    base_dir = tmp_path_factory.mktemp("comfy-workflows")
    shipped.make_files(base_dir / "models")
    shipped.make_reference(base_dir / "input")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", "1")
            with start_server(base_dir) as server:
                yield server
    finally:
        shutil.rmtree(base_dir / "models")


def tell(server: Server, path: str, data: dict[str, Any]) -> None:
    """Posts to a route that answers without a body."""
    body = json.dumps(data).encode("utf-8")
    request = urllib.request.Request(server.url + path, body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=60).close()


def report_of(entry: dict[str, Any]) -> dict[str, Any]:
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1]
    (report,) = [item for output in entry["outputs"].values() for item in output.get("copyscope_report", ())]
    return report


def test_every_workflow_has_its_three_files() -> None:
    folder = shipped.UI_FOLDER
    assert set(shipped.NAMES) == set(shipped.PLAYERS) == set(shipped.TITLES)
    assert {path.stem for path in folder.glob("*.json")} == set(shipped.TITLES.values())
    for title in shipped.TITLES.values():
        assert (folder / f"{title}.jpg").read_bytes()[:3] == b"\xff\xd8\xff"
        assert (folder / f"{title}.jpg").stat().st_size <= 150_000


def test_every_model_file_is_known() -> None:
    named = {file for name in shipped.NAMES for file in shipped.named_files(shipped.api_workflow(name))}
    assert named == {path.rpartition("/")[2] for path in shipped.MODELS}


@pytest.mark.parametrize("name", shipped.NAMES)
def test_as_shipped_it_passes_the_servers_validation(name: str, server: Server) -> None:
    """As it is, full size and T5 included: accepted, and taken from the queue before anything runs.

    A job ahead of it keeps it waiting.
    """
    blocker = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 4096, "height": 4096, "batch_size": 1, "color": 7}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": f"busy-{name}"}},
    }
    _, ahead = server.post("/prompt", {"prompt": blocker})
    status, answer = server.post("/prompt", {"prompt": shipped.api_workflow(name)})
    tell(server, "/queue", {"delete": [answer.get("prompt_id", "")]})
    assert (status, answer.get("node_errors")) == (200, {}), answer
    queue = server.get("/queue")
    assert answer["prompt_id"] not in json.dumps(queue), "it began before it could be taken from the queue"
    tell(server, "/interrupt", {"prompt_id": ahead["prompt_id"]})


@pytest.mark.parametrize("name", shipped.NAMES)
def test_it_runs_and_reports_its_players_twice(name: str, server: Server) -> None:
    graph = shipped.small(shipped.api_workflow(name))
    first = report_of(server.run(graph))
    assert {player["name"] for player in first["players"]} == shipped.PLAYERS[name]
    assert len(first["coalitions"]) == 2 ** len(shipped.PLAYERS[name])
    assert all(coalition["images"] == shipped.SMALL["seeds"] for coalition in first["coalitions"])
    assert first["deterministic"] is True
    assert any(player["shapley"] for player in first["players"])
    second = report_of(server.run(graph))
    assert second["players"] == first["players"]


@pytest.mark.parametrize("name", shipped.NAMES)
def test_ui_file_converts_to_the_api_file(name: str, server: Server) -> None:
    ui = shipped.ui_workflow(name)
    converted = to_api(ui, server.get("/object_info"))
    expected = shipped.api_workflow(name)
    assert {key: node["class_type"] for key, node in converted.items()} == {
        key: node["class_type"] for key, node in expected.items()
    }
    for key, node in expected.items():
        assert {field: converted[key]["inputs"].get(field) for field in node["inputs"]} == node["inputs"]


def test_a_missing_model_is_refused_by_name(server: Server) -> None:
    graph = shipped.api_workflow("quick-start")
    graph["10"]["inputs"]["lora_name"] = "not-there.safetensors"
    status, answer = server.post("/prompt", {"prompt": {key: node for key, node in graph.items() if key != "9"}})
    assert "not-there.safetensors" in str(answer["node_errors"]), (status, answer)
