"""What can be said of a Ray cluster without one."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from copyscope_core.auditing.ray_fleet import ray_machines, slots
from copyscope_core.auditing.ray_host import NodeHost
from copyscope_core.auditing.servers import ServerChoice
from copyscope_core.comfyui.errors import HostDiedError, ServerLostError
from copyscope_core.errors import CopyScopeError, HostError
from copyscope_core.observer import Quiet
from copyscope_core.planning.steps import Step


def node(name: str, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"NodeID": name * 8, "NodeManagerAddress": f"10.0.0.{name}", "Alive": alive, "Resources": resources}


def test_a_cluster_has_a_place_for_each_gpu() -> None:
    nodes = [node("2", CPU=8, GPU=2), node("1", GPU=1), node("3", CPU=64), node("4", alive=False, GPU=8)]
    assert [(slot.address, slot.gpu) for slot in slots(nodes)] == [("10.0.0.1", 0), ("10.0.0.2", 0), ("10.0.0.2", 1)]
    assert slots(nodes)[0].name == "Ray node 10.0.0.1 (11111111), GPU 0"


def test_without_gpus_a_cluster_has_a_place_for_each_node_with_a_cpu() -> None:
    assert [slot.name for slot in slots([node("2", CPU=8), node("1", CPU=1), node("3", CPU=0), node("4")])] == [
        "Ray node 10.0.0.1 (11111111)",
        "Ray node 10.0.0.2 (22222222)",
    ]


@pytest.mark.parametrize("choice", [{}, {"servers": ("http://a:1",), "comfyui": Path("ComfyUI")}])
def test_a_cluster_needs_a_comfyui_to_start_and_no_server(choice: dict[str, Any]) -> None:
    with pytest.raises(CopyScopeError, match="give --comfyui, and no --server"):
        ServerChoice(ray="auto", **choice)


def test_a_node_whose_comfyui_keeps_dying_counts_as_lost() -> None:
    class Dying:
        def expect(self, step: Step | None) -> None:
            assert step is None

        async def images(self, step: Step) -> list[bytes]:
            raise HostDiedError("It died.")

    host = NodeHost(ServerChoice(comfyui=Path("ComfyUI")))
    host._runner = Dying()  # type: ignore[assignment]
    answer = asyncio.run(host.make(Step(1, 0), "ab" * 32, {}))
    assert isinstance(answer, ServerLostError)


def test_where_ray_is_not_installed_one_sentence_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with ray_machines("auto", ServerChoice(comfyui=Path("ComfyUI")), Quiet()):
            raise AssertionError

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(HostError, match=r"pip install 'copyscope\[ray\]'"):
        asyncio.run(main())
