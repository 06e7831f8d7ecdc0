"""A CLIP-vision model on the node CopyScope FID, on a real host."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hostutil import Server

from .audits import Workflow, audited, node, plain, report_of


def audit(server: Server, **model: Any) -> dict[str, Any]:
    """The report of an audit of one LoRA, with the features of a tiny model if one is described."""
    workflow: Workflow = audited(plain(), seeds=1, lock="prompt")
    if model:
        workflow["30"] = node("CopyScopeTestClipVision", clip_name="a model/tiny.safetensors", **model)
        workflow["22"]["inputs"]["clip_vision"] = ["30", 0]
    return report_of(server.run(workflow))


def fids(report: dict[str, Any]) -> list[float]:
    return [coalition["fid"] for coalition in report["coalitions"]]


@pytest.mark.parametrize(("kind", "size"), [("clip", 32), ("siglip", 32), ("dinov2", 518)])
def test_every_kind_that_the_host_loads_gives_features(mini_server: Server, kind: str, size: int) -> None:
    report = audit(mini_server, kind=kind, seed=1)
    name, _, *rest = report["preprocessing"].split(".")
    assert (name, rest) == ("a-model-tiny", [f"comfy-crop-{size}"])
    assert [w["code"] for w in report["warnings"]].count("other_features") == 1
    assert all(value > 0 for value in fids(report))
    assert report["players"][0]["shapley"] != 0


def test_features_of_different_models_never_mix(mini_server: Server) -> None:
    inception = audit(mini_server)
    first, second = (audit(mini_server, kind="clip", seed=seed) for seed in (1, 2))
    assert len({report["preprocessing"] for report in (inception, first, second)}) == 3
    assert fids(second) != pytest.approx(fids(first), rel=0.01)
    assert fids(inception) != pytest.approx(fids(first), rel=0.01)
    assert "other_features" not in [w["code"] for w in inception["warnings"]]
    assert fids(audit(mini_server, kind="clip", seed=1)) == fids(first)
    assert fids(audit(mini_server)) == fids(inception)


def test_what_is_no_model_is_refused(mini_server: Server) -> None:
    workflow = audited(plain(), seeds=1)
    del workflow["9"]
    workflow["22"]["inputs"]["clip_vision"] = ["4", 0]
    status, answer = mini_server.post("/prompt", {"prompt": workflow})
    assert status == 400
    assert "clip_vision" in json.dumps(answer["node_errors"]["22"])
