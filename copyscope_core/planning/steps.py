"""The steps of an audit: which coalition is run at which seed offset and for what purpose, and under which key."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..players.rewrite import Rewriter
from ..store.keys import RunContext
from ..workflow.graph import topological_order

Purpose = Literal["coalition", "repeat", "canary"]
"""Why a step is run: for its coalition's images; to see whether the full coalition's first images repeat; to see, after
all others, whether a coalition still gives what it gave (a *canary*: a model that stayed applied would show)."""

CANARIES = 2
"""Coalitions that are run again at the end, besides the full one, which is run twice at the beginning."""

_DRAW_SEED = 20231129


@dataclass(frozen=True)
class Step:
    """One prompt of an audit: a coalition at a seed offset."""

    mask: int
    offset: int = 0
    purpose: Purpose = "coalition"

    @property
    def again(self) -> bool:
        """Whether the coalition has been run at this offset before."""
        return self.purpose != "coalition"


def nonce(step: Step) -> str | None:
    """The word in the noise nodes under which a step is stored; None: they are the coalition's own."""
    return step.purpose if step.again else None


def run_nonce(step: Step) -> str | None:
    """The word with which a step is run. A canary's is new each time, so that no server's cache answers for it."""
    return f"{step.purpose} {secrets.token_hex(8)}" if step.purpose == "canary" else nonce(step)


def choose_canaries(masks: Iterable[int], full: int) -> list[Step]:
    """The coalitions to run again: others than ∅ and the full one, drawn with a fixed seed, and then ∅."""
    others = sorted(mask for mask in masks if mask not in (0, full))
    drawn = random.Random(_DRAW_SEED).sample(others, min(CANARIES - 1, len(others)))  # noqa: S311 - to be repeatable
    return [Step(mask, 0, "canary") for mask in (*drawn, 0)]


class StepKeys:
    """The keys of steps in the run folder, each computed once.

    Args:
        rewriter: of the plan.
        context: where the steps run.
        frames: how many frames of each clip are kept (0: all); None: the images are no frames.
    """

    def __init__(self, rewriter: Rewriter, context: RunContext, frames: int | None) -> None:
        self._rewriter = rewriter
        self._context = context
        self._frames = frames
        self._keys: dict[Step, str] = {}

    def __getitem__(self, step: Step) -> str:
        if step not in self._keys:
            target = self._rewriter.target(step.mask, step.offset, nonce(step))
            nodes = [self._rewriter.pool[digest] for digest in topological_order(self._rewriter.pool, [target.node])]
            self._keys[step] = self._context.key(target, nodes, self._frames)
        return self._keys[step]
