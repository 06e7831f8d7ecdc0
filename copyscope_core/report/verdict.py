"""The verdict in words: who is named and how sure that is, or what keeps it from being decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from ..distances.registry import DISTANCES, STYLE_INFO, DistanceInfo, DistanceName
from ..evaluation.evaluate import Evaluation
from ..evaluation.uncertainty import REFERENCE_IMAGES
from ..evaluation.value_functions import ValueFunction
from ..features.views import STYLE
from .rates import Control, rate_sentence, rates_for
from .schema import PlayerResult, Reading, UntilSureRecord, ValueFunctionResult, VerdictRecord, YardstickRecord
from .text import kind_words, listed, number, towards, towards_interval
from .until_sure import until_sure_readings

SMALL = 0.05
"""Parts of all change, Σ|φ|, that are not worth a sentence."""


def verdict_record(
    evaluation: Evaluation,
    players: Sequence[PlayerResult],
    groups: Sequence[str],
    general: bool,
    preprocessing: str,
    until_sure: UntilSureRecord | None = None,
) -> VerdictRecord:
    """The verdict of an evaluation.

    Args:
        players: their results, in the order of the evaluation.
        groups: names of the design's groups; empty: none are grouped.
        general: whether the control images are CopyScope's own.
        preprocessing: id of the features.
        until_sure: how the audit ended, where it ran until it was sure.
    """
    units = list(groups) or [player.name for player in players]
    found = evaluation.verdict
    first = None if found.first is None else units[found.first]
    record = VerdictRecord(
        decided=found.decided,
        player=first if found.decided else None,
        basis=found.basis,
        value_functions=[_said(item, units) for item in evaluation.functions],
        agreement=found.agreement,
        reasons=list(found.reasons),
        first=first,
        tied=[units[place] for place in found.tied],
        seeds_needed=None if found.needed is None else found.needed.seeds,
        references_needed=None if found.needed is None else found.needed.references,
        seeds=evaluation.uncertainty.seeds if evaluation.uncertainty is not None else None,
        references=evaluation.reference_count,
        controls=0 if evaluation.control is None else evaluation.control.count,
        general_control=general,
        sentence="",
        reading=[],
        until_sure=until_sure,
    )
    return worded(record, evaluation.distance_name, preprocessing, players)


def worded(
    record: VerdictRecord, distance: DistanceName, preprocessing: str, players: Sequence[PlayerResult]
) -> VerdictRecord:
    """The record with its sentence and what stands beside it, written from its other fields and the players' results.

    Args:
        distance: the distance in use.
        preprocessing: id of the features.
    """
    kinds = {player.name: player.kind for player in players}
    reading = [
        *_enough(record),
        *until_sure_readings(record.until_sure),
        *_amounts(record, distance, kinds),
        *_scales(record, distance),
        *_basis(record),
        *_rates(record, distance, preprocessing),
        *_odd(record, players, DISTANCES[distance]),
    ]
    sentence = _sentence(record, kinds, _moves_away(record.player, players))
    return record.model_copy(update={"sentence": sentence, "reading": reading})


def _said(item: ValueFunction, units: Sequence[str]) -> ValueFunctionResult:
    place = item.standing
    return ValueFunctionResult(
        function=item.name,
        first=None if place is None else units[place.first],
        estimate=None if place is None else place.estimate,
        interval=None if place is None or place.interval is None else list(place.interval),
        above_zero=None if place is None else place.above_zero,
        ahead=None if place is None else place.ahead,
        sure=place is not None and place.sure,
        yardstick=YardstickRecord(**asdict(item.yardstick)),
    )


def _sentence(record: VerdictRecord, kinds: Mapping[str, str], away: bool) -> str:
    """The verdict in one sentence.

    Args:
        away: whether the named component moves the images away from the reference, only less than from the control.
    """
    if not record.decided or record.player is None:
        return f"Not decided: {_why(record, kinds)}."
    named = _named(record.player, kinds)
    if away:
        does = f"moves the images away from the reference, only less than from {_control(record)}"
    else:
        more = "" if record.basis == "shapley" else f", more than to {_control(record)}"
        does = f"brings the images nearer to the reference{more}"
    most = "" if len(kinds) == 1 else ", and does so more than any other component"
    return f"{named[0].upper()}{named[1:]} {does}{most}."


def _why(record: VerdictRecord, kinds: Mapping[str, str]) -> str:
    reasons = record.reasons
    if "no_change" in reasons:
        return "no component changes how near the images are to the reference"
    if "one_seed" in reasons:
        return "with one seed nothing tells these numbers from chance"
    if "no_interval" in reasons:
        return "there are no intervals, so nothing is known of chance in these numbers"
    if "disagree" in reasons:
        said = [f"by {item.function} {_named(item.first, kinds)}" for item in record.value_functions if item.first]
        return f"{' and '.join(said)} comes first, so they bring different things of the reference"
    if "not_nearer" in reasons:
        than = "" if record.basis == "shapley" else f" than to {_control(record)}"
        return f"no component can be shown to bring the images nearer to the reference{than}"
    text = f"{_named(record.first or '', kinds)} comes first"
    if "may_be_chance" in reasons:
        text += ", but that may be chance"
    if record.tied:
        begin = " and it" if "may_be_chance" in reasons else ", but it"
        text += f"{begin} cannot be told apart from {listed(record.tied)}"
    return text


def _enough(record: VerdictRecord) -> list[Reading]:
    """What would decide it; or that both value functions say the same, and which of them would not suffice."""
    if record.decided:
        if record.agreement != "agree":
            return []
        unsure = [item.function for item in record.value_functions if not item.sure]
        text = "Content and style agree on this."
        if unsure:
            text = (
                "Content and style put the same component first; by "
                f"{' or by '.join(unsure)} alone it would not be decided."
            )
        return [Reading(code="agree", sentence=text)]
    if "one_seed" in record.reasons:
        return [Reading(code="enough", sentence="Run at least 4 seeds.")]
    if not set(record.reasons) & {"may_be_chance", "tied"} or set(record.reasons) & {
        "no_change", "no_interval", "disagree", "not_nearer",
    }:  # fmt: skip
        return []
    ways = []
    if record.seeds_needed is not None:
        ways.append(f"{record.seeds_needed} seeds instead of {record.seeds}")
    if record.references_needed is not None:
        ways.append(f"{record.references_needed} reference images instead of {record.references}")
    text = "More seeds, references or control images would be needed to decide it, many times as many."
    if ways:
        text = f"About {' or '.join(ways)} would decide it, if this difference holds."
    return [Reading(code="enough", sentence=text)]


def _basis(record: VerdictRecord) -> list[Reading]:
    """What the verdict rests on."""
    found = []
    if record.basis == "shapley":
        text = (
            "There are no control images, so a component may bring the images nearer to any such picture rather than "
            "to this artist's works."
        )
        found.append(Reading(code="no_control", sentence=text))
        if record.references < REFERENCE_IMAGES and record.seeds is not None:
            which = "this one reference image" if record.references == 1 else f"these {record.references} images"
            text = f"The intervals speak of {which}, not of the artist's other works."
            found.append(Reading(code="fixed_references", sentence=text))
    elif record.general_control:
        text = (
            f"The {record.controls} control images are CopyScope's own, works of many kinds and hands; unrelated works "
            "of the artist's own kind tell more."
        )
        found.append(Reading(code="general_control", sentence=text))
    return found


def control_of(record: VerdictRecord) -> Control:
    """What the players were compared with."""
    return "none" if record.basis == "shapley" else "bank" if record.general_control else "control"


def _rates(record: VerdictRecord, distance: DistanceName, preprocessing: str) -> list[Reading]:
    """How often such verdicts were right."""
    rates = rates_for(control_of(record), distance, preprocessing)
    return [Reading(code="error_rates", sentence=rate_sentence(rates))] if rates else []


def _odd(record: VerdictRecord, players: Sequence[PlayerResult], info: DistanceInfo) -> list[Reading]:
    """Numbers that look wrong and are not."""
    found = []
    for player in players if record.basis == "contrast" else ():
        alone = _alone(player)
        if max(alone, player.shapley) < 0 < (player.contrast_interval or (0.0, 0.0))[0]:
            text = (
                f"“{player.name}” moves the images away from the reference too ({number(-alone, info.digits)} "
                f"{info.unit} farther), only less than from the control images."
            )
            found.append(Reading(code="away_from_both", sentence=text))
    total = sum(player.shapley for player in players)
    above = [player for player in players if player.shapley > max(total, 0.0) and not _small(player, players)]
    away = [player.name for player in players if player.shapley < 0 and not _small(player, players)]
    if above and away and total > 0:
        text = (
            f"{listed([player.name for player in above])} alone {'comes' if len(above) == 1 else 'come'} to more than "
            f"the whole gain of {number(total, info.digits)}, because {listed(away)} "
            f"{'takes' if len(away) == 1 else 'take'} some of it away."
        )
        found.append(Reading(code="more_than_the_whole", sentence=text))
    for player in players:
        alone = player.leave_one_out
        if player.shapley * alone < 0 and not _small(player, players) and abs(alone) > SMALL * _all(players):
            nearer, farther = ("nearer", "farther") if player.shapley > 0 else ("farther", "nearer")
            text = (
                f"“{player.name}” brings the images {nearer} on average over all combinations, but {farther} beside "
                f"all the other components ({towards(alone, info.digits)} than without it), which partly do the same."
            )
            found.append(Reading(code="signs_differ", sentence=text))
    return found


def _all(players: Sequence[PlayerResult]) -> float:
    return sum(abs(player.shapley) for player in players)


def _small(player: PlayerResult, players: Sequence[PlayerResult]) -> bool:
    return abs(player.shapley) <= SMALL * _all(players)


def _scales(record: VerdictRecord, distance: DistanceName) -> list[Reading]:
    texts = {item.function: _scale(item, distance) for item in record.value_functions}
    return [Reading(code=f"yardstick_{name}", sentence=text) for name, text in texts.items() if text is not None]


def _scale(item: ValueFunctionResult, distance: DistanceName) -> str | None:
    """How far things are apart, in units of a value function."""
    info, yard = _info(item.function, distance), item.yardstick
    parts = []
    if yard.control is not None:
        parts.append(f"two unrelated works are {number(yard.control, info.digits)} apart on average")
    if yard.reference is not None:
        parts.append(f"two of the reference works {number(yard.reference, info.digits)}")
    if not parts:
        return None
    none, full = number(yard.none, info.digits), number(yard.full, info.digits)
    return (
        f"For scale, in {info.unit}: {', '.join(parts)}; an image made with none of the components is {none} from a "
        f"reference work, one made with all of them {full} ({towards(yard.none - yard.full, info.digits)})."
    )


def _info(function: str, distance: DistanceName) -> DistanceInfo:
    return STYLE_INFO if function == STYLE else DISTANCES[distance]


def _amounts(record: VerdictRecord, distance: DistanceName, kinds: Mapping[str, str]) -> list[Reading]:
    """How far the first of each value function moves the images, where chance is known."""
    if record.first is None:
        return []
    said = [item for item in record.value_functions if item.first is not None and item.interval is not None]
    several = len(record.value_functions) > 1
    parts = []
    for place, item in enumerate(said):
        named = _named(item.first or "", kinds)
        same = place > 0 and item.first == said[0].first
        by = f"by {item.function} " if several else ""
        parts.append(f"{by}{'it also' if same else named} comes first, {_amount(item, record, distance, place == 0)}")
    if not parts:
        return []
    text = "; ".join(parts)
    return [Reading(code="amounts", sentence=f"{text[0].upper()}{text[1:]}.")]


def _amount(item: ValueFunctionResult, record: VerdictRecord, distance: DistanceName, whole: bool) -> str:
    """A gain with its direction, its interval, and what it is beside the yardstick.

    Args:
        whole: say what the two are compared with; it was said before otherwise.
    """
    info = _info(item.function, distance)
    words = towards(item.estimate, info.digits).partition(" ")
    gain = f"{words[0]} {info.unit} {words[2]}".rstrip()
    to = (
        "" if record.basis == "shapley" or not (words[2] and whole) else f" to the reference than to {_control(record)}"
    )
    return f"{gain}{to} ({record.interval_name} {towards_interval(item.interval, info.digits)}){_beside(item, whole)}"


def _beside(item: ValueFunctionResult, whole: bool) -> str:
    """A gain as a part of how far things are apart."""
    yard = item.yardstick
    scales = (
        (yard.control, "how far two unrelated works are apart"),
        (yard.reference, "how far two of the reference works are apart"),
        (yard.none, "how far an image made with none of the components is from a reference work"),
    )
    scale, what = next(((length, what) for length, what in scales if length), (0.0, ""))
    if item.estimate is None or not scale:
        return ""
    return f", {abs(100 * item.estimate / scale):.0f}% of {what if whole else 'that distance in style'}"


def _moves_away(name: str | None, players: Sequence[PlayerResult]) -> bool:
    """Whether a player, or a group of players, moves the images away: by φ and by what its contrast is made of."""
    chosen = [player for player in players if name in (player.name, player.group)]
    return sum(_alone(player) for player in chosen) < 0 and sum(player.shapley for player in chosen) < 0


def _alone(player: PlayerResult) -> float:
    """What a contrast is made of: of FID its mean part, of a kernel distance all of it."""
    return player.shapley if player.shapley_mean is None else player.shapley_mean


def _control(record: VerdictRecord) -> str:
    return "unrelated works of many kinds" if record.general_control else "the control images"


def _named(name: str, kinds: Mapping[str, str]) -> str:
    """A component with its kind before it, a group without."""
    kind = kinds.get(name)
    words = "" if kind is None else kind_words(kind)
    return f"the {words} “{name}”" if words and words != name else f"“{name}”" if kind is None else f"the {words}"
