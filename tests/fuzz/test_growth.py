"""Small input never becomes much work: whatever grows is done in time, or refused with a sentence."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from copyscope_core.planning.plan import make_plan
from copyscope_core.players.prompts import has_phrase, without_phrase
from copyscope_core.settings import AuditSettings
from copyscope_core.workflow.graph import parse_graph
from copyscope_core.workflow.node_info import NodeCatalog, bundled_catalog
from copyscope_core.workflow.ui.convert import convert, is_ui_format
from copyscope_core.workflow.ui.widgets import resolve_dynamic_prompt
from tests.planning.large_workflows import GROWING, catalog
from tests.workflow import large_ui

from .growth import SIZES, grown, long_texts
from .harness import fuzzed, guarded
from .test_workflows import API, UI, UI_INFO

CATALOG = catalog()
UI_CATALOG = NodeCatalog(UI_INFO, live=False)
SETTINGS = [
    AuditSettings(),
    AuditSettings(players=("prompt",)),
    AuditSettings(budget=60, baseline_vae="b.safetensors"),
    AuditSettings(key_prompts=("a wave",), baseline_checkpoint="b.safetensors"),
]


@fuzzed()
@given(long_texts(), st.sampled_from(["cat", "cat dog", "(cat)", "x", "cat cat"]))
def test_texts(text: str, phrase: str) -> None:
    with guarded():
        resolve_dynamic_prompt(text)
        has_phrase(text, phrase)
        for neutral in ("", "bird"):
            without_phrase(text, phrase, neutral)


@fuzzed(0.5)
@given(st.sampled_from(sorted(GROWING)), st.sampled_from(SIZES), st.sampled_from(SETTINGS))
def test_workflows_of_many_nodes(name: str, size: int, settings: AuditSettings) -> None:
    with guarded():
        plan = make_plan(GROWING[name](size), CATALOG, settings)
        plan.rewriter.graph(0, 1, "again")
        plan.summary()


@fuzzed(0.5)
@given(grown(API), st.sampled_from(SETTINGS))
def test_api_workflows(graph: Any, settings: AuditSettings) -> None:
    with guarded():
        make_plan(parse_graph(graph), bundled_catalog(), settings).summary()


@fuzzed(0.5)
@given(grown(UI), st.sampled_from(SETTINGS))
def test_ui_workflows(data: Any, settings: AuditSettings) -> None:
    with guarded():
        if is_ui_format(data):
            make_plan(parse_graph(convert(data, UI_INFO).graph), UI_CATALOG, settings).summary()


@fuzzed(0.5)
@given(st.integers(1, 130), st.integers(1, 4), st.sampled_from(SIZES), st.sampled_from([1, 30, 300]))
def test_subgraphs_and_reroutes(levels: int, uses: int, count: int, samplers: int) -> None:
    for data in (
        large_ui.nested(levels, uses),
        large_ui.promoted(levels),
        large_ui.reroutes(count, samplers),
        large_ui.reroutes(count, samplers, kind="VAEEncode", mode=4),
        large_ui.reroutes(count, samplers, kind="SetNode", widgets_values=["x"]),
    ):
        with guarded():
            convert(data, UI_INFO)
