"""An audit that runs inside one ComfyUI prompt: what its nodes share.

The enumerator opens a run; the nodes that it expands to find it by its token, since links carry no Python objects
before they have run. Turns keep the coalitions in order, so that images are stored one by one instead of all samplers
running first.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import comfy.utils

from ...copyscope_core.errors import StoreError
from ...copyscope_core.metadata.header import Metadata
from ...copyscope_core.planning.plan import Plan
from ...copyscope_core.planning.steps import Step, StepKeys, run_nonce
from ...copyscope_core.report.until_sure import race_as_json, race_text
from ...copyscope_core.store.keys import RunContext
from ...copyscope_core.store.run_store import RunStore
from ...copyscope_core.workflow.graph import Graph, Link
from ...copyscope_core.workflow.node_info import is_image_file
from ..host import comfyui

if TYPE_CHECKING:
    from ...copyscope_core.auditing.reporting import StoredAudit
    from ...copyscope_core.evaluation.measure import ImageSummary
    from ...copyscope_core.evidence.custody import Custody

PURPOSES = {"repeat": "second run", "canary": "once again at the end"}
"""How messages call the steps that are run again."""

_KEPT = 64
"""Parts of audits that are open at most: a race of hours has a dozen, and a prompt may hold several audits."""
_OPEN: OrderedDict[str, GraphRun] = OrderedDict()


@dataclass
class GraphRun:
    """One audit in a graph.

    Attributes:
        keys: of the steps, in the run folder.
        steps: all of them.
        missing: those that are not stored yet, in the order of their turns.
        prefix: of the ids of all nodes that the run expands to.
        part: which expansion of a growing audit this is, from 0.
        begun: how many steps the earlier parts have expanded to.
        closed: no part follows: the canaries are among the steps, or there are none.
        growing: the part serves the next look alone, so that who stops the audit leaves it out.
        summaries: what is known of the coalitions' images already, by mask.
        custody: the session that ends with the report.
        asked: whether its user asked to stop and have the report; all parts share it.
        prompt_id: of the prompt that it runs in.
        continued_by: the node that expanded to what follows this part.
    """

    plan: Plan
    store: RunStore
    context: RunContext
    keys: StepKeys
    steps: tuple[Step, ...]
    missing: tuple[Step, ...]
    display_id: str
    prefix: str
    custody: Custody
    part: int = 0
    begun: int = 0
    closed: bool = True
    growing: bool = False
    summaries: dict[int, ImageSummary] = field(default_factory=dict, repr=False)
    asked: threading.Event = field(default_factory=threading.Event, repr=False)
    prompt_id: str | None = field(default_factory=comfyui.running_prompt_id)
    continued_by: str | None = None
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        self._events: dict[int, asyncio.Event] = {}
        self._end = asyncio.Event()
        self._begun: set[int] = set()
        self._done: set[int] = set()
        self._next = 0
        self._bar = None
        self._nonces = {step: run_nonce(step) for step in self.missing}
        self._by_key = {self.keys[step]: step for step in self.missing}
        self._release_the_end()
        _OPEN[self.token] = self
        while len(_OPEN) > _KEPT:
            _OPEN.popitem(last=False)

    @property
    def total(self) -> int:
        """How many steps there are to do."""
        return len(self.missing)

    @property
    def complete(self) -> bool:
        """Whether all steps are stored."""
        return len(self._done) == self.total

    @property
    def can_stop(self) -> bool:
        """Whether the audit would end with a report: it runs until it is sure, and was measured or is about to be."""
        race = self.plan.race
        return race is not None and race.stopped is None and (self.growing or self.complete)

    @property
    def left_out(self) -> bool:
        """Whether what is left of the part is not run, because the user asked to stop."""
        return self.growing and self.asked.is_set()

    def label(self, step: Step) -> str:
        """How messages call a step."""
        name = f"{self.plan.label(step.mask)}, seed +{step.offset}"
        return f"{name} ({PURPOSES[step.purpose]})" if step.again else name

    def step(self, key: str) -> Step:
        """The step of a key.

        Raises:
            StoreError: the run has no such step.
        """
        try:
            return self._by_key[key]
        except KeyError:
            raise StoreError("This audit has no such coalition; queue the workflow again.") from None

    def stored(self) -> StoredAudit:
        """The audit with all its entries, checked.

        Raises:
            StoreError: an entry is gone from the run folder.
        """
        from ...copyscope_core.auditing.reporting import StoredAudit  # when used: ComfyUI's start stays short

        entries = {}
        for step in self.steps:
            entry = self.store.read(self.keys[step])
            if entry is None:
                raise StoreError(
                    f"The images of {self.label(step)} are gone from {self.store.folder}; queue the workflow again."
                )
            entries[step] = entry
        return StoredAudit(self.plan, self.store, self.plan.filled(entries), self.summaries)

    def model_hashes(self) -> dict[str, str | None]:
        """Model file name → SHA-256; None where it is not known, or where several files have the name."""
        models = {name: digest for name, digest in self.context.files.items() if not is_image_file(name)}
        return {name: None if digest is None or "+" in digest else digest for name, digest in models.items()}

    def model_metadata(self) -> dict[str, Metadata]:
        """Model file name → what the file says of itself, where that is known."""
        found = {name: comfyui.file_metadata(name) for name in self.model_hashes()}
        return {name: told for name, told in found.items() if told is not None}

    async def turn(self, index: int) -> bool:
        """Wait until every earlier step of the expansion is stored; False where this one is left out.

        A step that has begun is run whole: it may have several turns, and a cache may have them run again.
        """
        event = self._events.setdefault(index, asyncio.Event())
        if index > self._next:
            await event.wait()
        if index in self._begun or not self.left_out:
            self._begun.add(index)
            return True
        self._end.set()
        for waiting in self._events.values():
            waiting.set()
        return False

    async def end(self) -> None:
        """Wait until every step of the expansion is stored, or the rest is left out.

        ComfyUI itself does not look at its cancel button while all nodes wait, so that is done here.
        """
        while not self._end.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._end.wait(), 1)
            comfyui.check_interrupt()

    def finished(self, index: int) -> None:
        """A step of the expansion is stored: show it and let the next one begin."""
        self._done.add(index)
        while self._next in self._done:
            self._next += 1
        for waiting, event in self._events.items():
            if waiting <= self._next:
                event.set()
        self._release_the_end()
        self._bar = self._bar or comfy.utils.ProgressBar(self.total, node_id=self.display_id)
        self._bar.update_absolute(len(self._done))

    def _release_the_end(self) -> None:
        if self.complete:
            self._end.set()

    def say(self, text: str) -> None:
        comfyui.say(text, self.display_id)

    def show_race(self, plan: Plan) -> None:
        """Show where an audit stands that runs until it is sure, as a line and as what the panel draws."""
        if plan.race is not None:
            units = plan.group_names or plan.names
            self.say(race_text(plan.race, units))
            comfyui.tell("copyscope.race", {"node": self.display_id, **race_as_json(plan.race, units)})

    def target(self, step: Step) -> Link:
        """The image output of a step that is to be run, in the rewriter's pool."""
        return self.plan.rewriter.target(step.mask, step.offset, self._nonces[step])

    def graph(self, step: Step) -> Graph:
        """The rewritten graph of a step that is to be run."""
        return self.plan.rewriter.graph(step.mask, step.offset, self._nonces[step])[0]


def stop_run(display_id: str) -> bool:
    """Ask the audit that an enumerator runs to stop and report; False where none runs that has been looked at."""
    found = next((run for run in reversed(list(_OPEN.values())) if run.display_id == display_id), None)
    if found is None or found.prompt_id != comfyui.running_prompt_id() or not found.can_stop:
        return False
    found.asked.set()
    return True


def open_run(token: str) -> GraphRun:
    """The run of a token.

    Raises:
        StoreError: the run is over.
    """
    try:
        return _OPEN[token]
    except KeyError:
        raise StoreError("This audit is over; queue the workflow again.") from None
