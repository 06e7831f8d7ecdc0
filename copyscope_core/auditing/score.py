"""Scoring images of coalitions that are on disk: one folder each, and a ``game.json`` that says whose they are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..distances.registry import DistanceName
from ..errors import GameError, ImageError, StoreError, describe
from ..evaluation.measure import GeneratedImage, Works, measure
from ..evidence.copies import images_of
from ..evidence.custody import Custody, command_line
from ..evidence.publish import ReportOptions, copies_of, publish
from ..features.extractor import FeatureCache, FeatureExtractor, InceptionExtractor
from ..features.views import views_of
from ..files.folders import read_folder
from ..files.images import ImageFile
from ..files.inside import named_inside
from ..game.table import check_players, coalition_label, mask_of, require_complete
from ..observer import BANK_STAGE, Observer, Quiet, stage_of
from ..report.build import Components, Images, Provenance, build_report, describe_environment
from ..report.report import Report
from ..store.run_store import RunStore
from ..store.runs import register_run

GAME_FILE = "game.json"
_MAX_GAME_BYTES = 64 << 20
_NO_PIXELS = np.empty((0, 0, 3), dtype=np.uint8)


class _Player(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str
    kind: str = "component"


class _Folder(BaseModel):
    model_config = ConfigDict(extra="ignore")

    folder: str = Field(min_length=1)
    members: list[str]
    seeds: list[int] | None = None


class _ScoreTable(BaseModel):
    model_config = ConfigDict(extra="ignore")

    players: list[str | _Player]
    coalitions: list[_Folder]


@dataclass(frozen=True)
class ScoredFolder:
    """A coalition's folder: where it is, and the seed of each image in the order of names (None: not listed)."""

    name: str
    path: Path
    seeds: tuple[int, ...] | None


@dataclass(frozen=True)
class ScoreGame:
    """What ``game.json`` says: players with their kinds, and a folder for every coalition."""

    players: tuple[str, ...]
    kinds: tuple[str, ...]
    folders: dict[int, ScoredFolder]


@dataclass(frozen=True)
class ScoreResult:
    """The report of a scoring, and where it was written."""

    report: Report
    json_path: Path
    html_path: Path
    manifest_sha256: str


def read_game(folder: Path) -> ScoreGame:
    """Read ``folder/game.json``: ``{"players": […], "coalitions": [{"folder": "…", "members": […]}, …]}``.

    A player is a name or ``{"name": …, "kind": …}``; a coalition may list ``seeds``, one for each of its images in the
    order of their names.

    Raises:
        GameError: the file is missing or does not fit; a coalition is missing, or listed twice; a member is unknown; a
            folder leads out of ``folder``.
    """
    path = folder / GAME_FILE
    try:
        if path.stat().st_size > _MAX_GAME_BYTES:
            raise GameError(f"{path} is larger than {_MAX_GAME_BYTES >> 20} MiB; it is no table of coalitions.")
        table = _ScoreTable.model_validate_json(path.read_bytes())
    except OSError as error:
        raise GameError(
            f"{path} cannot be read ({error.strerror or error}); it must list the players and each coalition's folder."
        ) from error
    except ValidationError as error:
        raise GameError(f"{path} does not fit the format: {describe(error)}.") from error
    players = [item if isinstance(item, _Player) else _Player(name=item) for item in table.players]
    names = check_players([player.name for player in players])
    folders: dict[int, ScoredFolder] = {}
    for number, row in enumerate(table.coalitions, start=1):
        try:
            mask = mask_of(row.members, names)
        except GameError as error:
            raise GameError(f"Coalition {number} of {path}: {error}") from error
        if mask in folders:
            raise GameError(
                f"The coalition {coalition_label(mask, names)} is listed twice in {path}; keep one of them."
            )
        seeds = None if row.seeds is None else tuple(row.seeds)
        folders[mask] = ScoredFolder(row.folder, _inside(folder, row.folder), seeds)
    require_complete(folders, names)
    return ScoreGame(names, tuple(player.kind for player in players), folders)


