"""A Ray cluster: on each of its GPUs, or else on each of its nodes, an actor that owns a headless ComfyUI.

Coalitions are tasks. The actor stores the images in the run folder, which all nodes must see, or in object storage, and
gives back what is known of them and their features. Ray is imported when a cluster is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..comfyui.errors import ServerLostError, one_line
from ..errors import CopyScopeError, HostError
from ..features.extractor import FeatureExtractor, Features
from ..files.atomic import TEMPORARY_SUFFIX, disk_errors
from ..observer import Observer
from ..planning.plan import Plan
from ..planning.steps import Step
from ..store.entry import Entry
from ..store.run_store import RunStore
from ..twins.twins import Fingerprint
from .context import ServerContext
from .ray_host import NodeHost
from .servers import ServerChoice

_START_SECONDS = 360.0
"""After which an actor that has no place or whose ComfyUI does not answer is left out."""
_STOP_SECONDS = 15.0


class RayMachine:
    """A ``NodeHost`` as the driver sees it."""

    def __init__(self, name: str, actor: Any, cluster: _Cluster) -> None:
        self.name = name
        self.actor = actor
        self.cluster = cluster
        self.extractor: FeatureExtractor | None = None
        self._object_info: dict[str, Any] | None = None

    async def object_info(self) -> dict[str, Any]:
        """See ``runner.Machine``; asked once, so a batch can be planned when the machine is lost."""
        if self._object_info is None:
            self._object_info = dict(await self.ask("object_info"))
        return self._object_info

    async def fingerprints(self, names: Sequence[str]) -> dict[str, Fingerprint]:
        """See ``runner.Machine``."""
        answer: dict[str, Fingerprint] = await self.ask("fingerprints", list(names))
        return answer

    async def context(self, plan: Plan, observer: Observer) -> ServerContext:
        """See ``runner.Machine``."""
        answer: ServerContext = await self.ask("context", self.cluster.put(plan))
        return answer

    def runner(self, plan: Plan, extractor: FeatureExtractor, observer: Observer) -> RayRunner:
        return RayRunner(self, plan, extractor, observer)

    async def ask(self, method: str, *args: Any) -> Any:
        """Call a method of the actor; a call that is cancelled is cancelled there too.

        Raises:
            ServerLostError: the actor or its node is gone.
            CopyScopeError: the call's own.
        """
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            reference = getattr(self.actor, method).remote(*args)
            answer = await asyncio.wrap_future(reference.future())
        except asyncio.CancelledError:
            with contextlib.suppress(RayError, ValueError, ConnectionError):
                ray.cancel(reference)
            raise
        except RayTaskError as error:
            raise HostError(
                f"CopyScope failed on {self.name} ({one_line(error.cause)}); check that all nodes have the same "
                "versions of it and of its packages."
            ) from error
        except (RayError, ConnectionError) as error:
            raise ServerLostError(
                f"{self.name} was lost ({type(error).__name__}); run the same command to go on."
            ) from error
        if isinstance(answer, CopyScopeError):
            raise answer
        return answer


class RayRunner:
    """Makes the coalitions of one audit on one machine of a cluster."""

    def __init__(self, machine: RayMachine, plan: Plan, extractor: FeatureExtractor, observer: Observer) -> None:
        self.machine = machine
        self.plan = plan
        self.extractor = extractor
        self.observer = observer
        self._prepared = False
        self._following: Step | None = None

    @property
    def name(self) -> str:
        return self.machine.name

    def expect(self, step: Step | None) -> None:
        """See ``runner.Runner``."""
        self._following = step

    async def make(self, store: RunStore, step: Step, key: str, meta: Mapping[str, Any]) -> Entry:
        """See ``runner.Runner``."""
        if not self._prepared:
            await self._prepare(store)
        made: tuple[Entry, list[str]] = await self.machine.ask("make", step, key, dict(meta), self._following)
        entry, notes = made
        for note in notes:
            self.observer.note(f"{self.name}: {note}")
        return entry if store.storage is None else await asyncio.to_thread(store.keep, entry)

    async def features(self, entry: Entry) -> dict[str, Features]:
        """See ``runner.Runner``; none where the machine was lost meanwhile."""
        try:
            found: dict[str, Features] = await self.machine.ask("features", entry.key)
        except ServerLostError:
            return {}
        return found

    async def stop(self) -> None:
        """See ``runner.Runner``."""
        if self._prepared:
            with contextlib.suppress(ServerLostError):
                await self.machine.ask("drop")

    async def _prepare(self, store: RunStore) -> None:
        cluster = self.machine.cluster
        known = self.machine.extractor is self.extractor
        await self.machine.ask(
            "prepare",
            cluster.put(self.plan),
            None if known else cluster.put(self.extractor),
            store.folder.absolute(),
            store.storage,
            cluster.probe(store),
        )
        self.machine.extractor = self.extractor
        self._prepared = True


class _Slot(NamedTuple):
    """A place for an actor: a node, and which of its GPUs, if it has any."""

    node: str
    address: str
    gpu: int | None

    @property
    def name(self) -> str:
        return f"Ray node {self.address} ({self.node[:8]})" + ("" if self.gpu is None else f", GPU {self.gpu}")


class _Cluster:
    """The cluster that is connected to, and what was sent to it."""

    def __init__(self) -> None:
        self._sent: dict[type, tuple[Any, Any]] = {}
        self._probes: dict[Path, Path] = {}

    def put(self, value: Any) -> Any:
        """A reference to a value; the last one of each type is sent once, however many actors are given it."""
        import ray

        last = self._sent.get(type(value))
        if last is None or last[0] is not value:
            last = self._sent[type(value)] = (value, ray.put(value))
        return last[1]

    def probe(self, store: RunStore) -> Path:
        """A file in the run folder that nobody can see who does not share it."""
        folder = store.coalitions_folder.absolute()
        if folder not in self._probes:
            path = folder / f".{secrets.token_hex(16)}{TEMPORARY_SUFFIX}"
            with disk_errors(path):
                folder.mkdir(parents=True, exist_ok=True)
                path.touch()
            self._probes[folder] = path
        return self._probes[folder]

    def close(self) -> None:
        for path in self._probes.values():
            with contextlib.suppress(OSError):
                path.unlink()


@contextlib.asynccontextmanager
async def ray_machines(address: str, choice: ServerChoice, observer: Observer) -> AsyncIterator[list[RayMachine]]:
    """Start the chosen ComfyUI on every GPU of a cluster, or else on every node, and stop them all at the end.

    Nodes where it cannot be started are left out while there are others.

    Args:
        address: ``auto``, ``local`` (a cluster of this machine's own) or ``HOST:PORT``.

    Raises:
        HostError: Ray is not installed, the cluster cannot be reached or has no room, or no ComfyUI can be started.
    """
    with _connected(address):
        cluster = _Cluster()
        machines: list[RayMachine] = []
        try:
            machines += _place(replace(choice, ray=None), cluster)
            observer.note(f"Starting ComfyUI {len(machines):,} times on the Ray cluster {address} …")
            yield await _started(machines, observer)
        finally:
            await asyncio.shield(_end(machines))
            cluster.close()


@contextlib.contextmanager
def _connected(address: str) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise HostError("--ray needs Ray; install it on all nodes: pip install 'copyscope[ray]'.") from error
    ours = not ray.is_initialized()
    if ours:
        own: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **own)
        except (ImportError, ValueError, RuntimeError, OSError) as error:
            raise HostError(
                f"The Ray cluster {address} cannot be reached ({one_line(error, 200)}); start one with 'ray start "
                "--head', or use this machine alone with --ray local."
            ) from error
    try:
        yield
    finally:
        if ours:
            ray.shutdown()


def slots(nodes: Sequence[Mapping[str, Any]]) -> list[_Slot]:
    """A place for each GPU of the nodes (as ``ray.nodes()`` lists them) that are alive, or else for each with a CPU."""
    alive = sorted(
        (node for node in nodes if node["Alive"]), key=lambda node: (node["NodeManagerAddress"], node["NodeID"])
    )
    with_gpus = [
        _Slot(node["NodeID"], node["NodeManagerAddress"], number)
        for node in alive
        for number in range(int(node["Resources"].get("GPU", 0)))
    ]
    with_cpu = [node for node in alive if node["Resources"].get("CPU", 0) >= 1]
    return with_gpus or [_Slot(node["NodeID"], node["NodeManagerAddress"], None) for node in with_cpu]


def _place(choice: ServerChoice, cluster: _Cluster) -> list[RayMachine]:
    """An actor in every place of the cluster."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    places = slots(nodes)
    if not places:
        raise HostError("The Ray cluster has no node with a GPU or a CPU; add one with 'ray start --address'.")
    host = ray.remote(NodeHost)
    return [
        RayMachine(
            slot.name,
            host.options(
                num_cpus=1 if slot.gpu is None else 0,
                num_gpus=0 if slot.gpu is None else 1,
                scheduling_strategy=NodeAffinitySchedulingStrategy(slot.node, soft=False),
            ).remote(choice),
            cluster,
        )
        for slot in places
    ]


async def _started(machines: Sequence[RayMachine], observer: Observer) -> list[RayMachine]:
    """Those whose ComfyUI answers; notes the others."""
    tasks = {machine.name: asyncio.create_task(machine.ask("start")) for machine in machines}
    await asyncio.wait(tasks.values(), timeout=_START_SECONDS)
    up, errors = [], []
    for machine in machines:
        task = tasks[machine.name]
        if not task.done():
            task.cancel()
            errors.append(HostError(f"{machine.name} is busy, or did not start ComfyUI in {_START_SECONDS:.0f} s."))
        elif (error := task.exception()) is None:
            up.append(machine)
            continue
        elif isinstance(error, HostError):
            errors.append(error)
        else:
            raise error
    if not up:
        raise errors[0]
    for left_out in errors:
        observer.note(f"{left_out} The audit goes on without it.")
    return up


async def _end(machines: Sequence[RayMachine]) -> None:
    """Stop every ComfyUI, and end the actors."""
    import ray

    stops = [asyncio.create_task(machine.ask("stop")) for machine in machines]
    if stops:
        await asyncio.wait(stops, timeout=_STOP_SECONDS)
    for machine, stop in zip(machines, stops, strict=True):
        if not stop.cancel():
            stop.exception()
        with contextlib.suppress(Exception):  # the actor, its node, or the connection may be gone
            ray.kill(machine.actor)
