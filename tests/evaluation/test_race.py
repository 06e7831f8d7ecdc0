"""An audit that runs until it is sure: its rounds, its budget, and players that are set aside."""

from __future__ import annotations

import numpy as np
import pytest

from copyscope_core.errors import GameError
from copyscope_core.evaluation.evaluate import Evaluation, evaluate
from copyscope_core.evaluation.looks import seed_looks
from copyscope_core.evaluation.race import Aside, Race, with_effect
from copyscope_core.game.choose import smallest_sample
from copyscope_core.game.design import Exact

OWN = np.random.default_rng(5).normal(size=(64, 32, 6))
"""What differs between coalitions by chance: coalition, seed, feature."""


def look(race: Race, moves: tuple[float, ...], idle: int = 0, noise: float = 1.0) -> Evaluation:
    """The evaluation of a race's size: players move the images by ``moves``; those of ``idle`` change no pixel."""
    design, seeds = race.size.design, race.size.seeds
    n = design.n
    features = {}
    for mask in design.masks:
        own = mask & ~idle
        shift = sum(moves[i] for i in range(n) if own >> i & 1)
        features[mask] = 4.0 + noise * OWN[own, :seeds] - shift
    return evaluate(
        [f"p{i}" for i in range(n)],
        features,
        np.zeros((1, 6)),
        {mask: [f"{mask & ~idle} {seed}" for seed in range(seeds)] for mask in design.masks},
        seeds={mask: list(range(seeds)) for mask in design.masks},
        design=design,
        level=race.level,
    )


def run(race: Race, *args: object) -> Race:
    while race.stopped is None:
        race = race.after(look(race, *args))  # type: ignore[arg-type]
    return race


def test_rounds_add_seeds_until_the_verdict_is_decided() -> None:
    race = run(Race.start(Exact(2), 32, 0.05, None, None), (1.5, 0.3))
    assert race.stopped == "decided"
    assert [seen.size.seeds for seen in race.looks] == list(seed_looks(32)[: len(race.looks)])
    assert race.looks[-1].size.seeds < 32
    assert [seen.decided for seen in race.looks] == [*[False] * (len(race.looks) - 1), True]
    assert (race.looks[-1].first, race.looks[-1].second) == (0, 1)
    assert race.outlook is not None and race.outlook.chance is not None and race.outlook.chance > 0.5
    assert race.level == race.looks[-1].level
    assert race.size == race.looks[-1].size


def test_a_race_without_a_difference_is_given_up() -> None:
    race = run(Race.start(Exact(2), 32, 0.05, None, None), (0.0, 0.0))
    assert race.stopped == "cannot_decide"
    assert race.looks[-1].runs < race.runs == 128
    assert race.outlook is not None and race.outlook.chance is not None and race.outlook.chance < 0.02


def test_the_budget_ends_a_race(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copyscope_core.evaluation.race.FUTILE", 0.0)
    race = run(Race.start(Exact(2), 8, 0.05, None, None), (0.0, 0.0))
    assert (race.stopped, race.looks[-1].runs, race.outlook) == ("budget", 32, None)


def test_runs_stand_for_seeds_and_too_few_are_refused() -> None:
    race = Race.start(Exact(3), 8, 0.05, None, 100)
    assert (race.seeds, race.runs) == (12, 96)
    with pytest.raises(GameError, match=r"max_runs = 23 is too small.*24 runs"):
        Race.start(Exact(3), 8, 0.05, None, 23)


def test_a_workflow_without_noise_is_looked_at_once() -> None:
    race = Race.start(Exact(2), 1, 0.05, None, None)
    assert race.size.seeds == 1
    race = race.after(look(race, (1.0, 0.2)))
    assert (race.stopped, len(race.looks)) == ("budget", 1)


def test_a_player_without_effect_is_set_aside_after_the_first_look_and_may_be_put_back() -> None:
    race = Race.start(Exact(3), 32, 1e-6, None, None)
    race = race.after(look(race, (0.9, 0.0, 0.2), 0b010))
    assert race.stopped is None
    assert race.aside == Aside(0b010, 3)
    assert race.made == 8 * 3 + 4 * (race.size.seeds - 3)
    assert race.saved == 4 * (race.size.seeds - 3)
    assert [race.aside.maker(0b111, offset) for offset in (2, 3)] == [0b111, 0b101]
    ((player, (mask, offset)),) = race.trials().items()
    assert player == 1 and mask & 0b010 and offset == race.size.seeds - 1
    assert with_effect(race.trials(), [True]) == 0
    assert with_effect(race.trials(), [False]) == 0b010
    seen = race.after(look(race, (0.9, 0.0, 0.2), 0b010))
    back = seen.without(0b010)
    assert (back.aside.players, back.put_back, len(back.looks)) == (0, 0b010, len(seen.looks) - 1)
    assert back.after(look(back, (0.9, 0.0, 0.2), 0b010)).aside.players == 0, "nobody is set aside twice"


def test_a_sample_grows_by_seeds_or_coalitions_and_stays_within_its_budget() -> None:
    race = run(Race.start(smallest_sample(6), 8, 0.05, 40, None), (0.9, 0.8, 0.1, 0.0, 0.2, 0.1))
    assert race.runs == 320
    sizes = [(seen.size.seeds, len(seen.size.design.masks)) for seen in race.looks]
    assert sizes[0] == (3, 22)
    assert sizes == sorted(sizes)
    assert all(seen.runs <= race.runs for seen in race.looks)
    levels = [seen.level for seen in race.looks]
    assert all(0.95 <= level < 1 for level in levels)


def test_a_stopped_race_ends_with_its_last_look() -> None:
    race = Race.start(Exact(2), 32, 1e-6, None, None)
    race = race.after(look(race, (0.5, 0.3)))
    assert race.stopped is None and race.size.seeds == 4
    ended = race.stop()
    assert (ended.stopped, ended.size.seeds) == ("user", 3)
    assert ended.level == race.looks[-1].level


def test_a_race_that_is_stopped_before_anything_was_spared_says_that_nobody_was_set_aside() -> None:
    race = Race.start(Exact(2), 32, 1e-6, None, None)
    race = race.after(look(race, (0.5, 0.0), idle=0b10))
    assert race.aside.players == 0b10
    ended = race.stop()
    assert (ended.aside, ended.trials(), ended.saved) == (Aside(), {}, 0)
    later = race.after(look(race, (0.5, 0.0), idle=0b10))
    assert later.stop().aside.players == 0b10
