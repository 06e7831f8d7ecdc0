"""Damaged answers of a server: what the client needs, or one sentence."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from example_workflows import with_lora
from hypothesis import given
from hypothesis import strategies as st

from copyscope_core.auditing.context import server_context, split_image_name
from copyscope_core.auditing.runner import CoalitionRunner, Server
from copyscope_core.comfyui.client import ComfyClient
from copyscope_core.comfyui.errors import failed, options_of, refused
from copyscope_core.comfyui.versions import check_version
from copyscope_core.errors import CopyScopeError, HostError
from copyscope_core.observer import Quiet
from copyscope_core.planning.plan import make_plan
from copyscope_core.planning.steps import Step
from copyscope_core.workflow.node_info import bundled_catalog

from .harness import fuzzed, guarded
from .mutations import TEXTS, damaged

STATS = {"system": {"comfyui_version": "0.8.0", "pytorch_version": "2", "os": "linux", "argv": ["main.py", "--cpu"]},
         "devices": [{"name": "cpu", "type": "cpu"}]}  # fmt: skip
INFO = {"KSampler": {"input": {"required": {"model": ["MODEL"]}}, "output": ["LATENT"], "python_module": "nodes"}}
ANSWERED = {"prompt_id": "p", "number": 1, "node_errors": {}}
REFUSED = {
    "error": {"type": "x", "message": "bad", "details": "worse"},
    "node_errors": {
        "3": {
            "class_type": "KSampler",
            "errors": [
                {
                    "type": "value_not_in_list",
                    "message": "m",
                    "details": "d",
                    "extra_info": {"input_name": "ckpt_name", "received_value": "x"},
                }
            ],
        }
    },
}
SUCCESS = {"status_str": "success", "completed": True, "messages": [["execution_success", {}]]}
IMAGES = {"images": [{"filename": "a.png", "subfolder": "", "type": "temp"}]}
DONE = {"p": {"prompt": [1, "p", {}, {}, []], "outputs": {"copyscope_output": IMAGES}, "status": SUCCESS}}
ERROR = {"node_id": "3", "node_type": "KSampler", "exception_message": "no", "exception_type": "E"}
FAILURE = {"status_str": "error", "completed": False, "messages": [["execution_error", ERROR]]}
FAILED = {"p": {"prompt": [1, "p", {}, {}, []], "outputs": {}, "status": FAILURE}}
QUEUE = {"queue_running": [[1, "p", {}, {}, []]], "queue_pending": []}
HASHES = {"copyscope": "1", "files": {"dream.safetensors": {"sha256": "a" * 64}}}


class Answers(ComfyClient):
    """A client whose server's answers are given; nothing is sent anywhere."""

    def __init__(self, answers: dict[str, Any], status: int = 200) -> None:
        super().__init__("http://127.0.0.1:9", poll_seconds=0.0, no_progress_timeout=0.0, dead_after=0.0)
        self.answers = answers
        self.status = status
        self._tried.set()

    async def request(self, method: str, path: str, body: object = None, timeout: Any = None) -> tuple[int, Any]:
        for name, answer in self.answers.items():
            if path.startswith(name) and method == ("POST" if name in ("prompt", "copyscope") else "GET"):
                if name == "history" and isinstance(answer, dict) and "p" in answer:
                    answer = {path.rpartition("/")[2]: answer["p"]}
                return self.status if name == "prompt" else 200, answer
        return 200, None

    async def fetch_image(self, filename: str, subfolder: str = "", type: str = "output") -> bytes:
        return b"image"

    async def _listen(self) -> None:
        return None


PLAN = make_plan(with_lora(), bundled_catalog())


@fuzzed()
@given(damaged([REFUSED, ANSWERED]), damaged([DONE, FAILED]), damaged([QUEUE]), st.sampled_from([200, 400, 500]))
def test_prompts(answer: Any, history: Any, queue: Any, status: int) -> None:
    client = Answers({"prompt": answer, "history": history, "queue": queue, "object_info": INFO}, status)
    with guarded():
        asyncio.run(CoalitionRunner(PLAN, Server(client), Quiet()).images(Step(0, 0)))


@fuzzed()
@given(damaged([DONE, FAILED]))
def test_histories(history: Any) -> None:
    client = Answers({"prompt": ANSWERED, "history": history, "queue": QUEUE, "object_info": INFO})
    with guarded():
        asyncio.run(CoalitionRunner(PLAN, Server(client), Quiet()).images(Step(3, 1, "repeat")))


@fuzzed()
@given(damaged([STATS]), damaged([INFO]), damaged([HASHES]))
def test_what_a_server_says_of_itself(stats: Any, info: Any, hashes: Any) -> None:
    client = Answers({"system_stats": stats, "object_info": info, "copyscope": hashes})
    with guarded():
        asyncio.run(server_context(client, PLAN, None, Quiet()))


@fuzzed()
@given(damaged([REFUSED]), damaged([INFO]))
def test_refusals(answer: Any, info: Any) -> None:
    with guarded():
        if isinstance(answer, dict):
            raise refused(answer, info.get if isinstance(info, dict) else {}.get)


@fuzzed()
@given(damaged([FAILURE["messages"]]))
def test_failures(messages: Any) -> None:
    with guarded():
        raise failed(messages if isinstance(messages, list) else [messages], "here")


@fuzzed()
@given(damaged([INFO["KSampler"]]), st.sampled_from(TEXTS))
def test_small_parts(info: Any, text: str) -> None:
    with guarded():
        if isinstance(info, dict):
            options_of(info, text)
        split_image_name(text)
        try:
            ComfyClient(text)
        except HostError as error:
            assert isinstance(error, CopyScopeError)
        check_version(text, "here")


EVENTS = ['{"type": "executing", "data": {"node": null, "prompt_id": "p"}}', '{"type": 1, "data": []}', "[]", "{"]


@fuzzed()
@given(st.lists(st.one_of(st.sampled_from(EVENTS), st.text(max_size=30)), max_size=5))
def test_websocket_messages(texts: list[str]) -> None:
    client = Answers({})
    with guarded():
        for text in texts:
            client._hear(aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, text, None))
