"""Several servers at once: who runs what, and that the result is that of one server, whatever dies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from example_workflows import HASHES, node, with_lora
from fakecomfy import FakeComfy, fake_comfy
from images_on_disk import png_bytes

from copyscope_core.auditing.fleet import MOST_LOST, distribute
from copyscope_core.auditing.servers import SERVER_VARIABLE, ServerChoice, connected, server_addresses
from copyscope_core.comfyui.errors import ServerLostError
from copyscope_core.errors import HostError
from copyscope_core.observer import Quiet
from copyscope_core.planning.plan import Plan
from copyscope_core.planning.steps import Step
from tests.auditing.test_audit import Notes, audit, results


@pytest.fixture
def second() -> Iterator[FakeComfy]:
    with fake_comfy() as fake:
        fake.hashes = dict(HASHES)
        yield fake


@dataclass
class Hand:
    """A worker of the tests'."""

    name: str


def entry_of(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def shared_out(
    steps: list[Step], *, dying: str = "", after: int = 1, elsewhere: dict[Step, str] | None = None
) -> dict[str, list[Step]]:
    """What each of two workers did; ``dying`` is lost when it has done ``after`` steps."""
    done: dict[str, list[Step]] = {"one": [], "two": []}

    async def work(hand: Hand, step: Step) -> None:
        await asyncio.sleep(0)
        if hand.name == dying and len(done[dying]) == after:
            raise ServerLostError("It died.")
        done[hand.name].append(step)

    left = asyncio.run(distribute(steps, [Hand("one"), Hand("two")], work, Quiet(), elsewhere))
    assert [hand.name for hand in left] == [name for name in done if name != dying]
    return done


def test_every_step_is_run_once_and_each_worker_keeps_to_its_coalition() -> None:
    steps = [Step(mask, offset) for mask in (3, 1) for offset in range(3)]
    done = shared_out(steps)
    assert done == {"one": steps[:3], "two": steps[3:]}


def test_a_worker_without_a_coalition_of_its_own_helps() -> None:
    steps = [Step(3, offset) for offset in range(4)]
    done = shared_out(steps)
    assert len(done["one"]) == len(done["two"]) == 2


def test_the_steps_of_a_lost_worker_go_to_the_other() -> None:
    steps = [Step(mask, offset) for mask in (3, 1) for offset in range(3)]
    done = shared_out(steps, dying="two")
    assert sorted((step.mask, step.offset) for name in done for step in done[name]) == sorted(
        (step.mask, step.offset) for step in steps
    )
    assert len(done["two"]) == 1


def test_a_step_is_left_to_another_worker_as_long_as_there_is_one() -> None:
    again = Step(3, 0, "repeat")
    done = shared_out([again, Step(3, 0), Step(3, 1)], elsewhere={again: "one"})
    assert again in done["two"]
    steps = [Step(1, 0), Step(1, 1), Step(1, 2), again]
    assert again in shared_out(steps, elsewhere={again: "one"}, dying="two", after=0)["one"]


def test_a_step_that_ends_one_worker_after_the_other_is_given_up() -> None:
    lost = []

    async def work(hand: Hand, step: Step) -> None:
        await asyncio.sleep(0)
        if step.mask == 3:
            lost.append(hand.name)
            raise ServerLostError("It died.")

    with pytest.raises(HostError, match=f"has ended {MOST_LOST} servers"):
        asyncio.run(distribute([Step(1, 0), Step(3, 0)], [Hand(name) for name in "abcde"], work, Quiet()))
    assert len(set(lost)) == MOST_LOST


def test_a_worker_is_told_which_step_comes_next_and_takes_it() -> None:
    steps = [Step(mask, offset) for mask in (3, 1) for offset in range(3)]
    told: dict[str, list[Step | None]] = {"one": [], "two": []}
    done: dict[str, list[Step]] = {"one": [], "two": []}

    async def work(hand: Hand, step: Step) -> None:
        await asyncio.sleep(0)
        done[hand.name].append(step)

    hands = [Hand("one"), Hand("two")]
    asyncio.run(distribute(steps, hands, work, Quiet(), expect=lambda hand, step: told[hand.name].append(step)))
    assert done == {"one": steps[:3], "two": steps[3:]}
    for name, nexts in told.items():
        assert len(nexts) == len(done[name])
        assert all(step in (None, after) for step, after in zip(nexts, [*done[name][1:], None], strict=True))
        assert nexts[0] is not None
        assert nexts[-1] is None  # the last steps wait for whoever is free first


def test_of_two_steps_of_a_lost_worker_neither_is_blamed_for_the_other() -> None:
    """A step that ends every worker is queued behind one that ends none, which fails with it."""
    killer, innocent = Step(1, 1), Step(1, 0)
    following: dict[str, Step | None] = {}
    done = []

    async def work(hand: Hand, step: Step) -> None:
        await asyncio.sleep(0)
        if killer in (step, following[hand.name]):
            raise ServerLostError("It died.")
        done.append(step)

    hands = [Hand(name) for name in "abcdef"]
    steps = [innocent, killer, *(Step(1, offset) for offset in range(2, 20))]
    with pytest.raises(HostError, match=f"has ended {MOST_LOST} servers"):
        asyncio.run(
            distribute(steps, hands, work, Quiet(), expect=lambda hand, step: following.update({hand.name: step}))
        )
    assert innocent in done


def test_an_error_that_no_other_worker_could_mend_cancels_what_is_in_flight() -> None:
    cancelled = []

    async def work(hand: Hand, step: Step) -> None:
        if hand.name == "two":
            raise HostError("The node failed.")
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(step)
            raise

    with pytest.raises(HostError, match="The node failed"):
        asyncio.run(distribute([Step(1, 0), Step(2, 0)], [Hand("one"), Hand("two")], work, Quiet()))
    assert cancelled == [Step(1, 0)]


def test_two_servers_give_the_report_of_one(server: FakeComfy, second: FakeComfy, tmp_path: Path) -> None:
    alone = audit(server, tmp_path / "alone", canaries=True)
    server.prompts.clear()
    server.seconds = second.seconds = 0.05
    both = audit([server, second], tmp_path / "both", canaries=True)
    assert results(both.report) == results(alone.report)
    assert len(server.prompts) + len(second.prompts) == both.sampled + 2 == 11
    assert min(len(server.prompts), len(second.prompts)) >= 3
    assert audit([second, server], tmp_path / "both", canaries=True).sampled == 0


def test_the_second_run_of_the_whole_workflow_is_made_on_another_server(
    server: FakeComfy, second: FakeComfy, tmp_path: Path
) -> None:
    second.paint = lambda digest, number: server.paint(f"{digest} differently", number)
    report = audit([server, second], tmp_path).report
    assert report.deterministic is False
    assert "non_deterministic" in {warning.code for warning in report.warnings}


@pytest.mark.parametrize("which", [0, 1])
def test_a_server_that_dies_leaves_its_work_to_the_other(
    server: FakeComfy, second: FakeComfy, tmp_path: Path, which: int
) -> None:
    alone = audit(server, tmp_path / "alone")
    fakes = [server, second]
    dying, notes = fakes[which], Notes()
    dying.prompts.clear()

    def die(number: int) -> None:
        if number == 2:
            dying.die()

    dying.before = die
    both = audit(fakes, tmp_path / "both", observer=notes)
    assert results(both.report) == results(alone.report)
    assert any("Its work goes to the other servers" in note and dying.url in note for note in notes.notes)


def test_when_all_servers_died_the_same_command_goes_on(server: FakeComfy, second: FakeComfy, tmp_path: Path) -> None:
    for fake in (server, second):
        fake.before = lambda number, fake=fake: fake.die() if number == 2 else None
    with pytest.raises(ServerLostError, match="run the same command"):
        audit([server, second], tmp_path)
    with fake_comfy() as third:
        third.hashes = dict(HASHES)
        again = audit(third, tmp_path)
    assert again.reused == 2
    assert again.sampled == 7


@pytest.mark.parametrize("change", ["model", "version", "flag"])
def test_servers_that_differ_are_refused_before_anything_runs(
    server: FakeComfy, second: FakeComfy, tmp_path: Path, change: str
) -> None:
    if change == "model":
        second.hashes = {**HASHES, "style.safetensors": "c" * 64}
        told = "differ in style.safetensors"
    elif change == "version":
        second.version, told = "0.8.1", r"differ in comfyui \(0.8.0, 0.8.1\)"
    else:
        second.argv, told = ["main.py", "--cpu", "--force-fp16"], "differ in launch_flags"
    with pytest.raises(HostError, match=told):
        audit([server, second], tmp_path)
    assert not server.prompts
    assert not second.prompts


def test_a_model_that_one_server_cannot_hash_is_not_reused(
    server: FakeComfy, second: FakeComfy, tmp_path: Path
) -> None:
    second.hashes = None
    notes = Notes()
    audit([server, second], tmp_path, observer=notes)
    assert any("Not hashed" in note for note in notes.notes)
    assert audit([server, second], tmp_path).sampled == 9


def test_addresses_come_from_the_options_else_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SERVER_VARIABLE, "http://a:1 http://b:2")
    assert server_addresses(["http://c:3"]) == ["http://c:3"]
    assert server_addresses([]) == ["http://a:1", "http://b:2"]


