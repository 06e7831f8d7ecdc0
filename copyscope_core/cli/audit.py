"""``copyscope plan`` and ``copyscope audit``: what needs a workflow and a ComfyUI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .terminal import say, table


def print_plan(summary: Mapping[str, Any]) -> None:
    """Print a plan for a reader."""
    say(table(("player", "kind", "node", "when absent"), _rows(summary["players"], "absence")))
    if summary["locked"]:
        say("\n" + table(("locked", "kind", "node", "why"), _rows(summary["locked"], "reason")))
    if summary["unmeasured"]:
        rows = [(item["what"], item["class_type"], item["node"], item["reason"]) for item in summary["unmeasured"]]
        say("\n" + table(("unmeasured", "class", "node", "why"), rows))
    say(
        f"\n{'At most ' if summary['mode'] == 'sampled' else ''}{summary['coalitions']:,} coalitions × "
        f"{summary['seeds']} seeds × batch {summary['batch']} = {summary['images']:,} images, from "
        f"{summary['sampler_runs']:,} distinct sampler runs."
    )
    if summary["groups"]:
        say("Groups: " + "; ".join(f"{name} ({', '.join(of)})" for name, of in summary["groups"].items()))
    rows = [
        (("→ " if cost["chosen"] else "  ") + cost["mode"], f"{cost['coalitions']:,}", f"{cost['images']:,}",
         f"{cost['sampler_runs']:,}")
        for cost in summary["modes"]
    ]  # fmt: skip
    say("\n" + table(("mode", "coalitions", "images", "sampler runs"), rows))
    for warning in summary["warnings"]:
        say(f"Warning: {warning}")


def _rows(items: list[dict[str, Any]], last: str) -> list[tuple[str, str, str, str]]:
    return [(item["name"], item["kind"], item["node"], item[last]) for item in items]
