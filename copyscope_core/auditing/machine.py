"""What an audit needs of a ComfyUI, wherever it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..comfyui.errors import ServerHangError, ServerLostError, ServerUnreachableError
from ..features.extractor import FeatureExtractor, Features
from ..observer import Observer, Quiet
from ..planning.plan import Plan
from ..planning.steps import Step
from ..store.entry import Entry
from ..store.run_store import RunStore
from ..twins.twins import Fingerprint
from .context import ServerContext, common_context


class Runner(Protocol):
    """What makes the coalitions of one audit, one step at a time."""

    @property
    def name(self) -> str:
        """What it is called in messages and in the run folder."""

    def expect(self, step: Step | None) -> None:
        """Which step is made after the next one, so that the server may have it already; None: it is not known."""

    async def make(self, store: RunStore, step: Step, key: str, meta: Mapping[str, Any]) -> Entry:
        """Run a step, store its images, with ``meta`` and the seconds they took, and return the entry.

        Raises:
            HostError: see :meth:`CoalitionRunner.images`.
            StoreError: the images cannot be stored.
        """

    async def features(self, entry: Entry) -> dict[str, Features]:
        """The features of images that it made, by pixel hash; those that are not given are computed by the caller."""

    async def stop(self) -> None:
        """Take back what the server was given and nobody waits for."""


class Machine(Protocol):
    """A ComfyUI, wherever it runs."""

    @property
    def name(self) -> str:
        """What it is called in messages and in the run folder."""

    async def object_info(self) -> dict[str, Any]:
        """Its node classes, as ``/object_info`` gives them."""

    async def fingerprints(self, names: Sequence[str]) -> dict[str, Fingerprint]:
        """What is known of model files there, by their names."""

    async def context(self, plan: Plan, observer: Observer) -> ServerContext:
        """What the images of a plan depend on there, beside their graphs."""

    def runner(self, plan: Plan, extractor: FeatureExtractor, observer: Observer) -> Runner:
        """What makes the coalitions of a plan there."""


async def shared_context(
    machines: Sequence[Machine], plan: Plan, observer: Observer
) -> tuple[ServerContext, list[Machine]]:
    """What machines have in common for a plan, and those of them that answer, at least one.

    Raises:
        HostError: none answers, or they differ in what shapes images.
        StoreError: a model file cannot be read.
    """
    observers = [observer, *(Quiet() for _ in machines[1:])]
    asked = [machine.context(plan, told) for machine, told in zip(machines, observers, strict=True)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    contexts: dict[str, ServerContext] = {}
    left: list[Machine] = []
    for machine, answer in zip(machines, answers, strict=True):
        if isinstance(answer, BaseException):
            lost = isinstance(answer, ServerLostError | ServerUnreachableError | ServerHangError)
            if not lost or (not left and machine is machines[-1]):
                raise answer
            observer.note(f"{answer} The audit goes on without it.")
        else:
            contexts[machine.name] = answer
            left.append(machine)
    return common_context(contexts), left
