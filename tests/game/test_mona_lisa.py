"""The paper's Mona Lisa table: what its complete sub-games give, and how its published row came about.

The figures are those of the authors' repository (JunLei01/diffusion_shapley_value, MIT); docs/mona-lisa.md tells the
story in words, with the numbers that are checked here.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from copyscope_core.errors import GameError
from copyscope_core.game.shapley import ablation, leave_one_out, shapley_values, shares
from copyscope_core.game.table import Game, parse_game

BASE = 310.18
"""FID of SDv1-5 alone."""

FID: Mapping[tuple[str, ...], float] = {
    (): BASE,
    ("Depth",): 289.24,
    ("Depth", "Davinci"): 239.17,
    ("Depth", "Davinci", "MonaLisa"): 233.21,
    ("Depth", "Davinci", "MonaLisa", "Leonardo"): 220.40,
    ("Davinci",): 265.01,
    ("Davinci", "MonaLisa"): 241.18,
    ("Davinci", "MonaLisa", "Leonardo"): 275.92,
    ("MonaLisa",): 336.24,
    ("Leonardo",): 307.06,
    ("SDMv10",): 320.48,
    ("SDMv10", "Depth", "Davinci"): 209.06,
    ("SDMv10", "Depth", "Davinci", "MonaLisa"): 212.13,
    ("SDMv10", "Depth", "Davinci", "MonaLisa", "Leonardo"): 184.69,
}
"""Alliance → FID, in the order in which the authors list the members; SDv1-5 is in every alliance without SDMv10."""

PUBLISHED = {"SDMv10": -0.0354, "Depth": 0.2823, "Davinci": 0.4847, "MonaLisa": 0.1173, "Leonardo": 0.0806}
PUBLISHED_RAW = {"SDMv10": 10.2852, "Depth": -82.1047, "Davinci": -140.8450, "MonaLisa": -34.1030, "Leonardo": -23.4408}
"""result/result_data/shapely_FID.json of the authors' repository, before it is negated and divided by Σ|·|."""

PUBLISHED_LOO = {"SDMv10": 0.4546, "Depth": 0.0056, "Davinci": -0.3308, "MonaLisa": -0.0803, "Leonardo": 0.1285}
PUBLISHED_ABLATION = {"Davinci": 310.7, "Depth": 259.6, "MonaLisa": 214.3, "Leonardo": 204.1, "SDMv10": 181.7}


def sub_game(players: Sequence[str]) -> Game:
    """v(S) = d²(∅) − d²(S) over the alliances of these players, as far as the table has them."""
    rows = [
        {"members": list(alliance), "value": BASE - fid}
        for alliance, fid in FID.items()
        if set(alliance) <= set(players)
    ]
    return parse_game({"players": list(players), "coalitions": rows})


def test_davinci_and_mona_lisa() -> None:
    """Over SDv1-5 the phrase "mona_lisa" contributes nothing: its two marginals, −26.06 and +23.83, cancel."""
    game = sub_game(["Davinci", "MonaLisa"])
    assert game.values == pytest.approx([0.0, 45.17, -26.06, 69.00])
    phi = shapley_values(game.values)
    assert phi == pytest.approx([70.115, -1.115])
    assert phi.sum() == pytest.approx(BASE - 241.18)
    share = shares(phi)
    assert share is not None
    assert share == pytest.approx([0.9843, -0.0157], abs=5e-5)
    assert leave_one_out(game.values) == pytest.approx([95.06, 23.83])
    assert ablation(BASE - game.values) == pytest.approx([(BASE + 336.24) / 2, (BASE + 265.01) / 2])


def test_depth_and_davinci() -> None:
    game = sub_game(["Depth", "Davinci"])
    assert game.values == pytest.approx([0.0, 20.94, 45.17, 71.01])
    phi = shapley_values(game.values)
    assert phi == pytest.approx([23.39, 47.62])
    share = shares(phi)
    assert share is not None
    assert share == pytest.approx([0.3294, 0.6706], abs=5e-5)
    assert leave_one_out(game.values) == pytest.approx([25.84, 50.07])


def test_three_players_are_refused_with_the_two_missing_coalitions() -> None:
    with pytest.raises(GameError) as caught:
        sub_game(["Davinci", "MonaLisa", "Leonardo"])
    assert "lacks 2 of 8 coalitions: {Davinci, Leonardo}, {MonaLisa, Leonardo};" in str(caught.value)


def test_all_five_are_refused() -> None:
    with pytest.raises(GameError, match="lacks 18 of 32 coalitions"):
        sub_game(list(PUBLISHED))


def test_no_other_game_of_two_or_more_players_is_complete() -> None:
    complete = []
    for size in (2, 3, 4, 5):
        for players in itertools.combinations(PUBLISHED, size):
            try:
                sub_game(players)
            except GameError:
                continue
            complete.append(set(players))
    assert complete == [{"Depth", "Davinci"}, {"Davinci", "MonaLisa"}]


