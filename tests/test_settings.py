import pytest

from copyscope_core.errors import CopyScopeError
from copyscope_core.planning.own_nodes import from_players_node, from_settings_node
from copyscope_core.settings import AuditSettings, load_settings, words_of


def test_given_settings_count_over_those_in_a_workflow() -> None:
    merged = AuditSettings(seeds=2).over({"seeds": 5, "lock": ("prompt",)})
    assert (merged.seeds, merged.lock, merged.max_coalitions) == (2, ("prompt",), 256)
    with pytest.raises(CopyScopeError, match="seeds"):
        AuditSettings().over({"seeds": 0})


def test_players_node() -> None:
    chosen = from_players_node({"baseline_checkpoint": "(none)", "only": " lora \n", "neutral_prompt": " a wave "})
    assert chosen == {"baseline_checkpoint": None, "players": ("lora",), "neutral_prompt": "a wave"}
    with pytest.raises(CopyScopeError, match="node = file"):
        from_players_node({"baseline_models": "12"})


def test_settings_node_until_sure() -> None:
    """``error`` and ``max_runs`` say nothing without it."""
    given = {"budget": 0, "target_width": 0.0, "error": 0.01, "max_runs": 0}
    assert from_settings_node({**given, "until_sure": False}) == {}
    assert from_settings_node({**given, "until_sure": True}) == {"until_sure": True, "error": 0.01}
    chosen = from_settings_node({**given, "until_sure": True, "max_runs": 99})
    assert AuditSettings.of(chosen).max_runs == 99


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"max_runs": 9}, "give until_sure too"),
        ({"until_sure": True, "budget": 9, "target_width": 0.1}, "two reasons to stop"),
        ({"until_sure": True, "distance": "fid_infinity"}, "no intervals"),
        ({"until_sure": True, "error": 0.0}, "error"),
    ],
)
def test_choices_until_sure_that_contradict_each_other(fields, sentence) -> None:
    with pytest.raises(CopyScopeError, match=sentence):
        AuditSettings.of(fields)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"{", "does not fit"), (b'{"seed": 1}', "seed: Extra inputs"), (b'{"seeds": "x"}', "seeds"), (b"\xff", "UTF-8")],
)
def test_bad_settings_files(tmp_path, content, sentence) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(content)
    with pytest.raises(CopyScopeError, match=sentence):
        load_settings(path)
    with pytest.raises(CopyScopeError, match="cannot be read"):
        load_settings(tmp_path / "missing.json")


def test_words_stand_between_semicolons_or_line_ends() -> None:
    assert words_of(" Jane Doe; jd;\n\n;Doe, Jane ") == ("Jane Doe", "jd", "Doe, Jane")
    assert words_of("") == ()