@dataclass
class Score:
    """Scores a folder of coalitions' images against a reference.

    Attributes:
        folder: holds ``game.json`` and the coalitions' folders.
        works: what the coalitions are compared with.
        out: where report and features are written.
        extractor: of features; None: the bundled Inception on the CPU.
        options: what the report shows.
        distance: what v(S) is made of.
    """

    folder: Path
    works: Works
    out: Path
    extractor: FeatureExtractor | None = None
    observer: Observer = field(default_factory=Quiet)
    options: ReportOptions = field(default_factory=ReportOptions)
    distance: DistanceName = "fid"

    def run(self) -> ScoreResult:
        """Read, measure, and write ``report.json`` and ``report.html``.

        Raises:
            GameError: ``game.json`` does not fit, seeds do not fit the images, or they are too few for the distance.
            ImageError: a folder is missing or empty, holds files that are not images, or images differ in size.
            StoreError: ``out`` cannot be used.
        """
        game = read_game(self.folder)
        if self.out.resolve() == self.folder.resolve():
            raise StoreError("The output folder is the folder of the images; choose another one.")
        store = RunStore(self.out)
        with store.lock():
            custody = Custody(self.out, command_line())
            store.write_run(
                {
                    "score": str(self.folder.absolute()),
                    "players": [{"name": n, "kind": k} for n, k in zip(game.players, game.kinds, strict=True)],
                    "coalitions": [{"mask": mask, "folder": item.name} for mask, item in sorted(game.folders.items())],
                }
            )
            register_run(self.out)
            return self._score(game, store, custody)

    def _score(self, game: ScoreGame, store: RunStore, custody: Custody) -> ScoreResult:
        cache = FeatureCache(store.features_folder, self.extractor or InceptionExtractor())
        files: dict[int, list[ImageFile]] = {}
        seeds: dict[int, tuple[int, ...]] = {}
        self.observer.stage("Measuring", len(game.folders))

        def load(mask: int) -> list[GeneratedImage]:
            images, seeds[mask] = _ordered(game.folders[mask], coalition_label(mask, game.players))
            custody.images_reused(coalition=coalition_label(mask, game.players), folder=str(game.folders[mask].path))
            files[mask] = [replace(image, pixels=_NO_PIXELS) for image in images]
            return [GeneratedImage(image, seed) for image, seed in zip(images, seeds[mask], strict=True)]

        found = measure(
            game.players,
            load,
            self.works,
            cache,
            lambda done, _: self.observer.step(done, "coalitions"),
            distance=self.distance,
            bank_progress=stage_of(self.observer, BANK_STAGE),
        )
        _same_seeds(game, seeds)
        report = build_report(
            found.evaluation,
            Components(players=[{"name": n, "kind": k} for n, k in zip(game.players, game.kinds, strict=True)]),
            Images(
                found.reference,
                found.control,
                found.images,
                {mask: item.name for mask, item in game.folders.items()},
            ),
            Provenance(
                seeds=sorted(set(seeds[0])),
                settings={"images": str(self.folder)},
                preprocessing=cache.extractor.id,
                views=views_of(cache.extractor),
                environment=describe_environment(),
            ),
            warnings=found.warnings,
        )
        published = publish(
            report,
            self.out,
            {mask: [image.path for image in images] for mask, images in files.items()},
            [image.path for image in self.works.reference],
            self.options,
            custody=custody,
            images={**copies_of(self.works), **{images_of(mask): images for mask, images in files.items()}},
        )
        return ScoreResult(published.report, published.json_path, published.html_path, published.manifest_sha256)


def _inside(folder: Path, name: str) -> Path:
    """A coalition's folder, which must lie in ``folder``."""
    try:
        path = named_inside(folder, name)  # before anything is looked at: a name may lead to another machine
        if path.resolve().is_relative_to(folder.resolve()):
            return path
    except (StoreError, OSError, ValueError, RuntimeError):
        pass
    raise GameError(f"The folder {name[:200]!r} of a coalition is not inside {folder}; put it there.")


def _ordered(item: ScoredFolder, label: str) -> tuple[list[ImageFile], tuple[int, ...]]:
    """A coalition's images and their seeds, in the order of the seeds, else of the names."""
    try:
        images = read_folder(item.path)
    except ImageError as error:
        raise ImageError(f"Coalition {label}: {error}") from error
    if item.seeds is None:
        return images, tuple(range(len(images)))
    if len(item.seeds) != len(images):
        raise GameError(
            f"The coalition {label} lists {len(item.seeds)} seeds, but its folder {item.name} has {len(images)} "
            "images; list one seed for each image, in the order of the file names."
        )
    order = sorted(range(len(images)), key=lambda index: item.seeds[index] if item.seeds else index)
    return [images[index] for index in order], tuple(item.seeds[index] for index in order)


def _same_seeds(game: ScoreGame, seeds: dict[int, tuple[int, ...]]) -> None:
    """Refuse coalitions whose listed seeds differ: images are compared in pairs of one seed."""
    listed = {mask: seeds[mask] for mask, item in game.folders.items() if item.seeds is not None}
    if not listed:
        return
    if len(listed) < len(seeds):
        missing = next(mask for mask in seeds if mask not in listed)
        raise GameError(f"The coalition {coalition_label(missing, game.players)} lists no seeds, though others do.")
    first, expected = next(iter(listed.items()))
    for mask, found in listed.items():
        if found != expected:
            raise GameError(
                f"The coalitions {coalition_label(first, game.players)} and {coalition_label(mask, game.players)} have "
                "different seeds; every coalition needs images of the same seeds."
            )
