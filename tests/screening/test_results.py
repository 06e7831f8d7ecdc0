"""Rates of false discovery, verdicts, and which models are meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from copyscope_core.errors import CopyScopeError
from copyscope_core.metadata.header import Metadata
from copyscope_core.screening.contrasts import Effects
from copyscope_core.screening.measure import Measured
from copyscope_core.screening.models import model_named, models_of
from copyscope_core.screening.page import next_audits
from copyscope_core.screening.results import (
    FAILED,
    FOUND,
    NO_EFFECT,
    NOTHING,
    UNDECIDED,
    Collector,
    Screened,
    ScreenedModel,
    discovery_rates,
    empirical_rates,
    told_by,
)


def test_discovery_rates_are_benjamini_and_yekutielis() -> None:
    p = np.array([[0.001, 0.02], [0.5, 0.04]])
    harmonic = 1 + 1 / 2 + 1 / 3 + 1 / 4
    expected = np.array([[4 * 0.001, 4 / 3 * 0.04], [0.5, 4 / 3 * 0.04]]) * harmonic  # 2·0.02·4/2 = 0.04·4/2 > 4/3·0.04
    expected[0, 1] = min(4 / 2 * 0.02, 4 / 3 * 0.04) * harmonic
    assert discovery_rates(p) == pytest.approx(np.minimum(expected, 1))


def test_the_empirical_rate_counts_the_negative_controls() -> None:
    p, negative = np.array([[0.001, 0.01], [0.2, 0.9]]), np.array([[0.005, 0.3, 0.6, 0.8]])
    # at 0.01 a quarter of the negative pairs: of four pairs one is expected, and two are there; at 0.2 there are three
    assert empirical_rates(p, negative) == pytest.approx(np.array([[0, 1 / 3], [1 / 3, 1]]))
    assert empirical_rates(p, np.empty((1, 0))).max() == 0


def screened(p: list[list[float]], models: list[ScreenedModel], named: int = 2) -> Screened:
    artists = tuple(f"artist {a}" for a in range(len(p[0])))
    collector = Collector(artists, named, [1] * len(artists), ("content",), len(models))
    for place, row in enumerate(p):
        ones = np.ones(len(row))
        effects = Effects(np.where(np.array(row) < 0.5, ones, -ones), 0 * ones, 2 * ones, np.array(row))
        collector.add(place, Measured((effects,), np.array(row), np.zeros(len(row), dtype=np.int8)))
    return collector.finish(models)


def test_verdicts() -> None:
    models = [
        ScreenedModel("a"),
        ScreenedModel("copy of a", same_as="a", cosine=1.0),
        ScreenedModel("still", no_effect=True),
        ScreenedModel("broken", error="why"),
        ScreenedModel("b"),
    ]
    p = [[1e-9, 0.4, 0.3, 0.6], [1e-9, 0.4, 0.3, 0.6], [1, 1, 1, 1], [np.nan] * 4, [0.001, 0.9, 0.5, 0.8]]
    found = screened(p, models)
    assert [found.verdict(m, 0) for m in range(5)] == [FOUND, FOUND, NO_EFFECT, FAILED, FOUND]
    assert found.verdict(0, 1) == found.verdict(0, 2) == NOTHING
    assert found.pairs == 3 * 2
    assert found.tested == [0, 2, 4]
    assert found.found() == [(0, 0), (1, 0), (4, 0)]
    assert next_audits(found, 9) == [(0, 0), (4, 0), (0, 1)]
    p[4][2:] = [1e-12, 1e-12]
    doubtful = screened(p, models)
    assert doubtful.verdict(4, 0) == UNDECIDED


def test_what_a_file_says_is_short_and_who_it_names_is_found() -> None:
    said, named = told_by(
        Metadata({"ss_output_name": "x" * 999, "ss_training_comment": "by Jane Doe\nand others"}),
        ["jane doe", "Roe", "!"],
    )
    assert len(said) <= 200
    assert named == {"jane doe"}
    assert told_by(None, ["a"]) == ("", frozenset())


NAMES = ("a.safetensors", "up\\b.safetensors", "up/deep/c.safetensors", "other/d.safetensors")


def test_models_come_from_a_folder_or_a_list(tmp_path: Path) -> None:
    assert models_of("up", NAMES) == list(NAMES[1:3])
    assert models_of("/srv/models/loras/up/deep", NAMES) == [NAMES[2]]
    assert models_of(".", NAMES) == list(NAMES)
    (tmp_path / "list").write_text("up/b.safetensors\n\n a.safetensors\na.safetensors\n", encoding="utf-8")
    assert models_of(str(tmp_path / "list"), NAMES) == [NAMES[1], NAMES[0]]
    assert model_named("/srv/ComfyUI/models/loras/up/deep/c.safetensors", NAMES) == NAMES[2]
    assert model_named("/elsewhere/other/d.safetensors", NAMES) == NAMES[3]


@pytest.mark.parametrize(
    ("given", "sentence"), [("none", "has no models in 'none'"), ("x.txt", "no models in 'x.txt'")]
)
def test_no_models(given: str, sentence: str) -> None:
    with pytest.raises(CopyScopeError, match=sentence):
        models_of(given, NAMES)


def test_a_model_that_the_server_lacks(tmp_path: Path) -> None:
    with pytest.raises(CopyScopeError, match="knows no model 'deep/c'"):
        model_named("deep/c", NAMES)
    (tmp_path / "list").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CopyScopeError, match="not UTF-8"):
        models_of(str(tmp_path / "list"), NAMES)
