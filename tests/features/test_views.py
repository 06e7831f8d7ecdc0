"""Views: which part of a vector sees what, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from copyscope_core.errors import CopyScopeError
from copyscope_core.features.choose import choose_extractor
from copyscope_core.features.extractor import FeatureExtractor, InceptionExtractor
from copyscope_core.features.views import views_of


class Own:
    """A user's extractor with views of any kind."""

    id = "own"
    dimension = 5

    def __init__(self, views: Any = None) -> None:
        if views is not None:
            self.views = views

    def __call__(self, images: Any) -> Any:
        return np.zeros((len(images), 5), dtype=np.float32)


def test_without_views_all_is_content() -> None:
    extractor: FeatureExtractor = Own()
    assert views_of(extractor) == {"content": slice(0, 5)}


def test_views_are_those_of_the_extractor() -> None:
    views = {"content": slice(0, 3), "palette": slice(2, 5)}
    assert views_of(Own(views)) == views
    assert choose_extractor(own := Own(views)) is own
    inception = InceptionExtractor()
    assert views_of(inception) == {"content": slice(0, 2048), "style": slice(2048, inception.dimension)}


@pytest.mark.parametrize(
    "views",
    [
        [slice(0, 5)],
        {"style": slice(0, 5)},
        {"content": slice(0, 5), "a b": slice(0, 5)},
        {"content": slice(0, 5), 3: slice(0, 5)},
    ],
)
def test_a_table_without_content_or_with_odd_names_is_refused(views: Any) -> None:
    with pytest.raises(CopyScopeError, match="with 'content' among them"):
        choose_extractor(Own(views))


@pytest.mark.parametrize(
    "columns", [slice(0, 6), slice(3, 3), slice(-2, 5), slice(None, 5), slice(0, 5, 2), slice(True, 5), (0, 5), None]
)
def test_columns_outside_the_vector_are_refused(columns: Any) -> None:
    with pytest.raises(CopyScopeError, match=r"is no slice\(start, stop\) within its 5 numbers"):
        choose_extractor(Own({"content": columns}))
