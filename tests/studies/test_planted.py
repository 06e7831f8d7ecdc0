"""Planted games: drawn by seed, what they ask of a workflow, and how they are counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from copyscope_core.demo.models import FAMILIES
from copyscope_core.planning.plan import make_plan
from copyscope_core.workflow.graph import parse_graph
from copyscope_core.workflow.node_info import bundled_catalog
from studies.planted.games import HELD_OUT, LARGE, SINGLE, WORKS, ZOO, draw_games


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


def test_games_of_many_players() -> None:
    from studies.planted.many import PLAYERS, TABLES, draw_workflows

    for game in draw_workflows(3):
        plan = make_plan(parse_graph(game.workflow()), bundled_catalog(), game.settings(1))
        assert (len(plan.players), plan.batch, len(plan.design.masks)) == (PLAYERS, 4, 256)
        assert len({part.artist for part in game.parts}) == PLAYERS
    rows = json.loads(TABLES.read_text(encoding="utf-8"))
    assert len(rows) >= 50
    assert all(len(row["values"]) == 2 ** row["players"] and row["values"][0] == 0 for row in rows)
    assert len({tuple(row["values"]) for row in rows}) == len(rows)


def test_counting() -> None:
    pytest.importorskip("matplotlib")
    from scipy.stats import binomtest

    from studies.planted.report import culprit_first, rate, share_interval, tables

    game = {"planted": [0.0, 0.8], "cast": "none"}
    assert [culprit_first(game, phi) for phi in ([1.0, 2.0], [2.0, 1.0], [2.0, 2.0])] == [
        ("none", True),
        ("none", False),
        ("none", False),
    ]
    alone = [(str(cast), cast < 9) for cast in range(10)]
    clopper_pearson = binomtest(9, 10).proportion_ci(method="exact")
    assert share_interval(alone) == pytest.approx((clopper_pearson.low, clopper_pearson.high))
    assert rate(alone) == "90% (55–100; 9/10)"
    twice = share_interval(alone * 2)  # a second game of each cast that says the same says nothing new
    assert twice[0] < clopper_pearson.low
    assert twice[1] >= clopper_pearson.high
    assert rate([("none", True), ("none", False)]) == "50% (1/2)"
    figures = Path(__file__).resolve().parents[2] / "studies" / "planted" / "planted.json"
    games = json.loads(figures.read_text(encoding="utf-8"))["games"]
    page = (figures.parents[2] / "docs" / "trust.md").read_text(encoding="utf-8")
    first = tables(games).split("### By the number of images")[0]
    assert all(line.partition(" | ")[2] in page for line in first.splitlines() if "%" in line)


def test_no_effect_and_the_sum_are_checked() -> None:
    pytest.importorskip("imagehash")
    pytest.importorskip("skimage")
    import numpy as np

    from copyscope_core.errors import GameError
    from copyscope_core.evaluation.evaluate import evaluate
    from studies.planted.measure import check

    rng = np.random.default_rng(0)
    found = evaluate(["a", "b"], {mask: rng.normal(size=(4, 8)) for mask in range(4)}, rng.normal(size=(3, 8)))
    check(found, ["", ""])
    with pytest.raises(GameError, match="has no effect"):
        check(found, ["", "none"])
