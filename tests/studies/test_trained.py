"""Games with trained models: what they ask, that nobody saw the reference, and how verdicts are counted."""

from __future__ import annotations

from typing import Any

import pytest

from copyscope_core.planning.plan import make_plan
from copyscope_core.workflow.graph import parse_graph
from copyscope_core.workflow.node_info import bundled_catalog
from studies.trained.games import casts, control_works, games
from studies.trained.report import content_sure, ladder_table, scored, style_sure, verdict_table
from tools.style_zoo.pictures import splits, table

GAMES = [*games(), *games(1)]
ARTIST = {row["id"]: row["artist"] for row in table("works")["works"]}


def test_there_are_enough_games_of_every_kind_and_most_are_only_reported() -> None:
    reported = [game for game in games() if not game.cast.tunes]
    kinds = [game.kind for game in reported]
    assert len(reported) >= 150
    assert all(kinds.count(kind) for kind in ("main", "none", "two", "loud", "checkpoint", "word", "many", "ladder"))
    assert len({game.name for game in GAMES}) == len(GAMES)
    assert {len(game.players) for game in reported} == {2, 3, 4, 5, 6}


def test_no_component_saw_the_reference() -> None:
    known = splits()
    for game in GAMES:
        learned = {work for part in game.cast.parts for split in part.splits for work in known[split].train}
        assert game.works
        assert not learned & {*game.works, *control_works(game)}
        assert {ARTIST[work] for work in game.works} == {game.artist}


def test_culprits_learned_from_the_artist_and_the_control_did_not_come_from_anybody_in_it() -> None:
    for game in GAMES:
        for place in game.players:
            assert (place in game.culprits) == (game.artist in game.cast.parts[place].artists)
        people = {artist for part in game.cast.parts for artist in part.artists - {"control"}} | {game.artist}
        assert not people & {ARTIST[work] for work in control_works(game)}
        assert len(control_works(game)) >= 15


@pytest.mark.parametrize("cast", [*casts(), *casts(1)], ids=lambda cast: cast.name)
def test_players_of_a_plan_are_the_parts_of_the_cast(cast: Any) -> None:
    plan = make_plan(parse_graph(cast.workflow()), bundled_catalog(), cast.settings())
    assert sorted(player.kind for player in plan.players) == sorted(part.kind for part in cast.parts)
    assert plan.seeds == cast.images


def _game(unit: str, kind: str, decided: bool, first: int | None) -> dict[str, Any]:
    said = {"verdict": {"decided": decided, "first": first}}
    return {
        "unit": unit, "kind": kind, "players": [0, 2], "culprits": [2] if kind == "main" else [], "main": "16/5",
        "results": {"16/5": said}, "bank": said, "none": said, "parts": [{"name": "a", "strength": 1.0}] * 2,
    }  # fmt: skip


def test_only_the_culprit_counts_as_right_and_any_verdict_without_one_as_wrong() -> None:
    rows = [_game("a-1", "main", True, 1), _game("a-1", "main", True, 0), _game("b-1", "main", False, None)]
    decided, right = scored(rows, "control")
    assert decided == [("a-1", True), ("a-1", True), ("b-1", False)]
    assert right == [("a-1", True), ("a-1", False)]
    lines = verdict_table([*rows, _game("b-1", "none", True, 0)]).splitlines()
    assert "67%" in next(line for line in lines if line.startswith("| one culprit, 2–4"))
    assert "100%" in next(line for line in lines if line.startswith("| nobody learned"))


def test_the_second_run_has_other_images_and_orders_of_works() -> None:
    first, second = ({cast.workflow()["sampler"]["inputs"]["seed"] for cast in casts(run)} for run in (0, 1))
    assert not first & second
    assert {game.kind for game in games(1)} == {"main", "none", "copy", "blend"}
    assert {cast.images for cast in casts(1)} == {16, 32}
    orders = [{(game.cast.unit, game.artist): game.works for game in games(run)} for run in (0, 1)]
    both = orders[0].keys() & orders[1].keys()
    assert both and sum(orders[0][key] == orders[1][key] for key in both) < len(both) / 4


def test_a_rule_decides_by_what_it_is_sure_of() -> None:
    def said(content: list[Any], style: list[Any]) -> dict[str, Any]:
        return {"decided": False, "said": {"content": content, "style": style}}

    sure, unsure = [0, 1.0, None, 0.01, 0.04], [0, 1.0, None, 0.01, 0.06]
    assert content_sure(said(sure, unsure)) and not content_sure(said(unsure, sure))
    assert not content_sure(said(sure, [1, *sure[1:]]))
    assert style_sure(said([1, *unsure[1:]], sure)) and not style_sure(said(sure, unsure))
    assert not style_sure(said(sure, [0, 1.0, None, None, None]))


def test_a_ladder_is_ranked_by_its_own_steps() -> None:
    rows = []
    for strength, value in ((1.0, 9.0), (0.25, 1.0), (0.75, 2.0), (0.5, 4.0)):
        row = _game("a-1", "ladder", False, None)
        row["parts"] = [{"name": "a", "strength": strength}]
        row["results"]["16/5"] |= {name: [value, 0.0] for name in ("FID", "content", "style")}
        rows.append(row)
    assert "0.8 (1 4 2 9)" in ladder_table(rows)
