"""One training loop for everything: resumable, deterministic by seed, bounded in time, and it says where it stands."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

Stop = Callable[[], bool]


@dataclass(frozen=True)
class Schedule:
    """Length and learning rate of one stage. ``average`` is the decay of the running average of the weights."""

    steps: int
    rate: float
    warmup: int = 100
    average: float = 0.999
    decay: float = 0.0
    every: float = 180.0

    def rate_at(self, step: int) -> float:
        """Linear start, then half a cosine down to a twentieth."""
        wave = 0.05 + 0.475 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))
        return self.rate * min(1.0, (step + 1) / self.warmup) * wave


def save_atomic(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file so that a kill at any moment leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file({n: t.detach().contiguous().cpu() for n, t in tensors.items()}, part, dict(metadata))
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


class Deadline:
    """True once the minutes are over or somebody asked to stop (SIGTERM, Ctrl-C); the loop then saves and ends."""

    def __init__(self, minutes: float | None) -> None:
        self.end = time.monotonic() + 60 * minutes if minutes else math.inf
        self.asked = False

    def __call__(self) -> bool:
        return self.asked or time.monotonic() >= self.end

    @contextmanager
    def listening(self) -> Iterator[Deadline]:
        """Take SIGTERM and Ctrl-C as a wish to stop after the step in hand."""

        def ask(number: int, frame: FrameType | None) -> None:
            self.asked = True

        before = {sign: signal.signal(sign, ask) for sign in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for sign, handler in before.items():
                signal.signal(sign, handler)


@contextmanager
def alone(cache: Path, name: str) -> Iterator[None]:
    """Refuse a second trainer of the same model: two would overwrite each other's states."""
    cache.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(cache / f"{name}.lock", timeout=0):
            yield
    except Timeout as error:
        raise SystemExit(f"Another run trains {name} in {cache}; wait for it, or give another --cache.") from error


def _restore(
    optimiser: torch.optim.Optimizer, parameters: Mapping[str, Tensor], saved: Mapping[str, Tensor], step: int
) -> None:
    for name, parameter in parameters.items():
        with torch.no_grad():
            parameter.copy_(saved[f"weight.{name}"])
        state: dict[str, Any] = {"step": torch.tensor(float(step), device=parameter.device)}
        for kind in ("exp_avg", "exp_avg_sq"):
            state[kind] = torch.empty_like(parameter).copy_(saved[f"{kind}.{name}"])
        optimiser.state[parameter] = state


def steps_within(seconds: float, parameters: Mapping[str, Tensor], loss_at: Callable[[int], Tensor]) -> int:
    """How many steps fit into a time on this machine: 40 of them are tried, the last 32 timed. Nothing is changed."""
    started = 0.0
    for step in range(40):
        if step == 8:
            started = time.monotonic()
        loss = loss_at(step)
        loss.backward()
        float(loss.detach())
    for parameter in parameters.values():
        parameter.grad = None
    pace = 1.1 * (time.monotonic() - started) / 32
    print(f"{1000 * pace:.1f} ms a step: {int(seconds / pace)} steps in {seconds:.0f} s", flush=True)
    return max(1, int(seconds / pace))


def train(
    title: str,
    path: Path,
    parameters: Mapping[str, Tensor],
    loss_at: Callable[[int], Tensor],
    schedule: Schedule,
    settings: Mapping[str, Any],
    stop: Stop,
    on_save: Callable[[int, Mapping[str, Tensor]], None] | None = None,
) -> tuple[dict[str, Tensor], int]:
    """Minimise ``loss_at(step)``; gives the running average of the parameters and the steps that are done.

    ``loss_at`` must depend on the parameters and the step alone: then a run that was killed and resumed from ``path``
    ends in the same numbers as one that was not. ``settings`` are kept with the state; other ones are refused.
    """
    optimiser = torch.optim.AdamW(
        parameters.values(), lr=schedule.rate, betas=(0.9, 0.99), weight_decay=schedule.decay, fused=True
    )
    average = {name: value.detach().clone() for name, value in parameters.items()}
    step, spent, wanted = 0, 0.0, json.dumps(dict(settings), sort_keys=True)
    if path.is_file():
        saved, metadata = read_tensors(path)
        if metadata["settings"] != wanted:
            raise ValueError(f"{path} was made with other settings: {metadata['settings']} instead of {wanted}")
        step, spent = int(metadata["step"]), float(metadata["seconds"])
        _restore(optimiser, parameters, saved, step)
        for name, value in average.items():
            value.copy_(saved[f"average.{name}"])
        print(f"{title}: resumed at step {step}/{schedule.steps}", flush=True)
    first, started = step, time.monotonic()
    last_save = last_line = started
    mean = math.nan

    def save() -> None:
        tensors = {f"weight.{n}": p for n, p in parameters.items()} | {f"average.{n}": a for n, a in average.items()}
        for name, parameter in parameters.items():
            for kind in ("exp_avg", "exp_avg_sq"):
                tensors[f"{kind}.{name}"] = optimiser.state[parameter][kind]
        seconds = spent + time.monotonic() - started
        save_atomic(path, tensors, {"step": str(step), "seconds": f"{seconds:.1f}", "settings": wanted})
        if on_save:
            on_save(step, average)

    while step < schedule.steps and not stop():
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate_at(step)
        optimiser.zero_grad(set_to_none=True)
        loss = loss_at(step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), 1.0)
        optimiser.step()
        step += 1
        decay = min(schedule.average, step / (step + 10))
        with torch.no_grad():
            values = [p.detach() for p in parameters.values()]
            torch._foreach_lerp_(list(average.values()), values, 1 - decay)
        latest = float(loss.detach())
        mean = latest if math.isnan(mean) else 0.98 * mean + 0.02 * latest
        now = time.monotonic()
        if now - last_line >= 30 or step in (1, 10, schedule.steps):
            pace = (now - started) / (step - first)
            left = pace * (schedule.steps - step) / 60
            print(
                f"{title}: step {step}/{schedule.steps} loss {mean:.4f} {pace:.2f} s/step {left:.0f} min left",
                flush=True,
            )
            last_line = now
        if now - last_save >= schedule.every:
            save()
            last_save = time.monotonic()
    if step > first:
        save()
    return average, step
