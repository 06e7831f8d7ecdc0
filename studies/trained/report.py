"""Tables from the figures of the games (games.jsonl, and games-1.jsonl of the second run)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from studies.planted.report import Hit, markdown, rate

Game = dict[str, Any]
FIGURES = tuple(Path(__file__).resolve().parent / name for name in ("games.jsonl", "games-1.jsonl"))
"""Of the first run and of the second."""
ERROR = 0.05
BASES = {"control": "works by others as control", "bank": "CopyScope's control bank", "none": "no control"}
METHODS = {
    "style": "Shapley of style, contrast (CopyScope)",
    "content": "Shapley of content, contrast (CopyScope)",
    "FID": "Shapley of FID alone (the paper)",
    "leave-one-out": "leave-one-out of FID, less the control's",
    "single": "single-component increment of FID, less the control's",
    "cosine": "Shapley of cosine likeness, less the control's",
    "colour histogram": "Shapley of colour histograms, less the control's",
    "dHash": "Shapley of dHash, less the control's",
    "SSIM": "Shapley of SSIM, less the control's",
}
GATES = {
    row["name"]: row["learned"] is not False and row["stored_nothing"]
    for row in json.loads(
        (Path(__file__).resolve().parents[2] / "tools" / "style_zoo" / "gates.json").read_text(encoding="utf-8")
    )
}


def passes(game: Game) -> bool:
    """Whether every culprit passed the zoo's gates."""
    parts = dict(zip(game["players"], game["parts"], strict=True))
    return all(GATES.get(parts[place]["name"], True) for place in game["culprits"])


GROUPS: dict[str, Callable[[Game], bool]] = {
    "one culprit, 2–4 components": lambda game: game["kind"] == "main" and passes(game),
    "one culprit, 5–6 components": lambda game: game["kind"] == "many" and passes(game),
    "the culprit at 0.4, a rival at 1.2": lambda game: game["kind"] == "loud" and passes(game),
    "a checkpoint, or its rival, is the culprit": lambda game: game["kind"] == "checkpoint" and passes(game),
    "a LoRA and its trigger word": lambda game: game["kind"] == "word" and passes(game),
    "two culprits": lambda game: game["kind"] == "two" and passes(game),
}


def verdict(game: Game, basis: str = "control", at: str | None = None) -> dict[str, Any]:
    """A game's verdict; ``at``: images/works, by default 16 (8 of casts that have no more) and 5."""
    found: dict[str, Any] = (game["results"][at or game["main"]] if basis == "control" else game[basis])["verdict"]
    return found


def right(game: Game, place: int | None) -> bool:
    """Whether the player at this place learned from the reference's artist."""
    return place is not None and game["players"][place] in game["culprits"]


def scored(games: Iterable[Game], basis: str, at: str | None = None) -> tuple[list[Hit], list[Hit]]:
    """Which games are decided, and which of those are right, with their units."""
    decided, correct = [], []
    for game in games:
        said = verdict(game, basis, at)
        decided.append((game["unit"], bool(said["decided"])))
        if said["decided"]:
            correct.append((game["unit"], right(game, said["first"])))
    return decided, correct


def figures_of(run: int) -> list[Game]:
    """The games of a run that were measured."""
    path = FIGURES[run]
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def verdict_table(games: list[Game]) -> str:
    """By kind of game and basis."""
    rows = []
    for label, chosen in [
        *GROUPS.items(),
        ("all of these", counts),
        ("a culprit that failed a gate", lambda game: game["kind"] in CULPRITS and not passes(game)),
    ]:
        for basis, name in BASES.items():
            decided, correct = scored(filter(chosen, games), basis)
            rows.append([label, name, rate(decided), rate(correct)])
    for basis, name in BASES.items():
        decided, _ = scored((game for game in games if game["kind"] == "none"), basis)
        rows.append(["nobody learned from the artist", name, rate(decided), "– (any is wrong)"])
    return markdown(["games", "basis", "decided", "right of those decided"], rows)


CULPRITS = ("main", "many", "loud", "checkpoint", "word", "two")


def counts(game: Game) -> bool:
    """Whether a game counts in the goals about culprits."""
    return game["kind"] in CULPRITS and passes(game)


def known_rates(games: list[Game], culprits: bool, basis: str) -> tuple[int, int, int]:
    """Games of the reported artists, decided verdicts, and right ones: what reports quote (report/rates.py)."""
    chosen = [game for game in games if not game["tunes"] and (counts(game) if culprits else game["kind"] == "none")]
    decided, correct = scored(chosen, basis)
    return len(decided), sum(hit for _, hit in decided), sum(hit for _, hit in correct)


