"""Tables and charts from the figures of planted games."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import beta, spearmanr, t

Game = dict[str, Any]
METHODS = {
    "fid": "Shapley of FID (CopyScope)",
    "kid": "Shapley of KID (CopyScope)",
    "contrast": "contrast of content (CopyScope, with a control)",
    "style": "contrast of style (CopyScope, with a control)",
    "leave-one-out": "leave-one-out of FID",
    "single": "single-component increment of FID",
    "cosine": "Shapley of cosine likeness",
    "histogram": "Shapley of colour histogram",
    "dHash": "Shapley of dHash",
    "SSIM": "Shapley of SSIM",
}
KINDS = {"single": "one culprit, 2–3 players", "large": "one culprit, 4–5 players"}
GROUPS = [(kind, split) for kind in ("soft", "sharp") for split in ("carried", "held out")]


Hit = tuple[str, bool]
"""The cast of a game, and whether it counts."""


def share_interval(hits: list[Hit]) -> tuple[float, float]:
    """The 95% interval of a share of games; games of one cast share images, so casts are clusters.

    Korn and Graubard (1998): Clopper and Pearson's interval at the effective number of games, which is the number
    divided by the design effect (at least 1) and corrected for the degrees of freedom of the casts.
    """
    clusters: dict[str, list[bool]] = {}
    for cast, hit in hits:
        clusters.setdefault(cast, []).append(hit)
    count, casts, share = len(hits), len(clusters), sum(hit for _, hit in hits) / len(hits)
    if casts < 2:
        return 0.0, 1.0
    residues = np.array([sum(found) - share * len(found) for found in clusters.values()])
    variance = casts / (casts - 1) * float(residues @ residues) / count**2
    alone = share * (1 - share) / (count - 1)
    effect = max(1.0, variance / alone) if alone else 1.0
    size = count / effect * (t.ppf(0.975, count - 1) / t.ppf(0.975, casts - 1)) ** 2
    low = float(beta.ppf(0.025, share * size, size - share * size + 1)) if share else 0.0
    high = float(beta.ppf(0.975, share * size + 1, size - share * size)) if share < 1 else 1.0
    return low, high


def rate(hits: Iterable[Hit]) -> str:
    """A share of games with its 95% interval, where there is more than one cast."""
    found = list(hits)
    if not found:
        return "–"
    low, high = share_interval(found)
    number = sum(hit for _, hit in found)
    ends = "" if (low, high) == (0, 1) else f"{100 * low:.0f}–{100 * high:.0f}; "
    return f"{100 * number / len(found):.0f}% ({ends}{number}/{len(found)})"


def figures(game: Game, reference: str, count: int | None = None) -> dict[str, Any] | None:
    """A game's figures at ``count`` images a coalition; None: as many as there are."""
    found: dict[str, Any] = game["results"][reference]
    chosen: dict[str, Any] | None = found.get(str(count or game["images"]))
    return chosen


def culprit_first(game: Game, phi: list[float]) -> Hit:
    """Whether the one culprit has the largest value, alone."""
    best = int(np.argmax(phi))
    return game["cast"], game["planted"][best] > 0 and phi.count(phi[best]) == 1


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def first_table(games: list[Game], kind: str) -> str:
    """How often the culprit has the largest value, by method and reference."""
    rows = []
    for method, label in METHODS.items():
        row = [label]
        for reference, split in GROUPS:
            chosen = [game for game in games if game["kind"] == kind and game["split"] == split]
            row.append(rate(culprit_first(game, figures(game, reference)[method]) for game in chosen))  # type: ignore[index]
        rows.append(row)
    return markdown([KINDS[kind], *(f"{split}, {reference}" for reference, split in GROUPS)], rows)


def count_table(games: list[Game]) -> str:
    """The same by the number of images, for the same games."""
    rows = []
    most = max(game["images"] for game in games if game["kind"] == "single")
    chosen = [game for game in games if game["kind"] == "single" and game["images"] == most]
    for count in [n for n in (4, 8, 16, 32) if n <= most]:
        for method in ("fid", "kid", "contrast", "style"):
            row = [str(count), METHODS[method]]
            for reference, split in GROUPS:
                found = [(game, figures(game, reference, count)) for game in chosen if game["split"] == split]
                row.append(rate(culprit_first(game, f[method]) for game, f in found if f and f[method]))
            rows.append(row)
    return markdown(["images", "value", *(f"{split}, {reference}" for reference, split in GROUPS)], rows)


def cast_table(games: list[Game], reference: str = "soft") -> str:
    """The same by what the culprit is."""
    rows = []
    chosen = [game for game in games if game["kind"] in KINDS]
    keys = sorted({(_culprit(game), game["split"]) for game in chosen})
    for what, split in keys:
        some = [game for game in chosen if (_culprit(game), game["split"]) == (what, split)]
        row = [what, split]
        for method in ("fid", "kid", "contrast", "style"):
            row.append(rate(culprit_first(game, figures(game, reference)[method]) for game in some))  # type: ignore[index]
        rows.append(row)
    return markdown(["culprit", "reference", "FID", "KID", "contrast", "style"], rows)


