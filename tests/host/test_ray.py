"""``audit --ray`` and ``screen --ray`` on a Ray cluster of two nodes on this machine; one is killed in mid-run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from copyscope_core.auditing.servers import ServerChoice
from copyscope_core.auditing.session import run_audit
from copyscope_core.evaluation.measure import Works
from copyscope_core.evidence.verify import Verifier
from copyscope_core.files.folders import read_folder
from copyscope_core.screening.session import Artists, Chosen, ScreenResult, run_screen
from copyscope_core.settings import AuditSettings
from copyscope_core.store.runs import STATE_VARIABLE
from copyscope_core.store.storage import ImageStorage
from tools.style_zoo.export import export

from . import test_audit
from .conftest import make_base
from .test_audit import Quarters, Watcher, audit, entry_of, servers, started
from .test_screening import MODELS, prepared

NO_RAY = "NO RAY FOUND: pip install 'copyscope[ray]'; this test did NOT run"
OBJECT_STORE = 100_000_000
"""Bytes of shared memory a node."""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that runs nothing, and two nodes."""
    try:
        from ray import cloudpickle
        from ray.cluster_utils import Cluster
    except ImportError:
        pytest.skip(NO_RAY)
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv(
        "OMP_NUM_THREADS", raising=False
    )  # Ray's hosts have their own number of threads; so must the other
    cloudpickle.register_pickle_by_value(sys.modules[test_audit.__name__])
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": OBJECT_STORE, "include_dashboard": False},
    )
    try:
        for _ in range(2):
            made.add_node(num_cpus=1, object_store_memory=OBJECT_STORE)
        yield made
    finally:
        made.shutdown()
        cloudpickle.unregister_pickle_by_value(sys.modules[test_audit.__name__])


def result(report: Any) -> Any:
    return report.model_dump(mode="json", exclude={"created", "custody"})


def test_a_cluster_that_loses_a_node_gives_what_one_server_gives(
    tmp_path: Path, mini_models: Path, cluster: Any
) -> None:
    base = make_base(tmp_path / "base", mini_models)
    one = started(base)
    undisturbed = result(audit(tmp_path / "one", one).report)
    lost = cluster.worker_nodes.copy().pop()
    observer = Watcher(2, lambda: cluster.remove_node(lost, allow_graceful=False))
    choice = replace(one, ray=cluster.address)
    killed = audit(tmp_path / "killed", choice, observer)
    told = result(killed.report)
    assert {name: (told[name], known) for name, known in undisturbed.items() if told[name] != known} == {}
    assert any("was lost" in note and "Its work goes to the other servers" in note for note in observer.notes)
    makers = {entry_of(path)["meta"]["server"] for path in (tmp_path / "killed" / "out").glob("coalitions/*/*.json")}
    assert all(maker.startswith("Ray node") for maker in makers)
    assert servers(base) == []

    stored = stored_elsewhere(tmp_path, choice)
    assert result(stored.report) == undisturbed
    assert servers(base) == []


def stored_elsewhere(tmp_path: Path, choice: ServerChoice) -> Any:
    """An audit by the node that is left, whose images go to another folder."""
    storage = ImageStorage((tmp_path / "storage").as_uri())
    reference = read_folder(tmp_path / "killed" / "reference")
    workflow, out, settings = tmp_path / "killed" / "workflow.json", tmp_path / "stored", AuditSettings(seeds=1)
    done = run_audit(
        workflow, Works(reference), out, settings, choice, extractor=Quarters(), storage=storage, observer=Watcher()
    )
    images = list((tmp_path / "storage").glob("coalitions/*/*.png"))
    assert len(images) == done.sampled + len(done.report.canaries)
    assert len(list(out.glob("coalitions/*/*.json"))) == len(images)
    held = Verifier(out, Quarters(), full=True, storage=storage).run()
    assert held.findings == ()
    assert held.images == len(done.report.coalitions) + len(
        reference
    )  # those in the storage, and copies of the reference
    return done


def test_a_screen_on_a_cluster_gives_what_one_server_gives(tmp_path: Path, cluster: Any) -> None:
    models = tmp_path / "models"
    export(models, only={"style-base", *(f"style-{name}" for name in MODELS)})
    base = make_base(tmp_path / "base", models)
    prepared(tmp_path)
    named = {name: read_folder(tmp_path / name) for name in ("hokusai", "arcimboldo")}
    artists, chosen = Artists(named, read_folder(tmp_path / "control")), Chosen(many=str(tmp_path / "models.txt"))

    def screened(out: str, choice: ServerChoice) -> ScreenResult:
        workflow, settings = tmp_path / "workflow.json", AuditSettings(seeds=2)
        return run_screen(
            workflow, chosen, artists, tmp_path / out, settings, choice, extractor=Quarters(), observer=Watcher()
        )

    one = started(base)
    alone = screened("one", one)
    shared = screened("ray", replace(one, ray=cluster.address))
    assert shared.sampled == alone.sampled > 0
    assert shared.parquet.read_bytes() == alone.parquet.read_bytes()
    makers = {entry_of(path)["meta"]["server"] for path in (tmp_path / "ray").glob("coalitions/*/*.json")}
    assert len(makers) == 2 and all(maker.startswith("Ray node") for maker in makers)
    assert servers(base) == []
