"""Style of a diffusion model: which block, the noise, the statistics, and content beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from images_on_disk import MeanColours

from copyscope_core.errors import CopyScopeError
from copyscope_core.evaluation.cautions import extractor_cautions
from copyscope_core.features.beside import ContentAndStyle, StoredVectors, is_beside
from copyscope_core.features.choose import choose_extractor
from copyscope_core.features.extractor import FeatureCache, InceptionExtractor
from copyscope_core.features.introstyle import DRAWS, at_depth, last_of_up_block, noise, style_vector
from copyscope_core.files.pixels import Pixels

ID = "introstyle-0123456789abcdef-out5-t25-512px-4"


class Brightness:
    """A style model of one number."""

    id = ID
    dimension = 1

    def __call__(self, images: Sequence[Pixels]) -> np.ndarray:
        return np.array([[image.mean()] for image in images], dtype=np.float32)


@pytest.mark.parametrize(
    ("residuals", "index", "level"),
    [
        ([2, 2, 2, 2], 5, 2),  # SD 1.5 and 2.1: up-block 1 of 0…3 is output blocks 3 to 5
        ([2, 2, 2], 5, 1),  # SDXL
        ([1, 2, 3], 6, 1),
        ([1], 1, 0),  # the miniature has no up-block but 0
    ],
)
def test_the_block_of_a_unet(residuals: list[int], index: int, level: int) -> None:
    assert last_of_up_block(residuals) == (index, level)


@pytest.mark.parametrize(("blocks", "place"), [(1, 0), (2, 1), (4, 2), (24, 17), (38, 28), (57, 42), (60, 44)])
def test_the_block_of_a_transformer_reaches_three_quarters(blocks: int, place: int) -> None:
    assert at_depth(blocks) == place
    assert (place + 1) / blocks >= 0.75 > place / blocks


def test_noise_is_the_same_for_every_image_and_another_in_each_draw() -> None:
    one, other = noise((4, 8, 8)), noise((4, 8, 8))
    assert one.shape == (DRAWS, 4, 8, 8)
    assert torch.equal(one, other)
    assert len({draw.sum().item() for draw in one}) == DRAWS
    assert torch.equal(one[2], torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(2)))


def test_the_squared_distance_of_two_vectors_is_that_of_wasserstein() -> None:
    """Of Gaussians with diagonal covariances: ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½)."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(DRAWS, 3, 50, generator=generator) * scale + 1 for scale in (1.0, 2.0))
    expected = 0.0
    for x, y in zip(a.mean(0).double(), b.mean(0).double(), strict=True):
        vx, vy = x.var(correction=0), y.var(correction=0)
        expected += float((x.mean() - y.mean()) ** 2 + vx + vy - 2 * (vx * vy).sqrt())
    assert style_vector(a).shape == (6,)
    assert float(((style_vector(a) - style_vector(b)) ** 2).sum()) == pytest.approx(expected, rel=1e-5)


def test_content_comes_first_and_style_after_it() -> None:
    both = choose_extractor(ContentAndStyle(MeanColours(), Brightness()))
    image = np.full((4, 5, 3), 7, dtype=np.uint8)
    size = MeanColours().dimension
    assert both.id == f"mean-colours.{ID}"
    assert both.dimension == size + 1
    assert both.views == {"content": slice(0, size), "style": slice(size, size + 1)}
    row = FeatureCache(None, both).features([(image, "0" * 64)])[0]
    assert np.array_equal(row[:size], MeanColours()([image])[0])
    assert row[size] == 7


def test_inception_gives_its_content_only_and_stays_fid() -> None:
    both = ContentAndStyle(InceptionExtractor(), Brightness())
    assert both.dimension == 2049
    assert both.id == f"fid-inception-2015-12-05.clean-bicubic-299.folded-f32.{ID}"
    assert extractor_cautions(both.id) == extractor_cautions(InceptionExtractor.id) == []
    assert len(extractor_cautions(ContentAndStyle(MeanColours(), Brightness()).id)) == 1


def test_an_id_tells_which_content_it_has_beside_a_style() -> None:
    inception, colours = InceptionExtractor(), MeanColours()
    assert is_beside(ContentAndStyle(inception, Brightness()).id, inception)
    assert is_beside(f"mean-colours.{ID}", colours)
    for name in ("mean-colours", inception.id, f"other.{ID}", f"mean-colours.{ID}/..", f"mean-colours.x.{ID}"):
        assert not is_beside(name, colours)


def test_stored_vectors_are_not_computed() -> None:
    with pytest.raises(CopyScopeError, match="not at hand"):
        StoredVectors("some-id", 3)([np.zeros((2, 2, 3), dtype=np.uint8)])
