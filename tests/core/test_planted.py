"""Planted games: drawn by seed, what they ask of a workflow, and how they are counted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from planted_games import HELD_OUT, LARGE, SINGLE, WORKS, ZOO, draw_games

from copyscope_core.graph import parse_graph
from copyscope_core.miniature import FAMILIES
from copyscope_core.node_info import bundled_catalog
from copyscope_core.plan import make_plan


def test_games_follow_from_the_seed() -> None:
    games = draw_games(0)
    assert games == draw_games(0)
    assert games != draw_games(1)
    assert sum(game.kind == "single" for game in games) == SINGLE >= 100
    assert sum(game.kind == "large" for game in games) == LARGE >= 20
    assert len({game.name for game in games}) == len(games)


@pytest.mark.parametrize("seed", range(3))
def test_a_game_has_a_culprit_and_an_innocent(seed: int) -> None:
    for game in draw_games(seed):
        planted = game.planted
        assert 0 < sum(strength > 0 for strength in planted) < len(planted)
        assert {part.name for part, strength in zip(game.parts, planted, strict=True) if strength} != {ZOO}
        if game.split == "held out":
            fitted = {
                f"{part.artist}/{work}" for i in game.culprits for part in [game.cast.parts[i]] for work in part.carried
            }
            assert not fitted & set(game.works)


def test_players_of_a_plan_are_the_players_of_the_game() -> None:
    for game in draw_games(0):
        plan = make_plan(parse_graph(game.workflow()), bundled_catalog(), game.settings(4))
        assert len(plan.players) == len(game.players)
        assert {p.files[0].removesuffix(".safetensors") for p in plan.players if p.kind == "lora"} == {
            part.name for part in game.parts if part.kind == "lora"
        }


def test_works_and_loras_exist() -> None:
    samples = Path(__file__).resolve().parents[2] / "samples" / "reference"
    assert all((samples / artist / f"{work}.jpg").is_file() for artist, works in WORKS.items() for work in works)
    files = FAMILIES["zoo"] | FAMILIES["zoo-splits"]
    assert all(f"loras/copyscope-zoo-{name}.safetensors" in files for name in HELD_OUT)
