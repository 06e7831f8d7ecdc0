"""One verdict: each way to decide, and each way not to."""

from __future__ import annotations

from dataclasses import replace

from copyscope_core.evaluation.standing import Needed, Standing
from copyscope_core.evaluation.verdict import Said, Verdict, decide

SURE = Standing(0, 10.0, (5.0, 15.0), 0.001, 0.001, (), None)
CHANCE = replace(SURE, interval=(-1.0, 21.0), above_zero=0.2, needed=Needed(20, None))
TIED = replace(SURE, ahead=0.3, tied=(1,), needed=Needed(None, 9))
OTHER = replace(SURE, first=1)
AWAY = replace(SURE, estimate=-3.0, interval=(-5.0, -1.0), above_zero=1.0)
NO_INTERVAL = replace(SURE, interval=None, above_zero=None, ahead=None)


def verdict(*standings: Standing, one_seed: bool = False, changes: bool = True) -> Verdict:
    names = ("content", "style")
    said = [Said(name, item) for name, item in zip(names, standings, strict=False)]
    return decide(said, "contrast", one_seed=one_seed, changes=changes)


def test_one_value_function_decides_where_it_is_sure() -> None:
    found = verdict(SURE)
    assert (found.decided, found.first, found.agreement, found.reasons) == (True, 0, None, ())


def test_two_that_agree_decide_where_style_is_sure() -> None:
    for pair in ((SURE, SURE), (CHANCE, SURE), (TIED, SURE)):
        found = verdict(*pair)
        assert (found.decided, found.agreement, found.reasons, found.tied) == (True, "agree", (), ())


def test_content_alone_does_not_decide() -> None:
    found = verdict(SURE, CHANCE)
    assert (found.decided, found.agreement, found.reasons) == (False, "agree", ("may_be_chance",))


def test_two_that_disagree_do_not_decide() -> None:
    for pair in ((SURE, OTHER), (CHANCE, OTHER), (SURE, replace(CHANCE, first=1))):
        found = verdict(*pair)
        assert (found.decided, found.agreement, found.reasons) == (False, "disagree", ("disagree",))


def test_chance_and_ties_do_not_decide() -> None:
    found = verdict(CHANCE, CHANCE)
    assert (found.decided, found.reasons, found.needed) == (False, ("may_be_chance",), Needed(20, None))
    found = verdict(TIED, TIED)
    assert (found.decided, found.reasons, found.tied, found.needed) == (False, ("tied",), (1,), Needed(None, 9))
    both = replace(CHANCE, tied=(1,))
    assert verdict(both, both).reasons == ("may_be_chance", "tied")


def test_one_that_moves_away_does_not_decide() -> None:
    assert verdict(AWAY).reasons == ("not_nearer",)
    assert verdict(SURE, AWAY).reasons == ("not_nearer",)


def test_without_intervals_it_is_not_decided() -> None:
    assert verdict(NO_INTERVAL, one_seed=True).reasons == ("one_seed",)
    assert verdict(NO_INTERVAL).reasons == ("no_interval",)


def test_where_nothing_changes_nobody_is_first() -> None:
    found = verdict(CHANCE, changes=False)
    assert (found.decided, found.first, found.reasons) == (False, None, ("no_change",))