def count_table(games: list[Game]) -> str:
    """Verdicts with a control by the number of images and works; each row has the games that have so many."""
    rows = []
    for images in (8, 16):
        for works in (1, 2, 5, 8):
            at = f"{images}/{works}"
            have = [game for game in games if at in game["results"]]
            decided, correct = scored(filter(counts, have), "control", at)
            nobody, _ = scored((game for game in have if game["kind"] == "none"), "control", at)
            rows.append([str(images), str(works), rate(decided), rate(correct), rate(nobody)])
    return markdown(
        ["images", "works", "decided", "right of those decided", "decided where nobody is the culprit"], rows
    )


def unit_table(games: list[Game]) -> str:
    """Verdicts with a control by artist and split, and how often each value function has a culprit first."""
    rows = []
    for unit in dict.fromkeys(game["unit"] for game in games):
        some = [game for game in games if game["unit"] == unit and game["kind"] in CULPRITS]
        nobody = [game for game in games if game["unit"] == unit and game["kind"] == "none"]
        decided, correct = scored(some, "control")
        wrong, _ = scored(nobody, "control")
        firsts = [f"{sum(_first(game, name)[1] for game in some)}/{len(some)}" for name in ("style", "content")]
        rows.append([unit, *(_count(hits) for hits in (decided, correct, wrong)), *firsts])
    return markdown(["unit", "decided", "right", "decided without a culprit", "style first", "content first"], rows)


def _count(hits: list[Hit]) -> str:
    return f"{sum(hit for _, hit in hits)}/{len(hits)}"


def values(game: Game, method: str) -> list[float]:
    """What a method says of each player."""
    result = game["results"][game["main"]]
    found: list[float] = result[method] if method in result else game["rivals"][method]
    return found


def _first(game: Game, method: str) -> Hit:
    phi = values(game, method)
    best = int(np.argmax(phi))
    return game["unit"], right(game, best) and phi.count(phi[best]) == 1


def first_table(games: list[Game]) -> str:
    """How often a culprit has the largest value, by method; below, what chance would give."""
    rows = []
    for method, label in METHODS.items():
        rows.append([label, *(rate(_first(g, method) for g in games if chosen(g)) for chosen in GROUPS.values())])
    chance = []
    for chosen in GROUPS.values():
        some = [len(game["culprits"]) / len(game["players"]) for game in games if chosen(game)]
        chance.append(f"{100 * float(np.mean(some)):.0f}%" if some else "–")
    rows.append(["chance", *chance])
    return markdown(["largest value", *GROUPS], rows)


def ladder_table(games: list[Game]) -> str:
    """Values against a LoRA's strength: the rank correlation."""
    rows = []
    ladders = [game for game in games if game["kind"] == "ladder"]
    for unit in dict.fromkeys(game["unit"] for game in ladders):
        steps = sorted((game["parts"][0]["strength"], game) for game in ladders if game["unit"] == unit)
        row = [unit]
        for method in ("FID", "content", "style"):
            phi = [values(game, method)[0] for _, game in steps]
            correlation = spearmanr([strength for strength, _ in steps], phi).statistic
            digits = " ".join(f"{value:.3g}" for value in phi)
            row.append(f"{'–' if math.isnan(correlation) else f'{correlation:.1f}'} ({digits})")
        rows.append(row)
    return markdown(["LoRA", "φ of FID at 0.25 0.5 0.75 1", "contrast of content", "contrast of style"], rows)


def interval_table(games: list[Game]) -> str:
    """How often intervals from 16 images hold what the 48 others give."""
    rows = []
    for name in ("content", "style"):
        hits = [
            (game["unit"], low <= whole <= high)
            for game in games
            for (low, high), whole in game.get("intervals", {}).get(name, [])
        ]
        rows.append([name, rate(hits)])
    return markdown(["contrast of", "intervals that hold the value"], rows)


def chance_table(games: list[Game]) -> str:
    """How sure style's contrast is, in the games that count and in which it has a culprit first."""
    rows = []
    for basis in ("control", "bank"):
        said = [verdict(game, basis)["said"]["style"] for game in filter(counts, games)]
        hits = [
            row
            for game, row in zip(filter(counts, games), said, strict=True)
            if right(game, row[0]) and None not in row
        ]
        medians = [f"{np.median([row[place] for row in hits]):.2f}" for place in (3, 4)]
        rows.append([BASES[basis], f"{len(hits)}/{len(said)}", *medians])
    return markdown(["basis", "culprit first", "median p, not above 0", "median p, not ahead"], rows)


