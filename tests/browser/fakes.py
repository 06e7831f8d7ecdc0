"""A report as the node sends it, made by the core from made-up features: what the front end draws, without a run."""

from __future__ import annotations

from typing import Any

import numpy as np
from reports import report_of

from copyscope_core.evaluation.evaluate import evaluate

RUN = "0123456789abcdef"
EVIL = '<img src=x onerror="window.hacked=1">'
PLAYERS: dict[str, tuple[str, str, float]] = {
    "artist-style-sd15": ("lora", "10", 0.9),
    "dreamshaper_8": ("checkpoint", "1", -0.35),
    f"prompt: {EVIL}": ("prompt", "4", 0.25),
}
"""Name → kind, node of the workflow quick-start, and how far it moves the images towards the reference."""


def report(intervals: bool = False) -> dict[str, Any]:
    """A report on the workflow quick-start; one player's name and a warning hold markup."""
    from workflow_models import api_workflow

    random = np.random.default_rng(3)
    noise = random.normal(size=(4, 16))
    features = {
        mask: noise + 2.0 - sum(step for bit, (_, _, step) in enumerate(PLAYERS.values()) if mask >> bit & 1)
        for mask in range(1 << len(PLAYERS))
    }
    made = report_of(
        evaluate(list(PLAYERS), features, random.normal(size=(6, 16))),
        players=[{"name": name, "kind": kind, "node": node} for name, (kind, node, _) in PLAYERS.items()],
        locked=[{"name": "vae", "kind": "vae", "node": "8", "reason": f"no baseline {EVIL}"}],
        seeds=range(4),
        workflow=api_workflow("quick-start"),
        warnings=[{"code": "note", "message": f"a note with {EVIL}"}],
    ).model_dump(mode="json")
    for player in made["players"]:
        low, high = player["shapley"] - 3.0, player["shapley"] + 2.0
        player["shapley_interval"] = [low, high] if intervals else None
    return made


def output(**options: Any) -> dict[str, Any]:
    """What the report node's ``ui`` brings to the front end."""
    files = [{"filename": "report.html", "subfolder": f"copyscope/{RUN}", "type": "output"}]
    return {"copyscope_report": [report(**options)], "copyscope_files": files}
