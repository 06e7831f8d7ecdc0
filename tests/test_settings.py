import pytest

from copyscope_core.errors import CopyScopeError
from copyscope_core.planning.own_nodes import from_players_node
from copyscope_core.settings import AuditSettings, load_settings


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