def worst(games: list[Game]) -> str:
    """Every verdict with a control that is decided and wrong."""
    lines = []
    for game in games:
        said = verdict(game)
        if said["decided"] and not right(game, said["first"]) and game["kind"] not in ("ladder", "long"):
            named = game["parts"][said["first"]]
            lines.append(f"- {game['name']} ({game['kind']}): named {named['kind']} {named['name']}")
    return "\n".join(lines) or "None."


def _sure(said: list[Any]) -> bool:
    """Whether the first is told from 0 and from the second."""
    return all(chance is not None and chance < ERROR for chance in said[3:])


def content_sure(said: Mapping[str, Any]) -> bool:
    """The rule of the second run: both value functions name one component, and content is sure of it."""
    content, style = said["said"]["content"], said["said"]["style"]
    return bool(content[0] == style[0] and _sure(content))


def style_sure(said: Mapping[str, Any]) -> bool:
    """Style alone, whatever content says."""
    return _sure(said["said"]["style"])


RULES: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "as it is": lambda said: bool(said["decided"]),
    "both, content sure": content_sure,
    "style sure": style_sure,
}


def main_game(game: Game) -> bool:
    """One culprit among LoRAs."""
    return bool(game["kind"] == "main")


def nobody_game(game: Game) -> bool:
    """Nobody learned from the reference's artist."""
    return not game["culprits"]


def rule_tables(games: list[Game]) -> str:
    """The second run: each rule's verdicts, by basis and by the number of images."""
    rows = []
    for basis, name in BASES.items():
        for rule, decides in RULES.items():
            row = [name, rule]
            for chosen in (main_game, lambda game: game["culprits"] and not main_game(game), nobody_game):
                row += _ruled([(game, verdict(game, basis)) for game in filter(chosen, games)], decides)
            rows.append(row[:-1])
    counted = []
    for images in (8, 16, 32):
        for works in (1, 2, 5, 8):
            have = [game for game in games if f"{images}/{works}" in game["results"] and 32 in _images(game)]
            for rule, decides in RULES.items() if have else ():
                some = [(game, verdict(game, at=f"{images}/{works}")) for game in have]
                culprits = [item for item in some if item[0]["culprits"]]
                nobody = [item for item in some if not item[0]["culprits"]]
                counted.append([str(images), str(works), rule, *_ruled(culprits, decides), _ruled(nobody, decides)[0]])
    firsts = [[METHODS[name], rate(_first(game, name) for game in games if game["kind"] == "main")] for name in METHODS]
    chance = np.mean([1 / len(game["players"]) for game in games if game["kind"] == "main"])
    return "\n\n".join(
        (
            markdown(
                ["basis", "rule", "main: decided", "right", "copies, blends: decided", "right", "nobody: decided"], rows
            ),
            markdown(["images", "works", "rule", "decided", "right", "nobody: decided"], counted),
            markdown(["largest value", "main"], [*firsts, ["chance", f"{100 * chance:.0f}%"]]),
        )
    )


def _images(game: Game) -> set[int]:
    return {int(at.partition("/")[0]) for at in game["results"]}


def _ruled(said: list[tuple[Game, dict[str, Any]]], decides: Callable[[Mapping[str, Any]], bool]) -> list[str]:
    """How many are decided by a rule, and how many of those are right."""
    decided = [(game["unit"], decides(found)) for game, found in said]
    correct = [(game["unit"], right(game, found["said"]["style"][0])) for game, found in said if decides(found)]
    return [rate(decided), rate(correct)]


def tables(games: list[Game]) -> str:
    """Everything as Markdown: the reported artists, then the one that tuned."""
    parts = []
    for title, some in (
        ("Reported artists", [game for game in games if not game["tunes"]]),
        ("Hokusai (tuned)", [game for game in games if game["tunes"]]),
    ):
        kinds: dict[str, int] = {}
        for game in some:
            kinds[game["kind"]] = kinds.get(game["kind"], 0) + 1
        parts += [
            f"## {title}: {len(some)} games, {kinds}",
            verdict_table(some),
            count_table(some),
            first_table(some),
            unit_table(some),
            ladder_table(some),
            interval_table(some),
            chance_table(some),
            worst(some),
        ]
    return "\n\n".join(parts)
