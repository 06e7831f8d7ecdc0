"""Screens and indexes, from the files that the user gave to the result."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..auditing.audit import Audit
from ..auditing.batch_table import require_pyarrow
from ..auditing.servers import ServerChoice, started_host
from ..auditing.session import machines, read_for
from ..comfyui.errors import ServerHangError, ServerLostError, ServerUnreachableError
from ..comfyui.host import ManagedHost
from ..controls.bank import load_bank
from ..errors import CopyScopeError, StoreError
from ..evaluation.measure import Works
from ..evidence.publish import ReportOptions
from ..features.extractor import FeatureCache, FeatureExtractor
from ..files.images import ImageFile
from ..observer import Observer, Quiet
from ..planning.plan import make_plan
from ..players.components import stem
from ..report.html.pictures import Picture
from ..settings import AuditSettings
from ..store.run_store import RunStore
from ..workflow.node_info import NodeCatalog
from .index import check_extractor, load_index, save_index
from .models import model_named, models_of
from .page import PICTURES, Facts, next_audits, write_page
from .panel import Panel, check_artists, make_panel
from .results import FOUND, UNDECIDED, Screened
from .screen import Screen
from .slot import Slot, find_slot
from .table import write_tables

AUDITS = "audits"
NOTHING_FOUND, PAIR_FOUND, NOT_DECIDED = 0, 1, 2
"""Exit codes of the check of one model."""


@dataclass(frozen=True)
class Artists:
    """Whose works models are measured against.

    Attributes:
        works: artist → works.
        control: what all are compared with, beside each other's works; empty: works of CopyScope's control bank,
            chosen for each artist.
        shown: whether works are embedded in the page.
    """

    works: Mapping[str, Sequence[ImageFile]]
    control: Sequence[ImageFile] = ()
    shown: bool = True

    def panel(self, size: tuple[int, int], cache: FeatureCache, observer: Observer) -> Panel:
        """See :func:`make_panel`."""
        return make_panel(self.works, size, cache, load_bank(), self.control, observer)


@dataclass(frozen=True)
class Chosen:
    """Which models are screened: those of a folder or list (``many``), or one (``one``)."""

    many: str | None = None
    one: str | None = None

    def names(self, known: Sequence[str]) -> list[str]:
        """As the server spells them. Raises CopyScopeError."""
        return [model_named(self.one, known)] if self.one is not None else models_of(str(self.many), known)


@dataclass
class ScreenResult:
    """A finished screen.

    Attributes:
        parquet, csv, page: where it was written.
        sampled, reused: prompts that were run, and that were there.
        audits: folders of the audits in full that followed; name → why, for those that could not be made.
    """

    found: Screened
    parquet: Path
    csv: Path
    page: Path
    sampled: int
    reused: int
    audits: list[Path] = field(default_factory=list)
    failed_audits: dict[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """Of the check of one model: 0 nothing was found, 1 a pair was, 2 it could not be decided."""
        found = self.found
        verdicts = {found.verdict(m, a) for m in range(len(found.models)) for a in range(found.named)}
        if FOUND in verdicts:
            return PAIR_FOUND
        failed = any(model.error is not None for model in found.models)
        return NOT_DECIDED if failed or UNDECIDED in verdicts else NOTHING_FOUND


def run_screen(
    workflow: Path,
    chosen: Chosen,
    artists: Artists | Path,
    out: Path,
    settings: AuditSettings,
    choice: ServerChoice,
    *,
    extractor: FeatureExtractor,
    slot: str | None = None,
    audit_top: int = 0,
    observer: Observer | None = None,
) -> ScreenResult:
    """Screen models: what ``copyscope screen`` does.

    Args:
        workflow: in API or UI format.
        artists: works, or the file of an index.
        out: the run folder.
        settings: ``seeds`` and ``output`` count.
        slot: id of the loader; None: the only one.
        audit_top: so many of the strongest pairs are audited in full afterwards, which takes works, not an index.

    Raises:
        CopyScopeError: see :func:`find_slot`, :func:`models_of`, :func:`load_index`, :meth:`Screen.run`.
    """
    observer = observer or Quiet()
    require_pyarrow()
    if isinstance(artists, Artists):
        names = tuple(artists.works)
        check_artists(names)
    elif audit_top:
        raise CopyScopeError("An index holds no pictures to audit with; give --reference for --audit-top.")
    else:
        known = load_index(artists)
        check_extractor(known, extractor.id, artists)
        names = known.artists[: known.named]

    async def work(host: ManagedHost | None) -> ScreenResult:
        async with machines(choice, host, observer) as servers:
            graph, catalog, records = await read_for(workflow, servers[0])
            place = find_slot(graph, catalog, settings, slot)
            for record in records:
                observer.note(record["message"])

            def panel(size: tuple[int, int], cache: FeatureCache) -> Panel:
                return artists.panel(size, cache, observer) if isinstance(artists, Artists) else known

            screen = Screen(place, chosen.names(place.names), panel, names, servers, out, extractor, observer)
            found = await screen.run()
            given = artists if isinstance(artists, Artists) else None
            facts = Facts(
                workflow.name,
                f"{place.kind} loader (node {place.node})",
                place.seeds,
                screen.steady,
                [record["message"] for record in records],
            )
            parquet, csv = write_tables(found, out)
            page = write_page(found, facts, out, _Pictures(found, screen, given))
            result = ScreenResult(found, parquet, csv, page, screen.sampled, screen.reused)
            if given is not None and audit_top:
                await _audits(result, screen, given, catalog, audit_top)
            return result

    with started_host(choice, out, observer) as host:
        return asyncio.run(work(host))


def run_index(
    artists: Artists,
    path: Path,
    size: tuple[int, int],
    *,
    extractor: FeatureExtractor,
    names: bool = False,
    observer: Observer | None = None,
) -> Panel:
    """Write an index of artists' works: what ``copyscope index`` does.

    Args:
        size: (width, height) of the images that models will be screened by.
        names: keep the works' file names too.

    Raises:
        CopyScopeError: see :func:`make_panel` and :func:`save_index`.
    """
    panel = artists.panel(size, FeatureCache(None, extractor), observer or Quiet())
    save_index(panel, path, [[image.name for image in works] for works in artists.works.values()] if names else None)
    return panel


@dataclass(frozen=True)
class _Pictures:
    """The pictures of a pair, as the page asks for them."""

    found: Screened
    screen: Screen
    artists: Artists | None

    def __call__(self, m: int, a: int) -> tuple[Sequence[Picture], Sequence[Picture], Sequence[Picture]]:
        store = RunStore(self.screen.out)
        having, without = (
            [store.entry_folder(key) / name for key, name in images]
            for images in (self.found.models[m].images, self.screen.without)
        )
        if self.artists is None or not self.artists.shown:
            return without, having, ()
        return without, having, [image.path for image in self.artists.works[self.found.artists[a]][:PICTURES]]


async def _audits(result: ScreenResult, screen: Screen, artists: Artists, catalog: NodeCatalog, count: int) -> None:
    """Audit the strongest pairs in full; images that the screen made are taken from it."""
    found, slot = result.found, screen.slot
    pool = RunStore(screen.out)
    for number, (m, a) in enumerate(next_audits(found, count), start=1):
        model, artist = found.models[m].name, found.artists[a]
        screen.observer.note(f"Audit {number:,} of {count:,}: {model} and {artist}")
        works = Works(artists.works[artist], artists.control, None if artists.control else load_bank())
        folder = screen.out / AUDITS / _folder_name(number, model, artist)
        try:
            audit = Audit(
                make_plan(slot.workflow(model), catalog, _audit_settings(slot), slot.target),
                screen.servers, folder, works, screen.extractor, screen.observer,
                ReportOptions(show_reference=artists.shown), pool=pool,
            )  # fmt: skip
            await audit.run()
        except (ServerLostError, ServerHangError, ServerUnreachableError, StoreError):
            raise
        except CopyScopeError as error:
            result.failed_audits[f"{model} and {artist}"] = str(error)
            screen.observer.note(f"{model} and {artist}: {error}")
        else:
            screen.servers = audit.servers
            result.audits.append(folder)


def _audit_settings(slot: Slot) -> AuditSettings:
    """Those of the screen; a checkpoint is measured against the workflow's own, as in the screen."""
    if slot.kind == "lora":
        return slot.settings
    return slot.settings.model_copy(update={"baseline_models": {slot.node: slot.own}})


def _folder_name(number: int, model: str, artist: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{stem(model)}-{artist}").strip("-.")
    return f"{number:02}-{plain[:80]}"
