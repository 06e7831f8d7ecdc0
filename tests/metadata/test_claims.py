"""What trainers write is understood, and names are found in it."""

from __future__ import annotations

import json

import pytest

from copyscope_core.errors import CopyScopeError
from copyscope_core.metadata.claims import Claims, Mention, TrainingFolder, find_mentions, read_claims
from copyscope_core.metadata.header import Metadata
from copyscope_core.metadata.names import EXCERPT, Name
from copyscope_core.settings import AuditSettings
from tests.metadata.planted import KOHYA


def test_kohyas_fields() -> None:
    assert read_claims(Metadata(KOHYA)) == Claims(
        name="mystyle_v2",
        author="A. Trainer, after Jane Doe",
        base_model="v1-5-pruned-emaonly.safetensors",
        base_version="sd_v1",
        started="2023-11-14T22:13:20Z",
        finished="2023-11-14T23:13:20Z",
        trigger_words=("jdstyle",),
        folders=(TrainingFolder("10_jane-doe", 43, 10),),
        tags=(("jane doe", 43), ("tree", 12), ("sky", 5)),
    )


def test_modelspec_fields() -> None:
    said = {
        "modelspec.title": "T", "modelspec.date": "2024-05-01T10:00:00+02:00",
        "modelspec.trigger_phrase": "in jd style",
        "modelspec.architecture": "flux-1-dev/lora", "modelspec.description": "by hand",
    }  # fmt: skip
    claims = read_claims(Metadata(said))
    assert (claims.name, claims.base_version, claims.description) == ("T", "flux-1-dev/lora", "by hand")
    assert (claims.finished, claims.trigger_words) == ("2024-05-01T08:00:00Z", ("in jd style",))


@pytest.mark.parametrize(
    "text",
    ["Jane Doe", "10_jane-doe", "art by JANE DOE, oil", "janedoe2", "by Jané  Doe", "ＪＡＮＥ＿ＤＯＥ", "jane.doe@x"],
)
def test_a_name_is_found_however_it_is_written(text: str) -> None:
    assert Name("Jane Doe").excerpt(text) == text


@pytest.mark.parametrize("text", ["jane does", "marijane doe", "doe jane", "jane, wife of john doe", ""])
def test_other_words_are_not_the_name(text: str) -> None:
    assert Name("Jane Doe").excerpt(text) is None


def test_scripts_without_spaces() -> None:
    assert Name("葛飾北斎").excerpt("巨匠葛飾北斎風の絵")
    assert Name("Владимир").excerpt("Владимира") is None


def test_long_texts_are_cut_around_the_name() -> None:
    found = Name("Jane Doe").excerpt("ß" * 100_000 + " Jane Doe " + "y" * 100_000)
    assert found is not None and " Jane Doe " in found and len(found) == EXCERPT + 2
    assert found.startswith("…") and found.endswith("…")


def test_mentions_in_their_order() -> None:
    assert find_mentions(Metadata(KOHYA), ["Jane Doe"]) == [
        Mention("Jane Doe", "tag", "ss_tag_frequency", "jane doe", 43),
        Mention("Jane Doe", "folder", "ss_dataset_dirs", "10_jane-doe", 43),
        Mention("Jane Doe", "text", "modelspec.author", "A. Trainer, after Jane Doe"),
    ]
    assert [item.text for item in find_mentions(Metadata(KOHYA), ["nobody", "MyStyle"])] == ["mystyle_v2"]
    assert find_mentions(Metadata(KOHYA), []) == []


def test_hostile_fields_are_left_out() -> None:
    deep = "[" * 200_000
    said = {
        "ss_tag_frequency": json.dumps({"a": {"x": -1, "y": 1e400, "z": True, "w": "9"}, "b": [1], "c": None}),
        "ss_dataset_dirs": deep,
        "ss_datasets": json.dumps([{"subsets": [{"class_tokens": {"a": 1}}, 3]}, 4, {"subsets": 5}]),
        "ss_training_started_at": "1e300",
        "ss_training_finished_at": "yesterday",
        "n": "9" * 10_000,
        "other": json.dumps({"a": [{"b": "from Jane\\ud800 Doe"}]}).replace("\\\\", "\\"),
    }
    claims = read_claims(Metadata(said))
    assert claims == Claims(tags=(("x", None), ("y", None), ("z", None), ("w", None)))
    assert [(item.field, item.where) for item in find_mentions(Metadata(said), ["Jane Doe"])] == [("other", "text")]


def test_a_long_text_is_searched_in_no_time() -> None:
    assert Name("a b c").excerpt("a " * 200_000) is None


def test_names_that_cannot_be_looked_for_are_refused() -> None:
    for wrong in ([" "], ["…"], ["x" * 201], ["a"] * 65):
        with pytest.raises(CopyScopeError, match="artists"):
            AuditSettings.of({"artists": wrong})