def test_a_server_that_is_given_twice_is_refused_however_it_is_written(server: FakeComfy) -> None:
    bare = server.url.removeprefix("http://")

    async def main(*urls: str) -> None:
        async with connected(ServerChoice(urls), None, Quiet()):
            raise AssertionError

    for other in (bare, f"{server.url}/", server.url.upper()):
        with pytest.raises(HostError, match="given twice"):
            asyncio.run(main(server.url, other))


def test_servers_newer_than_those_tried_are_told_of_once_and_used(server: FakeComfy, second: FakeComfy) -> None:
    server.version = second.version = "99.0.0"
    notes = Notes()

    async def main() -> list[str]:
        async with connected(ServerChoice((server.url, second.url)), None, notes) as servers:
            return [item.name for item in servers]

    assert asyncio.run(main()) == [server.url, second.url]
    assert [note.split(",")[0] for note in notes.notes] == ["This is ComfyUI 99.0.0"]


def test_an_input_image_that_one_server_lacks_is_named_before_anything_runs(
    server: FakeComfy, second: FakeComfy, tmp_path: Path
) -> None:
    workflow = with_lora()
    workflow["10"] = node("LoadImage", image="a, b [1].png")
    workflow["5"] = node("VAEEncode", pixels=["10", 0], vae=["1", 2])
    server.inputs = {"a, b [1].png": png_bytes(1)}
    for fake in (server, second):
        fake.info["LoadImage"] = {**fake.info["LoadImage"], "input": {"required": {"image": [["a, b [1].png"], {}]}}}
    with pytest.raises(HostError, match=r"has the input image 'a, b \[1\].png' and .* has not"):
        audit([server, second], tmp_path, workflow)
    assert not server.prompts + second.prompts


def test_the_whole_coalition_is_made_on_two_servers_where_others_have_more_nodes(
    server: FakeComfy, second: FakeComfy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Plan, "weight", lambda plan, mask: plan.full - mask)
    server.seconds = second.seconds = 0.02
    audit([server, second], tmp_path)
    entries = [entry_of(path)["meta"] for path in (tmp_path / "out").glob("coalitions/*/entry.json")]
    whole = [entry["server"] for entry in entries if len(entry["members"]) == 2 and entry["offset"] == 0]
    assert sorted(whole) == sorted([server.url, second.url])


def test_a_proxy_without_a_server_behind_it_counts_as_a_dead_server(
    server: FakeComfy, second: FakeComfy, tmp_path: Path
) -> None:
    alone = audit(server, tmp_path / "alone")
    second.gateway = lambda path: len(second.prompts) > 1 and path in ("/prompt", "/view")
    notes = Notes()
    both = audit([server, second], tmp_path / "both", observer=notes)
    assert results(both.report) == results(alone.report)
    assert any("answers 502" in note and "Its work goes to the other servers" in note for note in notes.notes)
