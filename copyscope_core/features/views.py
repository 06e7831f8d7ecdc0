"""Views: the parts of a feature vector that see different things in an image, such as content and style."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ..errors import CopyScopeError

CONTENT = "content"
"""The view that every extractor has, and that FID is made of."""
STYLE = "style"
CONTENT_DIMENSION, STYLE_DIMENSION = 2048, 926
"""How many numbers FID's Inception and its early layers give."""


class GivesVectors(Protocol):
    """What is asked of an extractor here."""

    @property
    def id(self) -> str: ...
    @property
    def dimension(self) -> int: ...


def views_of(extractor: GivesVectors) -> Mapping[str, slice]:
    """The views of an extractor's vectors, by name: which columns each one has.

    They are its ``views``. An extractor without them, such as a local model or one of the user's own, sees content.

    Raises:
        CopyScopeError: ``views`` are no slices of whole numbers within the vector, or content is not among them.
    """
    views = getattr(extractor, "views", None)
    if views is None:
        return {CONTENT: slice(0, extractor.dimension)}
    named = isinstance(views, Mapping) and all(isinstance(name, str) and name.isidentifier() for name in views)
    if not named or CONTENT not in views:
        raise CopyScopeError(
            f"The extractor {extractor.id} has views that are no table of names and slices with {CONTENT!r} among them."
        )
    for name, columns in views.items():
        if not _within(columns, extractor.dimension):
            raise CopyScopeError(
                f"The view {name!r} of the extractor {extractor.id} is {columns!r}, which is no slice(start, stop) "
                f"within its {extractor.dimension} numbers."
            )
    return dict(views)


def _within(columns: object, dimension: int) -> bool:
    if not isinstance(columns, slice) or columns.step is not None:
        return False
    start, stop = columns.start, columns.stop
    return type(start) is int and type(stop) is int and 0 <= start < stop <= dimension
