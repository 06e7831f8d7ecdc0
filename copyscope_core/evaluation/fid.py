"""The Fréchet Inception Distance of two sets of images, with their kernel distance."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..distances.frechet import frechet_distance
from ..distances.kernel import kernel_distance
from ..features.choose import choose_extractor
from ..features.extractor import INCEPTION_ID, FeatureCache
from ..features.views import CONTENT, views_of
from ..files.image_sets import ImageSet, read_image_set
from ..observer import Observer, Quiet
from .cautions import FEW_IMAGES

if TYPE_CHECKING:
    from ..features.choose import Device, FeatureChoice


@dataclass(frozen=True)
class FidResult:
    """How far two sets of images are apart.

    Attributes:
        fid: the squared Fréchet distance of their features (FID, where the features are FID's Inception).
        kid: the unbiased kernel distance of the same features, which may be negative; None with one image on a side.
        n_a: number of images on the first side.
        n_b: number of images on the second side.
        fid_mean: ‖μ₁−μ₂‖², the part of ``fid`` that comes from the mean features.
        fid_covariance: tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½, the other part, from their spread.
        preprocessing: id of everything between an image and its features: resize, network, weights.
    """

    fid: float
    kid: float | None
    n_a: int
    n_b: int
    fid_mean: float
    fid_covariance: float
    preprocessing: str

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to be careful about, as sentences."""
        found = []
        if self.preprocessing != INCEPTION_ID:
            found.append(f"Features: {self.preprocessing}, so these are not the FID and KID that others report.")
        if min(self.n_a, self.n_b) < FEW_IMAGES:
            found.append(f"FID of fewer than {FEW_IMAGES} images is biased upwards and noisy.")
        return tuple(found)

    def as_json(self) -> dict[str, Any]:
        """What ``copyscope fid --json`` prints."""
        return asdict(self)


def fid(
    a: ImageSet,
    b: ImageSet,
    *,
    features: FeatureChoice = "inception",
    device: Device = None,
    observer: Observer | None = None,
) -> FidResult:
    """FID and KID of two sets of images (Heusel et al. 2017; Bińkowski et al. 2018).

    The numbers are those of ``copyscope fid``: clean-fid's resize to 299×299, the Inception of 2015-12-05, float64
    distances. Each distinct image goes through the network once.

    Args:
        a: a folder, a list of images (of Pillow, files, or uint8 arrays (H, W, 3)), or a uint8 array (N, H, W, 3).
        b: the same.
        features: ``"inception"``, the folder of a local CLIP, SigLIP or DINO model, or a `FeatureExtractor`.
        device: where the network runs, as torch names it; None: a CUDA GPU if there is one, else the CPU.
        observer: told about progress.

    Raises:
        ImageError: a set is empty, or has something that is no image (named).
        CopyScopeError: there is no such device, or ``features`` cannot be used.
    """
    shown = observer or Quiet()
    sets = [(source, read_image_set(source)) for source in (a, b)]
    cache = FeatureCache(None, choose_extractor(features, device))
    rows = []
    for side, (source, images) in zip(("first", "second"), sets, strict=True):
        name = os.fspath(source) if isinstance(source, str | os.PathLike) else f"the {side} images"
        shown.stage(f"Features of {name}", len(images))
        rows.append(cache.features(images, lambda done, _: shown.step(done))[:, views_of(cache.extractor)[CONTENT]])
    x, y = rows
    distance = frechet_distance(x, y)
    return FidResult(
        distance.distance,
        kernel_distance(x, y),
        len(x),
        len(y),
        distance.mean,
        distance.covariance,
        cache.extractor.id,
    )
