"""What turns images into features, as the user chose it: FID's Inception, a local model, or an object of their own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from ..errors import CopyScopeError
from .views import views_of

if TYPE_CHECKING:
    import torch

    from .extractor import FeatureExtractor

    FeatureChoice: TypeAlias = str | os.PathLike[str] | FeatureExtractor
    Device: TypeAlias = str | torch.device | None

INCEPTION = "inception"
AUTOMATIC = "auto"


def choose_device(device: Device = None) -> str:
    """A torch device that can be used here; None or ``auto``: a CUDA GPU if there is one, else the CPU.

    Raises:
        CopyScopeError: there is no such device, or no PyTorch.
    """
    from .extractor import require_torch

    require_torch()
    import torch

    name = AUTOMATIC if device is None else str(device)
    if name == AUTOMATIC:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else "not available"
        raise CopyScopeError(
            f"The device {name!r} cannot be used ({reason}); choose another one, such as cpu."
        ) from error
    return name


def choose_extractor(features: FeatureChoice = INCEPTION, device: Device = None) -> FeatureExtractor:
    """The extractor that was chosen.

    Args:
        features: ``inception``, the folder of a CLIP, SigLIP or DINO model, or an extractor, which is returned as it
            is. A folder of that name is ``./inception``.
        device: where a network that is loaded here runs; see :func:`choose_device`.

    Raises:
        CopyScopeError: there is no such device, the folder does not hold such a model, or the object is no extractor.
    """
    if not isinstance(features, str | os.PathLike):
        _check(features)
        if device is not None:
            raise CopyScopeError("An extractor of your own has its device already; leave the device out.")
        return features
    chosen = choose_device(device)
    if features == INCEPTION:
        from .extractor import InceptionExtractor

        return InceptionExtractor(chosen)
    from .local_models import VisionModelExtractor

    return VisionModelExtractor(Path(features), chosen)


def _check(extractor: object) -> None:
    """Refuse what does not keep the extractors' contract, as far as that can be seen without images."""
    name, dimension = getattr(extractor, "id", None), getattr(extractor, "dimension", None)
    named = isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name)
    sized = isinstance(dimension, int) and dimension > 0
    if isinstance(extractor, type) or not (callable(extractor) and named and sized):
        raise CopyScopeError(
            f"An object of type {type(extractor).__name__} is no extractor of features: it needs an id "
            "(letters, digits, ., _ and -), a dimension (a whole number), and to be callable with a list of images."
        )
    views_of(cast("FeatureExtractor", extractor))