def _culprit(game: Game) -> str:
    part = game["parts"][int(np.argmax(game["planted"]))]
    if part["kind"] != "lora":
        return f"{part['kind']} ({part['artist']})"
    return f"LoRA {part['name'].removeprefix('copyscope-zoo-')} at {part['strength']}"


def verdict_table(games: list[Game], count: int | None = None) -> str:
    """Verdicts: how many are decided, and how many of those name a culprit, by control and reference.

    A culprit is right where there are two. Below, the same for what one value function would decide alone.
    """
    rows = []
    for basis, label in (("control", "other artists' works"), ("bank", "the bank"), ("none", "no control")):
        for who in ("verdict", "content", "style"):
            for reference, split in GROUPS:
                found = []
                for game in games:
                    figure = figures(game, reference, count)
                    if game["kind"] != "ladder" and game["split"] == split and figure:
                        found.append((game, figure["verdicts"][basis]))
                said = [(game, *_named(verdict, who)) for game, verdict in found]
                named = [(game["cast"], game["planted"][first] > 0) for game, decided, first in said if decided]
                decided = rate((game["cast"], decided) for game, decided, _ in said)
                rows.append([label, who, f"{split}, {reference}", decided, rate(named)])
    return markdown(["control", "by", "reference", "decided", "right of those decided"], rows)


def rates(
    games: list[Game], split: str, control: str, count: int = 16, reference: str = "soft"
) -> tuple[int, int, int]:
    """Games, decided verdicts, and those that name a culprit: what reports quote (copyscope_core/report/rates.py)."""
    verdicts = [
        (game["planted"], figure["verdicts"][control])
        for game in games
        if game["kind"] != "ladder" and game["split"] == split and (figure := figures(game, reference, count))
    ]
    named = [planted[verdict["first"]] > 0 for planted, verdict in verdicts if verdict["decided"]]
    return len(verdicts), len(named), sum(named)


def _named(verdict: dict[str, Any], who: str) -> tuple[bool, int]:
    """Whether it is decided, and the place of the first: by the verdict, or by one value function alone."""
    if who == "verdict":
        return bool(verdict["decided"]), int(verdict["first"] or 0)
    first, estimate, _, above, ahead = verdict["said"][who]
    sure = above is not None and estimate > 0 and max(above, ahead or 0.0) <= 0.05
    return sure, int(first)


def innocent_table(games: list[Game]) -> str:
    """How often an innocent's interval leaves 0 out, above it or below it."""
    rows = []
    for reference in ("soft", "sharp"):
        for name in ("fid", "kid"):
            ends = []
            for game in (game for game in games if game["kind"] in KINDS):
                found = figures(game, reference)
                if not found or not found[f"{name}_interval"]:
                    continue
                ends += [
                    (game["cast"], *end)
                    for end, planted, part in zip(
                        found[f"{name}_interval"], game["planted"], game["parts"], strict=True
                    )
                    if not planted and part["role"] != "none"
                ]
            above = rate((cast, low > 0) for cast, low, _ in ends)
            below = rate((cast, high < 0) for cast, _, high in ends)
            rows.append([reference, name.upper(), above, below])
    return markdown(["reference", "value", "innocent's interval above 0", "below 0"], rows)


def rank_table(games: list[Game]) -> str:
    """Mean rank correlation of the values with the planted strengths."""
    rows = []
    for method, label in METHODS.items():
        row = [label]
        for reference in ("soft", "sharp"):
            for kinds in (("single", "large"), ("two",)):
                found = []
                for game in (game for game in games if game["kind"] in kinds):
                    phi = figures(game, reference)[method]  # type: ignore[index]
                    value = 0.0 if len(set(phi)) == 1 else float(spearmanr(game["planted"], phi).statistic)
                    found.append(value)
                row.append(f"{np.mean(found):.2f}" if found else "–")
        rows.append(row)
    return markdown(["value", "soft, one culprit", "soft, two", "sharp, one culprit", "sharp, two"], rows)


def copy_lines(games: list[Game]) -> str:
    """How near two copies of a LoRA come."""
    found = [
        (game["cast"], *f["copy"])
        for game in games
        for kind in ("soft", "sharp")
        if (f := figures(game, kind)) and "copy" in f
    ]
    if not found:
        return "no game holds both copies"
    held = rate((cast, low <= 0 <= high) for cast, low, high, _ in found)
    largest = max(abs(gap) for *_, gap in found)
    return f"interval of the difference holds 0: {held}; largest difference {largest:.3g} FID points"


