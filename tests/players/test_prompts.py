import pytest
from example_workflows import base, ksampler, node
from hypothesis import given
from hypothesis import strategies as st

from copyscope_core.players.prompts import has_phrase, positive_prompt, without_phrase
from copyscope_core.workflow.graph import Link, parse_graph
from copyscope_core.workflow.node_info import bundled_catalog
from tests.fuzz.limits import time_limit


@pytest.mark.parametrize(
    ("text", "phrase", "expected"),
    [
        ("portrait, (mona_lisa:1.2), oil", "mona_lisa", "portrait, oil"),
        ("mona_lisa", "mona_lisa", ""),
        ("a painting da Leonardo da vinci, mona_lisa", "da leonardo da vinci", "a painting, mona_lisa"),
        ("((mona_lisa)), x", "mona_lisa", "x"),
        ("[mona_lisa], x", "mona_lisa", "x"),
        ("x, mona_lisa", "mona_lisa", "x"),
        ("x, mona_lisa, ", "mona_lisa", "x,"),
        ("(a cat, mona_lisa:1.2) on a mat", "mona_lisa", "(a cat:1.2) on a mat"),
        ("(mona_lisa, a cat:1.1)", "mona_lisa", "(a cat:1.1)"),
        ("category, cat", "cat", "category"),
        ("a cat on a mat", "cat", "a on a mat"),
        ("x\nmona_lisa\ny", "mona_lisa", "x\ny"),
        ("Da  Vinci style", "da vinci", "style"),
        ("cat, cat", "cat", ""),
        (r"a (b\), cat", "cat", r"a (b\)"),
    ],
)
def test_phrase_goes_with_brackets_and_separators(text, phrase, expected) -> None:
    assert without_phrase(text, phrase) == expected


def test_neutral_text_takes_the_place() -> None:
    assert without_phrase("a wave, (by hokusai:1.3)", "by hokusai", "by a painter") == "a wave, (by a painter:1.3)"
    assert without_phrase("x", "x", r"\1 \g<0>") == r"\1 \g<0>"


@given(st.text(max_size=60), st.from_regex(r"[a-z]{2,8}( [a-z]{2,8})?", fullmatch=True))
def test_the_phrase_is_gone(text, phrase) -> None:
    assert not has_phrase(without_phrase(f"{text}, {phrase}", phrase), phrase)


LONG = 65_536


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wave" + " " * LONG + "cat", "wave"),
        ("cat" + " " * LONG + "wave", "wave"),
        ("wave" + " " * LONG + "cat" + " " * LONG + "hat", "wave" + " " * LONG + "hat"),
        ("wave," + " " * LONG + "cat" + " " * LONG + ", hat", "wave, hat"),
        ("wave" + " " * LONG + "hat cat", "wave" + " " * LONG + "hat"),
        ("(" * LONG + "cat" + ")" * LONG, ""),
        ("(" * LONG + "cat" + ":1.1)" * LONG, ""),
        ("(" * LONG + "cat", "(" * LONG),
        ("( " * LONG + "cat)", "( " * (LONG - 1) + ""),
        ("(cat:" + " " * LONG, "(:"),
        ("(cat:" + "1" * LONG, "(:" + "1" * LONG),
        ("cat " * LONG, ""),
        ("cat, " * LONG + "wave", "wave"),
        ("," * LONG + "cat", "," * (LONG - 1)),
    ],
)
def test_long_prompts_take_time_in_proportion(text, expected) -> None:
    with time_limit():
        assert without_phrase(text, "cat").strip() == expected.strip()


def texts_of(workflow):
    found = positive_prompt(parse_graph(workflow), bundled_catalog())
    return found.graph, found.texts


def test_positive_is_found_from_the_sampler() -> None:
    _, texts = texts_of(base())
    assert [(t.node, t.input, t.text) for t in texts] == [("6", "text", "a wave, by hokusai")]


def test_linked_text_is_resolved_through_a_primitive() -> None:
    workflow = base()
    workflow["20"] = node("PrimitiveStringMultiline", value="a linked text")
    workflow["6"]["inputs"]["text"] = ["20", 0]
    assert texts_of(workflow)[1][0].text == "a linked text"


def test_computed_text_is_none() -> None:
    workflow = base()
    workflow["20"] = node("StringConcatenate", string_a="a", string_b="b", delimiter="")
    workflow["6"]["inputs"]["text"] = ["20", 0]
    assert texts_of(workflow)[1][0].text is None


def test_all_texts_of_an_encoder() -> None:
    workflow = base()
    workflow["6"] = node("CLIPTextEncodeFlux", clip=["1", 1], clip_l="a", t5xxl="b", guidance=3.5)
    assert [(t.input, t.text) for t in texts_of(workflow)[1]] == [("clip_l", "a"), ("t5xxl", "b")]


def test_through_controlnet_only_its_own_side() -> None:
    workflow = base()
    workflow["30"] = node("ControlNetLoader", control_net_name="c.safetensors")
    workflow["31"] = node("EmptyImage", width=8, height=8, batch_size=1, color=0)
    workflow["32"] = node(
        "ControlNetApplyAdvanced",
        positive=["6", 0],
        negative=["7", 0],
        control_net=["30", 0],
        image=["31", 0],
        strength=1.0,
        start_percent=0.0,
        end_percent=1.0,
    )
    workflow["3"] = ksampler()
    workflow["3"]["inputs"].update(positive=["32", 0], negative=["32", 1])
    graph, texts = texts_of(workflow)
    assert [t.node for t in texts] == ["6"]
    assert set(graph) == set(workflow)  # nothing was duplicated: each encoder has one use


def test_encoder_of_both_prompts_is_duplicated_for_the_positive() -> None:
    workflow = base()
    workflow["40"] = node("ConditioningZeroOut", conditioning=["6", 0])
    workflow["3"]["inputs"]["negative"] = ["40", 0]
    graph, texts = texts_of(workflow)
    assert texts[0].node == "6+positive"
    assert graph["3"].inputs["positive"] == Link("6+positive", 0)
    assert graph["40"].inputs["conditioning"] == Link("6", 0)


def test_same_encoder_on_both_inputs() -> None:
    workflow = base()
    workflow["3"]["inputs"]["negative"] = ["6", 0]
    graph, _ = texts_of(workflow)
    assert graph["3"].inputs["negative"] == Link("6", 0)
    assert graph["3"].inputs["positive"] == Link("6+positive", 0)


def test_shared_encoder_behind_other_nodes() -> None:
    workflow = base()
    workflow["41"] = node("FluxGuidance", conditioning=["6", 0], guidance=3.5)
    workflow["3"]["inputs"].update(positive=["41", 0], negative=["6", 0])
    graph, texts = texts_of(workflow)
    assert texts[0].node == "6+positive"
    assert graph[graph["3"].inputs["positive"].node].inputs["conditioning"] == Link("6+positive", 0)


def test_guider() -> None:
    workflow = base()
    workflow["50"] = node("BasicGuider", model=["1", 0], conditioning=["6", 0])
    workflow["51"] = node("RandomNoise", noise_seed=3)
    workflow["52"] = node("KSamplerSelect", sampler_name="euler")
    workflow["53"] = node("BasicScheduler", model=["1", 0], scheduler="simple", steps=4, denoise=1.0)
    workflow["3"] = node(
        "SamplerCustomAdvanced",
        noise=["51", 0],
        guider=["50", 0],
        sampler=["52", 0],
        sigmas=["53", 0],
        latent_image=["5", 0],
    )
    assert [t.node for t in texts_of(workflow)[1]] == ["6"]
