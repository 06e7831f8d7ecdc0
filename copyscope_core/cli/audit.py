"""``copyscope plan`` and ``copyscope audit``: what needs a workflow and a ComfyUI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .terminal import say, table, time_text


def print_plan(summary: Mapping[str, Any]) -> None:
    """Print a plan for a reader."""
    say(table(("player", "kind", "node", "when absent"), _rows(summary["players"], "absence")))
    if summary["locked"]:
        say("\n" + table(("locked", "kind", "node", "why"), _rows(summary["locked"], "reason")))
    if summary["unmeasured"]:
        rows = [(item["what"], item["class_type"], item["node"], item["reason"]) for item in summary["unmeasured"]]
        say("\n" + table(("unmeasured", "class", "node", "why"), rows))
    clip = summary["clip"]
    each = f"batch {summary['batch']}"
    if clip is not None:
        of = "" if clip["length"] is None else f" of {clip['length']}"
        each = f"{summary['batch']}{of} frames of a clip"
    at_most = summary["mode"] == "sampled" or summary["until_sure"] is not None
    say(
        f"\n{'At most ' if at_most else ''}{summary['coalitions']:,} coalitions × "
        f"{summary['seeds']} seeds × {each} = {summary['images']:,} images, from "
        f"{summary['sampler_runs']:,} distinct sampler runs."
    )
    if (sure := summary["until_sure"]) is not None:
        say(f"Until sure: a first look after {sure['first']:,} runs, and at most {sure['runs']:,} runs in all.")
    if summary["groups"]:
        say("Groups: " + "; ".join(f"{name} ({', '.join(of)})" for name, of in summary["groups"].items()))
    for twins in summary["twins"]:
        names = ", ".join(twins["players"])
        say(f"Copies of one model (cosine {twins['cosine']:.3f}): {names}; --group auto lets them join as one group.")
    rows = [
        (("→ " if cost["chosen"] else "  ") + cost["mode"], f"{cost['coalitions']:,}", f"{cost['images']:,}",
         f"{cost['sampler_runs']:,}")
        for cost in summary["modes"]
    ]  # fmt: skip
    say("\n" + table(("mode", "coalitions", "images", "sampler runs"), rows))
    say("\n" + _duration(summary["duration"]))
    for warning in summary["warnings"]:
        say(f"Warning: {warning}")


def _duration(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "How long it takes is not known: no stored run is of such a workflow; --probe runs one combination."
    by = (
        f"{found['measured']:,} such prompts stored in {found['where']}"
        if found["source"] == "stored"
        else f"a probe on {found['where']}"
    )
    return (
        f"About {time_text(found['seconds'])} for at most {found['prompts']:,} prompts, {found['each']:.1f} s each by "
        f"{by}; measuring the images comes on top."
    )


def _rows(items: list[dict[str, Any]], last: str) -> list[tuple[str, str, str, str]]:
    return [(item["name"], item["kind"], item["node"], item[last]) for item in items]
