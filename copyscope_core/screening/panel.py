"""The panel: features of all artists' works and of what each artist is compared with, at one size of image.

An artist is compared with control works and with the works of all the other artists: a model that moves images towards
any painting comes out nearer to every painter, and which of them it learned from is what a screen is to tell.

Beside the artists that were named stand *negative controls*: groups of works of the control bank that resemble each
other, as many as an artist's folder has, from which no model is known to have learned. Each is compared with the other
works of its kind and with the artists' works, and shows how often a screen finds what cannot be there.
``studies/screening.py`` measures both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..controls.bank import ControlBank
from ..controls.choose import choose_controls, picture_bits, same_pictures
from ..errors import CopyScopeError, GameError
from ..evaluation.bank_control import bank_features
from ..features.extractor import FeatureCache
from ..features.views import CONTENT, views_of
from ..files.images import ImageFile, in_threads
from ..files.pixels import match_reference, pixel_hash
from ..observer import BANK_STAGE, Observer, Quiet, stage_of

MOST_ARTISTS = 10_000
LONGEST_NAME = 100
MOST_NEGATIVE = 60
"""Negative controls at most."""
NEGATIVE_SIZES = (2, 8)
"""Works that a negative control has: as many as the middle one of the artists, within these bounds."""


@dataclass(frozen=True, eq=False)
class Panel:
    """The works of A artists, negative controls among them, as one matrix.

    Attributes:
        artists: names, the negative controls last.
        named: how many of them are artists that were named.
        features: (W, D) float32.
        reference, control: (W, A) which works are an artist's, and which it is compared with.
        extractor: id of what gave the features.
        size: (width, height) that the works were brought to: that of the images they can be compared with.
    """

    artists: tuple[str, ...]
    named: int
    features: NDArray[np.float32]
    reference: NDArray[np.bool_]
    control: NDArray[np.bool_]
    extractor: str
    size: tuple[int, int]

    @property
    def counts(self) -> list[int]:
        """How many works each artist has."""
        return [int(count) for count in self.reference.sum(axis=0)]


def check_artists(names: Sequence[str]) -> None:
    """Refuse names that cannot stand in a table. Raises CopyScopeError."""
    if not names:
        raise CopyScopeError("No artist is given; name one or more as --reference ARTIST=DIR.")
    if len(names) > MOST_ARTISTS:
        raise CopyScopeError(f"{len(names):,} artists are given; at most {MOST_ARTISTS:,} can be screened at once.")
    for name in names:
        if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            raise CopyScopeError(
                f"An artist's name has 1 to {LONGEST_NAME} printable characters; {name[:LONGEST_NAME]!r} has not."
            )
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise CopyScopeError(f"The artist {twice!r} is given twice; put the works into one folder.")


def make_panel(
    works: Mapping[str, Sequence[ImageFile]],
    size: tuple[int, int],
    cache: FeatureCache,
    bank: ControlBank,
    control: Sequence[ImageFile] = (),
    observer: Observer | None = None,
) -> Panel:
    """Measure artists' works at the size of the generated images.

    Args:
        works: artist → works.
        size: (width, height).
        bank: gives the negative controls, and the control of each artist where none is given.
        control: what all artists are compared with, beside each other's works; empty: works of the bank, chosen for
            each artist as audits do.

    Raises:
        CopyScopeError: a name does not fit, or there is one work of control only.
        ImageError: an image cannot be read.
        GameError: every work of the bank resembles an artist's.
    """
    observer = observer or Quiet()
    check_artists(list(works))
    if len(control) == 1:
        raise CopyScopeError("A control of one work tells nothing about chance; give two or more, better 20 to 50.")
    content = views_of(cache.extractor)[CONTENT]
    of_bank = bank_features(bank, size, cache.extractor, stage_of(observer, BANK_STAGE))
    bits = np.stack(in_threads(lambda image: picture_bits(image.decoded().pixels), bank.images))
    parts = [of_bank]
    columns: list[tuple[str, slice | list[int], slice | list[int]]] = []
    start = len(of_bank)
    shared: slice | None = None
    if control:
        parts.append(_features(control, size, cache))
        shared = slice(start, start + len(control))
        start += len(control)
    observer.stage("Looking at the artists' works", len(works))
    for number, (name, images) in enumerate(works.items(), start=1):
        rows = _features(images, size, cache)
        parts.append(rows)
        against: slice | list[int]
        if shared is not None:
            against = shared
        else:
            seen = np.stack(in_threads(lambda image: picture_bits(image.decoded().pixels), images))
            try:
                choice = choose_controls(bank.works, of_bank[:, content], rows[:, content], same_pictures(bits, seen))
            except GameError as error:
                raise GameError(f"The artist {name}: {error}") from error
            against = list(choice.used)
        columns.append((name, slice(start, start + len(images)), against))
        start += len(images)
        observer.step(number, name)
    size_of_group = int(np.clip(np.median([len(images) for images in works.values()]), *NEGATIVE_SIZES))
    seen_by = [of_bank[:, columns_of] for columns_of in views_of(cache.extractor).values()]
    groups = negative_groups([work.kind for work in bank.works], seen_by, size_of_group)
    taken = set(works)
    negative: list[tuple[str, slice | list[int], slice | list[int]]] = []
    for name, places in groups:
        unique = name if name not in taken else f"{name} (control bank)"
        others = [i for i, work in enumerate(bank.works) if work.kind == bank.works[places[0]].kind and i not in places]
        if len(others) > 1:
            negative.append((unique, list(places), others))
    features = np.concatenate(parts)
    reference, compared = (np.zeros((len(features), len(columns) + len(negative)), dtype=bool) for _ in range(2))
    artists_own = np.zeros(len(features), dtype=bool)
    for _, own, _ in columns:
        artists_own[own] = True
    for column, (_, own, against) in enumerate([*columns, *negative]):
        reference[own, column] = True
        compared[against, column] = True
        compared[:, column] |= artists_own & ~reference[:, column]
    names = tuple(name for name, *_ in [*columns, *negative])
    return _trimmed(Panel(names, len(columns), features, reference, compared, cache.extractor.id, size))


def negative_groups(
    kinds: Sequence[str], views: Sequence[NDArray[np.floating]], size: int
) -> list[tuple[str, tuple[int, ...]]]:
    """Works with those of their kind that resemble them most: names, and places in the bank.

    Works of one artist resemble each other, and so they are moved alike by whatever a model does. Groups drawn by
    chance would miss that, and would come out nearer no more often than p says.

    Args:
        kinds: of each work.
        views: features of each work, (n, d) a view; distances in all of them count alike.
        size: works of a group.

    Returns:
        At most ``MOST_NEGATIVE`` groups, the kinds by turns; they may overlap.
    """
    away = np.zeros((len(kinds), len(kinds)))
    for view in views:
        x = view.astype(np.float64)
        squares = np.einsum("nd,nd->n", x, x)
        apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0.0))
        away += apart / max(float(np.median(apart)), np.finfo(np.float64).tiny)
    by_kind = []
    for kind in sorted(set(kinds)):
        places = np.array([place for place, other in enumerate(kinds) if other == kind])
        near = [places[np.argsort(away[place, places], kind="stable")[:size]] for place in places]
        groups = list(dict.fromkeys(tuple(sorted(int(other) for other in group)) for group in near))
        by_kind.append([(f"{kind} {number}", group) for number, group in enumerate(groups, start=1)])
    longest = max((len(groups) for groups in by_kind), default=0)
    turns = [groups[number] for number in range(longest) for groups in by_kind if number < len(groups)]
    return [group for group in turns if len(group[1]) == size][:MOST_NEGATIVE]


def _features(images: Sequence[ImageFile], size: tuple[int, int], cache: FeatureCache) -> NDArray[np.float32]:
    """Features of works at a size, (m, D); a batch of them is in memory at a time."""

    def matched(image: ImageFile) -> tuple[NDArray[np.uint8], str]:
        pixels = match_reference(image.decoded().pixels, *size)
        return pixels, pixel_hash(pixels)

    rows = [
        cache.features(in_threads(matched, images[start : start + cache.batch_size]))
        for start in range(0, len(images), cache.batch_size)
    ]
    return np.concatenate(rows)


def _trimmed(panel: Panel) -> Panel:
    """The panel without works that no artist has or is compared with."""
    used = (panel.reference | panel.control).any(axis=1)
    return Panel(
        panel.artists,
        panel.named,
        panel.features[used],
        panel.reference[used],
        panel.control[used],
        panel.extractor,
        panel.size,
    )