def test_the_base_model_over_depth_and_davinci_taken_together() -> None:
    """With Depth+Davinci as one player, a game with the replaced base model is complete: SDMv10 then contributes."""
    both = ("Depth", "Davinci")
    v = BASE - np.array([BASE, FID[("SDMv10",)], FID[both], FID[("SDMv10", *both)]])
    assert shapley_values(v) == pytest.approx([9.905, 91.215])


def dividends(alliances: Mapping[tuple[str, ...], float]) -> dict[str, float]:
    """What the authors' code computes: each alliance's FID change, divided equally among its members, and added up.

    ``v_function`` there adds the changes of all measured subsets, so that it takes them for Harsanyi dividends; the
    Shapley value of such a sum is Σ_{T∋i} u(T)/|T|. An unmeasured alliance adds nothing, that is, counts as 0.
    """
    players = {name for alliance in alliances for name in alliance}
    return {
        player: sum((fid - BASE) / len(alliance) for alliance, fid in alliances.items() if player in alliance)
        for player in players
    }


def found_by_the_published_code() -> dict[tuple[str, ...], float]:
    """The alliances that its lookup finds: keys are joined as listed, but looked up with their members sorted."""
    key = {
        "SDMv10": "stablydiffusedsMagnum__ v10",
        "Depth": "controlNet",
        "Davinci": "da Leonardo da vinci",
        "MonaLisa": "mona_lisa",
        "Leonardo": "Lora:wjqLeonardo:1",
    }
    return {
        alliance: fid
        for alliance, fid in FID.items()
        if alliance and [key[name] for name in alliance] == sorted(key[name] for name in alliance)
    }


def test_how_the_published_row_came_about() -> None:
    found = found_by_the_published_code()
    assert set(found) == {
        ("Depth",),
        ("Depth", "Davinci"),
        ("Depth", "Davinci", "MonaLisa"),
        ("Davinci",),
        ("Davinci", "MonaLisa"),
        ("MonaLisa",),
        ("Leonardo",),
        ("SDMv10",),
    }
    raw = dividends(found)
    for name in ("SDMv10", "Depth", "Davinci", "MonaLisa"):
        assert raw[name] == pytest.approx(PUBLISHED_RAW[name], abs=0.05)
    # Leonardo's LoRA enters by itself alone, and not with the table's FID (307.06), but with 286.74.
    assert raw["Leonardo"] == pytest.approx(307.06 - BASE)
    assert PUBLISHED_RAW["Leonardo"] == pytest.approx(286.74 - BASE, abs=0.01)


def test_the_published_row_is_that_normalised() -> None:
    total = sum(map(abs, PUBLISHED_RAW.values()))
    for name, value in PUBLISHED_RAW.items():
        assert -value / total == pytest.approx(PUBLISHED[name], abs=5e-4)
    # and it does not add up to the change that all components make together, as Shapley values must
    assert -sum(PUBLISHED_RAW.values()) == pytest.approx(270.2, abs=0.1)
    assert BASE - FID[("SDMv10", "Depth", "Davinci", "MonaLisa", "Leonardo")] == pytest.approx(125.49)


def test_the_published_row_contradicts_the_true_sub_game() -> None:
    """It gives MonaLisa a tenth of everything with a positive sign; the measured sub-game gives it −1.6%."""
    share = shares(shapley_values(sub_game(["Davinci", "MonaLisa"]).values))
    assert share is not None
    assert PUBLISHED["MonaLisa"] > 0.1
    assert share[1] < 0
    joins = [alliance for alliance in FID if "MonaLisa" in alliance and "Leonardo" not in alliance]
    steps = [FID[tuple(name for name in alliance if name != "MonaLisa")] - FID[alliance] for alliance in joins]
    assert sorted(steps) == pytest.approx([-26.06, -3.07, 5.96, 23.83])


def test_the_published_ablation_ranks_as_the_published_row() -> None:
    def ranks(row: Mapping[str, float]) -> list[str]:
        return sorted(row, key=lambda name: -row[name])

    assert ranks(PUBLISHED) == ranks(PUBLISHED_ABLATION) == ["Davinci", "Depth", "MonaLisa", "Leonardo", "SDMv10"]


def test_published_leave_one_out_mixes_two_signs() -> None:
    """Removals are counted as −(FID without − FID with all), the replacement of the base as the FID that it lowers."""
    whole, replaced = 246.351725, 180.413378
    without = {"Depth": 245.534335, "Davinci": 294.336787, "MonaLisa": 258.003671, "Leonardo": 227.704668}
    raw = {name: whole - fid for name, fid in without.items()} | {"SDMv10": whole - replaced}
    total = sum(map(abs, raw.values()))
    for name, value in raw.items():
        assert value / total == pytest.approx(PUBLISHED_LOO[name], abs=1e-4)
    # The same alliance, SDv1-5 with all four, stands in the table with another FID.
    assert FID[("Depth", "Davinci", "MonaLisa", "Leonardo")] == 220.40
