"""The verdict in words: a sentence for each way to decide and not to, and what stands beside it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from reports import report_of

from copyscope_core.evaluation.evaluate import Evaluation, evaluate
from copyscope_core.features.extractor import INCEPTION_ID
from copyscope_core.report.html.page import render_html
from copyscope_core.report.private import without_private
from copyscope_core.report.report import Report
from copyscope_core.report.schema import VerdictRecord
from copyscope_core.report.text import summary_text
from copyscope_core.report.verdict import worded

D = 16
KINDS = [{"name": "lora", "kind": "lora"}, {"name": "prompt", "kind": "prompt"}]


def evaluation(
    shifts: tuple[float, ...], style: tuple[float, ...] = (), n: int = 12, own: float = 0.2, **options: Any
) -> Evaluation:
    """Players that move content, and style if given, towards a reference at 0; the control is where they start.

    ``own``: noise of each coalition's own; ``controls``: how many control images, 0 for none.
    """
    rng = np.random.default_rng(0)
    views = {"content": slice(0, D)} | ({"style": slice(D, 2 * D)} if style else {})
    moves = [np.repeat([shift, *([style[i]] if style else [])], D) for i, shift in enumerate(shifts)]
    width = len(moves[0])
    noise = rng.normal(size=(n, width))
    features = {
        mask: 3
        + noise
        + own * rng.normal(size=(n, width))
        - sum((move for bit, move in enumerate(moves) if mask >> bit & 1), np.zeros(width))
        for mask in range(2 ** len(shifts))
    }
    controls = options.pop("controls", 20)
    if controls:
        options["control"] = rng.normal(size=(controls, width)) + 3
    references = options.pop("references", 5)
    seeds = {mask: list(range(n)) for mask in features}
    reference = rng.normal(size=(references, width))
    return evaluate(["lora", "prompt"][: len(shifts)], features, reference, seeds=seeds, views=views, **options)


def report(shifts: tuple[float, ...], style: tuple[float, ...] = (), general: bool = False, **options: Any) -> Report:
    control = {"count": 20, "source": "bank"} if general else None
    return report_of(evaluation(shifts, style, **options), players=KINDS[: len(shifts)], control=control)


def sentences(found: VerdictRecord) -> list[str]:
    return [found.sentence, *(item.sentence for item in found.reading)]


def codes(found: Report) -> set[str]:
    return {item.code for item in found.verdict.reading}


def test_decided_with_a_control() -> None:
    found = report((1.0, 0.1)).verdict
    assert (found.decided, found.player, found.basis, found.agreement) == (True, "lora", "contrast", None)
    assert found.reasons == found.tied == []
    assert found.sentence == (
        "The LoRA “lora” brings the images nearer to the reference, more than to the control images, and does so more "
        "than any other component."
    )
    amounts = found.reading[0]
    assert amounts.code == "amounts"
    assert re.fullmatch(
        r"The LoRA “lora” comes first, [\d.]+ FID points nearer to the reference than to the control images \(95% "
        r"interval [\d.]+ to [\d.]+ nearer\), \d+% of how far two unrelated works are apart\.",
        amounts.sentence,
    )


def test_decided_alone() -> None:
    sentence = report((1.0,)).verdict.sentence
    assert sentence == "The LoRA “lora” brings the images nearer to the reference, more than to the control images."


def test_decided_without_a_control_says_what_that_means() -> None:
    found = report((1.0, 0.1), controls=0)
    assert (found.verdict.decided, found.verdict.basis) == (True, "shapley")
    assert "control" not in found.verdict.sentence
    assert {"no_control", "fixed_references"} <= codes(found)
    assert "fixed_references" not in codes(report((1.0, 0.1), controls=0, references=9))


def test_content_and_style_agree() -> None:
    found = report((1.0, 0.1), (1.0, 0.1)).verdict
    assert (found.decided, found.agreement) == (True, "agree")
    assert found.reading[0].sentence == "Content and style agree on this."
    assert [item.function for item in found.value_functions] == ["content", "style"]


def test_where_one_of_the_two_alone_would_not_do_it_is_said() -> None:
    """Style decides; content only puts the same one first."""
    found = report((0.2, 0.19), (1.0, 0.1), own=0.5).verdict
    assert (found.decided, found.player, found.agreement) == (True, "lora", "agree")
    assert [item.sure for item in found.value_functions] == [False, True]
    assert found.reading[0].sentence == (
        "Content and style put the same component first; by content alone it would not be decided."
    )


def test_content_and_style_disagree() -> None:
    found = report((1.0, 0.1), (0.1, 1.0)).verdict
    assert (found.decided, found.player, found.agreement, found.reasons) == (False, None, "disagree", ["disagree"])
    assert "by content the LoRA “lora” and by style the prompt comes first" in found.sentence


def test_two_alike_are_tied_and_it_says_what_would_decide_it() -> None:
    found = report((1.0, 0.98), own=0.5).verdict
    assert (found.decided, found.player, found.reasons) == (False, None, ["tied"])
    assert len(found.tied) == 1
    assert f"but it cannot be told apart from “{found.tied[0]}”" in found.sentence
    assert found.reading[0].code == "enough"
    if found.seeds_needed is not None:
        assert f"About {found.seeds_needed} seeds instead of 12" in found.reading[0].sentence


def test_what_may_be_chance_is_not_decided() -> None:
    found = report((0.02, 0.01), own=1.0, n=4).verdict
    assert not found.decided
    assert set(found.reasons) & {"may_be_chance", "not_nearer"}


def test_moving_away_is_no_answer() -> None:
    found = report((-1.0, -0.5)).verdict
    assert found.reasons == ["not_nearer"]
    assert found.sentence == (
        "Not decided: no component can be shown to bring the images nearer to the reference than to the control images."
    )


def test_nothing_changes() -> None:
    found = report((0.0, 0.0), own=0.0).verdict
    assert (found.reasons, found.first) == (["no_change"], None)


def test_one_seed_claims_no_direction() -> None:
    found = report((1.0, 0.1), n=1).verdict
    assert (found.decided, found.reasons) == (False, ["one_seed"])
    assert "lora" not in found.sentence
    assert not any(word in text for text in sentences(found) for word in ("nearer to the reference", "comes first"))


def test_a_general_control_is_named() -> None:
    found = report((1.0, 0.1), general=True)
    assert "more than to unrelated works of many kinds" in found.verdict.sentence
    assert "general_control" in codes(found)


def test_the_yardstick_is_the_mean_squared_distance_of_pairs() -> None:
    rng = np.random.default_rng(1)
    x, reference, control = (rng.normal(size=(k, D)) for k in (4, 3, 5))
    made = evaluate(["a"], {0: x, 1: x + 1}, reference, control=control)
    yard = report_of(made).verdict.value_functions[0].yardstick

    def apart(one: np.ndarray, other: np.ndarray) -> float:
        squared = ((one[:, None] - other[None]) ** 2).sum(axis=2)
        return float(squared.mean() if one is not other else squared.sum() / (len(one) * (len(one) - 1)))

    expected = [apart(control, control), apart(reference, reference), apart(x, reference), apart(x + 1, reference)]
    np.testing.assert_allclose([yard.control, yard.reference, yard.none, yard.full], expected)
    assert yard.none_control is not None
    np.testing.assert_allclose(yard.none_control, apart(x, control))


def test_more_than_the_whole_is_explained() -> None:
    found = report((1.0, -0.6), controls=0)
    texts = {item.code: item.sentence for item in found.verdict.reading}
    assert texts["more_than_the_whole"].startswith("“lora” alone comes to more than the whole gain of ")
    assert "because “prompt” takes some of it away" in texts["more_than_the_whole"]
    assert "more_than_the_whole" not in codes(report((1.0, 0.6), controls=0))


def test_signs_that_differ_are_explained() -> None:
    """Each alone brings the images to the reference; both together overshoot."""
    found = report((2.5, 2.5), controls=0)
    assert found.players[0].shapley > 0 > found.players[0].leave_one_out
    assert "signs_differ" in codes(found)


def test_one_that_moves_away_from_both_is_told() -> None:
    """From the control images more than from the reference: its contrast is positive, its φ is not."""
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(12, D))
    reference, control = rng.normal(size=(5, D)), rng.normal(size=(20, D)) - 3
    features = {0: 3 + noise, 1: 4 + noise}
    seeds = {mask: list(range(12)) for mask in features}
    found = report_of(evaluate(["lora"], features, reference, control=control, seeds=seeds))
    player = found.players[0]
    assert player.contrast_interval is not None
    assert player.shapley_mean is not None
    assert player.shapley_mean < 0 < player.contrast_interval[0]
    assert "away_from_both" in codes(found)
    assert "away_from_both" not in codes(report((1.0, 0.1)))


def test_rates_are_quoted_only_for_what_they_were_measured_with() -> None:
    made = evaluation((1.0, 0.1), (1.0, 0.1))
    assert "error_rates" in codes(report_of(made, preprocessing=INCEPTION_ID))
    assert "error_rates" not in codes(report_of(made, preprocessing="another-model"))
    other = evaluation((1.0, 0.1), (1.0, 0.1), distance="kid")
    assert "error_rates" not in codes(report_of(other, preprocessing=INCEPTION_ID))


def test_every_sentence_with_a_gain_says_whither() -> None:
    found = report((1.0, -0.6), controls=0).verdict
    assert found.sentence.startswith("The LoRA “lora” brings the images nearer to the reference")
    texts = {item.code: item.sentence for item in found.reading}
    assert " nearer (95% interval " in texts["amounts"]
    assert texts["yardstick_content"].endswith(" nearer).")


def test_a_component_that_only_moves_away_less_is_not_said_to_bring_nearer() -> None:
    found = report((1.0, 0.1))
    for phi, said in ((-1.0, "moves the images away from the reference, only less than from the control"),
                      (1.0, "brings the images nearer to the reference, more than to the control")):  # fmt: skip
        players = [item.model_copy(update={"shapley_mean": -1.0, "shapley": phi}) for item in found.players]
        assert worded(found.verdict, "fid", "", players).sentence.startswith(f"The LoRA “lora” {said}")


def test_players_are_ranked_by_the_basis() -> None:
    """The second moves the images to any such picture, the first to this reference alone."""
    rng = np.random.default_rng(2)
    kind, artist = np.repeat([4.0, 0.0], D), np.repeat([0.0, 2.0], D)
    noise = rng.normal(size=(12, 2 * D))
    features = {mask: noise + (mask & 1) * artist + (mask >> 1) * kind for mask in range(4)}
    seeds = {mask: list(range(12)) for mask in features}
    reference, control = (rng.normal(size=(9, 2 * D)) + where for where in (kind + artist, kind))
    found = report_of(evaluate(["artist", "kind"], features, reference, control=control, seeds=seeds))
    assert found.players[1].shapley > found.players[0].shapley
    assert [player.name for player in found.ranked()] == ["artist", "kind"]
    assert found.verdict.player == "artist"
    assert [item.difference > 0 for item in found.differences] == [True]


def test_a_private_report_has_its_own_names_in_the_verdict() -> None:
    found = report((0.1, 1.0))
    secret = found.model_copy(update={"players": found.players})
    private = without_private(secret)
    assert private.verdict.player == "prompt"
    assert private.verdict.sentence == found.verdict.sentence


def test_it_stands_in_the_text_with_what_is_beside_it() -> None:
    found = report((1.0, 0.1), controls=0)
    text = summary_text(found)
    assert text.startswith(found.verdict.sentence)
    for item in found.verdict.reading:
        assert item.sentence in text


@pytest.mark.parametrize("controls", [20, 0])
def test_a_page_has_a_space_between_its_sentences(controls: int) -> None:
    made = report((3.0, 0.0), (3.0, 0.1), controls=controls)
    html = re.sub(r"<(style|script)>.*?</\1>", "", render_html(made), flags=re.DOTALL)
    text = re.sub(r"</?(?:bdi|a|abbr|button|em|small|span|strong)\b[^>]*>", "", html)
    assert "A component whose contrast" in text or not controls
    assert re.findall(r"[a-z)]{2}\.[A-Z][a-z]+", text) == []
