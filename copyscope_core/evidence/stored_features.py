"""The features that a run folder or a bundle holds, to be read only."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from ..errors import CopyScopeError, StoreError
from ..features.beside import StoredVectors
from ..features.extractor import (
    INCEPTION_CONTENT_ID,
    SUFFIX,
    FeatureCache,
    FeatureExtractor,
    InceptionExtractor,
    decode_vector,
    vector_bytes,
)
from ..report.report import Report
from ..report.text import clip, printable
from ..store.run_store import FEATURES
from .run_files import RunFiles

MOST_NUMBERS = 1 << 20
"""Of a feature vector whose length is taken from the report."""

_KEY = re.compile(r"[0-9a-f]{64}")


class StoredFeatures(FeatureCache):
    """A cache that has what the run has, and takes nothing up."""

    def __init__(self, run: RunFiles, extractor: FeatureExtractor) -> None:
        super().__init__(None, extractor)
        self._run = run

    def stored(self, key: str) -> npt.NDArray[np.float32] | None:
        """The vector of a ``pixel_hash``; None where there is none that is whole.

        Raises:
            ValueError: ``key`` is no SHA-256.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no SHA-256.")
        size = self.extractor.dimension
        try:
            data = self._run.read(f"{FEATURES}/{self.extractor.id}/{key}{SUFFIX}", vector_bytes(size))
        except (StoreError, OSError):
            return None
        return decode_vector(data, size)


def stored_only(report: Report) -> FeatureExtractor:
    """What a report's features are of, to be read as they are stored: nothing is computed.

    Raises:
        CopyScopeError: the report does not say it in a way that can be used.
    """
    name = report.preprocessing
    if name.startswith(INCEPTION_CONTENT_ID):
        return InceptionExtractor()
    views = {view: slice(*columns) for view, columns in report.views.items() if len(columns) == 2}
    length = max((columns.stop for columns in views.values()), default=0)
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}", name) or not 0 < length <= MOST_NUMBERS:
        shown = clip(printable(name), 80)
        raise CopyScopeError(f"The report does not say how long its features {shown!r} are; leave --no-features out.")
    return StoredVectors(name, length, views)
