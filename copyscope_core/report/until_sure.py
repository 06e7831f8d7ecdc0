"""How an audit ended that ran until it was sure: its record, and what it says in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..evaluation.race import Look, Race
from .schema import LookRecord, Reading, UntilSureRecord
from .text import listed

ALMOST_ALL, HARDLY_EVER, LITTLE = 0.99, 0.01, 0.005


def until_sure_record(race: Race | None, units: Sequence[str], players: Sequence[str]) -> UntilSureRecord | None:
    """How the race ended; None where there was none, or it has not ended.

    Args:
        units: names of the groups, or players, that are ranked.
        players: names of the players.
    """
    if race is None or race.stopped is None:
        return None

    def some(mask: int) -> list[str]:
        return [name for place, name in enumerate(players) if mask >> place & 1]

    return UntilSureRecord(
        error=race.error,
        looks=[_look(look, units) for look in race.looks],
        stopped=race.stopped,
        runs=race.looks[-1].runs,
        budget=race.runs,
        seeds=race.seeds,
        chance=None if race.outlook is None else race.outlook.chance,
        narrower=None if race.outlook is None else race.outlook.narrower,
        set_aside=some(race.aside.players),
        spared=race.saved,
        tried=len(race.trials()),
        put_back=some(race.put_back),
    )


def _look(look: Look, units: Sequence[str]) -> LookRecord:
    return LookRecord(
        seeds=look.size.seeds,
        coalitions=len(look.size.design.masks),
        runs=look.runs,
        level=look.level,
        first=None if look.first is None else units[look.first],
        second=None if look.second is None else units[look.second],
        estimate=look.estimate,
        interval=None if look.interval is None else list(look.interval),
        decided=look.decided,
    )


def until_sure_readings(record: UntilSureRecord | None) -> list[Reading]:
    """Why the audit stopped, what the rest of its budget would have brought, and what was not run."""
    if record is None or not record.looks:
        return []
    last, left = record.looks[-1], record.budget - record.runs
    at = f"at {last.seeds} of at most {record.seeds} seeds, after {record.runs:,} of at most {record.budget:,} runs"
    why = {
        "decided": "because the verdict was decided",
        "cannot_decide": "because it could hardly be decided within its budget",
        "budget": "because its budget was used up",
        "user": "because its user stopped it",
    }[record.stopped]
    count = len(record.looks)
    found = [
        f"The audit ran until it was sure, and stopped {at}, {why}. Over all its looks, of which there "
        f"{'was 1' if count == 1 else f'were {count}'}, such an audit names a wrong component in at most "
        f"{100 * record.error:g} of 100 cases, and its intervals hold over all of them."
    ]
    if record.chance is not None or record.narrower is not None:
        found.append(_rest(record, left))
    if record.set_aside:
        one = len(record.set_aside) == 1
        were = "was" if record.tried == 1 else "were"
        tried = f"; {record.tried} more {were} made at the end to try this" if record.tried else ""
        found.append(
            f"{listed(record.set_aside)} {'changes' if one else 'change'} no pixel in any combination at the first "
            f"{record.looks[0].seeds} seeds, so {record.spared:,} runs were not made, and the images without "
            f"{'it' if one else 'them'} stand in{tried}."
        )
    if record.put_back:
        found.append(
            f"{listed(record.put_back)} had been set aside like this, and changed pixels at a later seed, so all "
            "combinations were run after all."
        )
    return [Reading(code="until_sure", sentence=sentence) for sentence in found]


def _rest(record: UntilSureRecord, left: int) -> str:
    narrower = record.narrower or 0.0
    brought = [] if record.stopped == "decided" or record.chance is None else [f"decided it {_probably(record.chance)}"]
    brought += [f"narrowed the interval of the first by about {narrower:.0%}"] if narrower >= LITTLE else []
    return f"The other {left:,} runs would have {' and '.join(brought) if brought else 'brought little'}."


def _probably(chance: float) -> str:
    """A probability as words."""
    if chance < HARDLY_EVER:
        return "in less than 1 of 100 cases"
    if chance > ALMOST_ALL:
        return "almost surely"
    return f"in about {100 * chance:.0f} of 100 cases"


def race_text(race: Race, units: Sequence[str]) -> str:
    """The last look in a line, for a terminal or a node."""
    look = race.looks[-1]
    begin = f"Look {len(race.looks)}: {look.size.seeds} seeds, {look.runs:,} of at most {race.runs:,} runs."
    if look.first is None or look.estimate is None:
        return f"{begin} No component changes anything yet."
    ends = "" if look.interval is None else f" ({_short(look.interval[0])} to {_short(look.interval[1])})"
    second = "" if look.second is None else f", then “{units[look.second]}”"
    lead = f" First “{units[look.first]}” {_short(look.estimate)}{ends}{second}."
    if look.decided:
        return f"{begin}{lead} Decided."
    if race.outlook is None or race.outlook.chance is None:
        return f"{begin}{lead} Not decided."
    return f"{begin}{lead} Not decided; the rest of the budget would, {_probably(race.outlook.chance)}."


def race_as_json(race: Race, units: Sequence[str]) -> dict[str, Any]:
    """Where a race stands, for whoever draws it: all looks, the budget in runs, why it ended, the last in words."""
    looks = [_look(look, units).model_dump(mode="json") for look in race.looks]
    return {"looks": looks, "runs": race.runs, "stopped": race.stopped, "text": race_text(race, units)}


def _short(value: float) -> str:
    """A number with about three digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
