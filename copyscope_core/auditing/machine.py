"""What an audit needs of a ComfyUI, wherever it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..features.extractor import FeatureExtractor, Features
from ..observer import Observer
from ..planning.plan import Plan
from ..planning.steps import Step
from ..store.entry import Entry
from ..store.run_store import RunStore
from .context import ServerContext


class Runner(Protocol):
    """What makes the coalitions of one audit, one step at a time."""

    @property
    def name(self) -> str:
        """What it is called in messages and in the run folder."""

    async def make(self, store: RunStore, step: Step, key: str, meta: Mapping[str, Any]) -> Entry:
        """Run a step, store its images, with ``meta`` and the seconds they took, and return the entry.

        Raises:
            HostError: see :meth:`CoalitionRunner.images`.
            StoreError: the images cannot be stored.
        """

    async def features(self, entry: Entry) -> dict[str, Features]:
        """The features of images that it made, by pixel hash; those that are not given are computed by the caller."""


class Machine(Protocol):
    """A ComfyUI, wherever it runs."""

    @property
    def name(self) -> str:
        """What it is called in messages and in the run folder."""

    async def object_info(self) -> dict[str, Any]:
        """Its node classes, as ``/object_info`` gives them."""

    async def context(self, plan: Plan, observer: Observer) -> ServerContext:
        """What the images of a plan depend on there, beside their graphs."""

    def runner(self, plan: Plan, extractor: FeatureExtractor, observer: Observer) -> Runner:
        """What makes the coalitions of a plan there."""