def two_lines(games: list[Game]) -> str:
    """How often both culprits come before every innocent."""
    rows = []
    for reference in ("soft", "sharp"):
        hits = []
        for game in (game for game in games if game["kind"] == "two"):
            phi = np.array(figures(game, reference)["fid"])  # type: ignore[index]
            planted = np.array(game["planted"]) > 0
            hits.append((game["cast"], bool(phi[planted].min() > phi[~planted].max())))
        rows.append(f"{reference}: {rate(hits)}")
    return "; ".join(rows)


def ladder_rows(games: list[Game], reference: str) -> dict[str, list[tuple[float, float, list[float] | None]]]:
    """Artist → (strength, φ, interval), in ascending order of strength."""
    found: dict[str, list[tuple[float, float, list[float] | None]]] = {}
    for game in (game for game in games if game["kind"] == "ladder"):
        i = int(np.argmax(game["planted"]))
        f = figures(game, reference)
        if f:
            ends = f["fid_interval"][i] if f["fid_interval"] else None
            name = game["parts"][i]["name"].removeprefix("copyscope-zoo-")
            found.setdefault(name, []).append((game["planted"][i], f["fid"][i], ends))
    return {name: sorted(rows, key=lambda row: row[0]) for name, rows in found.items()}


def ladder_table(games: list[Game]) -> str:
    """φ against a LoRA's strength."""
    rows = []
    for reference in ("soft", "sharp"):
        for name, steps in ladder_rows(games, reference).items():
            correlation = spearmanr([s for s, _, _ in steps], [phi for _, phi, _ in steps]).statistic
            values = " ".join(f"{phi:.0f}" for _, phi, _ in steps)
            rows.append([name, reference, values, "–" if math.isnan(correlation) else f"{correlation:.2f}"])
    return markdown(["LoRA", "reference", "φ at 0.2 0.4 0.6 0.8 1.0", "rank correlation"], rows)


def tables(games: list[Game]) -> str:
    """Everything as Markdown."""
    count = {kind: sum(game["kind"] == kind for game in games) for kind in (*KINDS, "two", "ladder")}
    return "\n\n".join(
        [
            f"Games: {count}. Images a coalition: {sorted({game['images'] for game in games})}.",
            "### Culprit has the largest value",
            first_table(games, "single"),
            first_table(games, "large"),
            "### By the number of images",
            count_table(games),
            "### Verdicts",
            verdict_table(games),
            "### By culprit (soft reference)",
            cast_table(games),
            "### Innocent players",
            innocent_table(games),
            "### Rank correlation with the planted strengths",
            rank_table(games),
            "### Copies, two culprits, strength",
            f"Copies: {copy_lines(games)}.",
            f"Both culprits before every innocent: {two_lines(games)}.",
            ladder_table(games),
        ]
    )


def charts(games: list[Game], out: Path) -> None:
    """``planted-methods.svg`` and ``planted-strength.svg``."""
    out.mkdir(parents=True, exist_ok=True)
    plt.rcParams["svg.hashsalt"] = "copyscope"
    singles = [game for game in games if game["kind"] in KINDS]
    figure, axis = plt.subplots(figsize=(8, 4.2))
    for place, (reference, split) in enumerate(GROUPS):
        shares, low, high = [], [], []
        for method in METHODS:
            hits = [
                culprit_first(g, figures(g, reference)[method])  # type: ignore[index]
                for g in singles
                if g["split"] == split
            ]
            ends = share_interval(hits)
            shares.append(100 * sum(hit for _, hit in hits) / len(hits))
            low.append(shares[-1] - 100 * ends[0])
            high.append(100 * ends[1] - shares[-1])
        y = np.arange(len(METHODS)) + (place - 1.5) * 0.2
        axis.errorbar(shares, y, xerr=[low, high], fmt="o", label=f"{split}, {reference} reference")
    axis.set_yticks(range(len(METHODS)), list(METHODS))
    axis.invert_yaxis()
    axis.axvline(95, color="grey", linestyle=":")
    axis.set_xlabel("games in which the culprit has the largest value, % (95% interval)")
    axis.legend(fontsize="small", ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    _save(figure, out / "planted-methods.svg")
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True)
    for axis, reference in zip(axes, ("soft", "sharp"), strict=True):
        for name, steps in ladder_rows(games, reference).items():
            phi = np.array([value for _, value, _ in steps])
            ends = np.array([end or (value, value) for _, value, end in steps])
            axis.errorbar([s for s, _, _ in steps], phi, yerr=np.abs(ends.T - phi), marker="o", capsize=2, label=name)
        axis.axhline(0, color="grey", linewidth=0.8)
        axis.set_title(f"{reference} reference")
        axis.set_xlabel("strength of the LoRA")
    axes[0].set_ylabel("φ, FID points")
    axes[0].legend(fontsize="small")
    _save(figure, out / "planted-strength.svg")


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
