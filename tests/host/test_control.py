"""Control images and the choice of the distance on the node CopyScope FID, on a real host."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from hostutil import Server
from PIL import Image

from copyscope_core.controls.bank import load_bank

from .audits import audited, plain, report_of, values


@pytest.fixture
def control(mini_server: Server) -> Iterator[str]:
    """A subfolder of the host's input folder with four images of noise."""
    folder = mini_server.base_dir / "input" / "unrelated"
    folder.mkdir()
    rng = np.random.default_rng(11)
    for index in range(4):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    yield folder.name
    shutil.rmtree(folder)


def test_a_control_folder_gives_the_contrast(mini_server: Server, control: str) -> None:
    workflow = audited(plain())
    without = report_of(mini_server.run(workflow))
    assert without["control"] is None
    assert without["distance"] == "fid"

    workflow["22"]["inputs"].update(control_folder=control)
    report = report_of(mini_server.run(workflow))
    assert values(report) == values(without)
    assert report["control"]["count"] == 4
    for player in report["players"]:
        assert player["contrast"] is not None

    (mini_server.base_dir / "input" / control / "3.png").unlink()
    assert report_of(mini_server.run(workflow))["control"]["count"] == 3

    workflow["22"]["inputs"].update(control_folder="(none)", distance="kid")
    kid = report_of(mini_server.run(workflow))
    assert (kid["distance"], kid["control"]) == ("kid", None)
    assert [p["shapley"] for p in kid["players"]] == pytest.approx([p["kid_shapley"] for p in without["players"]])


def test_without_a_folder_works_of_the_bank_are_compared_with_unless_it_is_off(
    mini_server: Server, control: str
) -> None:
    workflow = audited(plain())
    del workflow["22"]["inputs"]["control_bank"]  # on, where nothing is said
    record = report_of(mini_server.run(workflow))["control"]
    assert (record["source"], record["bank"]) == ("bank", load_bank().version)
    assert record["count"] >= 20
    assert {image["file"].partition("-")[0] for image in record["images"]} == set(record["kinds"])

    workflow["22"]["inputs"].update(control_folder=control, control_bank=True)
    assert report_of(mini_server.run(workflow))["control"]["source"] == "given"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"control_folder": "../.."}, "is not in ComfyUI's input folder"),
        ({"control_folder": "absent"}, "'absent' is not in ComfyUI's input folder"),
        ({"distance": "fidd"}, "fidd"),
    ],
)
def test_a_wrong_choice_is_refused_before_anything_runs(mini_server: Server, inputs: dict, message: str) -> None:
    workflow = audited(plain())
    del workflow["9"]  # the host would go on with an output that is right
    workflow["22"]["inputs"].update(inputs)
    status, answer = mini_server.post("/prompt", {"prompt": workflow})
    assert status == 400
    assert all(message in error["details"] for error in answer["node_errors"]["22"]["errors"])
